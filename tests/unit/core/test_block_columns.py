"""Block ids of a leaf by columns: the same as one by one, however its versions lie in the table."""

import numpy as np
import pytest

from ebsim.core.block_listing import blocks_of_leaf
from ebsim.core.version_table import put_versions, version_blocks
from ebsim.errors import CorruptionError
from ebsim.format.catalog_values import Table, number_key
from ebsim.format.map_page import PAGE_ENTRIES, encode_page, numbers_of
from ebsim.storage.catalog import CatalogWriter
from ebsim.testing.harness import Harness

LEAF = 7
STRIDES = (1, 3, 300)
"""How far apart the versions of neighbours are: in one page of the table, in four, in hundreds."""


def test_columns_are_what_is_found_one_by_one() -> None:
    with Harness() as harness:
        catalog = harness.store._context.catalog
        for stride in STRIDES:
            versions = [0, 0, *(1000 + stride * place for place in range(2, PAGE_ENTRIES))]

            def fill(writer: CatalogWriter, versions: list[int] = versions) -> None:
                for version in versions[2:]:
                    put_versions(writer, version, [version + 5])
                page = encode_page(numbers_of(versions))
                writer.put(Table.PAGES, number_key(LEAF), page)

            catalog.update(fill)
            with catalog.read() as reader:
                found = blocks_of_leaf(reader, LEAF)
                assert found.tolist() == list(version_blocks(reader, versions))
                assert not np.any(blocks_of_leaf(reader, 0))


def test_version_that_is_not_there_does_not_read_as_unwritten() -> None:
    with Harness() as harness:
        catalog = harness.store._context.catalog
        page = encode_page(numbers_of([4_000_000] * PAGE_ENTRIES))
        catalog.update(lambda writer: writer.put(Table.PAGES, number_key(LEAF), page))
        with catalog.read() as reader, pytest.raises(CorruptionError, match="version 4000000"):
            blocks_of_leaf(reader, LEAF)
