"""`ebsim snapshot locks`."""

import click

from ebsim.cli import lock_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.locking import LockQuery, LockState


@click.command(
    "locks",
    help="""List the locks on snapshots, expired ones too.""",
    epilog=examples("ebsim snapshot locks", "ebsim snapshot locks --state compliance"),
)
@click.argument("snapshots", metavar="[SNAP...]", nargs=-1)
@click.option(
    "states",
    "--state",
    multiple=True,
    type=click.Choice([each.value for each in LockState]),
    help="Only those in this state.",
)
@shared_options
@click.pass_obj
def command(invocation: Invocation, snapshots: tuple[str, ...], states: tuple[str, ...]) -> None:
    """List the locks."""
    query = LockQuery(snapshot_ids=snapshots, states=[LockState(each) for each in states])
    with invocation.open_store() as store:
        shown = store.locks.list(query)
    invocation.answer(shown, lock_views.locks_document, lock_views.locks_text)
