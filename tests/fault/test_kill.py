"""SIGKILL at chosen moments: the next command opens the store and uses it without help.

Fault model. The process dies at once, at any step: before any call to the store's files, the clock,
randomness, the source or the progress listener, with half of a write done; or at a system call of
the catalog. What it wrote stays, as the page cache survives its process. A power cut is not tested
here.

What must hold afterwards. No snapshot is pending; one that was is `error` with a reason, or is
completed. Every completed snapshot is there with its bytes and its charges. All stored bytes prove
sound. The operation can be done again, and what the dead one stored is given back.

The default profile kills each operation at 12 moments, spread evenly over its steps, the first and
the last among them, and what recovers at every eighth of its steps. EBSIM_TEST_PROFILE=long has 100
moments, and each step of recovering; the campaigns `kills` and `failpoints` have thousands.
"""

import copy
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import ebsim
from ebsim.engine import Seams, Store
from ebsim.results import SnapshotState
from ebsim.testing.contents import palette_block
from ebsim.testing.invariants import assert_healthy, assert_store_matches
from ebsim.testing.model import ReferenceModel
from ebsim.testing.seams import SeededEntropy
from ebsim.testing.worker import Task, Worker, disk_of_numbers
from ebsim.units import BLOCK_SIZE

pytestmark = [pytest.mark.crash, pytest.mark.slow]

LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"
MOMENTS = 100 if LONG else 12
"""At how many moments, evenly spread over its steps, an operation is killed."""

WEB = "memory:web"
OTHER = "memory:other"
NEXT = (4, 8, 80, 84, 0, 88, 28, 32, 92, 96, 100, 104, 5)
"""What WEB holds when the snapshot is made that is killed: 7 of 13 blocks are new."""


@dataclass(frozen=True)
class Prepared:
    """A closed store, its model, and its snapshots' ids, oldest first."""

    path: Path
    model: ReferenceModel
    ids: tuple[str, ...]

    def copy(self, path: Path) -> "Prepared":
        subprocess.run(["cp", "-a", "--sparse=always", self.path, path], check=True)
        return Prepared(path, copy.deepcopy(self.model), self.ids)


def write_disk(model: ReferenceModel, name: str, blocks: tuple[int, ...]) -> None:
    if name not in model.volumes:
        model.add_volume(name, len(blocks) * BLOCK_SIZE)
    model.grow(name, len(blocks) * BLOCK_SIZE)
    for index, number in enumerate(blocks):
        model.write(name, index, palette_block(number))


def snapshot(store: Store, model: ReferenceModel, name: str, blocks: tuple[int, ...]) -> str:
    shown = store.create_snapshot(disk_of_numbers(name, blocks))
    write_disk(model, name, blocks)
    model.snapshot(name, shown.snapshot_id)
    return shown.snapshot_id


@pytest.fixture(scope="module")
def prepared(fast_module_path: Path) -> Prepared:
    """Two snapshots of WEB, and one of OTHER that has blocks in common with them."""
    path = fast_module_path / "prepared"
    model = ReferenceModel()
    with Store.create(path, Seams(entropy=SeededEntropy(0))) as store:
        ids = (
            snapshot(store, model, WEB, (4, 8, 12, 16, 20, 24, 28, 32, 36)),
            snapshot(store, model, OTHER, (36, 40, 44, 8, 1, 2)),
            snapshot(store, model, WEB, (4, 8, 48, 52, 20, 24, 28, 32, 36, 56)),
        )
    return Prepared(path, model, ids)


def steps_of(prepared: Prepared, task: Task, folder: Path) -> int:
    """Perform the task on a copy, without dying, and return how many steps it has."""
    trial = prepared.copy(folder)
    with Worker(replace(task, store=str(trial.path))) as worker:
        steps = worker.wait_for("done")["steps"]
    shutil.rmtree(folder)
    assert isinstance(steps, int)
    return steps


def die(task: Task) -> None:
    """Perform a task whose child dies on the way, or ends where it has fewer steps this time."""
    with Worker(task) as worker:
        names = [event["event"] for event in worker.events()]
        assert names in ([], ["opened"], ["opened", "done"])
        assert worker.wait() == (0 if "done" in names else -signal.SIGKILL)


