"""Real file systems that lose power, fail, fill up or become read-only (F7, F10, F14 to F18).

The campaigns of `ebsim.testing.torture` look for what goes wrong; here it is shown that they would
see it: each leaves something out that ebsim does, and the loss is found. Then come limits and
remounts that no campaign has.
"""

import gc
import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ebsim.engine import Store
from ebsim.errors import EbsimError, StoreError
from ebsim.storage.boot import read_cache_id
from ebsim.storage.catalog_renewal import finish_renewal, renew_catalog
from ebsim.storage.lmdb_catalog import LOCK_FILE_SIZE
from ebsim.storage.locks import LockFile
from ebsim.testing import devices
from ebsim.testing.contents import noise_block
from ebsim.testing.invariants import assert_healthy, assert_store_matches
from ebsim.testing.model import ReferenceModel
from ebsim.testing.sources import disk_of
from ebsim.testing.torture import recorded_disk
from ebsim.testing.torture.block_writes import StateChecker, record_story
from ebsim.testing.torture.disk_worker import DiskWorker
from ebsim.testing.torture.failed_syncs import MODES, fail_sync
from ebsim.testing.torture.no_space import FurnishedDisk
from ebsim.testing.torture.shutdowns import shut_down_at
from ebsim.testing.torture.space_faults import Fill
from ebsim.units import BLOCK_SIZE, MIB

pytestmark = [pytest.mark.slow, pytest.mark.root]

STATES_MAX = 20
"""With a sync left out, so many power cuts are more than enough to see it."""


@pytest.fixture
def checker(fast_path: Path) -> Iterator[StateChecker]:
    checker = StateChecker(fast_path)
    yield checker
    checker.close()


def skip_without(*file_systems: str) -> None:
    if reason := recorded_disk.missing(*file_systems):
        pytest.skip(reason)


def mounted_image(path: Path, file_system: str = "ext4") -> Path:
    """Make an image of a file system that is large enough for a story."""
    skip_without(file_system)
    with path.open("wb") as file:
        file.truncate(recorded_disk.DISK_BYTES[file_system])
    devices.run(f"mkfs.{file_system}", *recorded_disk.MKFS_OPTIONS[file_system], str(path))
    return path


# What the campaigns would see


def test_missing_sync_is_seen_after_power_cuts(fast_path: Path, checker: StateChecker) -> None:
    """F7: recorded writes, replayed.

    A commit that is not synced is made good by the journal, which is: the catalog is made again.
    """
    skip_without("ext4")
    place = fast_path / "disk"
    place.mkdir()
    story = record_story(place, "ext4", 1, "segments")

    def found(number: int) -> bool:
        chance = random.Random(number)
        return bool(checker.check(story, "ext4", story.choose_cut(chance), chance))

    assert any(found(number) for number in range(STATES_MAX))


def test_missing_sync_is_seen_after_shutdowns(fast_path: Path, checker: StateChecker) -> None:
    """F7: the file system writes nothing any more."""
    skip_without("ext4")
    image = fast_path / "disk.img"

    assert not shut_down_at(300, 1, image, "ext4", checker)
    assert shut_down_at(300, 1, image, "ext4", checker, without="segments")


FLUSH_OF_A_VOLUME, SYNC_OF_A_SEGMENT, COMMIT = 17, 25, 19
"""Syncs of the story, by number; of the catalog, the one that follows the volume's."""


@pytest.mark.parametrize("without", ["poison", "renewal", "forgetting"])
def test_what_follows_a_failed_sync_is_needed(
    fast_path: Path, checker: StateChecker, without: str
) -> None:
    """F10, F11: a failed sync closes the store; then other blocks of the disk are used.

    On ext4, what is written to the places of a failed write is lost although its sync succeeds.
    """
    skip_without("ext4")
    what, after_flushes = MODES[0]

    def problem(sync: int, leave_out: str) -> str:
        task: dict[str, Any] = {"seed": 5, "sync": sync, "what": what}
        task |= {"after_flushes": after_flushes, "without": leave_out}
        return fail_sync(task, fast_path / "case", "ext4", checker).problem

    syncs = (FLUSH_OF_A_VOLUME, COMMIT, SYNC_OF_A_SEGMENT)
    assert not any(problem(sync, "") for sync in syncs)
    assert any(problem(sync, without) for sync in syncs)


def test_missing_reserve_is_seen_on_a_full_disk(fast_path: Path) -> None:
    """F16: without it nothing can be deleted when not a byte is free."""
    skip_without("ext4")
    with DiskWorker() as worker:
        disk = FurnishedDisk(fast_path, "ext4")
        disk.make(worker)
        for forgetful in (False, True):
            task = Fill(store="", ids={}, operation="create", point=2, left=0, forgetful=forgetful)
            problem, _ = disk.run(worker, task)
            assert bool(problem) is forgetful, problem


# What is remembered of a file system


@pytest.mark.parametrize("file_system", ["ext4", "xfs", "btrfs"])
def test_each_mount_is_told_from_the_one_before(fast_path: Path, file_system: str) -> None:
    """What was not synced does not outlive a file system that shut itself down."""
    image = mounted_image(fast_path / "disk.img", file_system)
    seen = []
    for _ in range(2):
        with recorded_disk.mounted_again(image, file_system) as mount_point:
            seen += [read_cache_id(mount_point, "boot")] * 2
            (mount_point / "below").mkdir(exist_ok=True)
            assert read_cache_id(mount_point / "below", "boot") == seen[-1]

    assert len(set(seen)) == 2
    assert all(each.startswith("boot ") for each in seen)
    assert read_cache_id(fast_path, "") == ""


