"""`ebsim key grant`: the group of its commands."""

import click

from ebsim.cli.lazy_group import LazyGroup
from ebsim.cli.options import examples, shared_options


@click.group(
    "grant",
    cls=LazyGroup,
    lazy={name: f"ebsim.cli.commands.key_grant_{name}" for name in ("create", "list", "retire")},
    help="""Let other accounts use keys.""",
    epilog=examples(
        "ebsim key grant create alias/web --grantee 111122223333",
        "ebsim key grant list alias/web",
    ),
)
@shared_options
def command() -> None:
    """Group the commands."""
