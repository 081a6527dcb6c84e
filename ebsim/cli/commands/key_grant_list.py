"""`ebsim key grant list`."""

import click

from ebsim.cli import key_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "list",
    help="""List the grants of a key of the account.""",
    epilog=examples(
        "ebsim key grant list alias/web",
    ),
)
@click.argument("key", metavar="KEY")
@shared_options
@click.pass_obj
def command(invocation: Invocation, key: str) -> None:
    """List the grants."""
    with invocation.open_store() as store:
        grants = store.keys.list_grants(key)
    invocation.answer(grants, key_views.grants_document, key_views.grants_text)
