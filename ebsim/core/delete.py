"""Deleting snapshots: planned first, then carried out.

A plan is made by reading only. It deletes one snapshot after the other in a view of the lineage
that a dry run never saves, so a dry run gives the very numbers of the deletion, for a set of
snapshots as a whole too. Carrying it out is one transaction that moves the charges, forgets the
maps and queues the versions nobody has any more; `ebsim.core.reclaim` then gives the bytes back.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from ebsim import bin_refusals, failpoints
from ebsim.core.abandon import delete_pages, drop_unmade
from ebsim.core.bin_catalog import Retention, put_into_bin
from ebsim.core.bin_stays import is_due, stay_of
from ebsim.core.context import StoreContext
from ebsim.core.copied_part import is_unmade
from ebsim.core.counters import peek
from ebsim.core.events import snapshot_recycled
from ebsim.core.fast_restores import end_deleted, facts_of
from ebsim.core.image_links import ensure_not_behind_image
from ebsim.core.inheritance import leave
from ebsim.core.journal import append_entry
from ebsim.core.ledger import record_events
from ebsim.core.lineage import Lineage
from ebsim.core.lock_rules import ensure_not_locked
from ebsim.core.reclaim import queue_freed, reclaim_if_possible
from ebsim.core.release_estimate import ReleaseEstimate
from ebsim.core.sessions import OpenSegment, current_session
from ebsim.core.snapshots import drop_snapshot, ensure_present, get_snapshot, put_snapshot
from ebsim.core.space import SpaceChange
from ebsim.core.tier_rules import NO_ARCHIVE_CHARGE, ArchiveCharge, archive_charge
from ebsim.core.volume_parent import parent_deleted
from ebsim.errors import InvalidInputError, StoreError
from ebsim.format.bin_records import Stay
from ebsim.format.catalog_values import Counter
from ebsim.format.map_page import Page
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId
from ebsim.results import (
    ChargeCause,
    ChargeEvent,
    DeletedSnapshot,
    DeleteReport,
    MovedCharge,
    SnapshotState,
)
from ebsim.storage.catalog import CatalogReader, CatalogWriter
from ebsim.tiering import StorageTier
from ebsim.units import BLOCK_SIZE

SNAPSHOTS_MAX = 10_000
"""Deleted at once: the journal entry of so many is about 2 MiB, and a record has at most 4."""


@dataclass(frozen=True, slots=True)
class DeleteStep:
    """What deleting one snapshot does.

    Attributes:
        record: The snapshot, charged as it is when its turn comes.
        freed_blocks: Charged blocks that nobody is charged for any more.
        moved: Heir and number of blocks, oldest heir first.
        freed_versions: Versions that nobody has any more, in sorted arrays.
        freed_pages: Pages that no map has any more.
        reclaimed_bytes: Stored bytes that go back to the file system.
        archive: What the archive is charged with until then.
        stay: How long it stays in the Recycle Bin; then nothing else happens. None: it goes.
    """

    record: SnapshotRecord
    freed_blocks: int
    moved: tuple[tuple[SnapshotId, int], ...]
    freed_versions: tuple[Page, ...]
    freed_pages: tuple[int, ...]
    reclaimed_bytes: int
    archive: ArchiveCharge = NO_ARCHIVE_CHARGE
    stay: Stay | None = None

    def report(self) -> DeletedSnapshot:
        """Return the step as a user sees it, in bytes."""
        return DeletedSnapshot(
            snapshot_id=self.record.snapshot_id,
            freed_size_bytes=self.freed_blocks * BLOCK_SIZE,
            moved_size_bytes=sum(blocks for _, blocks in self.moved) * BLOCK_SIZE,
            moved_to=tuple(
                MovedCharge(snapshot_id=heir, size_bytes=blocks * BLOCK_SIZE)
                for heir, blocks in self.moved
            ),
            reclaimed_bytes=self.reclaimed_bytes,
            when_completed=self.record.state == SnapshotState.PENDING
            and not is_unmade(self.record),
            recycle_bin_exit_us=None if self.stay is None else self.stay.exits_us,
        )


@dataclass(slots=True)
class DeletePlan:
    """What deleting a set of snapshots, one after the other, does.

    Attributes:
        made_at: What the catalog counted then (`_moment`): the plan holds as long as it does.
        now_us: The time then.
        lineage: The tree without them.
        steps: One for each, in order.
        records: The other snapshots whose charge changes, with their new charge.
        expired: They leave the Recycle Bin, and go for good.
    """

    made_at: tuple[int, int]
    now_us: int
    lineage: Lineage
    steps: list[DeleteStep] = field(default_factory=list)
    records: dict[SnapshotId, SnapshotRecord] = field(default_factory=dict)
    expired: bool = False

    @property
    def effective_steps(self) -> list[DeleteStep]:
        """The steps that delete at once: not those of pending snapshots, or into the bin."""
        return [
            step
            for step in self.steps
            if step.record.state != SnapshotState.PENDING and step.stay is None
        ]

    @property
    def kept_steps(self) -> list[tuple[SnapshotId, Stay]]:
        """What goes to the Recycle Bin, and for how long."""
        return [(step.record.snapshot_id, step.stay) for step in self.steps if step.stay]

    def time_us(self, record: SnapshotRecord, now_us: int) -> int:
        """Return when a charge ends: that of what expired, when its time in the bin was over."""
        stay = stay_of(record) if self.expired else None
        return now_us if stay is None else stay.exits_us


def plan_deletion(
    reader: CatalogReader,
    snapshot_ids: Sequence[SnapshotId],
    now_us: int,
    *,
    expired: bool = False,
) -> DeletePlan:
    """Plan the deletion of snapshots in this order, changing nothing.

    What a rule of the Recycle Bin keeps goes there instead, with its charge.

    Args:
        reader: The catalog.
        snapshot_ids: The snapshots.
        now_us: The time, which decides about locks and rules.
        expired: They are in the Recycle Bin, their time there is over, and they go for good.

    Raises:
        InvalidInputError: An id is given twice.
        NotFoundError: A snapshot does not exist.
        ConflictError: A snapshot is behind a registered image.
        ForbiddenError: A snapshot is locked.
    """
    _ensure_deletable(reader, snapshot_ids, now_us, expired=expired)
    plan = DeletePlan(_moment(reader), now_us, Lineage(reader), expired=expired)
    estimate, retention = ReleaseEstimate(reader), Retention(reader, now_us)
    for snapshot_id in snapshot_ids:
        record = plan.records.get(snapshot_id) or get_snapshot(reader, snapshot_id)
        stay = None if expired else retention.of_snapshot(record)
        if stay is not None:
            plan.steps.append(DeleteStep(record, 0, (), (), (), 0, stay=stay))
            continue
        plan.records.pop(snapshot_id, None)
        plan.steps.append(_plan_step(reader, plan, estimate, record))
    return plan


def _ensure_deletable(
    reader: CatalogReader, snapshot_ids: Sequence[SnapshotId], now_us: int, *, expired: bool
) -> None:
    if not snapshot_ids:
        raise InvalidInputError("No snapshot is named.")
    if len(set(snapshot_ids)) != len(snapshot_ids):
        raise InvalidInputError("A snapshot is named twice.")
    if len(snapshot_ids) > SNAPSHOTS_MAX:
        raise InvalidInputError(f"At most {SNAPSHOTS_MAX} snapshots can be deleted at once.")
    for snapshot_id in snapshot_ids:
        record = get_snapshot(reader, snapshot_id)
        if expired and is_due(record, now_us):
            continue  # neither a lock nor an image reaches what is in the bin
        ensure_not_locked(ensure_present(record), now_us)
        ensure_not_behind_image(reader, snapshot_id)
        if expired:  # somebody restored it just now
            raise bin_refusals.not_recycled(snapshot_id)


def delete_snapshots(
    context: StoreContext,
    snapshot_ids: Sequence[SnapshotId],
    *,
    dry_run: bool,
    expired: bool = False,
) -> DeleteReport:
    """Delete snapshots in this order, or tell what that would do.

    What a rule of the Recycle Bin keeps goes there; `expired` is as `plan_deletion` has it.
    Returns once the freed bytes are back with the file system.

    Raises:
        InvalidInputError, NotFoundError, ConflictError: As `plan_deletion`; nothing was changed.
        StoreError, LimitExceededError: A write failed.
    """
    now_us = context.clock.now_us()
    if dry_run:
        with context.catalog.read() as reader:
            return _report(plan_deletion(reader, snapshot_ids, now_us), dry_run=True)
    with context.catalog.read() as reader:
        plan = plan_deletion(reader, snapshot_ids, now_us, expired=expired)
    with context.reserve.released_if_low() as room:
        done = room.give(lambda: _carry_out(context, plan, snapshot_ids))
        unmade = [step.record.snapshot_id for step in done.steps if is_unmade(step.record)]
        room.give(lambda: drop_unmade(context, unmade))
        if any(step.record.started is not None for step in done.steps if is_unmade(step.record)):
            remove_started(context)
        reclaim_if_possible(context, room)
    return _report(done, dry_run=False)


def remove_started(context: StoreContext) -> None:
    """Remove the blocks of snapshots that were being written, and are deleted."""
    from ebsim.core.started_clock import started_writes  # it needs this module

    started_writes(context).remove_leftovers()


def _report(plan: DeletePlan, *, dry_run: bool) -> DeleteReport:
    return DeleteReport(deleted=tuple(step.report() for step in plan.steps), dry_run=dry_run)


def _moment(reader: CatalogReader) -> tuple[int, int]:
    """Return counts that change with every commit that could make a plan untrue."""
    return peek(reader, Counter.SEQUENCE), peek(reader, Counter.LINEAGE_CHANGE)


def _carry_out(
    context: StoreContext, plan: DeletePlan, snapshot_ids: Sequence[SnapshotId]
) -> DeletePlan:
    """Carry a plan out and return what was carried out.

    A large plan takes seconds to make, so it is made before the writing transaction begins. Where
    it does not hold any more, because others committed meanwhile, it is made again within.
    """
    session = current_session(context)
    segment = session.borrow_segment()
    try:
        done = context.catalog.update(
            lambda writer: _commit(context, writer, segment, _current(writer, plan, snapshot_ids))
        )
    except StoreError:
        raise  # the outcome may be unknown: whoever opens the store next looks
    except BaseException:
        session.seal_segment(segment)
        raise
    failpoints.reach("delete.committed")
    session.return_segment(segment)
    return done


def _plan_step(
    reader: CatalogReader, plan: DeletePlan, estimate: ReleaseEstimate, record: SnapshotRecord
) -> DeleteStep:
    if not record.node:
        return DeleteStep(record, 0, (), (), (), 0)
    legacy = leave(reader, plan.lineage, plan.records, record)
    unshared = legacy.unshared
    plan.lineage.remove(record.node)
    return DeleteStep(
        record,
        legacy.freed_blocks,
        legacy.heirs,
        tuple(unshared.freed_versions),
        tuple(unshared.freed_pages),
        estimate.release(unshared.freed_versions, unshared.freed_pages),
        archive_charge(record, plan.time_us(record, plan.now_us)),
    )


def _current(
    reader: CatalogReader, plan: DeletePlan, snapshot_ids: Sequence[SnapshotId]
) -> DeletePlan:
    if _moment(reader) == plan.made_at:
        return plan
    return plan_deletion(reader, snapshot_ids, plan.now_us, expired=plan.expired)


def _commit(
    context: StoreContext, writer: CatalogWriter, segment: OpenSegment, plan: DeletePlan
) -> DeletePlan:
    space = SpaceChange(writer)
    now = context.clock.now_us()
    steps = [_facts(plan, step, now) for step in plan.effective_steps]
    facts: dict[str, object] = {"steps": steps, "time_us": now}
    if plan.kept_steps:
        facts["recycled"] = [[name, asdict(stay)] for name, stay in plan.kept_steps]
    gone = [
        step.record.snapshot_id for step in plan.steps if step.record.state != SnapshotState.PENDING
    ]
    facts |= facts_of(end_deleted(context, writer, gone))
    sequence = append_entry(context, writer, space, segment, "delete", facts)
    for step in plan.steps:
        if step.record.state == SnapshotState.PENDING:
            _delete_pending(writer, step.record.snapshot_id)
            continue
        if step.stay is not None:
            put_into_bin(context, writer, step.record.snapshot_id, step.stay)
            continue
        if plan.expired:
            snapshot_recycled(context, writer, step.record, "recycleBinExpiry")
        drop_snapshot(writer, step.record)
        parent_deleted(writer, step.record)
        delete_pages(writer, space, list(step.freed_pages))
        for versions in step.freed_versions:
            queue_freed(writer, versions)
    for record in plan.records.values():
        current = get_snapshot(writer, record.snapshot_id)
        put_snapshot(writer, replace(current, charged_blocks=record.charged_blocks))
    plan.lineage.save(writer)
    record_events(writer, _events(plan, sequence, now))
    segment.publish(writer, segment.writer.end)
    space.save()
    failpoints.reach("delete.before-commit")
    return plan


def _delete_pending(writer: CatalogWriter, snapshot_id: SnapshotId) -> None:
    """Have a pending snapshot go when it is completed; until then it occupies its slot."""
    current = get_snapshot(writer, snapshot_id)
    if current.state == SnapshotState.PENDING:
        put_snapshot(writer, replace(current, deletion_wanted=True))
    else:
        drop_snapshot(writer, current)  # it failed meanwhile


def _facts(plan: DeletePlan, step: DeleteStep, now_us: int) -> dict[str, object]:
    """Return what the journal says about a step."""
    return {
        **({"time_us": plan.time_us(step.record, now_us)} if plan.expired else {}),
        "snapshot_id": step.record.snapshot_id,
        "volume_id": step.record.volume_id,
        "owner": step.record.owner,
        "region": step.record.region,
        "freed_blocks": step.freed_blocks,
        "moved": [list(move) for move in step.moved],
        **step.archive.facts(),
    }


def _events(plan: DeletePlan, sequence: int, now: int) -> list[ChargeEvent]:
    """Return the ledger's entries for a plan."""
    events = []
    records = {record.snapshot_id: record for record in plan.records.values()}
    records.update((step.record.snapshot_id, step.record) for step in plan.steps)

    def entry(
        cause: ChargeCause,
        snapshot_id: SnapshotId,
        blocks: int,
        other: SnapshotId | None,
        tier: StorageTier = StorageTier.STANDARD,
    ) -> None:
        events.append(
            ChargeEvent(
                sequence=sequence,
                time_us=time_us,
                cause=cause,
                snapshot_id=snapshot_id,
                volume_id=records[snapshot_id].volume_id,
                blocks=blocks,
                other_id=other,
                owner=records[snapshot_id].owner,
                region=records[snapshot_id].region,
                tier=tier,
            )
        )

    for step in plan.effective_steps:
        gone, time_us = step.record.snapshot_id, plan.time_us(step.record, now)
        if step.freed_blocks or not step.moved:
            entry(ChargeCause.FREED, gone, -step.freed_blocks, None)
        for heir, blocks in step.moved:
            entry(ChargeCause.MOVED_OUT, gone, -blocks, heir)
            entry(ChargeCause.MOVED_IN, heir, blocks, gone)
        for cause, blocks in step.archive.events():
            entry(cause, gone, blocks, None, StorageTier.ARCHIVE)
    return events
