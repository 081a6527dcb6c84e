"""A volume whose pending snapshot is copied is lent to other processes, between two blocks.

Handles on one `MemoryStore` are to each other as processes are, kernel locks included.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ebsim.engine import Store
from ebsim.errors import ConflictError, ErrorCode
from ebsim.ids import SnapshotId
from ebsim.patience import Patience
from ebsim.progress import SilentProgress
from ebsim.requests import VolumeRequest
from ebsim.results import SnapshotState, VolumeState
from ebsim.server.caretaker import looked_after, patience_of
from ebsim.server.limits import Limits
from ebsim.storage.locks import LockFile, named_region
from ebsim.testing.contents import noise_block
from ebsim.testing.held_copies import HeldCopies
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.memory_store import MemoryStore, leave_as_if_killed
from ebsim.units import BLOCK_SIZE
from ebsim.volumes.frozen_source import FrozenSource
from ebsim.volumes.loading import Pace, load_all
from ebsim.volumes.registry import LiveVolumes

BLOCKS = 5
GIVEN_UP = Patience(seconds=0.04)
PATIENCE_S = 120


class Disk(MemoryStore):
    """A store that several handles use; what they copy can be held."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.copies = HeldCopies(holding=False)

    def handle(self) -> Store:
        """Return a handle that holds its copies."""
        return Store(self.context(), self.copies)


@pytest.fixture
def disk(fast_path: Path) -> Disk:
    return Disk(fast_path)


@pytest.fixture
def one(disk: Disk) -> Iterator[Store]:
    """The process that copies, as a server does."""
    with disk.handle() as store:
        yield store
        disk.copies.release_all()


@pytest.fixture
def two(disk: Disk) -> Iterator[Store]:
    """The process that wants the volume, as a command does."""
    with disk.handle() as store:
        yield store
        disk.copies.release_all()


def new_volume(store: Store) -> str:
    """Return a volume with the blocks 0, 1, 2, 3 and 4 of noise."""
    made = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
    write(store, made, 0)
    return made


def write(store: Store, volume: str, first: int, blocks: int = BLOCKS) -> None:
    """Write blocks of noise, from the beginning."""
    with store.volumes.open(volume) as file:
        for block in range(blocks):
            file.pwrite(noise_block(first + block), block * BLOCK_SIZE)


def assert_volume(store: Store, volume: str, first: int) -> None:
    with store.volumes.open(volume) as file:
        for block in range(BLOCKS):
            assert file.pread(BLOCK_SIZE, block * BLOCK_SIZE) == noise_block(first + block)


def assert_snapshot(store: Store, snapshot: str, first: int) -> None:
    """Wait for a snapshot and compare it."""
    (shown,) = store.wait_snapshots([snapshot])
    assert shown.state is SnapshotState.COMPLETED, shown.state_message
    for block in range(BLOCKS):
        assert store.read_block(snapshot, block) == noise_block(first + block)


def begun(store: Store, volume: str) -> str:
    """Begin a snapshot."""
    return store.create_snapshot(volume).snapshot_id


def code_of(call: Callable[[], object]) -> ErrorCode:
    with pytest.raises(ConflictError) as caught:
        call()
    return caught.value.code


def test_pending_snapshot_has_the_bytes_of_its_moment_whoever_writes_meanwhile(
    disk: Disk, one: Store, two: Store
) -> None:
    """And the snapshots that others take meanwhile follow it, in their order."""
    volume = new_volume(one)
    disk.copies.hold_all()
    first = begun(one, volume)
    disk.copies.wait_held(first)

    write(two, volume, 10)
    second = begun(two, volume)
    write(one, volume, 20)
    third = begun(one, volume)
    write(two, volume, 30)

    assert one.get_snapshot(first).state is SnapshotState.PENDING
    disk.copies.release_all()
    for snapshot, wanted in ((first, 0), (second, 10)):
        waiter = one if snapshot == first else two
        assert_snapshot(waiter, snapshot, wanted)
    assert_snapshot(one, third, 20)
    assert_volume(one, volume, 30)
    assert_volume(two, volume, 30)
    shown = [one.get_snapshot(each) for each in (first, second, third)]
    assert [each.incremental_size_bytes for each in shown] == [BLOCKS * BLOCK_SIZE] * 3
    assert_healthy(one)


