"""From the engine's records to text for people.

One pure function for each type, as in `json_views`. Each size says whether it is charged or stored,
in the word beside it or in the heading of its column.
"""

from collections.abc import Sequence

from ebsim.cli.layout import blocks, count, exact, more, pairs, table
from ebsim.cli.next_steps import REPAIR, next_command
from ebsim.cli.output import printable
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
    SnapshotState,
)
from ebsim.tiering import StorageTier
from ebsim.units import BLOCK_SIZE, MIB, format_size

REMARK_WIDTH = 48
"""Characters of a description in `snapshot list`; `snapshot show` has all of it."""


def store_made(path: str, store_id: str) -> str:
    """Return the text of `init`."""
    return f"Made an empty store in {printable(path)} (store id {store_id})."


def created(record: Snapshot, totals: StoreStats) -> str:
    """Return the text of `snapshot create`: the snapshot, and what the store holds now."""
    return (
        f"Created {record.snapshot_id} of {printable(record.source)}: {_kind(record)}.\n"
        f"  charged    {format_size(record.charged_size_bytes)} for the blocks it added\n"
        f"  full size  {format_size(record.full_size_bytes)} of blocks written,"
        f" in a source of {format_size(record.size_bytes)}\n"
        f"  volume     {record.volume_id}\n"
        f"{store_totals(totals)}"
    )


def _kind(record: Snapshot) -> str:
    encrypted = "encrypted, " if record.encrypted else ""
    return encrypted + (f"incremental on {record.parent_id}" if record.parent_id else "full")


def snapshot_copied(record: Snapshot, totals: StoreStats) -> str:
    """Return the text of `snapshot copy`."""
    return (
        f"Made {record.snapshot_id}: {_kind(record)},"
        f" charged {format_size(record.charged_size_bytes)} for the blocks it added.\n"
        f"{store_totals(totals)}"
    )


def created_of_volumes(records: Sequence[Snapshot], totals: StoreStats) -> str:
    """Return the text of `snapshot create` of managed volumes, once they are completed."""
    lines = [
        f"Created {record.snapshot_id} of {record.volume_id}: {_kind(record)},"
        f" charged {format_size(record.charged_size_bytes)} for the blocks it added."
        for record in records
    ]
    return "\n".join([*lines, store_totals(totals)])


def left_pending(records: Sequence[Snapshot], process: int) -> str:
    """Return the text of `snapshot create --no-wait`."""
    names = " ".join(record.snapshot_id for record in records)
    return (
        f"Begun: {names}\n"
        f"Process {process} copies it. To wait for it, or to go on if it was stopped:\n"
        f"  ebsim snapshot wait {names}"
    )


def store_totals(record: StoreStats) -> str:
    """Return one line with both sizes of a store."""
    return (
        f"The store: {count(record.snapshots, 'snapshot')},"
        f" charged {format_size(record.charged_size_bytes)},"
        f" stored {format_size(record.stored_size_bytes)}."
    )


def snapshot(record: Snapshot) -> str:
    """Return the text of `snapshot show`."""
    completion = record.completion_time_us
    rows = [
        ("Snapshot", record.snapshot_id),
        ("State", _state(record)),
        ("Tier", _tier(record)),
        ("Reason", printable(record.state_message)),
        ("Started", format_time(record.start_time_us)),
        ("Completed", "" if completion is None else format_time(completion)),
        ("Volume", record.volume_id),
        ("Source", printable(record.source)),
        ("Copied from", record.copied_from),
        ("Parent", record.parent_id or "none: it was full when it was made"),
        ("Description", printable(record.description)),
        *(("Tag", f"{printable(key)}={printable(value)}") for key, value in record.tags.items()),
        ("Size", f"{exact(record.size_bytes)}, the exact size of the source"),
        ("Full size", f"{blocks(record.full_size_bytes)} written, its own and its ancestors'"),
        ("Added", f"{blocks(record.incremental_size_bytes)} when it was made"),
        ("Charged", f"{blocks(record.charged_size_bytes)} now"),
        ("Stored", "shared between snapshots: see 'ebsim stats'"),
        *([("KMS key", record.kms_key_id)] if record.encrypted else []),
    ]
    return pairs(rows)


