"""`ebsim key show`."""

import click

from ebsim.cli import key_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "show",
    help="""Show a KMS key, named by its id, ARN, alias or alias ARN.

    A key of another account is shown if it was granted, and is named by its ARN.""",
    epilog=examples(
        "ebsim key show alias/web",
        "ebsim key show 1234abcd-12ab-34cd-56ef-1234567890ab",
    ),
)
@click.argument("key", metavar="KEY")
@shared_options
@click.pass_obj
def command(invocation: Invocation, key: str) -> None:
    """Show the key."""
    with invocation.open_store() as store:
        shown = store.keys.get(key)
    invocation.answer(shown, key_views.key_document, key_views.key_text)
