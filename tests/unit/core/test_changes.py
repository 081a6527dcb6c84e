"""Commits with a journal entry: what is refused leaves nothing, and a failed write closes."""

import pytest

from ebsim.core.changes import JournaledCommit, commit_journaled, writing
from ebsim.engine import Store
from ebsim.errors import ConflictError, StoreError, StorePoisonedError
from ebsim.format.catalog_values import Table
from ebsim.testing.contents import NOISE
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.sources import disk_of


def entries(store: Store) -> int:
    with store._context.catalog.read() as reader:
        return reader.count(Table.JOURNAL)


def segments(store: Store) -> int:
    with store._context.catalog.read() as reader:
        return reader.count(Table.SEGMENTS)


def test_change_and_its_entry_are_committed_together(store: Store) -> None:
    def change(commit: JournaledCommit) -> int:
        commit.writer.put(Table.META, b"x", b"y")
        return commit.journal("x", {"y": 1})

    first = commit_journaled(store._context, change)
    second = commit_journaled(store._context, change)

    assert second == first + 1
    assert entries(store) == 2
    assert segments(store) == 1, "the segment is used again"
    assert_healthy(store)


@pytest.mark.parametrize("appended", [False, True])
def test_what_is_refused_leaves_nothing(store: Store, appended: bool) -> None:
    store.create_snapshot(disk_of(NOISE))
    before = entries(store)

    def change(commit: JournaledCommit) -> None:
        commit.writer.put(Table.META, b"x", b"y")
        if appended:
            commit.journal("x", {})
        raise ConflictError("no")

    with pytest.raises(ConflictError):
        commit_journaled(store._context, change)

    with store._context.catalog.read() as reader:
        assert reader.get(Table.META, b"x") is None
    assert entries(store) == before
    store.create_snapshot(disk_of(NOISE))
    assert_healthy(store)


def test_handle_is_closed_for_writing_after_a_failed_write(store: Store) -> None:
    def fail() -> None:
        with writing(store._context):
            raise StoreError("the disk is gone")

    with pytest.raises(StoreError):
        fail()

    with pytest.raises(StorePoisonedError, match="the disk is gone"):
        commit_journaled(store._context, lambda commit: commit.journal("x", {}))
    assert store.list_snapshots() == []
