"""A disk over which a real file system lies, whose writes are known one by one.

`RecordedDisk` is a loop device over a file that `served_disk` serves. Its `Recording` can be turned
into what may be on the disk after a power cut at any moment: everything that was written before the
last flush, and of what was written after it whatever chance keeps, in any order, one write torn.
"""

import mmap
import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ebsim.storage import native
from ebsim.testing import devices
from ebsim.testing.forked_process import ForkedProcess
from ebsim.testing.torture import served_disk
from ebsim.testing.torture.served_disk import ENTRY, FLUSH, SWITCH_SIZE, WRITE, ZERO
from ebsim.units import MIB

SECTOR = 512

DISK_BYTES = {"ext4": 96 * MIB, "xfs": 320 * MIB, "btrfs": 256 * MIB}
"""The disk of each file system: a little more than a story needs. It is sparse."""

MKFS_OPTIONS = {
    "ext4": ["-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"],
    "xfs": ["-q", "-f", "-K"],
    "btrfs": ["-q", "-f", "-K"],
}
MOUNT_OPTIONS = {"ext4": (), "xfs": ("nouuid",), "btrfs": ()}
"""A replayed xfs has the identity of the one that was recorded, which may be mounted elsewhere."""


def missing(*file_systems: str) -> str:
    """Return what this machine lacks for recorded disks with these file systems, or nothing."""
    if not Path("/dev/fuse").exists():
        return "no /dev/fuse"
    return devices.missing(*(f"mkfs.{each}" for each in file_systems))


class Switch:
    """Says which requests a disk fails, in a file that its server looks at.

    Byte 0: what fails, as bits. Byte 1: how many flushes go well before. Byte 2: whether any
    failed.
    """

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._bytes = mmap.mmap(file.fileno(), SWITCH_SIZE)

    def fail(self, what: int, after_flushes: int = 0) -> None:
        """Let requests fail from now on; 0 heals the disk."""
        self._bytes[1] = after_flushes
        self._bytes[0] = what

    @property
    def failed(self) -> bool:
        """Whether any request failed."""
        return bool(self._bytes[2])


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that was asked of the disk.

    Attributes:
        kind: WRITE, ZERO or FLUSH.
        offset: Where, in bytes.
        length: How much, in bytes.
        data_offset: Where the bytes of a write are in the recording.
    """

    kind: int
    offset: int
    length: int
    data_offset: int


class Recording:
    """What was done to a disk.

    Args:
        folder: Where the files of the disk are.
        size: The size of the disk in bytes.

    Attributes:
        data: All that was written, one behind the other.
        entries: What was asked of the disk.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._size = size
        self.data = (folder / "data").read_bytes()
        self.entries: list[Entry] = []
        data_offset = 0
        for kind, offset, length in ENTRY.iter_unpack((folder / "log").read_bytes()):
            self.entries.append(Entry(kind, offset, length, data_offset))
            data_offset += length if kind == WRITE else 0

    def put_state(self, image: Path, cut: int, chance: random.Random) -> str:
        """Make an image of what may be on the disk after a power cut.

        Args:
            image: The image; it is replaced.
            cut: How many entries had been answered.
            chance: Decides what is kept of those after the last flush.

        Returns:
            What was done, in a few words.
        """
        before = self.entries[:cut]
        last = max((i for i, each in enumerate(before) if each.kind == FLUSH), default=-1)
        unsure = [each for each in before[last + 1 :] if each.kind != FLUSH]
        keep = chance.choice((0.0, 0.5, 0.5, 0.5, 0.9, 1.0))
        kept = [each for each in unsure if chance.random() < keep]
        chance.shuffle(kept)
        torn = chance.choice(kept) if kept and chance.random() < 0.5 else None
        image.unlink(missing_ok=True)
        fd = os.open(image, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, self._size)
            for each in before[: last + 1]:
                self._apply(fd, each, each.length)
            for each in kept:
                sectors = each.length // SECTOR
                whole = each is not torn or sectors < 2
                self._apply(fd, each, each.length if whole else self._tear(sectors, chance))
        finally:
            os.close(fd)
        return (
            f"{len(kept)} of {len(unsure)} unflushed writes kept, {'one' if torn else 'none'} torn"
        )

    def _tear(self, sectors: int, chance: random.Random) -> int:
        return chance.randrange(1, sectors) * SECTOR

    def _apply(self, fd: int, entry: Entry, length: int) -> None:
        if entry.kind == WRITE:
            view = memoryview(self.data)[entry.data_offset : entry.data_offset + length]
            os.pwrite(fd, view, entry.offset)
        elif entry.kind == ZERO and not native.try_punch_hole(fd, entry.offset, length):
            os.pwrite(fd, bytes(length), entry.offset)


class RecordedDisk:
    """An open recorded disk.

    Attributes:
        folder: Where its files are.
        device: The block device.
        switch: What fails.
        size: In bytes.
    """

    def __init__(self, folder: Path, device: Path, size: int) -> None:
        self.folder = folder
        self.device = device
        self.size = size
        self.switch = Switch(folder / "switch")

    @property
    def log(self) -> Path:
        """The log; its length tells how much was done."""
        return self.folder / "log"

    def position(self) -> int:
        """Return how many entries the log has."""
        return log_position(self.log)

    def recording(self) -> Recording:
        """Return what was done so far."""
        return Recording(self.folder, self.size)


def log_position(log: Path) -> int:
    """Return how many entries a log has."""
    return log.stat().st_size // ENTRY.size


@contextmanager
def recorded_disk(folder: Path, size: int) -> Iterator[RecordedDisk]:
    """Make a disk of zeros, and take it down at the end; its files stay.

    Args:
        folder: An empty folder.
        size: Of the disk, in bytes.

    Raises:
        OSError, subprocess.CalledProcessError: It cannot be made.
    """
    for name in ("content", "log", "data", "switch", "disk"):
        (folder / name).touch()
    os.truncate(folder / "content", size)
    os.truncate(folder / "switch", SWITCH_SIZE)
    with ExitStack() as stack:
        stack.enter_context(_server(folder))
        place = folder / "disk"
        stack.callback(devices.run, "umount", "--lazy", str(place))
        device = stack.enter_context(devices.loop_device(place))
        yield RecordedDisk(folder, device, size)


@contextmanager
def _server(folder: Path) -> Iterator[None]:
    """Serve a disk by a child, which an interrupt of the terminal does not reach."""
    with ForkedProcess(served_disk.main, folder, patience_s=None) as server:
        if server.stdout.readline() != "served\n":
            raise OSError(f"the disk in {folder} cannot be served")
        yield
        server.stdin.close()  # it serves until then
        server.wait()


@contextmanager
def new_file_system(disk: RecordedDisk, file_system: str) -> Iterator[Path]:
    """Make a file system on a disk, and mount it."""
    devices.run(f"mkfs.{file_system}", *MKFS_OPTIONS[file_system], str(disk.device))
    with mounted_again(disk.device, file_system) as mount_point:
        yield mount_point


@contextmanager
def mounted_again(device_or_image: Path, file_system: str) -> Iterator[Path]:
    """Mount a disk, or an image of one."""
    options = MOUNT_OPTIONS[file_system]
    with devices.mounted(device_or_image, file_system, options=options) as mount_point:
        yield mount_point
