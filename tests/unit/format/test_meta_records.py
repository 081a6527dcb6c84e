"""What segments say beside blocks: it comes back, and any other length is damage."""

import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebsim.errors import CorruptionError
from ebsim.format.meta_records import (
    PAGES_PER_RECORD,
    VERSIONS_PER_RECORD,
    ZERO_HASH,
    decode_journal,
    decode_pages,
    decode_versions,
    encode_journal,
    encode_pages,
    encode_versions,
)
from ebsim.format.segment import PAYLOAD_SIZE_MAX
from ebsim.units import MIB

NUMBERS = st.integers(0, 2**64 - 1)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=3,
)

VERSIONS = encode_versions(7, [b"a" * 32, ZERO_HASH, b"c" * 32])
PAGES = encode_pages(7, [b"first", b"", b"third"])
JOURNAL = encode_journal(7, b"p" * 16, "delete", {"steps": [1, {"a": None}]})


@given(NUMBERS, st.lists(st.binary(min_size=32, max_size=32), max_size=20))
def test_versions_come_back(first: int, hashes: list[bytes]) -> None:
    assert decode_versions(encode_versions(first, hashes)) == (first, hashes)


@given(NUMBERS, st.lists(st.binary(max_size=50), max_size=20))
def test_pages_come_back(first: int, pages: list[bytes]) -> None:
    assert decode_pages(encode_pages(first, pages)) == (first, pages)


@given(
    NUMBERS,
    st.binary(min_size=16, max_size=16),
    st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=3),
)
def test_journal_entry_comes_back(sequence: int, previous: bytes, facts: dict[str, Any]) -> None:
    found = decode_journal(encode_journal(sequence, previous, "complete", facts))

    assert found == {
        "sequence": sequence,
        "previous": previous.hex(),
        "operation": "complete",
        "facts": facts,
    }


def test_records_can_be_read_from_a_view() -> None:
    assert decode_versions(memoryview(VERSIONS)) == decode_versions(VERSIONS)
    assert decode_pages(memoryview(PAGES)) == decode_pages(PAGES)
    assert decode_journal(memoryview(JOURNAL)) == decode_journal(JOURNAL)


@pytest.mark.parametrize(
    ("decode", "payload"),
    [(decode_versions, VERSIONS), (decode_pages, PAGES), (decode_journal, JOURNAL)],
    ids=["versions", "pages", "journal"],
)
def test_every_other_length_is_damage(decode: Callable[[bytes], object], payload: bytes) -> None:
    for altered in [*(payload[:end] for end in range(len(payload))), payload + b"\0"]:
        with pytest.raises(CorruptionError):
            decode(altered)


@pytest.mark.parametrize(
    ("decode", "payload"),
    [
        (decode_versions, struct.pack("<QI", 1, 2**32 - 1)),
        (decode_pages, struct.pack("<QI", 1, 2**32 - 1)),
        (decode_pages, struct.pack("<QII", 1, 1, 2**32 - 1) + b"page"),
        (decode_pages, struct.pack("<QIII", 1, 2, 2**32 - 1, 5) + b"page"),
    ],
)
def test_count_out_of_bounds_is_damage_and_takes_no_memory(
    decode: Callable[[bytes], object], payload: bytes
) -> None:
    """F44"""
    tracemalloc.start()
    try:
        with pytest.raises(CorruptionError):
            decode(payload)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "payload",
    [
        b"{}",
        b"[]",
        JOURNAL.replace(b'"sequence"', b'"sequences"'),
        JOURNAL.replace(b'"facts"', b'"extra":1,"facts"'),
        JOURNAL.replace(b'"operation":"delete",', b""),
    ],
)
def test_journal_entry_with_other_fields_is_damage(payload: bytes) -> None:
    with pytest.raises(CorruptionError):
        decode_journal(payload)


def test_fullest_records_fit_into_a_segment() -> None:
    versions = encode_versions(1, [ZERO_HASH] * VERSIONS_PER_RECORD)
    pages = encode_pages(1, [bytes(3000)] * PAGES_PER_RECORD)  # no page of 2048 bytes grows so far

    assert max(len(versions), len(pages)) <= PAYLOAD_SIZE_MAX
