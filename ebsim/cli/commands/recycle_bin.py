"""`ebsim recycle-bin`: the group of its commands."""

import click

from ebsim.cli.lazy_group import LazyGroup
from ebsim.cli.options import examples, shared_options


@click.group(
    "recycle-bin",
    cls=LazyGroup,
    lazy={name: f"ebsim.cli.commands.recycle_bin_{name}" for name in ("rule", "list", "restore")},
    help="""Keep what is deleted for some days, to be restored.

    This is the Recycle Bin of Amazon EBS. A rule says what is kept and for how long. A snapshot or
    a volume that is deleted, or an image that is deregistered, goes to the bin if a rule keeps it:
    nobody can use it there, it costs what it cost before, and it can be restored. When its time is
    over it goes for good, and not before.

    On a full disk, deleting into the bin frees nothing: delete the rule (or give the snapshot a tag
    that it excludes), restore what is in the bin, and delete it again.""",
    epilog=examples(
        "ebsim recycle-bin rule create --resource-type EBS_SNAPSHOT --days 14",
        "ebsim recycle-bin list",
        "ebsim recycle-bin restore snap-0123456789abcdef0",
    ),
)
@shared_options
def command() -> None:
    """Group the commands on the Recycle Bin."""
