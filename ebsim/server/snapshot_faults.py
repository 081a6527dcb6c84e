"""What `ebsim serve` has happen to snapshots that are made: some fail, some stay pending.

Snapshots are counted as their making begins in this process: those of volumes, those that were
written block by block, and copies of snapshots alike. In tests there is more:
`ebsim.testing.faults`.
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
        self._let_go = False
        self._stopping = False
        self._leaving = False
        self._held: set[str] = set()
        self._mutex = threading.Lock()

    def watch(self, store: Store) -> None:
        """Count the snapshots of a store from now on, but for those that were begun before."""
        self._not_counted = frozenset(store.volumes.unfinished_snapshots())
        store.watch_making(self.before_copy, self.before_snapshot_copy)

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
            held = self._leaving or (number in self._plan.hold and not self._let_go)
            if held:
                self._held.add(snapshot_id)
                self._leaving = self._leaving or self._stopping  # it was begun just before
        if number in self._plan.fail:
            raise SourceError(REASON)
        if held:
            self._goes_on.wait()
        if self._leaving:
            raise StoppedError
        with self._mutex:
            self._held.discard(snapshot_id)

    def before_snapshot_copy(self, snapshot_id: str) -> None:
        """Do the same with a copy of a snapshot, which nobody goes on with.

        Raises:
            SourceError: As `before_copy`.
            StoppedError: The server stopped.
        """
        try:
            self.before_copy(snapshot_id)
        except StoppedError:
            with self._mutex:
                self._held.discard(snapshot_id)
            raise

    def let_go(self) -> None:
        """Have those that are held be made, and hold none any more."""
        with self._mutex:
            self._let_go = True
        self._goes_on.set()

    def leave(self) -> None:
        """Leave those that are held, and what comes after them, to the next process.

        Copies among them end as `error`.
        """
        with self._mutex:
            self._stopping = True
            self._leaving = self._leaving or bool(self._held)
        self._goes_on.set()
