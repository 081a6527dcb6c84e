"""Moving snapshots between the tiers: one transaction for each step, with its journal entry.

No byte is read or written. A snapshot that goes to the archive leaves the standard tier as one that
is deleted does (`ebsim.core.inheritance`), but its node keeps its map, charged nothing there; the
archive is charged with all blocks of it. One that comes back is live again, of a lineage number of
its own: it is charged for all of its blocks, and shares none of them (`ebsim.core.lineage`). Equal
blocks are stored once all the same, whoever is charged for them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from ebsim.core.changes import JournaledCommit
from ebsim.core.context import StoreContext
from ebsim.core.counters import take
from ebsim.core.events import snapshot_tiered
from ebsim.core.fast_restores import end_unusable, facts_of
from ebsim.core.image_links import images_on
from ebsim.core.inheritance import leave
from ebsim.core.ledger import record_events
from ebsim.core.lineage import Lineage
from ebsim.core.snapshots import get_snapshot, put_snapshot
from ebsim.core.tier_rules import (
    ARCHIVAL,
    PERMANENT_RESTORE,
    archival_failed,
    archived,
    expired,
    restored,
    tiering_of,
)
from ebsim.core.volume_parent import parent_deleted
from ebsim.format.catalog_values import Counter, NodeKind
from ebsim.format.records import SnapshotRecord, event_facts
from ebsim.ids import SnapshotId
from ebsim.results import ChargeCause, ChargeEvent
from ebsim.tiering import StorageTier

_RESTORE_EVENTS = {True: "permanentRestoreSnapshot", False: "temporaryRestoreSnapshot"}


@dataclass(slots=True)
class Entries:
    """The ledger's entries of one step, which happens at a moment.

    Attributes:
        at_us: The moment: when the step fell due, not when somebody came to carry it out.
        events: The entries, without their sequence number.
    """

    at_us: int
    events: list[ChargeEvent] = field(default_factory=list)

    def add(
        self,
        cause: ChargeCause,
        record: SnapshotRecord,
        blocks: int,
        other: SnapshotId | None = None,
        tier: StorageTier = StorageTier.STANDARD,
    ) -> None:
        """Add an entry."""
        self.events.append(
            ChargeEvent(
                sequence=0,
                time_us=self.at_us,
                cause=cause,
                snapshot_id=record.snapshot_id,
                volume_id=record.volume_id,
                blocks=blocks,
                other_id=other,
                owner=record.owner,
                region=record.region,
                tier=tier,
            )
        )

    def add_retrieval(self, record: SnapshotRecord) -> None:
        """Add that a snapshot is read out of the archive, which is charged once."""
        self.add(ChargeCause.RETRIEVED, record, 0, tier=StorageTier.ARCHIVE)
        self.events[-1] = replace(self.events[-1], retrieved_blocks=record.full_blocks)


def keep(
    context: StoreContext,
    commit: JournaledCommit,
    before: SnapshotRecord,
    after: SnapshotRecord,
    events: Sequence[ChargeEvent] = (),
) -> None:
    """Keep the record of a snapshot after a step, with the journal's and the ledger's entries.

    A rebuild finds its charge, and those of others, from the ledger's entries. Fast restores end
    with the use of the snapshot, or with its sharing (semantics section 11.7).
    """
    old, new = asdict(before), asdict(after)
    members = {name: value for name, value in new.items() if value != old[name]}
    members.pop("charged_blocks", None)
    put_snapshot(commit.writer, after)
    facts = {
        "snapshot_id": after.snapshot_id,
        "members": members,
        "events": [event_facts(event) for event in events],
        **facts_of(end_unusable(context, commit.writer, after)),
    }
    sequence = commit.journal("tier", facts)
    record_events(commit.writer, [replace(event, sequence=sequence) for event in events])


def carry_out_step(context: StoreContext, commit: JournaledCommit, name: SnapshotId) -> None:
    """Carry out what fell due of a snapshot: its archival, its restore, or the end of one."""
    record = get_snapshot(commit.writer, name)
    tiering = tiering_of(record)
    assert tiering is not None, "something fell due"
    if not tiering.runs:
        _expire(context, commit, record)
    elif tiering.operation == ARCHIVAL:
        _complete_archival(context, commit, record)
    else:
        _complete_restore(context, commit, record)


def _complete_archival(
    context: StoreContext, commit: JournaledCommit, before: SnapshotRecord
) -> None:
    tiering = tiering_of(before)
    assert tiering is not None
    times = tiering.started_us, tiering.ends_us
    for image_id in images_on(commit.writer, before.snapshot_id):
        why = f"it came into use by {image_id} while it was being archived"
        keep(context, commit, before, archival_failed(before, tiering.ends_us, why))
        snapshot_tiered(context, commit.writer, before, "archiveSnapshot", times, why)
        return
    entries = Entries(tiering.ends_us)
    after = _leave_standard(commit, before, archived(before, tiering.ends_us), entries)
    entries.add(ChargeCause.ARCHIVED, after, after.full_blocks, tier=StorageTier.ARCHIVE)
    keep(context, commit, before, after, entries.events)
    parent_deleted(commit.writer, before)
    snapshot_tiered(context, commit.writer, after, "archiveSnapshot", times)


def _expire(context: StoreContext, commit: JournaledCommit, before: SnapshotRecord) -> None:
    tiering = tiering_of(before)
    assert tiering is not None
    entries = Entries(tiering.expires_us)
    after = _leave_standard(commit, before, expired(before), entries, ChargeCause.EXPIRED)
    keep(context, commit, before, after, entries.events)
    parent_deleted(commit.writer, before)
    times = tiering.ends_us, tiering.expires_us
    snapshot_tiered(context, commit.writer, after, "restoreExpiry", times)


def _leave_standard(
    commit: JournaledCommit,
    before: SnapshotRecord,
    after: SnapshotRecord,
    entries: Entries,
    cause: ChargeCause = ChargeCause.FREED,
) -> SnapshotRecord:
    """Have the heirs be charged for what they need, and return the record, charged nothing."""
    writer, lineage = commit.writer, Lineage(commit.writer)
    heirs: dict[SnapshotId, SnapshotRecord] = {}
    legacy = leave(writer, lineage, heirs, before)
    for heir in heirs.values():
        put_snapshot(writer, heir)
    lineage.become(before.node, NodeKind.ARCHIVED)
    lineage.save(writer)
    entries.add(cause, before, -legacy.freed_blocks)
    for snapshot_id, blocks in legacy.heirs:
        entries.add(ChargeCause.MOVED_OUT, before, -blocks, snapshot_id)
        entries.add(ChargeCause.MOVED_IN, heirs[snapshot_id], blocks, before.snapshot_id)
    return replace(after, charged_blocks=0)


def _complete_restore(
    context: StoreContext, commit: JournaledCommit, before: SnapshotRecord
) -> None:
    tiering = tiering_of(before)
    assert tiering is not None
    permanent = tiering.operation == PERMANENT_RESTORE
    after = restored(before, tiering.ends_us, take(commit.writer, Counter.LINEAGE))
    lineage = Lineage(commit.writer)
    lineage.become(before.node, NodeKind.SNAPSHOT)
    lineage.save(commit.writer)
    entries = Entries(tiering.ends_us)
    entries.add(ChargeCause.RESTORED, after, after.full_blocks)
    if permanent:
        leave_archive(entries, after)
    keep(context, commit, before, after, entries.events)
    times = tiering.started_us, tiering.ends_us
    snapshot_tiered(context, commit.writer, after, _RESTORE_EVENTS[permanent], times)


def leave_archive(entries: Entries, record: SnapshotRecord) -> None:
    """Add that the archive is charged nothing for a snapshot any more: it is restored for good."""
    entries.add(ChargeCause.RESTORED, record, -record.full_blocks, tier=StorageTier.ARCHIVE)
