"""Which process has a volume's live data open, and who waits for it.

Two regions of the lock file for each volume, both held by the kernel, so that nothing is left of a
process that dies:

    open      exclusive, by the process that has the live data open;
    waiting   shared, by everybody who waits for them, while they wait.

Who waits tries again and again to get the first, and holds the second meanwhile. Who only copies a
pending snapshot, or loads, looks whether the second is held, lets go of the volume at the next
block, and takes it back when nobody has it and nobody waits (`ebsim.volumes.registry`). So
whatever goes on behind the scenes gives way, and what users do is done in the order in which they
happen to get it. Nothing depends on when who looks: it is the first lock alone that decides.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from ebsim import refusals
from ebsim.core.context import StoreContext
from ebsim.ids import VolumeId
from ebsim.storage.locks import Lock, named_region

STEP_S = 0.02
"""How long is waited between two tries to get a volume, or two looks whether it is wanted."""


class Turns:
    """The locks on volumes, for one store handle. Safe for several threads.

    Args:
        context: The store.
        pause: Waits so many seconds.
    """

    def __init__(self, context: StoreContext, pause: Callable[[float], object]) -> None:
        self._context = context
        self._pause = pause
        self._waiting = 0
        self._mutex = threading.Lock()

    def try_take(self, volume_id: VolumeId) -> Lock | None:
        """Return the lock of a volume's live data; None where another process has them."""
        return self._context.locks.try_hold(named_region(f"volume {volume_id}"))

    def is_wanted(self, volume_id: VolumeId) -> bool:
        """Return whether anybody waits for a volume."""
        return self._context.locks.is_held(_waiting_region(volume_id))

    @contextmanager
    def waiting(self, volume_id: VolumeId) -> "Iterator[Callable[[], None]]":
        """Return a context that gives what to call after each try to get a volume that failed.

        It makes a pause; from the first one on, others know that somebody waits.

        Raises:
            ConflictError: Unavailable: it was waited for long enough, or too many wait already.
            EbsimError: `Patience.ensure_worthwhile` raised it.
        """
        patience = self._context.state.patience
        waited = 0.0
        looks = 0
        with ExitStack() as stack:

            def wait() -> None:
                nonlocal waited, looks
                if not waited:
                    self._register(volume_id, stack, patience.waiting_max)
                if waited >= patience.seconds:
                    raise refusals.volume_busy(volume_id)
                if waited >= patience.told_after_s * (looks + 1):
                    looks += 1
                    patience.ensure_worthwhile()
                    if looks == 1:
                        patience.told(
                            f"waiting for volume {volume_id}: another process has it open"
                        )
                self._pause(STEP_S)
                waited += STEP_S

            yield wait

    def _register(self, volume_id: VolumeId, stack: ExitStack, waiting_max: int) -> None:
        with self._mutex:
            if waiting_max and self._waiting >= waiting_max:
                raise refusals.volume_busy(volume_id)
            self._waiting += 1
        stack.callback(self._leave)
        lock = self._context.locks.try_hold(_waiting_region(volume_id), exclusive=False)
        if lock is not None:  # nobody ever holds it alone
            stack.callback(lock.release)

    def _leave(self) -> None:
        with self._mutex:
            self._waiting -= 1


def _waiting_region(volume_id: VolumeId) -> int:
    return named_region(f"waiting for volume {volume_id}")
