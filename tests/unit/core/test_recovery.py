"""Recovery: what a process that died left is cleaned up, and nobody else's is touched."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from ebsim.core import ingest
from ebsim.core.abandon import published_ranges
from ebsim.core.context import StoreContext
from ebsim.core.sessions import current_session
from ebsim.engine import Store
from ebsim.format.catalog_values import Table
from ebsim.format.segment import ALIGNMENT, Codec, RecordKind
from ebsim.ids import SnapshotId
from ebsim.results import Snapshot, SnapshotState
from ebsim.storage.locks import Region
from ebsim.storage.segments import BlockFacts
from ebsim.storage.sources import BlockSource
from ebsim.testing.contents import HEAD, NOISE, TEXT
from ebsim.testing.memory_catalog import MemoryTables
from ebsim.testing.memory_store import MemoryStore, leave_as_if_killed
from ebsim.testing.observed_files import ObservedFiles
from ebsim.testing.sources import ObservedSource, disk_of
from ebsim.testing.synthetic import SyntheticSource
from ebsim.units import BLOCK_SIZE

LEAVES = 20
LEAF_BLOCKS = 256


class Killed(BaseException):
    """Stands for SIGKILL: nothing that catches errors catches it."""


def wide_source(first_stamp: int) -> SyntheticSource:
    """Return a source with one block in each of many leaves."""
    stamps = np.zeros(LEAVES * LEAF_BLOCKS, dtype=np.uint64)
    stamps[::LEAF_BLOCKS] = np.arange(first_stamp, first_stamp + LEAVES, dtype=np.uint64)
    return SyntheticSource("memory:wide", len(stamps) * BLOCK_SIZE, stamps)


def killed_at(disk: MemoryStore, source: BlockSource, leaf: int) -> StoreContext:
    """Take a snapshot in a handle that is killed when it reads this leaf; return what was it."""
    context = disk.context()

    def before(offset: int, _length: int) -> None:
        if offset >= leaf * LEAF_BLOCKS * BLOCK_SIZE:
            context.poison = "killed"
            raise Killed

    with pytest.raises(Killed):
        Store(context).create_snapshot(ObservedSource(source, before))
    leave_as_if_killed(context)
    return context


def pending_of(context: StoreContext) -> list[Snapshot]:
    listed = Store(context).list_snapshots()
    return [shown for shown in listed if shown.state is SnapshotState.PENDING]


def count(context: StoreContext, *tables: Table) -> list[int]:
    with context.catalog.read() as reader:
        return [reader.count(table) for table in tables]


def assert_clean(context: StoreContext) -> None:
    """Look that nothing is pending, waits to be given back, or lies about for nobody."""
    left = (
        Table.SESSIONS,
        Table.PENDING_SNAPSHOTS,
        Table.PENDING_RANGES,
        Table.OPEN_SEGMENTS,
        Table.EMPTY_SEGMENTS,
        Table.FREED,
        Table.PUNCH,
    )
    assert count(context, *left) == [0] * len(left)
    report = Store(context).check(data=True)
    assert report.findings == ()
    assert report.orphan_bytes == 0
    assert pending_of(context) == []


def test_pending_snapshot_of_a_dead_session_becomes_error(disk: MemoryStore) -> None:
    dead = killed_at(disk, disk_of(TEXT, NOISE), 0)
    (pending,) = pending_of(dead)

    store = disk.open()

    shown = store.get_snapshot(pending.snapshot_id)
    assert shown.state is SnapshotState.ERROR
    assert "died" in shown.state_message
    assert str(os.getpid()) in shown.state_message
    assert (shown.full_size_bytes, shown.charged_size_bytes, shown.progress_percent) == (0, 0, 0)
    assert shown.completion_time_us is not None
    assert_clean(disk.context())
    assert count(disk.context(), Table.SEGMENTS) == [0]
    assert disk.context().segments.list_ids() == set()


def test_published_batches_of_a_dead_session_are_freed(
    disk: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "BATCH_CHANGES", 1)
    dead = killed_at(disk, wide_source(1), LEAVES - 2)
    (pending,) = pending_of(dead)
    with dead.catalog.read() as reader:
        ranges = published_ranges(reader, SnapshotId(pending.snapshot_id))
    assert ranges
    assert count(dead, Table.BLOCKS)[0] == sum(versions for _, versions, _, _ in ranges)
    assert 0 < pending.progress_percent < 100

    disk.open()

    assert_clean(disk.context())
    assert count(disk.context(), Table.BLOCKS, Table.VERSIONS, Table.PAGES) == [0, 0, 0]
    assert disk.context().segments.stored_bytes() == 0


def test_dead_snapshot_leaves_its_parent_and_the_others_as_they_are(
    disk: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It found blocks of theirs in the store, and it held its parent's map."""
    with disk.open() as store:
        first = store.create_snapshot(wide_source(1))
        stored = store.stats().stored_size_bytes
    monkeypatch.setattr(ingest, "BATCH_CHANGES", 1)
    killed_at(disk, wide_source(10), LEAVES - 2)
    assert count(disk.context(), Table.NODES) == [2]

    with disk.open() as store:
        assert_clean(disk.context())
        assert store.stats().stored_size_bytes == stored
        assert store.stats().blocks == LEAVES
        assert count(disk.context(), Table.NODES) == [1]
        again = store.create_snapshot(wide_source(10))
        assert again.parent_id == first.snapshot_id
        assert again.incremental_size_bytes == LEAVES * BLOCK_SIZE
        (report,) = store.delete_snapshots([first.snapshot_id]).deleted
        assert report.freed_size_bytes == LEAVES * BLOCK_SIZE
        assert_clean_but_for_the_session(disk)


