"""The operations on locks, as `Store.locks` offers them."""

from collections.abc import Sequence
from dataclasses import asdict, replace

from ebsim.core.access import own_snapshots
from ebsim.core.context import StoreContext
from ebsim.core.filters import Filtering
from ebsim.core.lock_rules import ensure_unlockable, new_lock, show_lock
from ebsim.core.paging import Pager, page_size
from ebsim.core.snapshot_changes import change_snapshot
from ebsim.format.records import SnapshotRecord
from ebsim.ids import parse_snapshot_id
from ebsim.locking import LockPage, LockQuery, LockRequest, SnapshotLock
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
            InvalidInputError: An id is malformed, or a filter is none.
            LimitExceededError: The filters have too many values.
        """
        return [lock for _, lock in self._found(query or LockQuery())]

    def describe(self, query: LockQuery | None = None) -> LockPage:
        """Return a page of the locks that a query asks for, in the order of the beginning.

        Raises:
            InvalidInputError, LimitExceededError: As `list`; or a page size or token is none.
        """
        query = query or LockQuery()
        size = page_size(query.max_results)
        facts = [
            "locks",
            sorted(query.snapshot_ids),
            sorted(query.states),
            [[each.name, sorted(each.values)] for each in query.filters],
        ]
        pager = Pager(self._context.hash_key, facts)
        found = sorted(self._found(query), key=lambda each: each[0])
        page, token = pager.page(found, lambda each: each[0], size, query.next_token)
        return LockPage(locks=tuple(lock for _, lock in page), next_token=token)

    def _found(self, query: LockQuery) -> Sequence[tuple[int, SnapshotLock]]:
        """Return locks, each with the number of its snapshot's beginning."""
        wanted = {parse_snapshot_id(text) for text in query.snapshot_ids}
        passes = FILTERS.predicate(query.filters)
        now = self._context.clock.now_us()
        with self._context.catalog.read() as reader:
            records = [
                record
                for record in own_snapshots(self._context, reader)
                if not wanted or record.snapshot_id in wanted
            ]
        shown = [(record.begun, show_lock(record, now)) for record in records]
        return [
            (begun, lock)
            for begun, lock in shown
            if lock is not None
            and (not query.states or lock.state in query.states)
            and passes(lock)
        ]


FILTERS = Filtering[SnapshotLock]({"lock-state": lambda lock: [lock.state.value]})
"""What DescribeLockedSnapshots can filter by."""
