"""`ebsim repair`."""

import click

from ebsim.cli import repair_views
from ebsim.cli.failures import EXIT_FAILED
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import NamedPath, examples, shared_options


@click.command(
    "repair",
    help="""Heal damaged records, where their bytes can be found again.

    Every stored byte is read and proved, as by `check --data`. A damaged block is written anew from
    what is left of its record, from the live data of its volume, from the image or device that it
    was scanned from, from another copy in the store, or from another store that --from names; only
    if those bytes have the block's hash. A block that is found nowhere is healed by the next
    snapshot that has its content. Everything else that segments hold is written anew from the
    catalog.

    What was damaged is never thrown away: it is kept in the folder set-aside of the store. A store
    without damage is left byte for byte. Snapshots may be made, read and deleted meanwhile; it can
    be broken off at any moment: what was healed stays healed.

    --dry-run tells beforehand what would be healed, and from where, and changes nothing. Exit code
    1 if anything stays damaged.""",
    epilog=examples(
        "ebsim repair --dry-run", "ebsim repair", "ebsim repair --from /backup/store --json"
    ),
)
@click.option("--dry-run", is_flag=True, help="Tell what would be healed.")
@click.option(
    "--from", "other", metavar="STORE", type=NamedPath(), help="Another store to look in."
)
@shared_options
@click.pass_context
def command(context: click.Context, *, dry_run: bool, other: str | None) -> None:
    """Repair, print what became of each damaged record, and exit with 1 if one stays damaged."""
    invocation = context.ensure_object(Invocation)
    with invocation.open_store() as store, invocation.progress() as progress:
        report = store.repair(other=other, dry_run=dry_run, progress=progress)
    invocation.answer(report, repair_views.repair_document, repair_views.repair_text)
    if report.unhealed:
        context.exit(EXIT_FAILED)
