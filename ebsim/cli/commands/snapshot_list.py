"""`ebsim snapshot list`."""

import click

from ebsim.cli import json_views, text_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "list",
    help="""List all snapshots, oldest first.

    SIZE is the size of the image. FULL is all that was written to it, whichever snapshot is charged
    for it. CHARGED is what this snapshot alone is charged for. None of them is the space on disk:
    the last line tells what the whole store has stored.""",
    epilog=examples("ebsim snapshot list", "ebsim snapshot list --json | jq '.Snapshots[-1]'"),
)
@shared_options
@click.pass_obj
def command(invocation: Invocation) -> None:
    """Print the snapshots."""
    with invocation.open_store() as store:
        invocation.answer(
            store.list_snapshots(),
            json_views.snapshots,
            lambda snapshots: text_views.listing(snapshots, store.stats()),
        )
