"""The version table against a dict."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebsim.core.version_table import clear_versions, put_versions, version_blocks
from ebsim.errors import CorruptionError
from ebsim.format.catalog_values import Table
from ebsim.format.map_page import PAGE_ENTRIES, Page, numbers_of
from ebsim.testing.memory_catalog import MemoryTables

FIRSTS = st.one_of(st.integers(1, 600), st.sampled_from([2**40 - 3, 2**63]))
BATCHES = st.lists(st.lists(st.integers(1, 2**50), min_size=1, max_size=300), max_size=3)

Filled = tuple[MemoryTables, dict[int, int]]


def array(*numbers: int) -> Page:
    return numbers_of(numbers)


@st.composite
def filled_tables(draw: st.DrawFn) -> Filled:
    """Draw a table with batches of versions, and the same as a dict."""
    tables, model, first = MemoryTables(), dict[int, int](), draw(FIRSTS)
    for blocks in draw(BATCHES):
        put_versions(tables, first, array(*blocks))
        model.update(enumerate(blocks, first))
        first += len(blocks)
    return tables, model


@given(filled_tables(), st.randoms(use_true_random=False))
def test_versions_are_found_in_any_order(filled: Filled, random: Random) -> None:
    tables, model = filled
    asked = [*model, 0, 0, *list(model)[:10]]
    random.shuffle(asked)

    found = version_blocks(tables, array(*asked))

    assert found.tolist() == [model.get(version, 0) for version in asked]


@given(filled_tables(), st.data())
def test_cleared_versions_are_gone_and_the_others_stay(filled: Filled, data: st.DataObject) -> None:
    tables, model = filled
    cleared = data.draw(st.lists(st.sampled_from([*model, 10**9]), unique=True))

    blocks = clear_versions(tables, array(*cleared))

    assert blocks.tolist() == [model.get(version, 0) for version in cleared]
    left = {version: block for version, block in model.items() if version not in cleared}
    assert version_blocks(tables, array(*left)).tolist() == list(left.values())
    for version in cleared[:3]:
        with pytest.raises(CorruptionError):
            version_blocks(tables, array(version))


@given(filled_tables())
def test_table_of_which_all_is_cleared_takes_no_space(filled: Filled) -> None:
    tables, model = filled
    assert tables.count(Table.VERSIONS) == len({version // PAGE_ENTRIES for version in model})

    clear_versions(tables, array(*model))

    assert tables.count(Table.VERSIONS) == 0


def test_no_versions_are_no_look_up() -> None:
    tables = MemoryTables()

    assert version_blocks(tables, array()).tolist() == []
    assert version_blocks(tables, array(0, 0)).tolist() == [0, 0]
    assert clear_versions(tables, array()).tolist() == []
    put_versions(tables, 5, array())
    assert tables.count(Table.VERSIONS) == 0


def test_version_of_the_zero_block_is_one_like_any_other() -> None:
    tables = MemoryTables()

    put_versions(tables, 255, array(1, 1))

    assert version_blocks(tables, array(255, 256, 0)).tolist() == [1, 1, 0]
    assert tables.count(Table.VERSIONS) == 2


@pytest.mark.parametrize("version", [1, 256, 2**64 - 1])
def test_version_that_is_missing_does_not_read_as_zeros(version: int) -> None:
    tables = MemoryTables()
    put_versions(tables, 2, array(5, 6, 7))

    with pytest.raises(CorruptionError, match=str(version)):
        version_blocks(tables, array(2, version, 3))
