"""Sources: exact sizes, holes, and errors that name the place and the reason."""

import errno
import fcntl
import os
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ebsim.errors import EbsimError, ErrorCode, InvalidInputError, NotFoundError, SourceError
from ebsim.storage.sources import (
    BlockSource,
    DeviceSource,
    FileSource,
    open_source,
    seek_data_ranges,
)
from ebsim.testing import devices
from ebsim.testing.descriptors import no_descriptor_left
from ebsim.units import KIB, MIB

SMALL = 1_000_003
"""A size that is no multiple of anything."""


def read(source: BlockSource, offset: int, length: int) -> bytes:
    buffer = bytearray(length)
    source.read_into(offset, memoryview(buffer))
    return bytes(buffer)


def sync_file_system(mount_point: Path) -> None:
    subprocess.run(["sync", "--file-system", mount_point], check=True)


@pytest.fixture(autouse=True)
def no_descriptor_stays_open() -> Iterator[None]:
    with no_descriptor_left():
        yield


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(range(251)) * (SMALL // 251) + bytes(SMALL % 251))
    return path


@pytest.fixture
def source(image: Path) -> Iterator[FileSource]:
    opened = open_source(image)
    assert isinstance(opened, FileSource)
    yield opened
    opened.close()


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    """8 MiB and a byte: data at 1 MiB and at 4 MiB, 64 KiB each, and holes around."""
    path = tmp_path / "sparse.img"
    with path.open("wb") as file:
        for offset in (1 * MIB, 4 * MIB):
            file.seek(offset)
            file.write(b"d" * (64 * KIB))
        file.truncate(8 * MIB + 1)
    return path


def test_size_is_exact(source: FileSource) -> None:
    assert source.size_bytes == SMALL


def test_reads_what_the_file_holds(source: FileSource, image: Path) -> None:
    assert read(source, 0, SMALL) == image.read_bytes()
    assert read(source, SMALL - 1, 1) == image.read_bytes()[-1:]
    assert read(source, 12_345, 0) == b""


def test_any_number_of_threads_may_read_while_ranges_are_asked_for(sparse: Path) -> None:
    opened = open_source(sparse)
    content = sparse.read_bytes()
    offsets = range(0, 8 * MIB, 64 * KIB)
    with ThreadPoolExecutor(4) as pool:
        parts = pool.map(lambda offset: read(opened, offset, 64 * KIB), offsets)
        for _ in range(20):
            assert len(list(opened.data_ranges(0, 8 * MIB))) == 2
        assert b"".join(parts) == content[: 8 * MIB]
    opened.close()


def test_identity_is_the_real_path(image: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.img"
    link.symlink_to("disk.img")
    opened = open_source(str(link))
    assert opened.identity == str(image.resolve())
    opened.close()


def test_relative_path_has_the_same_identity(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(image.parent)
    opened = open_source("./disk.img")
    assert opened.identity == str(image.resolve())
    opened.close()


def test_source_cannot_be_written_to_nor_inherited(source: FileSource) -> None:
    flags = fcntl.fcntl(source.fileno(), fcntl.F_GETFL)
    assert flags & os.O_ACCMODE == os.O_RDONLY
    assert not os.get_inheritable(source.fileno())


def test_closing_twice_does_nothing(image: Path) -> None:
    opened = open_source(image)
    opened.close()
    opened.close()


# Holes


def test_holes_are_left_out(sparse: Path) -> None:
    opened = open_source(sparse)
    ranges = list(opened.data_ranges(0, opened.size_bytes))
    opened.close()
    assert len(ranges) == 2
    for (start, end), data in zip(ranges, (1 * MIB, 4 * MIB), strict=True):
        assert start <= data
        assert end >= data + 64 * KIB
        assert end - start < MIB


def test_what_is_outside_the_ranges_is_zeros(sparse: Path) -> None:
    opened = open_source(sparse)
    content = bytearray(sparse.read_bytes())
    for start, end in opened.data_ranges(0, opened.size_bytes):
        content[start:end] = bytes(end - start)
    opened.close()
    assert not any(content)


def test_ranges_stay_within_the_bounds_asked_for(sparse: Path) -> None:
    opened = open_source(sparse)
    middle = 1 * MIB + 4 * KIB + 1
    assert list(opened.data_ranges(middle, middle + 5)) == [(middle, middle + 5)]
    assert list(opened.data_ranges(2 * MIB, 3 * MIB)) == []
    assert list(opened.data_ranges(middle, middle)) == []
    assert next(opened.data_ranges(middle, 8 * MIB))[0] == middle
    opened.close()


def test_file_of_nothing_but_a_hole_has_no_ranges(tmp_path: Path) -> None:
    path = tmp_path / "hole.img"
    path.touch()
    os.truncate(path, 3 * MIB + 7)
    opened = open_source(path)
    assert opened.size_bytes == 3 * MIB + 7
    assert list(opened.data_ranges(0, opened.size_bytes)) == []
    opened.close()


def test_dense_file_is_one_range_to_its_exact_end(source: FileSource) -> None:
    assert list(source.data_ranges(0, SMALL)) == [(0, SMALL)]
    assert list(source.data_ranges(0, SMALL + MIB)) == [(0, SMALL)]


def test_half_used_ranges_outlive_the_source(sparse: Path) -> None:
    opened = open_source(sparse)
    ranges = opened.data_ranges(0, opened.size_bytes)
    next(ranges)
    opened.close()
    assert len(list(ranges)) == 1


def test_without_seek_data_everything_may_be_data() -> None:
    fd = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            os.lseek(fd, 0, os.SEEK_DATA)
        assert list(seek_data_ranges(fd, 10, 5_000)) == [(10, 5_000)]
    finally:
        os.close(fd)


# Failures while reading


def test_failed_read_names_offset_length_and_reason(source: FileSource) -> None:
    memory = os.open("/proc/self/mem", os.O_RDONLY)  # its first page is not mapped: EIO
    os.dup2(memory, source.fileno())
    os.close(memory)
    with pytest.raises(SourceError) as caught:
        read(source, 512, 1024)
    assert caught.value.code is ErrorCode.SOURCE_READ_FAILED
    for part in ("offset 512", "1024 bytes", source.identity, os.strerror(errno.EIO)):
        assert part in str(caught.value)


def test_failed_look_for_holes_is_a_failed_read(source: FileSource) -> None:
    reader, writer = os.pipe()  # lseek: ESPIPE
    os.dup2(reader, source.fileno())
    os.close(reader)
    os.close(writer)
    with pytest.raises(SourceError) as caught:
        list(source.data_ranges(0, SMALL))
    assert caught.value.code is ErrorCode.SOURCE_READ_FAILED


def test_file_that_ends_too_early_has_changed(source: FileSource, image: Path) -> None:
    os.truncate(image, 5_000)
    assert len(read(source, 0, 5_000)) == 5_000
    with pytest.raises(SourceError) as caught:
        read(source, 4_000, 2_000)
    assert caught.value.code is ErrorCode.SOURCE_CHANGED
    assert "byte 5000" in str(caught.value)


@pytest.mark.parametrize(("size", "verb"), [(SMALL - 1, "shrank"), (SMALL + 1, "grew")])
def test_other_size_is_a_change(source: FileSource, image: Path, size: int, verb: str) -> None:
    source.ensure_unchanged()
    os.truncate(image, size)
    with pytest.raises(SourceError, match=verb) as caught:
        source.ensure_unchanged()
    assert caught.value.code is ErrorCode.SOURCE_CHANGED
    assert str(SMALL) in str(caught.value)
    assert str(size) in str(caught.value)


def test_growth_is_not_read(source: FileSource, image: Path) -> None:
    with image.open("ab") as file:
        file.write(b"more")
    assert source.size_bytes == SMALL
    assert list(source.data_ranges(0, 2 * SMALL)) == [(0, SMALL)]


def test_file_renamed_over_does_no_harm(source: FileSource, image: Path) -> None:
    content = image.read_bytes()
    other = image.with_name("other.img")
    other.write_bytes(b"other")
    other.replace(image)
    source.ensure_unchanged()
    assert not source.modified_since_open
    assert read(source, 0, SMALL) == content


def test_write_of_the_same_size_is_noticed(source: FileSource, image: Path) -> None:
    before = source.modified_since_open
    with image.open("r+b") as file:
        file.write(b"changed")
    os.utime(image, (1, 1))  # whatever the granularity of the kernel's clock
    assert (before, source.modified_since_open) == (False, True)
    source.ensure_unchanged()


def test_reading_is_no_modification(source: FileSource) -> None:
    read(source, 0, SMALL)
    assert not source.modified_since_open


# What is refused


def refusal(path: str | Path) -> EbsimError:
    with pytest.raises(EbsimError) as caught:
        open_source(path)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", ["missing.img", "missing/disk.img", "disk.img/below"])
@pytest.mark.usefixtures("image")
def test_missing_source_is_not_found(tmp_path: Path, name: str) -> None:
    error = refusal(tmp_path / name)
    assert isinstance(error, NotFoundError)
    assert error.code is ErrorCode.SOURCE_NOT_FOUND
    assert name in str(error)


def test_link_that_leads_nowhere_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    assert refusal(tmp_path / "link").code is ErrorCode.SOURCE_NOT_FOUND


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    assert isinstance(refusal(tmp_path / "link"), SourceError)


def test_impossible_path_is_refused() -> None:
    assert refusal("disk\0.img").code is ErrorCode.SOURCE_UNSUPPORTED


def test_folder_is_unsupported(tmp_path: Path) -> None:
    error = refusal(tmp_path)
    assert isinstance(error, InvalidInputError)
    assert error.code is ErrorCode.SOURCE_UNSUPPORTED
    assert "a folder" in str(error)


def test_pipe_is_unsupported_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    error = refusal(tmp_path / "pipe")
    assert error.code is ErrorCode.SOURCE_UNSUPPORTED
    assert "a pipe" in str(error)


def test_socket_is_unsupported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may have 107 bytes only
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        error = refusal("socket")
    assert error.code is ErrorCode.SOURCE_UNSUPPORTED
    assert "a socket" in str(error)


def test_character_device_is_unsupported() -> None:
    error = refusal("/dev/null")
    assert error.code is ErrorCode.SOURCE_UNSUPPORTED
    assert "a character device" in str(error)


def test_empty_file_is_unsupported(tmp_path: Path) -> None:
    (tmp_path / "empty.img").touch()
    error = refusal(tmp_path / "empty.img")
    assert isinstance(error, InvalidInputError)
    assert error.code is ErrorCode.SOURCE_UNSUPPORTED
    assert "is empty" in str(error)


def test_file_of_somebody_else_says_what_to_do(image: Path) -> None:
    image.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        error = refusal(image)
    finally:
        if user == 0:
            os.seteuid(0)
    assert isinstance(error, SourceError)
    assert error.code is ErrorCode.SOURCE_READ_FAILED
    assert "Run ebsim as root" in str(error)


# Block devices


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    """3 MiB and 512 bytes."""
    image = tmp_path / "device.img"
    image.write_bytes(os.urandom(3 * MIB + 512))
    with devices.loop_device(image) as attached:
        yield attached


@pytest.mark.root
def test_device_is_read_to_its_exact_size(device: Path, tmp_path: Path) -> None:
    opened = open_source(device)
    assert isinstance(opened, DeviceSource)
    assert opened.identity == str(device)
    assert opened.size_bytes == 3 * MIB + 512
    assert read(opened, 0, opened.size_bytes) == (tmp_path / "device.img").read_bytes()
    opened.ensure_unchanged()
    assert not opened.modified_since_open
    opened.close()


@pytest.mark.root
def test_device_is_one_range(device: Path) -> None:
    opened = open_source(device)
    assert list(opened.data_ranges(0, 100 * MIB)) == [(0, 3 * MIB + 512)]
    assert list(opened.data_ranges(5, 7)) == [(5, 7)]
    assert list(opened.data_ranges(7, 7)) == []
    opened.close()


@pytest.mark.root
def test_device_is_opened_while_it_is_mounted(tmp_path: Path) -> None:
    image = devices.make_image(tmp_path / "fs.img", "ext4")
    with devices.loop_device(image) as attached, devices.mounted(attached):
        open_source(attached).close()


@pytest.mark.root
def test_device_without_a_disk_is_empty() -> None:
    free = subprocess.run(["losetup", "--find"], capture_output=True, text=True, check=True)
    error = refusal(free.stdout.strip())
    assert error.code is ErrorCode.SOURCE_UNSUPPORTED
    assert "attached" in str(error)


@pytest.mark.root
def test_device_that_grew_has_changed(device: Path, tmp_path: Path) -> None:
    opened = open_source(device)
    os.truncate(tmp_path / "device.img", 4 * MIB)
    subprocess.run(["losetup", "--set-capacity", device], check=True)
    with pytest.raises(SourceError, match="grew") as caught:
        opened.ensure_unchanged()
    assert caught.value.code is ErrorCode.SOURCE_CHANGED
    opened.close()


@pytest.mark.root
def test_other_device_under_the_same_path_is_a_change(device: Path, tmp_path: Path) -> None:
    node = tmp_path / "node"
    number = device.stat().st_rdev
    os.mknod(node, 0o600 | 0o060000, number)
    opened = open_source(node)
    opened.ensure_unchanged()
    node.unlink()
    for device_number in (None, os.makedev(os.major(number), os.minor(number) + 1)):
        if device_number is not None:
            os.mknod(node, 0o600 | 0o060000, device_number)
        with pytest.raises(SourceError, match="replaced") as caught:
            opened.ensure_unchanged()
        assert caught.value.code is ErrorCode.SOURCE_CHANGED
    opened.close()


@pytest.mark.root
def test_write_to_a_device_is_noticed(device: Path) -> None:
    opened = open_source(device)
    with device.open("r+b") as file:
        file.write(b"changed")
        file.flush()
        os.fsync(file.fileno())
    assert opened.modified_since_open
    opened.ensure_unchanged()
    opened.close()


@pytest.mark.root
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("ext4", marks=pytest.mark.root("mkfs.ext4")),
        pytest.param("btrfs", marks=pytest.mark.root("mkfs.btrfs")),
    ],
)
def test_second_look_at_a_mounted_device_sees_what_was_written(tmp_path: Path, kind: str) -> None:
    """The file system writes past the device's page cache, which the first look filled."""
    image = devices.make_image(tmp_path / "fs.img", kind)
    with devices.loop_device(image) as attached, devices.mounted(attached, kind) as mount_point:
        file = mount_point / "file"
        file.write_bytes(b"\xaa" * (512 * KIB))
        sync_file_system(mount_point)
        opened = open_source(attached)
        first = read(opened, 0, opened.size_bytes)
        opened.close()
        assert b"\xaa" * (64 * KIB) in first

        with file.open("r+b") as again:
            again.write(b"\xbb" * (512 * KIB))
        sync_file_system(mount_point)
        opened = open_source(attached)
        second = read(opened, 0, opened.size_bytes)
        opened.close()
        assert b"\xbb" * (64 * KIB) in second


@pytest.mark.root("xfs_io", "mkfs.xfs")
def test_failing_disk_is_a_failed_read(tmp_path: Path) -> None:
    image = devices.make_image(tmp_path / "fs.img", "xfs")
    with devices.mounted(image, "xfs") as mount_point:
        (mount_point / "disk.img").write_bytes(os.urandom(2 * MIB))
        sync_file_system(mount_point)
        opened = open_source(mount_point / "disk.img")
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        subprocess.run(["xfs_io", "-x", "-c", "shutdown", mount_point], check=True)
        with pytest.raises(SourceError) as caught:
            read(opened, MIB, 4096)
        opened.close()
    assert caught.value.code is ErrorCode.SOURCE_READ_FAILED
    assert f"offset {MIB}" in str(caught.value)
