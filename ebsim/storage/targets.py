"""What a snapshot is restored to: a new file, an existing file in place, or a block device.

A target has the exact size of the image. Its states are open, then committed or aborted; either
closes it. `write`, `read_into`, `zero` and `data_ranges` may be called from any number of threads
while it is open, `commit` and `abort` from one when they are done.

- A *new file* is written under a temporary name beside its target, and takes the target's name
  when it is whole and durable. Until then nobody sees it, and an old file stays as it is. The
  temporary file is locked while its process lives; one that a killed process left is removed by
  the next restore to the same target, which can lock it.
- *In place*, bytes that differ are written over the old ones. A restore that fails half-way leaves
  a mixture, and another restore puts it right.
- A *device* is opened exclusively, so that one which is mounted, or otherwise in use by the kernel,
  is refused, and cannot be mounted meanwhile. What lies behind the image's size stays as it is.

Bytes at or behind `size_bytes` are never written, and read as zeros.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from ebsim import failpoints
from ebsim.entropy import Entropy
from ebsim.errors import (
    ConflictError,
    EbsimError,
    ErrorCode,
    InvalidInputError,
    LimitExceededError,
    NotFoundError,
)
from ebsim.storage import mounts, native, temporaries
from ebsim.storage.files import Buffer, sync_directory, sync_fd
from ebsim.storage.sources import describe_kind, seek_data_ranges
from ebsim.units import KIB

_DEVICE_ZERO_ALIGNMENT = 4 * KIB
"""A device zeroes whole logical blocks, which are 512 or 4096 bytes; 4096 is also a page, so that
the kernel drops no page of which a part was just written. Larger ones refuse and get zeros."""

_ZEROS = memoryview(bytes(256 * KIB))
"""What is written where no hole can be punched; about the size at which pwrite is fastest."""

_CANNOT_ZERO = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV})
"""How files and devices answer to a fallocate mode that they lack."""


_BLKROGET = 0x125E
"""The request of <linux/fs.h> that asks whether a block device is read-only."""


class RestoreTarget(Protocol):
    """Something that an image of `size_bytes` is written to."""

    @property
    def path(self) -> str:
        """The real path of the target."""
        ...

    @property
    def size_bytes(self) -> int:
        """The exact size of the image."""
        ...

    @property
    def starts_blank(self) -> bool:
        """Whether bytes that are never written read as zeros, so that `zero` is not needed."""
        ...

    def write(self, offset: int, data: Buffer) -> None:
        """Write bytes at an offset; what would lie behind the image is left out.

        Raises:
            LimitExceededError: NoSpace.
            EbsimError: TargetFailed.
        """
        ...

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the whole buffer with the bytes from `offset` on; zeros where there are none.

        Raises:
            EbsimError: TargetFailed.
        """
        ...

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield half-open byte ranges within [start, end) that may hold data, ascending.

        The rest reads as zeros.
        """
        ...

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeros, giving its space back where that is possible.

        Raises:
            LimitExceededError: NoSpace.
            EbsimError: TargetFailed.
        """
        ...

    def commit(self) -> None:
        """Make everything durable, and the target what the user named. Closes it.

        Raises:
            EbsimError: TargetFailed, NoSpace or TargetExists; `abort` is still to be called.
        """
        ...

    def abort(self) -> None:
        """Give up and close. Never raises; does nothing after `commit`."""
        ...


