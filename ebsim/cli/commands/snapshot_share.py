"""`ebsim snapshot share`."""

import click

from ebsim.cli import permission_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import sharing_options
from ebsim.permissions import PermissionChange


@click.command(
    "share",
    help="""Let other accounts read a snapshot and make volumes and copies of it.

    They can neither change nor delete nor share it. Deleting it, or sharing it no more, cuts them
    off; volumes that they made stay.""",
    epilog=examples(
        "ebsim snapshot share snap-0123456789abcdef0 --account 111122223333",
        "ebsim snapshot share snap-0123456789abcdef0 --all",
        "ebsim --account 111122223333 snapshot list",
    ),
)
@click.argument("snapshot", metavar="SNAP")
@sharing_options("Every account: the snapshot is public.")
@shared_options
@click.pass_obj
def command(
    invocation: Invocation, snapshot: str, accounts: tuple[str, ...], everybody: bool
) -> None:
    """Share the snapshot and show whom it is shared with."""
    if not accounts and not everybody:
        raise click.UsageError("Give --account ID or --all.", click.get_current_context())
    with invocation.open_store() as store:
        change = PermissionChange(add=accounts, add_all=everybody)
        shown = store.permissions.modify(snapshot, change)
    invocation.answer(
        shown, permission_views.permissions_document, permission_views.permissions_text
    )
