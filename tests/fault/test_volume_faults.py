"""Managed volumes on a disk that is full or fails, and with damaged files (F2, F14, F16, F26)."""

import errno
import hashlib
import os
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from ebsim.core.block_places import place_of
from ebsim.core.snapshots import get_snapshot, put_snapshot
from ebsim.engine import Store
from ebsim.errors import (
    ConflictError,
    CorruptionError,
    EbsimError,
    ErrorCode,
    LimitExceededError,
    NotFoundError,
    StorePoisonedError,
)
from ebsim.format.catalog_values import Table, parse_number_key
from ebsim.format.segment import RECORD_HEADER_SIZE
from ebsim.requests import VolumeRequest
from ebsim.results import Snapshot, SnapshotState
from ebsim.storage.catalog import CatalogWriter
from ebsim.storage.locks import LockFile, Region
from ebsim.storage.segment_scan import segment_path
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.leaving import close_leaving
from ebsim.testing.machine import Killed, Machine, Process
from ebsim.testing.memory_catalog import MemoryTables
from ebsim.testing.memory_store import SEGMENTS
from ebsim.testing.volume_stories import STORIES
from ebsim.testing.volume_story import Actor, assert_no_change_missed, content
from ebsim.units import BLOCK_SIZE
from ebsim.volumes.volume_file import VolumeFile

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

VOLUMES = Path("/store/volumes")
LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"


class Disk:
    """Has calls to files fail: those of certain kinds, of files whose names end in some way."""

    def __init__(self) -> None:
        self.failing: dict[tuple[str, str], int] = {}

    def __call__(self, method: str, path: Path) -> None:
        for (ending, kind), number in self.failing.items():
            if method == kind and path.name.endswith(ending):
                raise OSError(number, os.strerror(number), str(path))

    def fill(self, *endings: str) -> None:
        for ending in endings:
            self.failing[ending, "write_at"] = errno.ENOSPC
            self.failing[ending, "create"] = errno.ENOSPC


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def machine(request: pytest.FixtureRequest, fast_path: Path) -> Machine:
    """A machine on whose store all volumes are encrypted, or none."""
    machine = Machine(fast_path)
    if request.param:
        with machine.start().open() as store:
            store.encryption.enable_by_default()
    return machine


def write(file: VolumeFile, block: int, number: int) -> None:
    file.pwrite(content(number), block * BLOCK_SIZE)


def new_volume(store: Store, snapshot_id: str | None = None) -> str:
    size = None if snapshot_id else 1
    return store.volumes.create(VolumeRequest(size_gib=size, snapshot_id=snapshot_id)).volume_id


def wait(store: Store, shown: Snapshot) -> Snapshot:
    (ended,) = store.wait_snapshots([shown.snapshot_id])
    return ended


def assert_holds(store: Store, shown: Snapshot, numbers: tuple[int, ...]) -> None:
    assert wait(store, shown).state is SnapshotState.COMPLETED
    for block, number in enumerate(numbers):
        assert store.read_block(shown.snapshot_id, block) == content(number), block


def held(process: Process, store: Store, file: VolumeFile) -> Snapshot:
    """Take a snapshot that is not copied until `process.go` is set."""
    process.go.clear()
    return store.create_snapshot(file.name)


# A full disk


@pytest.mark.parametrize("ending", [".data", ".intents"])
def test_write_that_finds_no_space_fails_and_nothing_else_does(
    machine: Machine, ending: str
) -> None:
    """F14."""
    disk = Disk()
    process = machine.start(observer=disk)
    with process.open() as store:
        with store.volumes.open(new_volume(store)) as file:
            if ending == ".data":
                write(file, 0, 4)
                write(file, 1, 8)
            disk.fill(ending)
            for block in (1, 2):
                with pytest.raises(LimitExceededError) as refused:
                    write(file, block, 12)
                assert refused.value.code is ErrorCode.NO_SPACE
            disk.failing.clear()
            write(file, 2, 16)
            file.flush()
            assert file.pread(BLOCK_SIZE, 2 * BLOCK_SIZE) == content(16)
            before = (4, 8) if ending == ".data" else (0, 0)
            assert_holds(store, store.create_snapshot(file.name), (*before, 16))  # none is torn
            store.delete_snapshots([each.snapshot_id for each in store.list_snapshots()])
        assert_no_change_missed(store, {0, 1, 2})


