"""Restore targets: exact bytes, nothing behind the image, and old files that stay whole."""

import errno
import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import ebsim
from ebsim.entropy import Entropy, SystemEntropy
from ebsim.errors import (
    ConflictError,
    EbsimError,
    ErrorCode,
    InvalidInputError,
    LimitExceededError,
    NotFoundError,
)
from ebsim.storage import native, targets
from ebsim.storage.targets import DeviceTarget, InPlaceFileTarget, NewFileTarget, RestoreTarget
from ebsim.testing import devices
from ebsim.testing.descriptors import no_descriptor_left
from ebsim.units import BLOCK_SIZE, MIB

ROOT_FOLDER = Path(ebsim.__file__).parents[1]
SYSTEM = SystemEntropy()
SIZE = 2 * BLOCK_SIZE + 1_003
"""Two blocks, and a part of a third that is no multiple of 512."""


def open_target(
    path: str | Path,
    size_bytes: int = SIZE,
    *,
    in_place: bool = False,
    force: bool = False,
    entropy: Entropy = SYSTEM,
) -> RestoreTarget:
    return targets.open_target(path, size_bytes, in_place=in_place, force=force, entropy=entropy)


def refusal(
    path: str | Path, size_bytes: int = SIZE, *, in_place: bool = False, force: bool = False
) -> EbsimError:
    with pytest.raises(EbsimError) as caught:
        open_target(path, size_bytes, in_place=in_place, force=force)
    assert "\n" not in str(caught.value)
    return caught.value


def read(target: RestoreTarget, offset: int, length: int) -> bytes:
    buffer = bytearray(b"?" * length)
    target.read_into(offset, memoryview(buffer))
    return bytes(buffer)


def blocks() -> list[bytes]:
    """Three whole blocks of different content: the last one longer than what is left of it."""
    return [os.urandom(BLOCK_SIZE) for _ in range(3)]


def write_all(target: RestoreTarget, content: list[bytes]) -> bytes:
    for index, block in enumerate(content):
        target.write(index * BLOCK_SIZE, block)
    return b"".join(content)[: target.size_bytes]


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    with no_descriptor_left():
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


@pytest.fixture
def old(folder: Path) -> Path:
    """An existing file."""
    path = folder / "out.img"
    path.write_bytes(b"old content")
    path.chmod(0o640)
    return path


# A new file


def test_new_file_appears_when_it_is_whole(folder: Path) -> None:
    target = open_target(folder / "out.img")
    assert isinstance(target, NewFileTarget)
    assert target.starts_blank
    assert (target.size_bytes, target.path) == (SIZE, str(folder / "out.img"))
    expected = write_all(target, blocks())
    assert not (folder / "out.img").exists()
    target.commit()
    assert (folder / "out.img").read_bytes() == expected
    assert os.listdir(folder) == ["out.img"]


def test_new_file_is_for_its_owner_only(folder: Path) -> None:
    target = open_target(folder / "out.img")
    (temporary,) = folder.iterdir()
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
    target.commit()
    assert stat.S_IMODE((folder / "out.img").stat().st_mode) == 0o600


def test_temporary_name_tells_whose_it_is(folder: Path) -> None:
    target = open_target(folder / "out.img")
    (name,) = os.listdir(folder)
    assert name.startswith(".out.img.ebsim-")
    target.abort()


def test_what_is_not_written_is_a_hole(folder: Path) -> None:
    target = open_target(folder / "out.img", 64 * MIB + 1)
    target.write(32 * MIB, b"data")
    assert [start for start, _ in target.data_ranges(0, 64 * MIB)] == [32 * MIB]
    target.commit()
    status = (folder / "out.img").stat()
    assert status.st_size == 64 * MIB + 1
    assert status.st_blocks * 512 < MIB


def test_aborted_file_leaves_nothing(folder: Path) -> None:
    target = open_target(folder / "out.img")
    write_all(target, blocks())
    target.abort()
    target.abort()
    assert os.listdir(folder) == []


def test_abort_after_commit_does_nothing(folder: Path) -> None:
    target = open_target(folder / "out.img")
    target.commit()
    target.abort()
    assert os.listdir(folder) == ["out.img"]


