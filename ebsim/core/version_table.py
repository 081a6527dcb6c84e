"""The version table: version id to block id, in pages of 256.

A version is what one write put at one block index of one lineage. Its id never returns. 0 in the
table means that the version is freed (or was never given out), 1 that it is a block of zeros.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.catalog_values import Table, number_key
from ebsim.format.map_page import PAGE_ENTRIES, Page, decode_page, empty_page, encode_page
from ebsim.storage.catalog import CatalogReader, CatalogWriter


def version_blocks(reader: CatalogReader, versions: Page) -> Page:
    """Return the block id of each version, in the same order; 0 for version 0.

    Raises:
        CorruptionError: A version is in a map but not in the table: it must not read as zeros.
    """
    blocks = known_version_blocks(reader, versions)
    missing = versions[(blocks == 0) & (versions != 0)]
    if len(missing):
        raise CorruptionError(
            f"version {missing[0]} is in a block map but not in the catalog",
            ErrorCode.CORRUPT_CATALOG,
        )
    return blocks


def known_version_blocks(reader: CatalogReader, versions: Page) -> Page:
    """Return the block id of each version, in the same order; 0 where the table has none."""
    blocks = np.zeros(len(versions), dtype="<u8")
    for group, places in _groups(versions):
        page = _load(reader, group)
        blocks[places] = page[versions[places] % PAGE_ENTRIES]
    return blocks


def put_versions(writer: CatalogWriter, first: int, blocks: Page) -> None:
    """Set the block ids of the versions `first`, `first` + 1, ..."""
    versions = np.arange(first, first + len(blocks), dtype="<u8")
    for group, places in _groups(versions):
        page = _load(writer, group)
        page[versions[places] % PAGE_ENTRIES] = blocks[places]
        writer.put(Table.VERSIONS, number_key(group), encode_page(page))


def clear_versions(writer: CatalogWriter, versions: Page) -> Page:
    """Forget versions; return the block ids they had, in the same order."""
    blocks = np.zeros(len(versions), dtype="<u8")
    for group, places in _groups(versions):
        page = _load(writer, group)
        entries = versions[places] % PAGE_ENTRIES
        blocks[places] = page[entries]
        page[entries] = 0
        if page.any():
            writer.put(Table.VERSIONS, number_key(group), encode_page(page))
        else:
            writer.delete(Table.VERSIONS, number_key(group))
    return blocks


def _load(reader: CatalogReader, group: int) -> Page:
    value = reader.get(Table.VERSIONS, number_key(group))
    return empty_page() if value is None else decode_page(value)


def _groups(versions: Page) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    """Yield each page number of the table with the places in `versions` that lie in it."""
    if not len(versions):
        return
    groups = versions // PAGE_ENTRIES
    order = np.argsort(groups, kind="stable")
    numbers, starts = np.unique(groups[order], return_index=True)
    ends = [*starts[1:].tolist(), len(order)]
    for number, start, end in zip(numbers.tolist(), starts.tolist(), ends, strict=True):
        if number or versions[order[start:end]].any():
            yield number, order[start:end]
