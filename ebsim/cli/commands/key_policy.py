"""`ebsim key policy`."""

from typing import BinaryIO

import click

from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.output import printable
from ebsim.keys.key_policies import POLICY_NAME


@click.command(
    "policy",
    help="""Show who may use a KMS key by its policy, or say so by another one.

    A policy is a JSON document in KMS's language. It lets other accounts use the key, as grants do,
    from the next command on. It has to let the key's owner do all of kms:*, and what ebsim cannot
    carry out, such as Deny and most conditions, is refused.""",
    epilog=examples(
        "ebsim key policy alias/web",
        "ebsim key policy alias/web --put policy.json",
    ),
)
@click.argument("key", metavar="KEY")
@click.option(
    "document",
    "--put",
    type=click.File("rb"),
    metavar="FILE",
    help="The new policy; - for standard input.",
)
@shared_options
@click.pass_obj
def command(invocation: Invocation, key: str, document: BinaryIO | None) -> None:
    """Put the policy, if there is one, and show it."""
    with invocation.open_store() as store:
        if document is not None:
            # what is no UTF-8 is no JSON either, once it is escaped so
            store.keys.put_policy(key, document.read().decode("utf-8", "backslashreplace"))
        policy = store.keys.policy(key)
    invocation.answer(policy, lambda text: {"PolicyName": POLICY_NAME, "Policy": text}, _text)


def _text(policy: str) -> str:
    return "\n".join(map(printable, policy.splitlines()))
