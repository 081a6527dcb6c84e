"""JSON bodies: those of REST-JSON (EBS direct, rbin, dlm) and of AWS JSON 1.1 (KMS)."""

import base64
import json
import math
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from ebsim.server.protocol.scalars import (
    BadValueError,
    format_timestamp,
    parse_blob,
    parse_timestamp,
    unix_time,
)
from ebsim.server.protocol.wire import Document, FaultError

DEPTH_MAX = 64


class JsonText(str):
    """A member of a result that is JSON already: lists of ten thousand entries are made as text."""

    __slots__ = ()


_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "character": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float, str),
    "double": (int, float, str),
}


def parse_json(body: bytes | memoryview, code: str) -> Document:
    """Return the object that a body holds; an empty body is an empty one.

    Raises:
        FaultError: With this code: it is none.
    """
    if not len(body):
        return {}
    try:
        found = json.loads(bytes(body))
    except (ValueError, RecursionError):
        raise FaultError(code, "The body is no JSON document.") from None
    if not isinstance(found, dict):
        raise FaultError(code, "The body is no JSON object.")
    return found


def read_structure(
    shape: StructureShape, document: Document, code: str, skipped: frozenset[str] = frozenset()
) -> Document:
    """Return the members of a structure that a JSON object has; others are passed over.

    Args:
        shape: The structure.
        document: The object.
        code: That of the fault if a member is of another type.
        skipped: Members that are not in the body.

    Raises:
        FaultError: A member is of another type.
    """
    try:
        return {name: value for name, value in _members(shape, document, 0) if name not in skipped}
    except BadValueError as error:
        raise FaultError(code, f"The body is not as expected: {error}.") from None


def _members(shape: StructureShape, document: Any, depth: int) -> Any:  # noqa: ANN401
    if not isinstance(document, dict):
        raise BadValueError("expected an object")
    for name, member in shape.members.items():
        value = document.get(member.serialization.get("name", name))
        if value is not None:
            yield name, _read(member, value, depth + 1)


def _read(shape: Shape, value: Any, depth: int) -> Any:  # noqa: ANN401 - any JSON value
    if depth > DEPTH_MAX:
        raise BadValueError("nested too deeply")
    if isinstance(shape, StructureShape):
        return dict(_members(shape, value, depth))
    if isinstance(shape, ListShape):
        if not isinstance(value, list):
            raise BadValueError("expected a list")
        return [_read(shape.member, each, depth + 1) for each in value if each is not None]
    if isinstance(shape, MapShape):
        if not isinstance(value, dict):
            raise BadValueError("expected an object")
        return {key: _read(shape.value, each, depth + 1) for key, each in value.items()}
    return _read_scalar(shape, value)


def _read_scalar(shape: Shape, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    kind = shape.type_name
    if kind == "blob" and isinstance(value, str):
        return parse_blob(value)
    if kind == "timestamp" and isinstance(value, (str, int, float)):
        form = shape.serialization.get("timestampFormat", "unixTimestamp")
        return parse_timestamp(str(value), form)
    wanted = _KINDS.get(kind, ())
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind != "boolean"):
        raise BadValueError(f"expected a {kind}")
    return float(str(value)) if kind in {"float", "double"} else value


def write_structure(
    shape: StructureShape, value: Document, skipped: frozenset[str] = frozenset()
) -> bytes:
    """Return the JSON object of a structure; a member may be `JsonText`, which is not looked at."""
    members = []
    for name, member in shape.members.items():
        below = value.get(name)
        if name in skipped or below is None:
            continue
        if not isinstance(below, JsonText):
            below = json.dumps(_writer(member)(below), separators=(",", ":"))
        members.append(f'"{member.serialization.get("name", name)}":{below}')
    return f"{{{','.join(members)}}}".encode("ascii")


@cache
def _writer(shape: Shape) -> Callable[[Any], Any]:
    if isinstance(shape, StructureShape):
        return _structure_writer(shape)
    if isinstance(shape, ListShape):
        inner = shape.member
        return lambda value: [_writer(inner)(each) for each in value]
    if isinstance(shape, MapShape):
        below = shape.value
        return lambda value: {key: _writer(below)(each) for key, each in value.items()}
    if shape.type_name == "timestamp":
        return _timestamp_writer(shape.serialization.get("timestampFormat", "unixTimestamp"))
    return _SCALARS.get(shape.type_name, _as_it_is)


def _structure_writer(shape: StructureShape) -> Callable[[Document], Document]:
    known = {
        name: (member.serialization.get("name", name), member)
        for name, member in shape.members.items()
    }

    def write(value: Document) -> Document:
        found: Document = {}
        for name, below in value.items():
            if below is not None:
                wire_name, member = known[name]
                found[wire_name] = _writer(member)(below)
        return found

    return write


def _write_blob(value: bytes | str) -> str:
    data = value.encode() if isinstance(value, str) else value
    return base64.b64encode(data).decode("ascii")


def _timestamp_writer(form: str) -> Callable[[datetime], str | float]:
    if form == "unixTimestamp":
        return unix_time
    return lambda value: format_timestamp(value, form)


def _write_float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _as_it_is(value: str | int | bool) -> str | int | bool:
    return value


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "blob": _write_blob,
    "float": _write_float,
    "double": _write_float,
}
