"""`ebsim events`."""

import json
import time

import click

from ebsim.cli import life_views
from ebsim.cli.following import follow
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.output import print_document, print_text
from ebsim.results import Event


@click.command(
    "events",
    help="""Print what happened to the account's snapshots, volumes and images in this Region, as
    EBS tells EventBridge.

    Each line is one event as a JSON document; its member number grows from event to event. The
    newest 10,000 of all accounts are kept. With --json all are printed as one document.

    --follow goes on and prints events as they come, whichever process makes them, until it is
    interrupted.""",
    epilog=examples(
        "ebsim events",
        "ebsim events --after 120",
        "ebsim events --follow | jq --unbuffered 'select(.detail.result == \"failed\")'",
    ),
)
@click.option(
    "--after",
    type=int,
    default=0,
    metavar="N",
    help="Only those with a greater number.",
)
@click.option("--follow", "following", is_flag=True, help="Go on with those that come.")
@shared_options
@click.pass_obj
def command(invocation: Invocation, after: int, following: bool) -> None:
    """Print the events."""
    if following and invocation.json:
        raise click.UsageError(
            "--follow has no end, so it cannot be one document: leave --json out.",
            click.get_current_context(),
        )
    with invocation.open_store() as store:
        events = follow(store.events, after, time.sleep) if following else store.events(after)
        if invocation.json:
            print_document(life_views.events_document(list(events)))
            return
        for event in events:
            _print_line(event)


def _print_line(event: Event) -> None:
    print_text(json.dumps(life_views.event_document(event), ensure_ascii=True))
