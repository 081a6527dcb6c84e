"""`ebsim credentials env`."""

from functools import partial

import click

from ebsim.cli import server_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import endpoint_option, examples, shared_options
from ebsim.cli.server_extra import credentials_of, tell_new_store


@click.command(
    "env",
    help="""Print the lines that have a shell, and what it starts, use the endpoint.

    The account's first key is used, and made if there is none. The secret is printed: have it read
    by eval, not by a log.""",
    epilog=examples(
        'eval "$(ebsim credentials env)"',
        'eval "$(ebsim --account 111122223333 credentials env)"',
    ),
)
@endpoint_option
@shared_options
@click.pass_obj
def command(invocation: Invocation, *, endpoint_url: str) -> None:
    """Print the variables."""
    told = partial(tell_new_store, invocation)
    with invocation.open_store(create=True, before_making=told) as store:
        credential = credentials_of(store).of_account(invocation.account)
    region = invocation.region
    invocation.answer(
        credential,
        lambda shown: {
            **server_views.credential_document(shown),
            "Region": region,
            "EndpointUrl": endpoint_url,
        },
        lambda shown: server_views.environment_text(shown, region, endpoint_url),
    )