def test_loading_that_finds_no_space_fails_and_can_be_done_again(machine: Machine) -> None:
    disk = Disk()
    process = machine.start(observer=disk)
    with process.open() as store:
        with store.volumes.open(new_volume(store)) as file:
            write(file, 0, 4)
            write(file, 1, 8)
            made = wait(store, store.create_snapshot(file.name))
        volume = new_volume(store, made.snapshot_id)
        with store.volumes.open(volume) as file:
            disk.fill(".data", ".intents")
            for attempt in (
                lambda: file.pread(1, 0),
                lambda: file.pwrite(b"x", 0),
                lambda: write(file, 1, 12),
                lambda: store.volumes.initialize(volume),
            ):
                with pytest.raises(LimitExceededError, match="no space"):
                    attempt()
            disk.failing.clear()
            assert file.pread(BLOCK_SIZE, 0) == content(4)
            disk.fill(".intents")
            with pytest.raises(LimitExceededError, match="no space"):
                write(file, 1, 12)
            disk.failing.clear()
            assert file.pread(BLOCK_SIZE, BLOCK_SIZE) == content(8)
            write(file, 1, 16)
            assert file.pread(BLOCK_SIZE, BLOCK_SIZE) == content(16)
        assert_no_change_missed(store, {0, 1, 2})


def test_write_that_reached_the_file_and_then_failed_is_not_missed(machine: Machine) -> None:
    """F14: the bytes are there, but no room is left to say that the block is local."""
    disk = Disk()
    process = machine.start(observer=disk)
    with process.open() as store:
        with store.volumes.open(new_volume(store)) as file:
            for block in range(3):
                write(file, block, 4)
            made = wait(store, store.create_snapshot(file.name))
        volume = new_volume(store, made.snapshot_id)
        with store.volumes.open(volume) as file:
            write(file, 0, 8)  # from now on the leaf is known to be written to
            disk.fill(".intents")
            with pytest.raises(LimitExceededError, match="no space"):
                file.pwrite(b"some bytes", BLOCK_SIZE + 777)
            assert file.pread(10, BLOCK_SIZE + 777) == b"some bytes"
            disk.failing.clear()
        assert_no_change_missed(store, {0, 1, 2})


def test_block_that_cannot_be_kept_fails_the_snapshot_and_not_the_writer(
    machine: Machine,
) -> None:
    disk = Disk()
    process = machine.start(observer=disk)
    with process.open() as store:
        with store.volumes.open(new_volume(store)) as file:
            write(file, 0, 4)
            shown = held(process, store, file)
            disk.fill(".kept")
            write(file, 0, 8)
            assert store.get_snapshot(shown.snapshot_id).state_message != ""
            disk.failing.clear()
            process.go.set()

            failed = wait(store, shown)

            assert failed.state is SnapshotState.ERROR
            assert "block 0 could not be kept" in failed.state_message
            assert_holds(store, store.create_snapshot(file.name), (8,))
        assert_no_change_missed(store, {0})


@pytest.mark.parametrize("cut", [False, True])
def test_block_that_was_not_kept_is_not_forgotten_by_a_crash(
    machine: Machine, *, cut: bool
) -> None:
    """F2: who goes on with the snapshot must not take the new bytes for the old."""
    disk = Disk()
    process = machine.start(observer=disk)
    store = process.open()
    file = store.volumes.open(new_volume(store))
    write(file, 0, 4)
    shown = held(process, store, file)
    disk.fill(".kept")
    write(file, 0, 8)
    process.kill()
    if cut:
        machine.cut_power(random.Random(0))

    with machine.start().open() as store:
        failed = wait(store, shown)
        assert failed.state is SnapshotState.ERROR
        assert failed.state_message != ""
        assert_no_change_missed(store, {0})


def test_snapshot_that_finds_no_space_leaves_its_writes_to_the_next(machine: Machine) -> None:
    """F14: the segments are full while it is copied; nothing of its epoch is missed later."""
    disk = Disk()
    process = machine.start(observer=disk)
    with process.open() as store:
        with store.volumes.open(new_volume(store)) as file:
            write(file, 0, 4)
            assert_holds(store, store.create_snapshot(file.name), (4,))
            write(file, 1, 8)
            disk.fill(".seg")
            failed = wait(store, store.create_snapshot(file.name))
            disk.failing.clear()
            assert failed.state is SnapshotState.ERROR
            assert "space" in failed.state_message
            assert_holds(store, store.create_snapshot(file.name), (4, 8))
        assert_no_change_missed(store, {0, 1})


