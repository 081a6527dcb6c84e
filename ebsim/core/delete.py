"""Deleting snapshots: planned first, then carried out.

A plan is made by reading only. It deletes one snapshot after the other in a view of the lineage
that a dry run never saves, so a dry run gives the very numbers of the deletion, for a set of
snapshots as a whole too. Carrying it out is one transaction that moves the charges, forgets the
maps and queues the versions nobody has any more; `ebsim.core.reclaim` then gives the bytes back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ebsim import failpoints
from ebsim.core.abandon import delete_pages
from ebsim.core.context import StoreContext
from ebsim.core.counters import peek
from ebsim.core.image_links import ensure_not_behind_image
from ebsim.core.journal import append_entry
from ebsim.core.ledger import record_events
from ebsim.core.lineage import Lineage
from ebsim.core.lock_rules import ensure_not_locked
from ebsim.core.reclaim import queue_freed, reclaim_if_possible
from ebsim.core.release_estimate import ReleaseEstimate
from ebsim.core.sessions import OpenSegment, current_session
from ebsim.core.sharing import unshared_by
from ebsim.core.snapshots import drop_snapshot, get_snapshot, put_snapshot
from ebsim.core.space import SpaceChange
from ebsim.core.volume_parent import parent_deleted
from ebsim.errors import InvalidInputError, StoreError
from ebsim.format.catalog_values import Counter, NodeKind
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
    """

    record: SnapshotRecord
    freed_blocks: int
    moved: tuple[tuple[SnapshotId, int], ...]
    freed_versions: tuple[Page, ...]
    freed_pages: tuple[int, ...]
    reclaimed_bytes: int

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
            when_completed=self.record.state == SnapshotState.PENDING,
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
    """

    made_at: tuple[int, int]
    now_us: int
    lineage: Lineage
    steps: list[DeleteStep] = field(default_factory=list)
    records: dict[SnapshotId, SnapshotRecord] = field(default_factory=dict)

    @property
    def effective_steps(self) -> list[DeleteStep]:
        """The steps that take effect at once: not those of pending snapshots."""
        return [step for step in self.steps if step.record.state != SnapshotState.PENDING]


def plan_deletion(
    reader: CatalogReader, snapshot_ids: Sequence[SnapshotId], now_us: int
) -> DeletePlan:
    """Plan the deletion of snapshots in this order, changing nothing.

    Args:
        reader: The catalog.
        snapshot_ids: The snapshots.
        now_us: The time, which decides about locks.

    Raises:
        InvalidInputError: An id is given twice.
        NotFoundError: A snapshot does not exist.
        ConflictError: A snapshot is behind a registered image.
        ForbiddenError: A snapshot is locked.
    """
    _ensure_deletable(reader, snapshot_ids, now_us)
    plan = DeletePlan(_moment(reader), now_us, Lineage(reader))
    estimate = ReleaseEstimate(reader)
    for snapshot_id in snapshot_ids:
        record = plan.records.pop(snapshot_id, None) or get_snapshot(reader, snapshot_id)
        plan.steps.append(_plan_step(reader, plan, estimate, record))
    return plan


def _ensure_deletable(
    reader: CatalogReader, snapshot_ids: Sequence[SnapshotId], now_us: int
) -> None:
    if not snapshot_ids:
        raise InvalidInputError("No snapshot is named.")
    if len(set(snapshot_ids)) != len(snapshot_ids):
        raise InvalidInputError("A snapshot is named twice.")
    if len(snapshot_ids) > SNAPSHOTS_MAX:
        raise InvalidInputError(f"At most {SNAPSHOTS_MAX} snapshots can be deleted at once.")
    for snapshot_id in snapshot_ids:
        ensure_not_locked(get_snapshot(reader, snapshot_id), now_us)
        ensure_not_behind_image(reader, snapshot_id)


def delete_snapshots(
    context: StoreContext, snapshot_ids: Sequence[SnapshotId], *, dry_run: bool
) -> DeleteReport:
    """Delete snapshots in this order, or tell what that would do.

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
        plan = plan_deletion(reader, snapshot_ids, now_us)
    with context.reserve.released_if_low():
        plan = _carry_out(context, plan, snapshot_ids)
        reclaim_if_possible(context)
    return _report(plan, dry_run=False)


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
    unshared = unshared_by(reader, plan.lineage, record.node)
    moved = dict(unshared.moved)
    rest = record.charged_blocks - unshared.freed_blocks - sum(moved.values())
    if unshared.first_heir:
        moved[unshared.first_heir] = rest
    freed = unshared.freed_blocks
    heirs: list[tuple[SnapshotId, int]] = []
    for heir in sorted(moved):
        node = plan.lineage.node(heir)
        if node.kind is NodeKind.HOLD:
            freed += moved[heir]  # kept for a snapshot in the making, charged to nobody
        elif moved[heir]:
            heirs.append((SnapshotId(node.snapshot_id), moved[heir]))
    for snapshot_id, blocks in heirs:
        known = plan.records.get(snapshot_id) or get_snapshot(reader, snapshot_id)
        plan.records[snapshot_id] = known.charged(blocks)
    plan.lineage.remove(record.node)
    return DeleteStep(
        record,
        freed,
        tuple(heirs),
        tuple(unshared.freed_versions),
        tuple(unshared.freed_pages),
        estimate.release(unshared.freed_versions, unshared.freed_pages),
    )


def _current(
    reader: CatalogReader, plan: DeletePlan, snapshot_ids: Sequence[SnapshotId]
) -> DeletePlan:
    if _moment(reader) == plan.made_at:
        return plan
    return plan_deletion(reader, snapshot_ids, plan.now_us)


def _commit(
    context: StoreContext, writer: CatalogWriter, segment: OpenSegment, plan: DeletePlan
) -> DeletePlan:
    space = SpaceChange(writer)
    now = context.clock.now_us()
    facts = {"steps": [_facts(step) for step in plan.effective_steps], "time_us": now}
    sequence = append_entry(context, writer, space, segment, "delete", facts)
    for step in plan.steps:
        if step.record.state == SnapshotState.PENDING:
            _delete_pending(writer, step.record.snapshot_id)
            continue
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


def _facts(step: DeleteStep) -> dict[str, object]:
    """Return what the journal says about a step."""
    return {
        "snapshot_id": step.record.snapshot_id,
        "volume_id": step.record.volume_id,
        "freed_blocks": step.freed_blocks,
        "moved": [list(move) for move in step.moved],
    }


def _events(plan: DeletePlan, sequence: int, now: int) -> list[ChargeEvent]:
    """Return the ledger's entries for a plan."""
    events = []
    volumes = {record.snapshot_id: record.volume_id for record in plan.records.values()}
    volumes.update((step.record.snapshot_id, step.record.volume_id) for step in plan.steps)

    def entry(
        cause: ChargeCause, snapshot_id: SnapshotId, blocks: int, other: SnapshotId | None
    ) -> None:
        events.append(
            ChargeEvent(
                sequence=sequence,
                time_us=now,
                cause=cause,
                snapshot_id=snapshot_id,
                volume_id=volumes[snapshot_id],
                blocks=blocks,
                other_id=other,
            )
        )

    for step in plan.effective_steps:
        gone = step.record.snapshot_id
        if step.freed_blocks or not step.moved:
            entry(ChargeCause.FREED, gone, -step.freed_blocks, None)
        for heir, blocks in step.moved:
            entry(ChargeCause.MOVED_OUT, gone, -blocks, heir)
            entry(ChargeCause.MOVED_IN, heir, blocks, gone)
    return events
