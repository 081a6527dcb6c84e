"""Several processes use one volume while a snapshot of it is pending, and any of them dies.

A snapshot has the bytes of its moment, whoever wrote meanwhile; what was flushed is there; nobody
waits for a dead process. The first half is in memory, where a process dies at each step of a
handover; in the second half processes are real.
"""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from ebsim.engine import Seams, Store
from ebsim.errors import EbsimError
from ebsim.requests import VolumeRequest
from ebsim.results import SnapshotState
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.machine import Killed, Machine, Process
from ebsim.testing.volume_story import (
    Actor,
    Ids,
    Line,
    assert_no_change_missed,
    assert_story_survived,
    content,
)
from ebsim.testing.worker import Task, Worker
from ebsim.units import BLOCK_SIZE
from ebsim.volumes.volume_file import VolumeFile

pytestmark = [
    pytest.mark.crash,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]

LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"
STRIDE = 1 if LONG else 9
STORIES = 20 if LONG else 1
PATIENCE_S = 120
OLD, MOMENT, LATER, FLUSHED, LAST = 4, 8, 12, 16, 20


def write(file: VolumeFile, *numbers: int) -> None:
    for block, number in enumerate(numbers):
        file.pwrite(content(number), block * BLOCK_SIZE)


@contextmanager
def mortal(process: Process) -> Iterator[None]:
    """Return a context in which a process may die, on which its locks are gone."""
    with suppress(Killed, EbsimError):
        yield
    if process.dead:
        process.kill()


class Handover:
    """A lender with a pending snapshot, and a borrower that writes to the volume meanwhile.

    Attributes:
        lender: Has begun the snapshot; of it, blocks 0 and 1 were overwritten since.
        snapshot: The pending snapshot.
        flushed: Whether what the borrower wrote was flushed.
    """

    def __init__(self, folder: Path, lender_dies_at: int | None, dies_at: int | None) -> None:
        self.machine = Machine(folder)
        self.lender = self.machine.start(lender_dies_at)
        self.flushed = False
        self._store = self.lender.open()
        self.volume = self._store.volumes.create(VolumeRequest(size_gib=1)).volume_id
        with mortal(self.lender), self._store.volumes.open(self.volume) as file:
            write(file, OLD, OLD, MOMENT)
            self.lender.go.clear()
            self.snapshot = self._store.create_snapshot(self.volume).snapshot_id
            write(file, LATER, LATER)
        self.steps_before = self.lender.steps
        self.borrower = self.machine.start(dies_at)  # the threads before are not its own

    def act(self) -> None:
        """Have the borrower write, while either of them may die."""
        borrowing = threading.Thread(target=self._borrow)
        borrowing.start()
        while borrowing.is_alive():
            if self.lender.dead:
                self.lender.kill()
            borrowing.join(0.005)
        self.lender.go.set()
        with mortal(self.lender):
            while self._store.get_snapshot(self.snapshot).state is SnapshotState.PENDING:
                self.lender.pause()
            self._store.close()

    def _borrow(self) -> None:
        with mortal(self.borrower):
            store = self.borrower.open()
            file = store.volumes.open(self.volume)
            write(file, FLUSHED, LATER, FLUSHED)
            file.flush()
            self.flushed = True
            write(file, LAST)
            file.close()
            store.close()

    def assert_survived(self) -> None:
        """Whoever comes next finds all of it."""
        with self.machine.start().open() as store:
            (shown,) = store.wait_snapshots([self.snapshot])
            assert shown.state is SnapshotState.COMPLETED, shown.state_message
            held = [store.read_block(self.snapshot, block) for block in range(3)]
            assert held == [content(OLD), content(OLD), content(MOMENT)]
            with store.volumes.open(self.volume) as file:
                blocks = [file.pread(BLOCK_SIZE, block * BLOCK_SIZE) for block in range(3)]
            allowed = ((OLD, LATER, FLUSHED, LAST), (OLD, LATER), (MOMENT, FLUSHED))
            for block, numbers in zip(blocks, allowed, strict=True):
                assert block in [content(number) for number in numbers]
            if self.flushed:
                assert blocks[0] in (content(FLUSHED), content(LAST))
                assert blocks[2] == content(FLUSHED)
            assert_no_change_missed(store, {0, 1, 2})


def play(folder: Path, lender_dies_at: int | None = None, dies_at: int | None = None) -> Handover:
    """Play a handover and look at what is left."""
    folder.mkdir()
    handover = Handover(folder, lender_dies_at, dies_at)
    handover.act()
    handover.assert_survived()
    return handover


def test_lender_dies_at_each_step_of_a_handover(fast_path: Path) -> None:
    """While it lends the volume, while it is lent, when it takes it back, and behind that."""
    whole = play(fast_path / "whole")
    assert not whole.lender.dead
    steps = range(whole.steps_before + 1, whole.lender.steps + 1, STRIDE)
    died = [play(fast_path / str(step), lender_dies_at=step).lender.dead for step in steps]
    assert sum(died) >= len(steps) * 3 // 4
    assert len(steps) * STRIDE > 20


