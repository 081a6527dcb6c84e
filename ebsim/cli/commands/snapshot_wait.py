"""`ebsim snapshot wait`."""

import click

from ebsim.cli import json_views, text_views
from ebsim.cli.failures import EXIT_FAILED
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.results import SnapshotState


@click.command(
    "wait",
    help="""Wait until snapshots are not pending any more, and show them.

    One that was deleted while it was pending is gone by then, and left out. Exit code 1 if one of
    them ended in state 'error'.""",
    epilog=examples("ebsim snapshot wait snap-0123456789abcdef0 snap-0fedcba9876543210"),
)
@click.argument("snapshots", metavar="SNAP...", nargs=-1, required=True)
@shared_options
@click.pass_context
def command(context: click.Context, snapshots: tuple[str, ...]) -> None:
    """Wait, print the snapshots, and exit with 1 if one failed."""
    invocation = context.ensure_object(Invocation)
    with invocation.open_store(resume=True) as store, invocation.progress() as progress:
        ended = store.wait_snapshots(snapshots, progress=progress)
    gone = set(snapshots).difference(snapshot.snapshot_id for snapshot in ended)
    invocation.answer(
        ended, json_views.snapshots, lambda shown: text_views.waited_for(shown, sorted(gone))
    )
    if any(snapshot.state is SnapshotState.ERROR for snapshot in ended):
        context.exit(EXIT_FAILED)
