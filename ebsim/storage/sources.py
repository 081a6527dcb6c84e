"""What a snapshot is read from: regular files and block devices, opened read-only.

A source has an identity (its real path, by which its volume is remembered), a size that is fixed
when it is opened, ranges that may hold data, and bytes. It never writes, never moves a shared file
position (reads are positional, so any number of threads may read at once), and says in one
sentence what went wrong and where.

States: open, then closed. Between the two, `ensure_unchanged` proves that the size fixed at the
beginning is still the size at the end; a reader that fails or finds the end too early raises.
"""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ebsim.errors import ErrorCode, InvalidInputError, NotFoundError, SourceError
from ebsim.storage.files import NO_SEEK_DATA


class BlockSource(Protocol):
    """Bytes that a snapshot can be taken of."""

    @property
    def identity(self) -> str:
        """The real path, or a name such as `memory:web1`; the volume is remembered by it."""
        ...

    @property
    def size_bytes(self) -> int:
        """The size, fixed when the source was opened."""
        ...

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield half-open byte ranges within [start, end) that may hold data, ascending.

        The rest is holes, which read as zeros.
        """
        ...

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the whole buffer with the bytes from `offset` on. Any thread may call.

        Raises:
            SourceError: SourceReadFailed, naming offset and reason, or SourceChanged when the
                source ends too early.
        """
        ...

    def ensure_unchanged(self) -> None:
        """Prove that the source still is what was opened.

        Raises:
            SourceError: SourceChanged, when its size is no longer `size_bytes`, or a device was
                replaced by another.
        """
        ...

    @property
    def modified_since_open(self) -> bool:
        """Whether something is known to have written to it, so that two moments may be mixed."""
        ...

    def close(self) -> None:
        """Let the source go; a second call does nothing."""
        ...


