"""Two processes, or two threads, on one store at once.

Each test holds one process in the middle of a snapshot (it waits at a read of its source), and lets
the other begin. The other either goes on at once or tells that it waits: both are fine, and only
then is the first one let go. Afterwards both have succeeded and nothing is damaged.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ebsim.engine import Store
from ebsim.results import Snapshot, SnapshotState
from ebsim.testing.contents import palette_block
from ebsim.testing.invariants import (
    assert_contents_match,
    assert_healthy,
    assert_snapshot_matches,
    assert_store_matches,
)
from ebsim.testing.model import ReferenceModel
from ebsim.testing.sources import ObservedSource
from ebsim.testing.worker import Event, Task, Worker, disk_of_numbers
from ebsim.units import BLOCK_SIZE

pytestmark = pytest.mark.slow

FIRST = (4, 8, 12, 16, 20, 24)
CHANGED = (4, 8, 12, 28, 32, 24)
OTHER = (24, 36, 8, 40)
PATIENCE_S = 120


def image(blocks: tuple[int, ...]) -> bytes:
    return b"".join(palette_block(number) for number in blocks)


def contents(store: Store, shown: Snapshot) -> bytes:
    count = shown.size_bytes // BLOCK_SIZE
    return b"".join(store.read_block(shown.snapshot_id, index) for index in range(count))


def modelled(store: Store, disks: dict[str, list[tuple[int, ...]]]) -> ReferenceModel:
    """Build the model of completed snapshots whose order of completion was left to chance.

    Args:
        store: The open store.
        disks: For each disk, what it held at its snapshots, in the order they were begun.
    """
    model = ReferenceModel()
    names: dict[str, list[Snapshot]] = {}
    for shown in store.list_snapshots():
        assert shown.state is SnapshotState.COMPLETED
        names.setdefault(shown.source, []).append(shown)
    assert {name: len(each) for name, each in names.items()} == {
        name: len(each) for name, each in disks.items()
    }
    for shown in store.list_snapshots():
        blocks = disks[shown.source][names[shown.source].index(shown)]
        if shown.source not in model.volumes:
            model.add_volume(shown.source, len(blocks) * BLOCK_SIZE)
        for index, number in enumerate(blocks):
            model.write(shown.source, index, palette_block(number))
        model.snapshot(shown.source, shown.snapshot_id)
    return model


@pytest.fixture
def with_one(store_path: Path) -> str:
    """Make a store with one snapshot of FIRST, and close it; return the snapshot's id."""
    with Store.create(store_path) as store:
        return store.create_snapshot(disk_of_numbers("memory:web", FIRST)).snapshot_id


def creating(
    store: Path, disk: str = "memory:web", blocks: tuple[int, ...] = CHANGED, **moment: Any
) -> Task:
    """Return the task of taking a snapshot, which waits at a moment: by default its first read."""
    pause = moment or {"pause_at_read": 1}
    return Task(store=str(store), operation="create", disk=disk, blocks=blocks, **pause)


@contextmanager
def held(task: Task) -> Iterator[Worker]:
    """Have a process do something, and wait in the middle of it."""
    with Worker(task) as holding:
        holding.wait_for("paused")
        yield holding


def both_end(holding: Worker, other: Worker) -> tuple[Event, Event]:
    """Let the one that was held go on as soon as the other went that far, or waits, or is done."""
    event = other.wait_for("paused", "note", "done", "failed")
    holding.go_on()
    if event["event"] == "paused":
        other.go_on()
    first = holding.wait_for("done", "failed")
    second = event if event["event"] in ("done", "failed") else other.wait_for("done", "failed")
    return first, second


def test_snapshots_of_two_sources_at_once(store_path: Path, with_one: str) -> None:
    """The two have a block in common, and one with what is stored already."""
    web = creating(store_path)
    other = creating(store_path, "memory:other", OTHER)
    with held(web) as holding, Worker(other) as beside:
        events = both_end(holding, beside)

    assert [event["event"] for event in events] == ["done", "done"]
    with Store.open(store_path) as store:
        model = modelled(store, {"memory:web": [FIRST, CHANGED], "memory:other": [OTHER]})
        assert_store_matches(store, model)
        assert_healthy(store)


def test_snapshots_of_one_source_at_once(store_path: Path, with_one: str) -> None:
    """They complete one after the other, the second incremental on the first."""
    task = creating(store_path)
    with held(task) as holding, Worker(task) as beside:
        event = beside.wait_for("paused", "note")
        holding.go_on()
        if event["event"] == "note":
            beside.wait_for("paused")
        beside.go_on()
        events = holding.wait_for("done", "failed"), beside.wait_for("done", "failed")

    assert [event["event"] for event in events] == ["done", "done"]
    with Store.open(store_path) as store:
        model = modelled(store, {"memory:web": [FIRST, CHANGED, CHANGED]})
        assert_store_matches(store, model)
        assert_healthy(store)


