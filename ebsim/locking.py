"""Locks on snapshots: what is asked for and what is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ebsim.ids import SnapshotId

if TYPE_CHECKING:
    from ebsim.requests import Filter


class LockMode(StrEnum):
    """How strict a lock is."""

    GOVERNANCE = "governance"
    COMPLIANCE = "compliance"


class LockState(StrEnum):
    """What a lock forbids now.

    GOVERNANCE: deleting; it can be changed and taken off. COMPLIANCE_COOLOFF: likewise, for the
    first hours of a lock in compliance mode. COMPLIANCE: deleting, and every change but a longer
    lock. EXPIRED: nothing any more.
    """

    GOVERNANCE = "governance"
    COMPLIANCE_COOLOFF = "compliance-cooloff"
    COMPLIANCE = "compliance"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRequest:
    """A lock to be put on a snapshot, or what an existing one is to become.

    Attributes:
        mode: How strict.
        duration_days: For so many days from the completion of the snapshot or, if that is
            completed, from now: 1 to 36,500; None with an expiration.
        expiration_us: Until then, in microseconds; at least a day ahead. None with a duration.
        cool_off_hours: In compliance mode, for how long it can still be changed: 1 to 72.
    """

    mode: LockMode
    duration_days: int | None = None
    expiration_us: int | None = None
    cool_off_hours: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotLock:
    """A lock on a snapshot. Times are in microseconds.

    Attributes:
        snapshot_id: The snapshot.
        owner: The account it belongs to.
        state: What it forbids now.
        mode: As it was asked for.
        created_us: When it was put on, or changed last.
        duration_days: For how many days.
        duration_start_us: When these began: at the completion, if it was locked while pending.
        cool_off_hours: 0 for none.
        cool_off_expires_us: When it ends, or ended; None for none.
        expires_us: When the lock ends, or ended; None while the snapshot is pending.
    """

    snapshot_id: SnapshotId
    owner: str
    state: LockState
    mode: LockMode
    created_us: int
    duration_days: int
    duration_start_us: int
    cool_off_hours: int
    cool_off_expires_us: int | None
    expires_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockQuery:
    """Which locks to return, as EC2's DescribeLockedSnapshots has it.

    Attributes:
        snapshot_ids: Of these snapshots; others are left out.
        states: In these states; without one, all that there are.
        filters: lock-state.
        max_results: At most this many on a page, 5 to 1,000; more is cut to 1,000.
        next_token: What the page before answered with; the rest of the query must be the same.
    """

    snapshot_ids: Sequence[str] = ()
    states: Sequence[LockState] = ()
    filters: "Sequence[Filter]" = ()
    max_results: int | None = None
    next_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockPage:
    """A page of locks, in the order in which the snapshots were begun; a token, or None."""

    locks: tuple[SnapshotLock, ...]
    next_token: str | None
