"""Full disks: ext4 and xfs without a free byte from the n-th allocation of an operation on.

A furnished store is copied for each case, with its file system. A child does something to it, and
before one allocation (a call that makes, extends or reserves a file, or a commit of the catalog) it
fills the file system. The operation may succeed, or end with an error about space. Then, with not a
byte free, everything that was stored is read, and a snapshot is deleted. With space again, all is
healthy, and the operation is done.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ebsim.testing import devices
from ebsim.testing.torture.campaign import Campaign, RunCase, Violation
from ebsim.testing.torture.disk_worker import ChildDiedError, DiskWorker
from ebsim.testing.torture.recorded_disk import DISK_BYTES, MKFS_OPTIONS, mounted_again
from ebsim.testing.torture.space_faults import OPERATIONS, SWEPT, Fill, Furnish, Ids

FILE_SYSTEMS = ("ext4", "xfs")
"""On btrfs without a free byte the kernel ends a process that writes to a map of a file, and LMDB's
table of readers is one: no data are lost, but nothing can be deleted either."""

POINTS = 30
"""How many pairs of an allocation and of what is left are chosen for each operation, evenly."""

LEFT = (0, 0, 4096, 16384, 65536)
"""How many bytes may be left free."""


class FurnishedDisk:
    """An image of a file system with a furnished store, of which cases get copies.

    Args:
        folder: Where images are made.
        file_system: ext4 or xfs.
    """

    def __init__(self, folder: Path, file_system: str) -> None:
        self._image = folder / f"{file_system}.img"
        self._copy = folder / f"{file_system}-copy.img"
        self._file_system = file_system
        self.ids: Ids = {}

    def make(self, worker: DiskWorker) -> None:
        """Make the file system, and have a child make the store."""
        with self._image.open("wb") as file:
            file.truncate(DISK_BYTES[self._file_system])
        options = MKFS_OPTIONS[self._file_system]
        devices.run(f"mkfs.{self._file_system}", *options, str(self._image))
        with mounted_again(self._image, self._file_system) as mount_point:
            for answer in worker.answers(Furnish(store=str(mount_point / "store"))):
                self.ids = answer["ids"]
        if not self.ids:
            raise ChildDiedError("the store could not be made")

    def run(self, worker: DiskWorker, fill: "Fill") -> tuple[str, int]:
        """Run a case on a copy; return what is wrong, and how many allocations there were."""
        devices.run("cp", "--sparse=auto", str(self._image), str(self._copy))
        try:
            with mounted_again(self._copy, self._file_system) as mount_point:
                store = str(mount_point / "store")
                task = Fill(
                    store=store,
                    ids=self.ids,
                    operation=fill.operation,
                    point=fill.point,
                    left=fill.left,
                    forgetful=fill.forgetful,
                )
                for answer in worker.answers(task):
                    return answer["problem"], answer["count"]
            return "the process died", 0
        finally:
            self._copy.unlink()


class NoSpace(Campaign):
    """See the module."""

    name = "no-space"
    promise = "without space nothing else is harmed, and deleting works without a free byte"
    excludes = "btrfs; space that comes and goes while an operation runs"
    cases = len(FILE_SYSTEMS) * len(OPERATIONS) * POINTS
    sample = 11

    def missing(self) -> str:
        """Return why it cannot be run on this machine, or nothing."""
        return devices.missing(*(f"mkfs.{each}" for each in FILE_SYSTEMS))

    @contextmanager
    def prepare(self, seed: int, folder: Path) -> Iterator[RunCase]:
        """Make each store when it is first needed."""
        disks: dict[str, FurnishedDisk] = {}
        counts: dict[str, int] = {}
        with ExitStack() as stack:

            def disk_of_kind(file_system: str) -> FurnishedDisk:
                if file_system not in disks:
                    disk = FurnishedDisk(folder, file_system)
                    with DiskWorker() as worker:
                        disk.make(worker)
                    disks[file_system] = disk
                return disks[file_system]

            def fill(file_system: str, operation: str, point: int, left: int) -> int:
                if not workers:
                    workers.append(stack.enter_context(DiskWorker()))
                task = Fill(store="", ids={}, operation=operation, point=point, left=left)
                problem, count = disk_of_kind(file_system).run(workers[0], task)
                if problem:
                    workers.pop().kill()
                    how = f"{operation} at allocation {point} with {left} bytes left"
                    raise Violation(f"{self.name} on {file_system}, {how}: {problem}")
                return count

            workers: list[DiskWorker] = []

            def run(number: int) -> int:
                step, rest = divmod(number, len(FILE_SYSTEMS) * len(OPERATIONS))
                file_system = FILE_SYSTEMS[rest % len(FILE_SYSTEMS)]
                operation = list(OPERATIONS)[rest // len(FILE_SYSTEMS)]
                if operation not in counts and operation not in SWEPT:
                    counts[operation] = fill(FILE_SYSTEMS[0], operation, 0, 0)
                if operation in SWEPT:
                    fill(file_system, operation, 1, step * SWEPT[operation])
                    return 1
                point = 1 + (step + seed) * counts[operation] // POINTS % counts[operation]
                made = fill(file_system, operation, point, LEFT[step % len(LEFT)])
                return int(made >= point)

            yield run
