"""`ebsim key alias delete`."""

import click

from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options


@click.command(
    "delete",
    help="""Take an alias away. Its key stays as it is.""",
    epilog=examples(
        "ebsim key alias delete alias/web",
    ),
)
@click.argument("name", metavar="ALIAS")
@shared_options
@click.pass_obj
def command(invocation: Invocation, name: str) -> None:
    """Take the alias away."""
    with invocation.open_store() as store:
        store.keys.delete_alias(name)
    invocation.answer(
        name, lambda name: {"AliasName": name}, lambda name: f"{name} means no key any more."
    )
