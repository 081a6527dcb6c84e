"""Another file for a catalog whose commit failed, with the same content.

After a failed sync, what was written is not only not on the disk: on ext4 the file's blocks stay
marked as never written while the pages in memory know nothing of that, so that what is written to
the same places later is lost too, although its sync succeeds (seen by the campaign `failed-syncs`).
LMDB writes to the same places again. So the content, which is right in memory, goes to a new file.
"""

import logging
import os
from contextlib import suppress
from pathlib import Path

from ebsim.storage.files import FILE_MODE, sync_directory, sync_fd, write_fully
from ebsim.storage.locks import LockFile, Region
from ebsim.units import MIB

DATA, LOCK = "data.mdb", "lock.mdb"
_BEING_MADE = "data.mdb.new"
_AWAY = "data.mdb.failed"

_log = logging.getLogger(__name__)


def renew_catalog(folder: Path) -> bool:
    """Put a synced copy in the place of a catalog's file, which nobody else writes to meanwhile.

    Who has the old file open can go on reading it. Where the copy cannot be made yet, the old file
    is taken away, so that nobody writes to it, until somebody opens the store (`finish_renewal`).
    On a file system that has shut itself down neither works; there the next mount begins with what
    is on the disk, which is a whole state of before.

    Args:
        folder: The catalog's.

    Returns:
        Whether the copy is in place.
    """
    try:
        _copy(folder, DATA)
        return True
    except OSError as error:
        _log.warning("the catalog %s could not be written anew: %s", folder, error)
    with suppress(OSError):
        (folder / DATA).rename(folder / _AWAY)
    return False


def finish_renewal(folder: Path, locks: LockFile) -> None:
    """Make the copy that a process could not make whose commit failed.

    Args:
        folder: The catalog's.
        locks: The store's.

    Raises:
        OSError: It cannot be made; the catalog stays away.
    """
    if not (folder / _AWAY).exists():
        return
    with locks.hold(Region.CATALOG_COMMIT):
        if (folder / DATA).exists():  # another opener was faster, but for the last step
            (folder / _AWAY).unlink(missing_ok=True)
        elif (folder / _AWAY).exists():
            _copy(folder, _AWAY)
            (folder / _AWAY).unlink()


def _copy(folder: Path, name: str) -> None:
    new = folder / _BEING_MADE
    new.unlink(missing_ok=True)
    source = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        target = os.open(new, flags, FILE_MODE)
        try:
            offset = 0
            while data := os.pread(source, MIB, offset):  # not a reflink: that has the same blocks
                write_fully(target, [data], offset)
                offset += len(data)
            sync_fd(target)
        finally:
            os.close(target)
    finally:
        os.close(source)
    new.rename(folder / DATA)
    (folder / LOCK).unlink(missing_ok=True)
    sync_directory(folder)