def assert_clean_but_for_the_session(disk: MemoryStore) -> None:
    report = Store(disk.context()).check(data=True)
    assert (report.findings, report.orphan_bytes) == ((), 0)


def test_segments_of_a_dead_session_are_cut_off_behind_what_was_published(
    disk: MemoryStore,
) -> None:
    context = disk.context()
    Store(context).create_snapshot(disk_of(TEXT))
    segment = current_session(context).borrow_segment()
    end = segment.writer.end
    segment.writer.append(RecordKind.BLOCK, NOISE, BlockFacts(Codec.PLAIN, bytes(32)))
    stored = context.segments.stored_bytes()
    leave_as_if_killed(context)

    disk.open()

    assert disk.context().segments.stored_bytes() < stored
    assert disk.context().segments.stored_bytes() == end
    assert_clean(disk.context())


def test_segment_of_which_only_the_beginning_was_written_is_dropped(disk: MemoryStore) -> None:
    """Killed within the first 4096 bytes, or before the first of them."""
    for size in (0, 100, ALIGNMENT):
        context = disk.context()
        segment = current_session(context).borrow_segment()
        disk.files.open(
            Path(f"/store/segments/{segment.writer.segment_id.hex()}.seg"), writable=True
        ).truncate(size)
        leave_as_if_killed(context)

        disk.open()

        assert_clean(disk.context())
        assert disk.context().segments.list_ids() == set()


def test_live_session_is_left_alone(disk: MemoryStore) -> None:
    """Another handle opens the store while this one is in the middle of a snapshot."""
    context = disk.context()
    seen: list[Snapshot] = []

    def look(_offset: int, _length: int) -> None:
        if not seen:
            seen.extend(pending_of(disk.open()._context))

    done = Store(context).create_snapshot(ObservedSource(disk_of(TEXT), look))

    assert [shown.snapshot_id for shown in seen] == [done.snapshot_id]
    assert done.state is SnapshotState.COMPLETED
    assert_clean_but_for_the_session(disk)
    assert count(context, Table.SESSIONS) == [1]


def test_dead_session_beside_a_live_one_is_cleaned_up(disk: MemoryStore) -> None:
    live = disk.open()
    live.create_snapshot(disk_of(TEXT))
    killed_at(disk, disk_of(HEAD, name="memory:other"), 0)

    disk.open()

    assert pending_of(live._context) == []
    assert count(disk.context(), Table.SESSIONS) == [1]
    live.create_snapshot(disk_of(NOISE))
    live.close()
    assert_clean(disk.context())


