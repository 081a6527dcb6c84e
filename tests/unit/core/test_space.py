"""Live bytes, stored blocks, and what is to be given back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebsim.core.block_table import (
    add_blocks,
    find_block,
    get_block,
    reference_block,
    release_block,
)
from ebsim.core.space import (
    SpaceChange,
    count_items,
    forget_segment,
    get_segment,
    mark_sealed,
    meta_record,
    open_segments,
    put_segment,
    reclaim_pending,
    release_items,
)
from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.block_hash import BlockHash
from ebsim.format.catalog_values import (
    BlockRecord,
    MetaRecord,
    SegmentRecord,
    SegmentState,
    Table,
    number_key,
    parse_number_key,
    punch_key,
)
from ebsim.format.segment import ALIGNMENT
from ebsim.testing.memory_catalog import MemoryTables, new_tables

A, B = BlockHash(b"a" * 32), BlockHash(b"b" * 32)
ALIKE = BlockHash(b"a" * 16 + b"c" * 16)
"""A hash that begins as A does."""


@pytest.fixture
def tables() -> MemoryTables:
    """The catalog with two segments, 1 and 2, in which nothing is live."""
    tables = new_tables()
    for number in (1, 2):
        record = SegmentRecord(bytes([number]) * 16, SegmentState.OPEN, 9 * ALIGNMENT, 0, 7)
        put_segment(tables, number, record)
    return tables


def live_bytes(tables: MemoryTables) -> list[int]:
    return [get_segment(tables, number).live_bytes for number in (1, 2)]


def queued(tables: MemoryTables) -> dict[tuple[int, int], int]:
    """Return what is to be given back: extent by segment and offset."""
    places = [(s, o * ALIGNMENT) for s in (1, 2) for o in range(100)]
    found = {place: tables.get(Table.PUNCH, punch_key(*place)) for place in places}
    return {place: int.from_bytes(value, "little") for place, value in found.items() if value}


def block(block_hash: BlockHash, references: int = 1, offset: int = ALIGNMENT) -> BlockRecord:
    return BlockRecord(1, offset, 2 * ALIGNMENT, references, block_hash)


# live bytes


def test_changes_of_a_transaction_are_summed_up_for_each_segment(tables: MemoryTables) -> None:
    space = SpaceChange(tables)
    space.use(1, 3 * ALIGNMENT)
    space.use(2, ALIGNMENT)
    space.use(1, ALIGNMENT)
    space.free(1, 5 * ALIGNMENT, ALIGNMENT)
    assert live_bytes(tables) == [0, 0]

    space.save()

    assert live_bytes(tables) == [3 * ALIGNMENT, ALIGNMENT]
    assert queued(tables) == {(1, 5 * ALIGNMENT): ALIGNMENT}
    assert space.freed_bytes == ALIGNMENT


def test_saving_twice_counts_once(tables: MemoryTables) -> None:
    space = SpaceChange(tables)
    space.use(1, ALIGNMENT)

    space.save()
    space.save()

    assert live_bytes(tables) == [ALIGNMENT, 0]


def test_bytes_that_were_never_referred_to_are_given_back_without_being_live(
    tables: MemoryTables,
) -> None:
    space = SpaceChange(tables)
    assert not reclaim_pending(tables)

    space.discard(2, 3 * ALIGNMENT, ALIGNMENT)
    space.save()

    assert live_bytes(tables) == [0, 0]
    assert queued(tables) == {(2, 3 * ALIGNMENT): ALIGNMENT}
    assert reclaim_pending(tables)


def test_other_facts_of_a_segment_stay(tables: MemoryTables) -> None:
    space = SpaceChange(tables)
    space.use(1, ALIGNMENT)
    space.save()
    mark_sealed(tables, [1])

    assert get_segment(tables, 1) == SegmentRecord(
        b"\1" * 16, SegmentState.SEALED, 9 * ALIGNMENT, ALIGNMENT, 7
    )
    assert get_segment(tables, 2).state is SegmentState.OPEN


def named(tables: MemoryTables) -> tuple[list[int], list[int]]:
    """Return which segments of session 7 are open, and which segments are empty."""
    still_open = [number for number, _ in open_segments(tables, 7)]
    return still_open, [parse_number_key(key) for key in tables.keys(Table.EMPTY_SEGMENTS)]


def test_segments_are_found_by_their_session_as_long_as_they_are_open(
    tables: MemoryTables,
) -> None:
    other = SegmentRecord(b"\3" * 16, SegmentState.OPEN, ALIGNMENT, 0, 8)
    put_segment(tables, 3, other)
    assert open_segments(tables, 7) == [(n, get_segment(tables, n)) for n in (1, 2)]
    assert open_segments(tables, 8) == [(3, other)]
    assert open_segments(tables, 9) == []

    mark_sealed(tables, [2, 3])

    assert open_segments(tables, 7) == [(1, get_segment(tables, 1))]
    assert open_segments(tables, 8) == []


def test_segment_is_empty_when_it_is_sealed_and_nothing_is_live(tables: MemoryTables) -> None:
    space = SpaceChange(tables)
    space.use(1, 2 * ALIGNMENT)
    space.save()
    assert named(tables) == ([1, 2], [])
    assert not reclaim_pending(tables)

    mark_sealed(tables, [1, 2])
    assert named(tables) == ([], [2])
    assert reclaim_pending(tables)

    space.free(1, ALIGNMENT, ALIGNMENT)
    space.save()
    assert named(tables) == ([], [2])

    space.free(1, 2 * ALIGNMENT, ALIGNMENT)
    space.save()
    assert named(tables) == ([], [1, 2])


def test_forgotten_segment_is_named_nowhere(tables: MemoryTables) -> None:
    mark_sealed(tables, [1])

    forget_segment(tables, 1)
    forget_segment(tables, 2)

    assert named(tables) == ([], [])
    assert tables.count(Table.SEGMENTS) == tables.count(Table.OPEN_SEGMENTS) == 0


def test_unknown_segment_is_damage(tables: MemoryTables) -> None:
    with pytest.raises(CorruptionError, match="segment 3") as caught:
        get_segment(tables, 3)

    assert caught.value.code is ErrorCode.CORRUPT_CATALOG


# stored blocks


def test_block_is_found_by_its_content(tables: MemoryTables) -> None:
    space = SpaceChange(tables)

    first = add_blocks(tables, space, [block(A, 2), block(B, 1, 3 * ALIGNMENT)])
    space.save()

    assert (find_block(tables, A), find_block(tables, B)) == (first, first + 1)
    assert get_block(tables, first) == block(A, 2)
    assert live_bytes(tables) == [4 * ALIGNMENT, 0]


def test_block_with_a_hash_that_begins_alike_is_not_found(
    tables: MemoryTables,
) -> None:
    add_blocks(tables, SpaceChange(tables), [block(A)])

    assert find_block(tables, ALIKE) is None
    assert find_block(tables, B) is None


def test_block_goes_with_its_last_reference(tables: MemoryTables) -> None:
    space = SpaceChange(tables)
    block_id = add_blocks(tables, space, [block(A, 2)])
    reference_block(tables, block_id, 3)

    release_block(tables, space, block_id, 4)
    space.save()
    assert get_block(tables, block_id).references == 1
    assert queued(tables) == {}

    release_block(tables, space, block_id, 1)
    space.save()
    assert find_block(tables, A) is None
    assert tables.count(Table.BLOCKS) == tables.count(Table.HASHES) == 0
    assert queued(tables) == {(1, ALIGNMENT): 2 * ALIGNMENT}
    assert live_bytes(tables) == [0, 0]


def test_content_that_went_and_returns_is_another_block(tables: MemoryTables) -> None:
    space = SpaceChange(tables)
    first = add_blocks(tables, space, [block(A)])
    release_block(tables, space, first, 1)

    assert add_blocks(tables, space, [block(A, 1, 5 * ALIGNMENT)]) > first


def test_release_of_more_references_than_there_are_is_damage(tables: MemoryTables) -> None:
    space = SpaceChange(tables)
    block_id = add_blocks(tables, space, [block(A, 2)])

    with pytest.raises(CorruptionError, match="more often"):
        release_block(tables, space, block_id, 3)
    assert get_block(tables, block_id).references == 2


def test_unknown_block_is_damage(tables: MemoryTables) -> None:
    with pytest.raises(CorruptionError, match="block 77"):
        get_block(tables, 77)


# records that hold several things


def put_items(tables: MemoryTables, *sizes: int, gap: int = 0) -> dict[int, int]:
    """Put records of so many items each; return the first item of the one that has an item."""
    owner, first = {}, 1
    for position, size in enumerate(sizes):
        record = MetaRecord(1, (position + 1) * ALIGNMENT, ALIGNMENT, size, size)
        tables.put(Table.PAGE_RECORDS, number_key(first), record.encode())
        owner.update(dict.fromkeys(range(first, first + size), first))
        first += size + gap
    space = SpaceChange(tables)
    space.use(1, len(sizes) * ALIGNMENT)
    space.save()
    return owner


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(0, 3), st.data())
def test_items_are_counted_by_the_record_that_holds_them(
    sizes: list[int], gap: int, data: st.DataObject
) -> None:
    tables = new_tables()
    tables.put(
        Table.SEGMENTS, number_key(1), SegmentRecord(b"1" * 16, SegmentState.OPEN, 0, 0, 1).encode()
    )
    owner = put_items(tables, *sizes, gap=gap)
    numbers = data.draw(st.lists(st.sampled_from(sorted(owner)), unique=True))

    counts = count_items(tables, Table.PAGE_RECORDS, numbers)

    firsts = [owner[number] for number in numbers]
    assert counts == {first: firsts.count(first) for first in firsts}


def test_record_goes_with_its_last_item(tables: MemoryTables) -> None:
    put_items(tables, 3, 2)
    space = SpaceChange(tables)

    release_items(tables, space, Table.PAGE_RECORDS, [4, 1, 3])
    space.save()
    assert meta_record(tables, Table.PAGE_RECORDS, number_key(1)).live == 1
    assert meta_record(tables, Table.PAGE_RECORDS, number_key(4)).live == 1
    assert queued(tables) == {}

    release_items(tables, space, Table.PAGE_RECORDS, [2])
    space.save()
    assert tables.get(Table.PAGE_RECORDS, number_key(1)) is None
    assert queued(tables) == {(1, ALIGNMENT): ALIGNMENT}
    assert live_bytes(tables) == [ALIGNMENT, 0]
    with pytest.raises(CorruptionError, match="page_records"):
        meta_record(tables, Table.PAGE_RECORDS, number_key(1))


@pytest.mark.parametrize("number", [0, 4, 5, 8, 10**9])
def test_item_that_no_record_holds_is_damage(tables: MemoryTables, number: int) -> None:
    put_items(tables, 3, 2, gap=2)  # 1 to 3, and 6 to 7

    with pytest.raises(CorruptionError, match=f"know {number}") as caught:
        count_items(tables, Table.PAGE_RECORDS, [2, number, 6])
    assert caught.value.code is ErrorCode.CORRUPT_CATALOG