def test_many_threads_may_write(folder: Path) -> None:
    target = open_target(folder / "out.img", 8 * MIB)
    content = os.urandom(8 * MIB)
    offsets = list(range(0, 8 * MIB, 100_000))
    with ThreadPoolExecutor(4) as pool:
        done = pool.map(lambda at: target.write(at, content[at : at + 100_000]), offsets)
        assert len(list(done)) == len(offsets)
    target.commit()
    assert (folder / "out.img").read_bytes() == content


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_kind_of_buffer_is_written(folder: Path, kind: Callable[[bytes], bytes]) -> None:
    target = open_target(folder / "out.img", 4)
    target.write(0, kind(b"abcdef"))
    target.commit()
    assert (folder / "out.img").read_bytes() == b"abcd"


def test_nothing_is_written_behind_the_image(folder: Path) -> None:
    target = open_target(folder / "out.img", 10)
    target.write(10, b"behind")
    target.write(BLOCK_SIZE, b"far behind")
    target.zero(10, MIB)
    target.commit()
    assert (folder / "out.img").read_bytes() == bytes(10)


def test_interrupted_write_is_continued(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, bytes(data[:7]), at))
    target = open_target(folder / "out.img", 100)
    target.write(0, bytes(range(100)))
    target.commit()
    assert (folder / "out.img").read_bytes() == bytes(range(100))


def test_long_names_fit(folder: Path) -> None:
    for name in ("n" * 255, "ä" * 127):
        target = open_target(folder / name)
        target.commit()
        assert (folder / name).exists()


def test_name_that_is_no_text_fits(folder: Path) -> None:
    path = os.fsdecode(os.fsencode(folder) + b"/\xff.img")
    open_target(path).commit()
    assert os.path.exists(path)


def test_link_is_followed_to_where_it_leads(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder / "new.img")
    open_target(tmp_path / "link").commit()
    assert (tmp_path / "link").is_symlink()
    assert (folder / "new.img").stat().st_size == SIZE


# An existing file, without and with force


def test_existing_file_is_kept_without_force(old: Path) -> None:
    error = refusal(old)
    assert isinstance(error, ConflictError)
    assert error.code is ErrorCode.TARGET_EXISTS
    assert "--force" in str(error)
    assert "--in-place" in str(error)
    assert os.listdir(old.parent) == ["out.img"]
    assert old.read_bytes() == b"old content"


