"""The rules of the archive tier (semantics section 11.6). Pure: the time comes in.

    begin_archival     standard -> archival-in-progress       still usable, charged as before
    (its time)         -> archival-completed                  in the archive, unusable
    begin_restore      -> temporary-/permanent-restore-in-progress
    (its time)         -> ...-restore-completed               usable; of a temporary one the copy in
                                                              the archive stays, and is charged too
    (the period ends)  back in the archive only
    change_restore     a temporary one gets another period, or becomes permanent at once

How long archiving and restoring take is said by the store's quotas (`ebsim.config.Quotas`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ebsim import refusals
from ebsim.clock import format_time
from ebsim.core.whole_numbers import ensure_whole
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId
from ebsim.results import ChargeCause, SnapshotState
from ebsim.tiering import StorageTier, TieringStatus, TierRestore, TierStatus
from ebsim.units import BLOCK_SIZE

DAY_US = 24 * 3600 * 1_000_000
RESTORE_DAYS_MAX = 180
RESTORE_DAYS_DEFAULT = 1

ARCHIVAL = "archival"
TEMPORARY_RESTORE = "temporary-restore"
PERMANENT_RESTORE = "permanent-restore"
"""The operations; a `TieringStatus` is one of them and how far it is."""

IN_PROGRESS = "in-progress"
COMPLETED = "completed"
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Tiering:
    """How a snapshot came to be in its tier, as its record has it. Times are in microseconds.

    Attributes:
        operation: The last operation.
        progress: in-progress, completed or failed.
        started_us: When that began.
        ends_us: When it is over, or was.
        detail: Why it failed, else empty.
        days: Of a temporary restore: for how many days.
        archived_us: When the copy in the archive was made; 0: there is none.
        expires_us: When the copy restored for a time goes; 0: there is none.
    """

    operation: str
    progress: str
    started_us: int
    ends_us: int
    detail: str = ""
    days: int = 0
    archived_us: int = 0
    expires_us: int = 0

    @property
    def runs(self) -> bool:
        """Whether the last operation is still going on."""
        return self.progress == IN_PROGRESS

    @property
    def status(self) -> TieringStatus:
        """EC2's word for operation and progress."""
        return TieringStatus(f"{self.operation}-{self.progress}")

    def part_done(self, whole: int, now_us: int) -> int:
        """Return how much of `whole` the last operation has done."""
        if not self.runs:
            return whole if self.progress == COMPLETED else 0
        duration = self.ends_us - self.started_us
        passed = min(max(now_us - self.started_us, 0), duration)
        return whole * passed // duration if duration else 0


def tiering_of(record: SnapshotRecord) -> Tiering | None:
    """Return how a snapshot came to be in its tier; None if it was never anywhere else."""
    return Tiering(**record.tiering) if record.tiering else None


@dataclass(frozen=True, slots=True)
class ArchiveCharge:
    """What the archive is charged with for a snapshot that is deleted.

    Attributes:
        blocks: Blocks that are in the archive.
        arriving: It is being archived: so many are there already, and have not been charged yet.
    """

    blocks: int = 0
    arriving: bool = False

    def facts(self) -> dict[str, object]:
        """Return what the journal says about it; empty for nothing."""
        if not self.blocks:
            return {}
        return {"archive_blocks": self.blocks, "arriving": self.arriving}

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> "ArchiveCharge":
        """Return what `facts` gave."""
        return cls(facts.get("archive_blocks", 0), facts.get("arriving", False))

    def events(self) -> list[tuple[ChargeCause, int]]:
        """Return cause and blocks of the ledger's entries, in the archive tier, of a deletion."""
        gone = [(ChargeCause.FREED, -self.blocks)] if self.blocks else []
        return [(ChargeCause.MOVED_IN, self.blocks), *gone] if self.arriving and gone else gone


NO_ARCHIVE_CHARGE = ArchiveCharge()


def archived_blocks(record: SnapshotRecord) -> int:
    """Return what the archive is charged with for a snapshot: all of its blocks, or nothing."""
    tiering = tiering_of(record)
    return record.full_blocks if tiering is not None and tiering.archived_us else 0


