"""Power cuts on ext4, xfs and btrfs, by replaying the writes that reached a recorded disk.

A story is acted out once on a file system over a `RecordedDisk`. After each line that was
acknowledged, the length of the disk's log is noted. Each case then takes one moment of the log,
makes what may be on the disk if the power fails there, mounts that, and has a child compare the
store with the story.
"""

import random
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ebsim.testing.kept_story import plain_in, secrets_in
from ebsim.testing.torture.campaign import Campaign, RunCase, Violation, case_random
from ebsim.testing.torture.disk_story import disk_story
from ebsim.testing.torture.disk_worker import Act, Check, ChildDiedError, DiskWorker
from ebsim.testing.torture.recorded_disk import (
    DISK_BYTES,
    Recording,
    missing,
    mounted_again,
    new_file_system,
    recorded_disk,
)
from ebsim.testing.torture.served_disk import FLUSH
from ebsim.testing.volume_story import Ids

FILE_SYSTEMS = tuple(DISK_BYTES)
STORIES = 2
"""How many stories are recorded on each file system; they differ in contents and in timing."""


@dataclass(frozen=True, slots=True)
class RecordedStory:
    """A story that was acted out on a recorded disk.

    Attributes:
        seed: Which story.
        recording: What was done to the disk.
        first: The length of its log when the file system was ready.
        marks: The length of the log when each line was acknowledged.
        ids: The ids of volumes and snapshots by their names.
    """

    seed: int
    recording: Recording
    first: int
    marks: tuple[int, ...]
    ids: Ids

    def choose_cut(self, chance: random.Random) -> int:
        """Return a moment of the log; mostly one just before a flush, when most can be lost."""
        entries = self.recording.entries
        cut = chance.randrange(self.first, len(entries) + 1)
        if chance.random() < 0.75:
            while cut < len(entries) and not self._is_before_flush_of_writes(cut):
                cut += 1
        return cut

    def done(self, cut: int) -> int:
        """Return how many lines had been acknowledged."""
        return sum(mark <= cut for mark in self.marks)

    def _is_before_flush_of_writes(self, cut: int) -> bool:
        entries = self.recording.entries
        return entries[cut].kind == FLUSH and cut > 0 and entries[cut - 1].kind != FLUSH


def record_story(folder: Path, file_system: str, seed: int, without: str = "") -> RecordedStory:
    """Act a story out on a recorded disk.

    Args:
        folder: An empty folder, which afterwards can be removed.
        file_system: ext4, xfs or btrfs.
        seed: Which story.
        without: What is not synced, see `disk_worker`.

    Raises:
        ChildDiedError: The story was not told to its end.
    """
    marks: list[int] = []
    ids: Ids = {}
    ended = False
    with ExitStack() as stack:
        disk = stack.enter_context(recorded_disk(folder, DISK_BYTES[file_system]))
        mount_point = stack.enter_context(new_file_system(disk, file_system))
        worker = stack.enter_context(DiskWorker())
        first = disk.position()
        store, log = str(mount_point / "store"), str(disk.log)
        for answer in worker.answers(Act(store=store, seed=seed, log=log, without=without)):
            if "ended" in answer:
                ended = True
            else:
                marks.append(answer["mark"])
                ids = answer["ids"]
        if not ended:
            raise ChildDiedError(f"the story ended after {len(marks)} lines on {file_system}")
        recording = disk.recording()
    if plain := plain_in([recording.data], secrets_in(disk_story(seed))):
        raise Violation(f"contents {plain} of what is encrypted were written to the disk")
    return RecordedStory(seed, recording, first, tuple(marks), ids)


class StateChecker:
    """Makes what may be on a disk, and has it compared with its story.

    Args:
        folder: Where images are made.
    """

    def __init__(self, folder: Path) -> None:
        self._image = folder / "state.img"
        self._worker: DiskWorker | None = None

    def check(self, story: RecordedStory, file_system: str, cut: int, chance: random.Random) -> str:
        """Return what is wrong with a state, or nothing.

        Raises:
            CalledProcessError: It cannot be mounted.
        """
        how = story.recording.put_state(self._image, cut, chance)
        done = story.done(cut)
        try:
            with mounted_again(self._image, file_system) as mount_point:
                store = str(mount_point / "store")
                problem = self.compare(
                    Check(store=store, seed=story.seed, done=done, ids=story.ids)
                )
        finally:
            self._image.unlink()
        return f"{problem} (cut after {cut} entries, {done} lines done, {how})" if problem else ""

    def compare(self, check: Check) -> str:
        """Have a child compare a store with its story; return what is wrong, or nothing."""
        if self._worker is None:
            self._worker = DiskWorker()
        try:
            return self._worker.problem(check)
        except ChildDiedError as error:
            self.close()
            return str(error)

    def close(self) -> None:
        """End the child."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()


class BlockWrites(Campaign):
    """See the module."""

    name = "block-writes"
    promise = "what was acknowledged is there after a power cut, byte for byte; check is clean"
    excludes = "disks that lie about flushes; a recorded story varies with the kernel's timing"
    cases = 3000
    sample = 7

    def missing(self) -> str:
        """Return why it cannot be run on this machine, or nothing."""
        return missing(*FILE_SYSTEMS)

    @contextmanager
    def prepare(self, seed: int, folder: Path) -> Iterator[RunCase]:
        """Record stories when they are first needed."""
        stories: dict[tuple[str, int], RecordedStory] = {}
        checker = StateChecker(folder)

        def run(number: int) -> int:
            chance = case_random(self.name, seed, number)
            file_system = FILE_SYSTEMS[number % len(FILE_SYSTEMS)]
            # The sample has case numbers far apart: it should need few recordings.
            which = seed * STORIES + number * STORIES // self.cases % STORIES
            if (file_system, which) not in stories:
                place = folder / f"{file_system}-{which}"
                place.mkdir()
                stories[file_system, which] = record_story(place, file_system, which)
            story = stories[file_system, which]
            problem = checker.check(story, file_system, story.choose_cut(chance), chance)
            if problem:
                raise Violation(f"{self.name} {number} on {file_system}: {problem}")
            return 1

        with closing(checker):
            yield run
