"""The operations on fast snapshot restores, as `Store.fast_restores` offers them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

from ebsim import refusals
from ebsim.caller import zone_id
from ebsim.core.access import visible_snapshot
from ebsim.core.changes import JournaledCommit, commit_journaled, writing
from ebsim.core.context import StoreContext
from ebsim.core.counters import take
from ebsim.core.fast_restore_rules import SIZE_GIB_MAX, is_on, show_fast_restore, show_use, state_at
from ebsim.core.fast_restores import (
    all_fast_restores,
    end_one,
    facts_of,
    find_active,
    put_fast_restore,
    restorable,
    tell,
)
from ebsim.core.filters import Filtering
from ebsim.core.paging import Pager, page_size
from ebsim.core.quotas import load_quotas
from ebsim.errors import EbsimError
from ebsim.fast_restores import (
    FastRestoreFailure,
    FastRestorePage,
    FastRestoreQuery,
    FastRestoreReport,
    FastRestoreUse,
)
from ebsim.format.catalog_values import Counter
from ebsim.format.fast_restore_records import FastRestoreRecord
from ebsim.ids import SnapshotId, parse_snapshot_id
from ebsim.storage.catalog import CatalogReader
from ebsim.units import size_gib

SNAPSHOTS_MAX = 10
"""Snapshots of one request."""

PAGE_MAX = 200

Pair = tuple[SnapshotId, str]


def _filters(now_us: int) -> Filtering[FastRestoreRecord]:
    """Return what DescribeFastSnapshotRestores can filter by."""
    return Filtering[FastRestoreRecord](
        {
            "availability-zone": lambda record: [record.zone],
            "availability-zone-id": lambda record: [zone_id(record.zone)],
            "owner-id": lambda record: [record.owner],
            "snapshot-id": lambda record: [record.snapshot_id],
            "state": lambda record: [state_at(record, now_us)],
        }
    )


class FastRestoreOperations:
    """Fast restores that the caller pays for: of its own snapshots, and of those shared with it."""

    def __init__(self, context: StoreContext) -> None:
        self._context = context

    def enable(self, snapshot_ids: Sequence[str], zones: Sequence[str]) -> FastRestoreReport:
        """Enable fast restore of each of some snapshots in each of some zones.

        What is enabled already stays as it is, and is no failure.

        Args:
            snapshot_ids: 1 to 10, the caller's, shared with it, or public.
            zones: Availability Zones of the caller's Region; 1 or more.

        Raises:
            InvalidInputError: Nothing is named, an id is malformed, or too many are named.
            StoreError, LimitExceededError: A write failed.
        """
        return self._change(snapshot_ids, zones, self._enable_one)

    def disable(self, snapshot_ids: Sequence[str], zones: Sequence[str]) -> FastRestoreReport:
        """Disable fast restore of each of some snapshots in each of some zones.

        Raises:
            InvalidInputError, StoreError, LimitExceededError: As `enable`.
        """
        return self._change(snapshot_ids, zones, self._disable_one)

    def describe(self, query: FastRestoreQuery | None = None) -> FastRestorePage:
        """Return a page of the caller's fast restores: for each snapshot and zone the last one.

        Those that are disabled are told too, also of snapshots that are deleted.

        Raises:
            InvalidInputError: A filter, page size or token is none.
            LimitExceededError: The filters have too many values.
        """
        query = query or FastRestoreQuery()
        now_us = self._context.clock.now_us()
        passes = _filters(now_us).predicate(query.filters)
        size = page_size(query.max_results, PAGE_MAX, smallest=1)
        with self._context.catalog.read() as reader:
            records = all_fast_restores(reader, self._context.caller)
        last = {(each.snapshot_id, each.owner, each.zone): each for each in records}
        found = sorted(filter(passes, last.values()), key=lambda each: each.number)
        asked = {**asdict(query), "max_results": None, "next_token": None}
        pager = Pager(self._context.hash_key, ["fast restores", asked])
        page, token = pager.page(found, lambda each: each.number, size, query.next_token)
        shown = tuple(show_fast_restore(each, now_us) for each in page)
        return FastRestorePage(fast_restores=shown, next_token=token)

    def usage(self) -> list[FastRestoreUse]:
        """Return every time for which the caller pays, or paid; snapshots may be deleted since."""
        now_us = self._context.clock.now_us()
        with self._context.catalog.read() as reader:
            records = all_fast_restores(reader, self._context.caller)
        return [show_use(each, now_us) for each in records]

    def _change(
        self,
        snapshot_ids: Sequence[str],
        zones: Sequence[str],
        change_one: Callable[[JournaledCommit, SnapshotId, str, int], FastRestoreRecord | None],
    ) -> FastRestoreReport:
        """Change each pair in one transaction; what is refused for a pair hinders no other."""
        pairs = _pairs(snapshot_ids, zones)
        now_us = self._context.clock.now_us()

        def run(commit: JournaledCommit) -> list[FastRestoreFailure]:
            changed, failures = [], []
            for snapshot_id, zone in pairs:
                try:
                    record = change_one(commit, snapshot_id, zone, now_us)
                except EbsimError as error:
                    failures.append(_failure(snapshot_id, zone, error))
                    continue
                if record is not None:
                    tell(self._context, commit.writer, record, now_us)
                    changed.append(record)
            if changed:
                commit.journal("fast-restores", facts_of(changed))
            return failures

        with writing(self._context):
            failures = commit_journaled(self._context, run)
        failed = {(each.snapshot_id, each.zone) for each in failures}
        with self._context.catalog.read() as reader:
            records = all_fast_restores(reader, self._context.acting)
        last = {(each.snapshot_id, each.zone): each for each in records}
        return FastRestoreReport(
            successful=tuple(
                show_fast_restore(last[pair], now_us) for pair in pairs if pair not in failed
            ),
            unsuccessful=tuple(failures),
        )

    def _enable_one(
        self, commit: JournaledCommit, snapshot_id: SnapshotId, zone: str, now_us: int
    ) -> FastRestoreRecord | None:
        caller, writer = self._context.acting, commit.writer
        snapshot = visible_snapshot(self._context, writer, snapshot_id)
        if zone not in caller.zones:
            raise refusals.zone_not_found(zone)
        if not restorable(snapshot):
            raise refusals.not_fast_restorable(snapshot_id, snapshot.state, snapshot.tier)
        size = size_gib(snapshot.size_bytes)
        if size > SIZE_GIB_MAX:
            raise refusals.too_large_for_fast_restore(snapshot_id, size, SIZE_GIB_MAX)
        if find_active(writer, caller, snapshot_id, zone) is not None:
            return None
        self._check_quota(writer, snapshot_id)
        record = FastRestoreRecord(
            number=take(writer, Counter.FAST_RESTORE),
            snapshot_id=snapshot_id,
            zone=zone,
            owner=caller.account,
            region=caller.region,
            size_gib=size,
            enabling_us=now_us,
        )
        put_fast_restore(writer, record)
        return record

    def _check_quota(self, reader: CatalogReader, snapshot_id: SnapshotId) -> None:
        limit = load_quotas(reader).fast_restore_snapshots
        records = all_fast_restores(reader, self._context.acting)
        enabled = {each.snapshot_id for each in records if is_on(each)}
        if snapshot_id not in enabled and len(enabled) >= limit:
            raise refusals.fast_restore_limit(limit)

    def _disable_one(
        self, commit: JournaledCommit, snapshot_id: SnapshotId, zone: str, now_us: int
    ) -> FastRestoreRecord | None:
        record = find_active(commit.writer, self._context.acting, snapshot_id, zone)
        if record is None:
            raise refusals.not_fast_restored(snapshot_id, zone)
        return end_one(commit.writer, record, now_us, by_user=True)


def _pairs(snapshot_ids: Sequence[str], zones: Sequence[str]) -> list[Pair]:
    """Return each snapshot with each zone, each pair once.

    Raises:
        InvalidInputError: Nothing is named, an id is malformed, or too many are named.
    """
    if not snapshot_ids:
        raise refusals.missing_parameter("SourceSnapshotId")
    if not zones:
        raise refusals.missing_parameter("AvailabilityZone")
    if len(snapshot_ids) > SNAPSHOTS_MAX:
        raise refusals.invalid_value(
            f"{len(snapshot_ids)} ids", "SourceSnapshotId", f"Expected at most {SNAPSHOTS_MAX}"
        )
    wanted = [parse_snapshot_id(text) for text in snapshot_ids]
    return list(dict.fromkeys((each, zone) for each in wanted for zone in zones))


def _failure(snapshot_id: SnapshotId, zone: str, error: EbsimError) -> FastRestoreFailure:
    return FastRestoreFailure(
        snapshot_id=snapshot_id, zone=zone, code=error.code.value, message=str(error)
    )
