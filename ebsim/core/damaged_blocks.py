"""Blocks that are known to be damaged, and not healed yet.

Such a block keeps its id, its references and its place, but is not found by its content any more:
so the next snapshot that reads this content stores it again, and then every snapshot that refers to
the block is whole (`ebsim.core.block_table.heal_block`). What is known stands in META, where a
store without damage has nothing; `ebsim.core.repair` and a rebuild write it.
"""

from collections.abc import Iterator

from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.block_hash import BlockHash
from ebsim.format.catalog_values import Table, hash_key, number_key, parse_number_key
from ebsim.storage.catalog import CatalogReader, CatalogWriter

DAMAGED_KEY = b"damaged "
"""What the keys of damaged blocks in META begin with; the block hash in hex follows."""


def damaged_key(block_hash: bytes) -> bytes:
    """Return the key in META of a block that is damaged."""
    return DAMAGED_KEY + block_hash.hex().encode()


def find_damaged(reader: CatalogReader, block_hash: bytes) -> int | None:
    """Return the id of the block with this content if it is known to be damaged, or None."""
    value = reader.get(Table.META, damaged_key(block_hash))
    return None if value is None else parse_number_key(value)


def any_damaged(reader: CatalogReader) -> bool:
    """Return whether any block is known to be damaged."""
    return next(reader.items(Table.META, prefix=DAMAGED_KEY), None) is not None


def list_damaged(reader: CatalogReader) -> Iterator[tuple[int, BlockHash]]:
    """Yield id and block hash of every block that is known to be damaged.

    Raises:
        CorruptionError: A key is none.
    """
    for key, value in reader.items(Table.META, prefix=DAMAGED_KEY):
        try:
            block_hash = BlockHash(bytes.fromhex(key[len(DAMAGED_KEY) :].decode("ascii")))
        except ValueError as error:
            message = f"meta/{key.hex()} names no block: {error}"
            raise CorruptionError(message, ErrorCode.CORRUPT_CATALOG) from None
        yield parse_number_key(value), block_hash


def mark_damaged(writer: CatalogWriter, block_id: int, block_hash: BlockHash) -> None:
    """Have a block not found by its content any more."""
    writer.delete(Table.HASHES, hash_key(block_hash))
    writer.put(Table.META, damaged_key(block_hash), number_key(block_id))


def unmark_damaged(writer: CatalogWriter, block_hash: BlockHash) -> None:
    """Forget that a block is damaged; nothing happens where it is not known to be."""
    writer.delete(Table.META, damaged_key(block_hash))
