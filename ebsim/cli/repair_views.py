"""From the report of a repair to text and to its JSON document."""

from ebsim.cli.layout import count
from ebsim.cli.output import Json, printable
from ebsim.reports import RepairedRecord, RepairReport
from ebsim.units import format_size

_SOURCES = {
    "record": "what is left of its record",
    "volume": "the data of its volume, {where}",
    "source": "its source, {where}",
    "copy": "another copy, {where}",
    "store": "the store {where}",
    "catalog": "the catalog",
}
_RANGES_SHOWN = 3


def repair_document(report: RepairReport) -> Json:
    """Return the document of `repair`."""
    return {
        "DryRun": report.dry_run,
        "Healthy": not report.unhealed,
        "ReadSizeInBytes": report.read_bytes,
        "Records": [_record(record) for record in report.records],
    }


def _record(record: RepairedRecord) -> Json:
    hits = zip(record.snapshots, record.ranges, strict=True)
    return {
        "Kind": record.kind,
        "SegmentId": record.segment_id,
        "Offset": record.offset,
        "StoredSizeInBytes": record.size_bytes,
        "Message": record.message,
        "Healed": record.healed,
        "Remedy": record.remedy or None,
        "From": record.where or None,
        "SetAside": record.set_aside or None,
        "Snapshots": [
            {"SnapshotId": snapshot_id, "Start": start, "End": end}
            for snapshot_id, (start, end) in hits
        ],
    }


def repair_text(report: RepairReport) -> str:
    """Return the text of `repair`."""
    read = f"every stored byte read and proved ({format_size(report.read_bytes)})"
    if not report.records:
        return f"Nothing is damaged: {read}."
    lines = [line for record in report.records for line in _lines(record, report.dry_run)]
    healed = len(report.records) - len(report.unhealed)
    verb = "would be healed" if report.dry_run else "healed"
    lines.append(f"{count(len(report.records), 'damaged record')}, {healed:,} {verb}: {read}.")
    kept = sum(bool(record.set_aside) for record in report.records)
    if kept:
        lines.append(f"What was damaged is kept in set-aside: {count(kept, 'file')}.")
    if report.unhealed:
        lines += _unhealed(report)
    return "\n".join(lines)


def _lines(record: RepairedRecord, dry_run: bool) -> list[str]:
    hits = list(zip(record.snapshots, record.ranges, strict=True))
    shown = [
        f"  hits {snapshot_id}, bytes {start:,} to {end:,}"
        for snapshot_id, (start, end) in hits[:_RANGES_SHOWN]
    ]
    if len(hits) > _RANGES_SHOWN:
        shown.append(f"  hits {len(hits) - _RANGES_SHOWN:,} more; --json tells them all")
    outcome = "not healed yet"
    if record.remedy == "sound":
        outcome = "its bytes are sound again"
    elif record.healed:
        source = _SOURCES[record.remedy].format(where=printable(record.where))
        outcome = f"{'would be healed' if dry_run else 'healed'} from {source}"
    return [f"{record.kind}: {printable(record.message)}", *shown, f"  {outcome}"]


def _unhealed(report: RepairReport) -> list[str]:
    """Say what heals what is left, and what to type."""
    lines = [f"Damaged: {count(len(report.unhealed), 'record')}."]
    blocks = [record for record in report.unhealed if record.kind == "block"]
    if blocks:
        lines.append(
            "A block is healed by the next snapshot that has its content, or from another store:"
        )
        lines.append("  next: ebsim repair --from STORE")
    hit = next((record for record in blocks if record.snapshots), None)
    if hit is not None:
        lines.append(f"  next: ebsim restore {hit.snapshots[0]} TARGET --damaged zero")
    return lines
