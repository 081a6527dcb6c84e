"""What every implementation of `Files` does: the system's, and the fake that tests use.

The suite is `FilesTests`; a further implementation passes it as a subclass that makes its files.
"""

import errno
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import pytest

from ebsim.storage.files import Buffer, File, Files, PosixFiles
from ebsim.testing.descriptors import no_descriptor_left
from ebsim.testing.memory_files import MemoryFiles
from ebsim.units import BLOCK_SIZE, MIB

PAGE = 4096


class FilesTests(ABC):
    """The suite: `root` is a directory that exists and is empty."""

    @pytest.fixture
    @abstractmethod
    def files(self) -> Files: ...

    @pytest.fixture
    @abstractmethod
    def root(self, fast_path: Path) -> Path: ...

    @pytest.fixture
    def file(self, files: Files, root: Path) -> File:
        """A file `file` that is open for writing, with ten bytes in it."""
        file = files.create(root / "file")
        file.write_at(0, [b"0123456789"])
        return file

    # reading and writing

    @pytest.mark.parametrize(
        ("offset", "length", "expected"),
        [
            (0, 10, b"0123456789"),
            (3, 4, b"3456"),
            (8, 10, b"89"),
            (10, 1, b""),
            (5000, 1, b""),
            (4, 0, b""),
        ],
    )
    def test_read_ends_at_the_end_of_the_file(
        self, file: File, offset: int, length: int, expected: bytes
    ) -> None:
        assert file.read_at(offset, length) == expected

    def test_parts_are_written_one_after_the_other(self, file: File) -> None:
        parts: list[Buffer] = [b"ab", bytearray(b"c"), b"", memoryview(b"xdefx")[1:4]]

        file.write_at(2, parts)

        assert file.read_at(0, 20) == b"01abcdef89"

    def test_written_parts_are_not_kept(self, file: File) -> None:
        part = bytearray(b"abc")
        file.write_at(0, [part])

        part[:] = b"xyz"

        assert file.read_at(0, 3) == b"abc"

    def test_gap_before_a_write_reads_as_zeros(self, file: File) -> None:
        file.write_at(20, [b"end"])

        assert file.size() == 23
        assert file.read_at(8, 100) == b"89" + bytes(10) + b"end"

    def test_file_takes_space_for_what_is_written_only(
        self, files: Files, file: File, root: Path
    ) -> None:
        """A volume's file is sparse, and far larger than any memory."""
        end = 1 << 42

        file.write_at(end - 2 * PAGE, [b"x" * PAGE])
        file.truncate(end)

        assert file.size() == end
        assert file.read_at(end - 2 * PAGE - 1, 3 * PAGE) == b"\0" + b"x" * PAGE + bytes(PAGE)
        assert file.read_at(end // 2, 3) == bytes(3)
        assert files.allocated_bytes(root / "file") == 2 * PAGE
        file.truncate(10)
        assert files.allocated_bytes(root / "file") == PAGE

    @pytest.mark.parametrize("parts", [[], [b""]])
    def test_write_of_nothing_changes_nothing(self, file: File, parts: list[Buffer]) -> None:
        file.write_at(100, parts)

        assert file.size() == 10

    def test_large_write_is_whole(self, file: File) -> None:
        data = bytes(range(256)) * 4096

        file.write_at(5, [data, data])

        assert file.size() == 5 + 2 * MIB
        assert file.read_at(5, 2 * MIB) == data * 2

    def test_sync_keeps_the_bytes(self, file: File, files: Files, root: Path) -> None:
        file.sync()
        files.sync_directory(root)

        assert file.read_at(0, 10) == b"0123456789"

    def test_truncate_cuts_the_end_off(self, file: File) -> None:
        file.truncate(4)

        assert file.size() == 4
        assert file.read_at(0, 10) == b"0123"

    def test_bytes_that_were_cut_off_do_not_return(self, file: File) -> None:
        file.truncate(4)
        file.truncate(10)

        assert file.read_at(0, 20) == b"0123" + bytes(6)

    # space

    def test_written_bytes_occupy_space(self, files: Files, file: File, root: Path) -> None:
        before = files.free_bytes(root)

        file.write_at(0, [b"x" * (4 * PAGE)])
        file.sync()

        assert files.allocated_bytes(root / "file") == 4 * PAGE
        assert files.free_bytes(root) <= before - 3 * PAGE

    def test_gap_occupies_no_space(self, files: Files, file: File, root: Path) -> None:
        file.write_at(100 * PAGE, [b"x" * PAGE])

        assert files.allocated_bytes(root / "file") == 2 * PAGE

    def test_punched_range_reads_as_zeros_and_occupies_no_space(
        self, files: Files, file: File, root: Path
    ) -> None:
        file.write_at(0, [b"x" * (8 * PAGE)])

        assert file.punch(2 * PAGE, 4 * PAGE)

        assert file.size() == 8 * PAGE
        assert files.allocated_bytes(root / "file") == 4 * PAGE
        assert file.read_at(0, 8 * PAGE) == b"x" * 2 * PAGE + bytes(4 * PAGE) + b"x" * 2 * PAGE

    def test_hole_is_told_from_data(self, file: File) -> None:
        file.write_at(4 * BLOCK_SIZE, [b"x"])
        assert file.is_hole(BLOCK_SIZE, 3 * BLOCK_SIZE)
        assert not file.is_hole(4 * BLOCK_SIZE, BLOCK_SIZE)
        assert file.is_hole(5 * BLOCK_SIZE, BLOCK_SIZE)
        assert file.punch(4 * BLOCK_SIZE, BLOCK_SIZE)
        assert file.is_hole(4 * BLOCK_SIZE, BLOCK_SIZE)

    def test_punched_part_of_a_page_reads_as_zeros(self, file: File) -> None:
        assert file.punch(2, 3)

        assert file.read_at(0, 10) == b"01\0\0\x0056789"

    def test_punch_beyond_the_end_leaves_the_size(self, file: File) -> None:
        assert file.punch(0, 10 * PAGE)

        assert file.size() == 10
        assert file.read_at(0, 20) == bytes(10)

    def test_punched_range_can_be_written_again(self, file: File) -> None:
        file.punch(0, PAGE)
        file.write_at(3, [b"abc"])

        assert file.read_at(0, 10) == b"\0\0\0abc\0\0\0\0"

    def test_reserved_bytes_occupy_space(self, files: Files, root: Path) -> None:
        file = files.create(root / "reserve")

        file.reserve(16 * PAGE)

        assert file.size() == 16 * PAGE
        assert files.allocated_bytes(root / "reserve") == 16 * PAGE

    def test_reserve_leaves_what_is_written(self, file: File) -> None:
        file.reserve(5)
        assert file.read_at(0, 20) == b"0123456789"

        file.reserve(12)
        assert file.read_at(0, 20) == b"0123456789\0\0"

    def test_removed_file_gives_its_space_back(self, files: Files, root: Path) -> None:
        file = files.create(root / "large")
        file.write_at(0, [b"x" * 4 * MIB])
        file.close()
        before = files.free_bytes(root)

        files.remove(root / "large")

        assert files.free_bytes(root) >= before + 3 * MIB

    # names

    def test_new_file_is_empty(self, files: Files, root: Path) -> None:
        file = files.create(root / "new")

        assert file.size() == 0
        assert files.list(root) == ["new"]
        assert files.allocated_bytes(root / "new") == 0

    def test_names_in_a_directory_are_listed(self, files: Files, file: File, root: Path) -> None:
        files.make_directory(root / "folder" / "inner")
        files.create(root / "folder" / "deep")

        assert sorted(files.list(root)) == ["file", "folder"]
        assert sorted(files.list(root / "folder")) == ["deep", "inner"]
        assert files.list(root / "folder" / "inner") == []

    def test_directory_may_exist(self, files: Files, root: Path) -> None:
        files.make_directory(root / "folder")
        files.create(root / "folder" / "file")

        files.make_directory(root / "folder")

        assert files.list(root / "folder") == ["file"]

    def test_two_that_have_a_file_open_see_each_others_writes(
        self, files: Files, file: File, root: Path
    ) -> None:
        other = files.open(root / "file", writable=True)

        other.write_at(0, [b"abc"])
        file.write_at(9, [b"xyz"])

        assert other.read_at(0, 20) == file.read_at(0, 20) == b"abc345678xyz"

    def test_rename_replaces_the_target(self, files: Files, file: File, root: Path) -> None:
        files.create(root / "target").write_at(0, [b"old"])

        files.rename(root / "file", root / "target")

        assert files.list(root) == ["target"]
        assert files.open(root / "target").read_at(0, 20) == b"0123456789"
        assert file.read_at(0, 3) == b"012"

    def test_replaced_file_stays_for_who_has_it_open(
        self, files: Files, file: File, root: Path
    ) -> None:
        old = files.create(root / "target")
        old.write_at(0, [b"old"])

        files.rename(root / "file", root / "target")

        assert old.read_at(0, 20) == b"old"

    def test_removed_file_stays_for_who_has_it_open(
        self, files: Files, file: File, root: Path
    ) -> None:
        files.remove(root / "file")
        file.write_at(0, [b"x"])

        assert files.list(root) == []
        assert file.read_at(0, 20) == b"x123456789"

    def test_file_can_be_made_again_after_it_was_removed(
        self, files: Files, file: File, root: Path
    ) -> None:
        files.remove(root / "file")

        assert files.create(root / "file").size() == 0
        assert file.size() == 10

    # refusals

    def test_file_that_was_opened_for_reading_is_not_written(
        self, files: Files, file: File, root: Path
    ) -> None:
        reader = files.open(root / "file")
        attempts: list[Callable[[], object]] = [
            lambda: reader.write_at(0, [b"x"]),
            lambda: reader.truncate(0),
            lambda: reader.punch(0, PAGE),
            lambda: reader.reserve(PAGE),
        ]

        for attempt in attempts:
            with pytest.raises(OSError):  # noqa: PT011 - EBADF or EINVAL, by the system call
                attempt()
        assert reader.read_at(0, 20) == b"0123456789"

    def test_closed_file_is_refused(self, file: File) -> None:
        file.close()
        file.close()

        attempts: list[Callable[[], object]] = [
            lambda: file.read_at(0, 1),
            lambda: file.write_at(0, [b"x"]),
            file.size,
        ]
        for attempt in attempts:
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is compared
                attempt()
            assert caught.value.errno == errno.EBADF

    @pytest.mark.parametrize(
        ("operation", "number"),
        [
            (lambda files, root: files.create(root / "file"), errno.EEXIST),
            (lambda files, root: files.create(root / "folder"), errno.EEXIST),
            (lambda files, root: files.create(root / "none" / "file"), errno.ENOENT),
            (lambda files, root: files.create(root / "file" / "file"), errno.ENOTDIR),
            (lambda files, root: files.open(root / "none"), errno.ENOENT),
            (lambda files, root: files.open(root / "none" / "file"), errno.ENOENT),
            (lambda files, root: files.open(root / "file" / "file"), errno.ENOTDIR),
            (lambda files, root: files.open(root / "folder", writable=True), errno.EISDIR),
            (lambda files, root: files.list(root / "none"), errno.ENOENT),
            (lambda files, root: files.list(root / "file"), errno.ENOTDIR),
            (lambda files, root: files.make_directory(root / "file"), errno.EEXIST),
            (lambda files, root: files.make_directory(root / "file" / "folder"), errno.ENOTDIR),
            (lambda files, root: files.rename(root / "none", root / "other"), errno.ENOENT),
            (lambda files, root: files.rename(root / "file", root / "folder"), errno.EISDIR),
            (lambda files, root: files.rename(root / "file", root / "no" / "x"), errno.ENOENT),
            (lambda files, root: files.remove(root / "none"), errno.ENOENT),
            (lambda files, root: files.remove(root / "folder"), errno.EISDIR),
            (lambda files, root: files.sync_directory(root / "none"), errno.ENOENT),
            (lambda files, root: files.sync_directory(root / "file"), errno.ENOTDIR),
            (lambda files, root: files.allocated_bytes(root / "none"), errno.ENOENT),
            (lambda files, root: files.free_bytes(root / "none"), errno.ENOENT),
        ],
    )
    def test_failure_has_the_number_and_the_words_of_the_kernel(
        self,
        files: Files,
        file: File,
        root: Path,
        operation: Callable[[Files, Path], object],
        number: int,
    ) -> None:
        """Users read `strerror`, so it must never be None."""
        files.make_directory(root / "folder")

        with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is compared
            operation(files, root)

        assert (caught.value.errno, caught.value.strerror) == (number, os.strerror(number))
        assert sorted(files.list(root)) == ["file", "folder"]
        assert file.read_at(0, 20) == b"0123456789"

    @pytest.mark.parametrize("writable", [False, True])
    def test_directory_is_no_file(self, files: Files, root: Path, *, writable: bool) -> None:
        files.make_directory(root / "folder")

        with pytest.raises(OSError) as caught:  # noqa: PT011 - EISDIR or EINVAL
            files.open(root / "folder", writable=writable)

        assert caught.value.errno
        assert caught.value.strerror


class TestPosixFiles(FilesTests):
    @pytest.fixture
    def files(self) -> Files:
        return PosixFiles()

    @pytest.fixture
    def root(self, fast_path: Path) -> Path:
        return fast_path

    def test_only_the_owner_can_read_what_is_made(self, files: Files, root: Path) -> None:
        files.make_directory(root / "folder")
        files.create(root / "folder" / "file")

        assert (root / "folder").stat().st_mode & 0o777 == 0o700
        assert (root / "folder" / "file").stat().st_mode & 0o777 == 0o600

    def test_bytes_lie_in_the_file_of_that_name(self, files: Files, root: Path) -> None:
        files.create(root / "written").write_at(2, [b"abc"])
        (root / "found").write_bytes(b"xyz")

        assert (root / "written").read_bytes() == b"\0\0abc"
        assert files.open(root / "found").read_at(0, 10) == b"xyz"

    @pytest.mark.parametrize("writable", [False, True])
    def test_symbolic_link_is_refused(self, files: Files, root: Path, *, writable: bool) -> None:
        (root / "elsewhere").write_bytes(b"secret")
        (root / "link").symlink_to(root / "elsewhere")

        with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is compared
            files.open(root / "link", writable=writable)

        assert caught.value.errno == errno.ELOOP

    def test_symbolic_link_is_not_followed_when_a_file_is_made(
        self, files: Files, root: Path
    ) -> None:
        (root / "link").symlink_to(root / "elsewhere")

        with pytest.raises(FileExistsError):
            files.create(root / "link")

        assert not (root / "elsewhere").exists()

    def test_socket_is_no_file(self, files: Files, root: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(root / "socket"))

            with pytest.raises(OSError):  # noqa: PT011 - whichever number it is
                files.open(root / "socket")

    def test_device_is_no_file(self, files: Files) -> None:
        with pytest.raises(OSError, match="not a regular file"):
            files.open(Path(os.devnull))

    def test_descriptors_do_not_leak(self, files: Files, root: Path) -> None:
        files.create(root / "file").write_at(0, [b"x"])

        with no_descriptor_left():
            for _ in range(10):
                files.open(root / "file").read_at(0, 1)
                with pytest.raises(OSError):  # noqa: PT011 - whichever number it is
                    files.open(root)
                files.sync_directory(root)


class TestMemoryFiles(FilesTests):
    @pytest.fixture
    def files(self) -> Files:
        return MemoryFiles()

    @pytest.fixture
    def root(self, files: Files) -> Path:
        root = Path("/memory/root")
        files.make_directory(root)
        return root

    def test_full_disk_takes_no_byte_more(self) -> None:
        files = MemoryFiles(capacity_bytes=2 * PAGE)
        file = files.create(Path("file"))
        file.write_at(0, [b"x" * PAGE])

        attempts: list[Callable[[], object]] = [
            lambda: file.write_at(0, [b"y" * (2 * PAGE + 1)]),
            lambda: file.reserve(3 * PAGE),
        ]

        for attempt in attempts:
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is compared
                attempt()
            assert caught.value.errno == errno.ENOSPC

        assert file.read_at(0, 3 * PAGE) == b"x" * PAGE
        assert files.free_bytes(Path("/")) == PAGE
