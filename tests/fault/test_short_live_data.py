"""Live data that were cut short, or replaced by a shorter file, while nobody had them open (F19).

A file of live data is sparse, and may end long before its volume does: what is behind its end reads
as zeros. So ebsim remembers how long it is at least, once that is durable (docs/durability.md).
"""

import errno
import os
import random
from pathlib import Path

import pytest

from ebsim.engine import Store
from ebsim.errors import CorruptionError, ErrorCode, StoreError
from ebsim.requests import VolumeRequest
from ebsim.results import SnapshotState
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.machine import Machine
from ebsim.testing.volume_story import content
from ebsim.units import BLOCK_SIZE
from ebsim.volumes.volume_file import VolumeFile

pytestmark = pytest.mark.crash

VOLUMES = Path("/store/volumes")
BLOCKS = 4


@pytest.fixture
def machine(fast_path: Path) -> Machine:
    return Machine(fast_path)


def write(file: VolumeFile, *blocks: int) -> None:
    for block in blocks:
        file.pwrite(content(4 * block + 4), block * BLOCK_SIZE)


def furnished(machine: Machine) -> tuple[str, str]:
    """Return a volume of a store that was closed, and a snapshot of it."""
    with machine.start().open() as store:
        volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
        with store.volumes.open(volume) as file:
            write(file, *range(BLOCKS))
        shown = store.create_snapshot(volume)
        store.wait_snapshots([shown.snapshot_id])
        return volume, shown.snapshot_id


def cut_off(machine: Machine, volume: str, size: int) -> None:
    file = machine.files.open(VOLUMES / f"{volume}.data", writable=True)
    file.truncate(size)
    file.sync()


@pytest.mark.parametrize("size", [0, BLOCK_SIZE, BLOCKS * BLOCK_SIZE - 1])
def test_live_data_that_were_cut_short_are_never_taken_for_zeros(
    machine: Machine, size: int
) -> None:
    """The volume is refused with what to do; a check finds it; snapshots and a deletion work."""
    volume, snapshot = furnished(machine)
    cut_off(machine, volume, size)

    with machine.start().open() as store:
        with pytest.raises(CorruptionError, match="cut short") as refused:
            store.volumes.open(volume)
        assert refused.value.code == ErrorCode.CORRUPT_VOLUME
        assert "put the whole file back, or make another volume" in str(refused.value)
        with pytest.raises(CorruptionError, match="cut short"):
            store.create_snapshot(volume)
        (finding,) = store.check().findings
        assert finding.kind == "short-volume"
        assert f"{volume}.data" in finding.message
        again = store.volumes.create(VolumeRequest(snapshot_id=snapshot)).volume_id
        with store.volumes.open(again) as file:
            assert file.pread(BLOCK_SIZE, BLOCK_SIZE) == content(8)
        store.volumes.delete(volume)
        assert_healthy(store)


def test_whole_file_that_is_put_back_is_taken(machine: Machine) -> None:
    volume, _ = furnished(machine)
    file = machine.files.open(VOLUMES / f"{volume}.data", writable=True)
    whole = file.read_at(0, file.size())
    cut_off(machine, volume, 10)
    with machine.start().open() as store, pytest.raises(CorruptionError):
        store.volumes.open(volume)

    file.write_at(0, [whole])

    with machine.start().open() as store:
        with store.volumes.open(volume) as opened:
            assert opened.pread(BLOCK_SIZE, 3 * BLOCK_SIZE) == content(16)
        assert_healthy(store)


def test_file_that_ends_before_its_volume_does_is_whole(machine: Machine) -> None:
    """Also one that was only discarded, and one to which nothing was written."""
    with machine.start().open() as store:
        volumes = [store.volumes.create(VolumeRequest(size_gib=1)).volume_id for _ in range(3)]
        with store.volumes.open(volumes[0]) as file:
            write(file, 1)
            file.discard(BLOCK_SIZE, BLOCK_SIZE)
        with store.volumes.open(volumes[1]) as file:
            file.discard(0, 8 * BLOCK_SIZE)
        store.volumes.open(volumes[2]).close()
    with machine.start().open() as store:
        for volume in volumes:
            with store.volumes.open(volume) as file:
                assert file.pread(BLOCK_SIZE, BLOCK_SIZE) == bytes(BLOCK_SIZE)
        assert_healthy(store)


@pytest.mark.parametrize("seed", range(30))
def test_power_cut_never_makes_a_volume_too_short(machine: Machine, seed: int) -> None:
    """F7: what is remembered of its length was durable before, whatever was written since."""
    chance = random.Random(seed)
    volume, _ = furnished(machine)
    process = machine.start()
    store = process.open()
    file = store.volumes.open(volume)
    for block in range(BLOCKS, chance.randrange(BLOCKS, 12)):
        write(file, block)
        if chance.random() < 0.3:
            file.flush()
    process.kill()
    if chance.random() < 0.5:
        after_a_kill = machine.start()
        after_a_kill.open().volumes.open(volume).pread(1, 0)
        after_a_kill.kill()
    machine.cut_power(chance)

    with machine.start().open() as store:
        with store.volumes.open(volume) as opened:
            assert opened.pread(BLOCK_SIZE, 3 * BLOCK_SIZE) == content(16)
        assert_healthy(store)


def test_what_a_failed_sync_left_in_memory_is_not_counted_on(machine: Machine) -> None:
    """F10: the kernel may say that the file is longer than the disk has it; a new mount tells."""
    volume, _ = furnished(machine)
    fails = True

    def fail(method: str, path: Path) -> None:
        if fails and method == "sync" and path.suffix == ".data":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    process = machine.start(observer=fail)
    store = process.open()
    file = store.volumes.open(volume)
    write(file, 9)
    with pytest.raises(StoreError):
        file.flush()
    process.kill()
    fails = False
    with machine.start().open() as store, store.volumes.open(volume) as opened:
        write(opened, 0)
        opened.flush()
    cut_off(machine, volume, BLOCKS * BLOCK_SIZE)  # as xfs and btrfs have it then

    with machine.start().open() as store:
        with store.volumes.open(volume) as opened:
            assert opened.pread(BLOCK_SIZE, 0) == content(4)
        assert_healthy(store)


def test_rebuilt_catalog_knows_how_long_the_file_is_as_far_as_it_was_journaled(
    fast_path: Path,
) -> None:
    """A rebuild works beside a file that was cut short, and the next flush tells anew."""
    with Store.create(fast_path / "store") as store:
        volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
        with store.volumes.open(volume) as file:
            write(file, *range(BLOCKS))
        shown = store.create_snapshot(volume)
        assert store.wait_snapshots([shown.snapshot_id])[0].state is SnapshotState.COMPLETED
        store.tags.create([volume], {"told": "a"})
    Store.rebuild(fast_path / "store")
    with Store.open(fast_path / "store") as store, store.volumes.open(volume) as file:
        write(file, BLOCKS)
    os.truncate(fast_path / "store" / "volumes" / f"{volume}.data", BLOCK_SIZE)

    with Store.open(fast_path / "store") as store:
        with pytest.raises(CorruptionError, match="cut short"):
            store.volumes.open(volume)
        kinds = {each.kind for each in store.check().findings}
        assert kinds == {"short-volume"}
    assert Store.rebuild(fast_path / "store").snapshots == 1
