"""`ebsim fast-restore disable`."""

import click

from ebsim.cli.fast_restore_options import answer_report, pair_options
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "disable",
    help="""Disable fast restore of each SNAP in each ZONE; volumes that were created stay.

    Some may be refused and others not; then the exit code is 1.""",
    epilog=examples("ebsim fast-restore disable snap-0123456789abcdef0 --az us-east-1a"),
)
@pair_options
@shared_options
@click.pass_obj
def command(invocation: Invocation, snapshots: tuple[str, ...], zones: tuple[str, ...]) -> None:
    """Disable them and show what became of each."""
    with invocation.open_store() as store:
        report = store.fast_restores.disable(snapshots, zones)
    answer_report(invocation, report)
