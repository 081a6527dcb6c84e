"""Who writes to a volume while it is copied goes on, and the copy has what there was before (S-73).

Handles on one `MemoryStore` are to each other as processes are, kernel locks included.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ebsim.engine import Store
from ebsim.errors import NotFoundError, SourceError
from ebsim.requests import VolumeModificationRequest, VolumeRequest
from ebsim.results import SnapshotState, VolumeState
from ebsim.testing.contents import noise_block
from ebsim.testing.held_copies import AtEachStep, HeldCopies
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.memory_store import MemoryStore, leave_as_if_killed
from ebsim.testing.noisy_volumes import BLOCKS, content, new_volume, noise, write
from ebsim.testing.observed_files import ObservedFiles
from ebsim.units import BLOCK_SIZE

ZEROS = bytes(BLOCK_SIZE)


@pytest.fixture
def copies() -> HeldCopies:
    """Who copies snapshots, and may be held."""
    return HeldCopies(holding=False)


@pytest.fixture
def one(disk: MemoryStore, copies: HeldCopies) -> Iterator[Store]:
    """The process that makes copies."""
    with Store(disk.context(), copies) as store:
        yield store
        copies.release_all()


@pytest.fixture
def two(disk: MemoryStore) -> Iterator[Store]:
    """Another process."""
    with Store(disk.context()) as store:
        yield store


@pytest.fixture(params=["same process", "another process"])
def writer(request: pytest.FixtureRequest, one: Store, two: Store) -> Store:
    return one if request.param == "same process" else two


def assert_snapshot(store: Store, snapshot: str, blocks: list[bytes]) -> None:
    (shown,) = store.wait_snapshots([snapshot])
    assert shown.state is SnapshotState.COMPLETED, shown.state_message
    assert [store.read_block(snapshot, index) for index in range(BLOCKS)] == blocks


def kept(disk: MemoryStore) -> list[str]:
    return [name for name in disk.files.list(Path("/store/volumes")) if ".kept" in name]


def assert_nothing_is_kept(disk: MemoryStore, store: Store, volume: str) -> None:
    """As soon as nobody has the volume open any more; who opens it next sees to that."""
    content(store, volume)
    assert not kept(disk)
    assert_healthy(store)


@pytest.mark.parametrize("kind", ["plain", "encrypted", "not loaded"])
def test_copy_has_the_bytes_of_its_moment_whoever_writes_meanwhile(
    disk: MemoryStore, one: Store, writer: Store, kind: str
) -> None:
    """Before a block is copied, and after; written anew, in part, discarded, and where none was."""
    if kind == "encrypted":
        one.encryption.enable_by_default()
    old = noise(0)[:3]
    volume = new_volume(one, *old)
    if kind == "not loaded":
        taken = one.create_snapshot(volume).snapshot_id
        one.wait_snapshots([taken])
        volume = one.volumes.create(VolumeRequest(snapshot_id=taken)).volume_id

    def overwrite(step: int) -> None:
        if step >= BLOCKS:
            return
        write(writer, volume, *noise(10 * (step + 1)))
        with writer.volumes.open(volume) as file:
            file.pwrite(b"some", BLOCK_SIZE + 7)
            if step == 1:
                file.discard(2 * BLOCK_SIZE, BLOCK_SIZE)

    copy = one.volumes.copy(volume, progress=AtEachStep(overwrite))

    assert content(one, copy.volume_id) == [*old, ZEROS]
    changed = content(one, volume)
    assert changed[0] == noise_block(40)
    assert changed[1][:11] == noise_block(41)[:7] + b"some"
    assert_nothing_is_kept(disk, one, volume)


def test_copies_and_snapshots_each_have_their_moment(
    disk: MemoryStore, copies: HeldCopies, one: Store, writer: Store
) -> None:
    """A snapshot is pending before and after; a second copy is made of the same volume within."""
    volume = new_volume(one, *noise(0))
    copies.hold_all()
    before = one.create_snapshot(volume).snapshot_id
    write(writer, volume, *noise(10))
    made: list[str] = []

    def within(_copy: str) -> None:
        write(writer, volume, *noise(20))
        second = writer.volumes.copy(
            volume, begun=lambda _: write(writer, volume, *noise(30))
        ).volume_id
        after = writer.create_snapshot(volume).snapshot_id
        write(writer, volume, *noise(40))
        made.extend([second, after])

    first = one.volumes.copy(volume, begun=within).volume_id
    second, after = made
    copies.release_all()

    assert_snapshot(one, before, noise(0))
    assert content(one, first) == noise(10)
    assert content(one, second) == noise(20)
    assert_snapshot(writer, after, noise(30))
    assert content(one, volume) == noise(40)
    assert_nothing_is_kept(disk, one, volume)


def test_source_may_grow_and_go_meanwhile(disk: MemoryStore, one: Store, writer: Store) -> None:
    """It goes when it is copied (as with pending snapshots, section 1.2)."""
    volume = new_volume(one, *noise(0))

    def change(_copy: str) -> None:
        writer.volumes.modify(volume, VolumeModificationRequest(size_gib=2))
        with writer.volumes.open(volume) as file:
            file.pwrite(noise_block(99), 1536 * 1024 * 1024)
        writer.volumes.delete(volume)
        assert one.volumes.get(volume).state is VolumeState.DELETING

    copy = one.volumes.copy(volume, begun=change)

    assert copy.size_bytes == 1 << 30
    assert content(one, copy.volume_id) == noise(0)
    with pytest.raises(NotFoundError):
        one.volumes.get(volume)
    assert not [name for name in disk.files.list(Path("/store/volumes")) if volume in name]
    assert_healthy(one)


@pytest.mark.parametrize("reopened", [False, True])
def test_block_that_cannot_be_kept_fails_the_copy_and_not_the_writer(
    disk: MemoryStore, one: Store, reopened: bool
) -> None:
    """Nor a pending snapshot that does not need the block; also where another process wrote."""
    volume = new_volume(one, *noise(0))
    one.wait_snapshots([one.create_snapshot(volume).snapshot_id])

    def fail(method: str, path: Path) -> None:
        if path.name.endswith(".kept") and method in ("create", "write_at"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with Store(disk.context(ObservedFiles(disk.files, fail))) as full:
        maker = one if reopened else full

        def overwrite(_copy: str) -> None:
            write(full, volume, *noise(10))

        with pytest.raises(SourceError, match="could not be kept"):
            maker.volumes.copy(volume, begun=overwrite)

        assert content(full, volume) == noise(10)
        assert [each.volume_id for each in full.volumes.list()] == [volume]
    assert_nothing_is_kept(disk, one, volume)


def test_copy_that_waits_for_a_lent_source_can_be_given_up(
    disk: MemoryStore, one: Store, two: Store
) -> None:
    """As a server does that is to stop: its progress is asked meanwhile. No copy is left."""
    volume = new_volume(one, *noise(0))

    def stop(_step: int) -> None:
        raise SourceError("stopped")

    with ExitStack() as opened:

        def open_it(_copy: str) -> None:
            opened.enter_context(two.volumes.open(volume)).pwrite(noise_block(10), 0)

        with pytest.raises(SourceError, match="stopped"):
            one.volumes.copy(volume, progress=AtEachStep(stop), begun=open_it)
    assert [each.volume_id for each in two.volumes.list()] == [volume]
    assert content(one, volume) == [noise_block(10), *noise(0)[1:]]
    assert_nothing_is_kept(disk, one, volume)


def test_copy_whose_process_dies_is_dropped_while_another_has_its_source(
    disk: MemoryStore, two: Store
) -> None:
    """Nothing is kept for it any more, and a volume that waited for it goes."""
    dying = Store(disk.context())
    volume, gone = new_volume(dying, *noise(0)), new_volume(dying, *noise(0))
    copies: list[str] = []

    def copy_another(copy: str) -> None:
        copies.append(copy)
        dying.volumes.copy(gone, begun=die)

    def die(copy: str) -> None:
        copies.append(copy)
        two.volumes.delete(gone)
        write(two, volume, noise_block(10))
        dying._context.poison = "killed"
        dying._volumes_held().live.close()
        leave_as_if_killed(dying._context)
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        dying.volumes.copy(volume, begun=copy_another)
    states = {str(each.volume_id): each.state for each in two.volumes.list()}
    assert [states.pop(copy) for copy in copies] == [VolumeState.CREATING] * 2
    assert states == {volume: VolumeState.AVAILABLE, gone: VolumeState.DELETING}
    with two.volumes.open(volume) as file:
        two._volumes_held().resume()
        file.pwrite(noise_block(11), BLOCK_SIZE)
        assert not kept(disk)

    assert [each.volume_id for each in two.volumes.list()] == [volume]
    assert content(two, volume) == [noise_block(10), noise_block(11), *noise(0)[2:]]
    assert_nothing_is_kept(disk, two, volume)
