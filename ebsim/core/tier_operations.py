"""The operations on the archive tier, as `Store.tiers` offers them."""

from collections.abc import Callable
from dataclasses import dataclass

from ebsim import refusals
from ebsim.core.access import own_snapshot, own_snapshots, same_owner
from ebsim.core.changes import JournaledCommit, commit_journaled, writing
from ebsim.core.context import StoreContext
from ebsim.core.events import snapshot_tiered
from ebsim.core.filters import Filtering
from ebsim.core.image_links import images_on
from ebsim.core.paging import Pager, page_size
from ebsim.core.quotas import load_quotas
from ebsim.core.snapshots import list_snapshots
from ebsim.core.tier_changes import Entries, keep, leave_archive
from ebsim.core.tier_clock import carry_out_due, settle
from ebsim.core.tier_rules import (
    ARCHIVAL,
    begin_archival,
    begin_restore,
    change_restore,
    check_restore,
    is_restored_for_a_time,
    show_status,
    tiering_of,
)
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId, parse_snapshot_id
from ebsim.storage.catalog import CatalogReader, CatalogWriter
from ebsim.tiering import TierPage, TierQuery, TierRestore, TierRestored, TierStatus

US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class _Step:
    """What an operation makes of a snapshot's record, and which entries the ledger gets."""

    record: SnapshotRecord
    entries: Entries


class TierOperations:
    """Archiving the caller's snapshots, and restoring them.

    How long either takes is said by the store's quotas: nothing, unless they say otherwise.
    """

    def __init__(self, context: StoreContext) -> None:
        self._context = context

    def archive(self, snapshot_id: str) -> TierStatus:
        """Move a snapshot to the archive (EC2: ModifySnapshotTier, storage tier archive).

        It can be used until that is completed, but not be shared any more.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: There is no such snapshot.
            ForbiddenError: It is another account's.
            ConflictError: It is not completed, behind a registered image, or not in the standard
                tier for good.
            LimitExceededError: 25 snapshots of its volume are archived, or 25 are on their way.
            StoreError: A write failed.
        """
        name, now = parse_snapshot_id(snapshot_id), self._context.clock.now_us()

        def begun(reader: CatalogReader, record: SnapshotRecord) -> _Step:
            quotas = load_quotas(reader)
            duration = int(quotas.archival_s * US_PER_S)
            images = images_on(reader, record.snapshot_id)
            after = begin_archival(record, images, now, duration)
            _check_archivals(reader, record)
            return _Step(after, Entries(now))

        self._change(name, begun)
        return self._status(name)

    def restore(self, snapshot_id: str, request: TierRestore | None = None) -> TierRestored:
        """Restore a snapshot from the archive, for a time or for good (RestoreSnapshotTier).

        One that is restored for a time gets another period, counted from now, or becomes permanent;
        that happens at once, and nothing is retrieved for it.

        Args:
            snapshot_id: The snapshot.
            request: How; None: for one day.

        Raises:
            InvalidInputError: The id is malformed, or EC2 would not take the request.
            NotFoundError: There is no such snapshot.
            ForbiddenError: It is another account's.
            ConflictError: It is not in the archive, or is being archived or restored.
            LimitExceededError: 5 snapshots are being restored.
            StoreError: A write failed.
        """
        request = request or TierRestore()
        days = check_restore(request)
        name, now = parse_snapshot_id(snapshot_id), self._context.clock.now_us()

        def begun(reader: CatalogReader, record: SnapshotRecord) -> _Step:
            entries = Entries(now)
            if is_restored_for_a_time(record):
                if request.permanent:
                    leave_archive(entries, record)
                return _Step(change_restore(record, request, now), entries)
            duration = int(load_quotas(reader).tier_restore_s * US_PER_S)
            after = begin_restore(record, request, now, duration)
            _check_restores(reader, record)
            entries.add_retrieval(record)
            return _Step(after, entries)

        def told(writer: CatalogWriter, before: SnapshotRecord, after: SnapshotRecord) -> None:
            if request.permanent and is_restored_for_a_time(before):
                event, times = "permanentRestoreSnapshot", (now, now)
                snapshot_tiered(self._context, writer, after, event, times)

        self._change(name, begun, told)
        return TierRestored(
            snapshot_id=name,
            permanent=request.permanent,
            days=days,
            started_us=now,
            status=self._status(name),
        )

    def describe(self, query: TierQuery | None = None) -> TierPage:
        """Return a page of the caller's snapshots that were ever archived, or are on their way.

        In the order in which they were begun (DescribeSnapshotTierStatus).

        Raises:
            InvalidInputError: An id or a filter is none, a page is too small, a token is none or
                another query's.
            LimitExceededError: The filters have too many values.
        """
        query = query or TierQuery()
        passes = _predicate(query)
        size = page_size(query.max_results)
        settle(self._context)
        now = self._context.clock.now_us()
        with self._context.catalog.read() as reader:
            found = [each for each in own_snapshots(self._context, reader) if passes(each)]
        found.sort(key=lambda record: record.begun)
        facts = [
            "tiers",
            sorted(query.snapshot_ids),
            [[each.name, sorted(each.values)] for each in query.filters],
        ]
        pager = Pager(self._context.hash_key, facts)
        page, token = pager.page(found, lambda record: record.begun, size, query.next_token)
        shown = (show_status(record, now) for record in page)
        return TierPage(statuses=tuple(each for each in shown if each), next_token=token)

    def _status(self, name: SnapshotId) -> TierStatus:
        with self._context.catalog.read() as reader:
            record = own_snapshot(self._context, reader, name)
        shown = show_status(record, self._context.clock.now_us())
        assert shown is not None, "it was moved"
        return shown

    def _change(
        self,
        name: SnapshotId,
        begun: Callable[[CatalogReader, SnapshotRecord], _Step],
        told: Callable[[CatalogWriter, SnapshotRecord, SnapshotRecord], None] | None = None,
    ) -> None:
        """Begin something, and carry out what is due then: all of it, where it takes no time."""
        context = self._context
        carry_out_due(context)
        with context.catalog.read() as reader:  # refused before anything is written
            begun(reader, own_snapshot(context, reader, name))

        def run(commit: JournaledCommit) -> None:
            before = own_snapshot(context, commit.writer, name)
            step = begun(commit.writer, before)
            keep(context, commit, before, step.record, step.entries.events)
            if told is not None:
                told(commit.writer, before, step.record)

        with writing(context):
            commit_journaled(context, run)
        carry_out_due(context)


