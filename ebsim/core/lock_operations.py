"""The operations on locks, as `Store.locks` offers them."""

from dataclasses import asdict, replace

from ebsim.core.access import own_snapshots
from ebsim.core.context import StoreContext
from ebsim.core.lock_rules import ensure_unlockable, new_lock, show_lock
from ebsim.core.snapshot_changes import change_snapshot
from ebsim.format.records import SnapshotRecord
from ebsim.ids import parse_snapshot_id
from ebsim.locking import LockQuery, LockRequest, SnapshotLock
from ebsim.storage.catalog import CatalogReader


class LockOperations:
    """Locks on the caller's snapshots: a locked one cannot be deleted, by nobody."""

    def __init__(self, context: StoreContext) -> None:
        self._context = context

    def lock(self, snapshot_id: str, request: LockRequest) -> SnapshotLock:
        """Lock a snapshot, or change its lock.

        Raises:
            InvalidInputError: The id is malformed, or EC2 would not take the request.
            NotFoundError: There is no such snapshot.
            ConflictError: The snapshot is in error.
            ForbiddenError: It is another account's, or its lock does not allow this.
        """
        now = self._context.clock.now_us()

        def changed(_reader: CatalogReader, record: SnapshotRecord) -> SnapshotRecord:
            return replace(record, lock=asdict(new_lock(record, request, now)))

        record = change_snapshot(self._context, parse_snapshot_id(snapshot_id), changed)
        shown = show_lock(record, now)
        assert shown is not None, "it has a lock now"
        return shown

    def unlock(self, snapshot_id: str) -> None:
        """Take a lock off.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: There is no such snapshot.
            ConflictError: It is not locked.
            ForbiddenError: It is another account's, or its lock must stay.
        """
        now = self._context.clock.now_us()

        def changed(_reader: CatalogReader, record: SnapshotRecord) -> SnapshotRecord:
            ensure_unlockable(record, now)
            return replace(record, lock=None)

        change_snapshot(self._context, parse_snapshot_id(snapshot_id), changed)

    def list(self, query: LockQuery | None = None) -> list[SnapshotLock]:
        """Return the locks that a query asks for, expired ones too, in the order of completion.

        Raises:
            InvalidInputError: An id is malformed.
        """
        query = query or LockQuery()
        wanted = {parse_snapshot_id(text) for text in query.snapshot_ids}
        now = self._context.clock.now_us()
        with self._context.catalog.read() as reader:
            records = [
                record
                for record in own_snapshots(self._context, reader)
                if not wanted or record.snapshot_id in wanted
            ]
        shown = [show_lock(record, now) for record in records]
        return [
            each
            for each in shown
            if each is not None and (not query.states or each.state in query.states)
        ]
