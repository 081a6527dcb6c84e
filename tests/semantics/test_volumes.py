"""Which volume a source is: remembered, grown, shrunken, moved, branched; and what is no source."""

import os
from pathlib import Path

import pytest

from ebsim.config import SnapshotOptions
from ebsim.engine import Store
from ebsim.errors import (
    EbsimError,
    ErrorCode,
    InvalidInputError,
    NotFoundError,
)
from ebsim.ids import SnapshotId, VolumeId
from ebsim.results import Snapshot
from ebsim.testing.contents import HEAD, NOISE, TEXT
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE


def image_of(store: Store, shown: Snapshot, folder: Path) -> bytes:
    target = folder / "image"
    store.restore_snapshot(shown.snapshot_id, target, force=True)
    return target.read_bytes()


def test_volume_is_remembered_by_the_real_path(
    store: Store, fast_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fast_path / "disk.img"
    path.write_bytes(NOISE)
    link = fast_path / "link.img"
    link.symlink_to(path)
    monkeypatch.chdir(fast_path)

    shown = [store.create_snapshot(name) for name in (path, str(link), "disk.img", "./link.img")]

    assert len({each.volume_id for each in shown}) == 1
    assert [each.parent_id for each in shown] == [None, *(each.snapshot_id for each in shown[:3])]
    assert {each.source for each in shown} == {os.path.realpath(path)}


def test_another_path_is_another_volume(store: Store, fast_path: Path) -> None:
    for name in ("one.img", "two.img"):
        (fast_path / name).write_bytes(NOISE)

    one, two = (store.create_snapshot(fast_path / name) for name in ("one.img", "two.img"))

    assert one.volume_id != two.volume_id
    assert two.parent_id is None
    with pytest.raises(InvalidInputError) as caught:
        store.diff_snapshots(one.snapshot_id, two.snapshot_id)
    assert caught.value.code is ErrorCode.UNRELATED_SNAPSHOTS


def test_moved_source_continues_the_volume_that_is_named(store: Store, fast_path: Path) -> None:
    path = fast_path / "disk.img"
    path.write_bytes(NOISE + TEXT)
    first = store.create_snapshot(path)
    moved = path.rename(fast_path / "moved.img")

    second = store.create_snapshot(moved, SnapshotOptions(volume_id=first.volume_id))
    third = store.create_snapshot(moved)

    assert second.volume_id == third.volume_id == first.volume_id
    assert second.parent_id == first.snapshot_id
    assert third.parent_id == second.snapshot_id
    assert second.incremental_size_bytes == 0


@pytest.mark.parametrize(
    ("volume_id", "kind", "code"),
    [
        ("vol-00000000000000000", NotFoundError, ErrorCode.INVALID_VOLUME_NOT_FOUND),
        ("vol-../etc", InvalidInputError, ErrorCode.INVALID_VOLUME_ID_MALFORMED),
        ("disk", InvalidInputError, ErrorCode.INVALID_PARAMETER_VALUE),
    ],
)
def test_volume_that_is_unknown_is_refused(
    store: Store, volume_id: str, kind: type[EbsimError], code: ErrorCode
) -> None:
    with pytest.raises(kind) as caught:
        store.create_snapshot(disk_of(NOISE), SnapshotOptions(volume_id=VolumeId(volume_id)))

    assert caught.value.code is code
    assert store.list_snapshots() == []


def test_branch_is_refused_for_a_source_that_has_a_volume(store: Store) -> None:
    disk = disk_of(NOISE)
    first = store.create_snapshot(disk)

    with pytest.raises(InvalidInputError) as caught:
        store.create_snapshot(disk, SnapshotOptions(parent=first.snapshot_id))

    assert caught.value.code is ErrorCode.INVALID_PARAMETER_COMBINATION
    assert len(store.list_snapshots()) == 1


def test_branch_of_a_known_source_starts_with_a_new_volume(store: Store) -> None:
    disk = disk_of(NOISE, TEXT)
    first = store.create_snapshot(disk)
    disk.put(1, HEAD)
    options = SnapshotOptions(parent=first.snapshot_id, new_volume=True)

    branch = store.create_snapshot(disk, options)

    assert branch.parent_id == first.snapshot_id
    assert branch.volume_id != first.volume_id
    assert branch.charged_size_bytes == BLOCK_SIZE


def test_branch_and_volume_exclude_each_other(store: Store) -> None:
    first = store.create_snapshot(disk_of(NOISE))
    options = SnapshotOptions(parent=first.snapshot_id, volume_id=first.volume_id)

    with pytest.raises(InvalidInputError) as caught:
        store.create_snapshot(disk_of(NOISE, name="memory:other"), options)

    assert caught.value.code is ErrorCode.INVALID_PARAMETER_COMBINATION


def test_branch_of_an_unknown_snapshot_is_refused(store: Store) -> None:
    options = SnapshotOptions(parent=SnapshotId("snap-00000000000000000"))

    with pytest.raises(NotFoundError) as caught:
        store.create_snapshot(disk_of(NOISE), options)

    assert caught.value.code is ErrorCode.INVALID_SNAPSHOT_NOT_FOUND
    assert store.list_snapshots() == []


def test_parent_is_the_youngest_live_snapshot_of_the_volume(store: Store) -> None:
    disk = disk_of(NOISE)
    first, second = store.create_snapshot(disk), store.create_snapshot(disk)
    store.delete_snapshots([second.snapshot_id])
    third = store.create_snapshot(disk)
    store.delete_snapshots([first.snapshot_id, third.snapshot_id])
    fourth = store.create_snapshot(disk)

    assert third.parent_id == first.snapshot_id
    assert fourth.parent_id is None
    assert fourth.charged_size_bytes == BLOCK_SIZE
    assert fourth.volume_id == first.volume_id


def test_grown_source_continues_its_lineage(store: Store, fast_path: Path) -> None:
    path = fast_path / "disk.img"
    path.write_bytes(NOISE + b"x" * 100)
    first = store.create_snapshot(path)
    path.write_bytes(NOISE + b"x" * 100 + b"y" * BLOCK_SIZE)

    second = store.create_snapshot(path)

    assert second.volume_id == first.volume_id
    assert second.parent_id == first.snapshot_id
    assert second.size_bytes == 2 * BLOCK_SIZE + 100
    assert second.incremental_size_bytes == 2 * BLOCK_SIZE
    assert image_of(store, first, fast_path) == NOISE + b"x" * 100
    assert image_of(store, second, fast_path) == path.read_bytes()
    assert store.diff_snapshots(first.snapshot_id, second.snapshot_id).ranges == ((1, 3),)


def test_growth_by_zeros_alone_is_charged_nothing(store: Store) -> None:
    disk = disk_of(NOISE, b"end")
    store.create_snapshot(disk)
    disk.grow(5 * BLOCK_SIZE)

    second = store.create_snapshot(disk)

    assert second.size_bytes == 5 * BLOCK_SIZE
    assert second.incremental_size_bytes == 0
    assert second.full_size_bytes == 2 * BLOCK_SIZE


def test_shrunken_source_is_refused(store: Store, fast_path: Path) -> None:
    path = fast_path / "disk.img"
    path.write_bytes(NOISE + TEXT)
    first = store.create_snapshot(path)
    path.write_bytes(NOISE + TEXT[:-1])

    with pytest.raises(InvalidInputError) as caught:
        store.create_snapshot(path)

    assert caught.value.code is ErrorCode.SOURCE_SHRUNK
    assert store.list_snapshots() == [first]


def test_shrunken_source_may_start_a_new_volume(store: Store, fast_path: Path) -> None:
    path = fast_path / "disk.img"
    path.write_bytes(NOISE + TEXT)
    first = store.create_snapshot(path)
    path.write_bytes(NOISE)

    second = store.create_snapshot(path, SnapshotOptions(new_volume=True))
    third = store.create_snapshot(path)

    assert second.volume_id != first.volume_id
    assert second.parent_id is None
    assert second.charged_size_bytes == BLOCK_SIZE
    assert third.volume_id == second.volume_id
    assert third.parent_id == second.snapshot_id
    assert image_of(store, first, fast_path) == NOISE + TEXT


def test_missing_source_is_refused(store: Store, fast_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        store.create_snapshot(fast_path / "absent.img")

    assert caught.value.code is ErrorCode.SOURCE_NOT_FOUND
    assert store.list_snapshots() == []


def test_directory_is_no_source(store: Store, fast_path: Path) -> None:
    with pytest.raises(EbsimError) as caught:
        store.create_snapshot(fast_path)

    assert caught.value.code is ErrorCode.SOURCE_UNSUPPORTED
    assert store.list_snapshots() == []
