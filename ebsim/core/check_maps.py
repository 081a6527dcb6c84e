"""Checking what block maps say: charges, full sizes, and which versions and pages are in use.

The charge is recomputed as the specification has it: a version counts for the oldest live snapshot
whose map has it. Snapshots are looked at from the oldest on, and each page once: a page seen before
holds no version that was not seen before.

That is done for each lineage by itself: one that a snapshot began that was restored from the
archive shares versions with others, and is charged for them too (`ebsim.core.lineage`).
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ebsim.core.abandon import published_ranges
from ebsim.core.block_maps import load_page
from ebsim.core.reclaim import FREED_ENTRY_MAX
from ebsim.errors import CorruptionError
from ebsim.format.catalog_values import (
    NodeKind,
    NodeRecord,
    Table,
    number_key,
    parse_number_key,
)
from ebsim.format.map_page import MAP_LEVELS, PAGE_ENTRIES, decode_numbers
from ebsim.format.records import SnapshotRecord
from ebsim.reports import Finding
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogReader

Seen = npt.NDArray[np.bool_]


class MapCheck:
    """Walks every map of a consistent view of the catalog.

    Attributes:
        versions: For each version id, whether a map (or a pending snapshot) has it.
        pages: Every page id that a map (or a pending snapshot) has; with the lineage whose map was
            looked at last among those that have it, or 0.
    """

    def __init__(self, reader: CatalogReader, snapshots: list[SnapshotRecord]) -> None:
        self._reader = reader
        self._snapshots = snapshots
        self._entries: dict[int, int] = {}
        last = max((parse_number_key(key) for key in reader.keys(Table.VERSIONS)), default=0)
        self.versions: Seen = np.zeros((last + 1) * PAGE_ENTRIES, dtype=bool)
        self._charged_in: npt.NDArray[np.uint64] = np.zeros(len(self.versions), dtype="<u8")
        self.pages: dict[int, int] = {0: 0}

    def run(self) -> Iterator[Finding]:
        """Look at every map and yield what is wrong."""
        live = [item for item in self._snapshots if item.state == SnapshotState.COMPLETED]
        for record in sorted(live, key=lambda item: (item.lineage, item.node)):
            try:
                yield from self._check_snapshot(record)
            except CorruptionError as error:
                message = f"{record.snapshot_id}: {error}"
                yield _about(record, "corrupt-value", message)
        for record in self._snapshots:
            if record.state == SnapshotState.PENDING:
                self._claim_published(record)
        for _, value in self._reader.items(Table.NODES):
            node = NodeRecord.decode(value)
            if node.kind is NodeKind.HOLD:
                self._claim(node.root, MAP_LEVELS - 1, 0)
        yield from self._check_pages()

    def queued_versions(self) -> Iterator[npt.NDArray[np.uint64]]:
        """Yield versions that wait to be forgotten."""
        for _, value in self._reader.items(Table.FREED):
            yield np.asarray(decode_numbers(value, FREED_ENTRY_MAX))

    def _claim(self, page_id: int, level: int, lineage: int) -> int:
        """Mark everything below a page as seen; return how many versions the lineage had not.

        Args:
            page_id: The page.
            level: 0 for a leaf.
            lineage: The lineage in which the map is charged; 0: in none.
        """
        seen_in = self.pages.get(page_id)
        if seen_in is not None and (page_id == 0 or lineage in (0, seen_in)):
            self._entries.setdefault(page_id, 0)
            return 0
        self.pages[page_id] = lineage
        page = np.asarray(load_page(self._reader, page_id))
        used = page[page != 0]
        if level == 0:
            if len(used) and used.max() >= len(self.versions):
                raise CorruptionError(f"version {used.max()} is not in the catalog")
            fresh = int(np.count_nonzero(self._charged_in[used] != lineage)) if lineage else 0
            if lineage:
                self._charged_in[used] = lineage
            self.versions[used] = True
            self._entries[page_id] = len(used)
            return fresh
        fresh = sum(self._claim(child, level - 1, lineage) for child in used.tolist())
        self._entries[page_id] = sum(self._entries[child] for child in used.tolist())
        return fresh

    def _check_snapshot(self, record: SnapshotRecord) -> Iterator[Finding]:
        lineage = 0 if record.is_archived else record.lineage
        charge = self._claim(record.root, MAP_LEVELS - 1, lineage)
        full = self._entries[record.root]
        for what, kept, found in (
            ("charged", record.charged_blocks, charge),
            ("full", record.full_blocks, full),
        ):
            if kept != found:
                message = (
                    f"{record.snapshot_id}: {kept} {what} blocks are recorded, {found} counted"
                )
                yield _about(record, "wrong-count", message)
        value = self._reader.get(Table.NODES, number_key(record.node))
        node = None if value is None else NodeRecord.decode(value)
        kind = NodeKind.ARCHIVED if record.is_archived else NodeKind.SNAPSHOT
        own = (kind, record.root, record.snapshot_id)
        if node is None or (node.kind, node.root, node.snapshot_id) != own:
            message = f"{record.snapshot_id}: its lineage node {record.node} is not its own"
            yield _about(record, "wrong-lineage", message)

    def _claim_published(self, record: SnapshotRecord) -> None:
        """Mark what a pending snapshot has published as seen."""
        ranges = published_ranges(self._reader, record.snapshot_id)
        for first, count, first_page, pages in ranges:
            self.versions[first : first + count] = True
            self.pages.update(dict.fromkeys(range(first_page, first_page + pages), 0))

    def _check_pages(self) -> Iterator[Finding]:
        stored = {parse_number_key(key) for key, _ in self._reader.items(Table.PAGES)}
        for page_id in sorted(stored ^ (self.pages.keys() - {0})):
            state = "is in no map" if page_id in stored else "is missing"
            yield Finding(kind="wrong-reference", message=f"map page {page_id} {state}")


def _about(record: SnapshotRecord, kind: str, message: str) -> Finding:
    """Return a finding that hits the whole of a snapshot."""
    return Finding(
        kind=kind,
        message=message,
        snapshots=(record.snapshot_id,),
        ranges=((0, record.size_bytes),),
    )
