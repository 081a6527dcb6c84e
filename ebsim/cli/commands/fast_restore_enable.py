"""`ebsim fast-restore enable`."""

import click

from ebsim.cli.fast_restore_options import answer_report, pair_options
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "enable",
    help="""Enable fast restore of each SNAP in each ZONE.

    Each is optimized first, 60 minutes for each TiB. An account is charged for each minute, an hour
    at least, until it is disabled: by 'fast-restore disable', or because the snapshot is deleted,
    archived or shared no more.

    Some may be refused and others not; then the exit code is 1.""",
    epilog=examples(
        "ebsim fast-restore enable snap-0123456789abcdef0 --az us-east-1a --az us-east-1b"
    ),
)
@pair_options
@shared_options
@click.pass_obj
def command(invocation: Invocation, snapshots: tuple[str, ...], zones: tuple[str, ...]) -> None:
    """Enable them and show what became of each."""
    with invocation.open_store() as store:
        report = store.fast_restores.enable(snapshots, zones)
    answer_report(invocation, report)
