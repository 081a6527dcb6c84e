"""`ebsim snapshot`: the group of its commands."""

import click

from ebsim.cli.lazy_group import LazyGroup
from ebsim.cli.options import examples, shared_options


@click.group(
    "snapshot",
    cls=LazyGroup,
    lazy={
        name: f"ebsim.cli.commands.snapshot_{name}"
        for name in (
            "create",
            "list",
            "show",
            "diff",
            "delete",
            "history",
            "wait",
            "copy",
            "share",
            "unshare",
            "permissions",
            "lock",
            "unlock",
            "locks",
            "archive",
            "unarchive",
            "tiers",
        )
    }
    | {"recycle-bin": "ebsim.cli.commands.recycle_bin"},
    help="""Create, look at, compare and delete snapshots.

    A snapshot is the whole image as it was at one moment. It stores only the blocks that changed
    since the snapshot before it, and never depends on it: delete any, keep any.""",
    epilog=examples(
        "ebsim snapshot create disk.img",
        "ebsim snapshot list",
        "ebsim snapshot delete --dry-run snap-0123456789abcdef0",
    ),
)
@shared_options
def command() -> None:
    """Group the commands on snapshots."""
