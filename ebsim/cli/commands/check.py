"""`ebsim check`."""

import click

from ebsim.cli import json_views, text_views
from ebsim.cli.failures import EXIT_FAILED
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "check",
    help="""Check that the store is whole.

    Without --data the structure is checked: every snapshot's block map, and that each block it
    names is where it should be. With --data every stored byte is read and proved against its
    checksum and its block hash.

    It changes and repairs nothing. Exit code 1 if anything is wrong; each finding names the
    snapshots and byte ranges that it hits.""",
    epilog=examples("ebsim check", "ebsim check --data --json"),
)
@click.option("--data", is_flag=True, help="Read and prove every stored byte.")
@shared_options
@click.pass_context
def command(context: click.Context, data: bool) -> None:
    """Check, print the findings, and exit with 1 if there are any."""
    invocation = context.ensure_object(Invocation)
    with invocation.open_store() as store, invocation.progress() as progress:
        report = store.check(data=data, progress=progress)
    invocation.answer(report, json_views.check, text_views.check)
    if not report.healthy:
        context.exit(EXIT_FAILED)
