"""Managed volumes in the Recycle Bin: kept with their data (sections 3.5 and 7.2)."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ebsim.core.bin_stays import BIN_TAG
from ebsim.engine import Seams, Store
from ebsim.errors import ErrorCode, SourceError
from ebsim.policies import CreateRule, PolicyRequest, RetainRule, Schedule
from ebsim.progress import SilentProgress
from ebsim.recycle_bin import BinQuery, RuleRequest, RuleResourceType
from ebsim.requests import TagQuery, VolumeModificationRequest, VolumeQuery, VolumeRequest
from ebsim.results import VolumeState
from ebsim.testing.contents import HEAD, NOISE, TEXT
from ebsim.testing.held_copies import HeldCopies
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.refused import refused
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE

DAY_US = 24 * 3600 * 1_000_000
GONE = ErrorCode.INVALID_VOLUME_NOT_FOUND


def keep_volumes(store: Store, **tags: str) -> None:
    kind = RuleResourceType.EBS_VOLUME
    wanted = RuleRequest(resource_type=kind, retention_days=7, resource_tags=[*tags.items()])
    store.recycle_bin.rules.create(wanted)


def written(store: Store, **tags: str) -> str:
    """Return a volume with a block of noise."""
    volume = store.volumes.create(VolumeRequest(size_gib=1, tags=tags)).volume_id
    with store.volumes.open(volume) as file:
        file.pwrite(NOISE, BLOCK_SIZE)
    return volume


def read(store: Store, volume: str) -> bytes:
    with store.volumes.open(volume) as file:
        return file.pread(BLOCK_SIZE, BLOCK_SIZE)


def binned(store: Store) -> list[str]:
    return [each.volume_id for each in store.recycle_bin.volumes().volumes]


def test_deleted_volume_comes_back_with_its_data(store: Store, clock: ManualClock) -> None:
    keep_volumes(store)
    volume = written(store, a="b")
    before = store.volumes.get(volume)

    assert store.volumes.delete(volume) is VolumeState.RECOVERABLE

    (shown,) = store.recycle_bin.volumes().volumes
    assert (shown.volume_id, shown.size_bytes, shown.volume_type) == (
        volume,
        before.size_bytes,
        before.volume_type,
    )
    assert shown.exit_time_us == clock.now_us() + 7 * DAY_US
    tags = {tag.key: tag.value for tag in store.tags.list(TagQuery(resource_ids=[volume]))}
    assert tags == {"a": "b", BIN_TAG: "true"}
    assert_healthy(store)
    assert store.recycle_bin.restore_volume(volume) == before == store.volumes.get(volume)
    assert read(store, volume) == NOISE
    assert binned(store) == []
    assert refused(lambda: store.recycle_bin.restore_volume(volume)) is GONE
    assert_healthy(store)


def test_volume_in_the_bin_is_in_nothing_else(store: Store) -> None:
    keep_volumes(store)
    volume = written(store)
    store.volumes.delete(volume)
    larger = VolumeModificationRequest(size_gib=2)
    operations: list[Callable[[], object]] = [
        lambda: store.volumes.get(volume),
        lambda: store.volumes.list(VolumeQuery(volume_ids=[volume])),
        lambda: store.volumes.open(volume),
        lambda: store.volumes.modify(volume, larger),
        lambda: store.volumes.modifications([volume]),
        lambda: store.volumes.initialize(volume),
        lambda: store.volumes.delete(volume),
        lambda: store.create_snapshot(volume),
        lambda: store.create_snapshots([volume]),
        lambda: store.as_account("111122223333").recycle_bin.restore_volume(volume),
    ]

    assert [refused(each) for each in operations] == [GONE] * len(operations)
    assert store.volumes.list() == []
    assert binned(store) == [volume]


def test_volume_that_no_rule_keeps_goes_for_good(store: Store) -> None:
    keep_volumes(store, keep="yes")
    volume = written(store, keep="no")

    assert store.volumes.delete(volume) is VolumeState.DELETED
    assert binned(store) == []


def test_volume_is_kept_for_seven_days_at_most(store: Store) -> None:
    """Section 0: M:rbin's text, 1 to 7 days."""
    kind = RuleResourceType.EBS_VOLUME
    for days in (0, 8):
        wanted = RuleRequest(resource_type=kind, retention_days=days)
        code = refused(lambda wanted=wanted: store.recycle_bin.rules.create(wanted))  # type: ignore[misc]
        assert code is ErrorCode.VALIDATION


