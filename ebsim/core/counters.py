"""Numbers that only grow, kept in the catalog: no id is ever used twice."""

from enum import Enum

from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.catalog_values import FIRST_BLOCK, Table
from ebsim.storage.catalog import CatalogReader, CatalogWriter

_BYTES = 8


class Counter(Enum):
    """What is numbered, with the first number given out."""

    SEQUENCE = (b"sequence", 1)
    SESSION = (b"session", 1)
    SEGMENT = (b"segment", 1)
    VOLUME = (b"volume", 1)
    NODE = (b"node", 1)
    LINEAGE = (b"lineage", 1)
    PAGE = (b"page", 1)
    VERSION = (b"version", 1)
    BLOCK = (b"block", FIRST_BLOCK)
    FREED = (b"freed", 1)


def peek(reader: CatalogReader, counter: Counter) -> int:
    """Return the number that would be given out next."""
    key, first = counter.value
    value = reader.get(Table.META, key)
    if value is None:
        return first
    if len(value) != _BYTES:
        raise CorruptionError(f"the counter {key.decode()} is damaged", ErrorCode.CORRUPT_CATALOG)
    return int.from_bytes(value, "little")


def take(writer: CatalogWriter, counter: Counter, count: int = 1) -> int:
    """Return the first of `count` consecutive numbers that are given out for good."""
    first = peek(writer, counter)
    writer.put(Table.META, counter.value[0], (first + count).to_bytes(_BYTES, "little"))
    return first