def snapshots(records: Sequence[Snapshot]) -> str:
    """Return the table of `snapshot list` and `snapshot wait`."""
    if not records:
        return "No snapshots."
    header = ("SNAPSHOT", "STATE", "STARTED (UTC)", "VOLUME", "SIZE", "FULL", "CHARGED", "NAME")
    rows = [
        (
            record.snapshot_id,
            _state(record),
            format_time(record.start_time_us)[:19].replace("T", " "),
            record.volume_id,
            format_size(record.size_bytes),
            format_size(record.full_size_bytes),
            format_size(record.charged_size_bytes),
            _remark(record),
        )
        for record in records
    ]
    return table([header, *rows], right={4, 5, 6})


def waited_for(records: Sequence[Snapshot], gone: Sequence[str]) -> str:
    """Return the text of `snapshot wait`; `gone` are those that were deleted while pending."""
    lines = [f"{name} was deleted while it was pending, and is gone." for name in gone]
    return "\n".join([*([snapshots(records)] if records or not gone else []), *lines])


def listing(page: SnapshotPage, totals: StoreStats) -> str:
    """Return the text of `snapshot list`: the table, and both sizes of the store."""
    return f"{snapshots(page.snapshots)}{more(page.next_token)}\n{store_totals(totals)}"


def changed_blocks(record: ChangedBlocks) -> str:
    """Return the text of `snapshot diff`."""
    if not record.ranges:
        return "No blocks differ."
    rows = [_changed_range(start, end) for start, end in record.ranges]
    shown = table([("FIRST BLOCK", "END", "BYTE OFFSET", "SIZE"), *rows], right={0, 1, 2, 3})
    size = format_size(record.block_count * BLOCK_SIZE)
    differ = "differs" if record.block_count == 1 else "differ"
    return f"{shown}\n{count(record.block_count, 'block')} {differ}: {size} before compression."


def _changed_range(start: int, end: int) -> tuple[str, ...]:
    size = format_size((end - start) * BLOCK_SIZE)
    return (f"{start:,}", f"{end:,}", f"{start * BLOCK_SIZE:,}", size)


def deletion(report: DeleteReport) -> str:
    """Return the text of `snapshot delete`: what was freed, what moved and where."""
    lines = [line for record in report.deleted for line in _deleted_snapshot(record, report)]
    if len(report.deleted) > 1:
        freed = format_size(sum(record.freed_size_bytes for record in report.deleted))
        reclaimed = format_size(sum(record.reclaimed_bytes for record in report.deleted))
        lines.append(f"Together: {freed} charged, {reclaimed} stored.")
    return "\n".join(lines)


def _deleted_snapshot(record: DeletedSnapshot, report: DeleteReport) -> list[str]:
    freed, reclaimed = format_size(record.freed_size_bytes), format_size(record.reclaimed_bytes)
    if record.when_completed:
        verb = "would go" if report.dry_run else "goes"
        wait = "" if report.dry_run else f" (`ebsim snapshot wait {record.snapshot_id}` waits)"
        return [f"{record.snapshot_id} is pending and {verb} as soon as it is completed{wait}."]
    if record.recycle_bin_exit_us is not None:
        verb, until = "Would move" if report.dry_run else "Moved", record.recycle_bin_exit_us
        stays = f"to the Recycle Bin until {format_time(until)}, with its charge; nothing is freed"
        return [f"{verb} {record.snapshot_id} {stays}."]
    if report.dry_run:
        head, verb = "Would delete", "would move"
        does = f"would free {freed} charged and reclaim {reclaimed} stored"
    else:
        head, verb = "Deleted", "moved"
        does = f"freed {freed} charged and reclaimed {reclaimed} stored"
    lines = [f"{head} {record.snapshot_id}: {does}."]
    for moved in record.moved_to:
        size = format_size(moved.size_bytes)
        lines.append(f"  {verb} {size} charged to {moved.snapshot_id}, which needs the blocks")
    return lines