# A catalog whose commit failed


def test_renewed_catalog_is_another_file_with_the_same_content(fast_path: Path) -> None:
    """F11."""
    source = disk_of(noise_block(1), noise_block(2))
    with Store.create(fast_path / "store") as store:
        kept = store.create_snapshot(source).snapshot_id
        catalog = fast_path / "store" / "catalog"
        before = (catalog / "data.mdb").stat().st_ino

        assert renew_catalog(catalog)

        assert (catalog / "data.mdb").stat().st_ino != before
        assert store.read_block(kept, 1) == noise_block(2)
        with pytest.raises(StoreError, match="open the store again"):
            store.tags.create([kept], {"a": "b"})
    with Store.open(fast_path / "store") as store:
        assert store.read_block(kept, 1) == noise_block(2)
        store.tags.create([kept], {"a": "b"})
        assert_healthy(store)


def test_catalog_that_cannot_be_renewed_yet_is_away_until_it_is(fast_path: Path) -> None:
    """F11: the disk still fails when the commit has failed."""
    with Store.create(fast_path / "store") as store:
        kept = store.create_snapshot(disk_of(noise_block(1))).snapshot_id
        catalog = fast_path / "store" / "catalog"
        (catalog / "data.mdb.new").mkdir()  # in the way of the copy

        assert not renew_catalog(catalog)

        assert not (catalog / "data.mdb").exists()
        with pytest.raises(StoreError, match="open the store again"):
            store.tags.create([kept], {"a": "b"})
    (catalog / "data.mdb.new").rmdir()
    with Store.open(fast_path / "store") as store:
        assert store.read_block(kept, 0) == noise_block(1)
        assert_healthy(store)
    finish_renewal(catalog, LockFile(fast_path / "store" / "lock"))  # and nothing is left to do
    assert sorted(each.name for each in catalog.iterdir()) == ["data.mdb", "lock.mdb"]


def test_table_of_readers_has_its_space(fast_path: Path) -> None:
    """F15: a page of a map that has no space on a full disk ends the process."""
    Store.create(fast_path / "store").close()

    facts = (fast_path / "store" / "catalog" / "lock.mdb").stat()
    assert facts.st_size == LOCK_FILE_SIZE
    assert facts.st_blocks * 512 == LOCK_FILE_SIZE


# Limits and remounts


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size; Python ignores SIGXFSZ."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def furnished(store: Store, model: ReferenceModel) -> str:
    """Take a snapshot of two blocks, and note it in the model."""
    shown = store.create_snapshot(disk_of(noise_block(1), noise_block(2), name="memory:kept"))
    model.add_volume("memory:kept", 2 * BLOCK_SIZE)
    for index in range(2):
        model.write("memory:kept", index, noise_block(1 + index))
    model.snapshot("memory:kept", shown.snapshot_id)
    return shown.snapshot_id


def test_limit_on_the_size_of_files_is_no_space(fast_path: Path) -> None:
    """F17: EFBIG ends the snapshot as ENOSPC does, also EDQUOT is told so; the rest is fine."""
    model = ReferenceModel()
    large = disk_of(*(noise_block(number) for number in range(10, 18)), name="memory:large")
    with Store.create(fast_path / "store") as store:
        kept = furnished(store, model)
        with file_size_limit(2 * MIB), pytest.raises(EbsimError, match=r"(?i)no space"):
            store.create_snapshot(large)
        assert_store_matches(store, model)
        with file_size_limit(2 * MIB):
            store.delete_snapshots([kept])
        model.delete([kept])
    with Store.open(fast_path / "store") as store:
        assert_store_matches(store, model)
        assert_healthy(store)
        assert store.create_snapshot(large).size_bytes == 8 * BLOCK_SIZE


def use_while_it_becomes_read_only(mount_point: Path, target: Path) -> str:
    """Make a store, have its file system become read-only, and use it; return its snapshot."""
    model = ReferenceModel()
    store = Store.create(mount_point / "store")
    try:
        kept = furnished(store, model)
        devices.run("mount", "-o", "remount,abort", str(mount_point))
        for attempt in (
            lambda: store.create_snapshot(disk_of(noise_block(9), name="memory:new")),
            lambda: store.delete_snapshots([kept]),
        ):
            with pytest.raises(EbsimError, match=r"(?i)read-only|open it again|open the store"):
                attempt()
        store.restore_snapshot(kept, target)
    finally:
        with suppress(EbsimError):
            store.close()
    return kept


def test_store_that_becomes_read_only_while_it_is_open(fast_path: Path) -> None:
    """F18: as ext4 does by itself after a failure. Reading works, writing is refused."""
    image = mounted_image(fast_path / "disk.img")
    with recorded_disk.mounted_again(image, "ext4") as mount_point:
        kept = use_while_it_becomes_read_only(mount_point, fast_path / "restored")
        gc.collect()  # what errors hold is open
    with (
        recorded_disk.mounted_again(image, "ext4") as mount_point,
        Store.open(mount_point / "store") as store,
    ):
        assert_healthy(store)
        assert store.read_block(kept, 1) == noise_block(2)
        store.delete_snapshots([kept])
    assert (fast_path / "restored").read_bytes() == noise_block(1) + noise_block(2)