def test_deleting_volumes_and_snapshots_works_on_a_full_disk(machine: Machine) -> None:
    """F16."""
    disk = Disk()
    process = machine.start(observer=disk)
    with process.open() as store:
        volume = new_volume(store)
        with store.volumes.open(volume) as file:
            write(file, 0, 4)
            shown = wait(store, store.create_snapshot(volume))
        disk.fill(".data", ".kept", ".intents")
        store.delete_snapshots([shown.snapshot_id])
        store.volumes.delete(volume)
        assert store.volumes.list() == []
        assert machine.files.list(VOLUMES) == []
        assert_healthy(store)


@pytest.mark.parametrize("name", ["pending", "loading"])
def test_disk_that_is_full_from_any_moment_on(fast_path: Path, name: str) -> None:
    """F14: each line of a story fails with no space or has its effect; later all is well."""
    for room in range(0, 60, 1 if LONG else 4):
        machine = Machine(fast_path)
        disk = FillingDisk(room)
        process = machine.start(observer=disk)
        with process.open() as store:
            actor = Actor(store, process.go, {}, process.pause)
            for line in STORIES[name]:
                with suppress(LimitExceededError, KeyError, NotFoundError, ConflictError):
                    actor.act(line)
            process.go.set()
            store.wait_snapshots([each.snapshot_id for each in store.list_snapshots()])
            disk.room = 1 << 30
            states = {each.state for each in store.list_snapshots()}
            assert states <= {SnapshotState.COMPLETED, SnapshotState.ERROR}, room
            failed = [each for each in store.list_snapshots() if each.state is SnapshotState.ERROR]
            assert all("space" in each.state_message.lower() for each in failed), failed
            if failed:
                store.delete_snapshots([each.snapshot_id for each in failed])
            for file in list(actor.files.values()):
                file.close()
            assert_no_change_missed(store, {0, 1, 2, 3})


class FillingDisk:
    """Has so much room: each growing of a file takes some, and then there is none."""

    def __init__(self, room: int) -> None:
        self.room = room

    def __call__(self, method: str, path: Path) -> None:
        if method in ("write_at", "create") and path.name != "reserve":
            self.room -= 1
            if self.room < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


# Failures that nothing else brings about


def fail_once(error: BaseException) -> Callable[[str], None]:
    pending = [error]

    def before_copy(_snapshot_id: str) -> None:
        if pending:
            raise pending.pop()

    return before_copy


@pytest.mark.parametrize("error", [RuntimeError("broken"), OSError(errno.EIO, "broken")])
def test_copying_that_breaks_off_ends_as_error_and_misses_nothing(
    machine: Machine, error: Exception
) -> None:
    """Whatever the reason, and before the writes of its epoch are known to the catalog."""
    process = machine.start()
    process.before_copy = fail_once(error)
    with process.open() as store:
        with store.volumes.open(new_volume(store)) as file:
            write(file, 0, 4)
            failed = wait(store, store.create_snapshot(file.name))
            assert failed.state is SnapshotState.ERROR
            assert "broken" in failed.state_message
            write(file, 1, 8)
            assert_holds(store, store.create_snapshot(file.name), (4, 8))
        assert_no_change_missed(store, {0, 1})


def test_heir_of_a_failed_snapshot_has_its_blocks_kept(machine: Machine) -> None:
    """The first fails; what was written before it is now the second one's, and stays as it was."""
    process = machine.start()
    reached, go = threading.Event(), threading.Event()
    calls: list[str] = []

    def before_copy(snapshot_id: str) -> None:
        calls.append(snapshot_id)
        if len(calls) == 1:
            process.go.wait()
            raise RuntimeError("broken")
        reached.set()
        go.wait()

    process.before_copy = before_copy
    with process.open() as store:
        with store.volumes.open(new_volume(store)) as file:
            write(file, 0, 4)
            first = held(process, store, file)
            write(file, 1, 8)
            second = store.create_snapshot(file.name)
            write(file, 2, 12)
            process.go.set()
            assert reached.wait(120)
            write(file, 0, 16)
            write(file, 1, 20)
            go.set()
            assert wait(store, first).state is SnapshotState.ERROR
            assert_holds(store, second, (4, 8, 0))
        assert_no_change_missed(store, {0, 1, 2})


