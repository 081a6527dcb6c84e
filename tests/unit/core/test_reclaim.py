"""Reclaim: first the catalog forgets, then the bytes go; and whoever is interrupted is followed."""

import errno
import os
import threading
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ebsim.core import reclaim as reclaim_module
from ebsim.core.reclaim import (
    FREED_ENTRY_MAX,
    queue_freed_range,
    reclaim,
    reclaim_if_needed,
    reclaim_if_possible,
)
from ebsim.core.sessions import current_session
from ebsim.engine import Store
from ebsim.format.catalog_values import (
    BlockRecord,
    MetaRecord,
    SegmentRecord,
    Table,
    parse_number_key,
    parse_punch_key,
)
from ebsim.format.map_page import decode_numbers
from ebsim.requests import DataCheck
from ebsim.storage.locks import Region
from ebsim.testing.contents import TEXT, noise_block
from ebsim.testing.memory_catalog import MemoryTables, new_tables
from ebsim.testing.memory_store import MemoryStore
from ebsim.testing.observed_files import ObservedFiles
from ebsim.testing.sources import disk_of
from ebsim.testing.synthetic import SyntheticSource
from ebsim.units import BLOCK_SIZE

LEAVES = 6
LEAF_BLOCKS = 256
META_TABLES = (Table.PAGE_RECORDS, Table.VERSION_RECORDS, Table.JOURNAL)
UNIT = 4096


class Interrupted(BaseException):
    """Stands for the end of the process."""


@dataclass
class Deleted:
    """A store in which a deletion is committed, and nothing is reclaimed yet."""

    disk: MemoryStore
    kept: str

    def view(self) -> MemoryTables:
        return self.disk.catalog.view()


def wide_source(first_stamp: int) -> SyntheticSource:
    """Return a source with one block in each of several leaves; two of them are equal."""
    stamps = np.zeros(LEAVES * LEAF_BLOCKS, dtype=np.uint64)
    stamps[::LEAF_BLOCKS] = np.arange(first_stamp, first_stamp + LEAVES, dtype=np.uint64)
    stamps[LEAF_BLOCKS] = stamps[0]
    return SyntheticSource("memory:wide", len(stamps) * BLOCK_SIZE, stamps)


