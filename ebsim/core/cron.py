"""Cron expressions of AWS: `cron(minutes hours day-of-month month day-of-week year)`. Pure.

They are not those of Unix: there is a year, Sunday is 1, one of the two days must be `?`, and `L`,
`W` and `#` name the last day, the nearest weekday and the n-th weekday of a month. No library in
wide use reads this form, and translating it to another one is most of the work; so it is read here.
All times are UTC.
"""

import calendar
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product

from ebsim.errors import ErrorCode, InvalidInputError

YEAR_MIN, YEAR_MAX = 1970, 2199

_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS = {
    name: number
    for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), start=1)
}

Days = Callable[[int, int], set[int]]
"""From a year and a month to the days of the month that are meant."""


@dataclass(frozen=True, slots=True)
class CronExpression:
    """Times of the calendar that repeat.

    Attributes:
        minutes: 0 to 59.
        hours: 0 to 23.
        months: 1 to 12.
        years: 1970 to 2199.
        days: Which days of a month are meant.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: tuple[int, ...]
    years: tuple[int, ...]
    days: Days

    def last(self, now_us: int) -> int | None:
        """Return the last time that is not after `now_us`, in microseconds; None if none was."""
        moment = _moment(now_us)
        for each in self._dates(moment, backwards=True):
            for hour, minute in product(reversed(self.hours), reversed(self.minutes)):
                found = each + timedelta(hours=hour, minutes=minute)
                if found <= moment:
                    return _us(found)
        return None

    def next(self, now_us: int) -> int | None:
        """Return the first time that is after `now_us`, in microseconds; None if none will be."""
        moment = _moment(now_us)
        for each in self._dates(moment, backwards=False):
            for hour, minute in product(self.hours, self.minutes):
                found = each + timedelta(hours=hour, minutes=minute)
                if found > moment:
                    return _us(found)
        return None

    def _dates(self, begin: datetime, *, backwards: bool) -> Iterator[datetime]:
        """Yield the days that are meant, from that of `begin` on, at midnight."""
        today = begin.replace(hour=0, minute=0, second=0, microsecond=0)
        for year in sorted(self.years, reverse=backwards):
            if year > today.year if backwards else year < today.year:
                continue
            for month in sorted(self.months, reverse=backwards):
                for day in sorted(self.days(year, month), reverse=backwards):
                    each = datetime(year, month, day, tzinfo=UTC)
                    if each <= today if backwards else each >= today:
                        yield each


def parse_cron(text: str) -> CronExpression:
    """Return the expression that `cron(...)` holds.

    Raises:
        InvalidInputError: It is none (DLM: InvalidRequestException).
    """
    match = re.fullmatch(r"cron\(([^()\n]{11,100})\)", text)
    fields = match[1].upper().split() if match else []
    if len(fields) != 6:
        raise _refuse(text, "it must be cron(minutes hours day-of-month month day-of-week year)")
    minutes, hours, day, month, weekday, year = fields
    if (day == "?") == (weekday == "?"):
        raise _refuse(text, "one of day-of-month and day-of-week, and only one, must be ?")
    try:
        return CronExpression(
            minutes=_numbers(minutes, 0, 59),
            hours=_numbers(hours, 0, 23),
            months=_numbers(month, 1, 12, _MONTHS),
            years=_numbers(year, YEAR_MIN, YEAR_MAX),
            days=_days_of_week(weekday) if day == "?" else _days_of_month(day),
        )
    except ValueError as error:
        raise _refuse(text, str(error)) from None


def _refuse(text: str, reason: str) -> InvalidInputError:
    return InvalidInputError(
        f"'{text}' is no cron expression: {reason}.", ErrorCode.INVALID_REQUEST
    )


def _numbers(
    text: str, least: int, greatest: int, names: dict[str, int] | None = None
) -> tuple[int, ...]:
    """Return the numbers that a field with `,`, `-`, `*` and `/` stands for, ascending.

    Raises:
        ValueError: It cannot be read.
    """
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, last = _bounds(span, least, greatest, names or {}, open_ended=bool(slash))
        if slash and (not step.isdecimal() or not int(step)):
            raise ValueError(f"'{part}' has no step")
        found.update(range(first, last + 1, int(step) if slash else 1))
    return tuple(sorted(found))


def _bounds(
    text: str, least: int, greatest: int, names: dict[str, int], *, open_ended: bool
) -> tuple[int, int]:
    if text == "*":
        return least, greatest
    begin, dash, end = text.partition("-")
    first = _number(begin, least, greatest, names)
    if not dash:
        return first, greatest if open_ended else first
    last = _number(end, least, greatest, names)
    if last < first:
        raise ValueError(f"'{text}' ends before it begins")
    return first, last


def _number(text: str, least: int, greatest: int, names: dict[str, int]) -> int:
    number = names.get(text, int(text) if text.isdecimal() else -1)
    if not least <= number <= greatest:
        raise ValueError(f"'{text}' is not between {least} and {greatest}")
    return number


def _days_of_month(text: str) -> Days:
    if text == "L":
        return lambda year, month: {_length(year, month)}
    if text == "LW":
        return lambda year, month: {_nearest_weekday(year, month, _length(year, month))}
    if text.endswith("W"):
        wanted = _number(text[:-1], 1, 31, {})
        return lambda year, month: (
            {_nearest_weekday(year, month, wanted)} if wanted <= _length(year, month) else set()
        )
    days = set(_numbers(text, 1, 31))
    return lambda year, month: {day for day in days if day <= _length(year, month)}


def _days_of_week(text: str) -> Days:
    if text == "L":
        text = "7"
    elif text.endswith("L"):
        weekday = _number(text[:-1], 1, 7, _WEEKDAYS)
        return lambda year, month: {max(_on_weekday(year, month, weekday))}
    if "#" in text:
        name, _, place = text.partition("#")
        weekday, nth = _number(name, 1, 7, _WEEKDAYS), _number(place, 1, 5, {})
        return lambda year, month: set(_on_weekday(year, month, weekday)[nth - 1 : nth])
    weekdays = _numbers(text, 1, 7, _WEEKDAYS)
    return lambda year, month: {
        day for weekday in weekdays for day in _on_weekday(year, month, weekday)
    }


def _length(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]


def _on_weekday(year: int, month: int, weekday: int) -> list[int]:
    """Return the days of a month that are a weekday, 1 for Sunday, ascending."""
    first, length = calendar.monthrange(year, month)  # Monday is 0
    return list(range(1 + (weekday - 2 - first) % 7, length + 1, 7))


def _nearest_weekday(year: int, month: int, day: int) -> int:
    """Return the day from Monday to Friday that is nearest to a day, in the same month."""
    weekday = calendar.weekday(year, month, day)
    if weekday == calendar.SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == calendar.SUNDAY:
        return day + 1 if day < _length(year, month) else day - 2
    return day


def _moment(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us // 1_000_000, tz=UTC)


def _us(moment: datetime) -> int:
    return round(moment.timestamp()) * 1_000_000