def moment(steps: int, part: int) -> int:
    """Return the `part`-th of MOMENTS steps that are evenly spread; the first and the last too."""
    return 1 + part * (steps - 1) // (MOMENTS - 1)


# Creating


CREATE = Task(store="", operation="create", disk=WEB, blocks=NEXT, seed=1)


@pytest.fixture(scope="module")
def steps_to_create(prepared: Prepared, fast_module_path: Path) -> int:
    return steps_of(prepared, CREATE, fast_module_path / "trial-create")


def assert_recovered_from_create(made: Prepared) -> None:
    """Look at everything after the creation of a snapshot of NEXT was killed, and use the store."""
    with Store.open(made.path) as store:
        write_disk(made.model, WEB, NEXT)
        for shown in store.list_snapshots():
            assert shown.state is not SnapshotState.PENDING
            if shown.state is SnapshotState.COMPLETED and shown.snapshot_id not in made.ids:
                made.model.snapshot(WEB, shown.snapshot_id)
        assert len(made.model.snapshots) <= len(made.ids) + 1
        assert_store_matches(store, made.model)
        assert_healthy(store)
        snapshot(store, made.model, WEB, NEXT)
        assert_store_matches(store, made.model)
        if delete_failed(store):
            assert_store_matches(store, made.model)
        assert_little_is_wasted(store)
        assert_healthy(store)


def delete_failed(store: Store) -> bool:
    """Return whether there was something to delete."""
    failed = [each for each in store.list_snapshots() if each.state is SnapshotState.ERROR]
    if failed:
        store.delete_snapshots([shown.snapshot_id for shown in failed])
    return bool(failed)


def assert_little_is_wasted(store: Store) -> None:
    """Less than one block is stored that nobody needs; a dead attempt stores up to seven."""
    stats = store.stats()
    assert stats.stored_size_bytes - stats.live_size_bytes < BLOCK_SIZE


@pytest.mark.parametrize("part", range(MOMENTS))
def test_killed_while_creating(
    prepared: Prepared, steps_to_create: int, fast_path: Path, part: int
) -> None:
    made = prepared.copy(fast_path / "store")

    die(replace(CREATE, store=str(made.path), die_at_step=moment(steps_to_create, part)))

    assert_recovered_from_create(made)


@pytest.mark.parametrize("read", [1, 2])
def test_killed_while_waiting_for_its_source(
    prepared: Prepared, fast_path: Path, read: int
) -> None:
    made = prepared.copy(fast_path / "store")

    with Worker(replace(CREATE, store=str(made.path), pause_at_read=read)) as worker:
        assert worker.wait_for("paused", "done")["event"] == "paused" or read > 1
        worker.kill()

    assert_recovered_from_create(made)


def test_killed_snapshot_is_listed_as_error_with_a_reason(
    prepared: Prepared, fast_path: Path
) -> None:
    made = prepared.copy(fast_path / "store")
    with Worker(replace(CREATE, store=str(made.path), pause_at_read=1)) as worker:
        worker.wait_for("paused")
        worker.kill()

    with Store.open(made.path) as store:
        (failed,) = (each for each in store.list_snapshots() if each.snapshot_id not in made.ids)
        assert failed.state is SnapshotState.ERROR
        assert failed.state_message != ""
        assert failed.charged_size_bytes == failed.full_size_bytes == 0


def test_commands_after_a_kill_need_no_help(prepared: Prepared, fast_path: Path) -> None:
    """The same through the command line: the very next command may be any of them."""
    disk = fast_path / "disk.img"
    disk.write_bytes(b"".join(palette_block(number) for number in NEXT))
    commands = (
        ["snapshot", "list"],
        ["snapshot", "create", str(disk)],
        ["check", "--data"],
        ["stats"],
        ["snapshot", "delete", prepared.ids[0]],
        ["restore", prepared.ids[2], str(fast_path / "out.img")],
    )
    for number, command in enumerate(commands):
        made = prepared.copy(fast_path / f"store{number}")
        with Worker(replace(CREATE, store=str(made.path), pause_at_read=1)) as worker:
            worker.wait_for("paused")
            worker.kill()

        answer = run_command(made.path, *command)

        assert "Error" not in answer
        listed = run_command(made.path, "snapshot", "list")["Snapshots"]
        states = [shown["State"] for shown in listed]
        assert "pending" not in states
        assert states.count("error") == 1


