"""Spans of calendar time, as `2w` or `1y6m10d12h`: years, months, weeks, days and hours, in UTC."""

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ebsim.errors import InvalidInputError

_SPAN = re.compile(r"(?:(\d+)y)?(?:(\d+)m)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?\Z")
_NUMBER_MAX = 100_000
"""More of any unit is taken for a mistake."""


@dataclass(frozen=True, slots=True)
class Span:
    """A span of calendar time.

    Attributes:
        months: Twelve to a year; their length depends on where in the calendar it is laid.
        hours: 24 to a day, 168 to a week.
    """

    months: int
    hours: int


def parse_span(text: str) -> Span:
    """Return the span named: numbers with y, m, w, d and h, in this order.

    Raises:
        InvalidInputError: Any other text, or a span of no length.
    """
    match = _SPAN.match(text)
    if match is not None:
        years, months, weeks, days, hours = (int(part or 0) for part in match.groups())
        span = Span(12 * years + months, 24 * (7 * weeks + days) + hours)
        if (span.months or span.hours) and max(span.months, span.hours) <= _NUMBER_MAX:
            return span
    raise InvalidInputError(
        f"'{text}' is no span of time: use numbers with y, m, w, d and h, such as 2w or 1y6m."
    )


def before(moment_us: int, span: Span) -> int:
    """Return the time that lies a span before a moment; before the year 1, the beginning of time.

    A day that the month does not have becomes its last.
    """
    return _shifted(moment_us, Span(-span.months, -span.hours))


def behind(moment_us: int, span: Span) -> int:
    """Return the time that lies a span behind a moment; behind the year 9999, the end of time."""
    return _shifted(moment_us, span)


def _shifted(moment_us: int, span: Span) -> int:
    seconds, microseconds = divmod(moment_us, 1_000_000)
    try:
        moment = datetime.fromtimestamp(seconds, tz=UTC)
        month = 12 * moment.year + moment.month - 1 + span.months
        year, month = month // 12, month % 12 + 1
        day = min(moment.day, calendar.monthrange(year, month)[1])
        shifted = moment.replace(year=year, month=month, day=day) + timedelta(hours=span.hours)
    except (OverflowError, ValueError):
        return _LAST_US if span.months + span.hours > 0 else _FIRST_US
    return round(shifted.timestamp()) * 1_000_000 + microseconds


_FIRST_US = round(datetime(1, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
_LAST_US = round(datetime(9999, 12, 31, tzinfo=UTC).timestamp()) * 1_000_000
