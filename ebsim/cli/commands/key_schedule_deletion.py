"""`ebsim key schedule-deletion`."""

import click

from ebsim.cli import key_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "schedule-deletion",
    help="""Have a key be deleted after some days, and be unusable from now on.

    All that it encrypts is lost with it. 'key cancel-deletion' keeps it, as long as the days are
    not over.""",
    epilog=examples(
        "ebsim key schedule-deletion alias/web --days 7",
    ),
)
@click.argument("key", metavar="KEY")
@click.option(
    "--days", type=int, default=30, show_default=True, metavar="N", help="In so many days: 7 to 30."
)
@shared_options
@click.pass_obj
def command(invocation: Invocation, key: str, *, days: int) -> None:
    """Schedule the deletion."""
    with invocation.open_store() as store:
        changed = store.keys.schedule_deletion(key, days)
    invocation.answer(
        changed,
        lambda key: {**key_views.state_document(key), "PendingWindowInDays": days},
        key_views.state_text,
    )
