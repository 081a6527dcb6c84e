"""Since when the page cache is the same: what was written but not synced outlives only processes.

It is lost when the machine is restarted, and also when a file system that has shut itself down
after a failure is mounted again. Asked instead of the wall clock, which no decision about safety
may use.
"""

import fcntl
import os
import uuid
from contextlib import suppress
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SYSTEM = Path("/sys")
_FILE_SYSTEMS = ("ext4", "xfs", "f2fs")
"""Which of them have a folder for each device in /sys/fs."""

_BTRFS_FS_INFO = 0x8400941F
_BTRFS_FS_INFO_SIZE = 1024
_BTRFS_ID = slice(16, 32)
"""Where the answer has the id of the file system (include/uapi/linux/btrfs.h)."""


def read_boot_id() -> str:
    """Return a text that is another after each boot; empty where the kernel does not tell."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def read_cache_id(folder: Path, boot_id: str) -> str:
    """Return a text that is another after each boot, and each time the file system is mounted.

    Where a file system is mounted in several places, that counts as once: they have one page cache.

    Args:
        folder: An existing folder.
        boot_id: What `read_boot_id` says.

    Returns:
        The boot id, and a number for the mounted file system if it is an ext4, xfs, f2fs or btrfs.
        Empty if the boot id is.
    """
    mounted = _mounted_number(folder) if boot_id else 0
    return f"{boot_id} {mounted}" if mounted else boot_id


def _mounted_number(folder: Path) -> int:
    """Return the number of the kernel's object for the mounted file system, 0 if unknown.

    It is a folder of /sys, made when the file system is mounted and removed when it is unmounted
    everywhere; the kernel does not use the number of a folder again.
    """
    with suppress(OSError):
        device = folder.stat().st_dev
        block = _SYSTEM / "dev/block" / f"{os.major(device)}:{os.minor(device)}"
        name = os.path.basename(os.path.realpath(block))
        for kind in _FILE_SYSTEMS:
            with suppress(OSError):
                return (_SYSTEM / "fs" / kind / name).stat().st_ino
        return (_SYSTEM / "fs/btrfs" / _btrfs_id(folder)).stat().st_ino
    return 0


def _btrfs_id(folder: Path) -> str:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        answer = bytearray(_BTRFS_FS_INFO_SIZE)
        fcntl.ioctl(fd, _BTRFS_FS_INFO, answer)
        return str(uuid.UUID(bytes=bytes(answer[_BTRFS_ID])))
    finally:
        os.close(fd)
