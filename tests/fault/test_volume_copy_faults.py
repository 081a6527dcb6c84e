"""Copies of volumes that break, and what is left of them (semantics section 3.5, S-73).

What fails is the copy: not its source, nor the handle that makes it, nor what comes later.
"""

import errno
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from ebsim.core.volume_records import get_managed
from ebsim.engine import Seams, Store
from ebsim.errors import EbsimError, ErrorCode, LimitExceededError, SourceError
from ebsim.format.records import VolumeRecord
from ebsim.ids import VolumeId
from ebsim.requests import VolumeRequest
from ebsim.results import SnapshotState, VolumeState
from ebsim.testing.contents import noise_block
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.machine import Killed, Machine
from ebsim.testing.memory_store import MemoryStore, leave_as_if_killed
from ebsim.testing.noisy_volumes import BLOCKS, content, new_volume, noise, write
from ebsim.testing.observed_files import ObservedFiles
from ebsim.testing.seams import ManualClock
from ebsim.units import BLOCK_SIZE
from ebsim.volumes.deletion import mark_deleting

VOLUMES = Path("/store/volumes")
STRIDE = 1 if os.environ.get("EBSIM_TEST_PROFILE") == "long" else 23
"""Of the steps of one who dies, each of these is died at."""


class Failing:
    """Has calls to files fail, once `why` is set."""

    def __init__(self, ending: Callable[[], str], *methods: str) -> None:
        self.why = 0
        self._ending = ending
        self._methods = methods

    def __call__(self, method: str, path: Path) -> None:
        if self.why and method in self._methods and path.name.endswith(self._ending()):
            raise OSError(self.why, os.strerror(self.why), str(path))


def record(store: Store, volume: str) -> VolumeRecord:
    with store._context.catalog.read() as reader:
        return get_managed(reader, VolumeId(volume))


def test_source_that_cannot_be_read_ends_the_copy_and_not_the_handle(disk: MemoryStore) -> None:
    """As it ends a snapshot (F16): a bad sector of one volume is no reason to refuse the others."""
    volume = ""
    bad = Failing(lambda: f"{volume}.data", "read_into")
    with Store(disk.context(ObservedFiles(disk.files, bad))) as store:
        volume = new_volume(store, *noise(0))

        def spoil(_copy: str) -> None:
            bad.why = errno.EIO

        with pytest.raises(SourceError) as caught:
            store.volumes.copy(volume, begun=spoil)
        bad.why = 0

        assert caught.value.code is ErrorCode.SOURCE_READ_FAILED
        write(store, volume, *noise(10))
        assert content(store, volume) == noise(10)
        assert [each.volume_id for each in store.volumes.list()] == [volume]
        assert content(store, store.volumes.copy(volume).volume_id) == noise(10)
        assert_healthy(store)


