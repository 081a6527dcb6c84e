"""Accounts and Regions: what each sees, and what it may do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ebsim.caller import Caller
from ebsim.config import Quotas, SnapshotOptions
from ebsim.engine import Seams, Store
from ebsim.errors import ErrorCode
from ebsim.requests import (
    BlockDevice,
    PruneOptions,
    SnapshotQuery,
    VolumeModificationRequest,
    VolumeQuery,
    VolumeRequest,
)
from ebsim.testing.contents import NOISE, TEXT
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.refused import refused
from ebsim.testing.sources import disk_of

OTHER = "111122223333"


@pytest.fixture
def other(store: Store) -> Store:
    return store.as_account(OTHER)


def every_use_of_a_snapshot(store: Store, snapshot_id: str, folder: Path) -> list[ErrorCode]:
    """Return how each operation on a snapshot is refused."""
    device = {"/dev/sda": BlockDevice(snapshot_id=snapshot_id)}
    branch = SnapshotOptions(parent=snapshot_id)  # type: ignore[arg-type]
    calls: list[Callable[[], object]] = [
        lambda: store.get_snapshot(snapshot_id),
        lambda: store.read_block(snapshot_id, 0),
        lambda: store.diff_snapshots(snapshot_id, snapshot_id),
        lambda: store.restore_snapshot(snapshot_id, folder / "out"),
        lambda: store.delete_snapshots([snapshot_id]),
        lambda: store.delete_snapshots([snapshot_id], dry_run=True),
        lambda: store.snapshot_history(snapshot_id),
        lambda: store.wait_snapshots([snapshot_id]),
        lambda: store.tags.create([snapshot_id], {"a": "b"}),
        lambda: store.tags.delete([snapshot_id]),
        lambda: store.volumes.create(VolumeRequest(snapshot_id=snapshot_id)),
        lambda: store.create_snapshot(disk_of(TEXT, name="another"), branch),
        lambda: store.images.register("image", device),
    ]
    return [refused(call) for call in calls]


def every_use_of_a_volume(store: Store, volume_id: str) -> list[ErrorCode]:
    """Return how each operation on a volume is refused."""
    larger = VolumeModificationRequest(size_gib=2)
    calls: list[Callable[[], object]] = [
        lambda: store.volumes.get(volume_id),
        lambda: store.volumes.list(VolumeQuery(volume_ids=[volume_id])),
        lambda: store.volumes.open(volume_id),
        lambda: store.volumes.modify(volume_id, larger),
        lambda: store.volumes.modifications([volume_id]),
        lambda: store.volumes.initialize(volume_id),
        lambda: store.volumes.delete(volume_id),
        lambda: store.create_snapshot(volume_id),
        lambda: store.create_snapshots([volume_id]),
        lambda: store.tags.create([volume_id], {"a": "b"}),
        lambda: store.prune(PruneOptions(volume_ids=(volume_id,), keep_last=1)),
    ]
    return [refused(call) for call in calls]


def make_everything(store: Store) -> tuple[str, str, str]:
    """Make a snapshot, a volume and an image, with tags; return their ids."""
    snapshot = store.create_snapshot(disk_of(NOISE), SnapshotOptions(tags={"mine": "1"}))
    volume = store.volumes.create(VolumeRequest(size_gib=1, tags={"mine": "1"}))
    device = {"/dev/sda": BlockDevice(snapshot_id=snapshot.snapshot_id)}
    image = store.images.register("image", device)
    return snapshot.snapshot_id, volume.volume_id, image.image_id


def assert_sees_nothing(other: Store, made: tuple[str, str, str], folder: Path) -> None:
    snapshot_id, volume_id, image_id = made
    assert other.list_snapshots() == []
    assert other.volumes.list() == []
    assert other.volumes.modifications() == []
    assert other.images.list() == ()
    assert other.tags.list() == []
    codes = every_use_of_a_snapshot(other, snapshot_id, folder)
    assert set(codes) == {ErrorCode.INVALID_SNAPSHOT_NOT_FOUND}
    assert set(every_use_of_a_volume(other, volume_id)) == {ErrorCode.INVALID_VOLUME_NOT_FOUND}
    for call in (other.images.get, other.images.disable, other.images.deregister):
        code = refused(lambda call=call: call(image_id))  # type: ignore[misc]
        assert code is ErrorCode.INVALID_IMAGE_NOT_FOUND
    assert not other.prune(PruneOptions(keep_last=1)).pruned


def test_what_another_account_has_does_not_exist(
    store: Store, other: Store, tmp_path: Path
) -> None:
    made = make_everything(store)

    assert_sees_nothing(other, made, tmp_path)
    assert other.list_snapshots(SnapshotQuery(snapshot_ids=made[:1])) == [], "it is left out"

    (shown,) = store.list_snapshots()
    assert (shown.snapshot_id, shown.tags) == (made[0], {"mine": "1"})
    assert store.read_block(made[0], 0) == NOISE
    assert len(store.volumes.list()) == len(store.images.list()) == 1
    assert_healthy(store)


def test_what_lies_in_another_region_does_not_exist(store: Store, tmp_path: Path) -> None:
    made = make_everything(store)

    there = store.as_account(region="eu-central-1")
    assert_sees_nothing(there, made, tmp_path)
    code = refused(lambda: there.list_snapshots(SnapshotQuery(snapshot_ids=made[:1])))
    assert code is ErrorCode.INVALID_SNAPSHOT_NOT_FOUND

    assert_healthy(store)


def test_what_an_account_makes_is_its_own(store: Store, other: Store) -> None:
    snapshot_id, volume_id, image_id = make_everything(other)
    pending = other.create_snapshot(volume_id)
    (ended,) = other.wait_snapshots([pending.snapshot_id])

    assert store.list_snapshots() == []
    assert other.get_snapshot(snapshot_id).owner == ended.owner == OTHER
    assert other.images.get(image_id).owner == OTHER
    assert [event.account for event in other.events()] == [OTHER] * len(other.events())
    assert other.events()
    assert store.events() == []
    owned = SnapshotQuery(owner_ids=["self"])
    assert len(other.list_snapshots(owned)) == 2


def test_volume_lies_in_a_zone_of_its_region(store: Store) -> None:
    there = store.as_account(region="eu-central-1")

    assert there.volumes.create(VolumeRequest(size_gib=1)).zone == "eu-central-1a"
    code = refused(lambda: there.volumes.create(VolumeRequest(size_gib=1, zone="us-east-1a")))
    assert code is ErrorCode.INVALID_ZONE_NOT_FOUND


def test_one_image_read_by_two_accounts_has_two_volumes(store: Store, other: Store) -> None:
    disk = disk_of(NOISE)
    first = store.create_snapshot(disk)
    theirs = other.create_snapshot(disk)
    disk.write(0, TEXT)
    second = store.create_snapshot(disk)

    assert second.volume_id == first.volume_id != theirs.volume_id
    assert second.parent_id == first.snapshot_id
    assert theirs.parent_id is None
    code = refused(lambda: other.create_snapshot(disk, SnapshotOptions(volume_id=first.volume_id)))
    assert code is ErrorCode.INVALID_VOLUME_NOT_FOUND
    assert_healthy(store)


def test_quotas_count_for_each_account(store: Store, other: Store) -> None:
    store.quotas = Quotas(snapshots_per_region=1, storage_gib_per_type=1)
    for each in (store, other):
        volume = each.volumes.create(VolumeRequest(size_gib=1))
        each.wait_snapshots([each.create_snapshot(volume.volume_id).snapshot_id])
        code = refused(lambda each=each: each.volumes.create(VolumeRequest(size_gib=1)))  # type: ignore[misc]
        assert code is ErrorCode.VOLUME_LIMIT_EXCEEDED
        code = refused(
            lambda each=each, volume=volume: each.create_snapshot(volume.volume_id)  # type: ignore[misc]
        )
        assert code is ErrorCode.SNAPSHOT_LIMIT_EXCEEDED


@pytest.mark.parametrize("account", ["", "self", "12345678901", "1234567890123", "12345678901x"])
def test_account_has_twelve_digits(store: Store, account: str) -> None:
    if account:
        code = refused(lambda: store.as_account(account))
        assert code is ErrorCode.INVALID_USER_ID_MALFORMED
    else:
        assert store.as_account(account).caller == Caller()


@pytest.mark.parametrize("region", ["us", "US-EAST-1", "us-east", "us-east-1a", "../x", "mars"])
def test_region_has_the_form_of_one(store: Store, region: str) -> None:
    code = refused(lambda: store.as_account(region=region))
    assert code is ErrorCode.INVALID_PARAMETER_VALUE


def test_closing_what_acts_for_another_account_closes_nothing(store: Store, other: Store) -> None:
    with other:
        made = other.create_snapshot(disk_of(NOISE))
    assert other.read_block(made.snapshot_id, 0) == NOISE
    assert store.list_snapshots() == []


def test_accounts_are_there_again_after_a_rebuild(
    store: Store, store_path: Path, seams: Seams
) -> None:
    disk = disk_of(NOISE)
    kept = {}
    for account in (OTHER, "444455556666"):
        acting = store.as_account(account, "eu-central-1")
        acting.create_snapshot(disk)
        kept[account] = acting.list_snapshots()
    store.close()
    Store.rebuild(store_path, seams)

    with Store.open(store_path, seams) as again:
        for account, snapshots in kept.items():
            acting = again.as_account(account, "eu-central-1")
            assert acting.list_snapshots() == snapshots
            assert acting.create_snapshot(disk).parent_id == snapshots[0].snapshot_id
        assert again.list_snapshots() == []
        assert_healthy(again)
