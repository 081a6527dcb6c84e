"""A process that dies at any failpoint leaves the Recycle Bin as it was before or after (F1)."""

import random
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ebsim import failpoints
from ebsim.engine import Store
from ebsim.recycle_bin import RuleRequest, RuleResourceType
from ebsim.requests import VolumeRequest
from ebsim.results import Volume
from ebsim.testing.contents import HEAD, NOISE, TEXT, ZEROS
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.machine import Killed as ProcessKilled
from ebsim.testing.machine import Machine
from ebsim.testing.memory_store import MemoryStore, leave_as_if_killed
from ebsim.testing.seams import START_US, ManualClock
from ebsim.testing.sources import disk_of

pytestmark = pytest.mark.crash

DAY_US = 24 * 3600 * 1_000_000

Action = Callable[[Store, list[str], str], object]


class Killed(BaseException):
    """Stands for SIGKILL: nothing that catches errors catches it."""


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.disarm()


def lived(folder: Path) -> tuple[MemoryStore, list[str], str]:
    """Return a store with two snapshots in the bin, two that are not, and an image in the bin."""
    folder.mkdir()
    disk = MemoryStore(folder)
    with disk.open() as store:
        for kind in (RuleResourceType.EBS_SNAPSHOT, RuleResourceType.EC2_IMAGE):
            store.recycle_bin.rules.create(RuleRequest(resource_type=kind, retention_days=7))
        source = disk_of(NOISE, TEXT, ZEROS)
        names: list[str] = [store.create_snapshot(source).snapshot_id]
        for block in (HEAD, TEXT, NOISE):
            source.put(1, block)
            names.append(store.create_snapshot(source).snapshot_id)
        image = store.images.register("web", {"/dev/sda1": names[3]}).image_id
        store.delete_snapshots(names[:2])
        store.images.deregister(image)
    return disk, names, image


def told(store: Store) -> dict[str, Any]:
    return {
        "rules": store.recycle_bin.rules.list(),
        "snapshots": store.list_snapshots(),
        "in the bin": store.recycle_bin.snapshots(),
        "images": store.images.list(),
        "images in the bin": store.recycle_bin.images(),
        "ledger": store.ledger(),
    }


def into_the_bin(store: Store, names: list[str], _image: str) -> None:
    store.delete_snapshots(names[2:])


def out_of_the_bin(store: Store, names: list[str], _image: str) -> None:
    store.recycle_bin.restore_snapshot(names[0])


def image_out_of_the_bin(store: Store, _names: list[str], image: str) -> None:
    store.recycle_bin.restore_image(image)


def new_rule(store: Store, _names: list[str], _image: str) -> None:
    kind = RuleResourceType.EBS_SNAPSHOT
    store.recycle_bin.rules.create(RuleRequest(resource_type=kind, retention_days=1))


def run(disk: MemoryStore, names: list[str], image: str, action: Action, die_at: int) -> str:
    """Do it in a process that dies at the n-th failpoint; return that one's name, or nothing."""
    context = disk.context()
    reached: list[str] = []

    def reach(name: str) -> None:
        reached.append(name)
        if len(reached) == die_at:
            raise Killed

    failpoints.arm(reach)
    try:
        action(Store(context), names, image)
    except Killed:
        leave_as_if_killed(context)
        return reached[-1]
    finally:
        failpoints.disarm()
    Store(context).close()
    return ""


def outcomes(folder: Path, action: Action) -> tuple[list[str], list[bool]]:
    """Kill an action at each of its failpoints; return their names, and whether it happened."""
    names: list[str] = []
    happened: list[bool] = []
    while True:
        disk, ids, image = lived(folder / str(len(names)))
        with disk.open() as store:
            before = told(store)
        died_at = run(disk, ids, image, action, len(names) + 1)
        with disk.open() as store:
            after = told(store)
            assert_healthy(store)
            if not died_at:
                assert after != before
                return names, happened
            names.append(died_at)
            happened.append(after != before)
            if after == before:
                action(store, ids, image)  # it can be done again
                assert_healthy(store)


@pytest.mark.parametrize("action", [into_the_bin, out_of_the_bin, image_out_of_the_bin, new_rule])
def test_death_leaves_all_or_nothing(fast_path: Path, action: Action) -> None:
    names, happened = outcomes(fast_path, action)

    assert sorted(happened) == happened, "what happened does not go back"
    assert {True, False} == set(happened)
    assert "journal.synced" in names