def test_recovery_costs_no_transaction_where_nothing_is_to_be_done(disk: MemoryStore) -> None:
    updates: list[MemoryTables] = []
    with disk.open() as store:
        store.create_snapshot(disk_of(TEXT))
    disk.catalog.before_update = updates.append

    live = disk.open()
    disk.open()
    live.close()

    assert updates == []


def deleted_but_not_reclaimed(disk: MemoryStore) -> None:
    """Delete a snapshot in a handle that is killed between the commit and the freeing."""
    with disk.open() as store:
        gone = store.create_snapshot(disk_of(NOISE)).snapshot_id
        store.create_snapshot(disk_of(TEXT))
    context = disk.context()

    def die_when_freed(view: MemoryTables) -> None:
        if view.count(Table.FREED):
            raise Killed

    disk.catalog.before_update = die_when_freed
    with pytest.raises(Killed):
        Store(context).delete_snapshots([gone])
    disk.catalog.before_update = lambda _view: None
    leave_as_if_killed(context)


def test_freeing_that_a_dead_process_left_is_gone_on_with(disk: MemoryStore) -> None:
    deleted_but_not_reclaimed(disk)
    stored = disk.context().segments.stored_bytes()

    store = disk.open()

    assert store.stats().stored_size_bytes <= stored - BLOCK_SIZE
    assert store.stats().blocks == 1
    assert_clean(disk.context())


def test_empty_segment_that_a_dead_process_left_is_removed(disk: MemoryStore) -> None:
    """It died between the transaction that sealed the segment and the removal of its file."""
    context = disk.context()
    session = current_session(context)
    session.seal_segment(session.borrow_segment())
    assert count(context, Table.EMPTY_SEGMENTS) == [1]
    leave_as_if_killed(context)
    with disk.context().locks.hold(Region.RECLAIM):
        disk.open()  # buries the session and leaves the rest to who holds the lock
    assert count(disk.context(), Table.SESSIONS, Table.EMPTY_SEGMENTS) == [0, 1]
    assert len(disk.context().segments.list_ids()) == 1

    disk.open()

    assert disk.context().segments.list_ids() == set()
    assert_clean(disk.context())


def test_freeing_is_left_to_who_is_at_it(disk: MemoryStore) -> None:
    """Opening a store never waits for another process, so that `list` answers at once."""
    deleted_but_not_reclaimed(disk)

    with disk.context().locks.hold(Region.RECLAIM):
        assert len(disk.open().list_snapshots()) == 1
        assert count(disk.context(), Table.FREED) == [1]

    disk.open()
    assert_clean(disk.context())


@pytest.mark.parametrize("operation", ["truncate", "size", "punch", "remove"])
def test_recovery_that_failed_is_done_by_the_next(
    disk: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    operation: str,
) -> None:
    """Reading must go on to work, so opening does not fail; what is left undone is logged."""
    monkeypatch.setattr(ingest, "BATCH_CHANGES", 1)
    killed_at(disk, wide_source(1), LEAVES - 2)
    calls: list[str] = []

    def fail_once(called: str, path: Path) -> None:
        if called == operation and path.suffix == ".seg" and not calls:
            calls.append(called)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    assert disk.open(ObservedFiles(disk.files, fail_once)).list_snapshots()
    assert calls == [operation]
    assert "Input/output error" in caplog.text
    disk.open()

    assert_clean(disk.context())
    assert disk.context().segments.stored_bytes() == 0


def test_snapshot_that_died_can_be_deleted_and_counts_for_nothing(disk: MemoryStore) -> None:
    dead = killed_at(disk, disk_of(TEXT), 0)
    (pending,) = pending_of(dead)

    with disk.open() as store:
        done = store.create_snapshot(disk_of(TEXT))
        assert done.parent_id is None
        store.delete_snapshots([pending.snapshot_id])
        assert [shown.snapshot_id for shown in store.list_snapshots()] == [done.snapshot_id]
    assert_clean(disk.context())
