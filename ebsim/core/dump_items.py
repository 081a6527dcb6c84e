"""What a dump is made of: items, each a flat description of one structure on disk."""

import dataclasses
from array import array
from collections.abc import Iterator, Mapping
from enum import Enum
from itertools import islice
from typing import Any

import numpy as np

DumpItem = dict[str, Any]
"""What JSON can hold. `Kind` says of what; `Damaged`, where it is, why that does not decode."""

HIDDEN = "(not shown)"
"""What stands for the key of the block hash, and for wrapped data keys."""

_HIDDEN_NAMES = frozenset({"wrapped"})
"""Of fields that hold a wrapped data key: no secret, but nothing to be sent around either."""


def plain(value: Any) -> Any:  # noqa: ANN401 - whatever a decoder returns
    """Return a decoded value as JSON can hold it: bytes in hex, enumerations by name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: _member(name, getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(name): _member(str(name), found) for name, found in value.items()}
    if isinstance(value, (tuple, list, array, np.ndarray)):
        return [plain(found) for found in value]
    return _plain_scalar(value)


def _member(name: str, value: Any) -> Any:  # noqa: ANN401 - as above
    return HIDDEN if name in _HIDDEN_NAMES else plain(value)


def _plain_scalar(value: Any) -> Any:  # noqa: ANN401 - as above
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, np.integer):
        return int(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def limited(items: Iterator[DumpItem], limit: int, what: str) -> Iterator[DumpItem]:
    """Yield at most `limit` items, then an item that says there is more; 0 is no limit."""
    if not limit:
        yield from items
        return
    yield from islice(items, limit)
    if next(items, None) is not None:
        yield {"Kind": "more", "Of": what, "Limit": limit}
