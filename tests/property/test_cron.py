"""Cron expressions, beside a model that tries every minute."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebsim.core.cron import parse_cron
from ebsim.errors import ErrorCode, InvalidInputError

SUNDAY_FIRST = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


def us(moment: datetime) -> int:
    return round(moment.timestamp()) * 1_000_000


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return us(datetime(year, month, day, hour, minute, tzinfo=UTC))


def field(least: int, greatest: int) -> st.SearchStrategy[str]:
    number = st.integers(least, greatest)
    ordered = st.tuples(number, number).map(sorted)
    part = st.one_of(
        number.map(str),
        ordered.map(lambda ends: f"{ends[0]}-{ends[1]}"),
        st.tuples(number, st.integers(1, 9)).map(lambda each: f"{each[0]}/{each[1]}"),
    )
    return st.one_of(st.just("*"), st.lists(part, min_size=1, max_size=3).map(",".join))


def means(text: str, number: int, greatest: int) -> bool:
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            return True
        end = int(last) if dash else greatest if step else int(first)
        if int(first) <= number <= end and (number - int(first)) % int(step or 1) == 0:
            return True
    return False


@given(field(0, 59), field(0, 23), field(1, 31), field(1, 12), st.integers(0, 400 * 24 * 60))
def test_last_and_next_equal_the_model(
    minute: str, hour: str, day: str, month: str, offset: int
) -> None:
    cron = parse_cron(f"cron({minute} {hour} {day} {month} ? *)")
    now = datetime(2027, 1, 1, tzinfo=UTC) + timedelta(minutes=offset)

    def due(moment: datetime) -> bool:
        return (
            means(minute, moment.minute, 59)
            and means(hour, moment.hour, 23)
            and means(day, moment.day, 31)
            and means(month, moment.month, 12)
        )

    for found, step in ((cron.last(us(now)), -1), (cron.next(us(now)), 1)):
        if found is None:
            continue
        moment = datetime.fromtimestamp(found / 1e6, tz=UTC)
        assert due(moment)
        between = now if step < 0 else now + timedelta(minutes=1)
        for _ in range(3000):  # nothing nearer, as far as is looked
            if between == moment:
                break
            assert not due(between)
            between += timedelta(minutes=step)


@pytest.mark.parametrize(
    ("text", "now", "last"),
    [
        ("cron(0 10 ? * MON-FRI *)", at(2026, 11, 22, 9), at(2026, 11, 20, 10)),  # on a Sunday
        ("cron(0 10 ? * 2-6 *)", at(2026, 11, 22, 9), at(2026, 11, 20, 10)),
        ("cron(30 6 L * ? *)", at(2028, 3, 1), at(2028, 2, 29, 6, 30)),
        ("cron(0 18 ? * 6L *)", at(2026, 11, 30), at(2026, 11, 27, 18)),  # the last Friday
        ("cron(0 8 ? * 2#1 *)", at(2026, 11, 22), at(2026, 11, 2, 8)),  # the first Monday
        ("cron(0 8 ? * 2#5 *)", at(2026, 11, 22), at(2026, 8, 31, 8)),
        ("cron(0 0 1W * ? *)", at(2026, 8, 20), at(2026, 8, 3)),  # the 1st is a Saturday
        ("cron(0 0 31W * ? *)", at(2026, 9, 20), at(2026, 8, 31)),
        ("cron(0 0 15W * ? *)", at(2026, 11, 20), at(2026, 11, 16)),  # the 15th is a Sunday
        ("cron(0 0 LW * ? *)", at(2026, 2, 28, 12), at(2026, 2, 27)),
        ("cron(0 0 ? * L *)", at(2026, 11, 22), at(2026, 11, 21)),  # Saturday
        ("cron(15/20 10 * * ? *)", at(2026, 11, 22, 10, 40), at(2026, 11, 22, 10, 35)),
        ("cron(0 0 1 JAN ? 2020-2022)", at(2026, 1, 1), at(2022, 1, 1)),
        ("cron(0 0 30 2 ? *)", at(2026, 1, 1), None),
        ("cron(0 0 1 1 ? 2199)", at(2026, 1, 1), None),
    ],
)
def test_last_time_of(text: str, now: int, last: int | None) -> None:
    assert parse_cron(text).last(now) == last


def test_weekdays_are_those_of_the_calendar() -> None:
    for number, name in enumerate(SUNDAY_FIRST, start=1):
        found = parse_cron(f"cron(0 0 ? * {number} *)").last(at(2026, 11, 22))
        assert found == parse_cron(f"cron(0 0 ? * {name} *)").last(at(2026, 11, 22))
        assert found is not None
        assert datetime.fromtimestamp(found / 1e6, tz=UTC).strftime("%a").upper() == name


@pytest.mark.parametrize(
    "text",
    [
        "0 10 * * ? *",
        "cron(0 10 * * ?)",
        "cron(0 10 * * * *)",
        "cron(0 10 ? * ? *)",
        "cron(60 10 * * ? *)",
        "cron(0 24 * * ? *)",
        "cron(0 10 0 * ? *)",
        "cron(0 10 32W * ? *)",
        "cron(0 10 * 13 ? *)",
        "cron(0 10 ? * 8 *)",
        "cron(0 10 ? * 2#6 *)",
        "cron(0 10 * * ? 1969)",
        "cron(0 10-8 * * ? *)",
        "cron(0/0 10 * * ? *)",
        "cron(0/x 10 * * ? *)",
        "cron(-1 10 * * ? *)",
        "cron(a b c d e f g)",
        "cron(0 ² * * ? *)",
    ],
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_cron(text)

    assert caught.value.code is ErrorCode.INVALID_REQUEST
