"""The harness: what its fixtures give, what it leaves behind, and what loading it costs."""

import subprocess
import sys
from pathlib import Path

import pytest

import ebsim
from ebsim.engine import Store
from ebsim.errors import ErrorCode, LimitExceededError, SnapshotFailedError, StoreError
from ebsim.results import SnapshotState
from ebsim.testing.contents import NOISE, TEXT
from ebsim.testing.harness import Harness
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.seams import START_US
from ebsim.testing.sources import disk_of
from ebsim.units import GIB

DAY_US = 86_400 * 1_000_000
ROOT_FOLDER = Path(ebsim.__file__).parents[1]


@pytest.fixture
def parent(fast_path: Path) -> Path:
    return fast_path


def ended(store: Store, snapshot_id: str) -> tuple[SnapshotState, str]:
    (shown,) = store.wait_snapshots([snapshot_id])
    return shown.state, shown.state_message


COMPLETED = (SnapshotState.COMPLETED, "")


# The harness


def test_nothing_is_left_behind(parent: Path) -> None:
    with Harness(parent) as harness:
        assert list(parent.iterdir()) == [harness.path.parent]
        harness.new_volume()

    assert list(parent.iterdir()) == []


def test_nothing_is_left_behind_of_a_test_that_fails(parent: Path) -> None:
    def fail() -> None:
        with Harness(parent) as harness:
            harness.faults.hold_snapshots().__enter__()
            harness.store.create_snapshot(harness.new_volume().volume_id)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert list(parent.iterdir()) == []


def test_new_volume_has_one_gib_or_the_size_of_its_snapshot(parent: Path) -> None:
    with Harness(parent) as harness:
        assert harness.new_volume().size_bytes == GIB
        large = harness.new_volume(size_gib=3)
        snapshot_id = harness.store.create_snapshot(large.volume_id).snapshot_id
        harness.store.wait_snapshots([snapshot_id])
        assert harness.new_volume(snapshot_id=snapshot_id).size_bytes == 3 * GIB


def test_ids_are_those_of_the_seed(parent: Path) -> None:
    ids = []
    for seed in (1, 1, 2):
        with Harness(parent, seed) as harness:
            ids.append(harness.new_volume().volume_id)

    assert ids[0] == ids[1] != ids[2]


def test_clock_moves_when_it_is_told_to(parent: Path) -> None:
    with Harness(parent) as harness:
        harness.clock.advance(1, hours=2, days=30)
        assert harness.new_volume().create_time_us == START_US + 30 * DAY_US + 7_201_000_000
        harness.clock.advance(days=-31)
        assert harness.new_volume().create_time_us == START_US - DAY_US + 7_201_000_000


def test_what_is_written_is_there_after_reopening(parent: Path) -> None:
    with Harness(parent) as harness:
        volume = harness.new_volume()
        with harness.store.volumes.open(volume.volume_id) as file:
            file.pwrite(NOISE, 0)
        harness.reopen()
        with harness.store.volumes.open(volume.volume_id) as file:
            assert file.pread(len(NOISE), 0) == NOISE


# Faults


def test_held_snapshot_stays_pending_until_the_end_of_the_context(parent: Path) -> None:
    with Harness(parent) as harness:
        volume = harness.new_volume().volume_id
        with harness.faults.hold_snapshots():
            held = harness.store.create_snapshot(volume).snapshot_id
            assert harness.store.get_snapshot(held).state is SnapshotState.PENDING
        assert ended(harness.store, held) == COMPLETED


def test_released_snapshot_is_copied_while_another_volume_waits(parent: Path) -> None:
    with Harness(parent) as harness:
        store, faults = harness.store, harness.faults
        with faults.hold_snapshots():
            held, let_go = (
                store.create_snapshot(harness.new_volume().volume_id).snapshot_id for _ in range(2)
            )
            faults.release(let_go)
            assert ended(store, let_go) == COMPLETED
            assert store.get_snapshot(held).state is SnapshotState.PENDING
            faults.fail(held, "enough")
            assert ended(store, held) == (SnapshotState.ERROR, "enough")


