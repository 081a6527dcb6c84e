"""`ebsim tag`: the group of its commands."""

import click

from ebsim.cli.lazy_group import LazyGroup
from ebsim.cli.options import examples, shared_options


@click.group(
    "tag",
    cls=LazyGroup,
    lazy={name: f"ebsim.cli.commands.tag_{name}" for name in ("create", "delete", "list")},
    help="""Put tags on snapshots, volumes and images, remove and list them.

    A tag is a key with a value. Each resource has at most 50; keys that begin with 'aws:' are
    reserved.""",
    epilog=examples(
        "ebsim tag create snap-0123456789abcdef0 --tag Name=nightly",
        "ebsim tag list",
    ),
)
@shared_options
def command() -> None:
    """Group the commands on tags."""