def history(events: Sequence[ChargeEvent]) -> str:
    """Return the text of `snapshot history`: what it was charged, and why that changed."""
    if not events:
        return "No charge was ever made."
    rows = [
        (
            format_time(event.time_us),
            event.cause.value,
            f"{event.blocks:+,}",
            format_size(event.blocks * BLOCK_SIZE),
            event.other_id or _of_archive(event),
        )
        for event in events
    ]
    shown = table([("TIME", "EVENT", "BLOCKS", "CHARGED", "OTHER SNAPSHOT"), *rows], right={2, 3})
    standard, archive = (
        sum(event.blocks for event in events if event.tier is tier) * BLOCK_SIZE
        for tier in (StorageTier.STANDARD, StorageTier.ARCHIVE)
    )
    also = f", and {blocks(archive)} in the archive" if archive else ""
    return f"{shown}\nCharged now: {blocks(standard)}{also}."


def _of_archive(event: ChargeEvent) -> str:
    """Return what an entry of the archive tier has in the place of another snapshot."""
    if event.retrieved_blocks:
        return f"{format_size(event.retrieved_blocks * BLOCK_SIZE)} read from the archive"
    return "in the archive" if event.tier is StorageTier.ARCHIVE else ""


def restoration(report: RestoreReport) -> str:
    """Return the text of `restore`."""
    rest = "the rest was equal already" if report.in_place else "the rest is holes"
    if report.written_bytes >= report.size_bytes:
        written = "all of it was written"
    else:
        written = f"{format_size(report.written_bytes)} of it was written, {rest}"
    line = (
        f"Restored {report.snapshot_id} to {printable(report.target)}:"
        f" {exact(report.size_bytes)}; {written}."
    )
    if report.whole:
        return line
    lost = sum(end - start for start, end in report.damaged_ranges)
    ranges = [f"  zeros: bytes {start:,} to {end:,}" for start, end in report.damaged_ranges]
    damage = f"Damaged: {exact(lost)} of it are lost, and were written as zeros."
    return "\n".join([line, *ranges, damage, f"  next: {REPAIR}"])


def check(report: CheckReport) -> str:
    """Return the text of `check`."""
    whole = f"{count(report.snapshots, 'snapshot')} and {count(report.blocks, 'block')} stored"
    lines = [f"{whole}: {_depth(report)}."]
    if report.orphan_bytes >= MIB:  # less is the file system's own overhead
        orphans = format_size(report.orphan_bytes)
        lines.append(f"{orphans} stored belong to nothing, which is harmless.")
    if report.healthy:
        return "\n".join([*lines, "Healthy."])
    for finding in report.findings:
        lines += _finding(finding)
    return "\n".join([*lines, f"Damaged: {count(len(report.findings), 'finding')}."])


def _depth(report: CheckReport) -> str:
    """Say how much was checked, so that nobody takes a part for the whole."""
    coverage, read = report.coverage, format_size(report.read_bytes)
    if coverage is None:
        return "structure checked; --data also reads and proves every stored byte"
    if coverage.complete:
        return f"every stored byte read and proved ({read}){_sealed(coverage)}"
    what = "what was not proved lately"
    if coverage.sample_percent is not None:
        of = "" if coverage.older_than_s is None else f" of {what}"
        what = f"a sample of {coverage.sample_percent:g} %{of}"
    shown = f"{what} read and proved ({read} of {format_size(coverage.live_bytes)} stored)"
    shown += _sealed(coverage)
    if coverage.older_than_s is None:
        return shown
    before = format_size(coverage.proved_before_bytes)
    return f"{shown}; {before} stored were proved before and not read again"


