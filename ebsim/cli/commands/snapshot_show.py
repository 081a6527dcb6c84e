"""`ebsim snapshot show`."""

import click

from ebsim.cli import json_views, text_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "show",
    help="""Show everything about one snapshot.

    A deleted snapshot cannot be shown; 'snapshot history' still tells what it was charged.""",
    epilog=examples("ebsim snapshot show snap-0123456789abcdef0"),
)
@click.argument("snapshot", metavar="SNAP")
@shared_options
@click.pass_obj
def command(invocation: Invocation, snapshot: str) -> None:
    """Print one snapshot."""
    with invocation.open_store() as store:
        invocation.answer(store.get_snapshot(snapshot), json_views.snapshot, text_views.snapshot)
