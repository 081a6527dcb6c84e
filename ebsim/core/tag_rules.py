"""The rules for tags that hold wherever tags are given (semantics section 1.5)."""

from collections.abc import Mapping

from ebsim import refusals

TAGS_MAX = 50
TAG_KEY_LENGTH_MAX = 128
TAG_VALUE_LENGTH_MAX = 256
RESERVED_PREFIX = "aws:"


def is_reserved(key: str) -> bool:
    """Return whether users may not set or remove tags of this key; they count in no limit."""
    return key.lower().startswith(RESERVED_PREFIX)


def check_tags(tags: Mapping[str, str]) -> None:
    """Check all tags that a user wants on a new resource.

    Raises:
        InvalidInputError: There are too many, a key is empty or reserved, or one is too long.
    """
    check_tag_count(tags)
    for key, value in tags.items():
        check_tag(key, value)


def check_tag(key: str, value: str) -> None:
    """Check one tag that a user wants.

    Raises:
        InvalidInputError: Its key is empty or reserved, or it is too long.
    """
    if not key or is_reserved(key):
        raise refusals.tag_key_malformed(key)
    if len(key) > TAG_KEY_LENGTH_MAX or len(value) > TAG_VALUE_LENGTH_MAX:
        raise refusals.tag_too_long(key, TAG_KEY_LENGTH_MAX, TAG_VALUE_LENGTH_MAX)


def check_tag_count(tags: Mapping[str, str]) -> None:
    """Check that a resource may have all these tags together.

    Raises:
        InvalidInputError: More than 50 are not reserved.
    """
    count = sum(not is_reserved(key) for key in tags)
    if count > TAGS_MAX:
        raise refusals.tag_limit(count, TAGS_MAX)
