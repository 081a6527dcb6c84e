"""`ebsim credentials create`."""

from functools import partial

import click

from ebsim.cli import server_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.server_extra import credentials_of, tell_new_store


@click.command(
    "create",
    help="""Make a key for the account that is acted as, and print it.

    Its secret is shown again only by 'credentials env'.""",
    epilog=examples("ebsim --account 111122223333 credentials create"),
)
@shared_options
@click.pass_obj
def command(invocation: Invocation) -> None:
    """Make the key and show it."""
    told = partial(tell_new_store, invocation)
    with invocation.open_store(create=True, before_making=told) as store:
        credential = credentials_of(store).create(invocation.account)
    invocation.answer(credential, server_views.credential_document, server_views.made_text)
