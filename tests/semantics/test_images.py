"""Images: what they hold fast, and what becomes of their snapshots (semantics section 10.1)."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ebsim.engine import Store
from ebsim.errors import ConflictError, EbsimError, ErrorCode, InvalidInputError, NotFoundError
from ebsim.ids import SnapshotId
from ebsim.images import ImageState, SnapshotReturnCode
from ebsim.requests import BlockDevice, Filter, ImageOptions, ImageQuery
from ebsim.testing.contents import HEAD, NOISE, TAIL
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.seams import START_US, ManualClock
from ebsim.testing.sources import FailingSource, disk_of
from ebsim.units import GIB

DAY_S = 86_400
MINUTE_US = 60_000_000
UNKNOWN = "ami-00000000000000000"


@pytest.fixture
def snap(store: Store) -> SnapshotId:
    return store.create_snapshot(disk_of(NOISE)).snapshot_id


def another_snapshot(store: Store, name: str = "memory:other") -> SnapshotId:
    return store.create_snapshot(disk_of(HEAD, TAIL, name=name)).snapshot_id


def refused(act: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(EbsimError) as caught:
        act()
    return caught.value.code.value, str(caught.value)


def test_image_has_what_it_was_registered_with(
    store: Store, snap: SnapshotId, clock: ManualClock
) -> None:
    clock.advance(7)
    data = another_snapshot(store)
    options = ImageOptions(
        description="web tier",
        architecture="arm64",
        root_device_name="/dev/xvda",
        tags={"Name": "web"},
    )

    image = store.images.register(
        "web (1.0)",
        {"/dev/sdf": BlockDevice(data, size_gib=8, volume_type="gp3"), "/dev/xvda": snap},
        options,
    )

    assert image.image_id.startswith("ami-")
    assert len(image.image_id) == len("ami-") + 17
    assert (image.name, image.state) == ("web (1.0)", ImageState.AVAILABLE)
    assert (image.description, image.architecture) == ("web tier", "arm64")
    assert image.root_device_name == "/dev/xvda"
    assert [device.device_name for device in image.devices] == ["/dev/sdf", "/dev/xvda"]
    assert [device.snapshot_id for device in image.devices] == [data, snap]
    assert [(each.size_gib, each.volume_type) for each in image.devices] == [(8, "gp3"), (1, "gp2")]
    assert image.create_time_us == START_US + 7_000_000
    assert dict(image.tags) == {"Name": "web"}
    assert store.images.get(image.image_id) == image
    assert store.images.list() == (image,)
    assert_healthy(store)


def test_first_device_is_the_root_where_none_is_named(store: Store, snap: SnapshotId) -> None:
    assert store.images.register("web", {"/dev/sda1": snap}).root_device_name == "/dev/sda1"


@pytest.mark.parametrize(
    "name", ["abc", "a" * 128, "Az09()[] ./-'@_", "   "], ids=["short", "long", "all", "spaces"]
)
def test_name_may_have_the_characters_of_ec2(store: Store, snap: SnapshotId, name: str) -> None:
    assert store.images.register(name, {"/dev/sda1": snap}).name == name


@pytest.mark.parametrize("name", ["", "ab", "a" * 129, "a:b", "a,b", "größe", "a\nb", "abc\n"])
def test_other_name_is_malformed(store: Store, snap: SnapshotId, name: str) -> None:
    code, _ = refused(lambda: store.images.register(name, {"/dev/sda1": snap}))

    assert code == "InvalidAMIName.Malformed"
    assert store.images.list() == ()


def test_name_is_unique_while_its_image_is_registered(store: Store, snap: SnapshotId) -> None:
    first = store.images.register("web", {"/dev/sda1": snap})
    store.images.disable(first.image_id)

    code, message = refused(lambda: store.images.register("web", {"/dev/sda1": snap}))
    assert code == "InvalidAMIName.Duplicate"
    assert message == f"AMI name web is already in use by AMI {first.image_id}"
    store.images.register("Web", {"/dev/sda1": snap})

    store.images.deregister(first.image_id)
    store.images.register("web", {"/dev/sda1": snap})


def test_snapshots_must_be_there_and_completed(store: Store) -> None:
    unknown = "snap-0123456789abcdef0"
    code, _ = refused(lambda: store.images.register("web", {"/dev/sda1": unknown}))
    assert code == "InvalidSnapshot.NotFound"

    with pytest.raises(EbsimError):
        store.create_snapshot(FailingSource(disk_of(NOISE), unreadable_block=0))
    (failed,) = store.list_snapshots()
    code, _ = refused(lambda: store.images.register("web", {"/dev/sda1": failed.snapshot_id}))
    assert code == "IncorrectState"
    assert store.images.list() == ()


@pytest.mark.parametrize(
    ("devices", "options", "code"),
    [
        ({}, ImageOptions(), ErrorCode.MISSING_PARAMETER),
        ({"": ""}, ImageOptions(), ErrorCode.INVALID_BLOCK_DEVICE_MAPPING),
        (
            {"/dev/sda1": ""},
            ImageOptions(root_device_name="/dev/sdz"),
            ErrorCode.INVALID_BLOCK_DEVICE_MAPPING,
        ),
        (
            {f"/dev/{number}": "" for number in range(129)},
            ImageOptions(),
            ErrorCode.INVALID_BLOCK_DEVICE_MAPPING,
        ),
        ({"/dev/sda1": ""}, ImageOptions(description="x" * 256), ErrorCode.INVALID_PARAMETER_VALUE),
        ({"/dev/sda1": ""}, ImageOptions(architecture="vax"), ErrorCode.INVALID_PARAMETER_VALUE),
        (
            {"/dev/sda1": ""},
            ImageOptions(tags={"aws:x": ""}),
            ErrorCode.INVALID_TAG_KEY_MALFORMED,
        ),
    ],
)
def test_what_ec2_refuses_is_refused(
    store: Store,
    snap: SnapshotId,
    devices: dict[str, str],
    options: ImageOptions,
    code: ErrorCode,
) -> None:
    named = dict.fromkeys(devices, snap)

    with pytest.raises(InvalidInputError) as caught:
        store.images.register("web", named, options)

    assert caught.value.code is code
    assert store.images.list() == ()


def test_volume_of_an_image_is_no_smaller_than_its_snapshot(store: Store, fast_path: Path) -> None:
    disk = fast_path / "disk.img"
    disk.touch()
    os.truncate(disk, GIB + 1)
    big = store.create_snapshot(disk).snapshot_id

    code, message = refused(
        lambda: store.images.register("web", {"/dev/sda1": BlockDevice(big, size_gib=1)})
    )

    assert code == "InvalidBlockDeviceMapping"
    assert message == (f"Volume of size 1GB is smaller than snapshot '{big}', expect size >= 2GB")


@pytest.mark.parametrize("state", ["available", "disabled", "deprecated"])
@pytest.mark.parametrize("dry_run", [False, True])
def test_snapshot_behind_a_registered_image_cannot_be_deleted(
    store: Store, snap: SnapshotId, clock: ManualClock, state: str, dry_run: bool
) -> None:
    """Acceptance: an image in use, and a disabled one, both block the deletion."""
    image = store.images.register("web", {"/dev/sda1": snap})
    if state == "disabled":
        store.images.disable(image.image_id)
    if state == "deprecated":
        store.images.deprecate(image.image_id, START_US + MINUTE_US)
        clock.advance(DAY_S)
    other = another_snapshot(store)

    code, message = refused(lambda: store.delete_snapshots([other, snap], dry_run=dry_run))

    assert code == "InvalidSnapshot.InUse"
    assert message == f"The snapshot {snap} is currently in use by {image.image_id}"
    assert len(store.list_snapshots()) == 2, "all or none"
    store.images.deregister(image.image_id)
    assert len(store.delete_snapshots([other, snap], dry_run=dry_run).deleted) == 2


def test_deregistering_leaves_the_snapshots(store: Store, snap: SnapshotId) -> None:
    image = store.images.register("web", {"/dev/sda1": snap})

    done = store.images.deregister(image.image_id)

    assert (done.image_id, done.snapshots) == (image.image_id, ())
    assert store.get_snapshot(snap).snapshot_id == snap
    assert refused(lambda: store.images.get(image.image_id))[0] == "InvalidAMIID.NotFound"
    assert_healthy(store)


def test_deregistering_with_its_snapshots_tells_what_became_of_each(
    store: Store, snap: SnapshotId
) -> None:
    alone, shared = another_snapshot(store), snap
    image = store.images.register(
        "web", {"/dev/sda1": shared, "/dev/sdb": alone, "/dev/sdc": alone}
    )
    other = store.images.register("other", {"/dev/sda1": shared})

    done = store.images.deregister(image.image_id, delete_associated_snapshots=True)

    assert done.snapshots == (
        (shared, SnapshotReturnCode.SKIPPED),
        (alone, SnapshotReturnCode.SUCCESS),
    )
    assert [each.snapshot_id for each in store.list_snapshots()] == [shared]
    assert refused(lambda: store.delete_snapshots([shared]))[1].endswith(other.image_id)
    assert_healthy(store)


@pytest.mark.parametrize("image_id", [UNKNOWN, "ami-1", "snap-0123456789abcdef0", ""])
def test_image_that_is_unknown_is_refused(store: Store, image_id: str) -> None:
    code = ErrorCode.INVALID_IMAGE_NOT_FOUND
    if image_id != UNKNOWN:
        code = ErrorCode.INVALID_IMAGE_ID_MALFORMED
    acts: list[Callable[[], object]] = [
        lambda: store.images.get(image_id),
        lambda: store.images.deregister(image_id),
        lambda: store.images.disable(image_id),
        lambda: store.images.enable(image_id),
        lambda: store.images.deprecate(image_id, None),
        lambda: store.images.list(ImageQuery(image_ids=[image_id])),
    ]
    for act in acts:
        assert refused(act)[0] == code


def test_disabled_image_is_hidden_and_can_be_enabled_again(store: Store, snap: SnapshotId) -> None:
    image = store.images.register("web", {"/dev/sda1": snap})

    disabled = store.images.disable(image.image_id)

    assert disabled.state is ImageState.DISABLED
    assert store.images.disable(image.image_id) == disabled
    assert store.images.list() == ()
    assert store.images.list(ImageQuery(include_disabled=True)) == (disabled,)
    assert store.images.list(ImageQuery(image_ids=[image.image_id])) == (disabled,)
    assert store.images.enable(image.image_id) == image


def test_deprecation_comes_with_its_time_and_can_be_cancelled(
    store: Store, snap: SnapshotId, clock: ManualClock
) -> None:
    image = store.images.register("web", {"/dev/sda1": snap})

    planned = store.images.deprecate(image.image_id, START_US + DAY_S * 1_000_000 + 1)

    assert planned.deprecation_time_us == START_US + DAY_S * 1_000_000 + MINUTE_US
    assert not planned.deprecated
    clock.advance(DAY_S + 60)
    assert store.images.get(image.image_id).deprecated
    assert len(store.images.list()) == 1, "its owner sees it"
    assert store.images.list(ImageQuery(include_deprecated=False)) == ()
    assert store.images.deprecate(image.image_id, None).deprecation_time_us is None
    assert len(store.images.list(ImageQuery(include_deprecated=False))) == 1


@pytest.mark.parametrize("after_s", [-DAY_S, -60, 3651 * DAY_S])
def test_deprecation_in_the_past_or_in_ten_years_is_refused(
    store: Store, snap: SnapshotId, after_s: int
) -> None:
    image = store.images.register("web", {"/dev/sda1": snap})

    with pytest.raises(InvalidInputError):
        store.images.deprecate(image.image_id, START_US + after_s * 1_000_000)


def test_images_are_found_by_filters_and_in_pages(store: Store, snap: SnapshotId) -> None:
    other = another_snapshot(store)
    names = [f"web {number}" for number in range(12)]
    for number, name in enumerate(names):
        devices = {"/dev/sda1": snap if number % 2 else other}
        store.images.register(name, devices, ImageOptions(tags={"even": str(number % 2 == 0)}))

    def found(*filters: Filter) -> list[str]:
        return [image.name for image in store.images.list(ImageQuery(filters=filters))]

    assert found() == names
    assert found(Filter("name", ("web ?",))) == names[:10]
    assert found(Filter("block-device-mapping.snapshot-id", (snap,))) == names[1::2]
    assert found(Filter("tag:even", ("True",)), Filter("name", ("*1*",))) == ["web 10"]
    assert found(Filter("state", ("disabled",))) == []
    page = store.images.describe(ImageQuery(max_results=5))
    shown = [image.name for image in page.images]
    while page.next_token:
        page = store.images.describe(ImageQuery(max_results=5, next_token=page.next_token))
        shown += [image.name for image in page.images]
    assert shown == names
    with pytest.raises(InvalidInputError):
        found(Filter("colour", ("red",)))


def test_images_survive_reopening_and_a_check_of_every_byte(store: Store, snap: SnapshotId) -> None:
    image = store.images.register("web", {"/dev/sda1": snap})
    path = store.path
    store.close()

    with Store.open(path) as again:
        assert again.images.list() == (image,)
        with pytest.raises(ConflictError):
            again.delete_snapshots([snap])
        assert again.check(data=True).healthy
        again.images.deregister(image.image_id)
        with pytest.raises(NotFoundError):
            again.images.get(image.image_id)
        again.delete_snapshots([snap])


@pytest.mark.parametrize("size", [8.5, "8", True])
def test_size_of_a_device_is_a_whole_number(store: Store, snap: SnapshotId, size: int) -> None:
    device = BlockDevice(snapshot_id=snap, size_gib=size)
    code, _ = refused(lambda: store.images.register("web", {"/dev/sda1": device}))
    assert code == "InvalidParameterValue"


@pytest.mark.parametrize(
    ("name", "size", "volume_type"),
    [
        ("/dev/sda1", 125, "st1"),  # no root volume
        ("/dev/sda1", 125, "sc1"),
        ("/dev/sdb", 124, "st1"),  # too small
        ("/dev/sdb", 16385, "gp2"),  # too large
        ("/dev/sdb", 8, "io1"),  # needs iops
        ("/dev/sdb", 8, "io2"),
        ("/dev/sdb", 1025, "standard"),
    ],
)
def test_volume_of_an_image_is_one_that_can_be_created(
    store: Store, snap: SnapshotId, name: str, size: int, volume_type: str
) -> None:
    """Section 3.1: sizes, parameters, and what can boot."""
    device = BlockDevice(snapshot_id=snap, size_gib=size, volume_type=volume_type)
    devices = {"/dev/sda1": BlockDevice(snapshot_id=snap), name: device}
    code, message = refused(lambda: store.images.register("web", devices))
    assert code == "InvalidBlockDeviceMapping"
    assert name in message
    assert volume_type in message
    assert store.images.list() == ()


def test_hdd_volume_beside_the_root_device_is_registered(store: Store, snap: SnapshotId) -> None:
    device = BlockDevice(snapshot_id=snap, size_gib=125, volume_type="st1")
    store.images.register("web", {"/dev/sda1": BlockDevice(snapshot_id=snap), "/dev/sdb": device})
