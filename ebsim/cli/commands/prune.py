"""`ebsim prune`."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ebsim.cli import life_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import examples, shared_options
from ebsim.cli.parameters import parse_tag_pairs, tag_option
from ebsim.requests import PruneOptions

Command = TypeVar("Command", bound=Callable[..., Any])

_RULES = {
    "last": "The N youngest.",
    "hourly": "The youngest of each of the last N hours that have one.",
    "daily": "The youngest of each of the last N days that have one.",
    "weekly": "The youngest of each of the last N weeks, from Monday, that have one.",
    "monthly": "The youngest of each of the last N months that have one.",
    "yearly": "The youngest of each of the last N years that have one.",
}


def _count_options(command: Command) -> Command:
    """Give a command an option for each rule with a count."""
    for name, help_text in reversed(_RULES.items()):
        option = click.option(
            f"--keep-{name}",
            type=int,
            default=0,
            metavar="N",
            help=help_text,
        )
        command = option(command)
    return command


@click.command(
    "prune",
    help="""Delete the snapshots of each volume that no rule keeps.

    Rules are those that users of restic and borg know. They look at the completed snapshots of one
    volume at a time, by the time at which they were begun, in UTC. A snapshot is kept if any rule
    keeps it, and all of its reasons are shown; where hours, days, weeks, months or years are left
    over, the oldest is kept too. At least one rule must be given.

    Always kept: pending snapshots, snapshots behind a registered image, and the youngest of a
    volume of which nothing else is kept. A failed snapshot goes once a younger one of its volume is
    completed.

    --dry-run tells beforehand, with the very numbers that the deletion then gives.""",
    epilog=examples(
        "ebsim prune --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --dry-run",
        "ebsim prune --keep-last 3 --keep-within 2w --volume vol-0123456789abcdef0",
        "ebsim prune --keep-last 1 --keep-tag keep=yes --tag env=test",
    ),
)
@_count_options
@click.option(
    "--keep-within",
    default="",
    metavar="SPAN",
    help="All that are no older than SPAN, such as 2w or 1y6m10d12h, reckoned from the youngest.",
)
@click.option(
    "keep_tags",
    "--keep-tag",
    metavar="KEY=VALUE",
    multiple=True,
    callback=parse_tag_pairs,
    help="All with this tag; may be repeated.",
)
@click.option(
    "volumes",
    "--volume",
    metavar="VOL",
    multiple=True,
    help="Look only at snapshots of this volume; may be repeated.",
)
@tag_option("Look only at snapshots with this tag; may be repeated, all must be there.")
@click.option("--dry-run", is_flag=True, help="Tell what would stay, move and be freed.")
@shared_options
@click.pass_obj
def command(
    invocation: Invocation,
    /,
    *,
    keep_within: str,
    keep_tags: tuple[tuple[str, str], ...],
    volumes: tuple[str, ...],
    tags: dict[str, str],
    dry_run: bool,
    **counts: int,
) -> None:
    """Prune, and print what stays and why, and what the deletion does."""
    options = PruneOptions(
        keep_within=keep_within, keep_tags=keep_tags, volume_ids=volumes, tags=tags, **counts
    )
    with invocation.open_store() as store:
        report = store.prune(options, dry_run=dry_run)
    invocation.answer(report, life_views.pruning_document, life_views.pruning_text)
