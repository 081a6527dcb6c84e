"""Stored blocks: found by content, counted by the versions that have it."""

from collections.abc import Sequence
from dataclasses import replace

from ebsim.core.counters import take
from ebsim.core.damaged_blocks import unmark_damaged
from ebsim.core.space import SpaceChange
from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.block_hash import BlockHash
from ebsim.format.catalog_values import (
    BlockRecord,
    Counter,
    Table,
    hash_key,
    number_key,
    parse_number_key,
)
from ebsim.storage.catalog import CatalogReader, CatalogWriter


def find_block(reader: CatalogReader, block_hash: BlockHash) -> int | None:
    """Return the id of the stored block with this content, in the hash's domain, or None."""
    value = reader.get(Table.HASHES, hash_key(block_hash))
    if value is None:
        return None
    block_id = parse_number_key(value)
    return block_id if get_block(reader, block_id).block_hash == block_hash else None


def get_block(reader: CatalogReader, block_id: int) -> BlockRecord:
    """Return where a stored block lies.

    Raises:
        CorruptionError: The catalog does not know it.
    """
    value = reader.get(Table.BLOCKS, number_key(block_id))
    if value is None:
        raise CorruptionError(f"block {block_id} is not in the catalog", ErrorCode.CORRUPT_CATALOG)
    return BlockRecord.decode(value)


def add_blocks(writer: CatalogWriter, space: SpaceChange, records: Sequence[BlockRecord]) -> int:
    """Add stored blocks under consecutive new ids and return the first."""
    first = take(writer, Counter.BLOCK, len(records))
    for block_id, record in enumerate(records, first):
        writer.put(Table.BLOCKS, number_key(block_id), record.encode())
        writer.put(Table.HASHES, hash_key(record.block_hash), number_key(block_id))
        space.use(record.segment, record.extent)
    return first


def reference_block(writer: CatalogWriter, block_id: int, count: int) -> None:
    """Count `count` further versions with this content."""
    record = get_block(writer, block_id)
    writer.put(Table.BLOCKS, number_key(block_id), record.referenced(count).encode())


def release_block(writer: CatalogWriter, space: SpaceChange, block_id: int, count: int) -> None:
    """Count `count` versions less, and forget the block with its last one.

    Raises:
        CorruptionError: More versions are released than there were.
    """
    record = get_block(writer, block_id).referenced(-count)
    if record.references < 0:
        raise CorruptionError(
            f"block {block_id} is released more often than referred to", ErrorCode.CORRUPT_CATALOG
        )
    if record.references:
        writer.put(Table.BLOCKS, number_key(block_id), record.encode())
        return
    writer.delete(Table.BLOCKS, number_key(block_id))
    if not writer.delete(Table.HASHES, hash_key(record.block_hash)):
        unmark_damaged(writer, record.block_hash)  # it was damaged, and is not missed any more
    space.free(record.segment, record.offset, record.extent)


def heal_block(
    writer: CatalogWriter, space: SpaceChange, block_id: int, place: tuple[int, int, int]
) -> None:
    """Have a damaged block lie at another place, where its bytes are sound and synced.

    Every snapshot that refers to it is whole again, and its content is found again. The old bytes
    are given back: who marked it as damaged has set them aside.

    Args:
        writer: The transaction.
        space: Where the old and the new record are counted.
        block_id: The block.
        place: Segment number, offset and extent of the new record.
    """
    segment, offset, extent = place
    record = get_block(writer, block_id)
    space.free(record.segment, record.offset, record.extent)
    healed = replace(record, segment=segment, offset=offset, extent=extent)
    writer.put(Table.BLOCKS, number_key(block_id), healed.encode())
    writer.put(Table.HASHES, hash_key(record.block_hash), number_key(block_id))
    unmark_damaged(writer, record.block_hash)
    space.use(segment, extent)
