"""The archive tier of snapshots: what is asked for and what is told.

The words are those of EC2's ModifySnapshotTier, RestoreSnapshotTier and DescribeSnapshotTierStatus.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ebsim.ids import SnapshotId, VolumeId

if TYPE_CHECKING:
    from ebsim.requests import Filter


class StorageTier(StrEnum):
    """Where a snapshot is: one that is restored for a time reads `standard`."""

    STANDARD = "standard"
    ARCHIVE = "archive"


class TieringStatus(StrEnum):
    """How far the last operation between the tiers is."""

    ARCHIVAL_IN_PROGRESS = "archival-in-progress"
    ARCHIVAL_COMPLETED = "archival-completed"
    ARCHIVAL_FAILED = "archival-failed"
    TEMPORARY_RESTORE_IN_PROGRESS = "temporary-restore-in-progress"
    TEMPORARY_RESTORE_COMPLETED = "temporary-restore-completed"
    TEMPORARY_RESTORE_FAILED = "temporary-restore-failed"
    PERMANENT_RESTORE_IN_PROGRESS = "permanent-restore-in-progress"
    PERMANENT_RESTORE_COMPLETED = "permanent-restore-completed"
    PERMANENT_RESTORE_FAILED = "permanent-restore-failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class TierRestore:
    """How a snapshot is to be restored from the archive.

    Attributes:
        permanent: For good: the copy in the archive goes.
        days: For so many days, 1 to 180; None: for one, unless it is permanent.
    """

    permanent: bool = False
    days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TierStatus:
    """A snapshot that was ever archived, or is on its way. Times are in microseconds.

    Attributes:
        snapshot_id: The snapshot.
        volume_id: The volume it was taken of.
        owner: The account it belongs to.
        state: A `SnapshotState` value; it stays `completed` throughout.
        tags: Key to value.
        tier: Where it is.
        status: How far the last operation is.
        detail: Why that failed, else empty.
        progress_percent: 0 to 100.
        started_us: When that operation began.
        archived_us: When it was in the archive; None unless a copy of it is there.
        expires_us: When the copy that was restored for a time goes; None for none.
        full_size_bytes: What the archive is charged with while it has a copy.
    """

    snapshot_id: SnapshotId
    volume_id: VolumeId
    owner: str
    state: str
    tags: Mapping[str, str]
    tier: StorageTier
    status: TieringStatus
    detail: str
    progress_percent: int
    started_us: int
    archived_us: int | None
    expires_us: int | None
    full_size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TierRestored:
    """What EC2 answers to RestoreSnapshotTier. Times are in microseconds.

    Attributes:
        snapshot_id: The snapshot.
        permanent: Whether it is restored for good.
        days: For how many days; 0 for good.
        started_us: When the restore began, or the period was changed.
        status: The snapshot now.
    """

    snapshot_id: SnapshotId
    permanent: bool
    days: int
    started_us: int
    status: TierStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class TierQuery:
    """Which snapshots to return, as DescribeSnapshotTierStatus has it; all that is given must hold.

    Attributes:
        snapshot_ids: Of these; others are left out.
        filters: snapshot-id, volume-id, last-tiering-operation (`TieringStatus` values).
        max_results: At most this many on a page, 5 to 1,000; more is cut to 1,000.
        next_token: What the page before answered with; the rest of the query must be the same.
    """

    snapshot_ids: Sequence[str] = ()
    filters: "Sequence[Filter]" = ()
    max_results: int | None = None
    next_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TierPage:
    """A page of them, in the order in which the snapshots were begun; a token, or None."""

    statuses: tuple[TierStatus, ...]
    next_token: str | None