FILTERS = Filtering[SnapshotRecord](
    {
        "snapshot-id": lambda record: [record.snapshot_id],
        "volume-id": lambda record: [record.volume_id],
        "last-tiering-operation": lambda record: [
            each.status for each in [tiering_of(record)] if each is not None
        ],
    }
)
"""What DescribeSnapshotTierStatus can filter by."""


def _predicate(query: TierQuery) -> Callable[[SnapshotRecord], bool]:
    """Return whether a snapshot is one that a query asks for.

    Raises:
        InvalidInputError: An id or a filter is none.
        LimitExceededError: The filters have too many values.
    """
    names = {parse_snapshot_id(text) for text in query.snapshot_ids}
    passes = FILTERS.predicate(query.filters)
    return lambda record: (
        record.tiering is not None and (not names or record.snapshot_id in names) and passes(record)
    )


def _check_archivals(reader: CatalogReader, record: SnapshotRecord) -> None:
    """Check the quotas of archived snapshots of a volume, and of those on their way.

    Those on their way count among the archived ones of their volume too (assumed).

    Raises:
        LimitExceededError: One is reached.
    """
    quotas = load_quotas(reader)
    archived, running = 0, 0
    for other in list_snapshots(reader):
        tiering = tiering_of(other)
        if tiering is None or not same_owner(other, record):
            continue
        runs = tiering.runs and tiering.operation == ARCHIVAL
        running += runs
        archived += other.volume_id == record.volume_id and bool(tiering.archived_us or runs)
    if archived >= quotas.archived_per_volume:
        raise refusals.archived_snapshot_limit(record.volume_id, quotas.archived_per_volume)
    if running >= quotas.pending_archivals:
        raise refusals.tiering_limit("snapshot archives", quotas.pending_archivals)


def _check_restores(reader: CatalogReader, record: SnapshotRecord) -> None:
    """Check the quota of snapshots that are being restored.

    Raises:
        LimitExceededError: It is reached.
    """
    limit = load_quotas(reader).pending_tier_restores
    running = 0
    for other in list_snapshots(reader):
        tiering = tiering_of(other)
        if tiering is not None and same_owner(other, record):
            running += tiering.runs and tiering.operation != ARCHIVAL
    if running >= limit:
        raise refusals.tiering_limit("snapshot restores", limit)
