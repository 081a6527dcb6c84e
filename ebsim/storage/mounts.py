"""Which file system a path lies on, and what that file system lies on itself.

The kernel's mount table names every file system by the device number of its superblock. That is
the name to compare by: `st_dev` differs between the subvolumes of one btrfs, although freezing one
of them freezes them all.

A file system may lie on a loop device whose image lies on another file system, and so on down.
Whoever writes to the upper one writes to all of them.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MOUNT_TABLE = Path("/proc/self/mountinfo")
_BLOCK_DEVICES = Path("/sys/dev/block")
_LOOP_DEVICES = Path("/sys/block")
_ESCAPE = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One line of the mount table.

    Attributes:
        mount_id: Its number, as /proc/self/fdinfo gives it for an open file.
        superblock: `major:minor` of the file system; the same for all its mounts.
        mount_point: The path where it is mounted.
        source: What was mounted: the path of a device, or any name.
    """

    mount_id: int
    superblock: str
    mount_point: str
    source: str


def parse_mount_table(table: bytes) -> Iterator[Mount]:
    """Yield the mounts that a text in the form of /proc/self/mountinfo lists (proc(5))."""
    for line in table.splitlines():
        left, _, right = line.partition(b" - ")
        fields, source = left.split(b" "), right.split(b" ")[1:2]
        if len(fields) < 5 or not source:
            continue
        yield Mount(
            mount_id=int(fields[0]),
            superblock=fields[2].decode("ascii"),
            mount_point=_unescape(fields[4]),
            source=_unescape(source[0]),
        )


def _unescape(field: bytes) -> str:
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), field))


def mount_of_fd(fd: int) -> Mount | None:
    """Return the mount through which a file was opened; None where the table does not list it.

    Raises:
        OSError: /proc is not there.
    """
    facts = Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii")
    found = re.search(r"^mnt_id:\s*(\d+)$", facts, re.MULTILINE)
    wanted = int(found[1]) if found else -1
    mounts = parse_mount_table(_MOUNT_TABLE.read_bytes())
    return next((mount for mount in mounts if mount.mount_id == wanted), None)


def superblock_of_fd(fd: int) -> str:
    """Return `major:minor` of the file system that an open file lies on.

    Raises:
        OSError: /proc is not there.
    """
    mount = mount_of_fd(fd)
    if mount is not None:
        return mount.superblock
    return _device_number(os.fstat(fd).st_dev)  # a chroot hides its own mount


def superblocks_beneath(path: str) -> set[str]:
    """Return the file systems that writing to `path` writes to, its own and those it lies on.

    Args:
        path: Need not exist: its nearest folder that does is looked at.

    Raises:
        OSError: /proc is not there, or the path may not be looked at.
    """
    found: set[str] = set()
    todo = [_nearest_existing(path)]
    while todo:
        fd = os.open(todo.pop(), os.O_PATH | os.O_CLOEXEC)
        try:
            mount = mount_of_fd(fd)
            superblock = superblock_of_fd(fd)
        finally:
            os.close(fd)
        if superblock not in found:
            found.add(superblock)
            todo += _image_files_beneath(superblock, mount.source if mount else "")
    return found


def loop_devices_of(path: str) -> list[str]:
    """Return the loop devices that a file is attached to, as paths."""
    wanted = os.stat(path)
    found = []
    for entry in sorted(_LOOP_DEVICES.glob("loop*/loop/backing_file")):
        image = _read_line(entry)
        if os.path.exists(image) and os.path.samestat(os.stat(image), wanted):
            found.append(f"/dev/{entry.parent.parent.name}")
    return found


def _nearest_existing(path: str) -> str:
    path = os.path.realpath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def _image_files_beneath(superblock: str, source: str) -> list[str]:
    """Return the files that the devices of a file system are kept in."""
    numbers = {superblock}
    try:
        status = os.stat(source)
        if stat.S_ISBLK(status.st_mode):  # btrfs: its superblock's number is no device's
            numbers.add(_device_number(status.st_rdev))
    except (OSError, ValueError):
        pass  # a network share, or no device at all
    files = [file for number in numbers for file in _images_of(_BLOCK_DEVICES / number)]
    return [file for file in files if os.path.exists(file)]


def _images_of(device: Path) -> Iterator[str]:
    """Yield the image files of a device: its own, or those of the devices that it is made of."""
    device = Path(os.path.realpath(device))
    if (device / "partition").exists():
        device = device.parent
    if (device / "loop" / "backing_file").exists():
        yield _read_line(device / "loop" / "backing_file")
    for part in (device / "slaves").glob("*"):
        yield from _images_of(part)


def _read_line(entry: Path) -> str:
    try:
        return os.fsdecode(entry.read_bytes().rstrip(b"\n"))
    except OSError:
        return ""  # detached this very moment


def _device_number(number: int) -> str:
    return f"{os.major(number)}:{os.minor(number)}"