def _sealed(coverage: DataCoverage) -> str:
    """Say what was not proved in full for lack of keys."""
    if not coverage.sealed_blocks:
        return ""
    blocks_ = count(coverage.sealed_blocks, "encrypted block")
    return f"; {blocks_} by their checksums alone, as the keys could not be had"


def rebuild(report: RebuildReport) -> str:
    """Return the text of `rebuild`."""
    verb = "Would make" if report.dry_run else "Made"
    policies = "1 policy" if report.policies == 1 else f"{report.policies:,} policies"
    made = (
        f"{verb} the catalog again: {count(report.snapshots, 'snapshot')},"
        f" {count(report.volumes, 'volume')}, {count(report.images, 'image')},"
        f" {policies},"
        f" {count(report.blocks, 'block')} stored;"
        f" every stored byte read and proved ({format_size(report.read_bytes)})."
    )
    lines = [made]
    if report.unreadable_bytes:
        kept = exact(report.unreadable_bytes)
        lines.append(f"{kept} in segments are neither records nor holes, and are kept.")
    if report.old_catalog:
        lines.append(f"The old catalog is in {report.old_catalog}.")
    for finding in report.findings:
        lines += _finding(finding)
    if report.findings:
        lines.append(f"Damaged: {count(len(report.findings), 'finding')}.")
    return "\n".join(lines)


def _finding(finding: Finding) -> list[str]:
    command = next_command(finding)
    hits = zip(finding.snapshots, finding.ranges, strict=True)
    return [
        f"{finding.kind}: {printable(finding.message)}",
        *(
            f"  hits {snapshot_id}, bytes {start:,} to {end:,}"
            for snapshot_id, (start, end) in hits
        ),
        *([] if command is None else [f"  next: {command}"]),
    ]


def stats(record: StoreStats) -> str:
    """Return the text of `stats`."""
    stored, live = format_size(record.stored_size_bytes), format_size(record.live_size_bytes)
    made_of = f"{count(record.blocks, 'block')} in {count(record.segments, 'segment')}"
    return pairs(
        [
            ("Snapshots", f"{record.snapshots:,} of {count(record.volumes, 'volume')}"),
            ("Full size", f"{format_size(record.full_size_bytes)}, if each were a full copy"),
            ("Charged", f"{format_size(record.charged_size_bytes)}, as EBS charges for blocks"),
            *(
                [("Archived", f"{format_size(record.archived_size_bytes)}, charged there in full")]
                if record.archived_size_bytes
                else []
            ),
            ("Stored", f"{stored} on disk, {live} of it live: {made_of}"),
            ("Catalog", f"{format_size(record.catalog_size_bytes)} on disk"),
        ]
    )


def _state(record: Snapshot) -> str:
    if record.state is SnapshotState.PENDING:
        return f"{record.state.value} {record.progress_percent}%"
    archived = record.storage_tier is StorageTier.ARCHIVE
    return f"{record.state.value}, archived" if archived else record.state.value


def _tier(record: Snapshot) -> str:
    """Return where a snapshot is, unless it is where all are."""
    if record.storage_tier is StorageTier.ARCHIVE:
        return "archive: it cannot be read until it is restored ('ebsim snapshot unarchive')"
    expires = record.restore_expiry_time_us
    return "" if expires is None else f"standard until {format_time(expires)}, then archive"


def _remark(record: Snapshot) -> str:
    """Return the Name tag and the description, as much of them as a table has room for."""
    parts = [text for text in (record.tags.get("Name", ""), record.description) if text]
    if record.state is SnapshotState.PENDING and record.state_message:
        parts = [record.state_message]  # that it fails, or goes
    remark = printable(": ".join(parts))
    return remark if len(remark) <= REMARK_WIDTH else remark[: REMARK_WIDTH - 1] + "…"
