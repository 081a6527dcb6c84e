"""`ebsim credentials list`."""

import click

from ebsim.cli import server_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.server_extra import credentials_of


@click.command(
    "list",
    help="List the keys of all accounts; secrets are not shown.",
    epilog=examples("ebsim credentials list"),
)
@shared_options
@click.pass_obj
def command(invocation: Invocation) -> None:
    """List the keys."""
    with invocation.open_store() as store:
        found = credentials_of(store).list()
    invocation.answer(found, server_views.list_document, server_views.list_text)
