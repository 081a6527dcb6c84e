"""`ebsim snapshot diff`."""

import click

from ebsim.cli import json_views, text_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "diff",
    help="""Show in which blocks two snapshots differ.

    Both must be of one lineage: of one volume, or of volumes that started at a common snapshot.
    Ranges are half-open: END is the first block after the range. It compares block maps and reads
    no data, so it shows where the snapshots differ, not what is there.""",
    epilog=examples("ebsim snapshot diff snap-0123456789abcdef0 snap-0fedcba9876543210"),
)
@click.argument("first", metavar="SNAP")
@click.argument("second", metavar="SNAP")
@shared_options
@click.pass_obj
def command(invocation: Invocation, first: str, second: str) -> None:
    """Print the changed blocks."""
    with invocation.open_store() as store:
        changed = store.diff_snapshots(first, second)
    invocation.answer(changed, json_views.changed_blocks, text_views.changed_blocks)
