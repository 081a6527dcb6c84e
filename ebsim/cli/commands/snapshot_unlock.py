"""`ebsim snapshot unlock`."""

import click

from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "unlock",
    help="""Take the lock off a snapshot.

    One in compliance mode cannot be taken off once its cooling-off period is over.""",
    epilog=examples("ebsim snapshot unlock snap-0123456789abcdef0"),
)
@click.argument("snapshot", metavar="SNAP")
@shared_options
@click.pass_obj
def command(invocation: Invocation, snapshot: str) -> None:
    """Take the lock off."""
    with invocation.open_store() as store:
        store.locks.unlock(snapshot)
    invocation.answer(
        snapshot,
        lambda name: {"SnapshotId": name},
        lambda name: f"{name} is not locked any more.",
    )
