"""`ebsim snapshot permissions`."""

import click

from ebsim.cli import permission_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "permissions",
    help="""Show whom a snapshot is shared with.""",
    epilog=examples("ebsim snapshot permissions snap-0123456789abcdef0"),
)
@click.argument("snapshot", metavar="SNAP")
@shared_options
@click.pass_obj
def command(invocation: Invocation, snapshot: str) -> None:
    """Show whom the snapshot is shared with."""
    with invocation.open_store() as store:
        shown = store.permissions.describe(snapshot)
    invocation.answer(
        shown, permission_views.permissions_document, permission_views.permissions_text
    )
