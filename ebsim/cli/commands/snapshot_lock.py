"""`ebsim snapshot lock`."""

import click

from ebsim.cli import lock_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import parse_time
from ebsim.locking import LockMode, LockRequest


@click.command(
    "lock",
    help="""Keep a snapshot from being deleted, by anybody, or change its lock.

    In governance mode the lock can be changed and taken off. In compliance mode it cannot, once the
    cooling-off period is over: it can only be made longer.""",
    epilog=examples(
        "ebsim snapshot lock snap-0123456789abcdef0 --days 30",
        "ebsim snapshot lock snap-0123456789abcdef0 --mode compliance --cool-off 24 --days 365",
        "ebsim snapshot lock snap-0123456789abcdef0 --until 2030-12-31",
    ),
)
@click.argument("snapshot", metavar="SNAP")
@click.option(
    "--mode",
    type=click.Choice([each.value for each in LockMode]),
    default=LockMode.GOVERNANCE.value,
    show_default=True,
    help="How strict.",
)
@click.option("--days", type=int, metavar="N", help="For so many days, 1 to 36,500.")
@click.option(
    "until_us", "--until", metavar="TIME", callback=parse_time, help="Until then, in UTC."
)
@click.option(
    "--cool-off",
    type=int,
    metavar="HOURS",
    help="In compliance mode, for how long it can still be changed: 1 to 72.",
)
@shared_options
@click.pass_obj
def command(
    invocation: Invocation,
    snapshot: str,
    *,
    mode: str,
    days: int | None,
    until_us: int | None,
    cool_off: int | None,
) -> None:
    """Lock the snapshot and show the lock."""
    if (days is None) == (until_us is None):
        raise click.UsageError("Give either --days N or --until TIME.", click.get_current_context())
    request = LockRequest(
        mode=LockMode(mode), duration_days=days, expiration_us=until_us, cool_off_hours=cool_off
    )
    with invocation.open_store() as store:
        shown = store.locks.lock(snapshot, request)
    invocation.answer(shown, lock_views.lock_document, lock_views.lock_text)
