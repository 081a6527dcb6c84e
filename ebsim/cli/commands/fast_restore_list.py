"""`ebsim fast-restore list`."""

import click

from ebsim.cli import fast_restore_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import filter_option, paging_options
from ebsim.fast_restores import FastRestoreQuery
from ebsim.requests import Filter


@click.command(
    "list",
    help="""List this account's fast restores, the last one of each snapshot and zone.

    Those that are disabled are listed too, with what they were charged.""",
    epilog=examples(
        "ebsim fast-restore list",
        "ebsim fast-restore list --filter Name=state,Values=enabled",
    ),
)
@filter_option("availability-zone, owner-id, snapshot-id, state")
@paging_options
@shared_options
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    filters: tuple[Filter, ...],
    max_items: int | None,
    starting_token: str | None,
) -> None:
    """List the fast restores."""
    query = FastRestoreQuery(filters=filters, max_results=max_items, next_token=starting_token)
    with invocation.open_store() as store:
        page = store.fast_restores.describe(query)
    invocation.answer(page, fast_restore_views.page_document, fast_restore_views.page_text)
