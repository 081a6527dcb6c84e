"""Block maps and plain dicts: made of each other, without the code that walks maps."""

from collections.abc import Mapping

from ebsim.core.block_maps import (
    LEAF_BLOCKS,
    PageAllocator,
    find_leaf,
    load_page,
    replace_leaves,
    upper_page_count,
)
from ebsim.core.counters import take
from ebsim.format.catalog_values import Counter, Table, number_key
from ebsim.format.map_page import MAP_LEVELS, PAGE_ENTRIES, encode_page
from ebsim.storage.catalog import CatalogReader, CatalogWriter

Place = tuple[int, int]
"""Level and number of a page."""


def write_map(writer: CatalogWriter, root: int, versions: Mapping[int, int]) -> int:
    """Keep a map in which some blocks have other versions, as a snapshot does; return its root.

    Args:
        writer: The transaction.
        root: The map to start from, 0 for an empty one; it stays as it is.
        versions: Block index to version id.
    """
    by_leaf: dict[int, dict[int, int]] = {}
    for index, version in versions.items():
        by_leaf.setdefault(index // LEAF_BLOCKS, {})[index % LEAF_BLOCKS] = version
    leaves: dict[int, int] = {}
    for leaf, changes in by_leaf.items():
        page = load_page(writer, find_leaf(writer, root, leaf))[:]
        for place, version in changes.items():
            page[place] = version
        leaves[leaf] = take(writer, Counter.PAGE)
        writer.put(Table.PAGES, number_key(leaves[leaf]), encode_page(page))
    allocator = PageAllocator(take(writer, Counter.PAGE, upper_page_count(leaves)))
    new_root = replace_leaves(writer, root, leaves, allocator)
    for page_id, page in enumerate(allocator.pages, allocator.first):
        writer.put(Table.PAGES, number_key(page_id), encode_page(page))
    return new_root


def pages_of(reader: CatalogReader, root: int) -> dict[Place, int]:
    """Return the id of each page of a map by its place."""
    found: dict[Place, int] = {}
    level, pages = MAP_LEVELS - 1, {0: root} if root else {}
    while True:
        found.update({(level, number): page_id for number, page_id in pages.items()})
        if level == 0:
            return found
        level, pages = level - 1, _entries(reader, pages)


def versions_of(reader: CatalogReader, root: int) -> dict[int, int]:
    """Return the version id of each written block of a map by its index."""
    places = pages_of(reader, root)
    return _entries(reader, {number: page for (level, number), page in places.items() if not level})


def _entries(reader: CatalogReader, pages: Mapping[int, int]) -> dict[int, int]:
    """Return what pages of one level hold, by the number it has in the level below."""
    return {
        number * PAGE_ENTRIES + place: entry
        for number, page_id in pages.items()
        for place, entry in enumerate(load_page(reader, page_id))
        if entry
    }
