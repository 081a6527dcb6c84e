"""Publishing: making a batch of new versions and pages part of the catalog.

The order of writes (docs/durability.md): block records are in the segment already; preparing
appends the version and page records that describe them; a sync makes all of it durable; then one
transaction publishes what refers to it.

A block whose content was found in the store is not stored again. Should a deletion free it before
the batch that refers to it is published, the transaction finds it missing and raises
`BlocksVanishedError`; the maker then reads it from the source once more and stores it after all. So
deleting never waits for a snapshot that is being made, nor the other way round.

Where the store has this content in a block that is known to be damaged, what the maker stored takes
the damaged record's place (`ebsim.core.damaged_blocks`).
"""

from collections import Counter as Multiset
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ebsim.core.block_maps import LEAF_BLOCKS, load_page
from ebsim.core.block_table import add_blocks, find_block, heal_block, reference_block
from ebsim.core.context import StoreContext
from ebsim.core.counters import take
from ebsim.core.damaged_blocks import find_damaged
from ebsim.core.ingest import Batch, ChangedBlock, StoredPlace
from ebsim.core.sessions import OpenSegment
from ebsim.core.space import SpaceChange
from ebsim.core.version_table import put_versions
from ebsim.format.block_hash import BlockHash
from ebsim.format.catalog_values import (
    ZERO_BLOCK,
    BlockRecord,
    Counter,
    MetaRecord,
    Table,
    number_key,
)
from ebsim.format.map_page import encode_page
from ebsim.format.meta_records import (
    PAGES_PER_RECORD,
    VERSIONS_PER_RECORD,
    ZERO_HASH,
    encode_pages,
    encode_versions,
)
from ebsim.format.segment import RecordKind
from ebsim.storage.catalog import CatalogWriter


class BlocksVanishedError(Exception):
    """Blocks that were found in the store are not there any more; nothing was committed.

    Attributes:
        hashes: Their hashes.
    """

    def __init__(self, hashes: set[BlockHash]) -> None:
        super().__init__(hashes)
        self.hashes = hashes


@dataclass(slots=True)
class Prepared:
    """A batch with its ids, described in the segment, ready to be published.

    Attributes:
        changes: The changed blocks in the order of their versions.
        first_version: The version id of the first.
        pages: The new pages, encoded, under consecutive ids.
        first_page: The page id of the first.
        leaves: Leaf number to new page id.
        new_blocks: How many blocks were unwritten in the parent's map.
        version_records: Where the versions are described, by first version id.
        page_records: Where the pages are described, by first page id.
        end: Where the segment ended when all this was appended.
        healing: Where blocks that did not change lie sound again, by block hash.
    """

    changes: list[ChangedBlock]
    first_version: int
    first_page: int
    pages: list[bytes] = field(default_factory=list)
    leaves: dict[int, int] = field(default_factory=dict)
    new_blocks: int = 0
    version_records: dict[int, MetaRecord] = field(default_factory=dict)
    page_records: dict[int, MetaRecord] = field(default_factory=dict)
    end: int = 0
    healing: dict[BlockHash, StoredPlace] = field(default_factory=dict)


def prepare_batch(context: StoreContext, batch: Batch) -> Prepared:
    """Give a batch's versions and leaves their ids and describe them in its segment.

    Raises:
        LimitExceededError, StoreError: The segment or the catalog cannot be written.
    """
    leaves = sorted(batch.changes)
    changes = [change for leaf in leaves for change in sorted_changes(batch.changes[leaf])]
    if not changes:
        return Prepared([], 0, 0, end=batch.segment.writer.end, healing=batch.healing)

    def reserve(writer: CatalogWriter) -> tuple[int, int]:
        return take(writer, Counter.VERSION, len(changes)), take(writer, Counter.PAGE, len(leaves))

    prepared = Prepared(changes, *context.catalog.update(reserve), healing=batch.healing)
    version = prepared.first_version
    with context.catalog.read() as reader:
        for position, leaf in enumerate(leaves):
            page = load_page(reader, batch.parent_pages[leaf])[:]
            for change in sorted_changes(batch.changes[leaf]):
                place = change.index % LEAF_BLOCKS
                prepared.new_blocks += page[place] == 0
                page[place] = version
                version += 1
            prepared.pages.append(encode_page(page))
            prepared.leaves[leaf] = prepared.first_page + position
    _describe(batch.segment, prepared)
    return prepared


def sorted_changes(changes: list[ChangedBlock]) -> list[ChangedBlock]:
    """Return changes by block index."""
    return sorted(changes, key=lambda change: change.index)


