"""The catalog is a cache: it is made again from the segments alone."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from ebsim.config import Quotas, SnapshotOptions
from ebsim.engine import Seams, Store
from ebsim.errors import ConflictError, CorruptionError, ErrorCode, NotFoundError, StoreError
from ebsim.policies import CreateRule, PolicyRequest, RetainRule, Schedule
from ebsim.reports import RebuildReport
from ebsim.requests import BlockDevice, ImageOptions, ImageQuery, VolumeRequest
from ebsim.testing.contents import palette_block
from ebsim.testing.sources import MemorySource
from ebsim.units import BLOCK_SIZE

ALL_IMAGES = ImageQuery(include_disabled=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


def everything_told(store: Store) -> dict[str, Any]:
    """Return all that a user can ask a store, but what is pending, in error, or an event."""
    snapshots = store.list_snapshots()
    return {
        "snapshots": snapshots,
        "contents": {
            each.snapshot_id: [
                store.read_block(each.snapshot_id, index)
                for index in range(min(6, -(-each.size_bytes // BLOCK_SIZE)))
            ]
            for each in snapshots
        },
        "dry runs": [
            store.delete_snapshots([each.snapshot_id], dry_run=True).deleted[0].moved_to
            for each in snapshots
            if each.description != "behind an image"
        ],
        "ledger": store.ledger(),
        "histories": [store.snapshot_history(each.snapshot_id) for each in snapshots],
        "volumes": store.volumes.list(),
        "modifications": store.volumes.modifications(),
        "images": store.images.list(ALL_IMAGES),
        "policies": store.lifecycle.list(),
        "tags": store.tags.list(),
        "quotas": store.quotas,
    }


def lose_catalog(folder: Path) -> None:
    shutil.rmtree(folder / "catalog")


def rebuild(folder: Path, seams: Seams) -> RebuildReport:
    return Store.rebuild(folder, seams)


def write(disk: MemorySource, index: int, content: int) -> None:
    disk.write(index * BLOCK_SIZE, palette_block(content))


def make_a_life(store: Store) -> MemorySource:
    """Make snapshots with branches, deletions, tags, an image, policies and volumes."""
    disk = MemorySource("memory:disk", 6 * BLOCK_SIZE)
    ids = []
    for round_ in range(6):
        write(disk, round_ % 3, 3 + round_)
        write(disk, 5, round_ % 2)
        options = SnapshotOptions(description=f"round {round_}", tags={"round": str(round_)})
        ids.append(store.create_snapshot(disk, options).snapshot_id)
    for branch in range(2):
        other = MemorySource(f"memory:branch{branch}", 6 * BLOCK_SIZE)
        write(other, branch, 9)
        store.create_snapshot(other, SnapshotOptions(parent=ids[2]))
    store.delete_snapshots([ids[0], ids[2]])  # the second stays, nameless
    store.delete_snapshots([ids[5]])
    store.tags.create([ids[1], ids[3]], {"kept": "yes", "round": "other"})
    store.tags.delete([ids[3]], {"kept": None})
    behind = store.create_snapshot(disk, SnapshotOptions(description="behind an image"))
    devices = {"/dev/sda1": BlockDevice(snapshot_id=behind.snapshot_id)}
    image = store.images.register("an image", devices, ImageOptions(tags={"a": "b"}))
    gone = store.images.register("another", devices)
    store.images.deregister(gone.image_id)
    store.images.disable(image.image_id)
    daily = Schedule(
        name="daily",
        create=CreateRule(interval_hours=24, time="03:00"),
        retain=RetainRule(count=3),
    )
    request = PolicyRequest(description="nightly", sources=("/disk.img",), schedules=(daily,))
    store.lifecycle.put(request)
    store.lifecycle.delete(store.lifecycle.put(request).policy_id)
    store.quotas = Quotas(modifications_per_day=7)
    return disk


def test_everything_is_there_again(folder: Path, seams: Seams) -> None:
    with Store.create(folder, seams) as store:
        disk = make_a_life(store)
        before = everything_told(store)
    lose_catalog(folder)
    with pytest.raises(CorruptionError, match="ebsim rebuild"):
        Store.open(folder, seams)
    planned = Store.rebuild(folder, seams, dry_run=True)
    assert planned.dry_run
    assert not (folder / "catalog").exists()
    made = rebuild(folder, seams)
    assert made.findings == planned.findings == ()
    assert made.snapshots == planned.snapshots == len(before["snapshots"])
    with Store.open(folder, seams) as store:
        assert everything_told(store) == before
        assert store.check(data=True).findings == ()
        again = store.create_snapshot(disk)
        assert again.incremental_size_bytes == 0
        assert again.volume_id == before["snapshots"][0].volume_id
        write(disk, 2, 11)
        changed = store.create_snapshot(disk)
        assert changed.incremental_size_bytes == BLOCK_SIZE
        assert store.read_block(changed.snapshot_id, 2) == palette_block(11)
        for each in store.images.list(ALL_IMAGES):
            store.images.deregister(each.image_id)
        store.delete_snapshots([each.snapshot_id for each in store.list_snapshots()])
        assert store.check(data=True).findings == ()
        assert store.stats().blocks == 0


def test_nothing_deleted_returns(folder: Path, seams: Seams) -> None:
    disk = MemorySource("memory:disk", 6 * BLOCK_SIZE)
    with Store.create(folder, seams) as store:
        write(disk, 0, 3)
        gone = store.create_snapshot(disk).snapshot_id
        store.delete_snapshots([gone])
        ledger = store.ledger()
    for _ in range(2):
        lose_catalog(folder)
        assert rebuild(folder, seams).snapshots == 0
    with Store.open(folder, seams) as store:
        assert store.ledger() == ledger
        with pytest.raises(NotFoundError):
            store.get_snapshot(gone)
        next_one = store.create_snapshot(disk)
        assert next_one.full_size_bytes == BLOCK_SIZE
        assert store.check(data=True).findings == ()


def test_old_catalog_is_set_aside(folder: Path, seams: Seams) -> None:
    with Store.create(folder, seams) as store:
        make_a_life(store)
        before = everything_told(store)
    for number in (1, 2):
        database = (folder / "catalog" / "data.mdb").read_bytes()
        assert rebuild(folder, seams).old_catalog == f"catalog.old-{number}"
        assert (folder / f"catalog.old-{number}" / "data.mdb").read_bytes() == database
    with Store.open(folder, seams) as store:
        assert everything_told(store) == before


def test_open_store_is_not_rebuilt(folder: Path, seams: Seams) -> None:
    with Store.create(folder, seams) as store:
        disk = MemorySource("memory:disk", BLOCK_SIZE)
        store.create_snapshot(disk)
        with pytest.raises(ConflictError) as caught:
            rebuild(folder, seams)
        assert caught.value.code is ErrorCode.STORE_IN_USE


def test_handle_from_before_writes_nothing(folder: Path, seams: Seams) -> None:
    """It has not written yet, so it holds no lock; what it wrote would be lost."""
    disk = MemorySource("memory:disk", BLOCK_SIZE)
    with Store.create(folder, seams) as store:
        rebuild(folder, seams)
        with pytest.raises(StoreError, match="open the store again"):
            store.create_snapshot(disk)


def test_whole_new_catalog_is_put_in_place_by_the_next_opener(folder: Path, seams: Seams) -> None:
    with Store.create(folder, seams) as store:
        make_a_life(store)
        before = everything_told(store)
    (folder / "catalog").rename(folder / "catalog.ready")
    with Store.open(folder, seams) as store:
        assert everything_told(store) == before


def test_managed_volumes_are_there_again(folder: Path, seams: Seams) -> None:
    with Store.create(folder, seams) as store:
        made = store.volumes.create(VolumeRequest(size_gib=1, tags={"a": "b"}))
        with store.volumes.open(made.volume_id) as file:
            file.pwrite(palette_block(4), 0)
            file.pwrite(palette_block(5), BLOCK_SIZE)
        first = store.create_snapshots([made.volume_id])[0]
        store.wait_snapshots([first.snapshot_id])
        copy = store.volumes.create(VolumeRequest(snapshot_id=first.snapshot_id))
        with store.volumes.open(copy.volume_id) as file:
            file.pwrite(palette_block(6), 0)
        with store.volumes.open(made.volume_id) as file:
            file.pwrite(palette_block(7), 2 * BLOCK_SIZE)
        gone = store.volumes.create(VolumeRequest(size_gib=1))
        store.volumes.delete(gone.volume_id)
        before = everything_told(store)
    lose_catalog(folder)
    assert rebuild(folder, seams).findings == ()
    with Store.open(folder, seams) as store:
        assert everything_told(store) == before
        assert store.check(data=True).findings == ()
        with store.volumes.open(made.volume_id) as file:
            assert file.pread(BLOCK_SIZE, 2 * BLOCK_SIZE) == palette_block(7)
        with store.volumes.open(copy.volume_id) as file:
            assert file.pread(BLOCK_SIZE, 0) == palette_block(6)
            assert file.pread(BLOCK_SIZE, BLOCK_SIZE) == palette_block(5)
        begun = store.create_snapshots([made.volume_id, copy.volume_id])
        done = store.wait_snapshots([each.snapshot_id for each in begun])
        assert [each.incremental_size_bytes for each in done] == [BLOCK_SIZE, BLOCK_SIZE]
        assert store.read_block(done[1].snapshot_id, 1) == palette_block(5)
        assert store.check(data=True).findings == ()


def test_volume_being_loaded_is_as_it_was(folder: Path, seams: Seams) -> None:
    """What was discarded, and what was written beside zeros, is not loaded again."""
    with Store.create(folder, seams) as store:
        first = store.volumes.create(VolumeRequest(size_gib=1))
        with store.volumes.open(first.volume_id) as file:
            file.pwrite(palette_block(4), 0)
            file.pwrite(bytes(BLOCK_SIZE), BLOCK_SIZE)
            file.pwrite(palette_block(8), 2 * BLOCK_SIZE)
        shown = store.create_snapshots([first.volume_id])[0]
        store.wait_snapshots([shown.snapshot_id])
        copy = store.volumes.create(VolumeRequest(snapshot_id=shown.snapshot_id))
        with store.volumes.open(copy.volume_id) as file:
            file.discard(0, BLOCK_SIZE)
            file.pwrite(b"some", BLOCK_SIZE + 777)
    lose_catalog(folder)
    assert rebuild(folder, seams).findings == ()
    with Store.open(folder, seams) as store:
        assert store.volumes.get(copy.volume_id).initialization_percent < 100
        with store.volumes.open(copy.volume_id) as file:
            assert file.pread(BLOCK_SIZE, 0) == bytes(BLOCK_SIZE)
            assert file.pread(8, BLOCK_SIZE + 775) == b"\0\0some\0\0"
            assert file.pread(BLOCK_SIZE, 2 * BLOCK_SIZE) == palette_block(8)
        store.volumes.initialize(copy.volume_id)
        with store.volumes.open(copy.volume_id) as file:
            assert file.pread(8, BLOCK_SIZE + 775) == b"\0\0some\0\0"


def test_full_snapshot_of_a_volume_being_loaded_keeps_what_it_shares(
    folder: Path, seams: Seams
) -> None:
    """What it was made from is deleted; its map is the snapshot's too, and goes with the volume."""
    with Store.create(folder, seams) as store:
        disk = MemorySource("memory:disk", 3 * BLOCK_SIZE)
        write(disk, 0, 4)
        write(disk, 1, 8)
        origin = store.create_snapshot(disk).snapshot_id
        made = store.volumes.create(VolumeRequest(snapshot_id=origin, size_gib=1)).volume_id
        store.delete_snapshots([origin])
        with store.volumes.open(made) as file:
            file.pwrite(palette_block(12), BLOCK_SIZE)
        shown = store.create_snapshot(made)
        store.wait_snapshots([shown.snapshot_id])
    lose_catalog(folder)
    assert rebuild(folder, seams).findings == ()
    with Store.open(folder, seams) as store:
        store.volumes.delete(made)
        assert store.read_block(shown.snapshot_id, 0) == palette_block(4)
        assert store.read_block(shown.snapshot_id, 1) == palette_block(12)
        assert store.check(data=True).findings == ()
        store.delete_snapshots([shown.snapshot_id])
        assert store.stats().blocks == 0
        assert store.check(data=True).findings == ()
