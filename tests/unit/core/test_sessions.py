"""Writing sessions: whose segments are whose, and who is alive."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from ebsim.core import sessions
from ebsim.core.context import StoreContext
from ebsim.core.sessions import current_session
from ebsim.core.space import get_segment
from ebsim.engine import Store
from ebsim.errors import (
    LimitExceededError,
    OutcomeUnknownError,
    StoreError,
    StorePoisonedError,
)
from ebsim.format.catalog_values import SegmentRecord, SegmentState, Table, number_key
from ebsim.format.records import decode_json
from ebsim.format.segment import ALIGNMENT, RecordKind
from ebsim.storage.catalog import CatalogWriter
from ebsim.storage.locks import Region
from ebsim.testing.contents import HEAD, NOISE, TAIL, TEXT
from ebsim.testing.memory_catalog import MemoryCatalog, new_tables
from ebsim.testing.memory_store import MemoryStore, leave_as_if_killed
from ebsim.testing.observed_files import ObservedFiles
from ebsim.testing.sources import disk_of

T = TypeVar("T")


@pytest.fixture
def context(disk: MemoryStore) -> StoreContext:
    """One handle on it."""
    return disk.context()


def segments(context: StoreContext) -> list[SegmentRecord]:
    with context.catalog.read() as reader:
        return [SegmentRecord.decode(value) for _, value in reader.items(Table.SEGMENTS)]


def session_count(context: StoreContext) -> int:
    with context.catalog.read() as reader:
        return reader.count(Table.SESSIONS)


def close(context: StoreContext) -> None:
    Store(context).close()


# sessions


def test_handle_that_only_reads_has_no_session(disk: MemoryStore) -> None:
    with disk.open() as store:
        store.list_snapshots()
        store.check(data=True)

    assert session_count(disk.context()) == 0


def test_handle_has_one_session_and_uses_its_segment_again(disk: MemoryStore) -> None:
    store = disk.open()
    for block in (TEXT, HEAD, TAIL):
        store.create_snapshot(disk_of(block))
    store.delete_snapshots([store.list_snapshots()[0].snapshot_id])

    context = disk.context()
    assert session_count(context) == 1
    assert [(each.state, each.session) for each in segments(context)] == [(SegmentState.OPEN, 1)]
    assert context.segments.list_ids() == {segments(context)[0].segment_id}


def test_current_session_is_begun_once(context: StoreContext) -> None:
    assert current_session(context) is current_session(context)
    assert session_count(context) == 1


def test_session_tells_its_process_and_holds_its_lock(
    disk: MemoryStore, context: StoreContext
) -> None:
    session = current_session(context)

    with context.catalog.read() as reader:
        value = reader.get(Table.SESSIONS, number_key(session.number))
    assert value is not None
    assert decode_json(value)["pid"] == os.getpid()
    assert disk.context().locks.try_hold(Region.SESSION + session.number) is None


@pytest.mark.parametrize("leave", [close, leave_as_if_killed])
def test_lock_ends_with_its_session(
    context: StoreContext, leave: Callable[[StoreContext], None]
) -> None:
    number = current_session(context).number

    leave(context)

    lock = context.locks.try_hold(Region.SESSION + number)
    assert lock is not None
    lock.release()


def test_two_handles_have_sessions_and_segments_of_their_own(disk: MemoryStore) -> None:
    one, two = disk.open(), disk.open()

    one.create_snapshot(disk_of(TEXT, name="memory:one"))
    two.create_snapshot(disk_of(HEAD, name="memory:two"))

    context = disk.context()
    assert [each.session for each in segments(context)] == [1, 2]
    one.close()
    assert [each.state for each in segments(context)] == [SegmentState.SEALED, SegmentState.OPEN]
    assert session_count(context) == 1


def test_session_that_did_not_commit_leaves_its_lock(disk: MemoryStore) -> None:
    class FailingCatalog(MemoryCatalog):
        def update(self, change: Callable[[CatalogWriter], T]) -> T:
            def fail(writer: CatalogWriter) -> T:
                change(writer)
                raise StoreError("the commit failed")

            return super().update(fail)

    disk.catalog = FailingCatalog(new_tables())
    context = disk.context()

    with pytest.raises(StoreError, match="commit"):
        current_session(context)

    assert context.session is None
    lock = context.locks.try_hold(Region.SESSION + 1)
    assert lock is not None
    lock.release()


def test_poisoned_handle_gets_no_session(context: StoreContext) -> None:
    current_session(context)
    context.poison = "the disk failed"

    with pytest.raises(StorePoisonedError, match=r"the disk failed.*open it again"):
        current_session(context)


# segments


def test_segment_is_lent_to_one_at_a_time(context: StoreContext) -> None:
    session = current_session(context)
    one, two = session.borrow_segment(), session.borrow_segment()
    assert one.number != two.number
    assert one.writer.segment_id != two.writer.segment_id

    session.return_segment(one)

    assert session.borrow_segment() is one


def test_new_segment_is_in_the_catalog_and_carries_the_store_s_id(context: StoreContext) -> None:
    segment = current_session(context).borrow_segment()

    with context.catalog.read() as reader:
        record = get_segment(reader, segment.number)
    assert record == SegmentRecord(segment.writer.segment_id, SegmentState.OPEN, ALIGNMENT, 0, 1)
    header = context.segments.read_header(record.segment_id)
    assert (header.store_id, header.hash_key) == (context.header.store_id, context.hash_key)


def test_full_segment_is_not_appended_to_and_sealed_at_the_end(
    disk: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SEGMENT_SIZE_MAX", 64 * ALIGNMENT)
    store = disk.open()
    store.create_snapshot(disk_of(NOISE, name="memory:noise"))  # 129 units
    full = segments(disk.context())[0]
    store.create_snapshot(disk_of(TEXT, name="memory:text"))

    assert segments(disk.context())[0] == full
    assert [each.published_end >= 64 * ALIGNMENT for each in segments(disk.context())] == [
        True,
        False,
    ]
    store.close()
    assert {each.state for each in segments(disk.context())} == {SegmentState.SEALED}
    assert disk.open().check(data=True).findings == ()


@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, LimitExceededError), (errno.EIO, StoreError)]
)
def test_segment_that_cannot_be_made_is_forgotten(
    disk: MemoryStore, number: int, error: type[Exception]
) -> None:
    failing = True

    def before(operation: str, path: Path) -> None:
        if failing and operation == "create" and path.suffix == ".seg":
            raise OSError(number, os.strerror(number))

    context = disk.context(ObservedFiles(disk.files, before))
    session = current_session(context)
    with pytest.raises(error):
        session.borrow_segment()
    assert segments(context) == []

    failing = False
    assert session.borrow_segment().number == 2


def test_sealed_segment_is_cut_off_behind_what_is_published(context: StoreContext) -> None:
    session = current_session(context)
    segment = session.borrow_segment()
    segment.writer.append(RecordKind.JOURNAL, b"published")
    end = segment.writer.end
    context.catalog.update(lambda writer: segment.publish(writer, end))
    place = segment.writer.append(RecordKind.JOURNAL, b"never published")

    session.seal_segment(segment)

    assert context.segments.stored_bytes() == end
    assert end == place[0]
    with context.catalog.read() as reader:
        assert get_segment(reader, segment.number).state is SegmentState.SEALED
    assert session.borrow_segment() is not segment


def test_end_of_a_session_seals_what_holds_something_and_drops_what_does_not(
    disk: MemoryStore,
) -> None:
    store = disk.open()
    store.create_snapshot(disk_of(TEXT))
    context = disk.context()
    unused = current_session(context).borrow_segment()

    close(context)
    store.close()

    assert [each.state for each in segments(context)] == [SegmentState.SEALED]
    assert context.segments.list_ids() == {segments(context)[0].segment_id}
    assert unused.writer.segment_id not in context.segments.list_ids()
    assert session_count(context) == 0


def test_handle_that_is_opened_again_writes_to_another_segment(disk: MemoryStore) -> None:
    """A segment is never appended to again: design section 4."""
    for block in (TEXT, HEAD):
        with disk.open() as store:
            store.create_snapshot(disk_of(block))

    assert [each.session for each in segments(disk.context())] == [1, 2]
    assert len(disk.context().segments.list_ids()) == 2


def test_session_whose_commit_had_an_unknown_outcome_leaves_its_lock(disk: MemoryStore) -> None:
    """Found by failed syncs: its number was given out again, and its own process waited for it."""
    context = disk.context()
    catalog = context.catalog

    class Doubtful(MemoryCatalog):
        def update(self, change: Callable[[CatalogWriter], T]) -> T:
            catalog.update(change)
            raise OutcomeUnknownError("a commit failed", happened=True, tables=frozenset())

    context.catalog = Doubtful(new_tables())
    with pytest.raises(OutcomeUnknownError):
        current_session(context)

    with catalog.read() as reader:
        (key,) = reader.keys(Table.SESSIONS)
    lock = context.locks.try_hold(Region.SESSION + int.from_bytes(key, "big"))
    assert lock is not None, "whoever opens the store next takes it for a dead one's"
    lock.release()
