"""How many stored bytes a deletion will give back, told before anything is changed."""

from collections import Counter as Multiset
from collections.abc import Sequence

from ebsim.core.block_table import get_block
from ebsim.core.space import count_items, meta_record
from ebsim.core.version_table import version_blocks
from ebsim.format.catalog_values import FIRST_BLOCK, Table, number_key
from ebsim.format.map_page import Page
from ebsim.storage.catalog import CatalogReader


class ReleaseEstimate:
    """Counts references down in memory as `ebsim.core.reclaim` will in the catalog.

    Steps of one plan are counted one after the other: a block that two deleted snapshots share is
    given back by the second.
    """

    def __init__(self, reader: CatalogReader) -> None:
        self._reader = reader
        self._references: dict[int, int] = {}
        self._live: dict[tuple[Table, int], int] = {}

    def release(self, freed_versions: Sequence[Page], freed_pages: Sequence[int]) -> int:
        """Return the stored bytes given back when these versions and pages go.

        Args:
            freed_versions: Arrays of version ids; sorted, so that each table page is read once.
            freed_pages: Page ids.
        """
        total = self._release_items(Table.PAGE_RECORDS, list(freed_pages))
        for versions in freed_versions:
            total += self._release_items(Table.VERSION_RECORDS, versions.tolist())
            counts = Multiset(version_blocks(self._reader, versions))
            for block_id in sorted(counts):
                if block_id >= FIRST_BLOCK:
                    total += self._release_block(block_id, counts[block_id])
        return total

    def _release_block(self, block_id: int, count: int) -> int:
        record = get_block(self._reader, block_id)
        left = self._references.get(block_id, record.references) - count
        if left <= 0:
            self._references.pop(block_id, None)
            return record.extent
        self._references[block_id] = left
        return 0

    def _release_items(self, table: Table, numbers: list[int]) -> int:
        total = 0
        for first, count in count_items(self._reader, table, numbers).items():
            record = meta_record(self._reader, table, number_key(first))
            left = self._live.get((table, first), record.live) - count
            self._live[table, first] = left
            if left <= 0:
                total += record.extent
        return total
