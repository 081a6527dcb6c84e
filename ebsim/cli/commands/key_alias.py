"""`ebsim key alias`: the group of its commands."""

import click

from ebsim.cli.lazy_group import LazyGroup
from ebsim.cli.options import examples, shared_options


@click.group(
    "alias",
    cls=LazyGroup,
    lazy={
        name: f"ebsim.cli.commands.key_alias_{name}"
        for name in ("create", "list", "update", "delete")
    },
    help="""Give keys names, move the names, and list them.""",
    epilog=examples(
        "ebsim key alias create alias/web 1234abcd-12ab-34cd-56ef-1234567890ab",
        "ebsim key alias list",
    ),
)
@shared_options
def command() -> None:
    """Group the commands."""
