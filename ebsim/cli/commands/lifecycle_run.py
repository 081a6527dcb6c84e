"""`ebsim lifecycle run`."""

import click

from ebsim.cli import policy_views
from ebsim.cli.failures import EXIT_FAILED
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "run",
    help="""Take the snapshots that are due, and delete those that are not kept any more.

    To be called by cron or a timer, as often as the shortest schedule asks for: it takes one
    snapshot for each time that is due, however often it is called, and makes up with one for what
    was missed while the machine was off. What fails is tried again by the next run.

    Snapshots that a registered image needs stay until it is deregistered. Exit code 1 if anything
    failed; the rest is done nonetheless.

    --dry-run tells what would be done now.""",
    epilog=examples(
        "ebsim lifecycle run --dry-run",
        "*/10 * * * *  ebsim lifecycle run --store /backup/ebsim     # in a crontab",
    ),
)
@click.option("--dry-run", is_flag=True, help="Tell what is due and what has expired.")
@shared_options
@click.pass_context
def command(context: click.Context, dry_run: bool) -> None:
    """Run all policies and print what was done."""
    invocation = context.ensure_object(Invocation)
    with (
        invocation.open_store(resume=not dry_run) as store,
        invocation.progress() as progress,
    ):
        done = store.lifecycle.run(dry_run=dry_run, progress=progress)
    invocation.answer(done, policy_views.run_document, policy_views.run_text)
    if done.failed:
        context.exit(EXIT_FAILED)
