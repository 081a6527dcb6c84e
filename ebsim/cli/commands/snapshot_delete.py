"""`ebsim snapshot delete`."""

import click

from ebsim.cli import json_views, text_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "delete",
    help="""Delete snapshots, one or several, in the order given.

    Blocks that another snapshot still needs move on to it, with their charge; the others are freed,
    and their space goes back to the file system within the command. No other snapshot changes by a
    byte. There is no undelete, except for what a rule keeps in the Recycle Bin ('recycle-bin'):
    that keeps its charge and its space until its time there is over.

    --dry-run tells beforehand, with the very numbers that the deletion then gives.""",
    epilog=examples(
        "ebsim snapshot delete --dry-run snap-0123456789abcdef0",
        "ebsim snapshot delete snap-0123456789abcdef0 snap-0fedcba9876543210",
    ),
)
@click.argument("snapshots", metavar="SNAP...", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Tell what would move and be freed; delete nothing.")
@shared_options
@click.pass_obj
def command(invocation: Invocation, snapshots: tuple[str, ...], dry_run: bool) -> None:
    """Delete the snapshots and print what was freed and what moved."""
    with invocation.open_store() as store:
        report = store.delete_snapshots(list(snapshots), dry_run=dry_run)
    invocation.answer(report, json_views.deletion, text_views.deletion)
