"""What `ebsim serve` has happen to snapshots that are made: some fail, some stay pending.

Snapshots are counted as their making begins in this process, those of volumes and those that were
written block by block alike. In tests there is more: `ebsim.testing.faults`.
"""

import threading
from collections.abc import Collection
from dataclasses import dataclass

from ebsim.core.stopping import StoppedError
from ebsim.engine import Store
from ebsim.errors import SourceError

REASON = "told to fail (--fail-snapshot)"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPlan:
    """Which snapshots something happens to.

    Attributes:
        fail: Their numbers, from 1.
        hold: The numbers of those that stay pending until they are let go.
    """

    fail: Collection[int] = ()
    hold: Collection[int] = ()


class SnapshotFaults:
    """Carries out a plan."""

    def __init__(self, plan: SnapshotPlan) -> None:
        self._plan = plan
        self._not_counted: frozenset[str] = frozenset()
        self._count = 0
        self._goes_on = threading.Event()
        self._leaving = False
        self._held: set[str] = set()
        self._mutex = threading.Lock()

    def watch(self, store: Store) -> None:
        """Count the snapshots of a store from now on, but for those that were begun before."""
        self._not_counted = frozenset(store.volumes.unfinished_snapshots())
        store.watch_making(self.before_copy)

    @property
    def held(self) -> frozenset[str]:
        """Those that are held, or were left to the next process."""
        with self._mutex:
            return frozenset(self._held)

    def before_copy(self, snapshot_id: str) -> None:
        """Count a snapshot; hold it or have it fail, as planned (in the thread that makes it).

        Raises:
            SourceError: It is to fail.
            StoppedError: It was held when the server stopped, and stays pending.
        """
        with self._mutex:
            self._count += snapshot_id not in self._not_counted
            number = 0 if snapshot_id in self._not_counted else self._count
            if number in self._plan.hold or self._leaving:
                self._held.add(snapshot_id)
        if number in self._plan.fail:
            raise SourceError(REASON)
        if snapshot_id in self._held:
            self._goes_on.wait()
        if self._leaving:
            raise StoppedError
        with self._mutex:
            self._held.discard(snapshot_id)

    def let_go(self) -> None:
        """Have those that are held be made, and hold none any more."""
        self._goes_on.set()

    def leave(self) -> None:
        """Leave those that are held, and what comes after them, to the next process."""
        self._leaving = bool(self.held)
        self._goes_on.set()
