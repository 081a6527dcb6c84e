"""The sources that other tests are made of."""

import pytest

from ebsim.errors import ErrorCode, SourceError
from ebsim.storage.sources import BlockSource
from ebsim.testing.contents import NOISE, TEXT, ZEROS, noise_block, palette_block
from ebsim.testing.seams import START_US, ManualClock, SeededEntropy
from ebsim.testing.sources import FailingSource, MemorySource, ObservedSource, disk_of
from ebsim.units import BLOCK_SIZE


def read(source: BlockSource, offset: int, length: int) -> bytes:
    buffer = bytearray(length)
    source.read_into(offset, memoryview(buffer))
    return bytes(buffer)


def test_memory_source_reads_what_was_written() -> None:
    disk = MemorySource("memory:disk", 2 * BLOCK_SIZE + 1)
    disk.write(BLOCK_SIZE - 1, b"abc")
    disk.put(2, b"z")

    assert read(disk, BLOCK_SIZE - 2, 5) == b"\0abc\0"
    assert read(disk, 2 * BLOCK_SIZE, 1) == disk.read(2 * BLOCK_SIZE, 2 * BLOCK_SIZE + 1) == b"z"
    assert (disk.identity, disk.size_bytes) == ("memory:disk", 2 * BLOCK_SIZE + 1)


def test_memory_source_reports_holes_only_if_asked() -> None:
    for report_holes, expected in ((False, [(0, 1600)]), (True, [])):
        disk = MemorySource("memory:disk", 1600, report_holes=report_holes)
        assert list(disk.data_ranges(0, 1600)) == expected


def test_memory_source_reports_written_blocks_clipped_to_the_range() -> None:
    disk = MemorySource("memory:disk", 4 * BLOCK_SIZE, report_holes=True)
    disk.write(BLOCK_SIZE + 5, b"x")
    disk.put(3, ZEROS)

    assert list(disk.data_ranges(0, 4 * BLOCK_SIZE)) == [
        (BLOCK_SIZE, 2 * BLOCK_SIZE),
        (3 * BLOCK_SIZE, 4 * BLOCK_SIZE),
    ]
    assert list(disk.data_ranges(BLOCK_SIZE + 9, 3 * BLOCK_SIZE + 2)) == [
        (BLOCK_SIZE + 9, 2 * BLOCK_SIZE),
        (3 * BLOCK_SIZE, 3 * BLOCK_SIZE + 2),
    ]


def test_memory_source_grows_by_zeros() -> None:
    disk = disk_of(TEXT)
    disk.grow(BLOCK_SIZE + 10)

    assert disk.size_bytes == BLOCK_SIZE + 10
    assert read(disk, BLOCK_SIZE, 10) == bytes(10)
    disk.ensure_unchanged()


def test_memory_source_refuses_to_read_beyond_its_end() -> None:
    with pytest.raises(SourceError) as caught:
        read(disk_of(b"abc"), 2, 2)

    assert caught.value.code is ErrorCode.SOURCE_CHANGED


def test_observed_source_tells_before_each_read() -> None:
    told: list[tuple[int, int]] = []
    source = ObservedSource(disk_of(TEXT), lambda offset, length: told.append((offset, length)))

    assert read(source, 7, 2) == TEXT[7:9]
    assert told == [(7, 2)]


@pytest.mark.parametrize(
    ("offset", "length", "fails"),
    [
        (0, BLOCK_SIZE, False),
        (0, BLOCK_SIZE + 1, True),
        (BLOCK_SIZE + 5, 1, True),
        (2 * BLOCK_SIZE, 1, False),
    ],
)
def test_unreadable_block_fails_every_read_that_touches_it(
    offset: int, length: int, fails: bool
) -> None:
    source = FailingSource(disk_of(TEXT, TEXT, TEXT), unreadable_block=1)
    if not fails:
        assert read(source, offset, length) == (TEXT * 3)[offset : offset + length]
        return
    with pytest.raises(SourceError, match=f"offset {BLOCK_SIZE}: .*Input/output error") as caught:
        read(source, offset, length)
    assert caught.value.code is ErrorCode.SOURCE_READ_FAILED


def test_shrinking_source_fails_beyond_its_new_end_and_at_the_end() -> None:
    source = FailingSource(disk_of(TEXT, TEXT), ends_at=BLOCK_SIZE)

    assert read(source, 0, BLOCK_SIZE) == TEXT
    for operation in (lambda: read(source, BLOCK_SIZE, 1), source.ensure_unchanged):
        with pytest.raises(SourceError, match=str(BLOCK_SIZE)) as caught:
            operation()
        assert caught.value.code is ErrorCode.SOURCE_CHANGED


def test_growing_source_fails_at_the_end_only() -> None:
    source = FailingSource(disk_of(TEXT), grows=True)

    assert read(source, 0, BLOCK_SIZE) == TEXT
    with pytest.raises(SourceError) as caught:
        source.ensure_unchanged()
    assert caught.value.code is ErrorCode.SOURCE_CHANGED


def test_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock()
    assert clock.now_us() == clock.now_us() == START_US
    clock.advance(1.5)
    assert clock.now_us() == START_US + 1_500_000
    clock.set_us(7)
    assert clock.now_us() == 7
    stepping = ManualClock(100, step_us=-10)
    assert [stepping.now_us() for _ in range(3)] == [100, 90, 80]


def test_seeded_entropy_repeats() -> None:
    first, same, other = SeededEntropy(1), SeededEntropy(1), SeededEntropy(2)

    assert first.token_bytes(8) == same.token_bytes(8) != other.token_bytes(8)
    assert len(first.token_bytes(33)) == 33


def test_palette_has_no_two_equal_blocks() -> None:
    blocks = [palette_block(number) for number in range(64)]

    assert len(set(blocks)) == len(blocks)
    assert {len(block) for block in blocks} == {BLOCK_SIZE}
    assert noise_block(0) == NOISE != noise_block(1)
