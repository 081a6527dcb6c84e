"""Two handles at work on one store, step by step: each meets what the other has just done."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ebsim.core import delete, ingest
from ebsim.engine import Store
from ebsim.errors import ErrorCode, InvalidInputError, SnapshotFailedError
from ebsim.testing.contents import HEAD, NOISE, TEXT, noise_block
from ebsim.testing.memory_store import MemoryStore
from ebsim.testing.observed_files import ObservedFiles
from ebsim.testing.sources import MemorySource, ObservedSource, disk_of
from ebsim.testing.synthetic import SyntheticSource
from ebsim.units import BLOCK_SIZE


def assert_sound(store: Store) -> None:
    report = store.check(data=True)
    assert (report.findings, report.orphan_bytes) == ((), 0)


class Meanwhile:
    """A source that lets something happen once, just before its block 1 is read."""

    def __init__(self, source: MemorySource) -> None:
        self.source = ObservedSource(source, self._before)
        self.done = False
        self.action: Callable[[], object] = lambda: None

    def _before(self, offset: int, _length: int) -> None:
        if offset == BLOCK_SIZE and not self.done:
            self.done = True
            self.action()


def test_block_that_was_found_and_is_freed_meanwhile_is_stored_again(disk: MemoryStore) -> None:
    one, two = disk.open(), disk.open()
    gone = two.create_snapshot(disk_of(NOISE, name="memory:gone")).snapshot_id
    meanwhile = Meanwhile(disk_of(NOISE, TEXT))
    meanwhile.action = lambda: two.delete_snapshots([gone])

    shown = one.create_snapshot(meanwhile.source)

    assert meanwhile.done
    assert [one.read_block(shown.snapshot_id, index) for index in (0, 1)] == [NOISE, TEXT]
    assert one.stats().blocks == 2
    assert_sound(two)


def test_block_that_was_freed_and_cannot_be_read_again_fails_the_snapshot(
    disk: MemoryStore,
) -> None:
    one, two = disk.open(), disk.open()
    gone = two.create_snapshot(disk_of(NOISE, name="memory:gone")).snapshot_id
    source = disk_of(NOISE, TEXT)
    meanwhile = Meanwhile(source)

    def delete_and_overwrite() -> None:
        two.delete_snapshots([gone])
        source.put(0, HEAD)

    meanwhile.action = delete_and_overwrite

    with pytest.raises(SnapshotFailedError, match="changed at offset 0") as caught:
        one.create_snapshot(meanwhile.source)

    assert caught.value.code is ErrorCode.SOURCE_CHANGED
    assert one.stats().blocks == 0
    assert_sound(two)


def test_block_that_another_stored_meanwhile_is_stored_once(disk: MemoryStore) -> None:
    one, two = disk.open(), disk.open()
    meanwhile = Meanwhile(disk_of(NOISE, TEXT))
    other: list[str] = []
    meanwhile.action = lambda: other.append(
        two.create_snapshot(disk_of(NOISE, name="memory:other")).snapshot_id
    )

    shown = one.create_snapshot(meanwhile.source)

    assert one.stats().blocks == 2
    assert_sound(two)
    one.delete_snapshots(other)
    assert one.read_block(shown.snapshot_id, 0) == NOISE
    assert_sound(two)


def test_deletion_is_planned_again_when_another_changed_what_it_builds_on(
    disk: MemoryStore,
) -> None:
    """The heir of the plan is deleted between the plan and its commit."""
    two = disk.open()
    source = disk_of(NOISE, TEXT)
    first, heir, last = (two.create_snapshot(source).snapshot_id for _ in range(3))
    deleted: list[str] = []

    def delete_the_heir(operation: str, path: Path) -> None:
        if operation == "create" and path.suffix == ".seg" and not deleted:
            deleted.append(heir)
            two.delete_snapshots([heir])

    one = disk.open(ObservedFiles(disk.files, delete_the_heir))
    (report,) = one.delete_snapshots([first]).deleted

    assert deleted == [heir]
    assert [move.snapshot_id for move in report.moved_to] == [last]
    assert two.get_snapshot(last).charged_size_bytes == 2 * BLOCK_SIZE
    assert two.read_block(last, 0) == NOISE
    assert_sound(two)


def test_pending_snapshot_that_is_deleted_goes_when_it_is_completed(disk: MemoryStore) -> None:
    """Semantics section 1.3: the call succeeds, and takes effect after completion."""
    one, two = disk.open(), disk.open()
    meanwhile = Meanwhile(disk_of(NOISE, TEXT))

    def delete() -> None:
        (pending,) = two.list_snapshots()
        for dry_run in (True, False):
            (report,) = two.delete_snapshots([pending.snapshot_id], dry_run=dry_run).deleted
            assert (report.freed_size_bytes, report.moved_to) == (0, ())
        assert [each.state for each in two.list_snapshots()] == ["pending"]

    meanwhile.action = delete

    assert one.create_snapshot(meanwhile.source).progress_percent == 100
    assert meanwhile.done
    assert two.list_snapshots() == []
    assert_sound(two)


def test_store_is_sound_while_a_snapshot_is_made_and_its_parent_deleted(
    disk: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With batches published already, and a hold on a map that nobody else has any more."""
    monkeypatch.setattr(ingest, "BATCH_CHANGES", 1)
    one, two = disk.open(), disk.open()
    stamps = np.zeros(20 * 256, dtype=np.uint64)
    stamps[::256] = np.arange(1, 21, dtype=np.uint64)
    source = SyntheticSource("memory:wide", len(stamps) * BLOCK_SIZE, stamps)
    parent = one.create_snapshot(source).snapshot_id
    stamps[: 19 * 256 : 256] += np.uint64(100)
    looked: list[int] = []

    def look(offset: int, _length: int) -> None:
        if offset == 18 * 256 * BLOCK_SIZE:
            assert_findings_none(two)
            two.delete_snapshots([parent])
            assert_findings_none(two)
            looked.append(offset)

    shown = one.create_snapshot(ObservedSource(source, look))

    assert looked
    assert shown.charged_size_bytes == 20 * BLOCK_SIZE
    assert one.read_block(shown.snapshot_id, 19 * 256)[:8] == (20).to_bytes(8, "little")
    assert_sound(two)


def assert_findings_none(store: Store) -> None:
    assert store.check(data=True).findings == ()


def test_too_many_snapshots_at_once_are_refused(
    disk: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal entry has a largest size."""
    monkeypatch.setattr(delete, "SNAPSHOTS_MAX", 2)
    store = disk.open()
    source = disk_of(noise_block(1))
    names = [store.create_snapshot(source).snapshot_id for _ in range(3)]

    with pytest.raises(InvalidInputError, match="At most 2"):
        store.delete_snapshots(names)
    assert len(store.list_snapshots()) == 3
    store.delete_snapshots(names[:2])
