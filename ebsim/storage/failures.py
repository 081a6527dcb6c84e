"""What a failure of the store's own files means to its user."""

import errno
import os
from pathlib import Path

from ebsim.errors import ErrorCode, LimitExceededError, StoreError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_no_space(error: OSError) -> bool:
    """Return whether there is no space, which is no damage."""
    return error.errno in _NO_SPACE


def is_quota_full(folder: Path, size: int) -> bool:
    """Return whether a folder's user may not take so many bytes more, though they are free.

    It is tried with a file that has no name, after a failure that does not say why.
    """
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        return error.errno == errno.EDQUOT
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        return error.errno == errno.EDQUOT
    finally:
        os.close(fd)
    return False


def read_failure(error: OSError, path: Path) -> StoreError:
    """Return the error for a file that cannot be read."""
    return StoreError(f"cannot read {path}: {error.strerror}", ErrorCode.STORE_FAILED)


def write_failure(error: OSError, path: Path) -> LimitExceededError | StoreError:
    """Return the error for a file that cannot be written."""
    if error.errno == errno.EFBIG:
        return LimitExceededError(
            f"no space for {path}: no file can be as large as that here, for a limit of this "
            "process (ulimit -f) or of the file system (ext4 ends at 16 TiB; XFS, btrfs and ZFS "
            "do not)",
            ErrorCode.NO_SPACE,
        )
    if is_no_space(error):
        return LimitExceededError(
            f"no space left for {path}: delete snapshots, or free space otherwise, and try again",
            ErrorCode.NO_SPACE,
        )
    return StoreError(f"cannot write {path}: {error.strerror}", ErrorCode.STORE_FAILED)
