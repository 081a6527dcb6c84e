"""Locks on snapshots, as JSON documents and as text for people."""

from collections.abc import Sequence

from ebsim.cli.layout import table
from ebsim.cli.output import Json, JsonValue
from ebsim.clock import format_time
from ebsim.locking import LockState, SnapshotLock


def lock_document(lock: SnapshotLock) -> Json:
    """Return the document of one lock; members are EC2's LockedSnapshotsInfo."""
    document: dict[str, JsonValue] = {
        "SnapshotId": lock.snapshot_id,
        "OwnerId": lock.owner,
        "LockState": lock.state.value,
        "LockDuration": lock.duration_days,
        "LockCreatedOn": format_time(lock.created_us),
        "LockDurationStartTime": format_time(lock.duration_start_us),
    }
    if lock.cool_off_expires_us is not None:
        document["CoolOffPeriod"] = lock.cool_off_hours
        document["CoolOffPeriodExpiresOn"] = format_time(lock.cool_off_expires_us)
    if lock.expires_us is not None:
        document["LockExpiresOn"] = format_time(lock.expires_us)
    return document


def lock_text(lock: SnapshotLock) -> str:
    """Return what a lock forbids and until when, in a sentence."""
    until = (
        f"for {lock.duration_days} days from its completion"
        if lock.expires_us is None
        else f"until {format_time(lock.expires_us)}"
    )
    changes = ""
    if lock.state is LockState.COMPLIANCE_COOLOFF and lock.cool_off_expires_us is not None:
        changes = f"; the lock can be changed until {format_time(lock.cool_off_expires_us)}"
    elif lock.state is LockState.COMPLIANCE:
        changes = "; the lock can only be made longer"
    return f"{lock.snapshot_id} is locked {until} ({lock.state.value}){changes}."


def locks_document(locks: Sequence[SnapshotLock]) -> Json:
    """Return the document of `snapshot locks`."""
    return {"Snapshots": [lock_document(lock) for lock in locks]}


def locks_text(locks: Sequence[SnapshotLock]) -> str:
    """Return a table of locks."""
    if not locks:
        return "No locks."
    rows = [
        (
            lock.snapshot_id,
            lock.state.value,
            f"{lock.duration_days} days",
            "" if lock.expires_us is None else format_time(lock.expires_us),
        )
        for lock in locks
    ]
    return table([("SNAPSHOT", "STATE", "FOR", "UNTIL (UTC)"), *rows], set())
