"""`ebsim lifecycle update`."""

from dataclasses import replace
from typing import IO

import click

from ebsim.cli import policy_views
from ebsim.cli.commands.lifecycle_create import read_document
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.policies import PolicyState


@click.command(
    "update",
    help="""Enable or disable a policy, or replace what it says.

    Times that lie before the change are not due any more. A disabled policy neither takes nor
    deletes snapshots.""",
    epilog=examples(
        "ebsim lifecycle update policy-0123456789abcdef0 --state DISABLED",
        "ebsim lifecycle update policy-0123456789abcdef0 --file policy.json",
    ),
)
@click.argument("policy", metavar="POLICY")
@click.option(
    "--state", type=click.Choice([state.value for state in PolicyState]), help="What it becomes."
)
@click.option("--file", type=click.File("rb"), help="Take all from a JSON document; - reads it.")
@shared_options
@click.pass_context
def command(context: click.Context, policy: str, state: str | None, file: IO[bytes] | None) -> None:
    """Change the policy and show it."""
    invocation = context.ensure_object(Invocation)
    if state is None and file is None:
        raise click.UsageError("Nothing is to change: give --state or --file.", context)
    with invocation.open_store() as store:
        known = store.lifecycle.get(policy)
        request = known.request if file is None else read_document(context, file)
        if state is not None:
            request = replace(request, state=PolicyState(state))
        changed = store.lifecycle.put(request, policy)
    invocation.answer(changed, policy_views.policy_document, policy_views.policy_text)
