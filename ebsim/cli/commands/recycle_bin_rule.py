"""`ebsim recycle-bin rule`: the group of its commands."""

import click

from ebsim.cli.lazy_group import LazyGroup
from ebsim.cli.options import examples, shared_options


@click.group(
    "rule",
    cls=LazyGroup,
    lazy={
        name: f"ebsim.cli.commands.recycle_bin_rule_{name}"
        for name in ("create", "list", "show", "update", "delete", "lock", "unlock")
    },
    help="""Say what the Recycle Bin keeps, and for how long.

    Rules are an account's, for one Region and one type of resource. If several match, the longest
    counts. How long something stays is fixed when it is deleted: no later change of a rule changes
    it.""",
    epilog=examples(
        "ebsim recycle-bin rule create --resource-type EBS_SNAPSHOT --days 14",
        "ebsim recycle-bin rule list",
    ),
)
@shared_options
def command() -> None:
    """Group the commands on retention rules."""
