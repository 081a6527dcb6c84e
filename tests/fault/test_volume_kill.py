"""Managed volumes and real processes: SIGKILL, two at once, a store that is left and taken over.

What must hold is said by `ebsim.testing.volume_story.assert_story_survived`. At every step, and
with power cuts, the same is tested in memory: test_volume_crash.py. The default profile kills at 6
moments, spread evenly over the story, EBSIM_TEST_PROFILE=long at 60.
"""

import os
import shutil
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from ebsim.engine import Store
from ebsim.errors import ConflictError, ErrorCode, NotFoundError
from ebsim.patience import Patience
from ebsim.results import SnapshotState, VolumeState
from ebsim.testing.volume_story import (
    Ids,
    Line,
    assert_no_change_missed,
    assert_story_survived,
    content,
)
from ebsim.testing.worker import Task, Worker
from ebsim.units import BLOCK_SIZE

pytestmark = [pytest.mark.crash, pytest.mark.slow]

LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"
MOMENTS = 60 if LONG else 6

STORY: tuple[Line, ...] = (
    ("create", "v"),
    ("write", "v", 0, 4),
    ("write", "v", 255, 8),
    ("write", "v", 256, 12),
    ("write", "v", 2047, 16),
    ("snapshot", "v", "s1"),
    ("wait", "s1"),
    ("flush", "v"),
    ("create", "w", "s1"),
    ("part", "w", 255, 5),
    ("hold",),
    ("snapshot", "v", "w", "s2", "s3"),
    ("write", "v", 256, 20),
    ("write", "w", 256, 24),
    ("discard", "w", 0),
    ("write", "v", 700, 28),
    ("snapshot", "v", "s4"),
    ("write", "v", 256, 32),
    ("part", "v", 700, 9),
    ("delete", "s1"),
    ("flush", "w"),
    ("go",),
    ("write", "w", 2047, 36),
    ("wait", "s2", "s3", "s4"),
    ("delete", "s2"),
    ("write", "v", 0, 40),
    ("load", "w"),
    ("drop", "v"),
    ("write", "w", 1, 44),
)

TASK = Task(store="", operation="story", story=STORY, seed=1)


def make_store(path: Path) -> str:
    Store.create(path).close()
    return str(path)


def act(task: Task) -> tuple[int, Ids, int]:
    """Act a story out; return how many lines were done, the ids, and how many steps it had."""
    done, steps, ids = 0, 0, dict(task.ids)
    with Worker(task) as worker:
        for event in worker.events():
            assert event["event"] != "failed", event
            if event["event"] == "line":
                done, ids = event["done"], event["ids"]
            steps = event.get("steps", steps)
        assert worker.wait() in (0, -signal.SIGKILL)
    return done, ids, steps


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "encrypted"])
def trial(request: pytest.FixtureRequest, fast_module_path: Path) -> tuple[Task, int]:
    """The task, with encrypted volumes or plain ones, and how many steps it has."""
    path = fast_module_path / "trial"
    task = replace(TASK, encrypted=request.param)
    done, _, steps = act(replace(task, store=make_store(path)))
    assert done == len(STORY)
    shutil.rmtree(path)
    return task, steps


def assert_survived(path: Path, done: int, ids: Ids) -> None:
    with Store.open(path) as store:
        assert_story_survived(store, STORY, done, ids, cut=False)
    with Store.open(path) as store:
        assert all(each.state is not SnapshotState.PENDING for each in store.list_snapshots())
        volumes = {f"{each.volume_id}.data" for each in store.volumes.list()}
        folder = path / "volumes"
        assert {each.name for each in folder.iterdir()} <= volumes if folder.exists() else True


@pytest.mark.parametrize("part", range(MOMENTS))
def test_killed_while_using_volumes(trial: tuple[Task, int], fast_path: Path, part: int) -> None:
    """F1, F2: by SIGKILL, at moments that are evenly spread over the story."""
    path = fast_path / "store"
    task, steps = trial
    moment = 1 + part * (steps - 1) // MOMENTS

    done, ids, _ = act(replace(task, store=make_store(path), die_at_step=moment))

    assert_survived(path, done, ids)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("nth", range(5, 60, 5) if LONG else (12, 25))
@pytest.mark.parametrize("call", ["fdatasync", "pwritev"])
def test_killed_at_a_system_call(fast_path: Path, call: str, nth: int) -> None:
    """The same inside the commits, which no step shows."""
    path = fast_path / "store"
    task = replace(TASK, store=make_store(path))
    inject = f"inject={call}:signal=SIGKILL:when={nth}"
    options = ["-f", "-o", os.devnull, "-e", f"trace={call}", "-e", inject]
    done, ids = 0, {}
    with Worker(task, strace=options) as worker:
        for event in worker.events():
            assert event["event"] != "failed", event
            if event["event"] == "line":
                done, ids = event["done"], event["ids"]

    assert_survived(path, done, ids)