def seek_data_ranges(fd: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the half-open ranges of an open file within [start, end) that may hold data.

    One range of everything where the file system cannot tell. Moves the position of `fd`.

    Raises:
        OSError: As the kernel says.
    """
    position = start
    while position < end:
        try:
            data = os.lseek(fd, position, os.SEEK_DATA)
            hole = os.lseek(fd, data, os.SEEK_HOLE) if data < end else end
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data at or after the position
                return
            if error.errno not in NO_SEEK_DATA:
                raise
            data, hole = position, end
        if data >= end:
            return
        position = min(hole, end)
        yield data, position


class _OpenSource:
    """An open descriptor with an identity and a size; owns the descriptor.

    Args:
        fd: Open for reading; closed by `close`.
        identity: The real path that the user meant.
        size_bytes: The size to be read, at least 1.
    """

    def __init__(self, fd: int, identity: str, size_bytes: int) -> None:
        self._fd = fd
        self._identity = identity
        self._size_bytes = size_bytes

    @property
    def identity(self) -> str:
        """The real path."""
        return self._identity

    @property
    def size_bytes(self) -> int:
        """The size in bytes, fixed when the source was opened."""
        return self._size_bytes

    def fileno(self) -> int:
        """Return the descriptor, which stays the source's own."""
        return self._fd

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the whole buffer with the bytes from `offset` on. Any thread may call.

        Args:
            offset: From 0; `offset + len(buffer)` is at most `size_bytes`.
            buffer: Writable bytes.

        Raises:
            SourceError: SourceReadFailed, naming offset and reason, or SourceChanged when the
                source ends too early.
        """
        assert 0 <= offset <= offset + len(buffer) <= self._size_bytes
        done = 0
        while done < len(buffer):
            try:
                count = os.preadv(self._fd, [buffer[done:]], offset + done)
            except OSError as error:
                raise self._read_failure(error, offset + done, len(buffer) - done) from error
            if count == 0:
                raise SourceError(
                    f"{self._identity} ended at byte {offset + done} while it was read; it had "
                    f"{self._size_bytes} bytes when it was opened. Try again when nothing "
                    "shrinks it.",
                    ErrorCode.SOURCE_CHANGED,
                )
            done += count

    def _read_failure(self, error: OSError, offset: int, length: int) -> SourceError:
        return SourceError(
            f"Reading {length} bytes at offset {offset} of {self._identity} failed: "
            f"{error.strerror}. Look at the kernel's log for this disk, then try again.",
            ErrorCode.SOURCE_READ_FAILED,
        )

    def _ensure_size(self, size_bytes: int) -> None:
        if size_bytes != self._size_bytes:
            verb = "shrank" if size_bytes < self._size_bytes else "grew"
            raise SourceError(
                f"{self._identity} {verb} from {self._size_bytes} to {size_bytes} bytes while it "
                "was read. Try again when nothing resizes it.",
                ErrorCode.SOURCE_CHANGED,
            )

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class FileSource(_OpenSource):
    """A regular file, read through one descriptor.

    A path that comes to name another file meanwhile (a rename over it) does no harm: the bytes are
    those of the file that was opened.

    Args:
        fd: A regular file open for reading; closed by `close`.
        identity: The real path that the user meant.
    """

    def __init__(self, fd: int, identity: str) -> None:
        status = os.fstat(fd)
        super().__init__(fd, identity, status.st_size)
        self._modified_ns = status.st_mtime_ns

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield half-open byte ranges within [start, end) that are no holes, ascending.

        Raises:
            SourceError: SourceReadFailed, when the file system fails to tell.
        """
        # A descriptor of its own keeps a half-used generator valid when the source is closed.
        fd = os.dup(self._fd)
        try:
            yield from seek_data_ranges(fd, start, min(end, self._size_bytes))
        except OSError as error:
            raise self._read_failure(error, start, end - start) from error
        finally:
            os.close(fd)

    def ensure_unchanged(self) -> None:
        """Prove that the file still has the size it was opened with.

        Raises:
            SourceError: SourceChanged.
        """
        self._ensure_size(os.fstat(self._fd).st_size)

    @property
    def modified_since_open(self) -> bool:
        """Whether something wrote to the file since it was opened.

        Then what was read may mix older and newer bytes. A write in the very tick of the kernel's
        clock (4 ms at most) in which an earlier one came before the opening goes unseen.
        """
        return os.fstat(self._fd).st_mtime_ns != self._modified_ns


class DeviceSource(_OpenSource):
    """A block device.

    Args:
        fd: A block device open for reading; closed by `close`.
        identity: The real path of its node.
    """

    def __init__(self, fd: int, identity: str) -> None:
        super().__init__(fd, identity, os.lseek(fd, 0, os.SEEK_END))
        self._device = os.fstat(fd).st_rdev
        # A mounted file system writes the data of its files past the device's page cache. What an
        # earlier snapshot left there would be read again instead of what is on the disk.
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        self._written_sectors = self._count_written_sectors()

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield [start, end) as one range: a device does not tell what it holds."""
        end = min(end, self._size_bytes)
        if start < end:
            yield start, end

    def ensure_unchanged(self) -> None:
        """Prove that the device has the size it had, and that its path still names it.

        Raises:
            SourceError: SourceChanged.
        """
        self._ensure_size(os.lseek(self._fd, 0, os.SEEK_END))
        try:
            device = os.stat(self._identity).st_rdev
        except OSError:
            device = None
        if device != self._device:
            raise SourceError(
                f"{self._identity} was removed or replaced by another device while it was read. "
                "Look which device you mean, then try again.",
                ErrorCode.SOURCE_CHANGED,
            )

    @property
    def modified_since_open(self) -> bool:
        """Whether sectors were written to the device since it was opened.

        Then what was read may mix older and newer bytes. The kernel's counter tells; where there
        is none, the answer is no.
        """
        return self._count_written_sectors() != self._written_sectors

    def _count_written_sectors(self) -> int | None:
        number = f"{os.major(self._device)}:{os.minor(self._device)}"
        try:
            fields = Path(f"/sys/dev/block/{number}/stat").read_text(encoding="ascii").split()
            return int(fields[6])  # Documentation/block/stat.rst: sectors written
        except (OSError, ValueError, IndexError):
            return None


def open_source(path: str | os.PathLike[str]) -> FileSource | DeviceSource:
    """Open a regular file or a block device for reading.

    Args:
        path: May be a symbolic link; what it leads to is the source's identity.

    Raises:
        NotFoundError: SourceNotFound.
        InvalidInputError: SourceUnsupported: a folder, pipe, socket or character device, or empty.
        SourceError: SourceReadFailed: no permission, or the disk failed.
    """
    real, fd = _open_read_only(os.fspath(path))
    try:
        is_device = stat.S_ISBLK(os.fstat(fd).st_mode)
        source = DeviceSource(fd, real) if is_device else FileSource(fd, real)
    except BaseException:
        os.close(fd)
        raise
    if source.size_bytes > 0:
        return source
    source.close()
    raise InvalidInputError(
        f"{real} is empty: there is nothing to read. Check that the path is right "
        "and, for a device, that a disk or an image is attached to it.",
        ErrorCode.SOURCE_UNSUPPORTED,
    )


def _open_read_only(path: str) -> tuple[str, int]:
    """Return the real path and a descriptor of a regular file or block device."""
    try:
        real = os.path.realpath(path, strict=True)
        _ensure_supported(real, os.stat(real).st_mode)
        # O_NONBLOCK changes nothing for files and devices; with it, a pipe that took the path's
        # place since the stat cannot hold us up for ever.
        fd = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _ensure_supported(real, os.fstat(fd).st_mode)
        except BaseException:
            os.close(fd)
            raise
        return real, fd
    except ValueError as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(
            f"{path!r} is not a possible path: {error}.", ErrorCode.SOURCE_UNSUPPORTED
        ) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(
            f"{path} does not exist. Check the path of the image or device.",
            ErrorCode.SOURCE_NOT_FOUND,
        ) from error
    except PermissionError as error:
        raise SourceError(
            f"Not allowed to read {path}: {error.strerror}. Run ebsim as root, or as a user who "
            "may read it.",
            ErrorCode.SOURCE_READ_FAILED,
        ) from error
    except OSError as error:
        raise SourceError(
            f"{path} could not be opened: {error.strerror}.", ErrorCode.SOURCE_READ_FAILED
        ) from error


def _ensure_supported(path: str, mode: int) -> None:
    if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
        return
    raise InvalidInputError(
        f"{path} is {describe_kind(mode)}. Only a regular file (a raw disk image) or a block "
        "device can be read.",
        ErrorCode.SOURCE_UNSUPPORTED,
    )


def describe_kind(mode: int) -> str:
    """Return what an inode's mode says it is, for a sentence: `a folder`, `a pipe`."""
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a character device",
        stat.S_IFBLK: "a block device",
        stat.S_IFLNK: "a symbolic link",
    }
    return kinds.get(stat.S_IFMT(mode), "a regular file")