def test_next_snapshots_fail_with_their_messages(parent: Path) -> None:
    with Harness(parent) as harness:
        volume = harness.new_volume().volume_id
        harness.faults.fail_next_snapshot("one")
        harness.faults.fail_next_snapshot("two")

        results = [
            ended(harness.store, harness.store.create_snapshot(volume).snapshot_id)
            for _ in range(3)
        ]

        assert results == [(SnapshotState.ERROR, "one"), (SnapshotState.ERROR, "two"), COMPLETED]
        assert_healthy(harness.store)


@pytest.mark.parametrize("count", [1, 3])
def test_held_snapshots_outlive_their_handle(parent: Path, count: int) -> None:
    with Harness(parent) as harness:
        volume = harness.new_volume().volume_id
        held = []
        with harness.faults.hold_snapshots():
            for number in range(count):
                with harness.store.volumes.open(volume) as file:
                    file.pwrite(bytes([number + 1]), 0)
                held.append(harness.store.create_snapshot(volume).snapshot_id)
            with harness.store.volumes.open(volume) as file:
                file.pwrite(b"later", 0)
            store = harness.reopen(leave_pending=True)
        assert [ended(store, each) for each in held] == [COMPLETED] * count
        assert [store.read_block(each, 0)[0] for each in held] == list(range(1, count + 1))


def test_full_disk_refuses_a_write_and_nothing_else(parent: Path) -> None:
    with Harness(parent) as harness:
        volume = harness.new_volume().volume_id
        with harness.store.volumes.open(volume) as file:
            with harness.faults.full_disk(), pytest.raises(LimitExceededError) as caught:
                file.pwrite(NOISE, 0)
            assert caught.value.code is ErrorCode.NO_SPACE
            file.pwrite(TEXT, 0)
            assert file.pread(len(TEXT), 0) == TEXT


def test_failing_disk_closes_the_store_for_writing_until_it_is_reopened(parent: Path) -> None:
    with Harness(parent) as harness:
        volume = harness.new_volume().volume_id
        with harness.store.volumes.open(volume) as file:
            file.pwrite(TEXT, 0)
        file = harness.store.volumes.open(volume)
        with harness.faults.failing_disk(), pytest.raises(StoreError):
            file.flush()
        with pytest.raises(StoreError):
            harness.store.create_snapshot(volume)
        with pytest.raises(StoreError):
            file.close()
        store = harness.reopen()
        assert ended(store, store.create_snapshot(volume).snapshot_id) == COMPLETED


def test_failing_source_fails_its_snapshot(parent: Path) -> None:
    with Harness(parent) as harness:
        source = disk_of(NOISE, TEXT)
        with pytest.raises(SnapshotFailedError, match="at offset 524288"):
            harness.store.create_snapshot(harness.faults.failing_source(source, block=1))
        assert harness.store.create_snapshot(source).state is SnapshotState.COMPLETED


# What it costs


@pytest.mark.parametrize(
    "module",
    ["numpy", "lmdb", "hypothesis", "zstandard", "rich", "click", "ebsim.engine", "ebsim.errors"],
)
def test_plugin_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, ebsim.testing.pytest_plugin; sys.exit({module!r} in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT_FOLDER, check=False)

    assert done.returncode == 0


@pytest.mark.parametrize("name", ["model", "harness", "faults", "invariants", "numbered_writes"])
def test_what_a_harness_is_made_of_needs_no_extra(name: str) -> None:
    code = (
        "import sys; sys.modules['pytest'] = sys.modules['hypothesis'] = None\n"
        f"import ebsim.testing.{name}"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT_FOLDER, check=False)

    assert done.returncode == 0


# Its own options


@pytest.mark.slow
def test_stores_lie_where_the_option_or_the_setting_says(fast_path: Path) -> None:
    (fast_path / "test_place.py").write_text(
        "def test_place(ebsim_harness):\n    print('lies in', ebsim_harness.path.parent.parent)\n"
    )
    (fast_path / "pytest.ini").write_text("[pytest]\nebsim_folder = stores\n")

    def place(*options: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-s", "-p", "ebsim.testing.pytest_plugin", *options],
            cwd=fast_path,
            env={"PYTHONPATH": str(ROOT_FOLDER), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.partition("lies in ")[2].split()[0].rstrip(".")

    assert place() == str(fast_path / "stores")
    assert place("--ebsim-folder", "others") == "others"
    assert list((fast_path / "stores").iterdir()) == []
