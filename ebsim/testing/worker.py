"""A child process that does one thing to a store, and dies or waits where a test wants it to.

`Worker` starts a process with a `Task`. The child performs the task with the real engine, whose
seams count: each call to a file, each reading of the clock, of randomness and of the source, and
each report of progress is a *step*. It can

- die at a step: it sends SIGKILL to itself just before it. Where that step is a write, half of it
  is written first;
- wait at a read of the source: it tells its parent, and goes on when the parent says so.

So a test needs neither sleep nor luck to catch an operation at a given moment. The child tells what
happens as events, one JSON object a line: `paused`, `note` (a message to the user, such as what is
waited for), and at the end `done` or `failed`.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Self, cast

from ebsim.clock import Clock, SystemClock
from ebsim.config import SnapshotOptions
from ebsim.engine import Seams, Store
from ebsim.entropy import Entropy, SystemEntropy
from ebsim.errors import EbsimError
from ebsim.progress import SilentProgress
from ebsim.storage.files import Files, PosixFiles
from ebsim.storage.sources import BlockSource
from ebsim.testing.contents import palette_block
from ebsim.testing.forked_process import PATIENCE_S, ForkedProcess
from ebsim.testing.leaving import close_leaving
from ebsim.testing.seams import SeededEntropy
from ebsim.testing.sources import MemorySource, ObservedSource, disk_of
from ebsim.testing.volume_story import Actor, Ids, Line
from ebsim.testing.volume_story import perform as perform_story

Event = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a child is to do.

    Attributes:
        store: The store's folder; it exists.
        operation: create, delete, restore, compact or story.
        disk: create: the identity of the source.
        blocks: create: the source's blocks, as numbers of the palette.
        description: create: `SnapshotOptions.description`.
        snapshot_ids: delete: which, in this order; restore: the one.
        target: restore: the file.
        in_place: restore: write only what differs.
        force: restore: replace an existing file.
        story: story: the lines to act out (`ebsim.testing.volume_story`); each one that is done is
            told as an event `line`, with the ids of all volumes and snapshots so far.
        ids: story: the ids of what an earlier story made, by name.
        encrypted: story: whether the volumes are encrypted.
        leave_pending: story: close the store at the end without waiting for pending snapshots.
        seed: Makes the ids and keys, and so the steps, the same in every run; None: random ones.
            No two children on one store may have the same.
        die_at_step: Die just before this step, from 1; None: never.
        pause_at_read: Wait just before this read of the source, from 1; None: never.
        pause_at_end: Wait when all is read and the source is asked whether it is unchanged.
    """

    store: str
    operation: str
    disk: str = ""
    blocks: tuple[int, ...] = ()
    description: str = ""
    snapshot_ids: tuple[str, ...] = ()
    target: str = ""
    in_place: bool = False
    force: bool = False
    story: tuple[Line, ...] = ()
    ids: Ids = field(default_factory=dict)
    encrypted: bool = False
    leave_pending: bool = False
    seed: int | None = None
    die_at_step: int | None = None
    pause_at_read: int | None = None
    pause_at_end: bool = False


def disk_of_numbers(name: str, blocks: Sequence[int]) -> MemorySource:
    """Return a source with these blocks of the palette."""
    return disk_of(*(palette_block(number) for number in blocks), name=name)


# The parent's side


class Worker:
    """A running child. As a context manager it leaves no process behind.

    Args:
        task: What it does.
        strace: Options of strace, which watches it; empty: nobody does.
        patience_s: After so many seconds it hangs: it is killed, and its test fails.
    """

    def __init__(
        self, task: Task, strace: Sequence[str] = (), patience_s: float = PATIENCE_S
    ) -> None:
        self._process = ForkedProcess(_live, task, strace=strace, patience_s=patience_s)

    def next_event(self) -> Event | None:
        """Wait for the next event; None when the child is gone without one."""
        line = self._process.stdout.readline()
        return cast("Event", json.loads(line)) if line else None

    def wait_for(self, *names: str) -> Event:
        """Wait for an event of one of these names, passing over others.

        Raises:
            AssertionError: The child ended without it.
        """
        passed = []
        for event in self.events():
            if event["event"] in names:
                return event
            passed.append(event)
        raise AssertionError(f"the child ended without {names}, after {passed}")

    def wait_for_lines(self, count: int) -> Ids:
        """Wait until so many lines of its story are done; return the ids so far.

        Raises:
            AssertionError: It failed before that.
        """
        while True:
            event = self.wait_for("line", "failed")
            assert event["event"] == "line", event
            if event["done"] == count:
                return cast("Ids", event["ids"])

    def events(self) -> Iterator[Event]:
        """Yield all events that are still to come, until the child is gone."""
        while (event := self.next_event()) is not None:
            yield event

    def go_on(self) -> None:
        """Let a child go on that waits."""
        self._process.stdin.write("\n")

    def kill(self) -> None:
        """Send it SIGKILL and wait until it is gone."""
        self._process.kill()

    def wait(self) -> int:
        """Wait until it is gone; return its exit status, or minus the signal that ended it."""
        return self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.close()


