"""From the engine's records to the JSON contract of the command line.

One pure function for each type. Names follow the EC2 API where it has one; sizes are in bytes and
say which size they are: `...ChargedSizeInBytes`, `StoredSizeInBytes`. Members are only ever added.
"""

from collections.abc import Sequence

from ebsim.cli.next_steps import next_command
from ebsim.cli.output import Json, JsonValue
from ebsim.clock import format_time
from ebsim.reports import CheckReport, DataCoverage, Finding, RebuildReport, StoreStats
from ebsim.results import (
    ChangedBlocks,
    ChargeEvent,
    DeletedSnapshot,
    DeleteReport,
    RestoreReport,
    Snapshot,
    SnapshotPage,
)
from ebsim.units import BLOCK_SIZE, size_gib


def store_made(path: str, store_id: str) -> Json:
    """Return the document of `init`."""
    return {"Store": path, "StoreId": store_id}


def snapshot(record: Snapshot) -> Json:
    """Return the document of one snapshot. `CompletionTime` is null while it is pending."""
    completion = record.completion_time_us
    return {
        "SnapshotId": record.snapshot_id,
        "VolumeId": record.volume_id,
        "State": record.state.value,
        "StateMessage": record.state_message,
        "Progress": f"{record.progress_percent}%",
        "StartTime": format_time(record.start_time_us),
        "CompletionTime": None if completion is None else format_time(completion),
        "Description": record.description,
        "Tags": [{"Key": key, "Value": value} for key, value in record.tags.items()],
        "VolumeSize": size_gib(record.size_bytes),
        "SizeInBytes": record.size_bytes,
        "FullSnapshotSizeInBytes": record.full_size_bytes,
        "IncrementalSizeInBytes": record.incremental_size_bytes,
        "ChargedSizeInBytes": record.charged_size_bytes,
        "ParentSnapshotId": record.parent_id,
        "Source": record.source,
        "OwnerId": record.owner,
        **({"CopiedFrom": record.copied_from} if record.copied_from else {}),
        "StorageTier": record.storage_tier.value,
        **_restore_expiry(record),
        "Encrypted": record.encrypted,
        "KmsKeyId": record.kms_key_id or None,
        "DataEncryptionKeyId": record.data_encryption_key_id or None,
    }


def _restore_expiry(record: Snapshot) -> dict[str, JsonValue]:
    expires = record.restore_expiry_time_us
    return {} if expires is None else {"RestoreExpiryTime": format_time(expires)}


def snapshots(records: Sequence[Snapshot]) -> Json:
    """Return the document of `snapshot wait`."""
    return {"Snapshots": [snapshot(record) for record in records]}


def snapshot_page(page: SnapshotPage) -> Json:
    """Return the document of `snapshot list`; `NextToken` is there where there is more."""
    more = {} if page.next_token is None else {"NextToken": page.next_token}
    return {**snapshots(page.snapshots), **more}


def changed_blocks(record: ChangedBlocks) -> Json:
    """Return the document of `snapshot diff`: half-open ranges of block indices."""
    return {
        "BlockSize": BLOCK_SIZE,
        "ChangedRanges": [[start, end] for start, end in record.ranges],
        "ChangedSizeInBytes": record.block_count * BLOCK_SIZE,
    }


def deletion(report: DeleteReport) -> Json:
    """Return the document of `snapshot delete`."""
    return {
        "Deleted": [deleted_snapshot(record) for record in report.deleted],
        "DryRun": report.dry_run,
    }


def deleted_snapshot(record: DeletedSnapshot) -> Json:
    """Return what deleting one snapshot did."""
    return {
        "SnapshotId": record.snapshot_id,
        "FreedSizeInBytes": record.freed_size_bytes,
        "MovedSizeInBytes": record.moved_size_bytes,
        "MovedTo": [
            {"SnapshotId": moved.snapshot_id, "SizeInBytes": moved.size_bytes}
            for moved in record.moved_to
        ],
        "ReclaimedBytes": record.reclaimed_bytes,
        **({"WhenCompleted": True} if record.when_completed else {}),
        **bin_exit(record.recycle_bin_exit_us),
    }


