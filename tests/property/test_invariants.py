"""The invariants see what they look for: each test makes the model wrong in one way."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ebsim.engine import Store
from ebsim.errors import SnapshotFailedError
from ebsim.testing.contents import HEAD, NOISE, TAIL, TEXT
from ebsim.testing.invariants import (
    assert_healthy,
    assert_holds_nothing,
    assert_ledger_matches,
    assert_store_matches,
    assert_totals_match,
)
from ebsim.testing.model import ReferenceModel
from ebsim.testing.sources import FailingSource, MemorySource, disk_of

DISK = "memory:disk"


def snapshot(store: Store, model: ReferenceModel, disk: MemorySource, *blocks: bytes) -> str:
    for index, block in enumerate(blocks):
        disk.put(index, block)
        model.write(DISK, index, block)
    shown = store.create_snapshot(disk)
    model.snapshot(DISK, shown.snapshot_id)
    return shown.snapshot_id


@pytest.fixture
def model(store: Store) -> ReferenceModel:
    """Two snapshots, in the store and in the model."""
    model = ReferenceModel()
    disk = disk_of(TEXT, TEXT)
    model.add_volume(DISK, disk.size_bytes)
    snapshot(store, model, disk, TEXT, NOISE)
    snapshot(store, model, disk, HEAD, NOISE)
    return model


def test_store_that_matches_passes(store: Store, model: ReferenceModel) -> None:
    assert_store_matches(store, model)
    assert_healthy(store)


def forget_the_youngest(model: ReferenceModel) -> None:
    model.delete([list(model.snapshots)[-1]])


def reverse_the_order(model: ReferenceModel) -> None:
    model.snapshots = dict(reversed(model.snapshots.items()))


def change(model: ReferenceModel, **facts: object) -> None:
    youngest = list(model.snapshots)[-1]
    model.snapshots[youngest] = replace(model.snapshots[youngest], **facts)  # type: ignore[arg-type]


def lose_a_version(model: ReferenceModel) -> None:
    youngest = model.snapshots[list(model.snapshots)[-1]]
    del youngest.versions[0]


def swap_two_contents(model: ReferenceModel) -> None:
    youngest = model.snapshots[list(model.snapshots)[-1]]
    youngest.versions[0], youngest.versions[1] = youngest.versions[1], youngest.versions[0]


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (forget_the_youngest, "completed snapshots"),
        (reverse_the_order, "completed snapshots"),
        (lambda model: change(model, size_bytes=7), "exact size"),
        (lambda model: change(model, parent_id=None), "parent"),
        (lambda model: change(model, incremental_blocks=0), "incremental size"),
        (lose_a_version, "full size"),
        (swap_two_contents, "block 0"),
    ],
)
def test_each_difference_is_seen(
    store: Store, model: ReferenceModel, spoil: Callable[[ReferenceModel], None], word: str
) -> None:
    spoil(model)

    with pytest.raises(AssertionError, match=word):
        assert_store_matches(store, model)


def test_ledger_of_another_history_is_seen(store: Store, model: ReferenceModel) -> None:
    model.delete([next(iter(model.snapshots))])

    with pytest.raises(AssertionError, match="ledger"):
        assert_ledger_matches(store, model)
    with pytest.raises(AssertionError, match="stats"):
        assert_totals_match(store, model)


def test_completed_snapshot_is_not_an_empty_one(store: Store, model: ReferenceModel) -> None:
    with pytest.raises(AssertionError, match="state"):
        assert_holds_nothing(store.list_snapshots()[0])


def test_failed_snapshot_beside_the_model_is_fine(store: Store, model: ReferenceModel) -> None:
    with pytest.raises(SnapshotFailedError):
        store.create_snapshot(FailingSource(disk_of(TAIL, name="memory:other"), unreadable_block=0))

    assert_store_matches(store, model)


def test_altered_byte_is_no_health(store: Store, model: ReferenceModel, store_path: Path) -> None:
    """Flip one byte in the middle of each segment file: a stored block is 512 KiB of it."""
    segments = list((store_path / "segments").iterdir())
    for path in segments:
        stored = bytearray(path.read_bytes())
        stored[len(stored) // 2] ^= 0x10
        path.write_bytes(stored)

    assert segments
    with pytest.raises(AssertionError, match="findings"):
        assert_healthy(store)