# The child's side


class Steps:
    """Counts steps, from any thread, and dies at one of them."""

    def __init__(self, die_at: int | None) -> None:
        self.count = 0
        self._die_at = die_at
        self._lock = threading.Lock()

    def next_is_last(self) -> bool:
        """Whether the next step is the one to die at."""
        return self.count + 1 == self._die_at

    def step(self) -> None:
        """Count a step that is about to happen."""
        with self._lock:
            self.count += 1
            if self.count == self._die_at:
                _die()


class Counted:
    """Anything, with a step before each call of one of its methods. Files it opens are counted too.

    Args:
        inner: What does the work.
        steps: What counts.
    """

    def __init__(self, inner: object, steps: Steps) -> None:
        self._inner = inner
        self._steps = steps

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - it stands for any method
        method = getattr(self._inner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            if name == "write_at" and self._steps.next_is_last():
                offset, parts = args
                whole = b"".join(parts)
                method(offset, [whole[: len(whole) // 2]])
            self._steps.step()
            result = method(*args, **kwargs)
            return Counted(result, self._steps) if name in ("create", "open") else result

        return counted


class TellingProgress(SilentProgress):
    """Tells the parent each note, and counts each report as a step."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def advance(self, done_bytes: int) -> None:
        """Count it."""
        self._steps.step()

    def note(self, message: str) -> None:
        """Tell the parent."""
        _tell(event="note", message=message)


def perform(task: Task, steps: Steps) -> Event:
    """Do the task in this process; return the event that tells how it ended."""
    entropy = SystemEntropy() if task.seed is None else SeededEntropy(task.seed)
    gate = threading.Event()
    gate.set()
    seams = Seams(
        files=cast("Files", Counted(PosixFiles(), steps)),
        clock=cast("Clock", Counted(SystemClock(), steps)),
        entropy=cast("Entropy", Counted(entropy, steps)),
        before_copy=lambda _snapshot_id: _wait_at(gate),
    )
    try:
        with Store.open(task.store, seams) as store:
            _tell(event="opened")
            if task.operation == "story":
                _act_out(store, task, gate)
                return {"event": "done", "steps": steps.count, "snapshot_ids": []}
            snapshot_ids = _operate(store, task, steps)
    except EbsimError as error:
        return {"event": "failed", "code": error.code, "message": str(error)}
    return {"event": "done", "steps": steps.count, "snapshot_ids": snapshot_ids}


class PausingSource(ObservedSource):
    """Counts each read as a step, and waits for the parent where the task says so."""

    def __init__(self, source: BlockSource, task: Task, steps: Steps) -> None:
        super().__init__(source, self._count)
        self._task = task
        self._steps = steps
        self._reads = Steps(None)

    def ensure_unchanged(self) -> None:
        """Wait if this is the moment, then ask the source."""
        if self._task.pause_at_end:
            _pause()
        super().ensure_unchanged()

    def _count(self, _offset: int, _length: int) -> None:
        self._steps.step()
        self._reads.step()
        if self._reads.count == self._task.pause_at_read:
            _pause()


def _operate(store: Store, task: Task, steps: Steps) -> list[str]:
    progress = TellingProgress(steps)
    if task.operation == "create":
        source = PausingSource(disk_of_numbers(task.disk, task.blocks), task, steps)
        options = SnapshotOptions(description=task.description)
        shown = store.create_snapshot(source, options, progress)
        return [shown.snapshot_id]
    if task.operation == "delete":
        report = store.delete_snapshots(list(task.snapshot_ids))
        return [deleted.snapshot_id for deleted in report.deleted]
    if task.operation == "compact":
        store.compact(progress=progress)
        return []
    assert task.operation == "restore", "the operations are create, delete, restore and compact"
    (snapshot_id,) = task.snapshot_ids
    store.restore_snapshot(
        snapshot_id, Path(task.target), in_place=task.in_place, force=task.force, progress=progress
    )
    return [snapshot_id]


def _act_out(store: Store, task: Task, gate: threading.Event) -> None:
    """Act out a story, then let go of what is held."""
    ids = dict(task.ids)
    actor = Actor(store, gate, ids, lambda: time.sleep(0.002))
    actor.ask = _pause
    actor.encrypted = task.encrypted
    perform_story(actor, task.story, lambda done: _tell(event="line", done=done, ids=ids))
    if task.leave_pending:
        close_leaving(store, gate)
    gate.set()


def _wait_at(gate: threading.Event) -> None:
    gate.wait()


def _pause() -> None:
    _tell(event="paused")
    sys.stdin.readline()


def _tell(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL cannot be survived")


def _live(task: Task) -> None:
    """Perform a task, and tell how it ended."""
    _tell(**perform(task, Steps(task.die_at_step)))