def bin_exit(time_us: int | None) -> dict[str, JsonValue]:
    """Return the member that says until when something is in the Recycle Bin, or none."""
    return {} if time_us is None else {"RecycleBinExitTime": format_time(time_us)}


def history(snapshot_id: str, events: Sequence[ChargeEvent]) -> Json:
    """Return the document of `snapshot history`."""
    return {"SnapshotId": snapshot_id, "Events": [_charge_event(event) for event in events]}


def _charge_event(event: ChargeEvent) -> Json:
    document: dict[str, JsonValue] = {
        "Time": format_time(event.time_us),
        "Event": event.cause.value,
        "SnapshotId": event.snapshot_id,
        "VolumeId": event.volume_id,
        "Blocks": event.blocks,
        "SizeInBytes": event.blocks * BLOCK_SIZE,
        "StorageTier": event.tier.value,
    }
    if event.retrieved_blocks:
        document["RetrievedSizeInBytes"] = event.retrieved_blocks * BLOCK_SIZE
    if event.other_id is not None:
        document["OtherSnapshotId"] = event.other_id
    return document


def restoration(report: RestoreReport) -> Json:
    """Return the document of `restore`."""
    return {
        "SnapshotId": report.snapshot_id,
        "Target": report.target,
        "SizeInBytes": report.size_bytes,
        "WrittenSizeInBytes": report.written_bytes,
        "InPlace": report.in_place,
        "DamagedRanges": [[start, end] for start, end in report.damaged_ranges],
    }


def check(report: CheckReport) -> Json:
    """Return the document of `check`."""
    return {
        "Level": report.level,
        "Healthy": report.healthy,
        "Snapshots": report.snapshots,
        "Blocks": report.blocks,
        "ReadSizeInBytes": report.read_bytes,
        "OrphanSizeInBytes": report.orphan_bytes,
        **({} if report.coverage is None else {"Coverage": _coverage(report.coverage)}),
        "Findings": [_finding(finding) for finding in report.findings],
    }


def _coverage(coverage: DataCoverage) -> Json:
    return {
        "LiveSizeInBytes": coverage.live_bytes,
        "ProvedBeforeSizeInBytes": coverage.proved_before_bytes,
        "SamplePercent": coverage.sample_percent,
        "OlderThanSeconds": coverage.older_than_s,
        "SealedBlocks": coverage.sealed_blocks,
    }


def rebuild(report: RebuildReport) -> Json:
    """Return the document of `rebuild`."""
    return {
        "DryRun": report.dry_run,
        "Snapshots": report.snapshots,
        "Volumes": report.volumes,
        "Images": report.images,
        "Policies": report.policies,
        "Blocks": report.blocks,
        "ReadSizeInBytes": report.read_bytes,
        "UnreadableSizeInBytes": report.unreadable_bytes,
        "OldCatalog": report.old_catalog or None,
        "Findings": [_finding(finding) for finding in report.findings],
    }


def _finding(finding: Finding) -> Json:
    hits = zip(finding.snapshots, finding.ranges, strict=True)
    return {
        "Kind": finding.kind,
        "Message": finding.message,
        "Snapshots": [
            {"SnapshotId": snapshot_id, "Start": start, "End": end}
            for snapshot_id, (start, end) in hits
        ],
        "NextCommand": next_command(finding),
    }


def stats(record: StoreStats) -> Json:
    """Return the document of `stats`."""
    return {
        "Snapshots": record.snapshots,
        "Volumes": record.volumes,
        "ChargedSizeInBytes": record.charged_size_bytes,
        "ArchivedSizeInBytes": record.archived_size_bytes,
        "FullSizeInBytes": record.full_size_bytes,
        "StoredSizeInBytes": record.stored_size_bytes,
        "LiveSizeInBytes": record.live_size_bytes,
        "CatalogSizeInBytes": record.catalog_size_bytes,
        "Blocks": record.blocks,
        "Segments": record.segments,
    }
