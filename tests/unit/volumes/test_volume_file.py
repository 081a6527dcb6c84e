"""A volume as a file object."""

import io
import os

import pytest

from ebsim.engine import Store
from ebsim.errors import InvalidInputError
from ebsim.requests import VolumeRequest
from ebsim.units import BLOCK_SIZE, GIB
from ebsim.volumes.volume_file import VolumeFile


@pytest.fixture(params=[None, True], ids=["plain", "encrypted"])
def volume(request: pytest.FixtureRequest, store: Store) -> str:
    wanted = VolumeRequest(size_gib=1, encrypted=request.param)
    return store.volumes.create(wanted).volume_id


@pytest.fixture
def file(store: Store, volume: str) -> VolumeFile:
    return store.volumes.open(volume)


def test_it_is_a_raw_file(file: VolumeFile, volume: str) -> None:
    assert isinstance(file, io.RawIOBase)
    assert (file.readable(), file.writable(), file.seekable()) == (True, True, True)
    assert (file.name, file.mode, file.size, file.tell()) == (volume, "rb+", GIB, 0)


def test_write_seek_and_read(file: VolumeFile) -> None:
    assert file.seek(BLOCK_SIZE - 3) == BLOCK_SIZE - 3
    assert file.write(b"across") == 6
    assert file.tell() == BLOCK_SIZE + 3
    assert file.seek(-6, os.SEEK_CUR) == BLOCK_SIZE - 3
    assert file.read(6) == b"across"
    assert file.seek(-4, os.SEEK_END) == GIB - 4
    assert file.read(100) == bytes(4)
    assert file.read(100) == b""
    assert file.seek(GIB + 5) == GIB + 5
    assert file.read(1) == b""
    assert file.readinto(bytearray(0)) == 0


def test_buffers_of_any_shape_are_taken(file: VolumeFile) -> None:
    numbers = memoryview(bytes(range(16))).cast("I")
    assert file.pwrite(numbers, 100) == 16
    into = memoryview(bytearray(16)).cast("H")
    assert file.pread_into(into, 100) == 16
    assert bytes(into) == bytes(range(16))
    with io.BufferedRandom(file) as buffered:
        buffered.seek(101)
        buffered.write(b"\xff")
        buffered.seek(100)
        assert buffered.read(3) == b"\x00\xff\x02"


@pytest.mark.parametrize(("offset", "whence"), [(-1, os.SEEK_SET), (-GIB - 1, os.SEEK_END), (0, 9)])
def test_seek_to_nowhere_is_refused(file: VolumeFile, offset: int, whence: int) -> None:
    with pytest.raises(InvalidInputError):
        file.seek(offset, whence)
    assert file.tell() == 0


def test_what_does_not_fit_is_refused_whole(file: VolumeFile) -> None:
    for offset, data in ((GIB - 1, b"xy"), (GIB, b"x"), (-1, b"x")):
        with pytest.raises(InvalidInputError):
            file.pwrite(data, offset)
    with pytest.raises(InvalidInputError):
        file.discard(-BLOCK_SIZE, BLOCK_SIZE)
    with pytest.raises(InvalidInputError):
        file.pread(1, -1)
    with pytest.raises(InvalidInputError):
        file.pread(-1, 0)
    file.seek(GIB - 1)
    with pytest.raises(InvalidInputError):
        file.write(b"xy")
    assert file.tell() == GIB - 1
    assert file.read() == b"\0"
    assert file.pwrite(b"", GIB) == 0


def test_truncate_is_refused(file: VolumeFile) -> None:
    with pytest.raises(InvalidInputError):
        file.truncate(0)
    assert file.size == GIB


def test_closed_file_is_of_no_use_and_others_are(store: Store, volume: str) -> None:
    first, second = store.volumes.open(volume), store.volumes.open(volume)
    first.pwrite(b"x", 0)
    first.close()
    first.close()
    for act in (
        lambda: first.pread(1, 0),
        lambda: first.pread_into(bytearray(1), 0),
        lambda: first.pwrite(b"x", 0),
        lambda: first.discard(0, 1),
        lambda: first.seek(0),
        lambda: first.read(1),
        lambda: first.write(b"x"),
    ):
        with pytest.raises(ValueError, match="closed"):
            act()
    assert second.pread(1, 0) == b"x"
