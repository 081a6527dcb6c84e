"""Rebuilding, last part: writing the new catalog."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from ebsim.core.damaged_blocks import damaged_key
from ebsim.core.image_links import link_key
from ebsim.core.image_settling import settled
from ebsim.core.ledger import record_events
from ebsim.core.rebuild_journal import History
from ebsim.core.rebuild_maps import LOST_EXTENT, Blocks, Needs
from ebsim.core.rebuild_scan import JournalEntry, Place, Scan
from ebsim.core.snapshots import put_snapshot
from ebsim.core.space import put_segment
from ebsim.core.volumes import source_key
from ebsim.format.account_records import encode_settings, settings_key
from ebsim.format.bin_records import encode_rule, exit_key
from ebsim.format.block_hash import BlockHash
from ebsim.format.catalog_values import (
    FIRST_BLOCK,
    BlockRecord,
    Counter,
    MetaRecord,
    NodeRecord,
    SegmentRecord,
    SegmentState,
    Table,
    hash_key,
    number_key,
    pair_key,
    punch_key,
)
from ebsim.format.domain_records import encode_domain
from ebsim.format.fast_restore_records import encode_fast_restore
from ebsim.format.keyring_settings import encode_keyring_settings
from ebsim.format.life_records import encode_image, encode_policy
from ebsim.format.map_page import PAGE_ENTRIES, empty_page, encode_page
from ebsim.format.records import SnapshotRecord, encode_json, encode_volume
from ebsim.format.segment import ALIGNMENT, SEGMENT_ID_SIZE
from ebsim.results import ChargeEvent, VolumeState
from ebsim.storage.catalog import Catalog, CatalogWriter

T = TypeVar("T")
Entry = tuple[Table, bytes, bytes]

ENTRIES_AT_ONCE = 20_000
EVENTS_PER_COMMIT = 1 << 20
"""Events that one commit can have told: what was told is not known, and no number returns."""


@dataclass(slots=True)
class Findings:
    """All that a rebuild knows.

    Attributes:
        scan: What the segments hold.
        entries: The journal.
        history: What the journal says.
        nodes: The lineage.
        needs: What the maps refer to.
        blocks: The stored blocks.
    """

    scan: Scan
    entries: list[JournalEntry]
    history: History
    nodes: dict[int, NodeRecord]
    needs: Needs
    blocks: Blocks


@dataclass(slots=True)
class _Space:
    """Which records are referred to, and what each segment holds of them."""

    live: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    used: set[Place] = field(default_factory=set)
    lost: int = 0
    lost_end: int = ALIGNMENT

    def use(self, place: Place) -> None:
        self.used.add(place)
        self.live[place.segment] += place.extent

    def place_of_lost(self) -> Place:
        """Return a place in the segment that is not there, for a record that is lost."""
        place = Place(self.lost, self.lost_end, LOST_EXTENT)
        self.lost_end += LOST_EXTENT
        self.use(place)
        return place


def write_catalog(catalog: Catalog, known: Findings, store_id: bytes, *, tidy: bool) -> None:
    """Write everything but what concerns the live data of managed volumes.

    Args:
        catalog: The new catalog, empty.
        known: What is to be in it.
        store_id: Whose it is.
        tidy: Whether what nothing refers to may be given back: not where anything is damaged, for
            then it may be what is missed.

    Raises:
        StoreError, LimitExceededError: It cannot be written.
    """
    space = _Space(lost=len(known.scan.segments) + 1)
    _put_all(catalog, _block_entries(known, space))
    _put_all(catalog, _version_entries(known))
    _put_all(catalog, _page_entries(known))
    _put_all(catalog, _meta_entries(known, space))
    _put_all(catalog, _lineage_entries(known.nodes))
    for some in _batches(known.history.snapshots.values()):
        _put_snapshots(catalog, some)
    catalog.update(lambda writer: _put_ledger(writer, known.history.ledger))
    _put_all(catalog, _named_entries(known.history))
    _put_all(catalog, _bin_entries(known.history))
    catalog.update(lambda writer: _put_segments(writer, known.scan, space, tidy=tidy))
    if tidy:
        _put_all(catalog, _dead_entries(known.scan, space))
    catalog.update(lambda writer: _put_counters(writer, known, space, store_id))


def _put_all(catalog: Catalog, entries: Iterator[Entry]) -> None:
    while some := list(islice(entries, ENTRIES_AT_ONCE)):

        def put(writer: CatalogWriter, some: list[Entry] = some) -> None:
            for table, key, value in some:
                writer.put(table, key, value)

        catalog.update(put)


def _put_snapshots(catalog: Catalog, records: list[SnapshotRecord]) -> None:
    def put(writer: CatalogWriter) -> None:
        for record in records:
            put_snapshot(writer, record)

    catalog.update(put)


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, ENTRIES_AT_ONCE)):
        yield some


def _block_entries(known: Findings, space: _Space) -> Iterator[Entry]:
    blocks = known.blocks
    for block_hash, block_id in blocks.ids.items():
        place = blocks.places.get(block_hash)
        if place is None:
            place = space.place_of_lost()
        else:
            space.use(place)
        references = blocks.references[block_hash]
        record = BlockRecord(
            place.segment, place.offset, place.extent, references, BlockHash(block_hash)
        )
        yield Table.BLOCKS, number_key(block_id), record.encode()
        if block_hash in blocks.lost or block_hash in blocks.damaged:
            # One that is not whole must not be found: the same content is stored again.
            yield Table.META, damaged_key(block_hash), number_key(block_id)
        else:
            yield Table.HASHES, hash_key(record.block_hash), number_key(block_id)


def _version_entries(known: Findings) -> Iterator[Entry]:
    groups: dict[int, list[int]] = {}
    for version in known.needs.versions:
        groups.setdefault(version // PAGE_ENTRIES, []).append(version)
    for group, versions in sorted(groups.items()):
        page = empty_page()
        for version in versions:
            block = known.blocks.block_of(known.scan.versions, version)
            page[version % PAGE_ENTRIES] = block
        if any(page):
            yield Table.VERSIONS, number_key(group), encode_page(page)


def _page_entries(known: Findings) -> Iterator[Entry]:
    for page_id in sorted(known.needs.pages):
        yield Table.PAGES, number_key(page_id), known.scan.pages[page_id]


def _meta_entries(known: Findings, space: _Space) -> Iterator[Entry]:
    scan = known.scan
    for table, records, needed in (
        (Table.PAGE_RECORDS, scan.page_records, known.needs.pages),
        (Table.VERSION_RECORDS, scan.version_records, known.needs.versions),
    ):
        for first, (count, place) in sorted(records.items()):
            live = sum(number in needed for number in range(first, first + count))
            if live:
                space.use(place)
                record = MetaRecord(place.segment, place.offset, place.extent, count, live)
                yield table, number_key(first), record.encode()
    for version in sorted(known.blocks.lost_versions):  # so that it can be forgotten one day
        place = space.place_of_lost()
        record = MetaRecord(place.segment, place.offset, place.extent, 1, 1)
        yield Table.VERSION_RECORDS, number_key(version), record.encode()
    for entry in known.entries:
        space.use(entry.place)
        place = entry.place
        record = MetaRecord(place.segment, place.offset, place.extent, 1, 1)
        yield Table.JOURNAL, number_key(entry.sequence), record.encode()


def _lineage_entries(nodes: Mapping[int, NodeRecord]) -> Iterator[Entry]:
    for number, node in sorted(nodes.items()):
        yield Table.NODES, number_key(number), node.encode()
        if node.parent:
            yield Table.CHILDREN, pair_key(node.parent, number), b""


def _put_ledger(writer: CatalogWriter, events: list[ChargeEvent]) -> None:
    of_commit: dict[int, list[ChargeEvent]] = {}
    for event in events:
        of_commit.setdefault(event.sequence, []).append(event)
    for some in of_commit.values():
        record_events(writer, some)


def _named_entries(history: History) -> Iterator[Entry]:
    """Yield volumes, the sources that are remembered as them, images and policies."""
    for volume in history.volumes.values():
        yield Table.VOLUMES, volume.volume_id.encode(), encode_volume(volume)
        if volume.managed and volume.origin_id is not None:
            key = volume.origin_id.encode() + number_key(volume.number)
            yield Table.VOLUME_ORIGINS, key, volume.volume_id.encode()
    for (owner, identity), volume_id in history.sources.items():
        facts = {"identity": identity, "volume_id": volume_id}
        yield Table.SOURCES, source_key(owner, identity), encode_json(facts)
    for image in history.images.values():
        known = encode_image(settled(image, history.snapshots))
        yield Table.IMAGES, image.image_id.encode(), known
        if image.recycled is not None:
            continue  # it holds its snapshots no more
        for snapshot_id in image.snapshot_ids:
            yield Table.IMAGE_SNAPSHOTS, link_key(snapshot_id, image.image_id), b""
    for policy in history.policies.values():
        yield Table.POLICIES, policy.policy_id.encode(), encode_policy(policy)
    for caller, settings in history.settings.items():
        yield Table.ACCOUNTS, settings_key(caller), encode_settings(settings)
    for domain in history.domains.values():
        yield Table.DOMAINS, number_key(domain.number), encode_domain(domain)
    for fast_restore in history.fast_restores.values():
        yield Table.FAST_RESTORES, fast_restore.key, encode_fast_restore(fast_restore)


def _bin_entries(history: History) -> Iterator[Entry]:
    """Yield the rules of the Recycle Bin, and what is in it beside snapshots."""
    for rule in history.rules.values():
        yield Table.BIN_RULES, rule.rule_id.encode(), encode_rule(rule)
    for volume in history.volumes.values():
        if volume.recycled is not None and volume.state == VolumeState.RECOVERABLE:
            yield Table.BIN_EXITS, exit_key(volume.recycled["exits_us"], volume.volume_id), b""
    for image in history.images.values():
        if image.recycled is not None:
            yield Table.BIN_EXITS, exit_key(image.recycled["exits_us"], image.image_id), b""


def _put_segments(writer: CatalogWriter, scan: Scan, space: _Space, *, tidy: bool) -> None:
    """Keep the segments; where anything is damaged, not those without live bytes: they stay."""
    for number, segment_id in enumerate(scan.segments, 1):
        live = space.live[number]
        if not live and not tidy:
            continue
        record = SegmentRecord(segment_id, SegmentState.SEALED, scan.ends[number], live, 0)
        put_segment(writer, number, record)
    if space.live[space.lost]:
        no_id = bytes(SEGMENT_ID_SIZE)
        live = space.live[space.lost]
        record = SegmentRecord(no_id, SegmentState.SEALED, space.lost_end, live, 0)
        put_segment(writer, space.lost, record)


def _dead_entries(scan: Scan, space: _Space) -> Iterator[Entry]:
    """Queue the records that nothing refers to: they are given back by the next reclaim."""
    for place in sorted(scan.records):
        if place not in space.used:
            extent = place.extent.to_bytes(8, "little")
            yield Table.PUNCH, punch_key(place.segment, place.offset), extent


def _put_counters(writer: CatalogWriter, known: Findings, space: _Space, store_id: bytes) -> None:
    """Begin every counter behind all numbers that were ever seen."""
    scan, numbers = known.scan, known.history.numbers
    last = known.entries[-1].sequence if known.entries else 0
    pages = max([*scan.pages, *known.needs.lost_pages], default=0)
    versions = max([*scan.versions, *known.needs.versions], default=0)
    taken = {
        Counter.SEQUENCE: last,
        Counter.SEGMENT: space.lost,
        Counter.VOLUME: numbers["volume"],
        Counter.NODE: numbers["node"],
        Counter.LINEAGE: numbers["lineage"],
        Counter.FAST_RESTORE: numbers["fast_restore"],
        Counter.PAGE: pages,
        Counter.VERSION: versions,
        Counter.BLOCK: FIRST_BLOCK - 1 + len(known.blocks.ids),
        Counter.EVENT: last * EVENTS_PER_COMMIT,
        Counter.DOMAIN: max(known.history.domains, default=0),
    }
    for counter in Counter:
        number = max(counter.first, taken.get(counter, 0) + 1)
        writer.put(Table.META, counter.key, number_key(number))
    writer.put(Table.META, b"store", store_id)
    if known.entries:
        writer.put(Table.META, b"journal", known.entries[-1].checksum)
    if known.history.quotas is not None:
        writer.put(Table.META, b"quotas", encode_json(known.history.quotas))
    if known.history.keyring is not None:
        settings = encode_keyring_settings(known.history.keyring)
        writer.put(Table.META, b"keyring", settings)
