"""Check: whether the store is what it says.

`structure` recomputes from the block maps, by brute force, everything the catalog keeps counters
for: charges, references, live bytes, full sizes. `data` also reads every record of every segment
that something refers to, and proves each block by its checksum, its length and its block hash. What
is found is returned, not raised: one damaged record must not hide the next.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ebsim.core.block_maps import LEAF_BLOCKS, load_page, walk_leaves
from ebsim.core.check_counts import check_counters, check_meta_records
from ebsim.core.check_images import check_images
from ebsim.core.check_indexes import check_indexes
from ebsim.core.check_maps import MapCheck
from ebsim.core.check_space import (
    META_TABLES,
    check_ledger,
    check_lineage,
    check_names,
    check_segments,
    check_versions,
)
from ebsim.core.check_values import Damage, SoundReader
from ebsim.core.check_volumes import check_tracking, check_volume_files
from ebsim.core.context import StoreContext
from ebsim.core.parallel import run_in_order
from ebsim.core.read import BlockLoader, BlockPlace
from ebsim.core.snapshots import list_snapshots
from ebsim.core.version_table import known_version_blocks
from ebsim.errors import CorruptionError, EbsimError
from ebsim.format.catalog_values import (
    BlockRecord,
    MetaRecord,
    SegmentRecord,
    Table,
    number_key,
    parse_number_key,
)
from ebsim.format.segment import ALIGNMENT
from ebsim.ids import SnapshotId
from ebsim.progress import Progress
from ebsim.results import CheckReport, Finding, SnapshotState
from ebsim.storage.catalog import CatalogReader
from ebsim.units import BLOCK_SIZE

RECORDS_AT_ONCE = 4096
"""Records looked up in one view of the catalog."""


def check_store(context: StoreContext, progress: Progress, *, data: bool) -> CheckReport:
    """Check a store's structure and, with `data`, every stored byte.

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
                check_names(reader, snapshots),
                check_indexes(reader, snapshots),
                check_images(reader, snapshots),
                check_counters(reader, snapshots),
                check_meta_records(reader),
                _check_files(context, segments),
                check_tracking(reader),
                check_volume_files(context),
            )
            for finding in _as_far_as_it_goes(part)
        ]
    live = sum(segment.live_bytes for segment in segments.values())
    read_bytes = 0
    if data:
        read_bytes, damaged = _check_data(context, damage, segments, progress)
        findings.extend(damaged)
    orphans = context.segments.stored_bytes() - live - len(segments) * ALIGNMENT
    return CheckReport(
        level="data" if data else "structure",
        snapshots=len(snapshots),
        blocks=blocks,
        read_bytes=read_bytes,
        orphan_bytes=max(0, orphans),
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
        if not _is_registered(context, segment_id):
            message = f"the file of segment {segment_id.hex()} is not this store's"
            yield Finding(kind="unknown-segment", message=message)
    for segment_id, record in known.items():
        if not record.live_bytes:
            continue  # begun by somebody just now, or left by somebody who died
        if segment_id not in present:
            if not _is_registered(context, segment_id):
                continue  # emptied and removed during the check
            message = f"the file of segment {segment_id.hex()} is missing"
            yield Finding(kind="missing-segment", message=message)
            continue
        try:
            header = context.segments.read_header(segment_id)
        except EbsimError as error:
            yield Finding(kind="corrupt-segment", message=str(error))
            continue
        if (header.segment_id, header.store_id) != (segment_id, context.header.store_id):
            message = f"the file of segment {segment_id.hex()} has another's header"
            yield Finding(kind="corrupt-segment", message=message)


def _is_registered(context: StoreContext, segment_id: bytes) -> bool:
    """Return whether a segment is known now: it may have been begun during the check."""
    with context.catalog.read() as reader:
        segments = _segments(SoundReader.examine_table(reader, Table.SEGMENTS))
    return any(record.segment_id == segment_id for record in segments.values())


def _check_data(
    context: StoreContext,
    damage: Damage,
    segments: dict[int, SegmentRecord],
    progress: Progress,
) -> tuple[int, list[Finding]]:
    """Read every live record; return the bytes read and what is damaged."""
    findings: list[Finding] = []
    damaged: dict[int, str] = {}
    loader = BlockLoader(context)
    read_bytes = 0

    def prove(task: _Task) -> str | None:
        try:
            if isinstance(task.record, BlockRecord):
                loader.load(BlockPlace(task.segment_id, task.record))
            else:
                place = task.record
                context.segments.read_record(task.segment_id, place.offset, place.extent)
        except EbsimError as error:
            return str(error)
        return None

    tasks = _live_records(context, damage, segments)
    progress.start("check", sum(record.live_bytes for record in segments.values()))
    try:
        with closing(run_in_order(lambda task: (task, prove(task)), tasks)) as proved:
            for task, wrong in proved:
                read_bytes += task.record.extent
                progress.advance(task.record.extent)
                if wrong is None or not _still_there(context, task.table, task.number):
                    continue
                if task.table is Table.BLOCKS:
                    damaged[task.number] = wrong
                else:
                    findings.append(Finding(kind="corrupt-record", message=wrong))
    finally:
        progress.finish()
    findings.extend(_as_far_as_it_goes(_blame(context, damage, damaged)))
    return read_bytes, findings


@dataclass(frozen=True, slots=True)
class _Task:
    """A live record that is to be read and proved."""

    table: Table
    number: int
    segment_id: bytes
    record: BlockRecord | MetaRecord


def _live_records(
    context: StoreContext, damage: Damage, segments: dict[int, SegmentRecord]
) -> Iterator[_Task]:
    """Yield every live record; the catalog is looked at for a short time at once."""
    for table in (Table.BLOCKS, *META_TABLES):
        start = b""
        while part := _some_records(context, damage, table, start):
            for number, record in part:
                segment = segments.get(record.segment)
                if segment is not None:
                    yield _Task(table, number, segment.segment_id, record)
            start = number_key(part[-1][0] + 1)


def _some_records(
    context: StoreContext, damage: Damage, table: Table, start: bytes
) -> list[tuple[int, BlockRecord | MetaRecord]]:
    decode = BlockRecord.decode if table is Table.BLOCKS else MetaRecord.decode
    with context.catalog.read() as reader:
        items = islice(SoundReader(reader, damage).items(table, start=start), RECORDS_AT_ONCE)
        return [(parse_number_key(key), decode(value)) for key, value in items]


def _still_there(context: StoreContext, table: Table, number: int) -> bool:
    """Tell damage from a record that was freed while the check was running."""
    with context.catalog.read() as reader:
        return reader.get(table, number_key(number)) is not None


def _blame(context: StoreContext, damage: Damage, damaged: dict[int, str]) -> Iterator[Finding]:
    """Name the snapshots and byte ranges that damaged blocks hit."""
    if not damaged:
        return
    hits: dict[int, list[tuple[SnapshotId, tuple[int, int]]]] = {block: [] for block in damaged}
    wanted = np.array(sorted(damaged), dtype="<u8")
    with context.catalog.read() as raw:
        reader = SoundReader(raw, damage)
        for record in list_snapshots(reader):
            if record.state != SnapshotState.COMPLETED:
                continue
            for leaf, page_id in walk_leaves(reader, record.root):
                blocks = known_version_blocks(reader, load_page(reader, page_id))
                for place in np.flatnonzero(np.isin(blocks, wanted)).tolist():
                    start = (leaf * LEAF_BLOCKS + place) * BLOCK_SIZE
                    end = min(start + BLOCK_SIZE, record.size_bytes)
                    hits[int(blocks[place])].append((record.snapshot_id, (start, end)))
    for block, message in damaged.items():
        yield Finding(
            kind="corrupt-block",
            message=message,
            snapshots=tuple(snapshot for snapshot, _ in hits[block]),
            ranges=tuple(span for _, span in hits[block]),
        )
