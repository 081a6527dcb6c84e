"""`ebsim snapshot archive`."""

import click

from ebsim.cli import tier_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "archive",
    help="""Move a snapshot to the archive tier, where all of its blocks are charged, for less.

    It cannot be read, copied, shared or made volumes of until it is restored ('snapshot
    unarchive'), and nobody shares it any more. Blocks that other snapshots have stay where they
    are, and are charged to the next of them. It is charged for 90 days in the archive at least.""",
    epilog=examples("ebsim snapshot archive snap-0123456789abcdef0"),
)
@click.argument("snapshot", metavar="SNAP")
@shared_options
@click.pass_obj
def command(invocation: Invocation, snapshot: str) -> None:
    """Archive the snapshot and say what becomes of it."""
    with invocation.open_store() as store:
        shown = store.tiers.archive(snapshot)
    invocation.answer(shown, tier_views.archival, tier_views.archival_text)
