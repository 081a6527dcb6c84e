"""One point in time of a source that somebody is writing to.

Two means, alone or together:

- A *freeze* (FIFREEZE) makes a mounted file system write everything out and holds every writer
  until the thaw. A guard process does both, so that no way in which ebsim can end, SIGKILL
  included, leaves the file system frozen (ebsim/storage/freeze_guard.py).
- A *clone* (FICLONE, "reflink") of an image file, on a file system that can, is made in an instant
  and stays as it is. It has no name, so nothing is left of it when ebsim ends.

With both, the freeze lasts only as long as the clone takes to make. Without a clone, the freeze
lasts until the source has been read.

While a file system is frozen, whoever writes to it waits. So ebsim refuses to freeze one that it
may have to write to itself, and never clones a file on the very file system that it froze.
"""

import errno
import fcntl
import logging
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ebsim.errors import ErrorCode, InvalidInputError, SourceError
from ebsim.storage import freeze_guard, mounts, native
from ebsim.storage.own_files import ensure_not_in_store
from ebsim.storage.sources import DeviceSource, FileSource, open_source

if TYPE_CHECKING:
    import subprocess

_LOG = logging.getLogger(__name__)

_NO_CLONE = frozenset(
    {
        errno.EOPNOTSUPP,  # this file system has no clones, or no files without a name
        errno.ENOTTY,  # nor does it know the request
        errno.ENOSYS,
        errno.EXDEV,
        errno.EINVAL,
        errno.EISDIR,  # how old kernels answer to O_TMPFILE
        errno.EPERM,
        errno.EACCES,
        errno.EROFS,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.ETXTBSY,  # a swap file
    }
)
"""Reasons to read the file itself instead. Anything else is a failure of the disk."""

_WHY_NO_FREEZE = {
    errno.EPERM: "only root may freeze a file system. Run ebsim as root",
    errno.EACCES: "only root may freeze a file system. Run ebsim as root",
    errno.EBUSY: "it is frozen already, by somebody else. Wait until that is over, or thaw it "
    "with fsfreeze --unfreeze",
    errno.EOPNOTSUPP: "this kind of file system cannot be frozen. Take the snapshot without "
    "--freeze while nothing writes",
}


@contextmanager
def held_frozen(mount_point: Path, store_path: Path) -> Iterator[None]:
    """Hold a mounted file system frozen: written out, with all its writers waiting.

    It is thawed when the context ends, however it ends: also through an exception, SIGINT,
    SIGTERM or SIGKILL.

    Args:
        mount_point: Where it is mounted; symbolic links are followed.
        store_path: The store, or the place where it will be.

    Raises:
        InvalidInputError: FreezeFailed: no mount point, or the file system is one that ebsim may
            have to write to while it is frozen.
        SourceError: FreezeFailed: it could not be frozen; or, on leaving, it turned out that
            somebody else had thawed it (what was read is no point in time) or it did not thaw.
    """
    mount_fd = _open_mount_point(mount_point)
    try:
        _refuse_own_file_system(mount_fd, mount_point, store_path)
        guard = _start_guard(mount_fd, mount_point)
        try:
            _freeze(guard, mount_point)
            yield
        except BaseException:
            problem = _thaw(guard, mount_fd, mount_point)
            if problem:
                _LOG.error("%s", problem)  # what is being raised already matters more
            raise
        problem = _thaw(guard, mount_fd, mount_point)
        if problem:
            raise SourceError(problem, ErrorCode.FREEZE_FAILED)
    finally:
        os.close(mount_fd)


def reflink_clone(path: str | os.PathLike[str]) -> FileSource | None:
    """Clone a regular file in an instant and open the clone, which has no name.

    Args:
        path: A file; the source that is returned has its real path as identity.

    Returns:
        None where that is not possible: a device, or a file system without clones, without space,
        or not writable.

    Raises:
        EbsimError: What `open_source` raises.
        SourceError: SourceReadFailed: the disk failed while the clone was made.
    """
    original = open_source(path)
    try:
        if not isinstance(original, FileSource):
            return None
        clone = _clone(original)
        if clone is None or clone.size_bytes == original.size_bytes:
            return clone
        clone.close()  # it is being resized; reading the file itself will say so
        return None
    finally:
        original.close()


