"""`ebsim volume list`."""

import click

from ebsim.cli import volume_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import filter_option, paging_options
from ebsim.requests import Filter, VolumeQuery


@click.command(
    "list",
    help="""List the volumes whose data ebsim keeps, oldest first.

    LOADED tells how much of the snapshot it was made from is there already. The sources of
    'snapshot create' are no volumes of this list.""",
    epilog=examples(
        "ebsim volume list",
        "ebsim volume list --filter Name=volume-type,Values=gp3 --json",
        "ebsim volume list --filter 'Name=tag:Name,Values=web*'",
    ),
)
@click.argument("volumes", metavar="[VOL...]", nargs=-1)
@click.option("states", "--state", metavar="STATE", multiple=True, help="Only those in this state.")
@filter_option(
    "availability-zone, create-time, encrypted, size, snapshot-id, status, tag:KEY, tag-key, "
    "volume-id, volume-type"
)
@paging_options
@shared_options
@click.pass_obj
def command(
    invocation: Invocation,
    *,
    volumes: tuple[str, ...],
    states: tuple[str, ...],
    filters: tuple[Filter, ...],
    max_items: int | None,
    starting_token: str | None,
) -> None:
    """Print the volumes."""
    query = VolumeQuery(
        volume_ids=volumes,
        states=states,
        filters=filters,
        max_results=max_items,
        next_token=starting_token,
    )
    with invocation.open_store() as store:
        page = store.volumes.describe(query)
    invocation.answer(page, volume_views.page_document, volume_views.page_text)
