"""`ebsim rebuild`."""

import click

from ebsim.cli import json_views, text_views
from ebsim.cli.failures import EXIT_FAILED
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "rebuild",
    help="""Make the catalog again, from the segments alone.

    For a store whose catalog is lost or damaged. Every stored byte is read and proved, a new
    catalog is written beside the old one and checked, and then takes its place; the old one is set
    aside in the store's folder and never looked at. Segments are only read.

    Snapshots with their charges, maps and tags, volumes, images, policies, quotas and the whole
    ledger are there again, and what was deleted stays deleted. Snapshots that were pending or in
    error, and events, are not. Exit code 1 if anything is damaged or missing; it is listed, and the
    rest is there again.""",
    epilog=examples("ebsim rebuild --dry-run", "ebsim rebuild"),
)
@click.option("--dry-run", is_flag=True, help="Only tell what would be made.")
@shared_options
@click.pass_context
def command(context: click.Context, dry_run: bool) -> None:
    """Rebuild, print what was made, and exit with 1 if anything is missing."""
    invocation = context.ensure_object(Invocation)
    with invocation.progress() as progress:
        report = invocation.rebuild_store(dry_run=dry_run, progress=progress)
    invocation.answer(report, json_views.rebuild, text_views.rebuild)
    if report.findings:
        context.exit(EXIT_FAILED)
