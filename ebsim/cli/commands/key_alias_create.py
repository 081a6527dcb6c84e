"""`ebsim key alias create`."""

import click

from ebsim.cli import key_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "create",
    help="""Give a key a name, which begins with alias/.

    Names that begin with alias/aws/ are AWS's.""",
    epilog=examples(
        "ebsim key alias create alias/web 1234abcd-12ab-34cd-56ef-1234567890ab",
    ),
)
@click.argument("name", metavar="ALIAS")
@click.argument("key", metavar="KEY")
@shared_options
@click.pass_obj
def command(invocation: Invocation, name: str, key: str) -> None:
    """Make the alias."""
    with invocation.open_store() as store:
        alias = store.keys.create_alias(name, key)
    invocation.answer(alias, key_views.alias_document, key_views.alias_text)