def archive_charge(record: SnapshotRecord, now_us: int) -> ArchiveCharge:
    """Return what the archive is charged with for a snapshot, should it be deleted now."""
    tiering = tiering_of(record)
    if tiering is None:
        return NO_ARCHIVE_CHARGE
    if tiering.archived_us:
        return ArchiveCharge(archived_blocks(record))
    if tiering.operation == ARCHIVAL and tiering.runs:
        return ArchiveCharge(tiering.part_done(record.full_blocks, now_us), arriving=True)
    return NO_ARCHIVE_CHARGE


def begin_archival(
    record: SnapshotRecord, images: Collection[str], now_us: int, duration_us: int
) -> SnapshotRecord:
    """Return the record of a snapshot that is on its way to the archive; nobody shares it any more.

    Args:
        record: The snapshot.
        images: The registered images it is behind.
        now_us: The time.
        duration_us: How long it will take.

    Raises:
        ConflictError: It is not completed, not in the standard tier for good, on its way already,
            or behind an image.
    """
    if record.state != SnapshotState.COMPLETED or record.deletion_wanted:
        raise refusals.snapshot_not_completed(record.snapshot_id, record.state)
    tiering = tiering_of(record)
    if tiering is not None and (tiering.runs or tiering.archived_us):
        raise refusals.tier_forbids(record.snapshot_id, _present(tiering), "archived")
    for image_id in images:
        raise refusals.snapshot_in_use(record.snapshot_id, image_id)
    begun = Tiering(ARCHIVAL, IN_PROGRESS, now_us, now_us + duration_us)
    return with_tiering(replace(record, shared_with=[], public=False), begun)


def begin_restore(
    record: SnapshotRecord, request: TierRestore, now_us: int, duration_us: int
) -> SnapshotRecord:
    """Return the record of a snapshot that is on its way from the archive.

    Raises:
        InvalidInputError: The request is none that EC2 takes.
        ConflictError: It is not in the archive only, or on its way already.
    """
    days = check_restore(request)
    tiering = tiering_of(record)
    if tiering is None or tiering.runs or not record.is_archived:
        present = "in the standard tier" if tiering is None else _present(tiering)
        raise refusals.tier_forbids(record.snapshot_id, present, "restored from the archive")
    operation = PERMANENT_RESTORE if request.permanent else TEMPORARY_RESTORE
    begun = replace(
        tiering,
        operation=operation,
        progress=IN_PROGRESS,
        started_us=now_us,
        ends_us=now_us + duration_us,
        detail="",
        days=days,
    )
    return with_tiering(record, begun)


def is_restored_for_a_time(record: SnapshotRecord) -> bool:
    """Return whether there is a copy in either tier."""
    tiering = tiering_of(record)
    return tiering is not None and bool(tiering.expires_us)


def change_restore(record: SnapshotRecord, request: TierRestore, now_us: int) -> SnapshotRecord:
    """Return the record of a snapshot restored for a time, with another period or for good.

    Its days are counted from now, so that one day ends it early.

    Raises:
        InvalidInputError: The request is none that EC2 takes.
    """
    days = check_restore(request)
    tiering = tiering_of(record)
    assert tiering is not None, "it was restored"
    if request.permanent:
        done = Tiering(PERMANENT_RESTORE, COMPLETED, now_us, now_us)
        return with_tiering(record, done)
    changed = replace(tiering, started_us=now_us, days=days, expires_us=now_us + days * DAY_US)
    return with_tiering(record, changed)


def check_restore(request: TierRestore) -> int:
    """Return for how many days a snapshot is to be restored; 0 for good.

    Raises:
        InvalidInputError: Both are asked for, or the days are no whole number from 1 to 180.
    """
    if request.permanent:
        if request.days is not None:
            raise refusals.invalid_combination(
                "Give either PermanentRestore or TemporaryRestoreDays."
            )
        return 0
    days = RESTORE_DAYS_DEFAULT if request.days is None else request.days
    ensure_whole(days, "TemporaryRestoreDays")
    if not 1 <= days <= RESTORE_DAYS_MAX:
        raise refusals.invalid_value(
            days, "TemporaryRestoreDays", f"Expected 1 to {RESTORE_DAYS_MAX} days"
        )
    return days


