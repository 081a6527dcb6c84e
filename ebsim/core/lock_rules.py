"""The rules of locks on snapshots (semantics section 11.3). Pure: the time comes in."""

from collections.abc import Iterable
from dataclasses import dataclass

from ebsim import refusals
from ebsim.clock import format_time
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId
from ebsim.locking import LockMode, LockRequest, LockState, SnapshotLock
from ebsim.results import SnapshotState

HOUR_US = 3600 * 1_000_000
DAY_US = 24 * HOUR_US
DURATION_DAYS_MAX = 36_500
COOL_OFF_HOURS_MAX = 72

LOCKABLE = (SnapshotState.PENDING, SnapshotState.COMPLETED)


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock as a snapshot's record has it.

    Attributes:
        mode: A `LockMode` value.
        created_us: When it was put on, or changed last.
        days: For how many days.
        until_us: Until when, where an expiration was given; else 0.
        cool_off_hours: 0 for none.
    """

    mode: str
    created_us: int
    days: int
    until_us: int = 0
    cool_off_hours: int = 0

    def start_us(self, record: SnapshotRecord) -> int:
        """Return when its days begin: not before the snapshot is completed."""
        return max(self.created_us, record.completion_us or 0)

    def expires_us(self, record: SnapshotRecord) -> int | None:
        """Return when it ends; None while the snapshot is pending and has a number of days."""
        if self.until_us:
            return self.until_us
        if record.state == SnapshotState.PENDING:
            return None
        return self.start_us(record) + self.days * DAY_US

    @property
    def cool_off_us(self) -> int | None:
        """When its cooling-off period ends; None for none."""
        return self.created_us + self.cool_off_hours * HOUR_US if self.cool_off_hours else None


def lock_of(record: SnapshotRecord) -> Lock | None:
    """Return the lock on a snapshot, be it expired; None for none. One that failed has none."""
    if not record.lock or record.state == SnapshotState.ERROR:
        return None
    return Lock(**record.lock)


def lock_state(record: SnapshotRecord, now_us: int) -> LockState | None:
    """Return what the lock on a snapshot forbids at a time; None for no lock."""
    lock = lock_of(record)
    if lock is None:
        return None
    expires = lock.expires_us(record)
    if expires is not None and expires <= now_us:
        return LockState.EXPIRED
    if lock.mode == LockMode.GOVERNANCE:
        return LockState.GOVERNANCE
    cool_off = lock.cool_off_us
    if cool_off is not None and now_us < cool_off:
        return LockState.COMPLIANCE_COOLOFF
    return LockState.COMPLIANCE


def is_locked(record: SnapshotRecord, now_us: int) -> bool:
    """Return whether a snapshot cannot be deleted because of a lock."""
    return lock_state(record, now_us) not in (None, LockState.EXPIRED)


def ensure_not_locked(record: SnapshotRecord, now_us: int) -> None:
    """Refuse to delete a locked snapshot, whoever asks.

    Raises:
        ForbiddenError: It is locked.
    """
    if is_locked(record, now_us):
        raise refusals.snapshot_locked(record.snapshot_id, _until(record))


def locked_until(records: Iterable[SnapshotRecord], now_us: int) -> dict[SnapshotId, str]:
    """Return which of some snapshots are locked, with a phrase that says until when."""
    return {
        each.snapshot_id: f"locked {_until(each)}" for each in records if is_locked(each, now_us)
    }


def _until(record: SnapshotRecord) -> str:
    lock = lock_of(record)
    assert lock is not None, "it is locked"
    expires = lock.expires_us(record)
    if expires is None:
        return f"for {lock.days} days from its completion"
    return f"until {format_time(expires)}"


def new_lock(record: SnapshotRecord, request: LockRequest, now_us: int) -> Lock:
    """Return the lock that a snapshot gets.

    Raises:
        InvalidInputError: The request is none that EC2 takes.
        ConflictError: The snapshot is in error.
        ForbiddenError: It has a lock that does not allow this.
    """
    _check(request, now_us)
    if record.state not in LOCKABLE or record.deletion_wanted:
        raise refusals.snapshot_not_completed(record.snapshot_id, record.state)
    days = request.duration_days
    if days is None:
        assert request.expiration_us is not None, "it was checked"
        days = -(-(request.expiration_us - now_us) // DAY_US)
    wanted = Lock(
        mode=request.mode.value,
        created_us=now_us,
        days=days,
        until_us=request.expiration_us or 0,
        cool_off_hours=request.cool_off_hours or 0,
    )
    if lock_state(record, now_us) is LockState.COMPLIANCE:
        return _extended(record, wanted)
    return wanted


def _extended(record: SnapshotRecord, wanted: Lock) -> Lock:
    """Return the lock that one in compliance mode becomes: it can only last longer."""
    present = lock_of(record)
    assert present is not None, "it has a state"
    if wanted.mode != LockMode.COMPLIANCE:
        raise refusals.lock_forbids(record.snapshot_id, "its mode cannot be changed")
    if wanted.cool_off_hours:
        raise refusals.lock_forbids(record.snapshot_id, "it gets no other cooling-off period")
    if _end(record, wanted) < _end(record, present):
        raise refusals.lock_forbids(record.snapshot_id, "it cannot be made shorter")
    return wanted


def _end(record: SnapshotRecord, lock: Lock) -> int:
    """Return a number by which the ends of two locks on one snapshot are compared."""
    expires = lock.expires_us(record)
    return lock.days * DAY_US if expires is None else expires


def ensure_unlockable(record: SnapshotRecord, now_us: int) -> None:
    """Refuse to take a lock off that must stay, or that is not there.

    Raises:
        ConflictError: There is no lock, or it has expired.
        ForbiddenError: It is in compliance mode, and its cooling-off period is over.
    """
    state = lock_state(record, now_us)
    if state is None or state is LockState.EXPIRED:
        raise refusals.not_locked(record.snapshot_id)
    if state is LockState.COMPLIANCE:
        raise refusals.lock_forbids(record.snapshot_id, "it cannot be taken off")


def show_lock(record: SnapshotRecord, now_us: int) -> SnapshotLock | None:
    """Return a snapshot's lock as a user sees it; None for none."""
    lock, state = lock_of(record), lock_state(record, now_us)
    if lock is None or state is None:
        return None
    return SnapshotLock(
        snapshot_id=record.snapshot_id,
        owner=record.owner,
        state=state,
        mode=LockMode(lock.mode),
        created_us=lock.created_us,
        duration_days=lock.days,
        duration_start_us=lock.start_us(record),
        cool_off_hours=lock.cool_off_hours,
        cool_off_expires_us=lock.cool_off_us,
        expires_us=lock.expires_us(record),
    )


def _check(request: LockRequest, now_us: int) -> None:
    if (request.duration_days is None) == (request.expiration_us is None):
        raise refusals.invalid_combination("Give either a LockDuration or an ExpirationDate.")
    days = request.duration_days
    if days is not None and not 1 <= days <= DURATION_DAYS_MAX:
        raise refusals.invalid_value(
            days, "LockDuration", f"Expected 1 to {DURATION_DAYS_MAX} days"
        )
    until = request.expiration_us
    if until is not None and not DAY_US <= until - now_us <= DURATION_DAYS_MAX * DAY_US:
        raise refusals.invalid_value(
            until, "ExpirationDate", "Expected a time at least one day ahead, and within 100 years"
        )
    hours = request.cool_off_hours
    if hours is None:
        return
    if request.mode is not LockMode.COMPLIANCE:
        raise refusals.invalid_combination("A CoolOffPeriod belongs to compliance mode.")
    if not 1 <= hours <= COOL_OFF_HOURS_MAX:
        raise refusals.invalid_value(
            hours, "CoolOffPeriod", f"Expected 1 to {COOL_OFF_HOURS_MAX} hours"
        )
