"""`ebsim public-access`."""

import click

from ebsim.cli import permission_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.permissions import PublicAccess


@click.command(
    "public-access",
    help="""Show whether the account's snapshots in this Region may be public, or say so.

    unblocked: they may. block-new-sharing: none is made public any more. block-all-sharing: those
    that are public are so for nobody, until it is allowed again. Sharing with single accounts is
    not affected.""",
    epilog=examples("ebsim public-access", "ebsim public-access block-all-sharing"),
)
@click.argument(
    "state",
    metavar="[STATE]",
    required=False,
    type=click.Choice([each.value for each in PublicAccess]),
)
@shared_options
@click.pass_obj
def command(invocation: Invocation, state: str | None) -> None:
    """Set the state, if one is given, and show it."""
    with invocation.open_store() as store:
        if state is not None:
            store.permissions.public_access = PublicAccess(state)
        shown = store.permissions.public_access
    invocation.answer(
        shown, permission_views.public_access_document, permission_views.public_access_text
    )
