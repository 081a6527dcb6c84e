"""A copy of a lineage waits for the one before it: what is told of it, and what ends it meanwhile.

If a copy of the same snapshot is pending, a second one waits for it (semantics section 11.4). Its
call has been answered by then, with an id.
"""

import os
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ebsim.config import Quotas, SnapshotOptions
from ebsim.core.copy_source import SnapshotSource
from ebsim.engine import Store
from ebsim.errors import EbsimError, ErrorCode
from ebsim.results import Snapshot, SnapshotState
from ebsim.testing.contents import HEAD, NOISE, TAIL, TEXT
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.machine import Killed, Machine
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE

THERE = "eu-central-1"

STRIDE = 1 if os.environ.get("EBSIM_TEST_PROFILE") == "long" else 5
"""Of the steps of a copy, each of these is died at."""


@dataclass
class Copies:
    """Copies to THERE by threads of their own; reading their sources is held.

    Attributes:
        store: Whose snapshots are copied.
        go_on: Set when sources may be read.
    """

    store: Store
    go_on: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def begin(self, source: Snapshot, options: SnapshotOptions | None = None) -> Snapshot:
        """Begin a copy and return what is told of it once it has an id."""
        told: queue.Queue[str | EbsimError] = queue.Queue()
        there = self.store.as_account(region=THERE)

        def work() -> None:
            try:
                there.copy_snapshot(
                    source.snapshot_id, "us-east-1", options or SnapshotOptions(), begun=told.put
                )
            except EbsimError as error:
                told.put(error)

        thread = threading.Thread(target=work)
        self.threads.append(thread)
        thread.start()
        found = told.get(timeout=120)
        if isinstance(found, EbsimError):
            raise found
        return there.get_snapshot(found)

    def finish(self) -> None:
        """Have all end."""
        self.go_on.set()
        for thread in self.threads:
            thread.join(120)


@pytest.fixture
def copies(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Copies]:
    made, read = Copies(store), SnapshotSource.read_into

    def held(self: SnapshotSource, offset: int, buffer: memoryview) -> None:
        made.go_on.wait(120)
        read(self, offset, buffer)

    monkeypatch.setattr(SnapshotSource, "read_into", held)
    yield made
    made.finish()


def test_second_copy_is_pending_while_it_waits_and_then_incremental(
    store: Store, copies: Copies
) -> None:
    there = store.as_account(region=THERE)
    disk = disk_of(NOISE, TEXT, HEAD)
    first = store.create_snapshot(disk)
    disk.write(BLOCK_SIZE, TAIL)
    second = store.create_snapshot(disk)
    store.quotas = Quotas(pending_copies=2)

    one = copies.begin(first)
    two = copies.begin(second, SnapshotOptions(description="second", tags={"a": "b"}))

    assert (one.state, two.state) == (SnapshotState.PENDING, SnapshotState.PENDING)
    assert two.completion_time_us is None
    assert (two.description, two.tags) == ("second", {"a": "b"})
    assert two.size_bytes == second.size_bytes
    assert two.volume_id == one.volume_id
    with pytest.raises(EbsimError) as caught:  # those that wait are among the 20
        copies.begin(second)
    assert caught.value.code is ErrorCode.RESOURCE_LIMIT_EXCEEDED
    store.quotas = Quotas()
    deleted = copies.begin(second)
    there.delete_snapshots([deleted.snapshot_id])  # takes effect once it is completed
    assert there.get_snapshot(deleted.snapshot_id).state is SnapshotState.PENDING
    assert_healthy(store)

    copies.finish()

    one, two = (there.get_snapshot(each.snapshot_id) for each in (one, two))
    assert (one.state, two.state) == (SnapshotState.COMPLETED, SnapshotState.COMPLETED)
    assert two.completion_time_us is not None
    assert [each.snapshot_id for each in there.list_snapshots()] == [
        one.snapshot_id,
        two.snapshot_id,
    ]
    assert [there.read_block(two.snapshot_id, index) for index in range(3)] == [NOISE, TAIL, HEAD]
    assert one.charged_size_bytes + two.charged_size_bytes == 4 * BLOCK_SIZE
    assert_healthy(store)


def test_source_that_goes_while_its_copy_waits_ends_it_as_error(
    store: Store, copies: Copies
) -> None:
    there = store.as_account(region=THERE)
    disk = disk_of(NOISE)
    first = store.create_snapshot(disk)
    disk.write(0, TAIL)
    second = store.create_snapshot(disk)
    one, two = copies.begin(first), copies.begin(second)

    store.delete_snapshots([second.snapshot_id])
    copies.finish()

    assert there.get_snapshot(one.snapshot_id).state is SnapshotState.COMPLETED
    failed = there.get_snapshot(two.snapshot_id)
    assert failed.state is SnapshotState.ERROR
    assert second.snapshot_id in failed.state_message
    assert_healthy(store)


# Processes that die


def machine_with_source(folder: Path) -> tuple[Machine, str]:
    machine = Machine(folder)
    process = machine.start()
    store = process.open()
    source = store.create_snapshot(disk_of(NOISE, TEXT)).snapshot_id
    store.close()
    process.kill()
    return machine, source


def begin_and_die(machine: Machine, source: str, die_at: int | None) -> tuple[list[str], int]:
    """Copy a snapshot in a process that dies; return the ids it told, and its steps."""
    told: list[str] = []
    process = machine.start(die_at)
    with suppress(Killed):
        there = process.open().as_account(region=THERE)
        there.copy_snapshot(source, "us-east-1", begun=told.append)
        there.close()
    steps = process.steps
    process.kill()
    return told, steps


def ends_of(machine: Machine, source: str, told: list[str]) -> list[SnapshotState]:
    """Return what has become of copies, having copied once more, which must succeed."""
    process = machine.start()
    store = process.open()
    there = store.as_account(region=THERE)
    ends = [there.get_snapshot(each).state for each in told]
    assert len(there.list_snapshots()) - len(told) in ({0} if told else {0, 1})
    again = there.copy_snapshot(source, "us-east-1")
    assert [there.read_block(again.snapshot_id, index) for index in range(2)] == [NOISE, TEXT]
    assert_healthy(store)
    store.close()
    process.kill()
    return ends


def test_copy_whose_process_dies_at_any_step_ends_as_error_or_is_completed(
    tmp_path: Path,
) -> None:
    (tmp_path / "trial").mkdir()
    _, steps = begin_and_die(*machine_with_source(tmp_path / "trial"), None)
    seen = set()
    for die_at in sorted({*range(1, steps + 1, STRIDE), steps}):
        folder = tmp_path / str(die_at)
        folder.mkdir()
        machine, source = machine_with_source(folder)
        told, _ = begin_and_die(machine, source, die_at)
        seen.update(ends_of(machine, source, told))

    assert seen == {SnapshotState.ERROR, SnapshotState.COMPLETED}


def test_copy_whose_process_dies_before_its_turn_ends_as_error(tmp_path: Path) -> None:
    machine, source = machine_with_source(tmp_path)
    told: list[str] = []
    process = machine.start()

    def begun(copy: str) -> None:
        told.append(copy)
        process.dead = True

    with suppress(Killed):
        process.open().as_account(region=THERE).copy_snapshot(source, "us-east-1", begun=begun)
    process.kill()

    assert ends_of(machine, source, told) == [SnapshotState.ERROR]
