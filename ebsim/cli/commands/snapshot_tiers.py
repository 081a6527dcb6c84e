"""`ebsim snapshot tiers`."""

import click

from ebsim.cli import tier_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import filter_option, paging_options
from ebsim.requests import Filter
from ebsim.tiering import TierQuery


@click.command(
    "tiers",
    help="""List the snapshots that were ever archived, where they are and how far that is.

    What is given must all hold; of several values of one filter, one. Case counts.""",
    epilog=examples(
        "ebsim snapshot tiers",
        "ebsim snapshot tiers --filter 'Name=last-tiering-operation,Values=*-in-progress'",
    ),
)
@click.argument("snapshots", metavar="[SNAP...]", nargs=-1)
@filter_option("snapshot-id, volume-id, last-tiering-operation")
@paging_options
@shared_options
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    snapshots: tuple[str, ...],
    filters: tuple[Filter, ...],
    max_items: int | None,
    starting_token: str | None,
) -> None:
    """List them."""
    query = TierQuery(
        snapshot_ids=snapshots,
        filters=filters,
        max_results=max_items,
        next_token=starting_token,
    )
    with invocation.open_store() as store:
        page = store.tiers.describe(query)
    invocation.answer(page, tier_views.statuses, tier_views.statuses_text)