def describe_pages(
    segment: OpenSegment, first_page: int, pages: Sequence[bytes]
) -> dict[int, MetaRecord]:
    """Append page records to a segment; return where, by first page id."""
    records = {}
    for start in range(0, len(pages), PAGES_PER_RECORD):
        part = pages[start : start + PAGES_PER_RECORD]
        payload = encode_pages(first_page + start, part)
        place = segment.writer.append(RecordKind.PAGES, payload)
        records[first_page + start] = MetaRecord(segment.number, *place, len(part), len(part))
    return records


def publish_batch(writer: CatalogWriter, space: SpaceChange, prepared: Prepared) -> None:
    """Make a prepared batch part of the catalog; what it stored is synced.

    Raises:
        BlocksVanishedError: A block it refers to was freed meanwhile.
    """
    spare = _heal_arrived(writer, space, prepared.healing)
    if prepared.changes:
        blocks = _resolve_blocks(writer, space, prepared.changes, spare)
        put_versions(writer, prepared.first_version, blocks)
    for place in spare.values():
        space.discard(place.segment, place.offset, place.extent)
    publish_pages(writer, space, prepared.first_page, prepared.pages, prepared.page_records)
    for first, record in prepared.version_records.items():
        writer.put(Table.VERSION_RECORDS, number_key(first), record.encode())
        space.use(record.segment, record.extent)


def publish_pages(
    writer: CatalogWriter,
    space: SpaceChange,
    first_page: int,
    pages: Sequence[bytes],
    records: dict[int, MetaRecord],
) -> None:
    """Make described pages part of the catalog."""
    for page_id, page in enumerate(pages, first_page):
        writer.put(Table.PAGES, number_key(page_id), page)
    for first, record in records.items():
        writer.put(Table.PAGE_RECORDS, number_key(first), record.encode())
        space.use(record.segment, record.extent)


def _describe(segment: OpenSegment, prepared: Prepared) -> None:
    for start in range(0, len(prepared.changes), VERSIONS_PER_RECORD):
        part = prepared.changes[start : start + VERSIONS_PER_RECORD]
        first = prepared.first_version + start
        payload = encode_versions(first, [change.block_hash or ZERO_HASH for change in part])
        place = segment.writer.append(RecordKind.VERSIONS, payload)
        prepared.version_records[first] = MetaRecord(segment.number, *place, len(part), len(part))
    prepared.page_records = describe_pages(segment, prepared.first_page, prepared.pages)
    prepared.end = segment.writer.end


def _heal_arrived(
    writer: CatalogWriter, space: SpaceChange, healing: Mapping[BlockHash, StoredPlace]
) -> dict[BlockHash, StoredPlace]:
    """Heal damaged blocks whose content has come; return what came for none that is damaged."""
    spare = dict(healing)
    for block_hash, place in healing.items():
        damaged = find_damaged(writer, block_hash)
        if damaged is not None:
            heal_block(writer, space, damaged, (place.segment, place.offset, place.extent))
            del spare[block_hash]
    return spare


def _resolve_blocks(
    writer: CatalogWriter,
    space: SpaceChange,
    changes: list[ChangedBlock],
    spare: dict[BlockHash, StoredPlace],
) -> list[int]:
    """Return the block id of each change, adding and counting blocks as needed.

    Args:
        writer: The transaction.
        space: Where new records are counted.
        changes: The changes.
        spare: Stored blocks that nothing refers to; what is used of them is taken out.
    """
    counts = Multiset(change.block_hash for change in changes if change.block_hash is not None)
    stored = {
        change.block_hash: change.stored
        for change in changes
        if change.block_hash is not None and change.stored is not None
    }
    stored.update((found, spare.pop(found)) for found in counts.keys() & spare.keys())
    ids: dict[BlockHash, int] = {}
    new: list[BlockRecord] = []
    vanished: set[BlockHash] = set()
    for block_hash, count in counts.items():
        block_id = find_block(writer, block_hash)
        place = stored.get(block_hash)
        if block_id is not None:
            ids[block_hash] = block_id
            reference_block(writer, block_id, count)
            if place is not None:  # another snapshot stored it meanwhile
                space.discard(place.segment, place.offset, place.extent)
        elif place is not None:
            damaged = find_damaged(writer, block_hash)
            if damaged is None:
                at = place.segment, place.offset, place.extent
                new.append(BlockRecord(*at, count, block_hash))
                continue
            ids[block_hash] = damaged
            heal_block(writer, space, damaged, (place.segment, place.offset, place.extent))
            reference_block(writer, damaged, count)
        else:
            vanished.add(block_hash)
    if vanished:
        raise BlocksVanishedError(vanished)
    if new:
        first = add_blocks(writer, space, new)
        ids.update((record.block_hash, first + at) for at, record in enumerate(new))
    return [ids[change.block_hash] if change.block_hash else ZERO_BLOCK for change in changes]
