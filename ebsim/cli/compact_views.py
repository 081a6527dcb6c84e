"""From the report of a compaction to text and to its JSON document."""

from ebsim.cli.layout import count
from ebsim.cli.output import Json, printable
from ebsim.reports import CompactReport
from ebsim.units import format_size


def compaction_document(report: CompactReport) -> Json:
    """Return the document of `compact`."""
    return {
        "DryRun": report.dry_run,
        "Compacted": [
            {
                "SegmentId": segment.segment_id,
                "Reason": segment.reason,
                "CopiedSizeInBytes": segment.copied_bytes,
                "ReclaimedSizeInBytes": segment.reclaimed_bytes,
            }
            for segment in report.compacted
        ],
        "CopiedSizeInBytes": report.copied_bytes,
        "ReclaimedSizeInBytes": report.reclaimed_bytes,
        "Damaged": [
            {"SegmentId": record.segment_id, "Offset": record.offset, "Message": record.message}
            for record in report.damaged
        ],
        "SealedBlocks": report.sealed_blocks,
    }


def compaction_text(report: CompactReport) -> str:
    """Return the text of `compact`."""
    if not report.compacted:
        return "Nothing is worth compacting."
    did = "Would compact" if report.dry_run else "Compacted"
    summary = (
        f"{did} {count(len(report.compacted), 'segment')}:"
        f" {format_size(report.copied_bytes)} stored copied,"
        f" {format_size(report.reclaimed_bytes)} stored given back."
    )
    lines = [summary]
    lines += [f"corrupt-record: {printable(record.message)}" for record in report.damaged]
    if report.damaged:
        what = count(len(report.damaged), "record")
        lines.append(f"Damaged: {what} left in place; `ebsim check --data` tells whom that hits.")
    if report.sealed_blocks:
        blocks = count(report.sealed_blocks, "encrypted block")
        lines.append(f"Left in place: {blocks}, because their keys could not be had.")
    return "\n".join(lines)