def test_write_between_a_point_in_time_and_its_tracking_is_no_part_of_it(
    machine: Machine,
) -> None:
    """F2: the process dies before the catalog knows which blocks the snapshot consists of."""
    process = machine.start()
    store = process.open()
    file = store.volumes.open(new_volume(store))
    write(file, 0, 4)
    wait(store, store.create_snapshot(file.name))
    write(file, 0, 8)
    live = file._live  # to know the moment
    reached = threading.Event()

    def late(_view: MemoryTables) -> None:
        if live.frozen and not live.frozen[0].tracked:
            write(file, 1, 12)
            write(file, 0, 16)
            reached.set()
            raise Killed

    machine.catalog.before_update = late
    store.create_snapshot(file.name)
    assert reached.wait(120)
    process.kill()
    machine.catalog.before_update = lambda _view: None

    with machine.start().open() as store:
        (pending,) = (each for each in store.list_snapshots()[1:])
        assert_holds(store, pending, (8, 0))
        with store.volumes.open(file.name) as again:
            assert again.pread(BLOCK_SIZE, BLOCK_SIZE) == content(12)
        assert_no_change_missed(store, {0, 1})


def test_flush_waits_for_one_that_is_under_way(machine: Machine) -> None:
    """It finds nothing left to save, but what it promises is saved only by the other one."""
    syncing, go = threading.Event(), threading.Event()
    other: list[threading.Thread] = []

    def observer(method: str, path: Path) -> None:
        if method == "sync" and path.name.endswith(".data") and other:
            if threading.current_thread() is other[0]:
                syncing.set()
                go.wait()
            else:
                go.set()

    process = machine.start(observer=observer)
    store = process.open()
    with store.volumes.open(new_volume(store)) as file:
        write(file, 0, 4)
        made = wait(store, store.create_snapshot(file.name))
    file = store.volumes.open(new_volume(store, made.snapshot_id))
    write(file, 0, 8)
    thread = threading.Thread(target=file.flush)
    other.append(thread)
    thread.start()
    assert syncing.wait(120)
    threading.Timer(0.1, go.set).start()
    file.flush()
    before = machine.catalog.view()
    thread.join()
    process.kill()

    assert before.count(Table.VOLUME_LOADED) == 1


def forget_unsynced(machine: Machine, path: Path) -> None:
    """Do as a kernel that forgets what a failed sync has left in its memory."""
    changes = machine.files.unsynced.pop(id(machine.files._contents[path]), [])
    for change in reversed(changes):
        change.undo()


@pytest.mark.parametrize("ending", ["data", "kept"])
def test_failed_sync_closes_the_handle_and_ends_pending_snapshots(
    machine: Machine, ending: str
) -> None:
    """F10: what they consist of may never have reached the disk. The next one misses nothing.

    Who waits for them in the process whose sync failed is told.
    """
    disk = Disk()
    process = machine.start(observer=disk)
    store = process.open()
    file = store.volumes.open(new_volume(store))
    write(file, 0, 4)
    file.flush()
    write(file, 0, 8)
    shown = held(process, store, file)
    disk.failing[f".{ending}", "sync"] = errno.EIO
    if ending == "data":
        with pytest.raises(EbsimError, match="cannot write"):
            file.flush()
        with pytest.raises(StorePoisonedError):
            write(file, 0, 12)
    else:
        write(file, 0, 12)
        file.close()
        close_leaving(store, process.go)
    process.go.set()
    if ending == "data":
        with pytest.raises(StorePoisonedError):
            wait(store, shown)
    process.kill()
    forget_unsynced(machine, VOLUMES / f"{file.name}.{ending}")

    with machine.start().open() as store:
        ended = wait(store, shown)
        assert ended.state is SnapshotState.ERROR
        assert "could not be made durable" in ended.state_message
        with store.volumes.open(file.name) as found:
            left = content(4 if ending == "data" else 12)
            assert found.pread(BLOCK_SIZE, 0) == left
        assert_no_change_missed(store, {0})


# Left pending