@pytest.mark.parametrize("moment", [{"pause_at_read": 1}, {"pause_at_end": True}])
def test_parent_is_deleted_while_its_child_is_made(
    store_path: Path, with_one: str, moment: dict[str, Any]
) -> None:
    """The pending snapshot keeps blocks of its parent, which goes: none of them may be lost."""
    delete = Task(store=str(store_path), operation="delete", snapshot_ids=(with_one,))
    with held(creating(store_path, **moment)) as holding:
        with Worker(delete) as beside:
            assert [event["event"] for event in beside.events()] == ["opened", "done"]
        holding.go_on()
        holding.wait_for("done")

    with Store.open(store_path) as store:
        (left,) = store.list_snapshots()
        assert contents(store, left) == image(CHANGED)
        assert left.charged_size_bytes == left.full_size_bytes == len(CHANGED) * BLOCK_SIZE
        assert store.stats().charged_size_bytes == left.charged_size_bytes
        assert sum(event.blocks for event in store.ledger()) == len(CHANGED)
        assert store.stats().blocks == len(set(CHANGED))
        assert_healthy(store)


@pytest.mark.parametrize("moment", [{"pause_at_read": 1}, {"pause_at_end": True}])
def test_block_is_freed_while_another_snapshot_is_about_to_refer_to_it(
    store_path: Path, with_one: str, moment: dict[str, Any]
) -> None:
    """A deletion never waits for a snapshot, gives the space back at once, and hurts nobody.

    Two blocks of the snapshot that is held are in the store when it begins, and gone when it ends.
    """
    delete = Task(store=str(store_path), operation="delete", snapshot_ids=(with_one,))
    with held(creating(store_path, "memory:other", OTHER, **moment)) as holding:
        before = allocated_bytes(store_path / "segments")
        with Worker(delete) as beside:
            assert [event["event"] for event in beside.events()] == ["opened", "done"]
        assert before - allocated_bytes(store_path / "segments") > 3 * BLOCK_SIZE
        holding.go_on()
        holding.wait_for("done")

    with Store.open(store_path) as store:
        model = modelled(store, {"memory:other": [OTHER]})
        (left,) = store.list_snapshots()
        assert_snapshot_matches(left, model)
        assert_contents_match(store, model, left.snapshot_id)
        assert store.stats().blocks == len(set(OTHER))
        assert_healthy(store)


def allocated_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir())


def test_pending_snapshot_is_shown_by_others(store_path: Path, with_one: str) -> None:
    """A store that is opened beside a running snapshot does not take it for dead."""
    with held(creating(store_path)) as holding:
        with Store.open(store_path) as store:
            old, pending = sorted(store.list_snapshots(), key=lambda shown: shown.state)
            assert (old.state, pending.state) == (SnapshotState.COMPLETED, SnapshotState.PENDING)
            assert old.snapshot_id == with_one
            assert pending.charged_size_bytes == 0
            assert pending.completion_time_us is None
        holding.go_on()
        (made,) = holding.wait_for("done")["snapshot_ids"]

    assert made == pending.snapshot_id
    with Store.open(store_path) as store:
        assert store.get_snapshot(made).state is SnapshotState.COMPLETED


def test_restore_beside_a_snapshot_that_is_made(
    store_path: Path, fast_path: Path, with_one: str
) -> None:
    """Reading never waits for a writer."""
    target = fast_path / "out.img"
    restore = Task(
        store=str(store_path), operation="restore", snapshot_ids=(with_one,), target=str(target)
    )
    with held(creating(store_path)) as holding:
        with Worker(restore) as beside:
            assert beside.wait_for("done", "failed", "note")["event"] == "done"
        holding.go_on()
        holding.wait_for("done")

    assert target.read_bytes() == image(FIRST)


@pytest.mark.parametrize("operation", ["create", "delete"])
def test_two_threads_of_one_process(store: Store, operation: str) -> None:
    """One open store, two threads: one is held in the middle of a snapshot, the other works."""
    disk = disk_of_numbers("memory:web", FIRST)
    first = store.create_snapshot(disk)
    held, may_go_on, beside_is_done = threading.Event(), threading.Event(), threading.Event()
    ended: dict[str, object] = {}

    def hold(_offset: int, _length: int) -> None:
        held.set()
        assert may_go_on.wait(PATIENCE_S)

    def snapshot_slowly() -> None:
        slow = ObservedSource(disk_of_numbers("memory:web", CHANGED), hold)
        ended["slow"] = store.create_snapshot(slow)

    def work_beside() -> None:
        if operation == "create":
            ended["beside"] = store.create_snapshot(disk_of_numbers("memory:other", OTHER))
        else:
            ended["beside"] = store.delete_snapshots([first.snapshot_id])
        beside_is_done.set()

    threads = [threading.Thread(target=each) for each in (snapshot_slowly, work_beside)]
    threads[0].start()
    assert held.wait(PATIENCE_S)
    threads[1].start()
    if operation == "create":
        assert beside_is_done.wait(PATIENCE_S)  # another source is not kept waiting
    may_go_on.set()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert set(ended) == {"slow", "beside"}
    slow = ended["slow"]
    assert isinstance(slow, Snapshot)
    assert contents(store, slow) == image(CHANGED)
    expected = {"create": 3, "delete": 1}[operation]
    assert len(store.list_snapshots()) == expected
    assert_healthy(store)
