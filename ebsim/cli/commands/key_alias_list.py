"""`ebsim key alias list`."""

import click

from ebsim.cli import key_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "list",
    help="""List the aliases of the account in this Region, or of one key.""",
    epilog=examples(
        "ebsim key alias list",
    ),
)
@click.argument("key", metavar="[KEY]", required=False)
@shared_options
@click.pass_obj
def command(invocation: Invocation, key: str | None) -> None:
    """List the aliases."""
    with invocation.open_store() as store:
        aliases = store.keys.list_aliases(key)
    invocation.answer(aliases, key_views.aliases_document, key_views.aliases_text)