def archived(record: SnapshotRecord, at_us: int) -> SnapshotRecord:
    """Return the record of a snapshot whose archival is completed; its charge is the caller's."""
    tiering = tiering_of(record)
    assert tiering is not None, "it was begun"
    done = replace(tiering, progress=COMPLETED, ends_us=at_us, archived_us=at_us)
    return _unusable(record, done)


def archival_failed(record: SnapshotRecord, at_us: int, why: str) -> SnapshotRecord:
    """Return the record of a snapshot that came into use while it was being archived."""
    tiering = tiering_of(record)
    assert tiering is not None, "it was begun"
    return with_tiering(record, replace(tiering, progress=FAILED, ends_us=at_us, detail=why))


def restored(record: SnapshotRecord, at_us: int, lineage: int) -> SnapshotRecord:
    """Return the record of a snapshot that is back, full, and of a lineage number of its own."""
    tiering = tiering_of(record)
    assert tiering is not None, "it was begun"
    done = replace(tiering, progress=COMPLETED, ends_us=at_us)
    if tiering.operation == PERMANENT_RESTORE:
        done = replace(done, archived_us=0)
    else:
        done = replace(done, expires_us=at_us + tiering.days * DAY_US)
    back = replace(
        record,
        tier=StorageTier.STANDARD.value,
        apart=True,
        lineage=lineage,
        charged_blocks=record.full_blocks,
    )
    return with_tiering(back, done)


def expired(record: SnapshotRecord) -> SnapshotRecord:
    """Return the record of a snapshot whose restored copy goes; its charge is the caller's."""
    tiering = tiering_of(record)
    assert tiering is not None, "it was restored"
    return _unusable(record, replace(tiering, expires_us=0))


def _unusable(record: SnapshotRecord, tiering: Tiering) -> SnapshotRecord:
    """Return the record of a snapshot that is in the archive only, and that nobody shares."""
    gone = replace(
        record, tier=StorageTier.ARCHIVE.value, apart=False, shared_with=[], public=False
    )
    return with_tiering(gone, tiering)


def with_tiering(record: SnapshotRecord, tiering: Tiering) -> SnapshotRecord:
    """Return a record with another state between the tiers."""
    facts = {name: getattr(tiering, name) for name in Tiering.__slots__}
    return replace(record, tiering=facts)


def show_status(record: SnapshotRecord, now_us: int) -> TierStatus | None:
    """Return how far a snapshot is between the tiers; None if it was never anywhere else."""
    tiering = tiering_of(record)
    if tiering is None:
        return None
    return TierStatus(
        snapshot_id=record.snapshot_id,
        volume_id=record.volume_id,
        owner=record.owner,
        state=record.state,
        tags=dict(record.tags),
        tier=StorageTier(record.tier),
        status=tiering.status,
        detail=tiering.detail,
        progress_percent=tiering.part_done(100, now_us),
        started_us=tiering.started_us,
        archived_us=tiering.archived_us or None,
        expires_us=tiering.expires_us or None,
        full_size_bytes=record.full_blocks * BLOCK_SIZE,
    )


def in_archive(records: Collection[SnapshotRecord]) -> dict[SnapshotId, str]:
    """Return which of some snapshots are in the archive or on their way there, with a phrase."""
    found = {}
    for record in records:
        tiering = tiering_of(record)
        if tiering is not None and (tiering.archived_us or tiering.runs):
            found[record.snapshot_id] = _present(tiering)
    return found


def _present(tiering: Tiering) -> str:
    """Return where a snapshot is, in words that go on `it is ...`."""
    if tiering.runs:
        words = {
            ARCHIVAL: "being archived",
            TEMPORARY_RESTORE: "being restored from the archive",
            PERMANENT_RESTORE: "being restored from the archive",
        }
        return words[tiering.operation]
    if tiering.expires_us:
        return f"restored from the archive until {format_time(tiering.expires_us)}"
    return "in the archive tier" if tiering.archived_us else "in the standard tier"