def test_expiry_that_is_interrupted_is_finished_by_the_next(fast_path: Path) -> None:
    """The image goes first, then both snapshots at once; each has happened or has not."""
    die_at, names = 0, set[str]()
    while True:
        die_at += 1
        disk, ids, image = lived(fast_path / str(die_at))
        disk.clock = ManualClock(START_US + 7 * DAY_US)
        died_at = run(disk, ids, image, lambda store, *_: store.recycle_bin.expire(), die_at)
        names.add(died_at)
        with disk.open() as store:
            assert store.recycle_bin.snapshots().snapshots == ()
            assert store.recycle_bin.images().images == ()
            assert [each.snapshot_id for each in store.list_snapshots()] == ids[2:]
            charged = sum(each.charged_size_bytes for each in store.list_snapshots())
            assert store.stats().charged_size_bytes == charged
            assert len({each.time_us for each in store.snapshot_history(ids[0])[1:]}) == 1
            assert_healthy(store)
        if not died_at:
            break
    assert {"change.committed", "delete.before-commit", "delete.committed"} <= names


def with_volume(folder: Path) -> tuple[Machine, str]:
    """Return a machine whose store has a volume with data, and a rule that keeps it."""
    folder.mkdir()
    machine = Machine(folder)
    process = machine.start()
    store = process.open()
    kind = RuleResourceType.EBS_VOLUME
    store.recycle_bin.rules.create(RuleRequest(resource_type=kind, retention_days=7))
    volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
    with store.volumes.open(volume) as file:
        file.pwrite(NOISE, 0)
    store.close()
    process.kill()
    return machine, volume


def die_while(machine: Machine, die_at: int, days: int, action: Callable[[Store], object]) -> bool:
    """Do something in a process that dies before a step; return whether it died."""
    process = machine.start(die_at)
    try:
        store = process.open()
        late(store, days)
        action(store)
        store.close()
    except ProcessKilled:
        return True
    finally:
        process.kill()
    return False


def late(store: Store, days: int) -> None:
    clock = store._context.clock
    assert isinstance(clock, ManualClock)
    clock.set_us(START_US + days * DAY_US)


@pytest.mark.parametrize("power", [True, False])
def test_volume_is_here_or_in_the_bin(fast_path: Path, power: bool) -> None:
    """Deleted or restored by a process that dies: its data are there, wherever it is then."""
    found = set[tuple[str, bool]]()
    for what in ("delete", "restore"):
        for die_at in count(1):
            machine, volume = with_volume(fast_path / f"{what}{die_at}")
            if what == "restore":
                assert not die_while(machine, 0, 0, lambda store, v=volume: store.volumes.delete(v))  # type: ignore[misc]
            died = die_while(
                machine,
                die_at,
                0,
                lambda store, v=volume, w=what: (  # type: ignore[misc]
                    store.volumes.delete(v)
                    if w == "delete"
                    else store.recycle_bin.restore_volume(v)
                ),
            )
            if power:
                machine.cut_power(random.Random(die_at))
            process = machine.start()
            store = process.open()
            here: list[Volume] = store.volumes.list()
            binned = store.recycle_bin.volumes().volumes
            assert len(here) + len(binned) == 1
            found.add((what, bool(here)))
            if binned:
                store.recycle_bin.restore_volume(volume)
            with store.volumes.open(volume) as file:
                assert file.pread(len(NOISE), 0) == NOISE
            assert_healthy(store)
            store.close()
            process.kill()
            if not died:
                break
    assert len(found) == 4, "both have happened and have not"


def test_expiry_of_a_volume_that_is_interrupted_is_finished(fast_path: Path) -> None:
    for die_at in count(1):
        machine, volume = with_volume(fast_path / str(die_at))
        assert not die_while(machine, 0, 0, lambda store, v=volume: store.volumes.delete(v))  # type: ignore[misc]
        died = die_while(machine, die_at, 8, lambda store: store.recycle_bin.expire())
        for _ in range(2):  # carried out, and its files removed
            assert not die_while(machine, 0, 8, lambda store: store.recycle_bin.expire())
        process = machine.start()
        store = process.open()
        late(store, 8)
        assert store.volumes.list() == []
        assert store.recycle_bin.volumes().volumes == ()
        assert store.stats().volumes == 0
        assert_healthy(store)
        process.kill()
        if not died:
            return
