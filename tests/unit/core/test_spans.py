"""Spans of calendar time."""

from datetime import UTC, datetime

import pytest

from ebsim.core.spans import Span, before, behind, parse_span
from ebsim.errors import InvalidInputError


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("2w", Span(0, 336)),
        ("1d", Span(0, 24)),
        ("36h", Span(0, 36)),
        ("1y6m10d12h", Span(18, 252)),
        ("3m", Span(3, 0)),
    ],
)
def test_span_is_read(text: str, span: Span) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize(
    "text", ["", "2", "w", "2W", "1d1w", "-1d", "0d", "1.5d", "1 d", "9999999y"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_span(text)


@pytest.mark.parametrize(
    ("start", "span", "end"),
    [
        ("2024-02-29T12:00", Span(12, 0), "2025-02-28T12:00"),
        ("2026-01-31T00:00", Span(1, 0), "2026-02-28T00:00"),
        ("2026-12-31T00:00", Span(2, 24), "2027-03-01T00:00"),
        ("2026-03-01T00:00", Span(0, 24), "2026-03-02T00:00"),
    ],
)
def test_months_are_those_of_the_calendar(start: str, span: Span, end: str) -> None:
    assert behind(us(start), span) == us(end)


def test_months_back() -> None:
    assert before(us("2026-03-31T01:00"), Span(1, 1)) == us("2026-02-28T00:00")
    assert before(us("2026-01-15T00:00") + 7, Span(13, 0)) == us("2024-12-15T00:00") + 7


def test_the_calendar_has_ends() -> None:
    now = us("2026-01-01T00:00")

    assert before(now, Span(100_000, 0)) < us("0002-01-01T00:00")
    assert behind(now, Span(100_000, 0)) > us("9999-01-01T00:00")