@pytest.mark.parametrize("seed", range(8))
def test_snapshot_left_pending_by_a_clean_close_outlives_the_machine(
    machine: Machine, seed: int
) -> None:
    """F7: its point in time is made durable; so it is completed after a power cut too."""
    process = machine.start()
    store = process.open()
    volume = new_volume(store)
    with store.volumes.open(volume) as file:
        write(file, 0, 4)
        write(file, 1, 8)
        shown = held(process, store, file)
        write(file, 0, 12)
        file.discard(BLOCK_SIZE, BLOCK_SIZE)
    close_leaving(store, process.go)
    process.kill()
    machine.cut_power(random.Random(seed))

    with machine.start().open() as store:
        assert_holds(store, shown, (4, 8))
        with store.volumes.open(volume) as file:
            assert file.pread(BLOCK_SIZE, 0) == content(12)
        assert_no_change_missed(store, {0, 1})


def left_set(machine: Machine) -> tuple[Snapshot, ...]:
    """Leave a pending multi-volume set of two volumes behind a kill (block 0: 4, 8)."""
    process = machine.start()
    store = process.open()
    volumes = [new_volume(store) for _ in range(2)]
    for volume, number in zip(volumes, (4, 8), strict=True):
        write(store.volumes.open(volume), 0, number)
    process.go.clear()
    made = store.create_snapshots(volumes)
    process.kill()
    return made


def test_set_is_gone_on_with_only_as_a_whole(machine: Machine) -> None:
    """While another process has one of its volumes, the others are not held up for it."""
    first, second = left_set(machine)
    digest = hashlib.sha256(f"volume {second.volume_id}".encode()).digest()
    region = Region.VOLUME + int.from_bytes(digest[:5], "big")
    lock = LockFile(machine.lock_file()).try_hold(region)
    assert lock is not None

    with machine.start().open() as store:
        assert store.get_snapshot(first.snapshot_id).state is SnapshotState.PENDING
        with machine.start().open() as other, other.volumes.open(first.volume_id):
            pass
        lock.release()
        assert_holds(store, first, (4,))
        assert_holds(store, second, (8,))


def test_set_of_which_a_member_failed_is_not_completed_by_the_next(machine: Machine) -> None:
    first, second = left_set(machine)

    def fail(writer: CatalogWriter) -> None:
        record = get_snapshot(writer, first.snapshot_id)
        put_snapshot(writer, replace(record, state="error", state_message="broken"))

    machine.catalog.update(fail)

    with machine.start().open() as store:
        ended = wait(store, second)
        assert ended.state is SnapshotState.ERROR
        assert "broken" in ended.state_message
        assert_no_change_missed(store, {0})


# Damage


def alter(machine: Machine, ending: str, offset: int) -> None:
    """Flip a bit of a file of the volume."""
    (name,) = [each for each in machine.files.list(VOLUMES) if each.endswith(ending)]
    file = machine.files.open(VOLUMES / name, writable=True)
    (byte,) = file.read_at(offset, 1)
    file.write_at(offset, [bytes([byte ^ 0x10])])


def left_by_a_kill(machine: Machine, *, loaded: bool) -> tuple[str, Snapshot]:
    """Leave a volume with a pending snapshot (blocks 0 and 1: 12, 8), and writes not flushed."""
    process = machine.start()
    store = process.open()
    volume = new_volume(store)
    with store.volumes.open(volume) as file:
        write(file, 0, 4)
        write(file, 1, 8)
        first = wait(store, store.create_snapshot(volume))
    if loaded:
        volume = new_volume(store, first.snapshot_id)
    file = store.volumes.open(volume)
    write(file, 0, 12)
    shown = held(process, store, file)
    write(file, 0, 16)
    write(file, 1, 20)
    process.kill()
    return volume, shown


