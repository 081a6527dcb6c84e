"""Deciding when the snapshots of managed volumes are copied, and which of them fail.

And doing something while a volume is copied.
"""

import threading
from collections.abc import Callable

from ebsim.errors import SourceError
from ebsim.ids import SnapshotId
from ebsim.progress import SilentProgress


class HeldCopies:
    """Holds each snapshot of a managed volume `pending` until it is told to go on, or to fail.

    To be given to a store as `Seams(before_copy=...)`. The snapshots of one volume are copied one
    after the other, so of each volume only the oldest is held here; a later one that is released
    already goes on as soon as its turn comes. A store that is closed waits for its snapshots:
    release them first.

    Args:
        holding: Whether snapshots are held at all; `release_all` ends it.
    """

    def __init__(self, *, holding: bool = True) -> None:
        self._holding = holding
        self._released: set[str] = set()
        self._failures: dict[str, str] = {}
        self._held: set[str] = set()
        self._changed = threading.Condition()

    def __call__(self, snapshot_id: SnapshotId) -> None:
        """Wait until the snapshot is released (in the thread that copies it).

        Raises:
            SourceError: It was told to fail.
        """
        with self._changed:
            self._held.add(snapshot_id)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._may_go_on(snapshot_id))
            self._held.discard(snapshot_id)
            self._released.discard(snapshot_id)
            reason = self._failures.pop(snapshot_id, None)
        if reason is not None:
            raise SourceError(reason)

    @property
    def is_holding(self) -> bool:
        """Whether snapshots that come are held."""
        return self._holding

    def release(self, *snapshot_ids: str) -> None:
        """Let these be copied, now or when their turn comes."""
        self._change(lambda: self._released.update(snapshot_ids))

    def fail(self, snapshot_id: str, reason: str = "told to fail") -> None:
        """Let a snapshot end as `error`, now or when its turn comes."""
        self._change(lambda: self._failures.update({snapshot_id: reason}))

    def hold_all(self) -> None:
        """Hold all that come from now on."""
        self._holding = True

    def release_all(self) -> None:
        """Let all be copied, also those that come later."""
        self._holding = False
        self._change(lambda: None)

    def wait_held(self, snapshot_id: str) -> None:
        """Wait until a snapshot's turn has come, and it is held."""
        with self._changed:
            self._changed.wait_for(lambda: snapshot_id in self._held)

    def _may_go_on(self, snapshot_id: str) -> bool:
        known = snapshot_id in self._released or snapshot_id in self._failures
        return known or not self._holding

    def _change(self, change: Callable[[], None]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()


class ReleasedByWaiting(SilentProgress):
    """Lets held copies go on once somebody waits for them: what is deleted is gone behind that.

    Args:
        copies: What holds them.
    """

    def __init__(self, copies: HeldCopies) -> None:
        self._copies = copies

    def start(self, label: str, total_bytes: int) -> None:
        """Let them go on."""
        self._copies.release_all()


class AtEachStep(SilentProgress):
    """Does something before each block of a volume is copied.

    Args:
        act: Called with how many steps there were.
    """

    def __init__(self, act: Callable[[int], None]) -> None:
        self._act = act
        self._step = 0

    def advance(self, done_bytes: int) -> None:
        """Do it."""
        del done_bytes
        self._act(self._step)
        self._step += 1
