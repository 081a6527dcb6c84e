"""Reads and writes of a volume at any place: within a block, across blocks, at its end."""

import pytest

from ebsim.engine import Store
from ebsim.errors import InvalidInputError
from ebsim.requests import VolumeRequest
from ebsim.units import BLOCK_SIZE, GIB
from ebsim.volumes.volume_file import VolumeFile

LENGTHS = (1, 512, BLOCK_SIZE // 2, BLOCK_SIZE, BLOCK_SIZE + 1, 2 * BLOCK_SIZE + 1)
DISTANCES = (0, 1, 511, BLOCK_SIZE // 4)
"""Of the beginning of a request from the end of a block."""


@pytest.fixture(params=[None, True], ids=["plain", "encrypted"])
def volume(request: pytest.FixtureRequest, store: Store) -> VolumeFile:
    wanted = VolumeRequest(size_gib=1, encrypted=request.param)
    return store.volumes.open(store.volumes.create(wanted).volume_id)


def pattern(length: int) -> bytes:
    return (b"0123456789abcdefg" * (length // 17 + 1))[:length]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("distance", DISTANCES)
def test_write_changes_its_own_bytes_and_no_others(
    volume: VolumeFile, length: int, distance: int
) -> None:
    start, margin = 3 * BLOCK_SIZE - distance, 100
    volume.pwrite(b"x" * (6 * BLOCK_SIZE), 0)

    assert volume.pwrite(pattern(length), start) == length

    around = volume.pread(length + 2 * margin, start - margin)
    assert around == b"x" * margin + pattern(length) + b"x" * margin
    buffer = bytearray(length)
    assert volume.pread_into(buffer, start) == length
    assert buffer == pattern(length)


@pytest.mark.parametrize("distance", DISTANCES)
def test_discard_across_blocks_makes_its_own_bytes_zeros(volume: VolumeFile, distance: int) -> None:
    volume.pwrite(b"x" * (4 * BLOCK_SIZE), 0)

    volume.discard(BLOCK_SIZE - distance, 2 * BLOCK_SIZE)

    left = volume.pread(4 * BLOCK_SIZE, 0)
    assert (
        left.strip(b"\0")
        == left[: BLOCK_SIZE - distance] + bytes(2 * BLOCK_SIZE) + left[3 * BLOCK_SIZE - distance :]
    )


def test_read_ends_at_the_end_of_the_volume(volume: VolumeFile) -> None:
    volume.pwrite(b"end", GIB - 3)

    assert volume.pread(10, GIB - 4) == b"\0end"
    assert volume.pread(10, GIB) == b""
    assert volume.pread(10, GIB + BLOCK_SIZE + 1) == b""
    assert volume.pread(0, 5) == b""
    assert volume.pread_into(bytearray(5), GIB + 1) == 0
    assert volume.pwrite(b"", GIB) == 0


def test_request_before_the_beginning_or_behind_the_end_is_refused(volume: VolumeFile) -> None:
    for offset in (-1, GIB - 2):
        with pytest.raises(InvalidInputError, match="nothing was written"):
            volume.pwrite(b"abc", offset)
    with pytest.raises(InvalidInputError, match="no offset -1"):
        volume.pread(1, -1)

    assert volume.pread(4, GIB - 4) == bytes(4)
