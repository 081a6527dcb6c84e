"""Block maps against dicts, at sparse indices up to the end of the largest volume."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebsim.core.block_maps import (
    LEAF_BLOCKS,
    PageAllocator,
    find_leaf,
    load_page,
    replace_leaves,
    upper_page_count,
    walk_differences,
    walk_leaves,
    walk_unshared,
)
from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.catalog_values import Table, number_key
from ebsim.format.map_page import MAP_LEVELS
from ebsim.testing.maps import pages_of, versions_of, write_map
from ebsim.testing.memory_catalog import MemoryTables, new_tables
from ebsim.units import BLOCK_SIZE, VOLUME_SIZE_MAX

BLOCKS_MAX = VOLUME_SIZE_MAX // BLOCK_SIZE
"""2^27: the blocks of a volume of 64 TiB."""

BORDERS = [0, 1, 255, 256, 65_535, 65_536, 2**24 - 1, 2**24, BLOCKS_MAX - 1]
INDICES = st.one_of(
    st.sampled_from(BORDERS),
    st.integers(0, 1000),
    st.integers(65_000, 66_000),
    st.integers(0, BLOCKS_MAX - 1),
)
WRITES = st.sets(INDICES, max_size=6)
"""Which blocks a snapshot changes; each gets a version of its own."""

Maps = tuple[MemoryTables, list[int], list[dict[int, int]]]


def make_maps(history: Sequence[tuple[int, set[int]]]) -> Maps:
    """Make maps, each from an earlier one or from nothing, and the same as dicts."""
    tables, roots, models = new_tables(), [0], [dict[int, int]()]
    version = 0
    for origin, written in history:
        changes = {index: version + at for at, index in enumerate(sorted(written), 1)}
        version += len(changes)
        roots.append(write_map(tables, roots[origin % len(roots)], changes))
        models.append({**models[origin % len(models)], **changes})
    return tables, roots, models


HISTORIES = st.lists(st.tuples(st.integers(0, 9), WRITES), min_size=1, max_size=4).map(make_maps)


@given(HISTORIES)
def test_map_holds_what_was_written_and_the_others_stay(maps: Maps) -> None:
    tables, roots, models = maps

    assert [versions_of(tables, root) for root in roots] == models


@given(HISTORIES, INDICES)
def test_block_is_found_by_its_index(maps: Maps, somewhere: int) -> None:
    tables, roots, models = maps

    for root, model in zip(roots, models, strict=True):
        for index in [*model, somewhere]:
            page = load_page(tables, find_leaf(tables, root, index // LEAF_BLOCKS))
            assert int(page[index % LEAF_BLOCKS]) == model.get(index, 0)


@given(HISTORIES)
def test_leaves_are_walked_in_order(maps: Maps) -> None:
    tables, roots, _ = maps

    for root in roots:
        leaves = {
            number: page for (level, number), page in pages_of(tables, root).items() if not level
        }
        assert list(walk_leaves(tables, root)) == sorted(leaves.items())


@given(HISTORIES)
def test_differences_are_the_leaves_that_differ(maps: Maps) -> None:
    tables, roots, models = maps

    for first, before in zip(roots, models, strict=True):
        for second, after in zip(roots, models, strict=True):
            found = list(walk_differences(tables, first, second))
            changed = {i for i in before.keys() | after.keys() if before.get(i) != after.get(i)}
            assert [number for number, _, _ in found] == sorted({i // LEAF_BLOCKS for i in changed})
            for number, mine, theirs in found:
                assert mine == find_leaf(tables, first, number)
                assert theirs == find_leaf(tables, second, number)


@given(HISTORIES, st.lists(st.integers(0, 9), max_size=4), st.integers(0, 4))
def test_unshared_pages_are_those_that_no_other_map_has(
    maps: Maps, chosen: list[int], stop_at: int
) -> None:
    tables, roots, _ = maps
    root, others = roots[-1], [roots[number % len(roots)] for number in chosen]
    stop_at = min(stop_at, len(others))
    places = [pages_of(tables, other) for other in others]

    visits = list(walk_unshared(tables, root, others, stop_at))

    expected = {
        place: (page_id, tuple(pages.get(place, 0) for pages in places))
        for place, page_id in pages_of(tables, root).items()
        if page_id not in [pages.get(place, 0) for pages in places[:stop_at]]
    }
    assert {(v.level, v.number): (v.page_id, v.others) for v in visits} == expected
    assert len(visits) == len(expected)


@given(HISTORIES)
def test_pages_are_walked_from_the_top_and_ascending(maps: Maps) -> None:
    tables, roots, _ = maps

    visits = list(walk_unshared(tables, roots[-1], (), 0))

    firsts = [(v.number * LEAF_BLOCKS**v.level, -v.level) for v in visits]
    assert firsts == sorted(firsts)


@given(WRITES, WRITES)
def test_pages_above_the_leaves_are_counted_beforehand(before: set[int], written: set[int]) -> None:
    """Their ids are reserved before they are made, so the count must be exact."""
    tables, roots, _ = make_maps([(0, before)])
    leaves = {index // LEAF_BLOCKS: 10_000 + index // LEAF_BLOCKS for index in written}
    allocator = PageAllocator(5_000)

    replace_leaves(tables, roots[-1], leaves, allocator)

    assert len(allocator.pages) == upper_page_count(leaves)
    assert len(allocator.pages) <= 1 + 2 * len(leaves)


def test_change_of_one_block_shares_every_page_but_its_path() -> None:
    tables, roots, _ = make_maps([(0, set(BORDERS)), (1, {65_536})])
    before, after = (set(pages_of(tables, root).values()) for root in roots[1:])

    assert len(after - before) == MAP_LEVELS
    assert len(before - after) == MAP_LEVELS


def test_change_of_nothing_is_the_same_map() -> None:
    tables, roots, _ = make_maps([(0, {5})])
    allocator = PageAllocator(100)

    assert replace_leaves(tables, roots[1], {}, allocator) == roots[1]
    assert replace_leaves(tables, 0, {}, allocator) == 0
    assert allocator.pages == []
    assert upper_page_count([]) == 0


def test_four_levels_reach_four_billion_blocks() -> None:
    tables, roots, models = make_maps([(0, {0, 2**32 - 1})])

    assert versions_of(tables, roots[1]) == models[1]
    assert [leaf for leaf, _ in walk_leaves(tables, roots[1])] == [0, 2**24 - 1]


def test_empty_map_has_nothing() -> None:
    tables = MemoryTables()

    assert list(walk_leaves(tables, 0)) == []
    assert list(walk_differences(tables, 0, 0)) == []
    assert find_leaf(tables, 0, 5) == 0
    assert not any(load_page(tables, 0))


class CountingTables(MemoryTables):
    """Tables that count how often a page is looked up."""

    def __init__(self, tables: Mapping[Table, dict[bytes, bytes]]) -> None:
        super().__init__(tables)
        self.lookups = 0

    def get(self, table: Table, key: bytes) -> bytes | None:
        self.lookups += 1
        return super().get(table, key)


def test_comparing_costs_no_more_than_what_differs() -> None:
    """Design section 6: delete and diff look at the pages that differ, whatever n is."""
    tables, roots, _ = make_maps([(0, set(range(0, 2**16, 256))), (1, {0, 512})])
    differing = len(
        set(pages_of(tables, roots[2]).values()) - set(pages_of(tables, roots[1]).values())
    )
    counting = CountingTables(tables.tables)

    assert len(list(walk_differences(counting, roots[1], roots[2]))) == 2
    assert counting.lookups <= 2 * differing
    counting.lookups = 0
    assert len(list(walk_unshared(counting, roots[2], [roots[1]], 1))) == differing
    assert counting.lookups <= 2 * differing


@pytest.mark.parametrize("value", [None, b"", b"garbage"])
def test_missing_or_damaged_page_is_told(value: bytes | None) -> None:
    tables, roots, _ = make_maps([(0, {5})])
    leaf = find_leaf(tables, roots[1], 0)
    tables.delete(Table.PAGES, number_key(leaf))
    if value is not None:
        tables.put(Table.PAGES, number_key(leaf), value)

    with pytest.raises(CorruptionError) as caught:
        load_page(tables, leaf)
    assert caught.value.code is ErrorCode.CORRUPT_CATALOG
