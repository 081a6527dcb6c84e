"""Power cuts on ext4 and xfs by shutting the file system down while a store is at work.

A child acts a story out. Before a step of it (a call to a file, or a commit of the catalog) it has
the file system write nothing any more, and kills itself. The file system is mounted anew, and the
store compared with the story: all that was acknowledged is there.

Where `block_writes` replays what reached a disk, this asks the kernel itself what it would have
kept; it has no torn and no reordered writes.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from ebsim.testing import devices
from ebsim.testing.torture.block_writes import StateChecker
from ebsim.testing.torture.campaign import Campaign, RunCase, Violation, case_random
from ebsim.testing.torture.disk_worker import Act, Check, DiskWorker
from ebsim.testing.torture.recorded_disk import DISK_BYTES, MKFS_OPTIONS, mounted_again
from ebsim.testing.volume_story import Ids

FILE_SYSTEMS = ("ext4", "xfs")
"""btrfs has no such call."""

STEPS = 740
"""About how many steps a story has; a case beyond its end shuts down after it."""


class Shutdowns(Campaign):
    """See the module."""

    name = "shutdowns"
    promise = "what was acknowledged is there after the file system was shut down under the store"
    excludes = "btrfs, which cannot be shut down; torn and reordered writes"
    cases = 400
    sample = 4

    def missing(self) -> str:
        """Return why it cannot be run on this machine, or nothing."""
        return devices.missing(*(f"mkfs.{each}" for each in FILE_SYSTEMS))

    @contextmanager
    def prepare(self, seed: int, folder: Path) -> Iterator[RunCase]:
        """Begin the child that compares."""
        checker = StateChecker(folder)

        def run(number: int) -> int:
            chance = case_random(self.name, seed, number)
            file_system = chance.choice(FILE_SYSTEMS)
            step = chance.randrange(1, STEPS + 1)
            story = chance.randrange(1 << 16)
            problem = shut_down_at(step, story, folder / "disk.img", file_system, checker)
            if problem:
                raise Violation(f"{self.name} {number} on {file_system}, step {step}: {problem}")
            return 1

        with closing(checker):
            yield run


def shut_down_at(
    step: int, story: int, image: Path, file_system: str, checker: StateChecker, without: str = ""
) -> str:
    """Act a story out until a step, shut down, and return what is wrong then, or nothing.

    Args:
        step: Before which step, from 1.
        story: Which story.
        image: Where the file system is made; it is removed again.
        file_system: ext4 or xfs.
        checker: Compares the store with its story.
        without: What is not synced, see `disk_worker`.
    """
    done = 0
    ids: Ids = {}
    image.touch()
    os.truncate(image, DISK_BYTES[file_system])
    try:
        devices.run(f"mkfs.{file_system}", *MKFS_OPTIONS[file_system], str(image))
        with ExitStack() as stack:
            store = stack.enter_context(mounted_again(image, file_system)) / "store"
            worker = stack.enter_context(DiskWorker())
            act = Act(store=str(store), seed=story, shut_down_at=step, without=without)
            for answer in worker.answers(act):
                done, ids = answer.get("done", done), answer.get("ids", ids)
        with mounted_again(image, file_system) as mount_point:
            store = mount_point / "store"
            return checker.compare(Check(store=str(store), seed=story, done=done, ids=ids))
    finally:
        image.unlink()
