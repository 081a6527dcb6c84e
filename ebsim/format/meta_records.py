"""What segments say beside blocks: hashes of versions, pages of block maps, and the journal.

With these three kinds of records a catalog can be made again from the segments alone: the journal
gives snapshots, their roots, tags, lineage and charges; page records give the maps; version records
give each version's block hash; and the block records give the bytes under that hash.
"""

import struct
from collections.abc import Sequence
from typing import Any

from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.block_hash import HASH_SIZE
from ebsim.format.records import decode_json, encode_json

ZERO_HASH = bytes(HASH_SIZE)
"""Stands for the zero block in a version record."""

VERSIONS_PER_RECORD = 8192
PAGES_PER_RECORD = 512

_VERSIONS = struct.Struct("<QI")
_PAGES = struct.Struct("<QI")
_PAGE_ENTRY = struct.Struct("<I")


def encode_versions(first: int, hashes: Sequence[bytes]) -> bytes:
    """Return the payload that gives versions `first`, `first` + 1, ... their block hashes."""
    return _VERSIONS.pack(first, len(hashes)) + b"".join(hashes)


def decode_versions(payload: bytes | memoryview) -> tuple[int, list[bytes]]:
    """Return the first version id and the hashes.

    Raises:
        CorruptionError: The lengths do not fit.
    """
    first, count = _unpack(_VERSIONS, payload, 0)
    body = bytes(payload[_VERSIONS.size :])
    if len(body) != count * HASH_SIZE:
        raise CorruptionError("a version record of a wrong size", ErrorCode.CORRUPT_SEGMENT)
    return first, [body[at : at + HASH_SIZE] for at in range(0, len(body), HASH_SIZE)]


def encode_pages(first: int, pages: Sequence[bytes]) -> bytes:
    """Return the payload that holds the encoded pages `first`, `first` + 1, ..."""
    sizes = b"".join(_PAGE_ENTRY.pack(len(page)) for page in pages)
    return _PAGES.pack(first, len(pages)) + sizes + b"".join(pages)


def decode_pages(payload: bytes | memoryview) -> tuple[int, list[bytes]]:
    """Return the first page id and the encoded pages.

    Raises:
        CorruptionError: The lengths do not fit.
    """
    first, count = _unpack(_PAGES, payload, 0)
    at = _PAGES.size + count * _PAGE_ENTRY.size
    pages = []
    for position in range(count):
        (size,) = _unpack(_PAGE_ENTRY, payload, _PAGES.size + position * _PAGE_ENTRY.size)
        pages.append(bytes(payload[at : at + size]))
        at += size
    if at != len(payload):
        raise CorruptionError("a page record of a wrong size", ErrorCode.CORRUPT_SEGMENT)
    return first, pages


def encode_journal(sequence: int, previous: bytes, operation: str, facts: dict[str, Any]) -> bytes:
    """Return a journal entry.

    Args:
        sequence: The number of the commit it belongs to.
        previous: The XXH3-128 of the payload of the entry before it: a chain, so that of two
            entries with one number the one that was never committed can be told.
        operation: `complete` or `delete`.
        facts: What the operation did, enough to do it again.
    """
    return encode_json(
        {"sequence": sequence, "previous": previous.hex(), "operation": operation, "facts": facts}
    )


def decode_journal(payload: bytes | memoryview) -> dict[str, Any]:
    """Return a journal entry's fields.

    Raises:
        CorruptionError: It is none.
    """
    entry = decode_json(bytes(payload))
    if entry.keys() != {"sequence", "previous", "operation", "facts"}:
        raise CorruptionError("no journal entry", ErrorCode.CORRUPT_SEGMENT)
    return entry


def _unpack(layout: struct.Struct, payload: bytes | memoryview, offset: int) -> tuple[int, ...]:
    if len(payload) < offset + layout.size:
        raise CorruptionError("a record's payload is cut off", ErrorCode.CORRUPT_SEGMENT)
    return layout.unpack_from(payload, offset)
