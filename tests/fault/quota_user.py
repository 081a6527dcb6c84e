"""What `test_quota` runs where there are quotas, as a user whose quota is small.

    python quota_user.py FOLDER

The first thing that is not as it should be ends it with a traceback.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from ebsim.engine import Store
from ebsim.errors import EbsimError, LimitExceededError
from ebsim.requests import VolumeRequest
from ebsim.results import SnapshotState
from ebsim.storage.lmdb_catalog import LmdbCatalog
from ebsim.testing.contents import noise_block
from ebsim.testing.invariants import assert_healthy, assert_store_matches
from ebsim.testing.model import ReferenceModel
from ebsim.testing.sources import MemorySource, disk_of
from ebsim.units import BLOCK_SIZE, GIB, MIB
from ebsim.volumes.volume_file import VolumeFile

LmdbCatalog.__init__.__kwdefaults__["map_size"] = GIB  # type: ignore[index]
# Such a Linux has less of an address space than any machine that ebsim is for.


def take(store: Store, model: ReferenceModel, disk: MemorySource) -> str:
    """Take a snapshot and note it in the model."""
    shown = store.create_snapshot(disk)
    if disk.identity not in model.volumes:
        model.add_volume(disk.identity, disk.size_bytes)
    for start in range(0, disk.size_bytes, BLOCK_SIZE):
        model.write(disk.identity, start // BLOCK_SIZE, disk.read(start, start + BLOCK_SIZE))
    model.snapshot(disk.identity, shown.snapshot_id)
    return shown.snapshot_id


def large_disk() -> MemorySource:
    """60 MiB that do not compress, and of which no two blocks are equal."""
    disk = MemorySource("memory:large", 120 * BLOCK_SIZE)
    for index in range(120):
        disk.put(index, index.to_bytes(8, "little") + noise_block(0)[8:])
    return disk


def use_up(folder: Path) -> None:
    """Use the quota up to the last page. The file system has space for others."""
    fd = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT, 0o600)
    for size in (MIB, 4096):
        with pytest.raises(OSError, match="quota"):
            write_for_ever(fd, size)
    with suppress(OSError):
        os.fsync(fd)
    os.close(fd)
    facts = os.statvfs(folder)
    assert facts.f_bavail * facts.f_frsize > 100 * MIB, "the file system itself is full"


def write_for_ever(fd: int, size: int) -> None:
    while True:
        os.write(fd, os.urandom(size))


def write_blocks(file: VolumeFile, written: list[int]) -> None:
    """Write as many as go in; note each."""
    for block in range(120):
        file.pwrite(noise_block(block % 50), block * BLOCK_SIZE)
        written.append(block)
        if block % 8 == 7:
            file.flush()


def snapshot_that_does_not_fit(path: Path, model: ReferenceModel) -> tuple[MemorySource, str]:
    """The running snapshot ends as error, and the rest is intact."""
    disk = disk_of(*(noise_block(number) for number in range(8)), name="memory:web")
    with Store.create(path) as store:
        first = take(store, model, disk)
        for index in range(4):
            disk.put(index, noise_block(index + 20))
        take(store, model, disk)
        with pytest.raises(EbsimError, match="no space"):
            store.create_snapshot(large_disk())
        assert_store_matches(store, model)
    with Store.open(path) as store:
        assert_store_matches(store, model)
        (failed,) = (each for each in store.list_snapshots() if each.state is SnapshotState.ERROR)
        assert "space" in failed.state_message
        store.delete_snapshots([failed.snapshot_id])
        assert_healthy(store)
    return disk, first


def deletion_with_nothing_left(path: Path, model: ReferenceModel, first: str) -> None:
    """Deleting works, and gives space back, though the file system says that there is plenty."""
    use_up(path.parent)
    with Store.open(path) as store:
        assert_store_matches(store, model)
        with pytest.raises(EbsimError, match="no space"):
            store.create_snapshot(large_disk())
        planned = store.delete_snapshots([first], dry_run=True)
        done = store.delete_snapshots([first])
        assert done.deleted == planned.deleted
        model.delete([first])
        failed = [e for e in store.list_snapshots() if e.state is SnapshotState.ERROR]
        if failed:
            store.delete_snapshots([each.snapshot_id for each in failed])
        assert_store_matches(store, model)
        assert_healthy(store)


def volume_that_is_written_to(path: Path) -> None:
    """A write fails and nothing else does; what was flushed stays; the volume can be deleted."""
    with Store.open(path) as store:
        volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
        written: list[int] = []
        with (
            store.volumes.open(volume) as file,
            pytest.raises(LimitExceededError, match="no space"),
        ):
            write_blocks(file, written)
        assert written
        with store.volumes.open(volume) as file:
            for block in written:
                assert file.pread(BLOCK_SIZE, block * BLOCK_SIZE) == noise_block(block % 50)
        store.volumes.delete(volume)
        assert_healthy(store)


def main() -> None:
    """Do all of it."""
    folder, model = Path(sys.argv[1]), ReferenceModel()
    path = folder / "store"
    disk, first = snapshot_that_does_not_fit(path, model)
    deletion_with_nothing_left(path, model, first)
    (folder / "filler").unlink()
    volume_that_is_written_to(path)
    with Store.open(path) as store:
        disk.put(7, noise_block(40))
        take(store, model, disk)
        assert_store_matches(store, model)
        assert_healthy(store)
    print("all is well")


if __name__ == "__main__":
    main()
