"""`ebsim key destroy-deleted`."""

import click

from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "destroy-deleted",
    help="""Destroy for good the keys of all accounts whose days before deletion are over.

    They cannot be used already; from now on no clock that is set back makes them usable.""",
    epilog=examples(
        "ebsim key destroy-deleted",
    ),
)
@shared_options
@click.pass_obj
def command(invocation: Invocation) -> None:
    """Destroy the keys."""
    with invocation.open_store() as store:
        arns = store.keys.destroy_deleted()
    invocation.answer(
        arns,
        lambda arns: {"KeyArns": list(arns)},
        lambda arns: "\n".join(f"Destroyed {arn}" for arn in arns) or "No key is to be destroyed.",
    )
