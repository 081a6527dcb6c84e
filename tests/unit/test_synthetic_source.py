"""A source made of stamps reads as the bytes it stands for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebsim.errors import SourceError
from ebsim.testing.synthetic import SyntheticSource, block_content
from ebsim.units import BLOCK_SIZE, TIB

STAMPS = [0, 5, 6, 0, 0x0102030405060708, 2**64 - 1]
SIZE = 5 * BLOCK_SIZE + 1001
WHOLE = b"".join(block_content(stamp) for stamp in STAMPS)[:SIZE]


def make_source() -> SyntheticSource:
    return SyntheticSource("memory:test", SIZE, np.array(STAMPS, dtype=np.uint64))


def test_block_contents_are_whole_blocks_and_distinct() -> None:
    contents = [block_content(stamp) for stamp in STAMPS]
    assert {len(content) for content in contents} == {BLOCK_SIZE}
    assert len(set(contents)) == len(set(STAMPS))
    assert block_content(0) == bytes(BLOCK_SIZE)


@given(
    offset=st.one_of(
        st.integers(0, SIZE - 1),
        st.integers(0, 5).map(lambda index: index * BLOCK_SIZE),
    ),
    length=st.one_of(st.integers(1, 20), st.integers(1, 2 * BLOCK_SIZE)),
)
def test_any_range_reads_as_its_bytes(offset: int, length: int) -> None:
    expected = WHOLE[offset : offset + length]
    buffer = bytearray(b"\xaa" * len(expected))
    make_source().read_into(offset, memoryview(buffer))
    assert buffer == expected


def test_reading_past_the_end_is_refused() -> None:
    with pytest.raises(SourceError):
        make_source().read_into(SIZE - 1, memoryview(bytearray(2)))


def test_data_ranges_merge_runs_and_end_with_the_source() -> None:
    assert list(make_source().data_ranges(0, SIZE)) == [
        (BLOCK_SIZE, 3 * BLOCK_SIZE),
        (4 * BLOCK_SIZE, SIZE),
    ]


def test_data_ranges_stay_within_what_was_asked() -> None:
    source = make_source()
    assert list(source.data_ranges(BLOCK_SIZE + 1, BLOCK_SIZE + 3)) == [
        (BLOCK_SIZE + 1, BLOCK_SIZE + 3)
    ]
    assert list(source.data_ranges(3 * BLOCK_SIZE, 4 * BLOCK_SIZE)) == []


def test_a_run_over_many_steps_is_one_range() -> None:
    size = TIB
    stamps = np.full(size // BLOCK_SIZE, 7, dtype=np.uint64)
    assert list(SyntheticSource("memory:large", size, stamps).data_ranges(0, size)) == [(0, size)]


def test_stamps_may_change_between_snapshots() -> None:
    stamps = np.array(STAMPS, dtype=np.uint64)
    source = SyntheticSource("memory:test", SIZE, stamps)
    stamps[0] = 9
    buffer = bytearray(8)
    source.read_into(0, memoryview(buffer))
    assert buffer == b"\x09" + bytes(7)