def _clone(original: FileSource) -> FileSource | None:
    folder = os.path.dirname(original.identity)
    fd = -1
    try:
        fd = os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        native.clone_file(fd, original.fileno())
        return FileSource(fd, original.identity)
    except BaseException as error:
        if fd >= 0:
            os.close(fd)
        if not isinstance(error, OSError):
            raise
        if error.errno in _NO_CLONE:
            return None
        raise SourceError(
            f"Cloning {original.identity} failed: {error.strerror}. Look at the kernel's log for "
            "its disk, then take the snapshot again.",
            ErrorCode.SOURCE_READ_FAILED,
        ) from error


@contextmanager
def open_point_in_time(
    path: str | os.PathLike[str], freeze: Path | None, store_path: Path
) -> Iterator[FileSource | DeviceSource]:
    """Open a source as of one point in time, as far as the system and the caller allow.

    A file that can be cloned is read from a clone, which is made while `freeze` is held. Anything
    else is read directly, with `freeze` held until the context ends. Leave the context before the
    snapshot is completed: only then is it known that the freeze lasted.

    Args:
        path: A regular file or a block device.
        freeze: A mount point to hold frozen, or None.
        store_path: The store, or the place where it will be.

    Raises:
        InvalidInputError: SourceUnsupported: it is a part of the store.
        EbsimError: What `open_source` and `held_frozen` raise.
    """
    # What is wrong with the path is better said before anybody has to wait for a freeze.
    checked = open_source(path)
    checked.close()
    ensure_not_in_store(path, store_path, ErrorCode.SOURCE_UNSUPPORTED)
    with ExitStack() as frozen, ExitStack() as opened:
        may_clone = isinstance(checked, FileSource)
        if freeze is not None:
            frozen.enter_context(held_frozen(freeze, store_path))
            may_clone = may_clone and not _lies_on(checked.identity, freeze)
        clone = reflink_clone(path) if may_clone else None
        source = clone if clone is not None else open_source(path)
        opened.callback(source.close)
        if clone is not None:
            frozen.close()
        yield source


def _lies_on(path: str, mount_point: Path) -> bool:
    """Whether writing to `path` would wait for a thaw of what is mounted at `mount_point`."""
    fd = os.open(mount_point, os.O_PATH | os.O_CLOEXEC)
    try:
        return mounts.superblock_of_fd(fd) in mounts.superblocks_beneath(path)
    finally:
        os.close(fd)


