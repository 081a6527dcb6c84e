"""What was copied to another store, as a JSON document and as text for people."""

from ebsim.cli.layout import count
from ebsim.cli.output import Json, printable
from ebsim.off_site import CopyOutcome, OffSiteCopy, OffSiteReport
from ebsim.units import format_size


def copies_document(report: OffSiteReport) -> Json:
    """Return the document of `snapshot copy --to-store`."""
    return {
        "Store": report.store,
        "StoreId": report.store_id,
        "DryRun": report.dry_run,
        "Copies": [_copy_document(copy) for copy in report.copies],
        "ReadSizeInBytes": report.read_bytes,
        "CrossedSizeInBytes": report.crossed_bytes,
        "StoredSizeInBytes": report.stored_bytes,
    }


def _copy_document(copy: OffSiteCopy) -> Json:
    return {
        "SourceSnapshotId": copy.snapshot_id,
        "SnapshotId": copy.copy_id,
        "Outcome": copy.outcome.value,
        "Message": copy.message,
        "ParentSnapshotId": copy.parent_id,
        "Incremental": copy.incremental,
        "ReadSizeInBytes": copy.read_bytes,
        "CrossedSizeInBytes": copy.crossed_bytes,
        "StoredSizeInBytes": copy.stored_bytes,
        "ResumedSizeInBytes": copy.resumed_bytes,
    }


def copies_text(report: OffSiteReport) -> str:
    """Return the text of `snapshot copy --to-store`."""
    if not report.copies:
        return "There is no completed snapshot to copy."
    told = [copy for copy in report.copies if copy.outcome is not CopyOutcome.PRESENT]
    if len(report.copies) == 1:
        told = list(report.copies)  # a nightly `--all` need not name each one that was there
    lines = [_copy_text(copy) for copy in told]
    present = sum(copy.outcome is CopyOutcome.PRESENT for copy in report.copies)
    made = len(report.copies) - present - len(report.failed)
    store = printable(report.store)
    if report.dry_run:
        read = format_size(report.read_bytes)
        lines.append(
            f"Would copy {count(made, 'snapshot')} to {store}: {read} to be read, of which that"
            " crosses which is not there."
        )
    else:
        lines.append(f"Copied {count(made, 'snapshot')} to {store}: {_sizes(report)}.")
    if present:
        verb = "was" if present == 1 else "were"
        lines.append(f"{count(present, 'snapshot')} {verb} there already.")
    if report.failed:
        lines.append(f"Failed: {count(len(report.failed), 'snapshot')}.")
    return "\n".join(lines)


def _copy_text(copy: OffSiteCopy) -> str:
    name = copy.snapshot_id
    if copy.outcome is CopyOutcome.FAILED:
        return f"{name} failed: {printable(copy.message)}"
    if copy.outcome is CopyOutcome.PRESENT:
        return f"{name} is there as {copy.copy_id}."
    resumed = f", behind {format_size(copy.resumed_bytes)} done before" * bool(copy.resumed_bytes)
    if copy.outcome is CopyOutcome.PLANNED:
        kind = "incremental" if copy.incremental else "full"
        return (
            f"{name} would be copied: {kind}, {format_size(copy.read_bytes)} to be read{resumed}."
        )
    kind = f"incremental on {copy.parent_id}" if copy.parent_id else "full"
    return f"{name} is there as {copy.copy_id} now: {kind}, {_sizes(copy)}{resumed}."


def _sizes(told: OffSiteCopy | OffSiteReport) -> str:
    return (
        f"{format_size(told.read_bytes)} read, {format_size(told.crossed_bytes)} crossed,"
        f" {format_size(told.stored_bytes)} stored"
    )
