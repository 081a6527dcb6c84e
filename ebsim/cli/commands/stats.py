"""`ebsim stats`."""

import click

from ebsim.cli import json_views, text_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "stats",
    help="""Show both sizes of the store: charged, and stored on disk.

    Charged is 512 KiB for each version of a block, before compression and deduplication. Stored is
    the space that the segment files occupy, after both. The two are never comparable block by
    block: that is why no snapshot has a stored size of its own.""",
    epilog=examples("ebsim stats", "ebsim stats --json"),
)
@shared_options
@click.pass_obj
def command(invocation: Invocation) -> None:
    """Print the sizes and counts of the store."""
    with invocation.open_store() as store:
        invocation.answer(store.stats(), json_views.stats, text_views.stats)
