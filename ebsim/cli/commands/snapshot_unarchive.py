"""`ebsim snapshot unarchive`."""

import click

from ebsim.cli import tier_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.tiering import TierRestore


@click.command(
    "unarchive",
    help="""Restore a snapshot from the archive tier: for a day, for some days, or for good.

    One that is restored for a time stays in the archive too, and both are charged; then it is only
    there again. Given again, it changes for how long, counted from now, or keeps it for good.""",
    epilog=examples(
        "ebsim snapshot unarchive snap-0123456789abcdef0",
        "ebsim snapshot unarchive snap-0123456789abcdef0 --days 30",
        "ebsim snapshot unarchive snap-0123456789abcdef0 --permanent",
    ),
)
@click.argument("snapshot", metavar="SNAP")
@click.option("--days", type=int, metavar="N", help="For so many days, 1 to 180; else for one.")
@click.option("--permanent", is_flag=True, help="For good: it leaves the archive.")
@shared_options
@click.pass_obj
def command(invocation: Invocation, snapshot: str, *, days: int | None, permanent: bool) -> None:
    """Restore the snapshot and say for how long."""
    if days is not None and permanent:
        raise click.UsageError("Give either --days N or --permanent.", click.get_current_context())
    with invocation.open_store() as store:
        shown = store.tiers.restore(snapshot, TierRestore(permanent=permanent, days=days))
    invocation.answer(shown, tier_views.restoration, tier_views.restoration_text)
