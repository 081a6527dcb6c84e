"""Block maps: looking up, comparing and changing the page trees of snapshots.

`ebsim.format.map_page` says what a page is. A page id names one content for ever, and along a
lineage a page lives in an unbroken subtree of snapshots, as a version does. So two maps are
compared by page ids from the root down, and only where they differ.

Everything here costs as many page look-ups as there are pages that differ; none walks a volume.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.catalog_values import Table, number_key
from ebsim.format.map_page import (
    MAP_LEVELS,
    PAGE_ENTRIES,
    Page,
    empty_page,
    kept_page,
    own_places,
)
from ebsim.storage.catalog import CatalogReader

LEAF_BLOCKS = PAGE_ENTRIES
"""Blocks that one leaf describes: 256, which is 128 MiB of a volume."""

_TOP = MAP_LEVELS - 1
_EMPTY = empty_page()


@dataclass(frozen=True, slots=True)
class Visit:
    """A page of one map that differs from those it is compared with.

    Attributes:
        level: 0 for a leaf.
        number: Which page of its level, from 0; a leaf's first block is `number` * 256.
        page_id: The page in the map that is walked.
        others: The page ids at the same place in the other maps; 0 where they have none.
    """

    level: int
    number: int
    page_id: int
    others: tuple[int, ...]


def load_page(reader: CatalogReader, page_id: int) -> Page:
    """Return a page; a page of zeros for id 0. Do not change what you get.

    Raises:
        CorruptionError: The catalog does not know it, or it is damaged.
    """
    if page_id == 0:
        return _EMPTY
    value = reader.get(Table.PAGES, number_key(page_id))
    if value is None:
        raise CorruptionError(
            f"map page {page_id} is not in the catalog", ErrorCode.CORRUPT_CATALOG
        )
    return kept_page(value)


def find_leaf(reader: CatalogReader, root: int, leaf: int) -> int:
    """Return the page id of one leaf of a map, 0 if nothing is written there."""
    page_id = root
    for level in range(_TOP, 0, -1):
        if page_id == 0:
            return 0
        page_id = load_page(reader, page_id)[(leaf >> (8 * (level - 1))) % PAGE_ENTRIES]
    return page_id


def walk_leaves(reader: CatalogReader, root: int) -> Iterator[tuple[int, int]]:
    """Yield number and page id of each leaf of a map, ascending."""
    for visit in walk_unshared(reader, root, (), 0):
        if visit.level == 0:
            yield visit.number, visit.page_id


def walk_unshared(
    reader: CatalogReader, root: int, others: Sequence[int], stop_at: int
) -> Iterator[Visit]:
    """Yield the pages of a map that are not shared, parents before children, ascending.

    Args:
        reader: The catalog.
        root: The map to walk.
        others: The roots of the maps it is compared with.
        stop_at: Below a page that one of the first `stop_at` others has too, nothing is walked;
            the rest of the others are only followed along.
    """
    pending = [(_TOP, 0, root, tuple(others))]
    while pending:
        level, number, page_id, theirs = pending.pop()
        if page_id == 0 or page_id in theirs[:stop_at]:
            continue
        yield Visit(level, number, page_id, theirs)
        if level == 0:
            continue
        page = load_page(reader, page_id)
        columns = [load_page(reader, other) for other in theirs]
        for entry in reversed(own_places(page, columns[:stop_at])):
            below = tuple([column[entry] for column in columns])
            pending.append((level - 1, number * PAGE_ENTRIES + entry, page[entry], below))


def walk_differences(
    reader: CatalogReader, first: int, second: int
) -> Iterator[tuple[int, int, int]]:
    """Yield number and both page ids of each leaf in which two maps differ, ascending."""
    pending = [(_TOP, 0, first, second)]
    while pending:
        level, number, mine, theirs = pending.pop()
        if mine == theirs:
            continue
        if level == 0:
            yield number, mine, theirs
            continue
        here, there = load_page(reader, mine), load_page(reader, theirs)
        for entry in reversed(range(PAGE_ENTRIES)):
            if here[entry] != there[entry]:
                below = (here[entry], there[entry])
                pending.append((level - 1, number * PAGE_ENTRIES + entry, *below))


class PageAllocator:
    """Collects the new pages of a map under consecutive ids, children before parents."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.pages: list[Page] = []

    def add(self, page: Page) -> int:
        """Take a page and return its id."""
        self.pages.append(page)
        return self.first + len(self.pages) - 1


def upper_page_count(leaves: Iterable[int]) -> int:
    """Return how many pages above the leaves `replace_leaves` will add."""
    numbers, count = set(leaves), 0
    if not numbers:
        return 0
    for _ in range(1, MAP_LEVELS):
        numbers = {number // PAGE_ENTRIES for number in numbers}
        count += len(numbers)
    return count


def replace_leaves(
    reader: CatalogReader, root: int, leaves: Mapping[int, int], allocator: PageAllocator
) -> int:
    """Return the root of a map in which some leaves are replaced.

    Args:
        reader: The catalog.
        root: The map to start from; it stays as it is.
        leaves: Leaf number to new page id.
        allocator: Takes the new pages above the leaves: one path of three for a single leaf.
    """
    if not leaves:
        return root
    changed = dict(leaves)
    for level in range(1, MAP_LEVELS):
        above: dict[int, int] = {}
        by_parent: dict[int, list[int]] = {}
        for number in changed:
            by_parent.setdefault(number // PAGE_ENTRIES, []).append(number)
        for parent, children in by_parent.items():
            old = _find_page(reader, root, level, parent)
            page = load_page(reader, old)[:]
            for child in children:
                page[child % PAGE_ENTRIES] = changed[child]
            above[parent] = allocator.add(page)
        changed = above
    return changed[0]


def _find_page(reader: CatalogReader, root: int, level: int, number: int) -> int:
    """Return the page id of page `number` of a level, 0 if there is none."""
    page_id = root
    for above in range(_TOP, level, -1):
        if page_id == 0:
            return 0
        page_id = load_page(reader, page_id)[(number >> (8 * (above - 1 - level))) % PAGE_ENTRIES]
    return page_id