def test_copying_goes_on_where_it_was(
    disk: Disk, one: Store, two: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is lent between two blocks, and none is read twice."""
    volume = new_volume(one)
    reads: Counter[int] = Counter()
    reached, may_go_on = threading.Event(), threading.Event()
    read_as_ever = FrozenSource.read_into

    def read_into(source: FrozenSource, offset: int, buffer: memoryview) -> None:
        if offset == 2 * BLOCK_SIZE:
            reached.set()
            assert may_go_on.wait(PATIENCE_S)
        reads[offset // BLOCK_SIZE] += 1
        read_as_ever(source, offset, buffer)

    monkeypatch.setattr(FrozenSource, "read_into", read_into)
    snapshot = begun(one, volume)
    assert reached.wait(PATIENCE_S)
    with two.volumes.open(volume) as file:
        for block in range(BLOCKS):
            file.pwrite(noise_block(10 + block), block * BLOCK_SIZE)
        may_go_on.set()  # the copying waits for its third block now
        assert one.get_snapshot(snapshot).state is SnapshotState.PENDING
    assert_snapshot(one, snapshot, 0)
    assert reads == dict.fromkeys(range(BLOCKS), 1)
    assert_volume(one, volume, 10)
    assert_healthy(two)


def test_volume_is_deleted_by_another_process_and_goes_with_its_snapshot(
    disk: Disk, one: Store, two: Store
) -> None:
    volume = new_volume(one)
    disk.copies.hold_all()
    snapshot = begun(one, volume)
    assert two.volumes.delete(volume) is VolumeState.DELETING
    assert code_of(lambda: two.create_snapshot(volume)) is ErrorCode.INCORRECT_STATE
    disk.copies.release_all()
    assert_snapshot(one, snapshot, 0)
    wait_until(lambda: not two.volumes.list())
    assert not [path for path in disk.files.list(Path("/store/volumes")) if volume in path]
    assert_healthy(two)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread of another handle does behind its last commit."""
    for _ in range(PATIENCE_S * 100):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never happened")


def test_set_is_completed_as_a_whole_when_all_of_it_is_back(
    disk: Disk, one: Store, two: Store
) -> None:
    """Also where a snapshot of another process comes before one of its members."""
    volumes = [new_volume(one) for _ in range(2)]
    disk.copies.hold_all()
    earlier = begun(one, volumes[0])
    members = [each.snapshot_id for each in two.create_snapshots(volumes)]
    write(one, volumes[1], 10)
    write(two, volumes[0], 20)
    disk.copies.release_all()
    for member in members:
        assert_snapshot(two, member, 0)
    assert one.get_snapshot(earlier).state is SnapshotState.COMPLETED
    assert_volume(two, volumes[1], 10)
    assert_healthy(one)


def test_waiting_is_bounded_and_told(disk: Disk, one: Store, two: Store) -> None:
    """Temporary, so EC2's code for what passes by itself; nothing is changed."""
    volume, other = new_volume(one), new_volume(one)
    told: list[str] = []
    with two.volumes.open(volume):
        one.patience = Patience(seconds=0.1, told=told.append, told_after_s=0.04)
        for refused in (
            lambda: one.create_snapshot(volume),
            lambda: one.create_snapshots([other, volume]),
            lambda: one.volumes.open(volume),
            lambda: one.volumes.delete(volume),
            lambda: one.volumes.initialize(volume),
        ):
            assert code_of(refused) is ErrorCode.UNAVAILABLE
        assert told == [f"waiting for volume {volume}: another process has it open"] * 5
        write(one, other, 10)
        assert not one.list_snapshots()
        assert one.volumes.get(volume).state is VolumeState.AVAILABLE
    write(one, volume, 10)


def test_no_more_threads_wait_than_may(disk: Disk, one: Store, two: Store) -> None:
    """So that the requests of a server on other volumes are carried out meanwhile."""
    volume = new_volume(one)
    one.patience = Patience(seconds=PATIENCE_S, waiting_max=1)
    locks, region = LockFile(disk._lock_path), named_region(f"waiting for volume {volume}")
    with two.volumes.open(volume):
        waiting = threading.Thread(target=write, args=(one, volume, 10))
        waiting.start()
        wait_until(lambda: locks.is_held(region))
        assert code_of(lambda: one.create_snapshot(volume)) is ErrorCode.UNAVAILABLE
        write(one, new_volume(one), 10)
    waiting.join(PATIENCE_S)
    assert not locks.is_held(region)
    assert_volume(two, volume, 10)


@pytest.mark.parametrize("flushed", [False, True])
def test_borrower_that_is_killed_loses_nothing_and_holds_nobody_up(
    disk: Disk, one: Store, flushed: bool
) -> None:
    """With a snapshot of its own begun, which the lender then copies."""
    volume = new_volume(one)
    disk.copies.hold_all()
    snapshot = begun(one, volume)
    killed = Store(disk.context())  # copies at once, but its turn has not come
    file = killed.volumes.open(volume)
    for block in range(BLOCKS):
        file.pwrite(noise_block(10 + block), block * BLOCK_SIZE)
    second = begun(killed, volume)
    killed._volumes_held().snapshots.close(wait=False)
    if flushed:
        file.flush()
    kill(killed)

    disk.copies.release_all()
    assert_snapshot(one, snapshot, 0)
    assert_snapshot(one, second, 10)  # once its process is found to be dead
    assert_volume(one, volume, 10)
    assert_healthy(one)


def kill(store: Store) -> None:
    """Let go of all that a handle has, as the kernel does for a process that is killed."""
    context = store._context
    context.poison = "killed"
    store._volumes_held().live.close()
    leave_as_if_killed(context)


def test_lender_that_is_killed_is_followed_by_the_borrower(disk: Disk, two: Store) -> None:
    volume_holder = Store(disk.context(), disk.copies)
    volume = new_volume(volume_holder)
    disk.copies.hold_all()
    snapshot = begun(volume_holder, volume)
    with two.volumes.open(volume) as file:
        file.pwrite(noise_block(10), 0)
        jobs = volume_holder._volumes_held().snapshots
        for job in jobs._all_jobs():
            job.stop()
        volume_holder._context.poison = "killed"
        disk.copies.release_all()
        jobs.wait([SnapshotId(snapshot)])
        kill(volume_holder)
        file.pwrite(noise_block(11), BLOCK_SIZE)
    assert_snapshot(two, snapshot, 0)
    with two.volumes.open(volume) as file:
        assert file.pread(2 * BLOCK_SIZE, 0) == noise_block(10) + noise_block(11)
    assert_healthy(two)


def test_closing_does_not_wait_for_ever_for_who_borrowed(disk: Disk, two: Store) -> None:
    """The snapshot stays pending; who waits for it goes on with it."""
    one = disk.handle()
    volume = new_volume(one)
    disk.copies.hold_all()
    snapshot = begun(one, volume)
    with two.volumes.open(volume) as file:
        file.pwrite(noise_block(10), 0)
        disk.copies.release_all()
        one.patience = GIVEN_UP
        one.close()
        assert two.get_snapshot(snapshot).state is SnapshotState.PENDING
    assert_snapshot(two, snapshot, 0)
    assert_healthy(two)


def test_loading_gives_way_to_who_waits(disk: Disk, one: Store, two: Store) -> None:
    """Without a rate, too; the part that is loaded stays."""
    origin = new_volume(one)
    snapshot = begun(one, origin)
    one.wait_snapshots([snapshot])
    volume = one.volumes.create(VolumeRequest(snapshot_id=snapshot)).volume_id
    locks, region = LockFile(disk._lock_path), named_region(f"waiting for volume {volume}")
    done = threading.Event()

    def use() -> None:
        with two.volumes.open(volume) as file:
            seen.append(two.volumes.get(volume).initialization_percent)
            file.pwrite(noise_block(10), 0)
        done.set()

    seen: list[int | None] = []
    user = threading.Thread(target=use)

    class Progress(SilentProgress):
        def advance(self, done_bytes: int) -> None:
            if not user.ident:
                user.start()
                wait_until(lambda: locks.is_held(region))

    volumes = LiveVolumes(one._context)
    pace = Pace(0, lambda _seconds: done.wait(PATIENCE_S))
    found = one.volumes.get(volume)
    assert load_all(one._context, volumes, found.volume_id, pace, Progress())
    user.join(PATIENCE_S)
    assert seen == [100 // BLOCKS]
    assert one.volumes.get(volume).initialization_percent == 100
    with one.volumes.open(volume) as file:
        assert file.pread(BLOCK_SIZE, 0) == noise_block(10)
        assert file.pread(BLOCK_SIZE, BLOCK_SIZE) == noise_block(1)


def test_what_nobody_waits_for_is_gone_on_with_by_a_process_that_looks_after_it(
    disk: Disk, one: Store, two: Store
) -> None:
    """As servers do, several too: a snapshot that a command left, and whose turn had not come."""
    volume = new_volume(one)
    disk.copies.hold_all()
    first = begun(one, volume)
    command = disk.handle()
    second = begun(command, volume)
    disk.copies.release(second)
    command.close(wait=False)
    disk.copies.release_all()
    assert_snapshot(one, first, 0)
    with looked_after(one, look_s=0.01), looked_after(two, look_s=0.01):
        wait_until(lambda: one.get_snapshot(second).state is SnapshotState.COMPLETED)
    one.volumes.resume()
    assert_snapshot(one, second, 0)


def test_requests_that_wait_never_take_all_of_a_server() -> None:
    for requests in (1, 2, 16):
        assert patience_of(Limits(requests=requests)).waiting_max == max(1, requests // 2)
