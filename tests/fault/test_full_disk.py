"""A disk that is full, as a real file system: a small ext4 image on a loop device (F14 to F16)."""

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ebsim.engine import Seams, Store
from ebsim.errors import EbsimError, LimitExceededError
from ebsim.recycle_bin import RuleRequest, RuleResourceType
from ebsim.requests import VolumeRequest
from ebsim.results import Snapshot, SnapshotState
from ebsim.storage.reserve import DELETION_PART, RESERVE_SIZE
from ebsim.testing.contents import noise_block
from ebsim.testing.invariants import assert_healthy, assert_store_matches
from ebsim.testing.model import ReferenceModel
from ebsim.testing.seams import ManualClock
from ebsim.testing.sources import MemorySource, disk_of
from ebsim.testing.volume_story import assert_no_change_missed
from ebsim.units import BLOCK_SIZE, MIB

pytestmark = [pytest.mark.slow, pytest.mark.root]

DISK_SIZE = 128 * MIB


@pytest.fixture
def small_disk(fast_path: Path) -> Iterator[Path]:
    """The mount point of an empty ext4 file system of 128 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    image, mount_point = fast_path / "disk.img", fast_path / "mnt"
    with image.open("wb") as file:
        file.truncate(DISK_SIZE)
    mount_point.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True)
    mounted = subprocess.run(
        ["mount", "-o", "loop", image, mount_point], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a loop device cannot be mounted here: {mounted.stderr.strip()}")
    yield mount_point
    subprocess.run(["umount", mount_point], check=True)


def free_bytes(path: Path) -> int:
    facts = os.statvfs(path)
    return facts.f_bavail * facts.f_frsize


def fill(folder: Path) -> None:
    """Use up every block of the file system."""
    fd = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        for size in (MIB, 4096, 1):
            try:
                while True:
                    os.write(fd, b"\xff" * size)
            except OSError:
                continue
    finally:
        os.fsync(fd)
        os.close(fd)
    assert free_bytes(folder) == 0


def snapshot(store: Store, model: ReferenceModel, disk: MemorySource) -> Snapshot:
    shown = store.create_snapshot(disk)
    if disk.identity not in model.volumes:
        model.add_volume(disk.identity, disk.size_bytes)
    for start in range(0, disk.size_bytes, BLOCK_SIZE):
        model.write(disk.identity, start // BLOCK_SIZE, disk.read(start, start + BLOCK_SIZE))
    model.snapshot(disk.identity, shown.snapshot_id)
    return shown


def large_disk(name: str) -> MemorySource:
    """200 MiB that do not compress, and of which no two blocks are equal."""
    disk = MemorySource(name, 400 * BLOCK_SIZE)
    for index in range(400):
        disk.put(index, index.to_bytes(8, "little") + noise_block(0)[8:])
    return disk


def test_snapshot_that_does_not_fit_ends_as_error(small_disk: Path) -> None:
    """F14: the others stay as they are, and the space of the failed one comes back."""
    path = small_disk / "store"
    model = ReferenceModel()
    disk = disk_of(*(noise_block(number) for number in range(8)))
    with Store.create(path) as store:
        snapshot(store, model, disk)
        free_before = free_bytes(small_disk)
        with pytest.raises(EbsimError, match=r"(?i)no space"):
            store.create_snapshot(large_disk("memory:large"))

    with Store.open(path) as store:
        states = [shown.state for shown in store.list_snapshots()]
        assert states.count(SnapshotState.ERROR) == 1
        assert SnapshotState.PENDING not in states
        (failed,) = (each for each in store.list_snapshots() if each.state is SnapshotState.ERROR)
        assert "space" in failed.state_message.lower()
        assert_store_matches(store, model)
        assert_healthy(store)
        disk.put(3, noise_block(20))
        snapshot(store, model, disk)
        store.delete_snapshots([failed.snapshot_id])
        assert_store_matches(store, model)
        assert free_bytes(small_disk) > free_before - 4 * MIB


def test_deleting_works_with_no_byte_free_and_gives_space_back(small_disk: Path) -> None:
    """F16: also for a store that is opened only when the disk is full already."""
    path = small_disk / "store"
    model = ReferenceModel()
    disk = disk_of(*(noise_block(number) for number in range(16)))
    with Store.create(path) as store:
        first = snapshot(store, model, disk)
        for index in range(12):
            disk.put(index, noise_block(index + 20))
        snapshot(store, model, disk)
    fill(small_disk)

    with Store.open(path) as store:
        assert_store_matches(store, model)
        planned = store.delete_snapshots([first.snapshot_id], dry_run=True)
        done = store.delete_snapshots([first.snapshot_id])

        assert done.deleted == planned.deleted
        assert done.deleted[0].freed_size_bytes == 12 * BLOCK_SIZE
        assert free_bytes(small_disk) >= 11 * BLOCK_SIZE
        model.delete([first.snapshot_id])
        assert_store_matches(store, model)
        assert_healthy(store)
    with Store.open(path) as store:
        disk.put(15, noise_block(40))
        snapshot(store, model, disk)
        assert_store_matches(store, model)


def test_full_disk_is_emptied_through_the_recycle_bin(small_disk: Path) -> None:
    """F16: deleting into the bin frees nothing; taking the rule away first, and again, does."""
    path = small_disk / "store"
    with Store.create(path) as store:
        wanted = RuleRequest(resource_type=RuleResourceType.EBS_SNAPSHOT, retention_days=7)
        rule = store.recycle_bin.rules.create(wanted)
        disk = disk_of(*(noise_block(number) for number in range(12)))
        name = store.create_snapshot(disk).snapshot_id
    fill(small_disk)

    with Store.open(path) as store:
        store.delete_snapshots([name])
        assert free_bytes(small_disk) < BLOCK_SIZE
        store.recycle_bin.rules.delete(rule.rule_id)
        store.recycle_bin.restore_snapshot(name)
        store.delete_snapshots([name])
        assert free_bytes(small_disk) >= 11 * BLOCK_SIZE
        assert_healthy(store)


def test_bin_is_emptied_on_a_full_disk(small_disk: Path) -> None:
    """F16: what is due goes for good also where no byte is free."""
    path, clock = small_disk / "store", ManualClock()
    with Store.create(path, Seams(clock=clock)) as store:
        wanted = RuleRequest(resource_type=RuleResourceType.EBS_SNAPSHOT, retention_days=7)
        store.recycle_bin.rules.create(wanted)
        disk = disk_of(*(noise_block(number) for number in range(12)))
        store.delete_snapshots([store.create_snapshot(disk).snapshot_id])
    fill(small_disk)
    clock.advance(days=7)

    with Store.open(path, Seams(clock=clock)) as store:
        assert store.stats().charged_size_bytes == 0
        assert free_bytes(small_disk) >= 11 * BLOCK_SIZE
        assert_healthy(store)


def test_disk_that_fills_up_while_the_store_is_open(small_disk: Path) -> None:
    """A snapshot fails, the store is opened again, everything is deleted: all on a full disk."""
    path = small_disk / "store"
    model = ReferenceModel()
    disk = disk_of(*(noise_block(number) for number in range(8)))
    with Store.create(path) as store:
        first = snapshot(store, model, disk)
        fill(small_disk)
        disk.put(0, noise_block(20))
        disk.put(1, noise_block(21))
        with pytest.raises(EbsimError, match=r"(?i)no space"):
            store.create_snapshot(disk)

    with Store.open(path) as store:
        assert_store_matches(store, model)
        store.delete_snapshots([shown.snapshot_id for shown in store.list_snapshots()])
        model.delete([first.snapshot_id])
        assert_store_matches(store, model)
        assert free_bytes(small_disk) >= 7 * BLOCK_SIZE
        assert_healthy(store)


def test_managed_volume_on_a_disk_that_fills_up(small_disk: Path) -> None:
    """F14, F16: a write fails; a snapshot whose block cannot be kept fails; the rest goes on."""
    path = small_disk / "store"
    copying = threading.Event()

    def before_copy(_snapshot_id: str) -> None:
        copying.wait()

    with Store.create(path, Seams(before_copy=before_copy)) as store:
        volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
        with store.volumes.open(volume) as file:
            for block in range(4):
                file.pwrite(noise_block(block), block * BLOCK_SIZE)
            file.flush()
            pending = store.create_snapshot(volume)
            fill(small_disk)
            with pytest.raises(LimitExceededError, match="no space"):
                file.pwrite(noise_block(9), 100 * BLOCK_SIZE)
            file.pwrite(noise_block(10), 0)  # its old bytes find no space
            file.flush()
            copying.set()
            (failed,) = store.wait_snapshots([pending.snapshot_id])
            assert failed.state is SnapshotState.ERROR
            assert "could not be kept" in failed.state_message
            assert file.pread(BLOCK_SIZE, 0) == noise_block(10)
            store.delete_snapshots([pending.snapshot_id])
        (small_disk / "filler").unlink()
        assert_no_change_missed(store, {0, 1, 2, 3, 100})
        fill(small_disk)
        store.volumes.delete(volume)
        assert store.volumes.list() == []
        assert free_bytes(small_disk) >= 3 * BLOCK_SIZE
        assert_healthy(store)


# Compacting


def nights(store_path: Path, model: ReferenceModel) -> None:
    """Make three snapshots, each by a process of its own: three segments of about 12 MiB."""
    for night in range(3):
        blocks = [noise_block(each) for each in range(24 * night, 24 * night + 24)]
        with Store.open(store_path, create=True) as store:
            shown = store.create_snapshot(disk_of(*blocks, name=f"memory:{night}"))
        model.add_volume(f"memory:{night}", len(blocks) * BLOCK_SIZE)
        for index, block in enumerate(blocks):
            model.write(f"memory:{night}", index, block)
        model.snapshot(f"memory:{night}", shown.snapshot_id)


@pytest.mark.parametrize("left_mib", [0, 20, 45])
def test_compaction_with_little_space(small_disk: Path, left_mib: int) -> None:
    """It is refused before it begins, or needs no more than there is; nothing changes for users."""
    model = ReferenceModel()
    nights(small_disk / "store", model)
    fill(small_disk)
    os.truncate(small_disk / "filler", (small_disk / "filler").stat().st_size - left_mib * MIB)

    with Store.open(small_disk / "store") as store:
        before = store.stats()
        if free_bytes(small_disk) < 32 * MIB:
            with pytest.raises(LimitExceededError, match="compacting needs"):
                store.compact()
            assert store.stats() == before
        else:
            assert len(store.compact().compacted) == 3
            assert store.stats().segments == 1
            assert store.stats().stored_size_bytes < before.stored_size_bytes
        assert_store_matches(store, model)
        assert_healthy(store)


# The reserve


def test_disk_that_a_volume_filled_up_still_deletes(small_disk: Path) -> None:
    """F16: neither the record of a failed snapshot nor another write takes what deleting needs."""
    path = small_disk / "store"
    with Store.create(path) as store:
        volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
        with store.volumes.open(volume) as file:
            for block in range(8):
                file.pwrite(noise_block(block), block * BLOCK_SIZE)
        kept = store.create_snapshot(volume).snapshot_id
        store.wait_snapshots([kept])
        with pytest.raises(LimitExceededError, match="no space"):
            write_until_full(store, volume, 8)
    failed = []
    for _ in range(3):
        with Store.open(path) as store:
            with suppress(LimitExceededError):
                failed.append(store.create_snapshot(volume).snapshot_id)
                assert store.wait_snapshots(failed[-1:])[0].state is SnapshotState.ERROR
            assert (path / "reserve").stat().st_blocks * 512 >= DELETION_PART
            with pytest.raises(LimitExceededError, match="no space"):
                write_until_full(store, volume, 200)
    assert failed
    with Store.open(path) as store:
        store.delete_snapshots([kept, *failed])
        store.volumes.delete(volume)
        assert store.list_snapshots() == []
        assert_healthy(store)
    with Store.open(path) as store:
        assert (path / "reserve").stat().st_blocks * 512 >= RESERVE_SIZE
        assert free_bytes(small_disk) > DISK_SIZE - 2 * RESERVE_SIZE - 8 * MIB


def test_writes_stop_where_the_reserve_is_lost(small_disk: Path) -> None:
    """A process died while it was given up; the space that is left is still for deleting."""
    path = small_disk / "store"
    with Store.create(path) as store:
        volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
        with store.volumes.open(volume) as file:
            file.pwrite(noise_block(0), 0)
            file.flush()
            shown = store.create_snapshot(volume)
            store.wait_snapshots([shown.snapshot_id])
            fill(small_disk)
            (path / "reserve").unlink()
            before = free_bytes(small_disk)
            for offset in (0, 5 * BLOCK_SIZE):
                with pytest.raises(LimitExceededError, match="kept for deleting"):
                    file.pwrite(noise_block(1), offset)
            assert free_bytes(small_disk) > before - MIB
            assert file.pread(BLOCK_SIZE, 0) == noise_block(0)
        store.delete_snapshots([shown.snapshot_id])


def write_until_full(store: Store, volume: str, first: int) -> None:
    """Write noise to the blocks from `first` on until that is refused, for a whole volume."""
    with store.volumes.open(volume) as file:
        for block in range(first, file.size // BLOCK_SIZE):
            file.pwrite(noise_block(block), block * BLOCK_SIZE)
