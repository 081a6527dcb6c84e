"""Check: whether the store is what it says.

`structure` recomputes from the block maps, by brute force, everything the catalog keeps counters
for: charges, references, live bytes, full sizes. `data` also reads every record of every segment
that something refers to, and proves each block by its checksum, its length and its block hash. What
is found is returned, not raised: one damaged record must not hide the next.
"""

from collections.abc import Iterator

import numpy as np

from ebsim.core.block_maps import LEAF_BLOCKS, load_page, walk_leaves
from ebsim.core.check_maps import MapCheck
from ebsim.core.check_space import (
    META_TABLES,
    check_ledger,
    check_lineage,
    check_names,
    check_segments,
    check_versions,
)
from ebsim.core.check_values import SoundReader
from ebsim.core.context import StoreContext
from ebsim.core.parallel import run_in_order
from ebsim.core.read import BlockLoader, BlockPlace
from ebsim.core.snapshots import list_snapshots
from ebsim.core.version_table import version_blocks
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


def check_store(context: StoreContext, progress: Progress, *, data: bool) -> CheckReport:
    """Check a store's structure and, with `data`, every stored byte.

    Raises:
        StoreError: The catalog, or the folder of segments, cannot be read at all.
    """
    with context.catalog.read() as raw:
        reader = SoundReader(raw)
        findings = reader.findings
        snapshots = list_snapshots(reader)
        maps = MapCheck(reader, snapshots)
        for part in (
            maps.run(),
            check_versions(reader, maps),
            check_segments(reader),
            check_ledger(reader, snapshots),
            check_lineage(reader),
            check_names(reader, snapshots),
        ):
            findings.extend(_as_far_as_it_goes(part))
        blocks = reader.count(Table.BLOCKS)
        live, count = _live_bytes(reader)
    findings.extend(_check_files(context))
    read_bytes = 0
    if data:
        read_bytes, damaged = _check_data(context, progress, live)
        findings.extend(damaged)
    orphans = context.segments.stored_bytes() - live - count * ALIGNMENT
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


def _live_bytes(reader: CatalogReader) -> tuple[int, int]:
    """Return the bytes of live records and the number of segments."""
    segments = [SegmentRecord.decode(value) for _, value in reader.items(Table.SEGMENTS)]
    return sum(segment.live_bytes for segment in segments), len(segments)


def _check_files(context: StoreContext) -> Iterator[Finding]:
    """Compare the segment files with the segments that the catalog knows."""
    present = context.segments.list_ids()
    with context.catalog.read() as reader:
        records = [SegmentRecord.decode(value) for _, value in reader.items(Table.SEGMENTS)]
    known = {record.segment_id: record for record in records}
    for segment_id, record in known.items():
        if segment_id not in present and record.live_bytes:
            yield Finding(
                kind="missing-segment", message=f"the file of segment {segment_id.hex()} is missing"
            )
    for segment_id in present - known.keys():
        yield Finding(
            kind="unknown-segment",
            message=f"the file of segment {segment_id.hex()} is not this store's",
        )
    for segment_id in known.keys() & present:
        if not known[segment_id].live_bytes:
            continue  # begun by somebody just now, or left by somebody who died
        try:
            header = context.segments.read_header(segment_id)
        except EbsimError as error:
            yield Finding(kind="corrupt-segment", message=str(error))
            continue
        if (header.segment_id, header.store_id) != (segment_id, context.header.store_id):
            yield Finding(
                kind="corrupt-segment",
                message=f"the file of segment {segment_id.hex()} has another's header",
            )


def _check_data(
    context: StoreContext, progress: Progress, live_bytes: int
) -> tuple[int, list[Finding]]:
    """Read every live record; return the bytes read and what is damaged."""
    findings: list[Finding] = []
    damaged: dict[int, str] = {}
    loader = BlockLoader(context)
    read_bytes = 0

    def prove(task: tuple[Table, int, bytes, BlockRecord | MetaRecord]) -> str | None:
        _, _, segment_id, record = task
        try:
            if isinstance(record, BlockRecord):
                loader.load(BlockPlace(segment_id, record))
            else:
                context.segments.read_record(segment_id, record.offset, record.extent)
        except EbsimError as error:
            return str(error)
        return None

    tasks = _live_records(context)
    progress.start("check", live_bytes)
    try:
        for task, wrong in run_in_order(lambda task: (task, prove(task)), tasks):
            table, number, _, record = task
            read_bytes += record.extent
            progress.advance(record.extent)
            if wrong is not None and _still_there(context, table, number):
                if table is Table.BLOCKS:
                    damaged[number] = wrong
                else:
                    findings.append(Finding(kind="corrupt-record", message=wrong))
    finally:
        progress.finish()
    findings.extend(_blame(context, damaged))
    return read_bytes, findings


def _live_records(
    context: StoreContext,
) -> Iterator[tuple[Table, int, bytes, BlockRecord | MetaRecord]]:
    """Yield every live record with its table, number and segment; a short view at a time."""
    with context.catalog.read() as reader:
        segments = {
            parse_number_key(key): SegmentRecord.decode(value).segment_id
            for key, value in reader.items(Table.SEGMENTS)
        }
    for table in (Table.BLOCKS, *META_TABLES):
        start = b""
        while part := _some_records(context, table, start):
            for key, record in part:
                segment_id = segments.get(record.segment)
                if segment_id is not None:
                    yield table, parse_number_key(key), segment_id, record
            start = number_key(parse_number_key(part[-1][0]) + 1)


def _some_records(
    context: StoreContext, table: Table, start: bytes
) -> list[tuple[bytes, BlockRecord | MetaRecord]]:
    found: list[tuple[bytes, BlockRecord | MetaRecord]] = []
    with context.catalog.read() as reader:
        for key, value in reader.items(table, start=start):
            decode = BlockRecord.decode if table is Table.BLOCKS else MetaRecord.decode
            found.append((key, decode(value)))
            if len(found) == 4096:
                break
    return found


def _still_there(context: StoreContext, table: Table, number: int) -> bool:
    """Tell damage from a record that was freed while the check was running."""
    with context.catalog.read() as reader:
        return reader.get(table, number_key(number)) is not None


def _blame(context: StoreContext, damaged: dict[int, str]) -> Iterator[Finding]:
    """Name the snapshots and byte ranges that damaged blocks hit."""
    if not damaged:
        return
    hits: dict[int, list[tuple[SnapshotId, tuple[int, int]]]] = {block: [] for block in damaged}
    wanted = np.array(sorted(damaged), dtype="<u8")
    with context.catalog.read() as reader:
        for record in list_snapshots(reader):
            if record.state != SnapshotState.COMPLETED:
                continue
            for leaf, page_id in walk_leaves(reader, record.root):
                blocks = version_blocks(reader, load_page(reader, page_id))
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
