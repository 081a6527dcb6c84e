"""Check: whether the store is what it says.

`structure` recomputes from the block maps, by brute force, everything the catalog keeps counters
for: charges, references, live bytes, full sizes. `data` also reads every record of every segment
that something refers to, and proves each block by its checksum, its length and its block hash. What
is found is returned, not raised: one damaged record must not hide the next.
"""

from collections.abc import Iterator

from ebsim.core.check_counts import check_counters, check_meta_records
from ebsim.core.check_data import DataCheckRun, known_damage
from ebsim.core.check_domains import check_data_keys, check_domains
from ebsim.core.check_fast_restores import check_fast_restores
from ebsim.core.check_images import check_images
from ebsim.core.check_indexes import check_indexes
from ebsim.core.check_keyring import check_keyring
from ebsim.core.check_maps import MapCheck
from ebsim.core.check_sharing import check_sharing
from ebsim.core.check_space import (
    check_ledger,
    check_lineage,
    check_names,
    check_segments,
    check_versions,
)
from ebsim.core.check_started import check_started, check_started_blocks
from ebsim.core.check_values import SoundReader
from ebsim.core.check_volumes import check_attachments, check_tracking, check_volume_files
from ebsim.core.context import StoreContext
from ebsim.core.snapshots import list_snapshots
from ebsim.errors import CorruptionError, EbsimError
from ebsim.format.catalog_values import SegmentRecord, Table, parse_number_key
from ebsim.format.segment import ALIGNMENT
from ebsim.progress import Progress
from ebsim.reports import CheckReport, Finding
from ebsim.requests import DataCheck
from ebsim.storage.catalog import CatalogReader


def check_store(
    context: StoreContext, progress: Progress, data: DataCheck | None, *, keyring: bool = True
) -> CheckReport:
    """Check a store's structure and, with `data`, stored bytes.

    Args:
        context: The store.
        progress: Told how far it is.
        data: Which stored bytes are to be read; None: none.
        keyring: Whether the keyring is looked at too.

    Raises:
        StoreError: The catalog, or the folder of segments, cannot be read at all.
    """
    with context.catalog.read() as raw:
        reader = SoundReader.examine(raw)
        damage = reader.damage
        snapshots = list_snapshots(reader)
        maps = MapCheck(reader, snapshots)
        segments = _segments(reader)
        blocks = reader.count(Table.BLOCKS)
        findings = [
            finding
            for part in (
                reader.findings(),
                maps.run(),
                check_versions(reader, maps),
                check_segments(reader),
                check_ledger(reader, snapshots),
                check_lineage(reader),
                check_sharing(reader),
                check_names(reader, snapshots),
                check_indexes(reader, snapshots),
                check_images(reader, snapshots),
                check_domains(reader, snapshots),
                check_fast_restores(reader),
                check_counters(reader, snapshots),
                check_meta_records(reader),
                _check_files(context, segments),
                check_tracking(reader),
                check_attachments(reader),
                check_volume_files(context),
                check_started(context),
                check_keyring(context) if keyring else iter(()),
            )
            for finding in _as_far_as_it_goes(part)
        ]
    live = sum(segment.live_bytes for segment in segments.values())
    read_bytes, coverage, told = 0, None, set[int]()
    if data is not None:
        findings.extend(_as_far_as_it_goes(check_data_keys(context, damage)))
        findings.extend(_as_far_as_it_goes(check_started_blocks(context)))
        run = DataCheckRun(context, damage, segments, data, keep=not findings)
        coverage, damaged = run.run(progress)
        read_bytes = run.read_bytes
        findings.extend(damaged)
        told = {task.number for task, _ in run.damaged if task.table is Table.BLOCKS}
    findings.extend(_as_far_as_it_goes(known_damage(context, damage, told)))
    orphans = context.segments.stored_bytes() - live - len(segments) * ALIGNMENT
    return CheckReport(
        level="structure" if data is None else "data",
        snapshots=len(snapshots),
        blocks=blocks,
        read_bytes=read_bytes,
        orphan_bytes=max(0, orphans),
        coverage=coverage,
        findings=tuple(findings),
    )


def _as_far_as_it_goes(part: Iterator[Finding]) -> Iterator[Finding]:
    """Yield what a part of the check finds; damage that ends it is its last finding."""
    try:
        yield from part
    except CorruptionError as error:
        yield Finding(kind="corrupt-value", message=str(error))


def _segments(reader: CatalogReader) -> dict[int, SegmentRecord]:
    """Return the segments that the catalog knows, by number."""
    return {
        parse_number_key(key): SegmentRecord.decode(value)
        for key, value in reader.items(Table.SEGMENTS)
    }


def _check_files(context: StoreContext, segments: dict[int, SegmentRecord]) -> Iterator[Finding]:
    """Compare the segment files with the segments that the catalog knows."""
    present = context.segments.list_ids()
    known = {record.segment_id: record for record in segments.values()}
    for segment_id in present - known.keys():
        if _registered(context, segment_id) is None:
            message = f"the file of segment {segment_id.hex()} is not this store's"
            yield Finding(kind="unknown-segment", message=message)
    for segment_id, record in known.items():
        if not record.live_bytes:
            continue  # begun by somebody just now, or left by somebody who died
        try:
            header = context.segments.read_header(segment_id)
        except EbsimError as error:
            now = _registered(context, segment_id)
            if now is None or now.is_empty:
                continue  # emptied and removed during the check
            if segment_id in present:
                yield Finding(kind="corrupt-segment", message=str(error))
            else:
                message = f"the file of segment {segment_id.hex()} is missing"
                yield Finding(kind="missing-segment", message=message)
            continue
        if (header.segment_id, header.store_id) != (segment_id, context.header.store_id):
            message = f"the file of segment {segment_id.hex()} has another's header"
            yield Finding(kind="corrupt-segment", message=message)


def _registered(context: StoreContext, segment_id: bytes) -> SegmentRecord | None:
    """Return what is known of a segment now: it may have been begun, or emptied, meanwhile."""
    with context.catalog.read() as reader:
        segments = _segments(SoundReader.examine_table(reader, Table.SEGMENTS))
    found = (record for record in segments.values() if record.segment_id == segment_id)
    return next(found, None)