@pytest.mark.parametrize("links", [True, False])
def test_file_that_appears_meanwhile_is_kept(
    folder: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    target = open_target(folder / "out.img")
    (folder / "out.img").write_bytes(b"somebody else's")
    with pytest.raises(ConflictError) as caught:
        target.commit()
    assert caught.value.code is ErrorCode.TARGET_EXISTS
    target.abort()
    assert (folder / "out.img").read_bytes() == b"somebody else's"
    assert os.listdir(folder) == ["out.img"]


def test_file_system_without_links_is_fine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    target = open_target(folder / "out.img")
    expected = write_all(target, blocks())
    target.commit()
    assert (folder / "out.img").read_bytes() == expected
    assert os.listdir(folder) == ["out.img"]


def test_forced_file_is_replaced_when_the_new_one_is_whole(old: Path) -> None:
    target = open_target(old, force=True)
    expected = write_all(target, blocks())
    assert old.read_bytes() == b"old content"
    target.commit()
    assert old.read_bytes() == expected
    assert os.listdir(old.parent) == ["out.img"]


def test_replaced_file_keeps_its_mode(old: Path) -> None:
    open_target(old, force=True).commit()
    assert stat.S_IMODE(old.stat().st_mode) == 0o640


@pytest.mark.root
def test_replaced_file_keeps_its_owner(old: Path) -> None:
    os.chown(old, 1234, 5678)
    open_target(old, force=True).commit()
    assert (old.stat().st_uid, old.stat().st_gid) == (1234, 5678)
    assert stat.S_IMODE(old.stat().st_mode) == 0o640


@pytest.mark.root
def test_group_gets_no_access_when_it_is_another_one(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(old, 1234, 5678)
    monkeypatch.setattr(os, "fchown", refuse(errno.EPERM))
    open_target(old, force=True).commit()
    assert stat.S_IMODE(old.stat().st_mode) == 0o600


def test_aborted_replacement_leaves_the_old_file(old: Path) -> None:
    target = open_target(old, force=True)
    write_all(target, blocks())
    target.abort()
    assert old.read_bytes() == b"old content"
    assert os.listdir(old.parent) == ["out.img"]


def test_force_without_an_old_file_makes_a_new_one(folder: Path) -> None:
    open_target(folder / "out.img", force=True).commit()
    assert stat.S_IMODE((folder / "out.img").stat().st_mode) == 0o600


# Order and failures of a commit


def refuse(number: int) -> Callable[..., None]:
    def fail(*_arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_file_is_synced_before_it_is_named_and_its_folder_after(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    replace = os.replace

    def rename(old_name: bytes, new_name: str) -> None:
        events.append("rename")
        replace(old_name, os.fsencode(new_name))

    monkeypatch.setattr(targets, "sync_fd", lambda _fd: events.append("sync file"))
    monkeypatch.setattr(targets, "sync_directory", lambda path: events.append(f"sync {path.name}"))
    monkeypatch.setattr(os, "replace", rename)
    open_target(old, force=True).commit()
    assert events == ["sync file", "rename", "sync folder"]


@pytest.mark.parametrize("seam", ["sync_fd", "sync_directory"])
def test_failed_sync_is_reported(folder: Path, seam: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, seam, refuse(errno.EIO))
    target = open_target(folder / "out.img")
    with pytest.raises(EbsimError, match="restore again") as caught:
        target.commit()
    assert caught.value.code is ErrorCode.TARGET_FAILED
    target.abort()


def test_full_disk_is_no_space_and_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = open_target(folder / "out.img")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refuse(errno.ENOSPC))
        with pytest.raises(LimitExceededError, match="offset 5") as caught:
            target.write(5, b"data")
    assert caught.value.code is ErrorCode.NO_SPACE
    target.abort()
    assert os.listdir(folder) == []


@pytest.mark.root("mkfs.ext4")
def test_really_full_disk_is_no_space(tmp_path: Path) -> None:
    image = devices.make_image(tmp_path / "fs.img", "ext4")
    with devices.mounted(image, "ext4") as mount_point:
        target = open_target(mount_point / "out.img", 64 * MIB)
        with pytest.raises(LimitExceededError) as caught:
            target.write(0, bytes(64 * MIB))
        target.abort()
        assert caught.value.code is ErrorCode.NO_SPACE
        assert os.listdir(mount_point) == ["lost+found"]


@pytest.mark.root("mkfs.ext4")
def test_image_larger_than_the_file_system_allows_is_refused(tmp_path: Path) -> None:
    image = devices.make_image(tmp_path / "fs.img", "ext4")
    with devices.mounted(image, "ext4") as mount_point:
        error = refusal(mount_point / "out.img", 1 << 61)
        assert isinstance(error, LimitExceededError)
        assert os.listdir(mount_point) == ["lost+found"]


# Temporary files that a killed process left

LEAVE = """
import os, signal, sys
from ebsim.entropy import SystemEntropy
from ebsim.storage.targets import open_target
target = open_target(sys.argv[1], 1 << 20, in_place=False, force=True, entropy=SystemEntropy())
target.write(0, b"half")
if sys.argv[2] == "die":
    os.kill(os.getpid(), signal.SIGKILL)
print("open", flush=True)
signal.pause()
"""


def leave(path: Path, how: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", LEAVE, str(path), how]
    return subprocess.Popen(command, cwd=ROOT_FOLDER, stdout=subprocess.PIPE, text=True)


def test_what_a_killed_restore_left_is_removed_by_the_next(old: Path) -> None:
    with leave(old, "die") as child:
        assert child.wait(timeout=120) == -signal.SIGKILL
    assert len(os.listdir(old.parent)) == 2
    assert old.read_bytes() == b"old content"
    open_target(old, force=True).commit()
    assert os.listdir(old.parent) == ["out.img"]


def test_file_of_a_restore_that_lives_is_left_alone(old: Path) -> None:
    with leave(old, "live") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        before = set(os.listdir(old.parent))
        open_target(old, force=True).abort()
        assert set(os.listdir(old.parent)) == before
        child.kill()


def test_other_files_are_left_alone(folder: Path) -> None:
    others = [
        ".out.img.ebsim-",
        ".out.img.ebsim-0123456789abcdeg",
        ".out.img.ebsim-0123456789abcdef0",
        ".other.img.ebsim-0123456789abcdef",
        ".outximg.ebsim-0123456789abcdef",
    ]
    for name in others:
        (folder / name).touch()
    (folder / ".out.img.ebsim-0123456789abcdef").mkdir()
    before = set(os.listdir(folder))
    open_target(folder / "out.img").abort()
    assert set(os.listdir(folder)) == before


class RepeatingEntropy:
    """The same bytes a few times, then others."""

    def __init__(self, repeats: int) -> None:
        self._calls = 0
        self._repeats = repeats

    def token_bytes(self, count: int) -> bytes:
        self._calls += 1
        return bytes([max(0, self._calls - self._repeats)]) * count


def test_name_that_is_taken_is_not_used(folder: Path) -> None:
    first = open_target(folder / "out.img", force=True, entropy=RepeatingEntropy(100))
    second = open_target(folder / "out.img", force=True, entropy=RepeatingEntropy(3))
    assert len(os.listdir(folder)) == 2
    with pytest.raises(EbsimError) as caught:
        open_target(folder / "out.img", force=True, entropy=RepeatingEntropy(100))
    assert caught.value.code is ErrorCode.TARGET_FAILED
    first.abort()
    second.abort()


def test_temporary_file_that_was_removed_before_it_was_locked_is_made_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[str] = []

    def remove_first(_fd: int, _operation: int) -> None:
        if not removed:
            removed.extend(os.listdir(folder))
            (folder / removed[0]).unlink()

    monkeypatch.setattr(fcntl, "flock", remove_first)
    target = open_target(folder / "out.img")
    assert len(removed) == 1
    assert os.listdir(folder) != removed
    target.commit()
    assert os.listdir(folder) == ["out.img"]


# In place


@pytest.fixture
def image(folder: Path) -> Path:
    """A file of the size of the snapshot, with a hole in its middle block."""
    path = folder / "disk.img"
    with path.open("wb") as file:
        file.write(b"a" * BLOCK_SIZE)
        file.seek(2 * BLOCK_SIZE)
        file.write(b"c" * (SIZE - 2 * BLOCK_SIZE))
    return path


def test_in_place_writes_into_the_file(image: Path) -> None:
    inode = image.stat().st_ino
    target = open_target(image, in_place=True)
    assert isinstance(target, InPlaceFileTarget)
    assert not target.starts_blank
    target.write(BLOCK_SIZE, b"b" * 10)
    target.commit()
    expected = b"a" * BLOCK_SIZE + b"b" * 10 + bytes(BLOCK_SIZE - 10) + b"c" * 1003
    assert image.read_bytes() == expected
    assert image.stat().st_ino == inode


def test_in_place_reads_what_is_there(image: Path) -> None:
    target = open_target(image, in_place=True)
    assert read(target, 0, BLOCK_SIZE) == b"a" * BLOCK_SIZE
    assert read(target, BLOCK_SIZE, BLOCK_SIZE) == bytes(BLOCK_SIZE)
    target.abort()


def test_last_block_is_read_with_zeros_behind_the_image(image: Path) -> None:
    with image.open("ab") as file:
        file.write(b"behind the image")
    target = open_target(image, in_place=True)
    last = read(target, 2 * BLOCK_SIZE, BLOCK_SIZE)
    assert last == b"c" * 1003 + bytes(BLOCK_SIZE - 1003)
    assert read(target, 3 * BLOCK_SIZE, 10) == bytes(10)
    target.abort()


def test_holes_need_not_be_read(image: Path) -> None:
    target = open_target(image, in_place=True)
    ranges = list(target.data_ranges(0, 3 * BLOCK_SIZE))
    assert ranges == [(0, BLOCK_SIZE), (2 * BLOCK_SIZE, SIZE)]
    target.abort()


@pytest.mark.parametrize("difference", [-SIZE + 1, -700, 700, 3 * MIB])
def test_in_place_ends_with_the_exact_size(image: Path, difference: int) -> None:
    os.truncate(image, SIZE + difference)
    target = open_target(image, in_place=True)
    assert image.stat().st_size == max(SIZE, SIZE + difference)
    assert read(target, SIZE - 1, 2) == (b"c" if difference > 0 else b"\0") + b"\0"
    expected = write_all(target, blocks())
    target.commit()
    assert image.read_bytes() == expected


def test_aborted_in_place_leaves_the_length_of_a_longer_file(image: Path) -> None:
    os.truncate(image, 3 * MIB)
    target = open_target(image, in_place=True)
    target.abort()
    target.abort()
    assert image.stat().st_size == 3 * MIB


def test_in_place_follows_links(image: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(image)
    target = open_target(tmp_path / "link", in_place=True)
    assert target.path == str(image)
    target.write(0, b"new")
    target.commit()
    assert image.read_bytes()[:4] == b"newa"


def test_in_place_needs_a_file(folder: Path) -> None:
    error = refusal(folder / "missing.img", in_place=True)
    assert isinstance(error, NotFoundError)
    assert "--in-place" in str(error)
    assert os.listdir(folder) == []


def test_in_place_is_synced(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(targets, "sync_fd", lambda fd: synced.append(os.fstat(fd).st_ino))
    open_target(image, in_place=True).commit()
    assert synced == [image.stat().st_ino]


def test_failed_read_of_the_target_is_reported(image: Path) -> None:
    target = open_target(image, in_place=True)
    assert isinstance(target, InPlaceFileTarget)
    memory = os.open("/proc/self/mem", os.O_RDONLY)  # its first page is not mapped: EIO
    inode = image.stat().st_ino
    (fd,) = [
        int(name)
        for name in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{name}")
        and os.stat(f"/proc/self/fd/{name}").st_ino == inode
    ]
    os.dup2(memory, fd)
    os.close(memory)
    with pytest.raises(EbsimError, match="offset 16") as caught:
        read(target, 16, 16)
    assert caught.value.code is ErrorCode.TARGET_FAILED
    target.abort()


@pytest.mark.root("mkfs.ext4")
def test_image_that_is_mounted_is_refused(tmp_path: Path) -> None:
    image = devices.make_image(tmp_path / "fs.img", "ext4")
    size = image.stat().st_size
    with devices.loop_device(image) as device:
        with devices.mounted(device, "ext4"):
            error = refusal(image, size, in_place=True)
            assert isinstance(error, ConflictError)
            assert error.code is ErrorCode.TARGET_BUSY
            assert str(device) in str(error)
            open_target(image, size, force=True).abort()
        open_target(image, size, in_place=True).abort()


# Zeroing


@pytest.mark.parametrize("punching", [True, False])
@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, BLOCK_SIZE), (BLOCK_SIZE, BLOCK_SIZE), (1, 1), (5_000, 600_001), (2 * BLOCK_SIZE, MIB)],
)
def test_zeroed_range_of_a_file_reads_as_zeros(
    image: Path, offset: int, length: int, punching: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not punching:
        monkeypatch.setattr(native, "fallocate", refuse(errno.EOPNOTSUPP))
    expected = bytearray(image.read_bytes())
    end = min(SIZE, offset + length)
    expected[offset:end] = bytes(end - offset)
    target = open_target(image, in_place=True)
    target.zero(offset, length)
    target.commit()
    assert image.read_bytes() == expected


def test_zeroed_range_gives_its_space_back(image: Path) -> None:
    before = image.stat().st_blocks
    target = open_target(image, in_place=True)
    target.zero(0, BLOCK_SIZE)
    assert list(target.data_ranges(0, BLOCK_SIZE)) == []
    target.commit()
    assert image.stat().st_blocks * 512 <= before * 512 - BLOCK_SIZE


def test_failed_zeroing_is_reported(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "fallocate", refuse(errno.ENOSPC))
    target = open_target(image, in_place=True)
    with pytest.raises(LimitExceededError):
        target.zero(0, BLOCK_SIZE)
    target.abort()


# What is refused


def test_missing_folder_is_named(folder: Path) -> None:
    error = refusal(folder / "missing" / "out.img")
    assert isinstance(error, NotFoundError)
    assert error.code is ErrorCode.TARGET_FAILED
    assert str(folder / "missing") in str(error)


def test_file_in_the_place_of_the_folder_is_named(old: Path) -> None:
    assert isinstance(refusal(old / "out.img"), NotFoundError)


@pytest.mark.parametrize("options", [{}, {"force": True}, {"in_place": True}])
def test_folder_is_refused(folder: Path, options: dict[str, bool]) -> None:
    error = refusal(folder, **options)
    assert isinstance(error, InvalidInputError)
    assert "a folder" in str(error)


@pytest.mark.parametrize("options", [{}, {"force": True}, {"in_place": True}])
def test_pipe_is_refused_and_not_waited_for(folder: Path, options: dict[str, bool]) -> None:
    os.mkfifo(folder / "pipe")
    assert "a pipe" in str(refusal(folder / "pipe", **options))
    assert (folder / "pipe").is_fifo()


def test_socket_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert "a socket" in str(refusal("socket", force=True))


def test_character_device_is_refused() -> None:
    assert "a character device" in str(refusal("/dev/null", force=True))


def test_impossible_path_is_refused() -> None:
    assert isinstance(refusal("out\0.img"), InvalidInputError)


def test_links_in_a_circle_are_refused(folder: Path) -> None:
    (folder / "link").symlink_to("link")
    assert "a symbolic link" in str(refusal(folder / "link", force=True))


@pytest.mark.parametrize("options", [{}, {"force": True}, {"in_place": True}])
def test_missing_permission_says_what_to_do(old: Path, options: dict[str, bool]) -> None:
    old.chmod(0o400)
    old.parent.chmod(0o500)
    path = old if options else old.with_name("new.img")
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        error = refusal(path, **options)
    finally:
        if user == 0:
            os.seteuid(0)
        old.parent.chmod(0o700)
    assert isinstance(error, InvalidInputError)
    assert error.code is ErrorCode.TARGET_FAILED
    assert "who may write" in str(error)


# Block devices

DEVICE_SIZE = 3 * MIB + 512


@pytest.fixture
def backing(tmp_path: Path) -> Path:
    path = tmp_path / "device.img"
    path.write_bytes(os.urandom(DEVICE_SIZE))
    return path


@pytest.fixture
def device(backing: Path) -> Iterator[Path]:
    with devices.loop_device(backing) as attached:
        yield attached


def content_of(device: Path) -> bytes:
    return device.read_bytes()


@pytest.mark.root
@pytest.mark.parametrize("options", [[], ["in_place"], ["force"]])
def test_device_is_written_and_its_tail_is_not(device: Path, options: list[str]) -> None:
    before = content_of(device)
    target = targets.open_target(
        device,
        SIZE,
        in_place="in_place" in options,
        force="force" in options,
        entropy=SYSTEM,
    )
    assert isinstance(target, DeviceTarget)
    assert not target.starts_blank
    expected = write_all(target, blocks())
    target.zero(SIZE - 1, MIB)
    target.commit()
    after = content_of(device)
    assert after[: SIZE - 1] == expected[:-1]
    assert after[SIZE - 1] == 0
    assert after[SIZE:] == before[SIZE:]


@pytest.mark.root
def test_device_of_the_very_size_is_enough(device: Path) -> None:
    target = open_target(device, DEVICE_SIZE)
    target.write(DEVICE_SIZE - 512, b"e" * BLOCK_SIZE)
    target.commit()
    assert content_of(device).endswith(b"e" * 512)


@pytest.mark.root
def test_device_is_read_with_zeros_behind_the_image(device: Path) -> None:
    before = content_of(device)
    target = open_target(device)
    assert read(target, 0, BLOCK_SIZE) == before[:BLOCK_SIZE]
    last = read(target, 2 * BLOCK_SIZE, BLOCK_SIZE)
    assert last == before[2 * BLOCK_SIZE : SIZE] + bytes(3 * BLOCK_SIZE - SIZE)
    assert list(target.data_ranges(5, 3 * BLOCK_SIZE)) == [(5, SIZE)]
    assert list(target.data_ranges(SIZE, 3 * BLOCK_SIZE)) == []
    target.abort()


@pytest.mark.root
def test_device_that_is_too_small_is_refused_untouched(device: Path, backing: Path) -> None:
    before = backing.read_bytes()
    error = refusal(device, DEVICE_SIZE + 1)
    assert isinstance(error, InvalidInputError)
    assert error.code is ErrorCode.TARGET_TOO_SMALL
    assert str(DEVICE_SIZE) in str(error)
    assert str(DEVICE_SIZE + 1) in str(error)
    assert backing.read_bytes() == before


@pytest.mark.root("mkfs.ext4")
def test_mounted_device_is_refused_untouched(tmp_path: Path) -> None:
    image = devices.make_image(tmp_path / "fs.img", "ext4")
    with devices.loop_device(image) as attached, devices.mounted(attached, "ext4"):
        for options in ({}, {"in_place": True}, {"force": True}):
            error = refusal(attached, **options)
            assert isinstance(error, ConflictError)
            assert error.code is ErrorCode.TARGET_BUSY
            assert "mounted" in str(error)


@pytest.mark.root("mkfs.ext4")
def test_device_cannot_be_mounted_while_it_is_a_target(tmp_path: Path) -> None:
    image = devices.make_image(tmp_path / "fs.img", "ext4")
    with devices.loop_device(image) as attached:
        target = open_target(attached)
        with pytest.raises(subprocess.CalledProcessError), devices.mounted(attached, "ext4"):
            pytest.fail("mounted")
        target.abort()


@pytest.mark.root
def test_read_only_device_is_refused(backing: Path) -> None:
    with devices.loop_device(backing, read_only=True) as attached:
        error = refusal(attached)
        assert isinstance(error, InvalidInputError)
        assert error.code is ErrorCode.TARGET_FAILED


@pytest.mark.root
def test_device_is_found_through_a_link(device: Path, tmp_path: Path) -> None:
    (tmp_path / "by-id").symlink_to(device)
    target = open_target(tmp_path / "by-id")
    assert target.path == str(device)
    target.abort()


WITHOUT_PUNCHING = native.FALLOC_FL_PUNCH_HOLE
WITHOUT_ANY = native.FALLOC_FL_PUNCH_HOLE | native.FALLOC_FL_ZERO_RANGE


@pytest.mark.root
@pytest.mark.parametrize("lacking", [0, WITHOUT_PUNCHING, WITHOUT_ANY])
@pytest.mark.parametrize(
    ("offset", "length"), [(0, BLOCK_SIZE), (513, 100_001), (4096, 4096), (100, 50), (MIB, 9_000)]
)
def test_zeroed_range_of_a_device_reads_as_zeros(
    device: Path, offset: int, length: int, lacking: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fallocate = native.fallocate

    def without(fd: int, mode: int, start: int, count: int) -> None:
        if mode & lacking:
            raise OSError(errno.EOPNOTSUPP, "lacking")
        fallocate(fd, mode, start, count)

    monkeypatch.setattr(native, "fallocate", without)
    expected = bytearray(content_of(device))
    target = open_target(device)
    target.write(offset, b"overwritten")
    for _ in range(2):
        target.zero(offset, length)
    target.commit()
    end = min(SIZE, offset + length)
    expected[offset : max(end, offset + 11)] = b"overwritten" + bytes(max(0, end - offset - 11))
    expected[offset:end] = bytes(end - offset)
    assert content_of(device) == expected


@pytest.mark.root
def test_zeroed_range_of_a_device_gives_its_space_back(device: Path, backing: Path) -> None:
    before = backing.stat().st_blocks
    target = open_target(device)
    target.zero(0, 2 * BLOCK_SIZE)
    target.commit()
    assert backing.stat().st_blocks * 512 <= before * 512 - 2 * BLOCK_SIZE
