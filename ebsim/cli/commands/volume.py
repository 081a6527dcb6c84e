"""`ebsim volume`: the group of its commands."""

import click

from ebsim.cli.lazy_group import LazyGroup
from ebsim.cli.options import examples, shared_options


@click.group(
    "volume",
    cls=LazyGroup,
    lazy={
        name: f"ebsim.cli.commands.volume_{name}"
        for name in (
            "create",
            "import",
            "copy",
            "list",
            "show",
            "modify",
            "delete",
            "read",
            "write",
            "discard",
            "initialize",
        )
    },
    help="""Create, look at, change and use volumes whose data ebsim keeps.

    What is written to such a volume is tracked, so that a snapshot of it is begun in an instant and
    reads only what changed. A volume made from a snapshot can be used at once.""",
    epilog=examples(
        "ebsim volume create --size 8 --tag Name=data",
        "ebsim volume write vol-0123456789abcdef0 < disk.img",
        "ebsim snapshot create vol-0123456789abcdef0",
        "ebsim volume create --snapshot snap-0123456789abcdef0",
    ),
)
@shared_options
def command() -> None:
    """Group the commands on volumes."""
