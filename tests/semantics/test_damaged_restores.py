"""Restoring what is left of a snapshot whose stored bytes are damaged."""

from pathlib import Path

import pytest

from ebsim.engine import Store
from ebsim.errors import CorruptionError, StoreError
from ebsim.testing.contents import HEAD, NOISE, TEXT, noise_block
from ebsim.testing.damage import damage_block, place_of_block
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE

LAST_SIZE = 1000
BLANK = bytes(BLOCK_SIZE)


@pytest.fixture
def snapshot_id(store: Store) -> str:
    """A disk of noise, text, more noise, and a partial last block."""
    disk = disk_of(NOISE, TEXT, noise_block(1), HEAD[:LAST_SIZE])
    return store.create_snapshot(disk).snapshot_id


def test_damaged_blocks_become_zeros_and_every_range_is_told(
    store: Store, store_path: Path, fast_path: Path, snapshot_id: str
) -> None:
    for content in (TEXT, HEAD[:LAST_SIZE]):
        damage_block(store_path, content)
    target = fast_path / "rescued.img"

    report = store.restore_snapshot(snapshot_id, target, zero_damaged=True)

    assert report.damaged_ranges == (
        (BLOCK_SIZE, 2 * BLOCK_SIZE),
        (3 * BLOCK_SIZE, 3 * BLOCK_SIZE + LAST_SIZE),
    )
    assert not report.whole
    assert target.read_bytes() == NOISE + BLANK + noise_block(1) + bytes(LAST_SIZE)


def test_ranges_that_touch_are_told_as_one(
    store: Store, store_path: Path, fast_path: Path, snapshot_id: str
) -> None:
    for content in (TEXT, noise_block(1)):
        damage_block(store_path, content)

    report = store.restore_snapshot(snapshot_id, fast_path / "rescued.img", zero_damaged=True)

    assert report.damaged_ranges == ((BLOCK_SIZE, 3 * BLOCK_SIZE),)


def test_without_being_asked_for_no_zeros_are_written(
    store: Store, store_path: Path, fast_path: Path, snapshot_id: str
) -> None:
    damage_block(store_path, TEXT)

    with pytest.raises(CorruptionError):
        store.restore_snapshot(snapshot_id, fast_path / "rescued.img")

    assert not (fast_path / "rescued.img").exists()


def test_whole_snapshot_is_restored_as_ever(
    store: Store, fast_path: Path, snapshot_id: str
) -> None:
    report = store.restore_snapshot(snapshot_id, fast_path / "out.img", zero_damaged=True)

    assert (report.damaged_ranges, report.whole) == ((), True)


def test_in_place_a_block_that_is_right_already_is_kept(
    store: Store, store_path: Path, fast_path: Path, snapshot_id: str
) -> None:
    """Its stored bytes are damaged, but the target has the true ones."""
    for content in (NOISE, TEXT):
        damage_block(store_path, content)
    target = fast_path / "disk.img"
    target.write_bytes(NOISE + b"x" * (3 * BLOCK_SIZE + LAST_SIZE - BLOCK_SIZE))

    report = store.restore_snapshot(snapshot_id, target, in_place=True, zero_damaged=True)

    assert report.damaged_ranges == ((BLOCK_SIZE, 2 * BLOCK_SIZE),)
    assert target.read_bytes() == NOISE + BLANK + noise_block(1) + HEAD[:LAST_SIZE]


def test_missing_segment_loses_only_what_it_held(
    store: Store, store_path: Path, fast_path: Path, snapshot_id: str
) -> None:
    place_of_block(store_path, TEXT).path.unlink()
    target = fast_path / "rescued.img"

    report = store.restore_snapshot(snapshot_id, target, zero_damaged=True)

    size = 3 * BLOCK_SIZE + LAST_SIZE
    assert report.damaged_ranges == ((0, size),)
    assert target.read_bytes() == bytes(size)


def test_store_that_cannot_be_read_is_not_taken_for_damage(
    store: Store, fast_path: Path, snapshot_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too few descriptors say nothing about the bytes: no zeros are written for them."""

    def refuse(*_: object) -> object:
        raise StoreError("cannot read: too many open files") from OSError(24, "too many")

    monkeypatch.setattr(store._context.segments, "read_record", refuse)

    with pytest.raises(StoreError):
        store.restore_snapshot(snapshot_id, fast_path / "rescued.img", zero_damaged=True)

    assert not (fast_path / "rescued.img").exists()
