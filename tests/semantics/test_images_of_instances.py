"""Images that are made of pretended instances (semantics section 10.1; EC2's CreateImage)."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from ebsim.engine import Seams, Store
from ebsim.images import Image, ImageState
from ebsim.instances import (
    DeviceOfImage,
    ImageRequest,
    InstanceDevice,
    InstanceRequest,
)
from ebsim.requests import BlockDevice, VolumeRequest
from ebsim.results import SnapshotState
from ebsim.testing.held_copies import HeldCopies
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.machine import Killed, Machine
from ebsim.testing.refused import refused
from ebsim.volumes.snapshot_job import SnapshotJob


@pytest.fixture
def copies() -> HeldCopies:
    return HeldCopies()


@pytest.fixture
def seams(seams: Seams, copies: HeldCopies) -> Seams:
    return replace(seams, before_copy=copies)


@pytest.fixture
def store(store_path: Path, seams: Seams, copies: HeldCopies) -> Iterator[Store]:
    with Store.create(store_path, seams) as opened:
        yield opened
        copies.release_all()  # closing waits for what is pending


def new_instance(store: Store) -> str:
    """Return an instance with a root volume and one of another type, each with a word in it."""
    root = VolumeRequest(size_gib=1)
    data = VolumeRequest(size_gib=4, volume_type="io1", iops=150)
    devices = {"/dev/sdf": InstanceDevice(data), "/dev/xvda": InstanceDevice(root)}
    made = store.instances.run(InstanceRequest(devices=devices))
    for each in made.attachments:
        with store.volumes.open(each.volume_id) as file:
            file.pwrite(each.device.encode(), 0)
    return made.instance_id


def create(store: Store, instance: str, name: str = "web", **more: object) -> Image:
    request = ImageRequest(instance_id=instance, name=name, **more)  # type: ignore[arg-type]
    return store.instances.create_image(request)


def words(store: Store, image: Image) -> list[bytes]:
    """Return what the volumes of a new instance of an image have in them."""
    made = store.instances.run(InstanceRequest(image_id=image.image_id))
    found = []
    for each in made.attachments:
        with store.volumes.open(each.volume_id) as file:
            found.append(file.pread(9, 0))
    return found


def test_image_is_pending_until_its_snapshots_are_completed(
    store: Store, copies: HeldCopies
) -> None:
    instance = new_instance(store)
    image = create(
        store, instance, description="all of it", tags={"a": "b"}, snapshot_tags={"c": "d"}
    )
    for each in store.instances.get(instance).attachments:  # written after the point in time
        with store.volumes.open(each.volume_id) as file:
            file.pwrite(b"too late!", 0)

    assert image.state is ImageState.PENDING
    assert (image.description, dict(image.tags)) == ("all of it", {"a": "b"})
    assert (image.root_device_name, image.source_instance_id) == ("/dev/xvda", instance)
    assert [each.device_name for each in image.devices] == ["/dev/xvda", "/dev/sdf"]
    assert [(each.size_gib, each.volume_type, each.iops) for each in image.devices] == [
        (1, "gp2", None),
        (4, "io1", 150),
    ]
    ids = [each.snapshot_id for each in image.devices]
    for shown in map(store.get_snapshot, ids):
        assert (shown.state, shown.tags) == (SnapshotState.PENDING, {"c": "d"})
        assert shown.description == f"Created by CreateImage({instance}) for {image.image_id}"
    assert len({store.get_snapshot(each).start_time_us for each in ids}) == 1
    assert refused(lambda: store.delete_snapshots(ids[:1])) == "InvalidSnapshot.InUse"
    assert refused(lambda: words(store, image)) == "InvalidAMIID.Unavailable"
    assert refused(lambda: store.images.disable(image.image_id)) == "InvalidAMIID.Unavailable"
    assert refused(lambda: create(store, instance)) == "InvalidAMIName.Duplicate"
    assert_healthy(store)

    copies.release_all()
    store.wait_snapshots(ids)

    assert store.images.get(image.image_id).state is ImageState.AVAILABLE
    assert words(store, image) == [b"/dev/xvda", b"/dev/sdf\0"]
    assert refused(lambda: store.delete_snapshots(ids[1:])) == "InvalidSnapshot.InUse"
    told = [each.detail["State"] for each in store.events() if "ImageId" in each.detail]
    assert told == ["available"]
    assert_healthy(store)


def test_image_fails_with_one_of_its_snapshots(
    store: Store, store_path: Path, seams: Seams, copies: HeldCopies
) -> None:
    instance = new_instance(store)
    whole = create(store, instance, name="whole")
    copies.release(*(each.snapshot_id for each in whole.devices))
    store.wait_snapshots([each.snapshot_id for each in whole.devices])
    image = create(store, instance)
    ids = [each.snapshot_id for each in image.devices]
    copies.fail(ids[1])
    copies.release(ids[0])
    store.wait_snapshots(ids)

    failed = store.images.get(image.image_id)
    assert failed.state is ImageState.FAILED
    assert refused(lambda: words(store, failed)) == "InvalidAMIID.Unavailable"
    assert refused(lambda: store.images.enable(image.image_id)) == "InvalidAMIID.Unavailable"
    told = [each.detail["State"] for each in store.events() if "ImageId" in each.detail]
    assert told == ["available", "failed"]
    assert_healthy(store)
    shown = store.images.list()
    store.close()
    Store.rebuild(store_path, seams)
    with Store.open(store_path, seams) as again:
        assert again.images.list() == shown
        assert_healthy(again)
        again.images.deregister(image.image_id)
        assert_healthy(again)


def test_pending_image_goes_on_in_the_next_process_and_fails_in_a_rebuilt_store(
    store: Store, store_path: Path, seams: Seams, copies: HeldCopies
) -> None:
    image = create(store, new_instance(store))
    stop = SnapshotJob.stop

    def stop_and_let_go(job: SnapshotJob) -> None:
        stop(job)
        copies.release(job.snapshot_id)

    with mock.patch.object(SnapshotJob, "stop", stop_and_let_go):
        store.close(wait=False)
    with Store.open(store_path, seams) as again:
        assert again.images.get(image.image_id).state is ImageState.PENDING
        with mock.patch.object(SnapshotJob, "stop", stop_and_let_go):
            again.close(wait=False)
    Store.rebuild(store_path, seams)
    copies.release_all()
    with Store.open(store_path, seams) as rebuilt:
        assert rebuilt.images.get(image.image_id).state is ImageState.FAILED
        assert_healthy(rebuilt)


def test_devices_of_the_image_are_those_that_are_asked_for(
    store: Store, copies: HeldCopies
) -> None:
    copies.release_all()
    instance = new_instance(store)
    first = create(store, instance, name="one", devices={"/dev/sdf": DeviceOfImage(keep=False)})
    (root,) = first.devices
    store.wait_snapshots([root.snapshot_id])
    second = create(
        store,
        instance,
        name="two",
        devices={"/dev/xvda": DeviceOfImage(delete_on_termination=False)},
        more_devices={"/dev/sdz": BlockDevice(root.snapshot_id, 8)},
    )

    assert len(store.list_snapshots()) == 3
    assert [(each.device_name, each.delete_on_termination) for each in second.devices] == [
        ("/dev/xvda", False),
        ("/dev/sdf", True),
        ("/dev/sdz", True),
    ]
    for devices in ({"/dev/xvda": DeviceOfImage(keep=False)}, {"/dev/sdq": DeviceOfImage()}):
        code = refused(lambda: create(store, instance, name="bad", devices=devices))  # noqa: B023
        assert code == "InvalidBlockDeviceMapping"
    missing = {"/dev/sdz": BlockDevice("snap-00000000000000000")}
    assert (
        refused(lambda: create(store, instance, name="bad", more_devices=missing))
        == "InvalidSnapshot.NotFound"
    )
    store.wait_snapshots([each.snapshot_id for each in store.list_snapshots()])
    assert len(store.list_snapshots()) == 3, "what was begun for it is gone again"
    assert refused(lambda: create(store, instance, name="x")) == "InvalidAMIName.Malformed"
    bare = store.instances.run(InstanceRequest()).instance_id
    assert refused(lambda: create(store, bare, name="bad")) == "InvalidParameterValue"
    store.instances.terminate([instance])
    assert refused(lambda: create(store, instance, name="bad")) == "IncorrectState"


STRIDE = 1 if os.environ.get("EBSIM_TEST_PROFILE") == "long" else 37
"""Of the steps of making an image, each of these is died at."""


def image_and_die(folder: Path, die_at: int | None) -> tuple[Machine, str, int]:
    """Make an image in a process that dies; return its machine, what it told, and its steps."""
    folder.mkdir()
    machine = Machine(folder)
    process = machine.start()
    store = process.open()
    instance = new_instance(store)
    store.close()
    process.kill()
    told = ""
    process = machine.start(die_at)
    with suppress(Killed):
        store = process.open()
        told = create(store, instance).image_id
        store.close()
    process.kill()
    return machine, told, process.steps


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_image_whose_process_dies_is_made_by_the_next_or_not_there(tmp_path: Path) -> None:
    _, _, steps = image_and_die(tmp_path / "trial", None)
    ends = set()
    for die_at in sorted({*range(1, steps + 1, STRIDE), steps}):
        machine, told, _ = image_and_die(tmp_path / f"at{die_at}", die_at)
        process = machine.start()
        store = process.open()
        store.wait_snapshots([each.snapshot_id for each in store.list_snapshots()])
        left = store.images.list()
        assert told in {"", *(each.image_id for each in left)}
        for image in left:
            assert image.state is ImageState.AVAILABLE
            assert words(store, image) == [b"/dev/xvda", b"/dev/sdf\0"]
        ends.add(len(left))
        assert_healthy(store)
        store.close()
        process.kill()

    assert ends == {0, 1}
