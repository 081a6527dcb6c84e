"""`ebsim check`."""

import click

from ebsim.cli import json_views, text_views
from ebsim.cli.failures import EXIT_FAILED
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import parse_percent, parse_period
from ebsim.requests import DataCheck


@click.command(
    "check",
    help="""Check that the store is whole.

    Without --data the structure is checked: every snapshot's block map, and that each block it
    names is where it should be. With --data every stored byte is read and proved against its
    checksum and its block hash.

    What --data proved is remembered, also if it is interrupted: with --older-than it goes on with
    the rest. Times are those of this machine's clock. What --sample proves is not remembered.

    It repairs nothing. Exit code 1 if anything is wrong; each finding names the snapshots and
    byte ranges that it hits.""",
    epilog=examples(
        "ebsim check",
        "ebsim check --data --json",
        "ebsim check --data --older-than 7d",
        "ebsim check --data --sample 5%",
    ),
)
@click.option("--data", is_flag=True, help="Read and prove every stored byte.")
@click.option(
    "--sample",
    metavar="PERCENT",
    callback=parse_percent,
    help="With --data: read only so much, chosen at random, such as 5%.",
)
@click.option(
    "--older-than",
    metavar="TIME",
    callback=parse_period,
    help="With --data: read only what was not proved within that time, such as 7d.",
)
@shared_options
@click.pass_context
def command(
    context: click.Context, *, data: bool, sample: float | None, older_than: int | None
) -> None:
    """Check, print the findings, and exit with 1 if there are any."""
    if not data and (sample is not None or older_than is not None):
        raise click.UsageError("--sample and --older-than need --data.", context)
    invocation = context.ensure_object(Invocation)
    wanted = DataCheck(sample_percent=sample, older_than_s=older_than) if data else False
    with invocation.open_store(prove=True) as store, invocation.progress() as progress:
        report = store.check(data=wanted, progress=progress)
    invocation.answer(report, json_views.check, text_views.check)
    if not report.healthy:
        context.exit(EXIT_FAILED)