def _open_mount_point(mount_point: Path) -> int:
    try:
        fd = os.open(mount_point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInputError(
            f"Cannot freeze {mount_point}: {reason}. Name the folder where the file system is "
            "mounted.",
            ErrorCode.FREEZE_FAILED,
        ) from error
    try:
        _ensure_mount_point(fd, mount_point)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _ensure_mount_point(fd: int, mount_point: Path) -> None:
    try:
        mount = mounts.mount_of_fd(fd)
    except OSError as error:
        _cannot_look(mount_point, error)
    if mount is None or mount.mount_point != os.path.realpath(mount_point):
        where = f", but {mount.mount_point} is one" if mount is not None else ""
        _refuse(
            f"Cannot freeze {mount_point}: it is no mount point{where}. Name the folder where the "
            "file system is mounted."
        )


def _refuse_own_file_system(mount_fd: int, mount_point: Path, store_path: Path) -> None:
    """Raise if ebsim could come to wait for its own thaw."""
    try:
        frozen = mounts.superblock_of_fd(mount_fd)
        for what, path in _own_places(store_path):
            if frozen in mounts.superblocks_beneath(path):
                _refuse(
                    f"Cannot freeze {mount_point}: ebsim would have to wait for itself, because "
                    f"{what} ({path}) lies on that file system. Keep it on another one, or take "
                    "the snapshot without --freeze."
                )
    except OSError as error:
        _cannot_look(mount_point, error)


def _own_places(store_path: Path) -> Iterator[tuple[str, str]]:
    """Yield what ebsim may write to, or load code from, with its name for a sentence."""
    import tempfile

    yield "the store", str(store_path)
    yield "the Python interpreter", sys.executable
    yield "Python's library", os.__file__
    yield "the folder of installed packages", sys.prefix
    yield "ebsim itself", __file__
    yield "the folder for temporary files", tempfile.gettempdir()
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the listing's own descriptor is gone by now
            fd = int(name)
            writable = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
            if writable and stat.S_ISREG(os.fstat(fd).st_mode):
                yield "a file that is open for writing", os.path.realpath(f"/proc/self/fd/{fd}")


def _refuse(message: str) -> NoReturn:
    raise InvalidInputError(message, ErrorCode.FREEZE_FAILED)


def _cannot_look(mount_point: Path, error: OSError) -> NoReturn:
    raise SourceError(
        f"Cannot freeze {mount_point}: what ebsim itself would have to wait for cannot be told "
        f"({error.filename}: {error.strerror}).",
        ErrorCode.FREEZE_FAILED,
    ) from error


def _start_guard(mount_fd: int, mount_point: Path) -> "subprocess.Popen[bytes]":
    """Start the guard, and return when it is ready.

    Raises:
        SourceError: FreezeFailed.
    """
    import subprocess

    program = [sys.executable, "-I", "-S", os.path.abspath(freeze_guard.__file__)]
    arguments = [str(mount_fd), str(native.FIFREEZE), str(native.FITHAW)]
    try:
        guard = subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
            program + arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            pass_fds=(mount_fd,),
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise SourceError(
            f"Cannot freeze {mount_point}: the process that guards the freeze could not be "
            f"started: {error.strerror}.",
            ErrorCode.FREEZE_FAILED,
        ) from error
    try:
        is_ready = _receive(guard) == freeze_guard.READY
    except BaseException:
        _end(guard)
        raise
    if not is_ready:
        _end(guard)
        raise SourceError(
            f"Cannot freeze {mount_point}: the process that guards the freeze ended before it was "
            "ready. Try again.",
            ErrorCode.FREEZE_FAILED,
        )
    return guard


def _freeze(guard: "subprocess.Popen[bytes]", mount_point: Path) -> None:
    assert guard.stdin is not None
    with suppress(BrokenPipeError):  # then there is no answer either
        guard.stdin.write(freeze_guard.FREEZE)
    answer = _receive(guard)
    if answer == b"\0":
        return
    if not answer:
        raise SourceError(
            f"Cannot freeze {mount_point}: the process that guards the freeze was killed. Try "
            "again.",
            ErrorCode.FREEZE_FAILED,
        )
    reason = _WHY_NO_FREEZE.get(answer[0], os.strerror(answer[0]))
    raise SourceError(f"Cannot freeze {mount_point}: {reason}.", ErrorCode.FREEZE_FAILED)


def _thaw(guard: "subprocess.Popen[bytes]", mount_fd: int, mount_point: Path) -> str:
    """End the freeze; return a sentence about what went wrong, or nothing."""
    status = _end(guard)
    if status in (freeze_guard.THAWED, freeze_guard.NOT_FROZEN):
        return ""
    if status == freeze_guard.THAWED_BY_ANOTHER:
        return (
            f"Somebody else thawed {mount_point} while it was being read, so what was read is no "
            "point in time. Take the snapshot again."
        )
    # The guard was killed, or failed to thaw: it is up to us.
    try:
        fcntl.ioctl(mount_fd, native.FITHAW, 0)
    except OSError as error:
        if error.errno != errno.EINVAL:  # EINVAL: it is not frozen
            return (
                f"{mount_point} is still frozen, because thawing it failed: {error.strerror}. "
                f"Run: fsfreeze --unfreeze {mount_point}"
            )
    return ""


def _receive(guard: "subprocess.Popen[bytes]") -> bytes:
    """Return the guard's next byte, or nothing when it ended."""
    assert guard.stdout is not None
    return os.read(guard.stdout.fileno(), 1)


def _end(guard: "subprocess.Popen[bytes]") -> int:
    """Close the pipe, which makes the guard thaw, and return the guard's status."""
    assert guard.stdin is not None
    assert guard.stdout is not None
    guard.stdin.close()
    try:
        return guard.wait()
    finally:
        guard.stdout.close()
