"""Keys sort as their numbers do; values come back, and nothing else passes for one."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebsim.errors import CorruptionError
from ebsim.format.block_hash import BlockHash
from ebsim.format.catalog_values import (
    BlockRecord,
    MetaRecord,
    NodeKind,
    NodeRecord,
    SegmentRecord,
    SegmentState,
    Table,
    hash_key,
    ledger_key,
    number_key,
    pair_key,
    parse_number_key,
    parse_pair_key,
    parse_punch_key,
    punch_key,
)
from ebsim.format.segment import ALIGNMENT

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
ALIGNED = U32.map(lambda unit: unit * ALIGNMENT)
HASHES = st.binary(min_size=32, max_size=32).map(BlockHash)

BLOCKS = st.builds(BlockRecord, U32, ALIGNED, ALIGNED, U32, HASHES)
SEGMENTS = st.builds(
    SegmentRecord,
    st.binary(min_size=16, max_size=16),
    st.sampled_from(SegmentState),
    U64,
    U64,
    U64,
)
NODES = st.builds(
    NodeRecord, st.sampled_from(NodeKind), U64, U64, st.sampled_from(["", "snap-0123456789abcdef0"])
)
METAS = st.builds(MetaRecord, U32, ALIGNED, ALIGNED, U32, U32)

BLOCK = BlockRecord(1, 2 * ALIGNMENT, 3 * ALIGNMENT, 4, BlockHash(bytes(range(32))))
SEGMENT = SegmentRecord(b"s" * 16, SegmentState.SEALED, 2 * ALIGNMENT, ALIGNMENT, 7)
NODE = NodeRecord(NodeKind.HOLD, 1, 2, "snap-0123456789abcdef0")
META = MetaRecord(1, 2 * ALIGNMENT, 3 * ALIGNMENT, 4, 5)


# keys


@given(U64, U64)
def test_number_keys_sort_as_numbers(one: int, two: int) -> None:
    assert (number_key(one) < number_key(two)) == (one < two)
    assert parse_number_key(number_key(one)) == one


@given(st.tuples(U64, U64), st.tuples(U64, U64))
def test_pair_keys_sort_as_pairs(one: tuple[int, int], two: tuple[int, int]) -> None:
    assert (pair_key(*one) < pair_key(*two)) == (one < two)
    assert parse_pair_key(pair_key(*one)) == one
    assert pair_key(*one).startswith(number_key(one[0]))


@given(st.tuples(U32, U64), st.tuples(U32, U64))
def test_punch_keys_sort_as_places(one: tuple[int, int], two: tuple[int, int]) -> None:
    assert (punch_key(*one) < punch_key(*two)) == (one < two)
    assert parse_punch_key(punch_key(*one)) == one
    assert (punch_key(*one)[:4] == punch_key(*two)[:4]) == (one[0] == two[0])


@given(st.tuples(U64, U32), st.tuples(U64, U32))
def test_ledger_keys_sort_as_commits(one: tuple[int, int], two: tuple[int, int]) -> None:
    assert (ledger_key(*one) < ledger_key(*two)) == (one < two)


@given(HASHES)
def test_hash_key_is_the_beginning_of_the_hash(block_hash: BlockHash) -> None:
    assert block_hash.startswith(hash_key(block_hash))
    assert len(hash_key(block_hash)) >= 16  # fewer bytes would make chance meetings likely


def test_keys_fit_into_lmdb_and_tables_have_names_of_their_own() -> None:
    keys = [
        number_key(2**64 - 1),
        pair_key(2**64 - 1, 2**64 - 1),
        punch_key(2**32 - 1, 2**64 - 1),
        ledger_key(2**64 - 1, 2**32 - 1),
        hash_key(BLOCK.block_hash),
    ]

    assert max(len(key) for key in keys) <= 511
    assert len({table.value for table in Table}) == len(Table)


# values


@given(BLOCKS)
def test_block_record_comes_back(record: BlockRecord) -> None:
    assert BlockRecord.decode(record.encode()) == record
    assert len(record.encode()) == 48


@given(SEGMENTS)
def test_segment_record_comes_back(record: SegmentRecord) -> None:
    assert SegmentRecord.decode(record.encode()) == record


@given(NODES)
def test_node_record_comes_back(record: NodeRecord) -> None:
    assert NodeRecord.decode(record.encode()) == record


@given(METAS)
def test_meta_record_comes_back(record: MetaRecord) -> None:
    assert MetaRecord.decode(record.encode()) == record


@pytest.mark.parametrize(("change", "references"), [(1, 5), (-3, 1), (-4, 0), (-5, -1)])
def test_references_are_counted(change: int, references: int) -> None:
    assert BLOCK.referenced(change).references == references
    assert BLOCK.references == 4


@pytest.mark.parametrize("record", [BLOCK, SEGMENT, NODE, META])
@pytest.mark.parametrize(
    "spoil", [lambda data: b"", lambda data: data[:-1], lambda data: data + b"\0"]
)
def test_value_of_another_length_is_damage(
    record: BlockRecord | SegmentRecord | NodeRecord | MetaRecord,
    spoil: Callable[[bytes], bytes],
) -> None:
    with pytest.raises(CorruptionError):
        type(record).decode(spoil(record.encode()))


def test_state_that_nobody_knows_is_damage() -> None:
    data = bytearray(SEGMENT.encode())
    data[16] = 2

    with pytest.raises(CorruptionError):
        SegmentRecord.decode(bytes(data))


def test_kind_of_node_that_nobody_knows_is_damage() -> None:
    data = bytearray(NODE.encode())
    data[0] = max(NodeKind) + 1

    with pytest.raises(CorruptionError):
        NodeRecord.decode(bytes(data))


def test_snapshot_id_that_is_no_text_is_no_snapshot_s() -> None:
    data = bytearray(NODE.encode())
    data[-1] = 0xFF

    assert NodeRecord.decode(bytes(data)).snapshot_id not in ("", NODE.snapshot_id)
