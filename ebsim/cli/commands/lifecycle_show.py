"""`ebsim lifecycle show`."""

import click

from ebsim.cli import policy_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "show",
    help="""Show everything about one policy.

    With --json it is shown as 'lifecycle create --file' takes it.""",
    epilog=examples(
        "ebsim lifecycle show policy-0123456789abcdef0",
        "ebsim lifecycle show policy-0123456789abcdef0 --json > policy.json",
    ),
)
@click.argument("policy", metavar="POLICY")
@shared_options
@click.pass_obj
def command(invocation: Invocation, policy: str) -> None:
    """Print the policy."""
    with invocation.open_store() as store:
        shown = store.lifecycle.get(policy)
    invocation.answer(shown, policy_views.policy_document, policy_views.policy_text)
