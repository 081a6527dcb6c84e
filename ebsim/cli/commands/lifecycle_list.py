"""`ebsim lifecycle list`."""

import click

from ebsim.cli import policy_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "list",
    help="""List all policies, oldest first.""",
    epilog=examples("ebsim lifecycle list"),
)
@shared_options
@click.pass_obj
def command(invocation: Invocation) -> None:
    """Print the policies."""
    with invocation.open_store() as store:
        policies = store.lifecycle.list()
    invocation.answer(policies, policy_views.policies_document, policy_views.policies_text)
