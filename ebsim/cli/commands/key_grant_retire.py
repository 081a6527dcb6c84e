"""`ebsim key grant retire`."""

import click

from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "retire",
    help="""End a grant, at once.

    The key's account can, and the account that gave it, and the one that has it.""",
    epilog=examples(
        "ebsim key grant retire alias/web 4f2a...",
    ),
)
@click.argument("key", metavar="KEY")
@click.argument("grant", metavar="GRANT")
@shared_options
@click.pass_obj
def command(invocation: Invocation, key: str, grant: str) -> None:
    """End the grant."""
    with invocation.open_store() as store:
        store.keys.retire_grant(key, grant)
    invocation.answer(
        grant, lambda grant: {"GrantId": grant}, lambda grant: f"The grant {grant} is ended."
    )
