"""`ebsim lifecycle`: the group of its commands."""

import click

from ebsim.cli.lazy_group import LazyGroup
from ebsim.cli.options import examples, shared_options


@click.group(
    "lifecycle",
    cls=LazyGroup,
    lazy={
        name: f"ebsim.cli.commands.lifecycle_{name}"
        for name in ("create", "list", "show", "update", "delete", "run")
    },
    help="""Take and delete snapshots by policies, as Amazon Data Lifecycle Manager does.

    A policy says which volumes are snapshotted, when, and how long snapshots are kept. Nothing
    happens by itself: have 'lifecycle run' called by cron or a timer, every few minutes.""",
    epilog=examples(
        "ebsim lifecycle create --description nightly --target-tag Backup=yes \\",
        "    --every 24 --at 03:00 --keep 7",
        "ebsim lifecycle run --dry-run",
        "ebsim lifecycle run",
    ),
)
@shared_options
def command() -> None:
    """Group the commands on lifecycle policies."""