def test_copy_that_is_made_is_told_of_although_its_source_cannot_be_closed(
    disk: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """An error says that no copy is left; here there is one, and all of it is durable."""
    volume = ""
    bad = Failing(lambda: f"{volume}.data", "sync")
    with Store(disk.context(ObservedFiles(disk.files, bad))) as store:
        volume = new_volume(store, *noise(0))

        def spoil(_copy: str) -> None:
            bad.why = errno.EIO

        copy = store.volumes.copy(volume, begun=spoil)
        assert copy.state is VolumeState.AVAILABLE
        assert "could not be closed" in caplog.text
        with pytest.raises(EbsimError, match="open it again"):  # a sync has failed
            write(store, volume, *noise(10))
    bad.why = 0
    with disk.open() as store:
        assert content(store, copy.volume_id) == noise(0)


def test_copy_that_cannot_be_deleted_either_says_why_it_failed(
    disk: MemoryStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And whoever opens the store next deletes it."""

    def full(*_args: object, **_options: object) -> None:
        raise LimitExceededError("no space", ErrorCode.NO_SPACE)

    def stop(_copy: str) -> None:
        monkeypatch.setattr("ebsim.volumes.registry.mark_deleting", full)
        raise SourceError("stopped")

    with Store(disk.context()) as store:
        volume = new_volume(store, *noise(0))
        with pytest.raises(SourceError, match="stopped"):
            store.volumes.copy(volume, begun=stop)
        assert "cannot be deleted now: no space" in caplog.text
        assert len(store.volumes.list()) == 2
        monkeypatch.setattr("ebsim.volumes.registry.mark_deleting", mark_deleting)
        store.volumes.resume()
        assert [each.volume_id for each in store.volumes.list()] == [volume]
        assert record(store, volume).copies == []
        assert_healthy(store)


@pytest.mark.parametrize("encrypted", [False, True])
def test_rebuild_knows_no_copy_that_was_being_made(fast_path: Path, *, encrypted: bool) -> None:
    """The journal tells of its beginning only; a later one tells that its source had copies."""
    path = fast_path / "store"
    dying = Store.create(path, Seams(clock=ManualClock()))
    volume = new_volume(dying, *noise(0))
    request = VolumeRequest()
    if encrypted:
        request = VolumeRequest(encrypted=True, kms_key_id=dying.keys.create("another").arn)

    def die(_copy: str) -> None:
        dying.volumes.set_auto_enable_io(volume, enabled=True)  # tells the journal of its record
        write(dying, volume, *noise(10))
        dying._context.poison = "killed"
        dying._volumes_held().live.close()
        leave_as_if_killed(dying._context)
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        dying.volumes.copy(volume, request, begun=die)
    dying.close()
    assert Store.rebuild(path).findings == ()
    with Store.open(path) as store:
        assert [each.volume_id for each in store.volumes.list()] == [volume]
        assert record(store, volume).copies == []
        assert content(store, volume) == noise(10)
        assert sorted(os.listdir(path / "volumes")) == [f"{volume}.data"]
        (taken,) = store.wait_snapshots([store.create_snapshot(volume).snapshot_id])
        assert taken.state is SnapshotState.COMPLETED
        assert [store.read_block(taken.snapshot_id, at) for at in range(BLOCKS)] == noise(10)
        assert content(store, store.volumes.copy(volume).volume_id) == noise(10)
        assert_healthy(store)


def test_nothing_more_is_kept_for_a_copy_that_was_given_up_elsewhere(disk: MemoryStore) -> None:
    """Who had its source open then learns of it with the next point in time."""
    with Store(disk.context()) as one, Store(disk.context()) as two, ExitStack() as opened:
        volume = new_volume(one, *noise(0))

        def use(_copy: str) -> None:
            file = opened.enter_context(two.volumes.open(volume))
            file.pwrite(noise_block(10), 0)
            raise SourceError("stopped")

        with pytest.raises(SourceError, match="stopped"):
            one.volumes.copy(volume, begun=use)
        assert f"{volume}.kept" in disk.files.list(VOLUMES)

        (taken,) = two.wait_snapshots([two.create_snapshot(volume).snapshot_id])

        assert taken.state is SnapshotState.COMPLETED
        assert f"{volume}.kept" not in disk.files.list(VOLUMES)


def test_zeros_are_unwritten_on_a_copy_whoever_writes_meanwhile(disk: MemoryStore) -> None:
    """What is read of a block that held nothing and was kept is no content of the copy."""
    with Store(disk.context()) as store:
        volume = new_volume(store, noise_block(0), bytes(BLOCK_SIZE))
        with store.volumes.open(volume) as file:
            copy = store.volumes.copy(volume, begun=lambda _: write(store, volume, *noise(10)))
            assert file.pread(BLOCK_SIZE, 0) == noise_block(10)

        (taken,) = store.wait_snapshots([store.create_snapshot(copy.volume_id).snapshot_id])

        assert taken.full_size_bytes == BLOCK_SIZE
        assert content(store, copy.volume_id) == [noise_block(0), *[bytes(BLOCK_SIZE)] * 3]


@pytest.mark.parametrize("kind", ["plain", "not loaded", "encrypted"])
def test_writer_that_dies_at_any_step_while_it_has_the_source(fast_path: Path, kind: str) -> None:
    """Whoever takes the source over from it finds all that it has kept, and goes on copying.

    A snapshot of the same volume is pending meanwhile, which has another moment.
    """
    step, died = 1, True
    while died:
        died = _copied_beside_one_who_dies(fast_path / str(step), kind, step)
        step += STRIDE


def _copied_beside_one_who_dies(folder: Path, kind: str, step: int) -> bool:
    """Copy a volume that is lent to a process which dies; return whether it did."""
    folder.mkdir()
    machine = Machine(folder)
    maker = machine.start()
    old, new, newest = noise(0), noise(10), noise(20)
    acknowledged = 0

    def use(_copy: str) -> None:
        nonlocal acknowledged
        taken = store.create_snapshot(volume).snapshot_id
        snapshots.append(taken)
        writer = machine.start(step)  # its threads are those that are started after this
        with suppress(Killed):
            lent = writer.open()
            with lent.volumes.open(volume) as file:
                file.pwrite(newest[0], 0)
                file.pwrite(newest[1][:5000], BLOCK_SIZE + 777)
                file.discard(2 * BLOCK_SIZE, BLOCK_SIZE)
                file.pwrite(newest[3], 3 * BLOCK_SIZE)
                acknowledged = 1
                file.pwrite(newest[2], 2 * BLOCK_SIZE)
                acknowledged = 2
            lent.close()
        ended.append(writer.steps >= step)
        writer.kill()

    ended: list[bool] = []
    snapshots: list[str] = []
    store = maker.open()
    if kind == "encrypted":
        store.encryption.enable_by_default()
    volume = new_volume(store, *old)
    if kind == "not loaded":
        origin = store.create_snapshot(volume).snapshot_id
        store.wait_snapshots([origin])
        volume = store.volumes.create(VolumeRequest(snapshot_id=origin)).volume_id
    write(store, volume, old[0], new[1])
    maker.go.clear()
    copy = store.volumes.copy(volume, begun=use).volume_id
    maker.go.set()
    (taken,) = store.wait_snapshots(snapshots)
    held = content(store, volume)

    assert content(store, copy) == [old[0], new[1], *old[2:]], step
    assert taken.state is SnapshotState.COMPLETED, (step, taken.state_message)
    found = [store.read_block(taken.snapshot_id, at) for at in range(BLOCKS)]
    assert found == [old[0], new[1], *old[2:]], step
    if acknowledged:
        assert (held[0], held[1][777:5777], held[3]) == (newest[0], newest[1][:5000], newest[3])
    if acknowledged == 2:
        assert held[2] == newest[2]
    assert_healthy(store)
    store.close()
    maker.kill()
    return ended[0]
