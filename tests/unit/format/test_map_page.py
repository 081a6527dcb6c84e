"""Pages of numbers: any numbers come back, and nothing else passes for a page."""

import struct
import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.map_page import (
    PAGE_ENTRIES,
    Page,
    decode_numbers,
    decode_page,
    empty_page,
    encode_numbers,
    encode_page,
    numbers_of,
    own_places,
)
from ebsim.units import MIB

NUMBERS_MAX = 1000
ANY_NUMBER = st.integers(0, 2**64 - 1)
COUNTING = st.builds(lambda first: list(range(first, first + 9)), st.integers(0, 2**64 - 9))


def page_of(*numbers: int) -> Page:
    return numbers_of([*numbers, *[0] * (PAGE_ENTRIES - len(numbers))])


def zstd_frame(content_size: int, *blocks: bytes) -> bytes:
    """Return a zstd frame, made by hand, that says how long its content is."""
    return b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", content_size) + b"".join(blocks)


def raw_block(content: bytes, *, last: bool = True) -> bytes:
    """Return a block of a zstd frame that holds the content as it is."""
    return struct.pack("<I", len(content) << 3 | last)[:3] + content


@given(st.lists(ANY_NUMBER, min_size=1, max_size=NUMBERS_MAX) | COUNTING)
def test_numbers_come_back(numbers: list[int]) -> None:
    found = decode_numbers(encode_numbers(numbers), NUMBERS_MAX)

    assert found.typecode == "Q"
    assert found.tolist() == numbers


@given(st.lists(ANY_NUMBER, min_size=PAGE_ENTRIES, max_size=PAGE_ENTRIES))
def test_page_comes_back(numbers: list[int]) -> None:
    assert decode_page(encode_page(page_of(*numbers))) == page_of(*numbers)


@pytest.mark.parametrize(
    "page",
    [
        empty_page(),
        page_of(1),
        page_of(*range(1, 257)),
        page_of(*range(2**64 - 256, 2**64)),
        page_of(*[0, 2**64 - 1] * 128),
        page_of(*[2**64 - 1, 0] * 128),
    ],
)
def test_page_at_the_borders_comes_back(page: Page) -> None:
    assert decode_page(encode_page(page)) == page


def test_page_of_counting_numbers_is_small() -> None:
    """The common case, of which there is one for each 128 MiB of a volume."""
    assert len(encode_page(page_of(*range(10**9, 10**9 + 256)))) < 40
    assert len(encode_page(empty_page())) < 32


def test_page_that_was_read_can_be_changed() -> None:
    page = decode_page(encode_page(page_of(5)))

    page[1] = 6

    assert page[:3].tolist() == [5, 6, 0]


def test_more_numbers_than_allowed_are_damage() -> None:
    data = encode_numbers(range(10))

    assert len(decode_numbers(data, 10)) == 10
    with pytest.raises(CorruptionError, match="size") as caught:
        decode_numbers(data, 9)
    assert caught.value.code is ErrorCode.CORRUPT_CATALOG


@pytest.mark.parametrize("count", [0, 1, 255, 257])
def test_page_of_another_length_is_damage(count: int) -> None:
    with pytest.raises(CorruptionError):
        decode_page(encode_numbers([1] * count))


SKIPPABLE = b"\x50\x2a\x4d\x18" + struct.pack("<I", 4) + b"skip"
GOOD = encode_page(page_of(1, 2, 3))
PLAIN = zstandard.ZstdDecompressor().decompress(GOOD)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"garbage",
        GOOD[:-1],
        GOOD[:8],
        GOOD + b"\0",
        GOOD + GOOD,
        SKIPPABLE,
        SKIPPABLE + GOOD,
        GOOD + SKIPPABLE,
        zstd_frame(1 << 32, raw_block(PLAIN)),
        zstd_frame(1 << 46, raw_block(PLAIN)),
        zstd_frame(2**64 - 1, raw_block(PLAIN)),
        zstd_frame(len(PLAIN) + 1, raw_block(PLAIN)),
        zstd_frame(len(PLAIN) - 8, raw_block(PLAIN)),
        zstd_frame(len(PLAIN) + 8, raw_block(PLAIN)),
        zstd_frame(len(PLAIN), raw_block(PLAIN, last=False)),
        zstd_frame(len(PLAIN), raw_block(PLAIN, last=False), raw_block(b"more")),
        zstd_frame(0, raw_block(b"")) + b"trailing",
        zstandard.ZstdCompressor(write_content_size=False).compress(PLAIN),
        zstandard.ZstdCompressor().compress(bytes(64 * MIB)),
    ],
)
def test_what_is_no_page_is_damage_and_takes_no_memory(data: bytes) -> None:
    """F42, F43"""
    tracemalloc.start()
    try:
        with pytest.raises(CorruptionError) as caught:
            decode_page(data)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()

    assert caught.value.code is ErrorCode.CORRUPT_CATALOG


@pytest.mark.parametrize(
    "data",
    [
        SKIPPABLE,
        zstd_frame(0, raw_block(b"")),
        zstd_frame(0, raw_block(b"")) + b"trailing",
        encode_numbers([]),
    ],
)
def test_what_is_no_frame_of_numbers_is_not_taken_for_none_of_them(data: bytes) -> None:
    """An entry of the table FREED that reads as empty would never give its versions back."""
    with pytest.raises(CorruptionError):
        decode_numbers(data, PAGE_ENTRIES)


def test_frame_made_by_hand_is_a_page() -> None:
    """Else the test above would see only frames that no decompressor likes."""
    page = decode_page(zstd_frame(len(PLAIN), raw_block(PLAIN)))

    assert page == page_of(1, 2, 3)


def test_page_of_another_shape_is_not_written() -> None:
    with pytest.raises(AssertionError):
        encode_page(numbers_of([0] * 255))


ENTRIES = st.lists(st.integers(0, 3), min_size=PAGE_ENTRIES, max_size=PAGE_ENTRIES)


@given(ENTRIES, st.lists(ENTRIES, max_size=3))
def test_own_places_are_those_where_no_other_page_has_the_same(
    entries: list[int], others: list[list[int]]
) -> None:
    found = own_places(page_of(*entries), [page_of(*other) for other in others])

    assert found == [
        place
        for place, entry in enumerate(entries)
        if entry and all(other[place] != entry for other in others)
    ]