# Two processes

HELD: tuple[Line, ...] = (
    ("create", "v"),
    ("write", "v", 0, 4),
    ("write", "v", 1, 8),
    ("snapshot", "v", "s1"),
    ("wait", "s1"),
    ("write", "v", 0, 12),
    ("hold",),
    ("snapshot", "v", "s2"),
    ("write", "v", 0, 16),
    ("write", "v", 2, 20),
)


def test_volume_that_another_process_has_open_is_refused(fast_path: Path) -> None:
    path = fast_path / "store"
    task = Task(store=make_store(path), operation="story", story=(*HELD, ("ask",)))
    with Worker(task) as worker:
        ids = worker.wait_for_lines(len(HELD))
        with Store.open(path) as store:
            store.patience = Patience(seconds=0.1)
            volume = ids["v"]
            for attempt in (
                lambda: store.volumes.open(volume),
                lambda: store.volumes.delete(volume),
                lambda: store.volumes.initialize(volume),
                lambda: store.create_snapshot(volume),
            ):
                with pytest.raises(ConflictError) as refused:
                    attempt()
                assert refused.value.code is ErrorCode.UNAVAILABLE
            assert store.volumes.get(volume).state is VolumeState.AVAILABLE
            assert store.get_snapshot(ids["s2"]).state is SnapshotState.PENDING
        worker.kill()
    with Store.open(path) as store:
        store.wait_snapshots([ids["s2"]])
        assert store.read_block(ids["s2"], 0) == content(12)
        assert_no_change_missed(store, {0, 1, 2})


def test_parent_is_deleted_by_another_process(fast_path: Path) -> None:
    """While the volume has a pending snapshot on it, and writes that nobody flushed."""
    path = fast_path / "store"
    story = (*HELD, ("ask",), ("wait", "s2"), ("write", "v", 1, 24), ("snapshot", "v", "s3"))
    with Worker(Task(store=make_store(path), operation="story", story=story)) as worker:
        ids = worker.wait_for_lines(len(HELD))
        with Store.open(path) as store:
            store.delete_snapshots([ids["s1"]])
        worker.go_on()
        ids = worker.wait_for_lines(len(story))
        worker.wait_for("done")

    with Store.open(path) as store:
        for name, blocks in {"s2": (12, 8, 0), "s3": (16, 24, 20)}.items():
            shown = store.get_snapshot(ids[name])
            assert shown.state is SnapshotState.COMPLETED
            for index, number in enumerate(blocks):
                assert store.read_block(ids[name], index) == content(number)
        store.delete_snapshots([ids["s2"]])
        store.delete_snapshots([ids["s3"]])
        assert_no_change_missed(store, {0, 1, 2})


def test_pending_snapshot_is_deleted_by_another_process(fast_path: Path) -> None:
    """It goes when it is completed, also if the one that copies it dies before."""
    path = fast_path / "store"
    task = Task(store=make_store(path), operation="story", story=(*HELD, ("ask",)))
    with Worker(task) as worker:
        ids = worker.wait_for_lines(len(HELD))
        with Store.open(path) as store:
            store.delete_snapshots([ids["s2"]])
            assert store.get_snapshot(ids["s2"]).state is SnapshotState.PENDING
        worker.kill()
    with Store.open(path) as store, suppress(NotFoundError):
        store.wait_snapshots([ids["s2"]])
    with Store.open(path) as store:
        assert [each.snapshot_id for each in store.list_snapshots()] == [ids["s1"]]
        assert_no_change_missed(store, {0, 1, 2})


def test_another_process_goes_on_with_what_was_left_pending(fast_path: Path) -> None:
    """A store that is closed without waiting: nothing is lost, whatever is written meanwhile."""
    path = fast_path / "store"
    task = Task(store=make_store(path), operation="story", story=HELD, leave_pending=True)

    _, ids, _ = act(task)

    with Store.open(path, resume=False) as store:
        assert store.get_snapshot(ids["s2"]).state is SnapshotState.PENDING
        with store.volumes.open(ids["v"]) as file:
            file.pwrite(content(24), 0)
            file.pwrite(content(28), BLOCK_SIZE)
    with Store.open(path) as store:
        (shown,) = store.wait_snapshots([ids["s2"]])
        assert shown.state is SnapshotState.COMPLETED
        assert [store.read_block(ids["s2"], each) for each in range(3)] == [
            content(12),
            content(8),
            content(0),
        ]
        assert_no_change_missed(store, {0, 1, 2})