@pytest.mark.parametrize("offset", [0, 9, 17, 30, 40, 4095, 4096, 300_000])
def test_damaged_kept_block_fails_the_snapshot(machine: Machine, offset: int) -> None:
    volume, shown = left_by_a_kill(machine, loaded=False)
    alter(machine, ".kept", offset)

    with machine.start().open() as store:
        ended = wait(store, shown)
        if (
            ended.state is SnapshotState.COMPLETED
        ):  # the bytes between header and block mean nothing
            assert offset in (40, 4095)
            assert_holds(store, shown, (12, 8))
        else:
            assert "damaged" in ended.state_message
        with store.volumes.open(volume) as file:
            assert file.pread(BLOCK_SIZE, 0) == content(16)
        assert_no_change_missed(store, {0, 1})


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("offset", [3, 12, 16, 30, 33, 47])
def test_damaged_intents_make_everything_suspect(
    machine: Machine, offset: int, *, loaded: bool
) -> None:
    volume, shown = left_by_a_kill(machine, loaded=loaded)
    alter(machine, ".intents", offset % (48 if loaded else 32))

    with machine.start().open() as store:
        ended = wait(store, shown)
        if loaded:
            assert ended.state is SnapshotState.ERROR
            assert "damaged" in ended.state_message
        else:
            assert_holds(store, shown, (12, 8))
        assert store.volumes.get(volume).volume_id == volume
        assert_no_change_missed(store, {0, 1})


def test_missing_live_data_are_never_taken_for_zeros(machine: Machine) -> None:
    """F26: the volume is refused, its pending snapshot fails, a check finds it, deleting works."""
    volume, shown = left_by_a_kill(machine, loaded=False)
    machine.files.remove(VOLUMES / f"{volume}.data")

    with machine.start().open() as store:
        ended = wait(store, shown)
        assert ended.state is SnapshotState.ERROR
        assert "gone" in ended.state_message
        with pytest.raises(CorruptionError, match="gone"):
            store.volumes.open(volume)
        with pytest.raises(CorruptionError, match="gone"):
            store.create_snapshot(volume)
        kinds = [finding.kind for finding in store.check().findings]
        assert kinds == ["missing-volume"]
        store.volumes.delete(volume)
        assert_healthy(store)


def test_files_of_no_volume_are_found_by_a_check(machine: Machine) -> None:
    with machine.start().open() as store:
        with store.volumes.open(new_volume(store)) as file:
            write(file, 0, 4)
        machine.files.create(VOLUMES / "vol-0123456789abcdef0.data").close()

        (finding,) = store.check().findings

        assert finding.kind == "unknown-volume"
        assert "vol-0123456789abcdef0" in finding.message


@pytest.mark.parametrize("table", [Table.VOLUME_WRITES, Table.VOLUME_LOADED])
def test_rows_of_no_volume_are_found_by_a_check(machine: Machine, table: Table) -> None:
    with machine.start().open() as store:
        size = 24 if table is Table.VOLUME_WRITES else 16
        value = bytes(64 if table is Table.VOLUME_WRITES else 32)
        machine.catalog.update(lambda writer: writer.put(table, bytes(size), value))

        (finding,) = store.check().findings

        assert finding.kind == "wrong-reference"
        assert table.name.lower() in finding.message


def test_damaged_block_is_never_loaded_as_something_else(machine: Machine) -> None:
    """The rest of the volume can be used, and what is written replaces the damaged block."""
    with machine.start().open() as store:
        with store.volumes.open(new_volume(store)) as file:
            write(file, 0, 4)
            write(file, 1, 8)
            made = wait(store, store.create_snapshot(file.name))
        volume = new_volume(store, made.snapshot_id)
        with store._context.catalog.read() as reader:
            key = next(reader.keys(Table.BLOCKS))
            place = place_of(reader, parse_number_key(key))
        path = segment_path(SEGMENTS.parent, place.segment_id)
        payload = place.record.offset + RECORD_HEADER_SIZE
        machine.files.open(path, writable=True).write_at(payload, [b"damaged"])
        with store.volumes.open(volume) as file:
            damaged = [block for block in (0, 1) if not _is_read(file, block)]
            assert len(damaged) == 1
            (block,) = damaged
            with pytest.raises(CorruptionError):
                file.pwrite(b"x", block * BLOCK_SIZE)
            with pytest.raises(CorruptionError):
                store.volumes.initialize(volume)
            write(file, block, 12)
            assert file.pread(BLOCK_SIZE, block * BLOCK_SIZE) == content(12)
            shown = wait(store, store.create_snapshot(volume))
            assert store.read_block(shown.snapshot_id, block) == content(12)


def _is_read(file: VolumeFile, block: int) -> bool:
    try:
        assert file.pread(BLOCK_SIZE, block * BLOCK_SIZE) == content(4 + 4 * block)
    except CorruptionError:
        return False
    return True
