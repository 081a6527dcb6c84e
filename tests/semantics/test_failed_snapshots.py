"""Sources that cannot be read to their end: the snapshot is `error`, and nothing else changes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ebsim.config import SnapshotOptions
from ebsim.engine import Store
from ebsim.errors import (
    ConflictError,
    ErrorCode,
    SnapshotFailedError,
)
from ebsim.ids import SnapshotId
from ebsim.results import Snapshot
from ebsim.storage.sources import BlockSource
from ebsim.testing.contents import HEAD, NOISE, TAIL, TEXT, noise_block, palette_block
from ebsim.testing.invariants import assert_healthy, assert_holds_nothing, assert_store_matches
from ebsim.testing.model import ReferenceModel
from ebsim.testing.sources import FailingSource, MemorySource, disk_of
from ebsim.units import BLOCK_SIZE

FAILURES: dict[str, tuple[Callable[[MemorySource], FailingSource], list[str]]] = {
    "unreadable block": (
        lambda disk: FailingSource(disk, unreadable_block=2),
        [str(2 * BLOCK_SIZE), "Input/output error"],
    ),
    "unreadable first block": (
        lambda disk: FailingSource(disk, unreadable_block=0),
        ["offset 0", "Input/output error"],
    ),
    "shrinks while it is read": (
        lambda disk: FailingSource(disk, ends_at=3 * BLOCK_SIZE + 5),
        ["changed", str(3 * BLOCK_SIZE + 5)],
    ),
    "grows while it is read": (
        lambda disk: FailingSource(disk, grows=True),
        ["changed", str(5 * BLOCK_SIZE)],
    ),
}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("with_parent", [True, False])
def test_failing_source_ends_as_error_and_changes_nothing_else(
    store: Store, name: str, with_parent: bool
) -> None:
    """F31 and F32: the message names offset and reason; nothing is held and nothing charged."""
    make, words = FAILURES[name]
    other = disk_of(NOISE, name="memory:other")
    disk = disk_of(NOISE, TEXT, HEAD, TAIL)
    model = ReferenceModel()
    snapshot_both(store, model, other)
    if with_parent:
        snapshot_both(store, model, disk)
    before = store.stats()
    disk.put(1, palette_block(8))
    disk.put(3, palette_block(9))

    with pytest.raises(SnapshotFailedError) as caught:
        store.create_snapshot(make(disk))

    failed = store.get_snapshot(caught.value.snapshot_id or "")
    assert_holds_nothing(failed)
    for word in words:
        assert word in failed.state_message
        assert word in str(caught.value)
    assert failed in store.list_snapshots()
    assert_store_matches(store, model)
    after = store.stats()
    assert after.live_size_bytes == before.live_size_bytes
    assert after.charged_size_bytes == before.charged_size_bytes
    assert_healthy(store)


def snapshot_both(store: Store, model: ReferenceModel, disk: MemorySource) -> Snapshot:
    """Snapshot a disk in the store and in the model."""
    shown = store.create_snapshot(disk)
    if disk.identity not in model.volumes:
        model.add_volume(disk.identity, disk.size_bytes)
    for start in range(0, disk.size_bytes, BLOCK_SIZE):
        model.write(disk.identity, start // BLOCK_SIZE, disk.read(start, start + BLOCK_SIZE))
    model.snapshot(disk.identity, shown.snapshot_id)
    return shown


def fail(store: Store, source: BlockSource) -> SnapshotId:
    with pytest.raises(SnapshotFailedError) as caught:
        store.create_snapshot(source)
    return store.get_snapshot(caught.value.snapshot_id or "").snapshot_id


def test_failed_snapshot_is_no_parent(store: Store) -> None:
    disk = disk_of(NOISE, TEXT)
    first = store.create_snapshot(disk)
    fail(store, FailingSource(disk, unreadable_block=1))

    second = store.create_snapshot(disk)

    assert second.parent_id == first.snapshot_id
    assert second.incremental_size_bytes == 0


def test_failed_snapshot_can_be_deleted(store: Store) -> None:
    failed = fail(store, FailingSource(disk_of(NOISE, TEXT), unreadable_block=1))

    (report,) = store.delete_snapshots([failed]).deleted

    assert report.snapshot_id == failed
    assert (report.freed_size_bytes, report.moved_size_bytes, report.moved_to) == (0, 0, ())
    assert store.list_snapshots() == []


def test_failed_snapshot_can_be_neither_restored_nor_compared_nor_continued(
    store: Store, fast_path: Path
) -> None:
    disk = disk_of(NOISE)
    good = store.create_snapshot(disk).snapshot_id
    failed = fail(store, FailingSource(disk, unreadable_block=0))
    refused: list[Callable[[], object]] = [
        lambda: store.restore_snapshot(failed, fast_path / "out.img"),
        lambda: store.diff_snapshots(good, failed),
        lambda: store.diff_snapshots(failed, good),
        lambda: store.read_block(failed, 0),
        lambda: store.create_snapshot(
            disk_of(NOISE, name="memory:other"), SnapshotOptions(parent=failed)
        ),
    ]

    for operation in refused:
        with pytest.raises(ConflictError) as caught:
            operation()
        assert caught.value.code is ErrorCode.INCORRECT_STATE
    assert not (fast_path / "out.img").exists()
    assert len(store.list_snapshots()) == 2


def test_space_of_a_failed_snapshot_is_used_again(store: Store) -> None:
    """Twenty failures of 4 MiB each leave no 80 MiB behind."""
    disk = disk_of(*(noise_block(number) for number in range(8)), b"end")
    for _ in range(20):
        fail(store, FailingSource(disk, unreadable_block=8))

    assert store.stats().blocks == 0
    assert store.stats().stored_size_bytes < 2 * disk.size_bytes