def test_borrower_dies_at_each_step(fast_path: Path) -> None:
    """The lender takes back what it left, and completes the snapshot."""
    whole = play(fast_path / "whole")
    steps = range(1, whole.borrower.steps + 1, STRIDE)
    died = [play(fast_path / str(step), dies_at=step).borrower.dead for step in steps]
    assert sum(died) >= len(steps) * 3 // 4
    assert len(steps) * STRIDE > 20


# Real processes

HELD: tuple[Line, ...] = (
    ("create", "v"),
    ("write", "v", 0, 4),
    ("write", "v", 1, 8),
    ("hold",),
    ("snapshot", "v", "s1"),
    ("write", "v", 0, 12),
    ("close", "v"),
)


@pytest.mark.parametrize("killed", ["never", "while it is lent", "when it is back"])
def test_another_process_uses_a_volume_of_which_a_snapshot_is_copied(
    fast_path: Path, killed: str
) -> None:
    path = fast_path / "store"
    Store.create(path).close()
    with Worker(Task(store=str(path), operation="story", story=(*HELD, ("ask",)))) as worker:
        ids = worker.wait_for_lines(len(HELD))
        with Store.open(path) as store:
            volume = ids["v"]
            with store.volumes.open(volume) as file:
                assert file.pread(2 * BLOCK_SIZE, 0) == content(12) + content(8)
                file.pwrite(content(16) + content(20), 0)
                if killed == "while it is lent":
                    worker.kill()
            second = store.create_snapshot(volume).snapshot_id
            store.volumes.delete(volume)
            if killed == "when it is back":
                worker.kill()
            if killed == "never":
                assert store.get_snapshot(ids["s1"]).state is SnapshotState.PENDING
                worker.go_on()
                worker.wait_for("done")
            for snapshot, numbers in ((ids["s1"], (4, 8)), (second, (16, 20))):
                (shown,) = store.wait_snapshots([snapshot])
                assert shown.state is SnapshotState.COMPLETED, shown.state_message
                for block, number in enumerate(numbers):
                    assert store.read_block(snapshot, block) == content(number)
            until(lambda: not store.volumes.list())
            assert_healthy(store)
    assert not list((path / "volumes").iterdir())


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process, or a thread, does behind its last commit."""
    for _ in range(PATIENCE_S * 100):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never happened")


def random_story(chance: random.Random, length: int) -> list[tuple[Line, ...]]:
    """Return what processes do one after the other: the even ones the server, the others commands.

    What the server begins is held now and then, so that it is pending while commands run.
    """
    count, made = 0, ["v", "w"]
    parts: list[tuple[Line, ...]] = [(("create", "v"), ("create", "w"))]
    living: list[str] = []
    for number in range(1, length):
        part: list[Line] = []
        for _ in range(chance.randrange(2, 5)):
            count += 1
            volume, block, what = chance.choice(made), chance.randrange(4), count * 4 % 64
            verb = chance.choice(("write", "write", "part", "discard", "snapshot", "both"))
            if verb == "snapshot":
                part.append(("snapshot", volume, f"s{count}"))
                living.append(f"s{count}")
            elif verb == "both":
                part.append(("snapshot", *made, f"s{count}", f"t{count}"))
                living += [f"s{count}", f"t{count}"]
            elif verb == "discard":
                part.append(("discard", volume, block))
            else:
                part.append((verb, volume, block, what))
        if living and chance.random() < 0.4:
            part.append(("delete", living.pop(chance.randrange(len(living)))))
        opened = dict.fromkeys(each[1] for each in part if each[0] in ("write", "part", "discard"))
        part += [("close", volume) for volume in opened]
        if number % 2 == 0:
            part.insert(0, (chance.choice(("hold", "hold", "go")),))
        parts.append(tuple(part))
    return parts


@pytest.mark.parametrize("seed", range(STORIES))
def test_server_and_commands_write_and_snapshot_the_same_volumes(
    fast_path: Path, seed: int
) -> None:
    """Beside a model of the bytes; each command is a process of its own."""
    path, gate = fast_path / "store", threading.Event()
    Store.create(path).close()
    ids: Ids = {}
    gate.set()
    parts = random_story(random.Random(seed), 10)
    with Store.open(path, Seams(before_copy=lambda _snapshot_id: _wait(gate))) as store:
        store.quotas = replace(store.quotas, pending_per_volume=100)
        server = Actor(store, gate, ids, lambda: time.sleep(0.002))
        try:
            for number, part in enumerate(parts):
                if number % 2 == 0:
                    for line in part:
                        server.act(line)
                    continue
                task = Task(store=str(path), operation="story", story=part, ids=ids)
                with Worker(task) as worker:
                    ids.update(worker.wait_for_lines(len(part)))
                    worker.wait_for("done")
        finally:
            gate.set()
        story = [line for part in parts for line in part]
        assert_story_survived(store, story, len(story), ids, cut=False)


def _wait(gate: threading.Event) -> None:
    assert gate.wait(PATIENCE_S)
