"""What `fast-restore enable` and `fast-restore disable` are told alike."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ebsim.cli import fast_restore_views
from ebsim.cli.failures import EXIT_FAILED
from ebsim.cli.invocation import Invocation
from ebsim.fast_restores import FastRestoreReport

Command = TypeVar("Command", bound=Callable[..., Any])


def pair_options(command: Command) -> Command:
    """Add the snapshots and the zones: each snapshot is meant in each zone."""
    zones = click.option(
        "zones",
        "--az",
        multiple=True,
        required=True,
        metavar="ZONE",
        help="An Availability Zone of the Region; may be given several times.",
    )
    snapshots = click.argument("snapshots", metavar="SNAP...", nargs=-1, required=True)
    return snapshots(zones(command))


def answer_report(invocation: Invocation, report: FastRestoreReport) -> None:
    """Print what became of each snapshot and zone; where any was refused, the exit code is 1."""
    invocation.answer(report, fast_restore_views.report_document, fast_restore_views.report_text)
    if report.unsuccessful:
        click.get_current_context().exit(EXIT_FAILED)
