"""System calls that the standard library lacks: fallocate's modes and a few ioctls.

Everything here is a thin, typed door to the kernel; nothing decides anything.
"""

import errno
import fcntl
import os
from collections.abc import Callable
from functools import cache

FALLOC_FL_KEEP_SIZE = 0x01
FALLOC_FL_PUNCH_HOLE = 0x02
FALLOC_FL_ZERO_RANGE = 0x10

FIFREEZE = 0xC0045877
FITHAW = 0xC0045878
FICLONE = 0x40049409


@cache
def _libc_fallocate() -> Callable[[int, int, int, int], int]:
    """Return fallocate as a function that gives 0 or the errno."""
    import ctypes  # takes 3 ms, which a short command spares

    function = ctypes.CDLL(None, use_errno=True).fallocate64
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]

    def call(fd: int, mode: int, offset: int, length: int) -> int:
        return ctypes.get_errno() if function(fd, mode, offset, length) else 0

    return call


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """Call fallocate of section 2 of the manual.

    Raises:
        OSError: As the kernel says; EOPNOTSUPP where the file system lacks the mode.
    """
    while number := _libc_fallocate()(fd, mode, offset, length):
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def punch_hole(fd: int, offset: int, length: int) -> None:
    """Give the bytes back to the file system; they read as zeros afterwards.

    Raises:
        OSError: EOPNOTSUPP where the file system or device cannot.
    """
    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)


def try_punch_hole(fd: int, offset: int, length: int) -> bool:
    """Give the bytes back where the file system can; return whether it did.

    Raises:
        OSError: Any failure but that of a file system without holes.
    """
    try:
        punch_hole(fd, offset, length)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOSYS):
            return False
        raise
    return True


def clone_file(target_fd: int, source_fd: int) -> None:
    """Make the target share all of the source's bytes (reflink).

    Raises:
        OSError: EOPNOTSUPP, EXDEV or EINVAL where the file system cannot.
    """
    fcntl.ioctl(target_fd, FICLONE, source_fd)
