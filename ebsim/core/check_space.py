"""Checking what the catalog says about stored blocks and segments."""

from collections import Counter as Multiset
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from ebsim.caller import Caller
from ebsim.core.check_maps import MapCheck
from ebsim.core.damaged_blocks import list_damaged
from ebsim.core.ledger import read_ledger
from ebsim.core.tier_rules import archived_blocks
from ebsim.core.volumes import source_key
from ebsim.format.catalog_values import (
    FIRST_BLOCK,
    BlockRecord,
    MetaRecord,
    NodeKind,
    NodeRecord,
    SegmentRecord,
    Table,
    hash_key,
    number_key,
    parse_number_key,
    parse_pair_key,
    parse_punch_key,
    punch_key,
)
from ebsim.format.map_page import PAGE_ENTRIES, decode_page
from ebsim.format.records import SnapshotRecord, decode_json, decode_volume
from ebsim.format.segment import ALIGNMENT
from ebsim.reports import Finding
from ebsim.storage.catalog import CatalogReader
from ebsim.tiering import StorageTier

META_TABLES = (Table.PAGE_RECORDS, Table.VERSION_RECORDS, Table.JOURNAL)


def check_versions(reader: CatalogReader, maps: MapCheck) -> Iterator[Finding]:
    """Compare the version table with the maps, and the blocks' reference counts with it."""
    references: Multiset[int] = Multiset()
    expected = maps.versions.copy()
    for queued in maps.queued_versions():
        for version in queued[maps.versions[queued]].tolist():
            message = f"version {version} is in a map, and to be freed"
            yield Finding(kind="wrong-reference", message=message)
        expected[queued] = True
    for key, value in reader.items(Table.VERSIONS):
        first = parse_number_key(key) * PAGE_ENTRIES
        page = np.asarray(decode_page(value))
        references.update(page[page >= FIRST_BLOCK].tolist())
        wanted = np.zeros(PAGE_ENTRIES, dtype=bool)
        part = expected[first : first + PAGE_ENTRIES]
        wanted[: len(part)] = part
        for place in np.flatnonzero(wanted != (page != 0)).tolist():
            state = "is in no map" if page[place] else "is in a map but freed"
            yield Finding(kind="wrong-reference", message=f"version {first + place} {state}")
        expected[first : first + PAGE_ENTRIES] = False
    for version in np.flatnonzero(expected).tolist():
        yield Finding(kind="wrong-reference", message=f"version {version} is in a map but freed")
    yield from _check_blocks(reader, references)


def _check_blocks(reader: CatalogReader, references: "Multiset[int]") -> Iterator[Finding]:
    count = 0
    damaged = {block_hash: block_id for block_id, block_hash in list_damaged(reader)}
    for key, value in reader.items(Table.BLOCKS):
        block_id, record = parse_number_key(key), BlockRecord.decode(value)
        count += 1
        if record.references != references.pop(block_id, 0):
            yield Finding(
                kind="wrong-count",
                message=f"block {block_id}: its {record.references} references are not as counted",
            )
        found = reader.get(Table.HASHES, hash_key(record.block_hash))
        wanted = None if damaged.get(record.block_hash) == block_id else number_key(block_id)
        if found != wanted:
            yield Finding(
                kind="wrong-reference", message=f"block {block_id} is not found by its hash"
            )
    for block_id in references:
        yield Finding(kind="wrong-reference", message=f"block {block_id} is missing")
    if count != reader.count(Table.HASHES) + len(damaged):
        yield Finding(
            kind="wrong-count",
            message=f"{reader.count(Table.HASHES)} hashes are recorded for {count} blocks, of which"
            f" {len(damaged)} are damaged",
        )


def check_segments(reader: CatalogReader) -> Iterator[Finding]:
    """Compare each segment's live bytes with its records, which must not overlap."""
    extents: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for _, value in reader.items(Table.BLOCKS):
        block = BlockRecord.decode(value)
        extents[block.segment].append((block.offset, block.extent))
    for table in META_TABLES:
        for _, value in reader.items(table):
            record = MetaRecord.decode(value)
            extents[record.segment].append((record.offset, record.extent))
    for key, value in reader.items(Table.SEGMENTS):
        number, segment = parse_number_key(key), SegmentRecord.decode(value)
        name = f"segment {segment.segment_id.hex()}"
        used = sorted(extents.pop(number, []))
        live = sum(extent for _, extent in used)
        if live != segment.live_bytes:
            yield Finding(
                kind="wrong-count",
                message=f"{name}: {segment.live_bytes} live bytes are recorded, {live} counted",
            )
        yield from _check_punches(reader, number, name, used)
        end = ALIGNMENT
        for offset, extent in used:
            if offset < end or offset + extent > segment.published_end:
                yield Finding(
                    kind="wrong-reference", message=f"{name}: the record at {offset} is misplaced"
                )
            end = offset + extent
    for number in extents:
        yield Finding(kind="wrong-reference", message=f"segment {number} is missing")


