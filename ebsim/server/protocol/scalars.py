"""Scalars on the wire: how text becomes a value of a shape, and a value becomes text."""

import base64
import binascii
import math
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from botocore.model import Shape

INTEGER_BITS = {"integer": 32, "long": 64}


class BadValueError(ValueError):
    """A text is no value of its shape; the message says what was expected."""


def text_parser(shape: Shape, timestamp_format: str = "iso8601") -> Callable[[str], Any]:
    """Return what reads a value of a scalar shape from text.

    Args:
        shape: string, character, integer, long, float, double, boolean, blob or timestamp.
        timestamp_format: Of a timestamp whose shape does not say it itself.
    """
    kind = shape.type_name
    if kind in INTEGER_BITS:
        return _integer_parser(INTEGER_BITS[kind])
    if kind == "timestamp":
        form = shape.serialization.get("timestampFormat", timestamp_format)
        return lambda text: parse_timestamp(text, form)
    return _PARSERS.get(kind, str)


def _integer_parser(bits: int) -> Callable[[str], int]:
    bound = 1 << bits - 1

    def parse(text: str) -> int:
        digits = text[1:] if text[:1] in "+-" else text
        if not digits.isascii() or not digits.isdigit() or len(digits) > len(str(bound)):
            raise BadValueError("expected a whole number")
        value = int(text)
        if not -bound <= value < bound:
            raise BadValueError(f"expected a whole number of {bits} bits")
        return value

    return parse


def _parse_boolean(text: str) -> bool:
    known = {"true": True, "false": False}.get(text.lower())
    if known is None:
        raise BadValueError("expected true or false")
    return known


def _parse_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise BadValueError("expected a number") from None


def parse_blob(text: str) -> bytes:
    """Return the bytes that Base64 stands for.

    Raises:
        BadValueError: It is none.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadValueError("expected Base64") from None


_PARSERS: dict[str, Callable[[str], Any]] = {
    "boolean": _parse_boolean,
    "float": _parse_float,
    "double": _parse_float,
    "blob": parse_blob,
}


def parse_timestamp(text: str, form: str) -> datetime:
    """Return a point in time, in UTC.

    Args:
        text: What was sent.
        form: iso8601, unixTimestamp or rfc822. A number is taken as Unix time in each.

    Raises:
        BadValueError: It is none.
    """
    try:
        found = parsedate_to_datetime(text) if form == "rfc822" else _moment(text)
    except (ValueError, OverflowError, OSError, TypeError):
        raise BadValueError("expected a time such as 2026-01-31T12:00:00Z") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _moment(text: str) -> datetime:
    try:
        seconds = float(text)
    except ValueError:
        return datetime.fromisoformat(text)
    if not math.isfinite(seconds):
        raise ValueError(text)
    return datetime.fromtimestamp(seconds, UTC)


def text_writer(shape: Shape, timestamp_format: str = "iso8601") -> Callable[[Any], str]:
    """Return what writes a value of a scalar shape as text, as `text_parser` reads it."""
    if shape.type_name == "timestamp":
        form = shape.serialization.get("timestampFormat", timestamp_format)
        return lambda value: format_timestamp(value, form)
    return _WRITERS.get(shape.type_name, str)


def format_timestamp(value: datetime, form: str) -> str:
    """Return a point in time as text; milliseconds are kept in ISO 8601, as EC2 does."""
    utc = value if value.tzinfo is UTC else value.astimezone(UTC)
    if form == "rfc822":
        return format_datetime(utc, usegmt=True)
    if form == "unixTimestamp":
        return repr(unix_time(utc))
    return utc.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def unix_time(value: datetime) -> float | int:
    """Return seconds since 1970, whole where they are, else in milliseconds."""
    seconds = round(value.timestamp(), 3)
    return int(seconds) if seconds == int(seconds) else seconds


def _write_float(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


_WRITERS: dict[str, Callable[[Any], str]] = {
    "boolean": lambda value: "true" if value else "false",
    "blob": lambda value: base64.b64encode(
        value.encode() if isinstance(value, str) else value
    ).decode("ascii"),
    "float": _write_float,
    "double": _write_float,
}
