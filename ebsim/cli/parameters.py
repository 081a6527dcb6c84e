"""Kinds of options that several commands have: tags, filters, pages, byte sizes."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any, TypeVar, cast

import click

from ebsim.requests import VOLUME_TYPE_DEFAULT, Filter, VolumeRequest
from ebsim.units import GIB, KIB, MIB, TIB

Command = TypeVar("Command", bound=Callable[..., Any])

_UNITS = {"": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB}
_BYTES = re.compile(r"(\d+) ?(|KiB|MiB|GiB|TiB)\Z", re.ASCII)
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)%?\Z", re.ASCII)
_PERIOD = re.compile(r"(\d{1,6})([smhdw])\Z", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_FILTER = re.compile(r"Name=([^,]+),Values=(.+)\Z", re.DOTALL)


def parse_tags(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, str]:
    """Return tags given as KEY=VALUE; a value may be empty and may hold further equals signs.

    Raises:
        click.BadParameter: There is no equals sign, or a key was given twice.
    """
    tags: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"'{text}' is not KEY=VALUE.", context, parameter)
        if key in tags:
            raise click.BadParameter(f"the key '{key}' was given twice.", context, parameter)
        tags[key] = value
    return tags


def parse_tag_pairs(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    """Return tags given as KEY=VALUE, of which several may have one key.

    Raises:
        click.BadParameter: There is no equals sign.
    """
    return tuple(pair for text in texts for pair in parse_tags(context, parameter, (text,)).items())


def parse_time(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """Return a time in ISO 8601, in UTC unless it says otherwise, in microseconds.

    Raises:
        click.BadParameter: It is none.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1_000_000)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            f"'{text}' is no time, such as 2027-01-31 or 2027-01-31T12:30Z.", context, parameter
        ) from error


