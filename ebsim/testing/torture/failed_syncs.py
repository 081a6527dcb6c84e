"""Syncs that fail on ext4, xfs and btrfs: the disk fails once, and is whole again.

Each case acts a story out on a recorded disk, and has the disk fail during one sync: its writes,
its flushes, or its second flush. The child then looks that the store refuses to write until it is
opened again, opens it, stores more, and repeats a flush that failed. The file system is mounted
anew, so that what only the page cache had is gone, and the store compared with the story.
"""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from subprocess import CalledProcessError
from typing import Any

from ebsim.testing.torture.block_writes import FILE_SYSTEMS, StateChecker
from ebsim.testing.torture.campaign import Campaign, RunCase, Violation, case_random
from ebsim.testing.torture.disk_worker import Check, DiskWorker
from ebsim.testing.torture.recorded_disk import (
    DISK_BYTES,
    missing,
    mounted_again,
    new_file_system,
    recorded_disk,
)
from ebsim.testing.torture.served_disk import FAIL_FLUSHES, FAIL_WRITES
from ebsim.testing.torture.sync_faults import Fail

SYNCS = 370
"""A little more than the story has syncs; a case beyond its end has nothing fail."""

MODES = ((FAIL_WRITES, 0), (FAIL_FLUSHES, 0), (FAIL_WRITES | FAIL_FLUSHES, 1))
"""What fails, and after how many flushes. A commit of the catalog has two syncs, so the last mode
lets its data reach the disk, and fails the page that names them."""

DIED_OF_ITS_MAP = f"it died: {-signal.SIGBUS}"
"""LMDB reads through a map: on a file system that has shut itself down, that may end a process."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What came of a case.

    Attributes:
        problem: The promise that was broken, or nothing.
        hit: Whether any request failed.
        failed: Which line ended with which error, or nothing.
        reopened: Whether the store could be opened again without mounting anew.
        syncs: How many syncs there were.
    """

    problem: str
    hit: bool
    failed: str
    reopened: bool
    syncs: int


def fail_sync(
    task: dict[str, Any], folder: Path, file_system: str, checker: StateChecker
) -> Failure:
    """Run a case.

    Args:
        task: What `Fail` has but for its paths.
        folder: A folder that does not exist; it is removed afterwards.
        file_system: ext4, xfs or btrfs.
        checker: Compares the store with its story.
    """
    told: dict[str, Any] = {"done": 0, "ids": {}, "broken": "", "reopened": False}
    folder.mkdir()
    try:
        with ExitStack() as stack:
            disk = stack.enter_context(recorded_disk(folder, DISK_BYTES[file_system]))
            with new_file_system(disk, file_system) as mount_point, DiskWorker() as worker:
                store = str(mount_point / "store")
                switch = str(folder / "switch")
                for answer in worker.answers(Fail(store=store, switch=switch, **task)):
                    told |= answer
                disk.switch.fail(0)
                if "ended" not in told:
                    told |= {"ended": 0, "failed": f"it died: {worker.wait()}"}
            problem = told["broken"]
            if told["failed"] not in ("", DIED_OF_ITS_MAP) and told["ended"] == 0:
                problem = "the process died"
            with mounted_again(disk.device, file_system) as mount_point:
                store = str(mount_point / "store")
                check = Check(
                    store=store,
                    seed=task["seed"],
                    done=told["done"],
                    ids=told["ids"],
                    boot_id="boot 1",
                )
                problem = problem or checker.compare(check)
            return Failure(
                f"{problem} (after {told.get('failed')!r})" if problem else "",
                disk.switch.failed,
                told["failed"],
                told["reopened"],
                told["ended"],
            )
    except CalledProcessError as error:
        return Failure(f"{error}: {error.stderr}", True, "", False, 0)
    finally:
        rmtree(folder)


class FailedSyncs(Campaign):
    """See the module."""

    name = "failed-syncs"
    promise = "after a failed sync nothing is written until reopened, and nothing acknowledged lost"
    excludes = "disks that fail for long, or lose what they had said was durable"
    cases = SYNCS * len(FILE_SYSTEMS)
    sample = 5

    def missing(self) -> str:
        """Return why it cannot be run on this machine, or nothing."""
        return missing(*FILE_SYSTEMS)

    @contextmanager
    def prepare(self, seed: int, folder: Path) -> Iterator[RunCase]:
        """Begin the child that compares."""
        checker = StateChecker(folder)

        def run(number: int) -> int:
            chance = case_random(self.name, seed, number)
            sync, which = divmod(number, len(FILE_SYSTEMS))
            which = (which + sync // 5) % len(FILE_SYSTEMS)  # so that a sample has all of them
            what, after_flushes = MODES[(sync + which + seed) % len(MODES)]
            task = {
                "seed": chance.randrange(1 << 16),
                "sync": sync + 1,
                "what": what,
                "after_flushes": after_flushes,
            }
            failure = fail_sync(task, folder / "case", FILE_SYSTEMS[which], checker)
            if failure.problem:
                how = f"{FILE_SYSTEMS[which]}, {task}"
                raise Violation(f"{self.name} {number} on {how}: {failure.problem}")
            return int(failure.hit)

        with closing(checker):
            yield run