@pytest.fixture
def deleted(fast_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deleted:
    """Of three snapshots, of which the last has nothing in common with the others, two are gone.

    The steps of a reclaim are made small, so that there are many.
    """
    monkeypatch.setattr(reclaim_module, "FREED_ENTRY_MAX", 2)
    monkeypatch.setattr(reclaim_module, "VERSIONS_PER_STEP", 4)
    monkeypatch.setattr(reclaim_module, "PUNCHES_PER_STEP", 3)
    disk = MemoryStore(fast_path)
    with disk.open() as store:
        gone = [store.create_snapshot(wide_source(stamp)).snapshot_id for stamp in (1, 3)]
    with disk.open() as store:
        kept = store.create_snapshot(wide_source(100)).snapshot_id
    context = disk.context()
    session = current_session(context)
    session.seal_segment(session.borrow_segment())  # the third segment: nothing is in it

    def stop_when_freed(view: MemoryTables) -> None:
        if view.count(Table.FREED):
            raise Interrupted

    disk.catalog.before_update = stop_when_freed
    with pytest.raises(Interrupted):
        Store(context).delete_snapshots(gone)
    disk.catalog.before_update = lambda _view: None
    Store(context)._context.session = None  # it lives on, so that nobody recovers
    return Deleted(disk, kept)


def places(view: MemoryTables) -> set[tuple[int, int]]:
    """Return where, by segment and offset, all records lie that the catalog refers to."""
    found = set()
    for _, value in view.items(Table.BLOCKS):
        block = BlockRecord.decode(value)
        found.add((block.segment, block.offset))
    for table in META_TABLES:
        for _, value in view.items(table):
            record = MetaRecord.decode(value)
            found.add((record.segment, record.offset))
    return found


def assert_reclaimed(deleted: Deleted) -> None:
    """Look that only what the last snapshot needs is left, in the catalog and on the disk."""
    view = deleted.view()
    assert (view.count(Table.FREED), view.count(Table.PUNCH)) == (0, 0)
    assert view.count(Table.BLOCKS) == LEAVES - 1
    context = deleted.disk.context()
    report = Store(context).check(data=True)
    assert (report.findings, report.orphan_bytes) == ((), 0)
    segments = [SegmentRecord.decode(value) for _, value in view.items(Table.SEGMENTS)]
    live = sum(segment.live_bytes for segment in segments)
    assert context.segments.stored_bytes() == live + UNIT * len(segments)
    assert Store(context).read_block(deleted.kept, 0)[:8] == (100).to_bytes(8, "little")


def test_deleted_bytes_go_back_to_the_file_system(deleted: Deleted) -> None:
    context = deleted.disk.context()
    before = context.segments.stored_bytes()

    reclaim(context)

    assert context.segments.stored_bytes() < before
    assert_reclaimed(deleted)


def test_forgetting_and_giving_back_happen_in_steps_of_bounded_size(deleted: Deleted) -> None:
    freed, queued = list[int](), list[int]()

    def look(view: MemoryTables) -> None:
        freed.append(sum(len(decode_numbers(v, 2)) for _, v in view.items(Table.FREED)))
        queued.append(view.count(Table.PUNCH))

    deleted.disk.catalog.before_update = look
    reclaim(deleted.disk.context())

    assert freed[0] == 2 * LEAVES
    assert {before - after for before, after in pairwise(freed)} <= {0, 1, 2, 3, 4}
    assert {before - after for before, after in pairwise(queued) if before > after} <= {1, 2, 3}
    assert_reclaimed(deleted)


def test_reclaim_that_is_interrupted_anywhere_is_gone_on_with(deleted: Deleted) -> None:
    """After each single transaction of it, or each second one."""
    left = 0

    def stop_if_due(_view: MemoryTables) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Interrupted

    deleted.disk.catalog.before_update = stop_if_due
    interruptions = 0
    while True:
        left = interruptions % 2 + 1
        try:
            reclaim(deleted.disk.context())
            break
        except Interrupted:
            interruptions += 1
            unremembered = DataCheck(sample_percent=100)  # so that the check commits nothing
            assert Store(deleted.disk.context()).check(data=unremembered).findings == ()
    deleted.disk.catalog.before_update = lambda _view: None

    assert interruptions > 3
    assert_reclaimed(deleted)


def test_bytes_go_only_after_the_catalog_forgot_them(deleted: Deleted) -> None:
    """Never in the same step: design section 5."""
    seen: set[str] = set()

    def look(operation: str, path: Path) -> None:
        if operation in ("punch", "remove") and path.suffix == ".seg":
            seen.add(operation)
            view = deleted.view()
            queued = {parse_punch_key(key) for key in view.keys(Table.PUNCH)}
            assert not queued & places(view)
            assert queued if operation == "punch" else not queued

    reclaim(deleted.disk.context(ObservedFiles(deleted.disk.files, look)))

    assert seen == {"punch", "remove"}
    assert_reclaimed(deleted)


def test_interrupted_punching_loses_no_range(deleted: Deleted) -> None:
    """The kernel punched some of them; doing it again does no harm."""
    calls = 0

    def die_at_the_second(operation: str, _path: Path) -> None:
        nonlocal calls
        calls += operation == "punch"
        if calls == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        reclaim(deleted.disk.context(ObservedFiles(deleted.disk.files, die_at_the_second)))

    reclaim(deleted.disk.context())
    assert_reclaimed(deleted)


def test_segment_in_which_nothing_is_left_is_removed(deleted: Deleted) -> None:
    """The first has journal entries, which stay; the fourth is being filled by the deletion."""
    context = deleted.disk.context()
    assert [parse_number_key(key) for key in deleted.view().keys(Table.SEGMENTS)] == [1, 2, 3, 4]

    reclaim(context)

    left = dict(deleted.view().items(Table.SEGMENTS))
    assert [parse_number_key(key) for key in left] == [1, 2, 4]
    ids = {SegmentRecord.decode(value).segment_id for value in left.values()}
    assert context.segments.list_ids() == ids


def test_segment_that_somebody_fills_stays_also_when_it_is_empty(fast_path: Path) -> None:
    disk = MemoryStore(fast_path)
    segment = current_session(disk.context()).borrow_segment()

    reclaim(disk.context())

    assert disk.context().segments.list_ids() == {segment.writer.segment_id}


def test_one_reclaim_waits_for_another(deleted: Deleted) -> None:
    context = deleted.disk.context()
    thread = threading.Thread(target=reclaim, args=(context,))

    with deleted.disk.context().locks.hold(Region.RECLAIM):
        thread.start()
        assert deleted.view().count(Table.FREED)
    thread.join()

    assert_reclaimed(deleted)


def test_reclaim_is_done_only_where_something_was_freed(deleted: Deleted) -> None:
    context = deleted.disk.context()
    reclaim_if_needed(context)
    assert_reclaimed(deleted)
    updates: list[MemoryTables] = []
    deleted.disk.catalog.before_update = updates.append

    reclaim_if_needed(context)

    assert updates == []


def test_failure_to_give_back_is_no_failure_of_what_was_committed(
    deleted: Deleted, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(operation: str, _path: Path) -> None:
        if operation == "punch":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    reclaim_if_possible(deleted.disk.context(ObservedFiles(deleted.disk.files, fail)))

    assert "Input/output error" in caplog.text
    reclaim(deleted.disk.context())
    assert_reclaimed(deleted)


@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 1025, 5000])
def test_range_of_versions_is_queued_in_parts(count: int) -> None:
    tables = new_tables()

    queue_freed_range(tables, 200, count)

    parts = [decode_numbers(v, FREED_ENTRY_MAX).tolist() for _, v in tables.items(Table.FREED)]
    assert [version for part in parts for version in part] == list(range(200, 200 + count))
    assert len(parts) == -(-count // FREED_ENTRY_MAX)


def test_content_that_two_deleted_versions_share_goes_with_the_second(fast_path: Path) -> None:
    disk = MemoryStore(fast_path)
    with disk.open() as store:
        one, two = (
            store.create_snapshot(disk_of(noise_block(0), name=name)) for name in ("m:1", "m:2")
        )
        store.create_snapshot(disk_of(TEXT, name="m:3"))
        before = store.stats().stored_size_bytes

        store.delete_snapshots([one.snapshot_id])
        assert store.stats().stored_size_bytes > before - BLOCK_SIZE // 2
        assert store.read_block(two.snapshot_id, 0) == noise_block(0)

        store.delete_snapshots([two.snapshot_id])
        assert store.stats().stored_size_bytes < before - BLOCK_SIZE
