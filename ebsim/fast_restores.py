"""Fast snapshot restores: what is asked for and what is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from ebsim.ids import SnapshotId
from ebsim.requests import Filter


class FastRestoreState(StrEnum):
    """How far a fast restore is.

    ENABLING: it was asked for. OPTIMIZING: it is being prepared, 60 minutes for each TiB. ENABLED:
    volumes are made with credits. DISABLING: it was ended, by its account or by what happened to
    the snapshot. DISABLED: it is over.
    """

    ENABLING = "enabling"
    OPTIMIZING = "optimizing"
    ENABLED = "enabled"
    DISABLING = "disabling"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class FastRestore:
    """Fast restore of a snapshot in an Availability Zone, for one account. Times in microseconds.

    Attributes:
        snapshot_id: The snapshot.
        zone: The Availability Zone.
        owner: The account that asked for it, and pays; not always the snapshot's owner.
        state: How far it is.
        reason: Why it came to that state (EC2's `StateTransitionReason`).
        enabling_us: When it was asked for.
        optimizing_us: When it began to be optimized; None: it did not.
        enabled_us: When that was done; None: it is not, or was not.
        disabling_us: When it was ended; None: it is not.
        disabled_us: When it was over; None: it is not.
        credits: How many volumes can be made with it now; the part of the next one counts.
        credits_max: How many credits it can have at a time.
        billed_minutes: For how many minutes it is charged until now.
    """

    snapshot_id: SnapshotId
    zone: str
    owner: str
    state: FastRestoreState
    reason: str
    enabling_us: int
    optimizing_us: int | None
    enabled_us: int | None
    disabling_us: int | None
    disabled_us: int | None
    credits: Fraction
    credits_max: Fraction
    billed_minutes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FastRestoreFailure:
    """A snapshot and a zone for which a request was refused.

    Attributes:
        snapshot_id: The snapshot.
        zone: The Availability Zone.
        code: EC2's code.
        message: What happened, and what to do.
    """

    snapshot_id: SnapshotId
    zone: str
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FastRestoreReport:
    """What a request did, for each snapshot and zone: some may be refused, and others not.

    Attributes:
        successful: As they are now, in the order asked for.
        unsuccessful: What was refused, and why.
    """

    successful: tuple[FastRestore, ...]
    unsuccessful: tuple[FastRestoreFailure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FastRestoreQuery:
    """Which fast restores to return, as EC2's DescribeFastSnapshotRestores has it.

    Attributes:
        filters: availability-zone, owner-id, snapshot-id, state.
        max_results: At most so many; None: all.
        next_token: From the page before.
    """

    filters: Sequence[Filter] = ()
    max_results: int | None = None
    next_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FastRestorePage:
    """A page of fast restores.

    Attributes:
        fast_restores: In the order in which they were asked for.
        next_token: What asks for the next page; None on the last.
    """

    fast_restores: tuple[FastRestore, ...]
    next_token: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FastRestoreUse:
    """A time for which an account pays for fast restore of a snapshot in a zone.

    Attributes:
        snapshot_id: The snapshot, maybe deleted since.
        zone: The Availability Zone.
        owner: Who pays.
        start_us: From when, in microseconds.
        end_us: Until when; None: it goes on.
        minutes: What is charged until now: each minute begun, and at least 60.
    """

    snapshot_id: SnapshotId
    zone: str
    owner: str
    start_us: int
    end_us: int | None
    minutes: int
