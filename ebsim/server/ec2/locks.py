"""LockSnapshot, UnlockSnapshot, DescribeLockedSnapshots."""

from ebsim.locking import LockMode, LockQuery, LockRequest, SnapshotLock
from ebsim.server.ec2 import documents
from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document


@OPERATIONS.add("ec2", "LockSnapshot")
def lock_snapshot(served: Served) -> Document:
    """Lock a snapshot, or change its lock."""
    given = served.parameters
    request = LockRequest(
        mode=documents.choice(LockMode, given["LockMode"], "lockMode"),
        duration_days=given.get("LockDuration"),
        expiration_us=documents.optional_micros(given.get("ExpirationDate")),
        cool_off_hours=given.get("CoolOffPeriod"),
    )
    shown = _lock(served.store.locks.lock(given["SnapshotId"], request))
    del shown["OwnerId"]
    return shown


@OPERATIONS.add("ec2", "UnlockSnapshot")
def unlock_snapshot(served: Served) -> Document:
    """Take a lock off."""
    name = served.parameters["SnapshotId"]
    served.store.locks.unlock(name)
    return {"SnapshotId": name}


@OPERATIONS.add("ec2", "DescribeLockedSnapshots")
def describe_locked_snapshots(served: Served) -> Document:
    """Return a page of locks, expired ones too."""
    given = served.parameters
    query = LockQuery(
        snapshot_ids=given.get("SnapshotIds", ()),
        filters=documents.filters(given),
        max_results=given.get("MaxResults"),
        next_token=given.get("NextToken"),
    )
    page = served.store.locks.describe(query)
    return {"Snapshots": [_lock(each) for each in page.locks], "NextToken": page.next_token}


def _lock(lock: SnapshotLock) -> Document:
    """Return EC2's LockedSnapshotsInfo."""
    return {
        "OwnerId": lock.owner,
        "SnapshotId": lock.snapshot_id,
        "LockState": lock.state.value,
        "LockDuration": lock.duration_days,
        "CoolOffPeriod": lock.cool_off_hours or None,
        "CoolOffPeriodExpiresOn": documents.optional_moment(lock.cool_off_expires_us),
        "LockCreatedOn": documents.moment(lock.created_us),
        "LockDurationStartTime": (  # its days begin when the snapshot is completed
            None if lock.expires_us is None else documents.moment(lock.duration_start_us)
        ),
        "LockExpiresOn": documents.optional_moment(lock.expires_us),
    }
