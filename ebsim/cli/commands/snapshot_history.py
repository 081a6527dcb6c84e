"""`ebsim snapshot history`."""

import click

from ebsim.cli import json_views, text_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "history",
    help="""Show what a snapshot was charged, when, and why that changed.

    Each line is an entry of the store's ledger: created, moved-in from a deleted snapshot,
    moved-out to another, or freed. Deleted snapshots have their history too.""",
    epilog=examples("ebsim snapshot history snap-0123456789abcdef0"),
)
@click.argument("snapshot", metavar="SNAP")
@shared_options
@click.pass_obj
def command(invocation: Invocation, snapshot: str) -> None:
    """Print the charge events of one snapshot."""
    with invocation.open_store() as store:
        events = store.snapshot_history(snapshot)
    invocation.answer(
        events, lambda events: json_views.history(snapshot, events), text_views.history
    )
