"""`ebsim snapshot unshare`."""

import click

from ebsim.cli import permission_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import sharing_options
from ebsim.permissions import PermissionChange


@click.command(
    "unshare",
    help="""Share a snapshot no more: with some accounts, with all, or with nobody at all.""",
    epilog=examples(
        "ebsim snapshot unshare snap-0123456789abcdef0 --account 111122223333",
        "ebsim snapshot unshare snap-0123456789abcdef0 --all",
        "ebsim snapshot unshare snap-0123456789abcdef0 --everything",
    ),
)
@click.argument("snapshot", metavar="SNAP")
@sharing_options("It is public no more; single accounts stay.")
@click.option("everything", "--everything", is_flag=True, help="Nobody but its owner stays.")
@shared_options
@click.pass_obj
def command(
    invocation: Invocation,
    snapshot: str,
    accounts: tuple[str, ...],
    everybody: bool,
    everything: bool,
) -> None:
    """Take sharing back and show whom the snapshot is shared with."""
    if everything == bool(accounts or everybody):
        raise click.UsageError(
            "Give --account ID, --all, or --everything.", click.get_current_context()
        )
    with invocation.open_store() as store:
        if everything:
            store.permissions.reset(snapshot)
        else:
            change = PermissionChange(remove=accounts, remove_all=everybody)
            store.permissions.modify(snapshot, change)
        shown = store.permissions.describe(snapshot)
    invocation.answer(
        shown, permission_views.permissions_document, permission_views.permissions_text
    )
