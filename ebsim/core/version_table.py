"""The version table: version id to block id, in pages of 256.

A version is what one write put at one block index of one lineage. Its id never returns. 0 in the
table means that the version is freed (or was never given out), 1 that it is a block of zeros.
"""

from collections.abc import Iterator, Sequence

from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.catalog_values import Table, number_key
from ebsim.format.map_page import (
    PAGE_ENTRIES,
    Page,
    decode_page,
    empty_page,
    encode_page,
    kept_page,
    numbers_of,
)
from ebsim.storage.catalog import CatalogReader, CatalogWriter

_EMPTY = empty_page()


def version_blocks(reader: CatalogReader, versions: Sequence[int]) -> Page:
    """Return the block id of each version, in the same order; 0 for version 0.

    Raises:
        CorruptionError: A version is in a map but not in the table: it must not read as zeros.
    """
    blocks = known_version_blocks(reader, versions)
    if 0 in blocks:
        for version, block in zip(versions, blocks, strict=True):
            if version and not block:
                raise CorruptionError(
                    f"version {version} is in a block map but not in the catalog",
                    ErrorCode.CORRUPT_CATALOG,
                )
    return blocks


def known_version_blocks(reader: CatalogReader, versions: Sequence[int]) -> Page:
    """Return the block id of each version, in the same order; 0 where the table has none."""
    blocks = numbers_of(versions)
    for group, places in _groups(versions).items():
        page = look_at_versions(reader, group)
        for place in places:
            blocks[place] = page[versions[place] % PAGE_ENTRIES]
    return blocks


def put_versions(writer: CatalogWriter, first: int, blocks: Sequence[int]) -> None:
    """Set the block ids of the versions `first`, `first` + 1, ..."""
    for group, start, end in _runs(first, len(blocks)):
        page = _load(writer, group)
        entry = (first + start) % PAGE_ENTRIES
        page[entry : entry + end - start] = numbers_of(blocks[start:end])
        writer.put(Table.VERSIONS, number_key(group), encode_page(page))


def clear_versions(writer: CatalogWriter, versions: Sequence[int]) -> Page:
    """Forget versions; return the block ids they had, in the same order."""
    blocks = numbers_of(versions)
    for group, places in _groups(versions).items():
        page = _load(writer, group)
        for place in places:
            entry = versions[place] % PAGE_ENTRIES
            blocks[place] = page[entry]
            page[entry] = 0
        if any(page):
            writer.put(Table.VERSIONS, number_key(group), encode_page(page))
        else:
            writer.delete(Table.VERSIONS, number_key(group))
    return blocks


def look_at_versions(reader: CatalogReader, group: int) -> Page:
    """Return a page of the table, which is not to be changed."""
    value = reader.get(Table.VERSIONS, number_key(group))
    return _EMPTY if value is None else kept_page(value)


def _load(reader: CatalogReader, group: int) -> Page:
    value = reader.get(Table.VERSIONS, number_key(group))
    return empty_page() if value is None else decode_page(value)


def _groups(versions: Sequence[int]) -> dict[int, list[int]]:
    """Return, by page number of the table, the places in `versions` that lie in it, but zeros."""
    groups: dict[int, list[int]] = {}
    for place, version in enumerate(versions):
        if version:
            groups.setdefault(version // PAGE_ENTRIES, []).append(place)
    return groups


def _runs(first: int, count: int) -> Iterator[tuple[int, int, int]]:
    """Yield each page number that `count` versions from `first` on lie in, and which of them."""
    start = 0
    while start < count:
        group, entry = divmod(first + start, PAGE_ENTRIES)
        end = min(count, start + PAGE_ENTRIES - entry)
        yield group, start, end
        start = end
