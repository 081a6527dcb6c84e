"""`ebsim snapshot copy`."""

import click

from ebsim.cli import json_views, text_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import tag_option
from ebsim.config import SnapshotOptions


@click.command(
    "copy",
    help="""Copy a snapshot, within a Region, to another, or from another account that shares it.

    A copy in the same Region and account is made at once and charged nothing: it shares all blocks.
    The first copy to another Region or account is full, the next ones are charged what differs from
    the latest one there. Equal blocks are stored once, wherever they are charged. Tags, sharing and
    locks are not copied.""",
    epilog=examples(
        "ebsim snapshot copy snap-0123456789abcdef0 --description kept",
        "ebsim snapshot copy snap-0123456789abcdef0 --to-region eu-central-1",
        "ebsim --account 111122223333 snapshot copy snap-0123456789abcdef0",
    ),
)
@click.argument("snapshot", metavar="SNAP")
@click.option("--to-region", metavar="NAME", help="Where the copy goes; by default, this Region.")
@click.option(
    "--from-region", metavar="NAME", help="Where the snapshot lies; by default, this Region."
)
@click.option("--description", default="", metavar="TEXT", help="Free text, to 255 characters.")
@tag_option("A tag of the copy; may be given up to 50 times.")
@shared_options
@click.pass_obj
def command(
    invocation: Invocation,
    snapshot: str,
    *,
    to_region: str | None,
    from_region: str | None,
    description: str,
    tags: dict[str, str],
) -> None:
    """Copy the snapshot and show the copy."""
    options = SnapshotOptions(description=description, tags=tags)
    source_region = from_region or invocation.region
    with invocation.open_store() as store, invocation.progress() as progress:
        there = store.as_account(region=to_region)
        copied = there.copy_snapshot(snapshot, source_region, options, progress)
        stats = store.stats()
    invocation.answer(
        copied, json_views.snapshot, lambda record: text_views.snapshot_copied(record, stats)
    )
