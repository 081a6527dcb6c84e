"""`ebsim compact`."""

import click

from ebsim.cli import compact_views
from ebsim.cli.failures import EXIT_FAILED
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "compact",
    help="""Make one segment of many small ones, and remove mostly dead ones.

    What is live in them is proved, copied to a new segment, and synced; only then do their files
    go. No snapshot changes. At most 64 MiB are needed beside what the store occupies, and less
    where little is free.

    Snapshots may be made, read and deleted meanwhile. It can be broken off at any moment: what was
    done stays done. A damaged record stays where it is; then the exit code is 1.

    --dry-run tells beforehand what would be copied and given back, and changes nothing.""",
    epilog=examples("ebsim compact --dry-run", "ebsim compact", "ebsim compact --json"),
)
@click.option("--dry-run", is_flag=True, help="Tell what would be copied and given back.")
@shared_options
@click.pass_context
def command(context: click.Context, dry_run: bool) -> None:
    """Compact, print what that did, and exit with 1 if something could not be moved."""
    invocation = context.ensure_object(Invocation)
    with invocation.open_store() as store, invocation.progress() as progress:
        report = store.compact(dry_run=dry_run, progress=progress)
    invocation.answer(report, compact_views.compaction_document, compact_views.compaction_text)
    if report.damaged:
        context.exit(EXIT_FAILED)
