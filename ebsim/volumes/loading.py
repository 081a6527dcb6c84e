"""Loading all of a volume that was made from a snapshot, at a bounded rate."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ebsim.core.context import StoreContext
from ebsim.core.reclaim import reclaim_if_possible
from ebsim.core.space import SpaceChange
from ebsim.core.volume_parent import release_origin
from ebsim.core.volume_records import get_managed
from ebsim.progress import Progress
from ebsim.storage.catalog import CatalogWriter
from ebsim.units import BLOCK_SIZE, MIB
from ebsim.volumes.live_volume import LiveVolume

BLOCKS_BETWEEN_FLUSHES = 256


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
    live: LiveVolume,
    pace: Pace,
    progress: Progress,
    stopped: threading.Event | None = None,
) -> bool:
    """Load what is missing of a volume, and let go of what it was made from.

    Args:
        context: The store.
        live: The volume; others may use it meanwhile.
        pace: Keeps the rate.
        progress: Told how far it is.
        stopped: Set when it is to be broken off; what is loaded stays.

    Returns:
        Whether all of it is loaded.

    Raises:
        CorruptionError: A block is damaged in the store; what is loaded stays.
        LimitExceededError, StoreError: The volume's file cannot be written.
    """
    origin = live.origin
    if origin is None:
        return True
    progress.start(f"loading {live.volume_id}", origin.count_missing() * BLOCK_SIZE)
    try:
        for count, block in enumerate(origin.missing(), 1):
            if stopped is not None and stopped.is_set():
                return False
            live.load(block)
            progress.advance(BLOCK_SIZE)
            if count % BLOCKS_BETWEEN_FLUSHES == 0:
                live.flush()
            pace.handled(BLOCK_SIZE)
        live.flush()
    finally:
        progress.finish()
    live.end_loading(lambda: context.catalog.update(lambda writer: _release(writer, live)))
    reclaim_if_possible(context)
    return True


def _release(writer: CatalogWriter, live: LiveVolume) -> None:
    space = SpaceChange(writer)
    release_origin(writer, space, get_managed(writer, live.volume_id))
    space.save()
