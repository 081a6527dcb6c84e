"""The archive tier, as JSON documents and as text for people."""

from collections.abc import Sequence

from ebsim.cli.layout import more, table
from ebsim.cli.output import Json, JsonValue
from ebsim.clock import format_time
from ebsim.tiering import StorageTier, TieringStatus, TierPage, TierRestored, TierStatus
from ebsim.units import format_size


def archival(record: TierStatus) -> Json:
    """Return the document of `snapshot archive`; members are those of EC2's ModifySnapshotTier."""
    return {
        "SnapshotId": record.snapshot_id,
        "TieringStartTime": format_time(record.started_us),
    }


def archival_text(record: TierStatus) -> str:
    """Return what becomes of a snapshot that is archived, in a sentence."""
    size = format_size(record.full_size_bytes)
    if record.status is TieringStatus.ARCHIVAL_COMPLETED:
        return f"{record.snapshot_id} is in the archive, which is charged {size} for it."
    if record.status is TieringStatus.ARCHIVAL_FAILED:
        return f"{record.snapshot_id} could not be archived: {record.detail}."
    return (
        f"{record.snapshot_id} is being archived; until then it can be used, and is charged as "
        f"before. The archive will be charged {size} for it."
    )


def restoration(record: TierRestored) -> Json:
    """Return the document of `snapshot unarchive`: members of EC2's RestoreSnapshotTier."""
    document: dict[str, JsonValue] = {
        "SnapshotId": record.snapshot_id,
        "RestoreStartTime": format_time(record.started_us),
        "IsPermanentRestore": record.permanent,
    }
    if not record.permanent:
        document["RestoreDuration"] = record.days
    return document


def restoration_text(record: TierRestored) -> str:
    """Return what becomes of a snapshot that is restored from the archive, in a sentence."""
    status = record.status
    if status.status.endswith("in-progress"):
        how = "for good" if record.permanent else f"for {_days(record.days)}"
        return f"{record.snapshot_id} is being restored {how}; it can be used once that is done."
    if status.expires_us is None:
        return f"{record.snapshot_id} is restored for good, and not in the archive any more."
    until = format_time(status.expires_us)
    return f"{record.snapshot_id} is restored until {until}; its copy in the archive stays."


def status(record: TierStatus) -> Json:
    """Return the document of one snapshot; members are EC2's SnapshotTierStatus."""
    document: dict[str, JsonValue] = {
        "SnapshotId": record.snapshot_id,
        "VolumeId": record.volume_id,
        "Status": record.state,
        "OwnerId": record.owner,
        "Tags": [{"Key": key, "Value": value} for key, value in record.tags.items()],
        "StorageTier": record.tier.value,
        "LastTieringStartTime": format_time(record.started_us),
        "LastTieringProgress": record.progress_percent,
        "LastTieringOperationStatus": record.status.value,
        "LastTieringOperationStatusDetail": record.detail,
    }
    if record.archived_us is not None:
        document["ArchivalCompleteTime"] = format_time(record.archived_us)
    if record.expires_us is not None:
        document["RestoreExpiryTime"] = format_time(record.expires_us)
    return document


def statuses(page: TierPage) -> Json:
    """Return the document of `snapshot tiers`; `NextToken` is there where there is more."""
    rest = {} if page.next_token is None else {"NextToken": page.next_token}
    return {"SnapshotTierStatuses": [status(record) for record in page.statuses], **rest}


def statuses_text(page: TierPage) -> str:
    """Return a table of what was ever archived, or is on its way."""
    if not page.statuses:
        return "No snapshot was ever archived."
    header = ("SNAPSHOT", "TIER", "LAST OPERATION", "DONE", "SIZE", "ARCHIVED (UTC)", "UNTIL (UTC)")
    return table([header, *_rows(page.statuses)], right={3, 4}) + more(page.next_token)


def _rows(records: Sequence[TierStatus]) -> list[tuple[str, ...]]:
    return [
        (
            record.snapshot_id,
            record.tier.value,
            record.status.value,
            f"{record.progress_percent}%",
            format_size(record.full_size_bytes),
            "" if record.archived_us is None else format_time(record.archived_us),
            _until(record),
        )
        for record in records
    ]


def _until(record: TierStatus) -> str:
    if record.expires_us is None or record.tier is StorageTier.ARCHIVE:
        return ""
    return format_time(record.expires_us)


def _days(count: int) -> str:
    return f"{count} day" if count == 1 else f"{count} days"
