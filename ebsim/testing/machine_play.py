"""A story acted out on a simulated machine, by a process that dies, before the power is cut.

What a step is, and what a power cut forgets, is said in `ebsim.testing.machine`.
"""

import logging
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ebsim import failpoints
from ebsim.engine import Store
from ebsim.errors import ConflictError, CorruptionError, ErrorCode
from ebsim.results import SnapshotState
from ebsim.testing.kept_story import plain_in, secrets_in
from ebsim.testing.machine import Killed, Machine, Process
from ebsim.testing.memory_store import SEGMENTS
from ebsim.testing.volume_story import Actor, Ids, Line, assert_story_survived, perform

Moment = int | tuple[str, int] | None
"""When a process dies: before a step, from 1; at the n-th hit of a failpoint; never."""


class Play:
    """A story on a machine, acted out by a process that dies.

    Args:
        folder: An existing folder of the real file system, for the lock file.
        story: The story; without restores and rebuilds, which need real files.
        encrypted: Whether its volumes are encrypted.

    Attributes:
        machine: The machine.
        ids: The ids of volumes and snapshots, by name.
        done: How many lines were done.
        hits: How often each failpoint was reached.
        steps: How many steps the last process made.
    """

    def __init__(self, folder: Path, story: list[Line], *, encrypted: bool = False) -> None:
        self.machine = Machine(folder)
        self.story = story
        self._encrypted = encrypted
        self.ids: Ids = {}
        self.done = 0
        self.hits: dict[str, int] = {}
        self.steps = 0

    def run(self, die_at: Moment) -> bool:
        """Act it out; return whether the process died before the end. It is dead now."""

        def act(process: Process) -> None:
            actor = Actor(process.open(), process.go, self.ids, process.pause)
            actor.again = process.open
            actor.encrypted = self._encrypted
            perform(actor, self.story, self._told)

        return self._until_dead(die_at, act)

    def recover(self, die_at: Moment) -> bool:
        """Have a process open the store and copy what is pending; return whether it died."""
        return self._until_dead(die_at, lambda process: settle(process.open(), process))

    def touch(self, die_at: Moment) -> bool:
        """Have a process open the store and each volume, and read; return whether it died.

        What is damaged, and not repaired yet, may be told to be, and so may a disabled key.
        """

        def act(process: Process) -> None:
            store = process.open()
            for volume in store.volumes.list():
                with self._refusing():
                    store.volumes.open(volume.volume_id).pread(1, 0)

        return self._until_dead(die_at, act)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except CorruptionError:
            if not self._stands("damage", "repair"):
                raise
        except ConflictError as error:
            if error.code is not ErrorCode.KEY_DISABLED or not self._stands("disable", "enable"):
                raise

    def _stands(self, verb: str, end: str) -> bool:
        """Whether what a line does may be so now: it is done, or under way, and not undone."""
        told = [line[0] for line in self.story[: self.done] if line[0] in (verb, end)]
        under_way = [line[0] for line in self.story[self.done : self.done + 1]]
        return verb in (*told[-1:], *under_way)

    def cut_power(self, chance: random.Random) -> None:
        """Boot anew."""
        self.machine.cut_power(chance)

    def assert_survived(self, *, cut: bool) -> None:
        """Open the store, and compare all that it says with the story.

        Raises:
            AssertionError, EbsimError: Something is lost or wrong, or left.
        """
        plain = plain_in(self.machine.files.pieces(), secrets_in(self.story))
        if plain:
            raise AssertionError(f"contents {plain} of what is encrypted are on the disk")
        store = self.machine.start().open()
        assert_story_survived(store, self.story, self.done, self.ids, cut=cut)
        store.close()
        self._assert_nothing_is_left()

    def _assert_nothing_is_left(self) -> None:
        """Only the live data of volumes are there, and nothing waits for anybody."""
        folder = Path("/store/volumes")
        with self.machine.start().open() as store:
            volumes = {f"{each.volume_id}.data" for each in store.volumes.list()}
            if volumes:
                left = set(self.machine.files.list(folder)) - volumes
                if left:
                    raise AssertionError(f"files of volumes are left: {sorted(left)}")
            if found := store.check().findings:  # all data were read before it was closed
                raise AssertionError(f"the check finds {found}")
            there, known = len(self.machine.files.list(SEGMENTS)), store.stats().segments
            if there != known:
                raise AssertionError(f"there are {there} files of segments, and {known} are known")

    def _until_dead(self, die_at: Moment, act: Callable[[Process], object]) -> bool:
        process = self.machine.start(die_at)
        failpoints.arm(process.reach)
        died = True
        with _quiet_deaths():
            try:
                act(process)
                died = process.dead  # a thread of it was hit, and nothing came after
            except Killed:
                pass
            finally:
                process.kill()
                failpoints.disarm()
        self.hits, self.steps = dict(process.hits), process.steps
        return died

    def _told(self, done: int) -> None:
        self.done = done


def settle(store: Store, process: Process) -> None:
    """Wait until no snapshot is pending."""
    while any(each.state is SnapshotState.PENDING for each in store.list_snapshots()):
        process.pause()


def suffer(play: Play, chance: random.Random, steps_max: int) -> bool:
    """Have a story be told by a process that dies, the power be cut, and both again or not.

    Args:
        play: The story.
        chance: Decides when and how often.
        steps_max: The process dies before one of so many steps.

    Returns:
        Whether the power was cut.
    """
    play.run(chance.randrange(1, steps_max))
    cut = chance.random() < 0.9
    if cut:
        play.cut_power(chance)
    while chance.random() < 0.3:
        again = chance.choice((play.recover, play.touch))
        again(chance.randrange(1, 60))
        if chance.random() < 0.7:
            play.cut_power(chance)
            cut = True
    return cut


@contextmanager
def _quiet_deaths() -> Iterator[None]:
    """Say nothing of threads that died with their process."""
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not Killed:
            before(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


@contextmanager
def quiet_log() -> Iterator[None]:
    """Log nothing: where processes die all the time, there is much to warn of."""
    logger = logging.getLogger("ebsim")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