class _OpenTarget:
    """What the three kinds of target share: an open descriptor and the size of the image."""

    starts_blank = False

    def __init__(self, fd: int, path: str, size_bytes: int) -> None:
        self._fd = fd
        self._path = path
        self._size_bytes = size_bytes
        self._can_punch = True

    @property
    def path(self) -> str:
        """The real path of the target."""
        return self._path

    @property
    def size_bytes(self) -> int:
        """The exact size of the image."""
        return self._size_bytes

    def write(self, offset: int, data: Buffer) -> None:
        """Write bytes at an offset; what would lie behind the image is left out.

        Raises:
            LimitExceededError: NoSpace.
            EbsimError: TargetFailed.
        """
        view = memoryview(data).cast("B")[: max(0, self._size_bytes - offset)]
        try:
            while view:
                written = os.pwrite(self._fd, view, offset)
                offset += written
                view = view[written:]
        except OSError as error:
            raise _failure(error, f"Writing at offset {offset} of {self._path}") from error

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the whole buffer with the bytes from `offset` on; zeros where there are none.

        Raises:
            EbsimError: TargetFailed.
        """
        length = max(0, min(len(buffer), self._size_bytes - offset))
        done = 0
        while done < length:
            try:
                count = os.preadv(self._fd, [buffer[done:length]], offset + done)
            except OSError as error:
                raise _failure(error, f"Reading offset {offset + done} of {self._path}") from error
            if count == 0:
                break
            done += count
        buffer[done:] = bytes(len(buffer) - done)

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeros, giving its space back where that is possible.

        Raises:
            LimitExceededError: NoSpace.
            EbsimError: TargetFailed.
        """
        end = min(offset + length, self._size_bytes)
        if offset >= end:
            return
        try:
            if not self._deallocate(offset, end):
                self._write_zeros(offset, end)
        except OSError as error:
            raise _failure(error, f"Zeroing from offset {offset} of {self._path}") from error

    def _deallocate(self, start: int, end: int) -> bool:
        """Make a range read as zeros without writing them; return whether that can be done."""
        if self._can_punch:
            mode = native.FALLOC_FL_PUNCH_HOLE | native.FALLOC_FL_KEEP_SIZE
            self._can_punch = _try_fallocate(self._fd, mode, start, end)
        return self._can_punch

    def _write_zeros(self, start: int, end: int) -> None:
        while start < end:
            start += os.pwrite(self._fd, _ZEROS[: end - start], start)

    def _sync(self) -> None:
        try:
            sync_fd(self._fd)
        except OSError as error:
            raise _failure(error, f"Making {self._path} durable") from error

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class _FileTarget(_OpenTarget):
    """A regular file, which knows its holes."""

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield half-open byte ranges within [start, end) that are no holes, ascending.

        Raises:
            EbsimError: TargetFailed.
        """
        fd = os.dup(self._fd)
        try:
            end = min(end, self._size_bytes, os.fstat(fd).st_size)
            yield from seek_data_ranges(fd, start, end)
        except OSError as error:
            raise _failure(error, f"Looking for the holes of {self._path}") from error
        finally:
            os.close(fd)

    def _resize(self) -> None:
        """Give the file the exact size of the image."""
        try:
            os.ftruncate(self._fd, self._size_bytes)
        except OSError as error:
            raise _failure(error, f"Making {self._path} {self._size_bytes} bytes long") from error


class NewFileTarget(_FileTarget):
    """A file that appears under its name when it is whole.

    Args:
        path: The real path that it shall have; its folder exists.
        size_bytes: The exact size of the image.
        replace: Take the place of a file that is there, and its owner and mode.
        entropy: For the temporary name.

    Raises:
        ConflictError: TargetExists.
        InvalidInputError: TargetFailed: its folder may not be written to.
        NotFoundError: TargetFailed: its folder does not exist.
        LimitExceededError: NoSpace: the file system cannot hold a file so large.
        EbsimError: TargetFailed.
    """

    starts_blank = True

    def __init__(self, path: str, size_bytes: int, *, replace: bool, entropy: Entropy) -> None:
        if not replace and os.path.lexists(path):
            raise _exists(path)
        self._replace = replace
        try:
            temporaries.remove_leftovers(path)
            fd, self._temporary = temporaries.create_temporary(path, entropy)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(
                f"The folder {os.path.dirname(path)} does not exist. Make it, then restore again.",
                ErrorCode.TARGET_FAILED,
            ) from error
        except OSError as error:
            raise _failure(error, f"Creating {path}") from error
        super().__init__(fd, path, size_bytes)
        try:
            self._resize()
        except BaseException:
            self.abort()
            raise

    def commit(self) -> None:
        """Make the file durable and give it its name.

        Raises:
            ConflictError: TargetExists: a file took the name meanwhile.
            LimitExceededError: NoSpace.
            EbsimError: TargetFailed.
        """
        self._sync()
        try:
            if self._replace:
                self._take_over_owner()
                os.replace(self._temporary, self._path)
            else:
                self._take_free_name()
            failpoints.reach("restore.named")
            sync_directory(Path(self._path).parent)
        except FileExistsError as error:
            raise _exists(self._path) from error
        except OSError as error:
            raise _failure(error, f"Giving the restored file its name {self._path}") from error
        self._close()

    def abort(self) -> None:
        """Remove the temporary file; an old file stays as it was."""
        if self._fd >= 0:
            with suppress(OSError):
                os.unlink(self._temporary)
            self._close()

    def _take_free_name(self) -> None:
        """Rename without ever replacing a file that appeared meanwhile."""
        try:
            os.link(self._temporary, self._path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links; the check leaves a tiny gap
            if os.path.lexists(self._path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
            os.rename(self._temporary, self._path)
        else:
            failpoints.reach("restore.linked")
            os.unlink(self._temporary)

    def _take_over_owner(self) -> None:
        """Get the owner and mode of the file that is replaced, as far as that is allowed."""
        try:
            old = os.lstat(self._path)
        except FileNotFoundError:
            return
        mode = stat.S_IMODE(old.st_mode) & 0o777
        try:
            os.fchown(self._fd, old.st_uid, old.st_gid)
        except PermissionError:
            if os.fstat(self._fd).st_gid != old.st_gid:
                mode &= 0o707  # what one group might do, another may not
        os.fchmod(self._fd, mode)


class InPlaceFileTarget(_FileTarget):
    """An existing file, written where it differs.

    Args:
        path: The real path of a regular file.
        size_bytes: The exact size of the image. A shorter file is extended at once, a longer one
            is cut off by `commit`.

    Raises:
        NotFoundError: TargetFailed: there is no such file.
        ConflictError: TargetBusy: a loop device that is in use reads and writes the file.
        InvalidInputError: TargetFailed: it may not be written to.
        LimitExceededError: NoSpace.
        EbsimError: TargetFailed.
    """

    def __init__(self, path: str, size_bytes: int) -> None:
        try:
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise NotFoundError(
                f"There is no file {path} to restore in place. Leave out --in-place to make one.",
                ErrorCode.TARGET_FAILED,
            ) from error
        except OSError as error:
            raise _failure(error, f"Opening {path} for writing") from error
        super().__init__(fd, path, size_bytes)
        try:
            status = os.fstat(fd)
            _ensure_kind(path, status.st_mode, stat.S_IFREG)
            _refuse_busy_image(path)
            if status.st_size < size_bytes:
                self._resize()
        except BaseException:
            self._close()
            raise

    def commit(self) -> None:
        """Cut a longer file off at the size of the image, and make it durable.

        Raises:
            EbsimError: TargetFailed.
        """
        self._resize()
        self._sync()
        self._close()

    def abort(self) -> None:
        """Close the file, which stays as it is by now: a mixture, if anything was written."""
        self._close()


class DeviceTarget(_OpenTarget):
    """A block device, opened exclusively.

    Args:
        path: The real path of its node.
        size_bytes: The exact size of the image; the device has at least as many.

    Raises:
        ConflictError: TargetBusy: it is mounted or otherwise in use.
        InvalidInputError: TargetTooSmall, or TargetFailed: it is none, or may not be written to.
        EbsimError: TargetFailed.
    """

    def __init__(self, path: str, size_bytes: int) -> None:
        flags = os.O_RDWR | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            fd = os.open(path, flags)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise ConflictError(
                    f"{path} is in use: it is mounted, or part of another device. Unmount it "
                    "(findmnt and lsblk show where it is), then restore again.",
                    ErrorCode.TARGET_BUSY,
                ) from error
            raise _failure(error, f"Opening {path} for writing") from error
        super().__init__(fd, path, size_bytes)
        try:
            _ensure_kind(path, os.fstat(fd).st_mode, stat.S_IFBLK)
            _ensure_writable(fd, path)
            self._ensure_fits(os.lseek(fd, 0, os.SEEK_END))
        except BaseException:
            self._close()
            raise
        self._can_zero_range = True

    def _ensure_fits(self, device_size: int) -> None:
        if device_size < self._size_bytes:
            raise InvalidInputError(
                f"{self._path} has {device_size} bytes, but the snapshot needs "
                f"{self._size_bytes}. Restore to a larger device or to a file; nothing was "
                "written.",
                ErrorCode.TARGET_TOO_SMALL,
            )

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield [start, end) as one range: a device does not tell what it holds."""
        end = min(end, self._size_bytes)
        if start < end:
            yield start, end

    def _deallocate(self, start: int, end: int) -> bool:
        """Discard or zero the whole blocks of a range, and write zeros to its ends."""
        inner_start = -(-start // _DEVICE_ZERO_ALIGNMENT) * _DEVICE_ZERO_ALIGNMENT
        inner_end = end // _DEVICE_ZERO_ALIGNMENT * _DEVICE_ZERO_ALIGNMENT
        if inner_start >= inner_end or not self._zero_blocks(inner_start, inner_end):
            return False
        self._write_zeros(start, inner_start)
        self._write_zeros(inner_end, end)
        return True

    def _zero_blocks(self, start: int, end: int) -> bool:
        if super()._deallocate(start, end):
            return True
        if self._can_zero_range:
            mode = native.FALLOC_FL_ZERO_RANGE | native.FALLOC_FL_KEEP_SIZE
            self._can_zero_range = _try_fallocate(self._fd, mode, start, end)
        return self._can_zero_range

    def commit(self) -> None:
        """Make the device's content durable.

        Raises:
            EbsimError: TargetFailed.
        """
        self._sync()
        self._close()

    def abort(self) -> None:
        """Close the device, which stays as it is by now: a mixture, if anything was written."""
        self._close()


def open_target(
    path: str | os.PathLike[str],
    size_bytes: int,
    *,
    in_place: bool,
    force: bool,
    entropy: Entropy,
) -> RestoreTarget:
    """Open what a snapshot shall be restored to. Nothing that exists is changed yet.

    Args:
        path: A block device, or where a file is or will be. Symbolic links are followed.
        size_bytes: The exact size of the image.
        in_place: Write into an existing file instead of making a new one. For a device, which is
            always written in place, it makes no difference here.
        force: Let a new file take the place of an existing one.
        entropy: For temporary names.

    Raises:
        NotFoundError: TargetFailed: no such folder, or with `in_place` no such file.
        ConflictError: TargetExists without `force`; TargetBusy.
        InvalidInputError: TargetTooSmall, or TargetFailed: a folder, pipe, socket or character
            device, or it may not be written to.
        LimitExceededError: NoSpace.
        EbsimError: TargetFailed.
    """
    try:
        real = os.path.realpath(os.fspath(path))
        mode = _mode_of(real)
    except ValueError as error:
        raise InvalidInputError(
            f"{os.fspath(path)!r} is not a possible path: {error}.", ErrorCode.TARGET_FAILED
        ) from error
    except OSError as error:
        raise _failure(error, f"Looking at {os.fspath(path)}") from error
    if mode is not None and stat.S_ISBLK(mode):
        return DeviceTarget(real, size_bytes)
    if mode is not None and not stat.S_ISREG(mode):
        raise _unsupported(real, mode)
    if in_place:
        return InPlaceFileTarget(real, size_bytes)
    return NewFileTarget(real, size_bytes, replace=force, entropy=entropy)


def _try_fallocate(fd: int, mode: int, start: int, end: int) -> bool:
    """Call fallocate; return whether this file or device has the mode."""
    try:
        native.fallocate(fd, mode, start, end - start)
    except OSError as error:
        if error.errno not in _CANNOT_ZERO:
            raise
        return False
    return True


def _ensure_kind(path: str, mode: int, kind: int) -> None:
    """Raise if the path came to name something else since it was looked at."""
    if stat.S_IFMT(mode) != kind:
        raise _unsupported(path, mode)


def _ensure_writable(fd: int, path: str) -> None:
    """Raise if a device is read-only, which opening it for writing does not tell."""
    if any(fcntl.ioctl(fd, _BLKROGET, bytes(4))):
        raise _failure(OSError(errno.EROFS, "it is read-only"), f"Opening {path} for writing")


def _mode_of(path: str) -> int | None:
    try:
        return os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _refuse_busy_image(path: str) -> None:
    """Raise if a loop device of this image is mounted; its file system would be overwritten."""
    for device in mounts.loop_devices_of(path):
        try:
            os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise ConflictError(
                    f"{path} is in use: it is attached to {device}, which is mounted or part of "
                    "another device. Unmount it, then restore again.",
                    ErrorCode.TARGET_BUSY,
                ) from error


def _exists(path: str) -> ConflictError:
    return ConflictError(
        f"{path} exists. Use --force to replace it, or --in-place to write only the blocks that "
        "differ.",
        ErrorCode.TARGET_EXISTS,
    )


def _unsupported(path: str, mode: int) -> InvalidInputError:
    return InvalidInputError(
        f"{path} is {describe_kind(mode)}. Restore to a file or a block device.",
        ErrorCode.TARGET_FAILED,
    )


def _failure(error: OSError, doing: str) -> EbsimError:
    """Return what an OSError means to the user; `doing` begins the sentence."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LimitExceededError(
            f"{doing} failed: {error.strerror}. Free some space, then restore again.",
            ErrorCode.NO_SPACE,
        )
    if error.errno == errno.EFBIG:
        return LimitExceededError(
            f"{doing} failed: {error.strerror}. Restore to another file system or to a device.",
            ErrorCode.NO_SPACE,
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG):
        return InvalidInputError(
            f"{doing} failed: {error.strerror}. Choose another target, or run ebsim as a user who "
            "may write there.",
            ErrorCode.TARGET_FAILED,
        )
    return EbsimError(
        f"{doing} failed: {error.strerror}. The restore is not complete: look at the kernel's log "
        "for the target's disk, then restore again.",
        ErrorCode.TARGET_FAILED,
    )
