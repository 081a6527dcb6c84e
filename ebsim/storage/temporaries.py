"""Files under a temporary name beside the one that they become when they are whole.

Their names are `.NAME.ebsim-` and 16 random hex digits. Whoever makes one holds a lock on it for as
long as it is open. The kernel drops the lock with the process, so a temporary file that can be
locked was left behind by a process that was killed, and may be removed.
"""

import errno
import fcntl
import os
import re
import stat
from contextlib import suppress

from ebsim.entropy import Entropy

_NAME_BYTES_MAX = 255
"""The longest file name that Linux's file systems allow."""

_TEMPORARY_ATTEMPTS = 16
"""Names are random, so that one attempt is enough; the bound is for entropy made on purpose."""


def _temporary_prefix(path: str) -> bytes:
    name = os.fsencode(os.path.basename(path))
    room = _NAME_BYTES_MAX - len(b"." + b".ebsim-") - 16
    return b"." + name[:room] + b".ebsim-"


def create_temporary(path: str, entropy: Entropy) -> tuple[int, bytes]:
    """Create a file of a random name beside `path`, and lock it for as long as it is open.

    Args:
        path: What the file will be in the end; in a folder that exists.
        entropy: For the name.

    Returns:
        The descriptor, open for reading and writing, which is the caller's, and the path.

    Raises:
        OSError: As the kernel says.
    """
    folder = os.fsencode(os.path.dirname(path))
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    for _ in range(_TEMPORARY_ATTEMPTS):
        name = _temporary_prefix(path) + entropy.token_bytes(8).hex().encode()
        temporary = os.path.join(folder, name)
        try:
            fd = os.open(temporary, flags, 0o600)
        except FileExistsError:
            continue
        with suppress(OSError):  # no locks here: then nobody can take it for a leftover either
            fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            return fd, temporary
        os.close(fd)  # another restore took it for a leftover before it was locked
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def remove_leftovers(path: str) -> None:
    """Remove temporary files of `path` whose process is gone. Never raises."""
    ours = re.compile(re.escape(_temporary_prefix(path)) + rb"[0-9a-f]{16}\Z")
    folder = os.fsencode(os.path.dirname(path))
    names: list[bytes] = []
    with suppress(OSError):  # whatever is wrong with the folder, creating the file will say it
        names = os.listdir(folder)
    for name in filter(ours.match, names):
        with suppress(OSError):  # locked, or gone: somebody else's
            _remove_unless_locked(os.path.join(folder, name))


def _remove_unless_locked(path: bytes) -> None:
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            os.unlink(path)
    finally:
        os.close(fd)
