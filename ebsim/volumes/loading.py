"""Loading all of a volume that was made from a snapshot, at a bounded rate."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace

from ebsim import failpoints
from ebsim.core.changes import JournaledCommit, commit_journaled
from ebsim.core.context import StoreContext
from ebsim.core.events import volume_changed
from ebsim.core.reclaim import reclaim_if_possible
from ebsim.core.volume_parent import release_origin
from ebsim.core.volume_records import get_managed, put_managed
from ebsim.errors import ConflictError, ErrorCode
from ebsim.ids import VolumeId
from ebsim.progress import Progress
from ebsim.results import VolumeState
from ebsim.units import BLOCK_SIZE, MIB
from ebsim.volumes.live_volume import LiveVolume
from ebsim.volumes.origin import Origin
from ebsim.volumes.registry import LiveVolumes
from ebsim.volumes.turns import STEP_S

BLOCKS_BETWEEN_FLUSHES = 256
"""128 MiB; where a rate is kept, a turn is as long."""

WAIT_S = 1.0
"""How long is waited for another process, before it is tried again."""


@dataclass(slots=True)
class Pace:
    """Keeps a rate, by waiting where it was exceeded.

    Attributes:
        rate: MiB a second; 0: no bound.
        wait: Waits so many seconds, or for the end.
        now: Returns seconds that only grow.
    """

    rate: int
    wait: Callable[[float], object]
    now: Callable[[], float] = time.monotonic
    _begun: float | None = field(default=None)
    _bytes: int = 0

    def handled(self, count: int) -> None:
        """Count bytes, and wait until they are due."""
        if not self.rate:
            return
        if self._begun is None:
            self._begun = self.now()
        self._bytes += count
        ahead = self._bytes / (self.rate * MIB) - (self.now() - self._begun)
        if ahead > 0:
            self.wait(ahead)


def load_all(
    context: StoreContext,
    volumes: LiveVolumes,
    volume_id: VolumeId,
    pace: Pace,
    progress: Progress,
    stopped: threading.Event | None = None,
) -> bool:
    """Load what is missing of a volume, and let go of what it was made from.

    It is done by turns, and the volume is closed between two, so that other processes can use it
    meanwhile: a turn ends when somebody waits for the volume, and where a rate is kept, after 128
    MiB.

    Args:
        context: The store.
        volumes: The open volumes.
        volume_id: The volume; others may use it meanwhile.
        pace: Keeps the rate.
        progress: Told how far it is.
        stopped: Set when it is to be broken off; what is loaded stays.

    Returns:
        Whether all of it is loaded.

    Raises:
        ConflictError: Another process has it open.
        CorruptionError: A block is damaged in the store; what is loaded stays.
        LimitExceededError, StoreError: The volume's file cannot be written.
    """
    turn = _Turn(0, 0)
    told = False
    try:
        while not turn.last:
            with _opened(volumes, volume_id, pace, stopped, again=told) as live:
                origin = None if live is None else live.origin
                if live is None:
                    return False
                if origin is None:
                    live.flush()  # all of the volume is promised to be durable
                    return True
                if not told:
                    told = True
                    total = origin.count_missing() * BLOCK_SIZE
                    progress.start(f"loading {volume_id}", total)
                limit = BLOCKS_BETWEEN_FLUSHES if pace.rate else None

                def is_over(loaded: int, limit: int | None = limit) -> bool:
                    wanted = loaded and volumes.is_wanted(volume_id)
                    return loaded == limit or _is_set(stopped) or bool(wanted)

                turn = _load_turn(live, origin, turn.end, is_over, progress)
                if turn.last:
                    live.end_loading(lambda: _let_go(context, volume_id))
            if _is_set(stopped):
                return turn.last
            pace.handled(turn.loaded * BLOCK_SIZE)
    finally:
        if told:
            progress.finish()
    reclaim_if_possible(context)
    return True


def load_new(
    context: StoreContext, volumes: LiveVolumes, volume_id: VolumeId, progress: Progress
) -> None:
    """Load all of a volume that is `creating`, as fast as it goes, whoever begins to load it.

    A process that opened the store meanwhile may have found it, and load it already.

    Raises:
        CorruptionError, LimitExceededError, StoreError: As `load_all`.
    """
    pace = Pace(0, threading.Event().wait)
    done = False
    while not done:
        try:
            done = load_all(context, volumes, volume_id, pace, progress)
        except ConflictError as error:
            if error.code != ErrorCode.UNAVAILABLE:
                raise
            pace.wait(WAIT_S)


@contextmanager
def _opened(
    volumes: LiveVolumes,
    volume_id: VolumeId,
    pace: Pace,
    stopped: threading.Event | None,
    *,
    again: bool,
) -> Iterator[LiveVolume | None]:
    """Return a context in which the volume is open, or None when it is to be broken off.

    Where a rate is kept, and from the second turn on (`again`), there is time to wait for other
    processes that have it open, or want it.
    """
    live = None if pace.rate or again else volumes.acquire(volume_id)
    while live is None:
        live = volumes.try_acquire(volume_id)
        if live is None:
            pace.wait(WAIT_S if pace.rate else STEP_S)
            if _is_set(stopped):
                yield None
                return
    try:
        yield live
    finally:
        volumes.release(live)


def _is_set(event: threading.Event | None) -> bool:
    return event is not None and event.is_set()


@dataclass(frozen=True, slots=True)
class _Turn:
    """What was loaded while the volume was open.

    Attributes:
        end: Every block below it is loaded.
        loaded: How many were loaded.
        last: Whether none is missing any more.
    """

    end: int
    loaded: int
    last: bool = False


def _load_turn(
    live: LiveVolume,
    origin: Origin,
    start: int,
    is_over: Callable[[int], bool],
    progress: Progress,
) -> _Turn:
    loaded = 0
    for block in origin.missing(start):
        if is_over(loaded):
            live.flush()
            return _Turn(block, loaded)
        live.load(block)
        loaded += 1
        progress.advance(BLOCK_SIZE)
        if loaded % BLOCKS_BETWEEN_FLUSHES == 0:
            live.flush()
    live.flush()
    return _Turn(0, loaded, last=origin.count_missing() == 0)


def _let_go(context: StoreContext, volume_id: VolumeId) -> None:
    failpoints.reach("load.before-release")
    commit_journaled(context, lambda commit: _release(commit, volume_id))


def _release(commit: JournaledCommit, volume_id: VolumeId) -> None:
    volume = get_managed(commit.writer, volume_id)
    loaded = release_origin(commit.writer, commit.space, volume)
    if loaded.state == VolumeState.CREATING:
        loaded = replace(loaded, state=VolumeState.AVAILABLE)
        put_managed(commit.writer, loaded)
        volume_changed(commit.context, commit.writer, loaded, "createVolume", "available")
    if loaded != volume:
        commit.journal("modify-volume", {"volume": asdict(loaded)})