def run_command(store: Path, *command: str) -> dict[str, Any]:
    """Run the `ebsim` command with --json; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "ebsim", *command, "--json"],
        env=os.environ | {"EBSIM_STORE": str(store)},
        cwd=Path(ebsim.__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


# Deleting


@pytest.fixture(scope="module")
def delete_task(prepared: Prepared) -> Task:
    """Delete the first snapshot of WEB and the one of OTHER: moves, frees, and shared blocks."""
    return Task(store="", operation="delete", snapshot_ids=prepared.ids[:2], seed=2)


@pytest.fixture(scope="module")
def steps_to_delete(prepared: Prepared, delete_task: Task, fast_module_path: Path) -> int:
    return steps_of(prepared, delete_task, fast_module_path / "trial-delete")


@pytest.mark.parametrize("part", range(MOMENTS))
def test_killed_while_deleting(
    prepared: Prepared, delete_task: Task, steps_to_delete: int, fast_path: Path, part: int
) -> None:
    """Each snapshot of the set is deleted or not, never half; then the rest can be deleted."""
    made = prepared.copy(fast_path / "store")

    die(replace(delete_task, store=str(made.path), die_at_step=moment(steps_to_delete, part)))

    assert_recovered_from_delete(made, delete_task)


def assert_recovered_from_delete(made: Prepared, task: Task) -> None:
    with Store.open(made.path) as store:
        listed = {shown.snapshot_id for shown in store.list_snapshots()}
        gone = [each for each in task.snapshot_ids if each not in listed]
        rest = [each for each in task.snapshot_ids if each in listed]
        assert [*gone, *rest] == list(task.snapshot_ids)  # they go in the order given
        made.model.delete(gone)
        assert_store_matches(store, made.model)
        assert_healthy(store)
        if rest:
            planned = store.delete_snapshots(rest, dry_run=True)
            assert store.delete_snapshots(rest).deleted == planned.deleted
            made.model.delete(rest)
            assert_store_matches(store, made.model)
        snapshot(store, made.model, WEB, NEXT)
        assert_store_matches(store, made.model)
        assert_little_is_wasted(store)
        assert_healthy(store)


# Compacting


COMPACT = Task(store="", operation="compact", seed=5)


@pytest.fixture(scope="module")
def scattered(prepared: Prepared, fast_module_path: Path) -> Prepared:
    """The prepared store, and three small segments more, one of them with a hole."""
    made = prepared.copy(fast_module_path / "scattered")
    ids = list(made.ids)
    for number, blocks in enumerate([(36, 40, 60, 8), (36, 64, 60, 8)], 10):
        with Store.open(made.path, Seams(entropy=SeededEntropy(number))) as store:
            ids.append(snapshot(store, made.model, OTHER, (*blocks, 1, 2)))
    with Store.open(made.path, Seams(entropy=SeededEntropy(20))) as store:
        store.delete_snapshots(ids[3:4])
    made.model.delete(ids[3:4])
    return replace(made, ids=(*ids[:3], ids[4]))


@pytest.fixture(scope="module")
def steps_to_compact(scattered: Prepared, fast_module_path: Path) -> int:
    return steps_of(scattered, COMPACT, fast_module_path / "trial-compact")


@pytest.mark.parametrize("part", range(MOMENTS))
def test_killed_while_compacting(
    scattered: Prepared, steps_to_compact: int, fast_path: Path, part: int
) -> None:
    made = scattered.copy(fast_path / "store")

    die(replace(COMPACT, store=str(made.path), die_at_step=moment(steps_to_compact, part)))

    assert_recovered_from_compact(made)


def assert_recovered_from_compact(made: Prepared) -> None:
    """Nothing changed that a user sees, nothing is wasted, and it can be done again."""
    with Store.open(made.path) as store:
        assert_store_matches(store, made.model)
        assert_healthy(store)
        store.compact()
        assert store.stats().segments <= 2
        assert_store_matches(store, made.model)
        snapshot(store, made.model, WEB, NEXT)
        assert_store_matches(store, made.model)
        assert_little_is_wasted(store)
        assert_healthy(store)


# Recovering


@pytest.fixture(scope="module")
def steps(steps_to_create: int, steps_to_delete: int) -> dict[str, int]:
    return {"create": steps_to_create, "delete": steps_to_delete}


@pytest.mark.parametrize("eighth", range(1, 9) if LONG else (4, 6))
@pytest.mark.parametrize("operation", ["create", "delete"])
def test_killed_at_each_step_of_recovering(
    prepared: Prepared,
    delete_task: Task,
    steps: dict[str, int],
    fast_path: Path,
    operation: str,
    eighth: int,
) -> None:
    """F6: the process that cleans up after a dead one dies too, at each of its steps in turn.

    At every eighth one, but where the long profile is asked for.
    """
    task = CREATE if operation == "create" else delete_task
    dead = prepared.copy(fast_path / "dead")
    die(replace(task, store=str(dead.path), die_at_step=steps[operation] * eighth // 8))

    first, stride = (1, 1) if LONG else (2 * eighth - 7, 8)
    for second in itertools.count(first, stride):
        made = dead.copy(fast_path / f"store{second}")
        # What recovers is a creation, whichever operation was killed: it dies before it begins.
        again = replace(CREATE, store=str(made.path), die_at_step=second, seed=4)
        with Worker(again) as worker:
            if "opened" in [event["event"] for event in worker.events()]:
                return
        try:
            if operation == "create":
                assert_recovered_from_create(made)
            else:
                assert_recovered_from_delete(made, task)
        except AssertionError as error:
            error.add_note(f"killed at step {second} of recovering")
            raise


# Restoring


@pytest.fixture(scope="module")
def steps_to_restore(prepared: Prepared, fast_module_path: Path) -> int:
    target = str(fast_module_path / "trial.img")
    task = Task(store="", operation="restore", snapshot_ids=prepared.ids[2:], target=target, seed=3)
    return steps_of(prepared, task, fast_module_path / "trial-restore")


@pytest.mark.parametrize("part", range(0, MOMENTS, 4 if LONG else 2))
@pytest.mark.parametrize("how", ["new", "force", "in_place"])
def test_killed_while_restoring(
    prepared: Prepared, steps_to_restore: int, fast_path: Path, how: str, part: int
) -> None:
    """F62: a file that was there is whole, old or new; a new one is absent or whole.

    In place it may be anything between, and the next restore makes it whole.
    """
    made = prepared.copy(fast_path / "store")
    target = fast_path / "out.img"
    old, wanted = (made.model.image(made.ids[index]) for index in (0, 2))
    task = Task(
        store=str(made.path),
        operation="restore",
        snapshot_ids=made.ids[2:],
        target=str(target),
        in_place=how == "in_place",
        force=how == "force",
        seed=3,
    )
    if how != "new":
        target.write_bytes(old)

    die(replace(task, die_at_step=moment(steps_to_restore, part)))

    there = target.read_bytes() if target.exists() else None
    allowed = {"new": (None, wanted), "force": (old, wanted), "in_place": (there,)}[how]
    assert there in allowed
    with Store.open(made.path) as store:
        assert_store_matches(store, made.model)
        store.restore_snapshot(
            made.ids[2], target, in_place=how == "in_place", force=how != "in_place"
        )
    assert target.read_bytes() == wanted


# At the system calls of the catalog


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("nth", range(1, 12) if LONG else (1, 4))
@pytest.mark.parametrize("call", ["fdatasync", "pwrite64", "pwritev"])
@pytest.mark.parametrize("operation", ["create", "delete", "compact"])
def test_killed_at_a_system_call(
    prepared: Prepared,
    scattered: Prepared,
    delete_task: Task,
    fast_path: Path,
    operation: str,
    call: str,
    nth: int,
) -> None:
    """The same inside the catalog's commits, which no seam shows."""
    made = (scattered if operation == "compact" else prepared).copy(fast_path / "store")
    task = {"create": CREATE, "delete": delete_task, "compact": COMPACT}[operation]
    inject = f"inject={call}:signal=SIGKILL:when={nth}"
    options = ["-f", "-o", os.devnull, "-e", f"trace={call}", "-e", inject]

    with Worker(replace(task, store=str(made.path)), strace=options) as worker:
        assert "failed" not in [event["event"] for event in worker.events()]

    if operation == "create":
        assert_recovered_from_create(made)
    elif operation == "delete":
        assert_recovered_from_delete(made, delete_task)
    else:
        assert_recovered_from_compact(made)
