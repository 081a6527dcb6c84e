"""Multi-volume sets: the members complete in one transaction, or none does.

Each member is copied by its volume's own thread, which then waits here for the others. The last one
to come completes all of them; one that fails fails all (semantics section 3.6).
"""

import threading
from collections.abc import Sequence

from ebsim import failpoints
from ebsim.core.complete import CompletionChange
from ebsim.core.context import StoreContext
from ebsim.core.events import snapshot_set_ended
from ebsim.core.snapshots import find_snapshot
from ebsim.core.stopping import StoppedError
from ebsim.errors import ErrorCode, SourceError
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId
from ebsim.storage.catalog import CatalogWriter


class SnapshotSet:
    """The members of one set that are being copied in this process.

    Args:
        context: The store.
        members: All members, in the order of the request.
    """

    def __init__(self, context: StoreContext, members: Sequence[SnapshotId]) -> None:
        self._context = context
        self._members = tuple(members)
        self._ready: dict[SnapshotId, CompletionChange] = {}
        self._completed: dict[SnapshotId, SnapshotRecord] = {}
        self._ended: set[SnapshotId] = set()
        self._failure = ""
        self._stopped = False
        self._changed = threading.Condition()

    def commit(self, snapshot_id: SnapshotId, change: CompletionChange) -> SnapshotRecord:
        """Complete a member together with the others, once all have come here.

        Raises:
            SourceError: Another member failed.
            StoppedError: The store is being closed.
            StoreError, LimitExceededError: The transaction failed.
        """
        with self._changed:
            self._ready[snapshot_id] = change
            if len(self._ready) == len(self._members) and not self._failure:
                try:
                    self._complete_all()
                except BaseException as error:
                    self._failure = f"its set could not be completed: {error}"
                    raise
                finally:
                    self._changed.notify_all()
            self._changed.wait_for(self._is_decided)
            if snapshot_id in self._completed:
                return self._completed[snapshot_id]
            self.ensure_possible()
            raise StoppedError

    def fail(self, snapshot_id: SnapshotId, reason: str) -> None:
        """Have the other members fail because this one did."""
        with self._changed:
            self._failure = self._failure or f"{snapshot_id} of the same set failed: {reason}"
            self._changed.notify_all()

    def ensure_possible(self) -> None:
        """Look whether the members can still be completed.

        Raises:
            SourceError: One failed.
        """
        if self._failure:
            raise SourceError(self._failure, ErrorCode.SNAPSHOT_FAILED)

    def ended(self, snapshot_id: SnapshotId) -> None:
        """Note that a member ended as `error`; the last one tells it of the set."""
        with self._changed:
            self._ended.add(snapshot_id)
            if len(self._ended) < len(self._members):
                return
        self._context.catalog.update(self._tell_failure)

    def stop(self) -> None:
        """Have the members that wait stay pending."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _is_decided(self) -> bool:
        return bool(self._failure or self._stopped or self._completed)

    def _complete_all(self) -> None:
        def change(writer: CatalogWriter) -> dict[SnapshotId, SnapshotRecord]:
            done = {member: self._ready[member](writer) for member in self._members}
            snapshot_set_ended(self._context, writer, list(done.values()))
            return done

        failpoints.reach("set.ready")
        self._completed = self._context.catalog.update(change)
        failpoints.reach("set.committed")

    def _tell_failure(self, writer: CatalogWriter) -> None:
        members = [find_snapshot(writer, member) for member in self._members]
        left = [member for member in members if member is not None]
        snapshot_set_ended(self._context, writer, left)
