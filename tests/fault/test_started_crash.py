"""Snapshots that are written block by block, by processes that die, or whose machine loses power.

What must hold afterwards. What CompleteSnapshot has acknowledged is completed, with what was put.
What it has not is absent, or pending still: then, if only the process died, each block that was
acknowledged is there; and after a loss of power, when all blocks are put again, it can be
completed. Nothing is completed with other bytes, and nothing is left over.
"""

import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ebsim.core.started_clock import resume_started, started_writes
from ebsim.engine import Store
from ebsim.errors import EbsimError
from ebsim.results import SnapshotState
from ebsim.started import StartRequest
from ebsim.testing.contents import palette_block
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.machine import Killed, Machine, Process

pytestmark = pytest.mark.crash

PARENT = {0: 4, 1: 5}
CHILD = ((1, 8), (3, 12), (1, 16), (2, 0))
"""What is put, in this order: block index and number of the palette; 0 is a block of zeros."""

WRITTEN = {1: 16, 2: 0, 3: 12}
STRIDE = 3
"""Of the steps of the story, each third is died at, here by kill and there by loss of power."""


@dataclass
class Told:
    """What was acknowledged before the process died."""

    child: str = ""
    puts: int = 0
    completed: bool = False
    steps: int = 0
    names: list[str] = field(default_factory=list)


def put(store: Store, snapshot: str, index: int, number: int) -> None:
    block = palette_block(number)
    store.started.put(snapshot, index, block, hashlib.sha256(block).digest())


def idle(store: Store) -> None:
    """Wait until all that is sealed is made, or its process is dead."""
    started_writes(store._context)._makers.submit(lambda: None).result()


def let_go(store: Store, process: Process) -> None:
    """Have the process be dead, and its thread at its end."""
    process.dead = True
    writes = started_writes(store._context)
    writes._makers.shutdown(wait=True, cancel_futures=True)
    process.kill()


def act(machine: Machine, parent: str, die_at: int | None) -> Told:
    """Write the child of a snapshot; return what was acknowledged."""
    told = Told()
    process = machine.start(die_at)
    store = None
    try:
        store = process.open()
        request = StartRequest(volume_size_gib=1, parent_id=parent)
        told.child = store.started.start(request).snapshot_id
        for index, number in CHILD:
            put(store, told.child, index, number)
            told.puts += 1
        store.started.complete(told.child, len(WRITTEN))
        told.completed = True
        idle(store)
    except Killed:
        pass
    finally:
        told.steps = process.steps
        if store is None:
            process.kill()
        else:
            let_go(store, process)
    return told


def with_parent(folder: Path) -> tuple[Machine, str]:
    machine = Machine(folder)
    process = machine.start()
    store = process.open()
    parent = store.started.start(StartRequest(volume_size_gib=1)).snapshot_id
    for index, number in PARENT.items():
        put(store, parent, index, number)
    store.started.complete(parent, len(PARENT))
    idle(store)
    store.close()
    process.kill()
    return machine, parent


def assert_content(store: Store, snapshot: str, expected: dict[int, int]) -> None:
    assert tuple(store.blocks.list(snapshot).indices) == tuple(sorted(expected))
    for index, number in expected.items():
        assert store.blocks.read(snapshot, index) == palette_block(number)


def look(machine: Machine, parent: str, told: Told, *, cut: bool) -> None:
    """Look at what the next process finds, and go on with it to the end."""
    process = machine.start()
    store = process.open()
    resume_started(store._context)
    idle(store)
    assert_content(store, parent, PARENT)
    left = {str(each.snapshot_id): each for each in store.list_snapshots()}
    del left[parent]
    assert set(left) == {told.child} or (not told.child and len(left) <= 1)
    for name, shown in left.items():
        if shown.state is SnapshotState.PENDING:
            assert not told.completed
            go_on(store, name, told, cut=cut)
        assert store.get_snapshot(name).state is SnapshotState.COMPLETED
        assert_content(store, name, PARENT | WRITTEN)
    store.started.start(StartRequest(volume_size_gib=1))  # what is left over goes
    store.delete_snapshots([each.snapshot_id for each in store.list_snapshots()])
    assert not machine.files.list(store.path / "started")
    assert_healthy(store)
    store.close()
    process.kill()


def go_on(store: Store, snapshot: str, told: Told, *, cut: bool) -> None:
    """Put what was not acknowledged, or after a loss of power everything, and complete it."""
    for index, number in CHILD if cut else CHILD[told.puts :]:
        put(store, snapshot, index, number)
    store.started.complete(snapshot, len(WRITTEN))
    idle(store)


@pytest.mark.parametrize("cut", [False, True], ids=["killed", "power-cut"])
def test_death_at_every_third_step(fast_path: Path, cut: bool) -> None:
    machine, parent = with_parent(fast_path)
    whole = act(machine, parent, None)
    assert whole.completed
    look(machine, parent, whole, cut=False)
    for step in range(1 + cut, whole.steps + 1, STRIDE):
        machine, parent = with_parent(fast_path)
        told = act(machine, parent, step)
        if cut:
            machine.cut_power(random.Random(step))
        try:
            look(machine, parent, told, cut=cut)
        except (AssertionError, EbsimError) as error:
            raise AssertionError(f"after step {step} of {whole.steps}, {told}: {error}") from error