def _check_punches(
    reader: CatalogReader, number: int, name: str, used: list[tuple[int, int]]
) -> Iterator[Finding]:
    """What is to be given back must not overlap what is live."""
    live = {offset for offset, _ in used}
    for key, _ in reader.items(Table.PUNCH, prefix=punch_key(number, 0)[:4]):
        offset = parse_punch_key(key)[1]
        if offset in live:
            message = f"{name}: the live record at {offset} is to be given back"
            yield Finding(kind="wrong-reference", message=message)


def check_ledger(reader: CatalogReader, snapshots: list[SnapshotRecord]) -> Iterator[Finding]:
    """Compare the sum of each snapshot's ledger entries with its charge, in each tier."""
    sums: Multiset[tuple[str, StorageTier]] = Multiset()
    for event in read_ledger(reader):
        sums[event.snapshot_id, event.tier] += event.blocks
    for record in snapshots:
        sums[record.snapshot_id, StorageTier.STANDARD] -= record.charged_blocks
        sums[record.snapshot_id, StorageTier.ARCHIVE] -= archived_blocks(record)
    for (snapshot_id, tier), difference in sums.items():
        if difference:
            message = f"{snapshot_id}: the ledger says {difference:+d} blocks more than charged"
            where = " in the archive" if tier is StorageTier.ARCHIVE else ""
            yield Finding(kind="wrong-count", message=message + where)


def check_lineage(reader: CatalogReader) -> Iterator[Finding]:
    """Compare both directions of the lineage tree."""
    nodes = {
        parse_number_key(key): NodeRecord.decode(value) for key, value in reader.items(Table.NODES)
    }
    kept = {parse_pair_key(key) for key, _ in reader.items(Table.CHILDREN)}
    real = {(node.parent, number) for number, node in nodes.items() if node.parent}
    for parent, child in sorted(kept ^ real):
        yield Finding(
            kind="wrong-lineage", message=f"nodes {parent} and {child} do not agree on their tie"
        )
    families = Multiset(parent for parent, _ in real)
    for number, node in nodes.items():
        if node.parent and node.parent not in nodes:
            yield Finding(kind="wrong-lineage", message=f"node {number} has no parent")
        if node.kind is NodeKind.NAMELESS and families[number] < 2:
            yield Finding(kind="wrong-lineage", message=f"nameless node {number} has no use")


def check_names(reader: CatalogReader, snapshots: list[SnapshotRecord]) -> Iterator[Finding]:
    """Compare the tables by which volumes, their snapshots, sources and events are found."""
    volumes = {key.decode() for key in reader.keys(Table.VOLUMES)}
    for record in snapshots:
        if record.volume_id not in volumes and not record.epoch:  # managed ones may be deleted
            message = f"{record.snapshot_id}: its volume {record.volume_id} is missing"
            yield Finding(kind="wrong-reference", message=message)
    kept = {key: value.decode() for key, value in reader.items(Table.VOLUME_SNAPSHOTS)}
    real = {
        record.volume_id.encode() + number_key(record.node): record.snapshot_id
        for record in snapshots
        if record.node
    }
    for _, snapshot_id in sorted(set(kept.items()) ^ set(real.items())):
        message = f"{snapshot_id}: it is not listed as its volume's snapshot, or is but should not"
        yield Finding(kind="wrong-reference", message=message)
    named = {decode_json(value).get("volume_id") for _, value in reader.items(Table.SOURCES)}
    for volume in sorted(volumes - named):
        message = f"no source is remembered for {volume}"
        if not _source_moved_on(reader, volume):
            yield Finding(kind="wrong-reference", message=message)
    if reader.count(Table.LEDGER) != reader.count(Table.LEDGER_BY_SNAPSHOT):
        message = "the ledger and its index by snapshot do not have the same number of entries"
        yield Finding(kind="wrong-count", message=message)


def _source_moved_on(reader: CatalogReader, volume: str) -> bool:
    """Return whether a volume is managed, or another one was begun for its source."""
    value = reader.get(Table.VOLUMES, volume.encode())
    if value is None:
        return True  # reported already
    record = decode_volume(value)
    owner = Caller(record.owner, record.region)
    return record.managed or reader.get(Table.SOURCES, source_key(owner, record.source)) is not None
