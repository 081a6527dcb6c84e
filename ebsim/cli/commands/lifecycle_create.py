"""`ebsim lifecycle create`."""

import json
from typing import IO, Any

import click

from ebsim.cli import policy_views
from ebsim.cli.invocation import Invocation
from ebsim.cli.options import NamedPath, examples, shared_options
from ebsim.cli.parameters import parse_tag_pairs, parse_tags
from ebsim.core.policy_documents import read_policy
from ebsim.policies import (
    CreateRule,
    PolicyRequest,
    PolicyState,
    RetainRule,
    RetainUnit,
    Schedule,
)

_UNITS = {
    "d": RetainUnit.DAYS,
    "w": RetainUnit.WEEKS,
    "m": RetainUnit.MONTHS,
    "y": RetainUnit.YEARS,
}


def _parse_age(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> RetainRule | None:
    """Return an age given as 30d, 4w, 6m or 1y.

    Raises:
        click.BadParameter: It is none.
    """
    if text is None:
        return None
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdecimal():
        raise click.BadParameter(
            f"'{text}' is no age, such as 30d, 4w, 6m or 1y.", context, parameter
        )
    return RetainRule(interval=int(number), unit=_UNITS[unit])


@click.command(
    "create",
    help="""Make a policy of one schedule, or any policy from a file.

    Volumes with one of the target tags are snapshotted every so many hours (1, 2, 3, 4, 6, 8, 12 or
    24, reckoned from --at), or by a cron expression as AWS has it, in UTC. Snapshots are kept by
    count or by age. A source is an image or a device that is snapshotted by its path.

    A file holds a policy as Data Lifecycle Manager's API has it; 'lifecycle show --json' prints
    one.""",
    epilog=examples(
        "ebsim lifecycle create --description nightly --target-tag Backup=yes \\",
        "    --every 24 --at 03:00 --keep 7",
        "ebsim lifecycle create --description weekdays --source disk.img \\",
        "    --cron 'cron(0 18 ? * MON-FRI *)' --keep-for 4w",
        "ebsim lifecycle create --file policy.json",
    ),
)
@click.option("--description", metavar="TEXT", help="Letters, digits, spaces, _ and -.")
@click.option(
    "target_tags",
    "--target-tag",
    metavar="KEY=VALUE",
    multiple=True,
    callback=parse_tag_pairs,
    help="Snapshot volumes with this tag; may be repeated, one of them is enough.",
)
@click.option(
    "sources",
    "--source",
    type=NamedPath(),
    multiple=True,
    help="Snapshot this image or device too; may be repeated.",
)
@click.option("--name", default="Schedule 1", show_default=True, help="The schedule's name.")
@click.option("--every", type=click.IntRange(1), metavar="HOURS", help="How often.")
@click.option(
    "--at",
    default="00:00",
    show_default=True,
    metavar="HH:MM",
    help="The time of day from which the hours are counted.",
)
@click.option("--cron", default="", metavar="EXPRESSION", help="When, instead of --every.")
@click.option("--keep", type=click.IntRange(1), metavar="N", help="Keep the last N of each volume.")
@click.option("--keep-for", metavar="AGE", callback=_parse_age, help="Or up to an age: 30d, 1y.")
@click.option("--copy-tags", is_flag=True, help="Give a snapshot the tags of its volume.")
@click.option(
    "tags_to_add",
    "--tag-to-add",
    metavar="KEY=VALUE",
    multiple=True,
    callback=parse_tags,
    help="Give a snapshot this tag; may be repeated, up to 45 times.",
)
@click.option("--disabled", is_flag=True, help="Do nothing until it is enabled.")
@click.option("--file", type=click.File("rb"), help="Take all from a JSON document; - reads it.")
@shared_options
@click.pass_context
def command(context: click.Context, /, file: IO[bytes] | None, **options: Any) -> None:  # noqa: ANN401 - click's own values
    """Make the policy and show it."""
    invocation = context.ensure_object(Invocation)
    if file is not None:
        given = [name for name in options if _is_given(context, name)]
        if given:
            raise click.UsageError("--file says it all: leave the other options out.", context)
        request = read_document(context, file)
    else:
        request = _request(context, **options)
    with invocation.open_store() as store:
        policy = store.lifecycle.put(request)
    invocation.answer(policy, policy_views.policy_document, policy_views.policy_text)


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def read_document(context: click.Context, file: IO[bytes]) -> PolicyRequest:
    """Return the policy that a file holds.

    Raises:
        click.UsageError: It holds no JSON.
        InvalidInputError: It holds no policy.
    """
    try:
        document = json.load(file)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{file.name}: no JSON: {error}", context) from error
    return read_policy(document)


def _request(
    context: click.Context,
    *,
    description: str | None,
    target_tags: tuple[tuple[str, str], ...],
    sources: tuple[str, ...],
    keep: int | None,
    keep_for: RetainRule | None,
    disabled: bool,
    **options: Any,  # noqa: ANN401 - click's own values
) -> PolicyRequest:
    if description is None:
        raise click.UsageError("Missing option '--description', or '--file'.", context)
    if (keep is None) == (keep_for is None):
        raise click.UsageError("Give either --keep N or --keep-for AGE.", context)
    every, cron = options["every"], options["cron"]
    if (every is None) == (not cron):
        raise click.UsageError("Give either --every HOURS or --cron EXPRESSION.", context)
    time = "" if every is None else options["at"]
    return PolicyRequest(
        description=description,
        target_tags=target_tags,
        sources=sources,
        state=PolicyState.DISABLED if disabled else PolicyState.ENABLED,
        schedules=(
            Schedule(
                name=options["name"],
                create=CreateRule(interval_hours=every or 0, time=time, cron=cron),
                retain=keep_for or RetainRule(count=keep or 0),
                copy_tags=options["copy_tags"],
                tags_to_add=options["tags_to_add"],
            ),
        ),
    )
