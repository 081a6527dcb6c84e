"""`--fail-snapshot` and `--hold-snapshot` reach copies of snapshots, too."""

import threading
from collections.abc import Iterator

import pytest

pytest.importorskip("boto3")

from ebsim.engine import Store
from ebsim.errors import SnapshotFailedError
from ebsim.results import SnapshotState
from ebsim.server.snapshot_faults import REASON, SnapshotFaults, SnapshotPlan
from ebsim.testing.contents import NOISE
from ebsim.testing.harness import Harness
from ebsim.testing.invariants import assert_healthy

THERE = "eu-central-1"


@pytest.fixture
def harness() -> Iterator[Harness]:
    with Harness() as made:
        yield made


@pytest.fixture(params=["us-east-1", THERE], ids=["map", "blocks"])
def target(request: pytest.FixtureRequest, harness: Harness) -> Store:
    """Where the copy is made: in the Region of its source, which reads nothing, or in another."""
    return harness.store.as_account(region=request.param)


def snapshot(harness: Harness) -> str:
    volume = harness.new_volume().volume_id
    with harness.store.volumes.open(volume) as file:
        file.pwrite(NOISE, 0)
    made = harness.store.create_snapshot(volume).snapshot_id
    harness.store.wait_snapshots([made])
    return made


def begun_copy(target: Store, source: str) -> tuple[threading.Thread, str, list[str]]:
    """Begin a copy; return its thread, its id, and how it failed once the thread ended."""
    told, failed = [], []
    begun = threading.Event()

    def tell(copy: str) -> None:
        told.append(copy)
        begun.set()

    def copy() -> None:
        try:
            target.copy_snapshot(source, "us-east-1", begun=tell)
        except SnapshotFailedError as error:
            failed.append(str(error))

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    assert begun.wait(60)
    return thread, told[0], failed


def test_copies_are_counted_with_the_others_and_fail_or_are_held(
    harness: Harness, target: Store
) -> None:
    source = snapshot(harness)
    faults = SnapshotFaults(SnapshotPlan(fail=[1], hold=[2]))
    faults.watch(harness.store)

    with pytest.raises(SnapshotFailedError):
        target.copy_snapshot(source, "us-east-1")
    thread, held, _ = begun_copy(target, source)
    while faults.held != {held}:
        assert thread.is_alive()
    shown = [each for each in target.list_snapshots() if each.snapshot_id != source]
    assert {(each.snapshot_id == held, each.state, each.state_message) for each in shown} == {
        (True, SnapshotState.PENDING, ""),
        (False, SnapshotState.ERROR, REASON),
    }
    assert_healthy(harness.store)

    target.tags.create([held], {"a": "b"})
    faults.let_go()
    thread.join(60)
    copy = target.get_snapshot(held)
    assert (copy.state, copy.tags) == (SnapshotState.COMPLETED, {"a": "b"})
    assert target.read_block(held, 0) == NOISE
    assert target.copy_snapshot(source, "us-east-1").state is SnapshotState.COMPLETED
    assert_healthy(harness.store)


def test_held_copy_ends_as_error_when_the_server_stops(harness: Harness, target: Store) -> None:
    """Nobody goes on with it; it is not told to be left pending."""
    source = snapshot(harness)
    faults = SnapshotFaults(SnapshotPlan(hold=[1]))
    faults.watch(harness.store)
    thread, held, failed = begun_copy(target, source)
    while faults.held != {held}:
        assert thread.is_alive()

    faults.leave()
    thread.join(60)

    assert faults.held == frozenset()
    assert "was stopped before the copy was completed" in failed[0]
    assert target.get_snapshot(held).state is SnapshotState.ERROR
    assert_healthy(harness.store)


def test_held_copy_may_be_deleted_and_its_source_too(harness: Harness, target: Store) -> None:
    """A pending one that is deleted goes when it is completed; one without a source fails."""
    source = snapshot(harness)
    faults = SnapshotFaults(SnapshotPlan(hold=[1, 2]))
    faults.watch(harness.store)
    thread, held, _ = begun_copy(target, source)
    target.delete_snapshots([held])
    faults.let_go()
    thread.join(60)
    assert held not in [each.snapshot_id for each in target.list_snapshots()]

    again = SnapshotFaults(SnapshotPlan(hold=[1]))
    again.watch(harness.store)
    thread, orphan, failed = begun_copy(target, source)
    while again.held != {orphan}:
        assert thread.is_alive()
    harness.store.delete_snapshots([source])
    again.let_go()
    thread.join(60)
    assert failed
    assert target.get_snapshot(orphan).state is SnapshotState.ERROR
    assert_healthy(harness.store)
