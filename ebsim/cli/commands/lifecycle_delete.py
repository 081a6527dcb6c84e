"""`ebsim lifecycle delete`."""

import click

from ebsim.cli import policy_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "delete",
    help="""Delete a policy. Its snapshots stay, and no policy deletes them any more.""",
    epilog=examples("ebsim lifecycle delete policy-0123456789abcdef0"),
)
@click.argument("policy", metavar="POLICY")
@shared_options
@click.pass_obj
def command(invocation: Invocation, policy: str) -> None:
    """Delete the policy."""
    with invocation.open_store() as store:
        store.lifecycle.delete(policy)
    invocation.answer(policy, policy_views.deleted_document, lambda name: f"Deleted {name}.")
