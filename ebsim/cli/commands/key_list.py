"""`ebsim key list`."""

import click

from ebsim.cli import key_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "list",
    help="""List the KMS keys of the account in this Region, oldest first.""",
    epilog=examples(
        "ebsim key list",
        "ebsim --account 111122223333 key list --json",
    ),
)
@shared_options
@click.pass_obj
def command(invocation: Invocation) -> None:
    """List the keys."""
    with invocation.open_store() as store:
        keys = store.keys.list()
    invocation.answer(keys, key_views.keys_document, key_views.keys_text)
