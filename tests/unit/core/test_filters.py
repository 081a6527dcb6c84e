"""Filters: alternatives within one, all of them together, wildcards, tags."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebsim.core.filters import VALUES_MAX, Filtering, flag, moment
from ebsim.errors import EbsimError, ErrorCode
from ebsim.requests import Filter
from ebsim.testing.seams import START_US


@dataclass
class Thing:
    name: str
    color: str = "red"
    tags: dict[str, str] = field(default_factory=dict)


FILTERING = Filtering[Thing](
    {
        "name": lambda thing: [thing.name],
        "color": lambda thing: [thing.color],
        "none": lambda _: [],
    },
    lambda thing: thing.tags,
)


def passes(thing: Thing, *filters: Filter) -> bool:
    return FILTERING.predicate(filters)(thing)


WILDCARDS = [
    ("web1", "web1", True),
    ("web1", "Web1", False),  # case counts
    ("web1", "web", False),  # the whole text
    ("web1", "web*", True),
    ("web", "web*", True),
    ("web1", "*1", True),
    ("web1", "w*1", True),
    ("", "*", True),
    ("", "", True),
    ("web1", "web?", True),
    ("web", "web?", False),
    ("a\nb", "a*b", True),
    ("a\nb", "a?b", True),
    ("web*", r"web\*", True),
    ("web1", r"web\*", False),
    ("web?", r"web\?", True),
    ("a\\b", r"a\\b", True),
    ("a\\", "a\\", True),  # a last backslash stands for itself
    ("ab", r"\a\b", True),
    ("a.c", "a.c", True),
    ("abc", "a.c", False),  # no other character is special
    ("a[b]+(c)$", "a[b]+(c)$", True),
    ("größer", "gr??er", True),
]


@pytest.mark.parametrize(("text", "value", "fits"), WILDCARDS)
def test_wildcards(text: str, value: str, fits: bool) -> None:
    assert passes(Thing(text), Filter("name", [value])) is fits


def fits_anywhere(text: str, value: str) -> bool:
    """Return whether a value without backslashes fits, by trying all places for each star."""
    if not value:
        return not text
    if value[0] == "*":
        return any(fits_anywhere(text[at:], value[1:]) for at in range(len(text) + 1))
    return bool(text) and value[0] in {"?", text[0]} and fits_anywhere(text[1:], value[1:])


@given(st.text("ab", max_size=8), st.lists(st.text("ab*?", max_size=8), min_size=1, max_size=3))
def test_wildcards_stand_for_any_text(text: str, values: list[str]) -> None:
    fits = any(fits_anywhere(text, value) for value in values)
    assert passes(Thing(text), Filter("name", values)) is fits


def test_many_wildcards_take_a_moment() -> None:
    """Each in every place would be 10**40 tries."""
    assert not passes(Thing("a" * 255), Filter("name", ["*a" * 60 + "*b"] * VALUES_MAX))


def test_values_of_one_filter_are_alternatives() -> None:
    wanted = Filter("name", ["web*", "db1"])

    assert passes(Thing("web7"), wanted)
    assert passes(Thing("db1"), wanted)
    assert not passes(Thing("db2"), wanted)


def test_alternatives_do_not_run_into_each_other() -> None:
    assert not passes(Thing("acd"), Filter("name", ["ab", "cd"]))


def test_all_filters_must_hold() -> None:
    wanted = [Filter("name", ["web*"]), Filter("color", ["blue"])]

    assert passes(Thing("web1", "blue"), *wanted)
    assert not passes(Thing("web1", "red"), *wanted)
    assert not passes(Thing("db", "blue"), *wanted)


def test_same_filter_twice_must_hold_twice() -> None:
    wanted = [Filter("name", ["a*"]), Filter("name", ["*b"])]

    assert passes(Thing("ab"), *wanted)
    assert not passes(Thing("ac"), *wanted)


def test_no_filters_pass_everything() -> None:
    assert passes(Thing("x"))


def test_field_without_texts_matches_nothing() -> None:
    assert not passes(Thing("x"), Filter("none", ["*"]))


def test_tag_is_compared_by_its_value() -> None:
    thing = Thing("x", tags={"Name": "web1", "empty": ""})

    assert passes(thing, Filter("tag:Name", ["web*"]))
    assert passes(thing, Filter("tag:empty", [""]))
    assert not passes(thing, Filter("tag:name", ["*"]))  # case counts in keys too
    assert not passes(thing, Filter("tag:Na*", ["*"]))  # a key is no pattern
    assert not passes(thing, Filter("tag:other", ["*"]))


def test_tag_key_is_there_whatever_its_value() -> None:
    thing = Thing("x", tags={"Name": "web1", "empty": ""})

    assert passes(thing, Filter("tag-key", ["empty"]))
    assert passes(thing, Filter("tag-key", ["Na*"]))
    assert not passes(thing, Filter("tag-key", ["web1"]))


def test_key_of_a_tag_may_hold_a_colon() -> None:
    assert passes(Thing("x", tags={"a:b": "1"}), Filter("tag:a:b", ["1"]))


@pytest.mark.parametrize("name", ["bogus", "Name", "tag:", "tags", "tag-value", ""])
def test_unknown_filter_is_refused(name: str) -> None:
    with pytest.raises(EbsimError, match=f"The filter '{name}' is invalid") as caught:
        FILTERING.predicate([Filter(name, ["x"])])
    assert caught.value.code is ErrorCode.INVALID_PARAMETER_VALUE


def test_tags_of_records_without_are_unknown() -> None:
    with pytest.raises(EbsimError, match="tag-key"):
        Filtering[Thing]({}).predicate([Filter("tag-key", ["x"])])
    with pytest.raises(EbsimError, match="tag:x"):
        Filtering[Thing]({}).predicate([Filter("tag:x", ["x"])])


@pytest.mark.parametrize("values", [[], "web*"])
def test_filter_without_a_list_of_values_is_refused(values: list[str] | str) -> None:
    """A text alone would be taken letter by letter."""
    with pytest.raises(EbsimError, match="has no values"):
        FILTERING.predicate([Filter("name", values)])


def test_number_of_values_is_limited_over_all_filters() -> None:
    half = Filter("name", ["x"] * (VALUES_MAX // 2))

    FILTERING.predicate([half, half])
    with pytest.raises(EbsimError) as caught:
        FILTERING.predicate([half, half, Filter("color", ["x"])])
    assert caught.value.code is ErrorCode.FILTER_LIMIT_EXCEEDED


def test_many_stars_take_no_longer_than_they_must() -> None:
    assert not passes(Thing("a" * 300), Filter("name", ["*a*a*a*b"]))


def test_truth_values_are_in_lower_case() -> None:
    assert (flag(value=True), flag(value=False)) == (["true"], ["false"])


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("2026-01-01T00:00:00.000Z", True),
        ("2026-01-01T00:00:00Z", True),
        ("2026-01-*", True),
        ("2026-01-01T*", True),
        ("2026-02-*", False),
        ("2026-01-01", False),
    ],
)
def test_times_are_compared_as_texts(value: str, fits: bool) -> None:
    filtering = Filtering[int]({"time": moment})

    assert filtering.predicate([Filter("time", [value])])(START_US) is fits


def test_time_off_the_second_is_not_rounded() -> None:
    assert moment(START_US + 1500) == ["2026-01-01T00:00:00.001Z"] * 2
