"""The rules for tags that hold wherever tags are given (semantics section 1.5)."""

from collections.abc import Mapping
from dataclasses import replace

from ebsim import refusals
from ebsim.format.records import SnapshotRecord

TAGS_MAX = 50
TAG_KEY_LENGTH_MAX = 128
TAG_VALUE_LENGTH_MAX = 256
RESERVED_PREFIX = "aws:"
TAGGERS_MAX = 100
"""Accounts beside its owner that can have tags on one snapshot, as its record has them."""


def is_reserved(key: str) -> bool:
    """Return whether users may not set or remove tags of this key; they count in no limit."""
    return str(key).lower().startswith(RESERVED_PREFIX)


def tag_values(tags: Mapping[str, str | None]) -> dict[str, str]:
    """Return tags as they are kept: null means the empty value."""
    return {key: value or "" for key, value in tags.items()}


def check_tags(tags: Mapping[str, str | None]) -> None:
    """Check all tags that a user wants on a new resource.

    Raises:
        InvalidInputError: There are too many, a key is empty or reserved, or one is too long.
    """
    check_tag_count(tags)
    for key, value in tags.items():
        check_tag(key, value)


def check_tag(key: object, value: object) -> None:
    """Check one tag that a user wants, whatever a program hands over; null is the empty value.

    Raises:
        InvalidInputError: Its key is empty or reserved, or it is too long.
    """
    if not isinstance(key, str) or not key or is_reserved(key):
        raise refusals.tag_key_malformed(key)
    text = "" if value is None else value
    if not isinstance(text, str):
        raise refusals.invalid_value(repr(value), "tag", "Expected a text")
    if len(key) > TAG_KEY_LENGTH_MAX or len(text) > TAG_VALUE_LENGTH_MAX:
        raise refusals.tag_too_long(key, TAG_KEY_LENGTH_MAX, TAG_VALUE_LENGTH_MAX)


def check_tag_count(tags: Mapping[str, object]) -> None:
    """Check that a resource may have all these tags together.

    Raises:
        InvalidInputError: More than 50 are not reserved.
    """
    count = sum(not is_reserved(key) for key in tags)
    if count > TAGS_MAX:
        raise refusals.tag_limit(count, TAGS_MAX)


def tags_by(record: SnapshotRecord, account: str) -> dict[str, str]:
    """Return the tags on a snapshot that an account put there: nobody else sees them."""
    if account == record.owner:
        return record.tags
    return record.tags_of_others.get(account, {})


def with_tags_by(record: SnapshotRecord, account: str, tags: Mapping[str, str]) -> SnapshotRecord:
    """Return a snapshot's record with these tags of an account instead of those it had.

    Raises:
        InvalidInputError: Too many other accounts have tags on it.
    """
    if account == record.owner:
        return replace(record, tags=dict(tags))
    others = {**record.tags_of_others, account: dict(tags)}
    others = {name: theirs for name, theirs in others.items() if theirs}
    if len(others) > TAGGERS_MAX:
        raise refusals.invalid_value(
            f"tags of {len(others)} accounts",
            "Tag",
            f"Expected those of at most {TAGGERS_MAX} beside its owner on {record.snapshot_id}",
        )
    return replace(record, tags_of_others=others)