def test_volume_goes_for_good_when_its_time_is_over(
    store: Store, store_path: Path, seams: Seams, clock: ManualClock
) -> None:
    """Nobody finds it from then on; its files go when the store is opened next."""
    keep_volumes(store)
    volume = written(store)
    store.volumes.delete(volume)
    clock.advance(days=7)

    assert binned(store) == []
    assert refused(lambda: store.recycle_bin.restore_volume(volume)) is GONE
    assert refused(lambda: store.recycle_bin.volumes(BinQuery(resource_ids=[volume]))) is GONE
    assert refused(lambda: store.volumes.get(volume)) is GONE
    assert store.volumes.list() == []
    assert_healthy(store)
    store.close()
    with Store.open(store_path, seams) as again:
        assert again.stats().volumes == 0
        assert not list((store_path / "volumes").iterdir())
        assert_healthy(again)
        told = [each.detail["event"] for each in again.events() if "event" in each.detail]
        assert told == ["createVolume", "recycleVolume", "recycleBinExpiry", "deleteVolume"]


def test_volume_from_a_snapshot_comes_back_and_is_loaded(store: Store, clock: ManualClock) -> None:
    keep_volumes(store)
    snapshot = store.create_snapshot(disk_of(TEXT, NOISE)).snapshot_id
    volume = store.volumes.create(VolumeRequest(snapshot_id=snapshot)).volume_id
    store.volumes.delete(volume)
    store.delete_snapshots([snapshot])
    assert_healthy(store)

    store.recycle_bin.restore_volume(volume)

    assert read(store, volume) == NOISE
    assert_healthy(store)


def test_pending_snapshot_of_a_volume_in_the_bin_is_completed(
    store_path: Path, clock: ManualClock
) -> None:
    """Section 1.2: deleting the volume has no effect on the snapshot, nor the other way."""
    copies = HeldCopies(holding=True)
    seams = Seams(clock=clock, entropy=SeededEntropy(), before_copy=copies)
    with Store.create(store_path, seams) as store:
        keep_volumes(store)
        volume = written(store)
        (pending,) = store.create_snapshots([volume])
        assert store.volumes.delete(volume) is VolumeState.RECOVERABLE
        copies.release_all()
        store.wait_snapshots([pending.snapshot_id])
        assert store.read_block(pending.snapshot_id, 1) == NOISE
        store.recycle_bin.restore_volume(volume)
        with store.volumes.open(volume) as file:
            file.pwrite(HEAD, 0)
        (second,) = store.create_snapshots([volume])
        (second,) = store.wait_snapshots([second.snapshot_id])
        assert second.parent_id == pending.snapshot_id
        assert second.incremental_size_bytes == BLOCK_SIZE
        assert_healthy(store)


def test_policies_leave_volumes_in_the_bin_alone(store: Store, clock: ManualClock) -> None:
    keep_volumes(store)
    volume = written(store, Backup="yes")
    daily = Schedule(
        name="daily",
        create=CreateRule(interval_hours=24, time="00:00"),
        retain=RetainRule(count=1),
    )
    wanted = (("Backup", "yes"),)
    store.lifecycle.put(PolicyRequest(description="d", target_tags=wanted, schedules=(daily,)))
    store.volumes.delete(volume)
    clock.advance(days=1)

    assert store.lifecycle.run().created == ()


def test_volumes_in_the_bin_outlive_the_catalog(
    store: Store, store_path: Path, seams: Seams, clock: ManualClock
) -> None:
    keep_volumes(store)
    volumes = [written(store) for _ in range(3)]
    for volume in volumes:
        store.volumes.delete(volume)
    store.recycle_bin.restore_volume(volumes[2])
    before = (store.recycle_bin.volumes(), store.volumes.list())
    store.close()
    shutil.rmtree(store_path / "catalog")
    Store.rebuild(store_path, seams)

    with Store.open(store_path, seams) as again:
        assert (again.recycle_bin.volumes(), again.volumes.list()) == before
        again.recycle_bin.restore_volume(volumes[0])
        assert read(again, volumes[0]) == read(again, volumes[2]) == NOISE
        assert_healthy(again)
        clock.advance(days=7)
        assert again.recycle_bin.expire() == (volumes[1],)
    shutil.rmtree(store_path / "catalog")
    Store.rebuild(store_path, seams)
    with Store.open(store_path, seams) as again:
        assert binned(again) == []
        assert len(again.volumes.list()) == 2
        assert_healthy(again)


def test_volume_whose_import_failed_is_not_kept(store: Store, tmp_path: Path) -> None:
    """Nobody ever had it."""
    keep_volumes(store)
    image = tmp_path / "disk.img"
    image.write_bytes(b"x" * 100)

    class Broken(SilentProgress):
        def advance(self, amount: int) -> None:
            raise SourceError(f"broken after {amount}", ErrorCode.SOURCE_READ_FAILED)

    with pytest.raises(SourceError):
        store.volumes.import_image(image, progress=Broken())

    assert store.volumes.list() == []
    assert binned(store) == []
