"""Filters as EC2's Describe operations have them (semantics section 1.6).

The values of one filter are alternatives; all filters must hold. Names and values are compared with
case. In a value `*` stands for any text, `?` for any one character, and a backslash takes the next
character as it is.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from ebsim import refusals
from ebsim.clock import format_time
from ebsim.requests import Filter

VALUES_MAX = 200
"""Values of all filters of one query together."""

TAG_PREFIX = "tag:"

Record = TypeVar("Record")
Texts = Callable[[Record], Iterable[str]]


class Filtering(Generic[Record]):
    """The filters that a kind of record knows.

    Args:
        fields: For each name, the texts of a record one of which must match; none match nothing.
        tags: The tags of a record, for `tag:KEY` and `tag-key`; None where it has none.
    """

    def __init__(
        self,
        fields: Mapping[str, Texts[Record]],
        tags: Callable[[Record], Mapping[str, str]] | None = None,
    ) -> None:
        self._fields = dict(fields)
        self._tags = tags
        if tags is not None:
            self._fields["tag-key"] = lambda record: tags(record).keys()

    def predicate(self, filters: Sequence[Filter]) -> Callable[[Record], bool]:
        """Return whether a record passes all filters.

        Raises:
            InvalidInputError: A filter is unknown, or has no values.
            LimitExceededError: They have too many values.
        """
        if sum(len(each.values) for each in filters) > VALUES_MAX:
            raise refusals.filter_limit(VALUES_MAX)
        if not filters:
            return lambda _record: True
        tests = [self._test(each) for each in filters]
        return lambda record: all(test(record) for test in tests)

    def _test(self, wanted: Filter) -> Callable[[Record], bool]:
        texts = self._texts(wanted.name)
        if not wanted.values or isinstance(wanted.values, str):
            raise refusals.filter_without_values(wanted.name)
        pattern = re.compile("|".join(map(wildcard_pattern, wanted.values)), re.DOTALL)
        return lambda record: any(pattern.fullmatch(text) for text in texts(record))

    def _texts(self, name: str) -> Texts[Record]:
        found = self._fields.get(name)
        if found is not None:
            return found
        tags = self._tags
        key = name.removeprefix(TAG_PREFIX)
        if tags is None or not key or key == name:
            raise refusals.filter_unknown(name)
        return lambda record: [tags(record)[key]] if key in tags(record) else []


def wildcard_pattern(value: str) -> str:
    """Return the regular expression that a filter's value stands for.

    What stands between two `*` is taken where it comes first, for good: so a text is gone through
    once for each, however many there are. To try all places would take a server's lifetime.
    """
    pieces = [""]  # between the stars
    characters = iter(value)
    for character in characters:
        if character == "*":
            pieces.append("")
        elif character == "?":
            pieces[-1] += "."
        elif character == "\\":  # the last one has nothing to take, and stands for itself
            pieces[-1] += re.escape(next(characters, "\\"))
        else:
            pieces[-1] += re.escape(character)
    first, *between = pieces
    if not between:
        return f"(?:{first})"
    last = between.pop()
    return f"(?:{first}{''.join(f'(?>.*?{piece})' for piece in between if piece)}.*{last})"


def flag(value: object) -> list[str]:
    """Return the text of a truth value in a filter."""
    return ["true" if value else "false"]


def moment(time_us: int) -> list[str]:
    """Return the texts of a time in a filter: with milliseconds, and on the second without."""
    text = format_time(time_us)
    return [text, text.replace(".000Z", "Z")]
