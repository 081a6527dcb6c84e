"""Where the bytes of blocks lie: from a map, or from a stored block's id."""

from dataclasses import dataclass

from ebsim.core.block_maps import LEAF_BLOCKS, find_leaf, load_page
from ebsim.core.block_table import get_block
from ebsim.core.space import get_segment
from ebsim.core.version_table import version_blocks
from ebsim.format.catalog_values import FIRST_BLOCK, BlockRecord
from ebsim.storage.catalog import CatalogReader


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """Where a block's bytes are, and what they must be.

    Attributes:
        segment_id: The segment.
        record: Offset, extent and block hash.
        block_id: Which stored block it is, for it keeps its id when it is moved; 0: only what lies
            at this place is wanted.
    """

    segment_id: bytes
    record: BlockRecord
    block_id: int = 0


class Places:
    """Looks up where many stored blocks lie; each segment only once.

    Args:
        reader: One view of the catalog, and no longer than it lasts.
    """

    def __init__(self, reader: CatalogReader) -> None:
        self._reader = reader
        self._segment_ids: dict[int, bytes] = {}

    def find(self, block_id: int) -> BlockPlace:
        """Return where a stored block lies."""
        record = get_block(self._reader, block_id)
        segment_id = self._segment_ids.get(record.segment)
        if segment_id is None:
            segment_id = get_segment(self._reader, record.segment).segment_id
            self._segment_ids[record.segment] = segment_id
        return BlockPlace(segment_id, record, block_id)


def place_of(reader: CatalogReader, block_id: int) -> BlockPlace:
    """Return where one stored block lies."""
    return Places(reader).find(block_id)


def find_place(reader: CatalogReader, root: int, index: int) -> BlockPlace | None:
    """Return where a block of a map lies; None where it is unwritten or zeros.

    Args:
        reader: The catalog.
        root: The root page of the map.
        index: The block index.
    """
    page = load_page(reader, find_leaf(reader, root, index // LEAF_BLOCKS))
    entry = index % LEAF_BLOCKS
    block_id = int(version_blocks(reader, page[entry : entry + 1])[0])
    return None if block_id < FIRST_BLOCK else place_of(reader, block_id)


def leaf_places(reader: CatalogReader, root: int, leaf: int) -> tuple[BlockPlace | None, ...]:
    """Return where all blocks of one leaf of a map lie; None for what is unwritten or zeros."""
    blocks = version_blocks(reader, load_page(reader, find_leaf(reader, root, leaf)))
    places = Places(reader)
    return tuple(None if block < FIRST_BLOCK else places.find(int(block)) for block in blocks)
