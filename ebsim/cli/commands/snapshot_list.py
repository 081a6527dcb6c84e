"""`ebsim snapshot list`."""

from typing import TYPE_CHECKING

import click

from ebsim.cli import json_views, text_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import filter_option, paging_options
from ebsim.requests import Filter, SnapshotQuery
from ebsim.results import SnapshotPage

if TYPE_CHECKING:
    from ebsim.engine import Store


@click.command(
    "list",
    help="""List snapshots, oldest first: all, those named, or those that match.

    SIZE is the size of the image. FULL is all that was written to it, whichever snapshot is charged
    for it. CHARGED is what this snapshot alone is charged for. None of them is the space on disk:
    the last line tells what the whole store has stored.

    What is given must all hold; of several values of one filter, one. Case counts.""",
    epilog=examples(
        "ebsim snapshot list",
        "ebsim snapshot list --json | jq '.Snapshots[-1]'",
        "ebsim snapshot list --filter 'Name=tag:Name,Values=web*,db?' --state completed",
        "ebsim snapshot list --filter 'Name=start-time,Values=2026-01-*' --max-items 100",
    ),
)
@click.argument("snapshots", metavar="[SNAP...]", nargs=-1)
@click.option("states", "--state", metavar="STATE", multiple=True, help="Only those in this state.")
@click.option(
    "owners", "--owner", metavar="OWNER", multiple=True, help="An account, self, or amazon."
)
@click.option(
    "restorable_by",
    "--restorable-by",
    metavar="USER",
    multiple=True,
    help="Those of which an account, self or all may make volumes.",
)
@filter_option(
    "description, owner-id, progress, snapshot-id, start-time, status, tag:KEY, tag-key, "
    "volume-id, volume-size and the others of DescribeSnapshots"
)
@paging_options
@shared_options
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    snapshots: tuple[str, ...],
    states: tuple[str, ...],
    owners: tuple[str, ...],
    restorable_by: tuple[str, ...],
    filters: tuple[Filter, ...],
    max_items: int | None,
    starting_token: str | None,
) -> None:
    """Print the snapshots."""
    query = SnapshotQuery(
        snapshot_ids=snapshots,
        states=states,
        owner_ids=owners,
        restorable_by=restorable_by,
        filters=filters,
        max_results=max_items,
        next_token=starting_token,
    )
    with invocation.open_store() as store:
        invocation.answer(
            _find(store, query),
            json_views.snapshot_page,
            lambda page: text_views.listing(page, store.stats()),
        )


def _find(store: "Store", query: SnapshotQuery) -> SnapshotPage:
    """Return a page where one is asked for, else all in the order of completion."""
    if query.max_results is not None or query.next_token:
        return store.describe_snapshots(query)
    return SnapshotPage(snapshots=tuple(store.list_snapshots(query)), next_token=None)
