"""Checking the tables that name the few among the many, so that nobody has to look at all."""

from collections.abc import Iterator, Mapping
from typing import Any

from ebsim.core.copied_part import CopiedPart
from ebsim.core.snapshots import TIER_DUE, tier_due_key, tier_due_us
from ebsim.format.bin_records import exit_key
from ebsim.format.catalog_values import (
    NodeKind,
    NodeRecord,
    SegmentRecord,
    Table,
    number_key,
    pair_key,
    parse_number_key,
)
from ebsim.format.life_records import decode_image
from ebsim.format.records import SnapshotRecord, VolumeRecord, decode_volume
from ebsim.reports import Finding
from ebsim.results import SnapshotState, VolumeState
from ebsim.storage.catalog import CatalogReader


def check_indexes(reader: CatalogReader, snapshots: list[SnapshotRecord]) -> Iterator[Finding]:
    """Compare what is named as pending, open or empty with what is."""
    pending = {
        record.snapshot_id.encode(): number_key(record.session)
        for record in snapshots
        if record.state == SnapshotState.PENDING or record.deletion_wanted
    }
    yield from _compare(reader, Table.PENDING_SNAPSHOTS, pending)
    unfinished = {
        record.volume_id.encode() + number_key(record.begun): record.snapshot_id.encode()
        for record in snapshots
        if record.state != SnapshotState.COMPLETED or record.deletion_wanted
    }
    yield from _compare(reader, Table.VOLUME_UNFINISHED, unfinished)
    volumes = [decode_volume(value) for _, value in reader.items(Table.VOLUMES)]
    origins = {
        record.origin_id.encode() + number_key(record.number): record.volume_id.encode()
        for record in volumes
        if record.origin_id is not None
    }
    yield from _compare(reader, Table.VOLUME_ORIGINS, origins)
    yield from _check_holds(reader, snapshots, volumes)
    yield from _compare(reader, Table.BIN_EXITS, _exits(reader, snapshots, volumes))
    yield from _check_due(reader, snapshots)
    segments = {
        parse_number_key(key): SegmentRecord.decode(value)
        for key, value in reader.items(Table.SEGMENTS)
    }
    still_open = {
        pair_key(segment.session, n): b"" for n, segment in segments.items() if segment.is_open
    }
    yield from _compare(reader, Table.OPEN_SEGMENTS, still_open)
    empty = {number_key(n): b"" for n, segment in segments.items() if segment.is_empty}
    yield from _compare(reader, Table.EMPTY_SEGMENTS, empty)


def _check_due(reader: CatalogReader, snapshots: list[SnapshotRecord]) -> Iterator[Finding]:
    """Look that the catalog knows when each snapshot next moves between the tiers."""
    moves = [(record.snapshot_id, tier_due_us(record)) for record in snapshots]
    real = {tier_due_key(name): number_key(due) for name, due in moves if due is not None}
    kept = dict(reader.items(Table.META, prefix=TIER_DUE))
    for key, _ in sorted(kept.items() ^ real.items()):
        name = key.removeprefix(TIER_DUE).decode("ascii", "replace")
        message = f"{name}: when it moves between the tiers is not as its record says"
        yield Finding(kind="wrong-reference", message=message)


def _exits(
    reader: CatalogReader, snapshots: list[SnapshotRecord], volumes: list[VolumeRecord]
) -> dict[bytes, bytes]:
    """Return what is in the Recycle Bin, by when it goes."""
    images = [decode_image(value) for _, value in reader.items(Table.IMAGES)]
    named: list[tuple[str, dict[str, Any] | None]] = [
        *((record.snapshot_id, record.recycled) for record in snapshots),
        *((image.image_id, image.recycled) for image in images),
        *(
            (volume.volume_id, volume.recycled)
            for volume in volumes
            if volume.state == VolumeState.RECOVERABLE
        ),
    ]
    return {exit_key(stay["exits_us"], name): b"" for name, stay in named if stay is not None}


def _check_holds(
    reader: CatalogReader, snapshots: list[SnapshotRecord], volumes: list[VolumeRecord]
) -> Iterator[Finding]:
    """Look that each hold is somebody's, and keeps the map that they need."""
    needed = {(record.hold, record.root) for record in snapshots if record.hold}
    parts = [CopiedPart.of(record) for record in snapshots]
    needed |= {(part.hold, part.root) for part in parts if part.hold}
    needed |= {(record.origin_hold, record.origin_root) for record in volumes if record.origin_hold}
    nodes = ((parse_number_key(key), value) for key, value in reader.items(Table.NODES))
    held = {
        (number, node.root)
        for number, node in ((number, NodeRecord.decode(value)) for number, value in nodes)
        if node.kind is NodeKind.HOLD
    }
    for number, _ in sorted(needed ^ held):
        message = f"the hold {number} and what it is needed for do not agree"
        yield Finding(kind="wrong-lineage", message=message)


def _compare(reader: CatalogReader, table: Table, real: Mapping[bytes, bytes]) -> Iterator[Finding]:
    for key, _ in sorted(set(reader.items(table)) ^ set(real.items())):
        message = f"{table.name.lower()} and what it should name do not agree on {key.hex()}"
        yield Finding(kind="wrong-reference", message=message)
