"""Checking the tables that name the few among the many, so that nobody has to look at all."""

from collections.abc import Iterator, Mapping

from ebsim.format.catalog_values import (
    NodeKind,
    NodeRecord,
    SegmentRecord,
    Table,
    number_key,
    pair_key,
    parse_number_key,
)
from ebsim.format.records import SnapshotRecord, VolumeRecord, decode_volume
from ebsim.results import Finding, SnapshotState
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


def _check_holds(
    reader: CatalogReader, snapshots: list[SnapshotRecord], volumes: list[VolumeRecord]
) -> Iterator[Finding]:
    """Look that each hold is somebody's, and keeps the map that they need."""
    needed = {(record.hold, record.root) for record in snapshots if record.hold}
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
