"""What EBS allows of managed volumes, asked of a whole store: types, modifications, limits."""

import pytest

from ebsim.config import Quotas, SnapshotOptions
from ebsim.engine import Store
from ebsim.errors import ErrorCode
from ebsim.requests import VolumeModificationRequest, VolumeQuery, VolumeRequest
from ebsim.results import ModificationState, SnapshotState, Volume
from ebsim.testing.contents import NOISE
from ebsim.testing.refused import refused
from ebsim.testing.seams import ManualClock
from ebsim.testing.sources import disk_of
from ebsim.units import GIB, KIB


def create(store: Store, size_gib: int = 1, volume_type: str = "gp3") -> Volume:
    return store.volumes.create(VolumeRequest(size_gib=size_gib, volume_type=volume_type))


def grow(store: Store, volume: Volume, size_gib: int) -> ModificationState:
    request = VolumeModificationRequest(size_gib=size_gib)
    return store.volumes.modify(volume.volume_id, request).state


def test_volume_says_what_it_is_after_reopening(store: Store) -> None:
    volume = create(store, 100)
    path = store.path
    store.close()

    with Store.open(path) as again:
        assert again.volumes.get(volume.volume_id) == volume
        assert again.volumes.list() == [volume]
        assert again.volumes.describe().volumes == (volume,)


def test_refused_volume_leaves_nothing(store: Store) -> None:
    for request, code in [
        (VolumeRequest(), ErrorCode.MISSING_PARAMETER),
        (VolumeRequest(size_gib=0), ErrorCode.INVALID_PARAMETER_VALUE),
        (VolumeRequest(size_gib=1, volume_type="gp9"), ErrorCode.UNKNOWN_VOLUME_TYPE),
        (VolumeRequest(size_gib=1, zone="mars-1a"), ErrorCode.INVALID_ZONE_NOT_FOUND),
        (
            VolumeRequest(snapshot_id="snap-00000000000000000"),
            ErrorCode.INVALID_SNAPSHOT_NOT_FOUND,
        ),
        (VolumeRequest(snapshot_id="snap-1"), ErrorCode.INVALID_SNAPSHOT_ID_MALFORMED),
    ]:
        assert refused(lambda request=request: store.volumes.create(request)) is code  # type: ignore[misc]
    assert store.volumes.list() == []


def test_volume_is_not_smaller_than_its_snapshot(store: Store) -> None:
    source = create(store, 2)
    taken = store.create_snapshot(source.volume_id)
    store.wait_snapshots([taken.snapshot_id])

    small = VolumeRequest(size_gib=1, snapshot_id=taken.snapshot_id)
    assert refused(lambda: store.volumes.create(small)) is ErrorCode.INVALID_PARAMETER_VALUE
    same = store.volumes.create(VolumeRequest(snapshot_id=taken.snapshot_id))
    assert (same.size_bytes, same.snapshot_id) == (2 * GIB, taken.snapshot_id)


def test_volume_from_a_scanned_source_has_whole_gib(store: Store) -> None:
    taken = store.create_snapshot(disk_of(NOISE))

    volume = store.volumes.create(VolumeRequest(snapshot_id=taken.snapshot_id))

    assert volume.size_bytes == GIB


def test_scanned_source_is_no_volume(store: Store) -> None:
    scanned = store.create_snapshot(disk_of(NOISE)).volume_id

    assert store.volumes.list() == []
    for call in (
        lambda: store.volumes.get(scanned),
        lambda: store.volumes.list(VolumeQuery(volume_ids=[scanned])),
        lambda: store.volumes.open(scanned),
        lambda: store.volumes.delete(scanned),
        lambda: store.volumes.modify(scanned, VolumeModificationRequest(size_gib=2)),
    ):
        assert refused(call) is ErrorCode.INVALID_VOLUME_NOT_FOUND


def test_grown_volume_can_be_used_at_once_and_ends_in_zeros(store: Store) -> None:
    volume = create(store)
    with store.volumes.open(volume.volume_id) as file:
        file.pwrite(b"end", GIB - 3)

        assert grow(store, volume, 2) is ModificationState.COMPLETED

        assert file.size == 2 * GIB
        assert file.pread(4 * KIB, GIB - 3) == b"end" + bytes(4 * KIB - 3)
        file.pwrite(b"new", 2 * GIB - 3)
    assert store.volumes.get(volume.volume_id).size_bytes == 2 * GIB


def test_growing_changes_no_earlier_snapshot(store: Store) -> None:
    volume = create(store)
    before = store.create_snapshot(volume.volume_id)
    store.wait_snapshots([before.snapshot_id])
    grow(store, volume, 3)
    after = store.create_snapshot(volume.volume_id)
    store.wait_snapshots([after.snapshot_id])

    shown = [store.get_snapshot(each.snapshot_id) for each in (before, after)]

    assert [each.size_bytes for each in shown] == [GIB, 3 * GIB]
    assert shown[1].parent_id == before.snapshot_id


def test_modifications_obey_the_clock_and_the_quotas(store: Store, clock: ManualClock) -> None:
    store.quotas = Quotas(modification_s=3600, modifications_per_day=2)
    volume = create(store)

    assert grow(store, volume, 2) is ModificationState.MODIFYING
    code = refused(lambda: grow(store, volume, 3))
    assert code is ErrorCode.INCORRECT_MODIFICATION_STATE
    clock.advance(1800)
    (half,) = store.volumes.modifications([volume.volume_id])
    assert (half.state, half.progress_percent) == (ModificationState.OPTIMIZING, 50)
    clock.advance(1800)
    grow(store, volume, 3)
    clock.advance(3600)

    code = refused(lambda: grow(store, volume, 4))
    assert code is ErrorCode.VOLUME_MODIFICATION_RATE_EXCEEDED
    assert store.volumes.get(volume.volume_id).size_bytes == 3 * GIB


def test_quotas_belong_to_the_store(store: Store) -> None:
    store.quotas = Quotas(storage_gib_per_type=5)
    path = store.path
    create(store, 5)
    store.close()

    with Store.open(path) as again:
        assert again.quotas == Quotas(storage_gib_per_type=5)
        assert refused(lambda: create(again)) is ErrorCode.VOLUME_LIMIT_EXCEEDED
        create(again, volume_type="gp2")


@pytest.mark.parametrize("name", ["snapshot_spacing_s", "modification_s"])
def test_negative_quota_is_refused(store: Store, name: str) -> None:
    wanted = Quotas(**{name: -1})

    assert refused(lambda: setattr(store, "quotas", wanted)) is ErrorCode.INVALID_PARAMETER_VALUE


def test_region_has_room_for_so_many_snapshots(store: Store) -> None:
    store.quotas = Quotas(snapshots_per_region=1)
    volume = create(store)
    taken = store.create_snapshot(volume.volume_id, SnapshotOptions(description="first"))
    (done,) = store.wait_snapshots([taken.snapshot_id])
    assert done.state is SnapshotState.COMPLETED

    code = refused(lambda: store.create_snapshot(volume.volume_id))

    assert code is ErrorCode.SNAPSHOT_LIMIT_EXCEEDED