def parse_percent(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> float | None:
    """Return a share given as `5%` or `0.5`, in percent: more than 0, at most 100.

    Raises:
        click.BadParameter: It is none.
    """
    if text is None:
        return None
    found = _PERCENT.match(text)
    percent = float(found[1]) if found else 0
    if not 0 < percent <= 100:
        message = f"'{text}' is no share such as 5% that is more than 0% and at most 100%."
        raise click.BadParameter(message, context, parameter)
    return percent


def parse_period(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> int | None:
    """Return a period such as `7d` in seconds.

    Raises:
        click.BadParameter: It is none.
    """
    if text is None:
        return None
    found = _PERIOD.match(text)
    if found is None:
        message = f"'{text}' is no time such as 7d: a number and s, m, h, d or w."
        raise click.BadParameter(message, context, parameter)
    return int(found[1]) * _SECONDS[found[2]]


def parse_tags_to_delete(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> dict[str, str | None]:
    """Return tags given as KEY, which matches any value, or KEY=VALUE.

    Raises:
        click.BadParameter: A key was given twice.
    """
    tags: dict[str, str | None] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if key in tags:
            raise click.BadParameter(f"the key '{key}' was given twice.", context, parameter)
        tags[key] = value if equals else None
    return tags


def parse_filters(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> tuple[Filter, ...]:
    """Return filters in the form of the AWS command line: `Name=status,Values=pending,error`.

    A value that holds a comma stands in quotes.

    Raises:
        click.BadParameter: One has another form.
    """
    filters = []
    for text in texts:
        match = _FILTER.match(text)
        if match is None:
            raise click.BadParameter(
                f"'{text}' is not Name=NAME,Values=VALUE[,VALUE...].", context, parameter
            )
        filters.append(Filter(match[1], tuple(_split_values(match[2]))))
    return tuple(filters)


def _split_values(text: str) -> list[str]:
    """Return values that are separated by commas; one that begins with a quote may hold commas."""
    values, value, quote = [], "", ""
    for character in text:
        if character == quote:
            quote = ""
        elif not quote and not value and character in "'\"":
            quote = character
        elif not quote and character == ",":
            values.append(value)
            value = ""
        else:
            value += character
    return [*values, value]


def parse_bytes(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """Return a number of bytes, given plain or in KiB, MiB, GiB or TiB: `4096`, `64KiB`.

    Raises:
        click.BadParameter: It is no size.
    """
    if text is None:
        return None
    match = _BYTES.match(text)
    if match is None:
        raise click.BadParameter(
            f"'{text}' is no number of bytes, such as 4096, 64KiB or 1GiB.", context, parameter
        )
    return int(match[1]) * _UNITS[match[2]]


def tag_option(help_text: str) -> Callable[[Command], Command]:
    """Return the option `--tag KEY=VALUE`, to be given any number of times."""
    return click.option(
        "tags", "--tag", metavar="KEY=VALUE", multiple=True, callback=parse_tags, help=help_text
    )


def bytes_option(name: str, help_text: str, **settings: Any) -> Callable[[Command], Command]:  # noqa: ANN401 - click's own settings pass through
    """Return an option for a number of bytes."""
    return click.option(name, metavar="BYTES", callback=parse_bytes, help=help_text, **settings)


def filter_option(names: str) -> Callable[[Command], Command]:
    """Return the option `--filter`, to be given any number of times.

    Args:
        names: The filters there are, for the help.
    """
    return click.option(
        "filters",
        "--filter",
        metavar="Name=NAME,Values=VALUE,...",
        multiple=True,
        callback=parse_filters,
        help=f"Only what matches one of the values; * and ? are wildcards. Names: {names}.",
    )


def paging_options(command: Command) -> Command:
    """Give a command `--max-items` and `--starting-token`."""
    size = click.option(
        "--max-items",
        type=int,
        metavar="N",
        help="At most so many, from 5; then a token for the rest is printed.",
    )
    token = click.option(
        "--starting-token", metavar="TOKEN", help="Go on where the list with this token ended."
    )
    return size(token(command))


def volume_options(command: Command) -> Command:
    """Give a command the options that describe a new volume: it gets a `request` made of them.

    The command's own `size_gib`, and the options of `encryption_options`, go into it too.
    """

    @wraps(command)
    def gathering(*positional: object, **given: Any) -> None:  # noqa: ANN401 - the options' values
        names = ("size_gib", "volume_type", "iops", "throughput", "zone", "tags", "encrypted")
        asked = {name: given.pop(name) for name in names}
        request = VolumeRequest(kms_key_id=given.pop("kms_key"), **asked)
        command(*positional, request=request, **given)

    options = (
        click.option(
            "volume_type",
            "--type",
            default=VOLUME_TYPE_DEFAULT,
            show_default=True,
            metavar="TYPE",
            help="gp2, gp3, io1, io2, st1, sc1 or standard.",
        ),
        click.option(
            "--iops", type=int, metavar="N", help="I/O operations a second: io1, io2, gp3."
        ),
        click.option("--throughput", type=int, metavar="MIB", help="MiB a second: gp3."),
        click.option(
            "zone",
            "--az",
            metavar="ZONE",
            help="The Availability Zone; by default the Region's first.",
        ),
        tag_option("A tag; may be given up to 50 times. Name is shown by 'volume list'."),
    )
    described: Command = cast("Command", gathering)
    for option in reversed(options):
        described = option(described)
    return described


def sharing_options(all_help: str) -> Callable[[Command], Command]:
    """Return what adds the two options that say with whom: `--account` and `--all`.

    Args:
        all_help: What `--all` means to the command.
    """

    def add(command: Command) -> Command:
        accounts = click.option(
            "accounts",
            "--account",
            multiple=True,
            metavar="ID",
            help="An account of 12 digits; may be given up to 500 times.",
        )
        everybody = click.option("everybody", "--all", is_flag=True, help=all_help)
        return accounts(everybody(command))

    return add
