"""ModifySnapshotTier, RestoreSnapshotTier, DescribeSnapshotTierStatus."""

from ebsim.server.ec2 import documents
from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document
from ebsim.tiering import TierQuery, TierRestore, TierStatus

ARCHIVE = "archive"


@OPERATIONS.add("ec2", "ModifySnapshotTier")
def modify_snapshot_tier(served: Served) -> Document:
    """Move a snapshot to the archive."""
    given = served.parameters
    if "StorageTier" not in given:
        raise documents.missing("storageTier")
    if given["StorageTier"] != ARCHIVE:
        raise documents.invalid(given["StorageTier"], "storageTier", ARCHIVE)
    status = served.store.tiers.archive(given["SnapshotId"])
    return {
        "SnapshotId": status.snapshot_id,
        "TieringStartTime": documents.moment(status.started_us),
    }


@OPERATIONS.add("ec2", "RestoreSnapshotTier")
def restore_snapshot_tier(served: Served) -> Document:
    """Restore a snapshot from the archive, for a time or for good."""
    given = served.parameters
    request = TierRestore(
        permanent=given.get("PermanentRestore", False), days=given.get("TemporaryRestoreDays")
    )
    restored = served.store.tiers.restore(given["SnapshotId"], request)
    return {
        "SnapshotId": restored.snapshot_id,
        "RestoreStartTime": documents.moment(restored.started_us),
        "RestoreDuration": restored.days or None,
        "IsPermanentRestore": restored.permanent,
    }


@OPERATIONS.add("ec2", "DescribeSnapshotTierStatus")
def describe_snapshot_tier_status(served: Served) -> Document:
    """Return a page of snapshots that were ever archived, or are on their way."""
    given = served.parameters
    query = TierQuery(
        filters=documents.filters(given),
        max_results=given.get("MaxResults"),
        next_token=given.get("NextToken"),
    )
    page = served.store.tiers.describe(query)
    return {
        "SnapshotTierStatuses": [_status(each) for each in page.statuses],
        "NextToken": page.next_token,
    }


def _status(status: TierStatus) -> Document:
    """Return EC2's SnapshotTierStatus."""
    return {
        "SnapshotId": status.snapshot_id,
        "VolumeId": status.volume_id,
        "Status": status.state,
        "OwnerId": status.owner,
        "Tags": documents.tag_list(status.tags),
        "StorageTier": status.tier.value,
        "LastTieringStartTime": documents.moment(status.started_us),
        "LastTieringProgress": status.progress_percent,
        "LastTieringOperationStatus": status.status.value,
        "LastTieringOperationStatusDetail": status.detail or None,
        "ArchivalCompleteTime": documents.optional_moment(status.archived_us),
        "RestoreExpiryTime": documents.optional_moment(status.expires_us),
    }
