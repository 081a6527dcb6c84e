"""Every waiter and every paginator that botocore has for what ebsim serves of EC2."""

from collections.abc import Iterator
from typing import Any

import pytest

from ebsim.recycle_bin import RuleRequest, RuleResourceType
from ebsim.testing.aws_service import QUICK, ZONE, Service, running_service

pytest.importorskip("boto3")
from botocore.exceptions import WaiterError
from botocore.loaders import Loader

from ebsim.server.operations import load_operations

COUNT = 6
"""As many of each as make two pages: EC2's smallest page has 5."""


def known(kind: str, member: str) -> dict[str, Any]:
    """Return botocore's waiters or paginators by name."""
    found: dict[str, Any] = Loader().load_service_model("ec2", kind)[member]
    return found


def served() -> set[str]:
    return {name for service, name in load_operations().known if service == "ec2"}


@pytest.fixture(scope="module")
def aws() -> Iterator[Service]:
    """A service with more than a page of everything."""
    with running_service() as service:
        ec2, snapshots = service.ec2, []
        for number in range(COUNT):
            volume = service.volume(tags={"Name": f"volume {number}"})
            ec2.modify_volume(VolumeId=volume, Size=2)
            snapshots.append(service.snapshot(volume))
            _archived(service, volume)
            _image(service, number, snapshots[-1])
        zones = [f"us-east-1{letter}" for letter in "abcdef"]
        ec2.enable_fast_snapshot_restores(SourceSnapshotIds=snapshots[:1], AvailabilityZones=zones)
        _fill_bin(service)
        ec2.run_instances(MinCount=COUNT, MaxCount=COUNT)
        yield service


def _archived(service: Service, volume: str) -> None:
    archived = service.snapshot(volume)
    service.ec2.modify_snapshot_tier(SnapshotId=archived, StorageTier="archive")
    service.ec2.lock_snapshot(SnapshotId=archived, LockMode="governance", LockDuration=1)


def _image(service: Service, number: int, snapshot: str) -> str:
    made: str = service.ec2.register_image(
        Name=f"image {number}",
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}],
    )["ImageId"]
    return made


def _fill_bin(service: Service) -> None:
    doomed = [service.volume() for _ in range(COUNT)]
    snapshots = [service.snapshot(volume) for volume in doomed]
    images = [_image(service, 100 + at, each) for at, each in enumerate(snapshots)]
    for kind in RuleResourceType:
        service.store.recycle_bin.rules.create(RuleRequest(resource_type=kind, retention_days=7))
    for image, snapshot, volume in zip(images, snapshots, doomed, strict=True):
        service.ec2.deregister_image(ImageId=image)
        service.ec2.delete_snapshot(SnapshotId=snapshot)
        service.ec2.delete_volume(VolumeId=volume)


PAGES = {
    "DescribeFastSnapshotRestores": ("FastSnapshotRestores", COUNT),
    "DescribeImages": ("Images", COUNT),
    "DescribeInstances": ("Reservations", COUNT),
    "DescribeSnapshotTierStatus": ("SnapshotTierStatuses", COUNT),
    "DescribeSnapshots": ("Snapshots", 2 * COUNT),
    "DescribeTags": ("Tags", 4 * COUNT),  # a name, and of what is in the bin that it is there
    "DescribeVolumeStatus": ("VolumeStatuses", COUNT),
    "DescribeVolumes": ("Volumes", COUNT),
    "DescribeVolumesModifications": ("VolumesModifications", COUNT),
    "ListImagesInRecycleBin": ("Images", COUNT),
    "ListSnapshotsInRecycleBin": ("Snapshots", COUNT),
}


def test_every_paginator_of_what_is_served_is_tried() -> None:
    paginators = known("paginators-1", "pagination").keys() & served()
    assert paginators == PAGES.keys()


def snake(name: str) -> str:
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name).lstrip("_")


@pytest.mark.parametrize("name", sorted(PAGES))
def test_paginator_gives_each_once(aws: Service, name: str) -> None:
    key, count = PAGES[name]
    paginator = aws.ec2.get_paginator(snake(name))

    pages = [page[key] for page in paginator.paginate(PaginationConfig={"PageSize": 5})]

    assert [len(page) for page in pages] == [5] * (count // 5) + [count % 5]
    found = [repr(each) for page in pages for each in page]
    whole = [repr(each) for each in getattr(aws.ec2, snake(name))()[key]]
    assert sorted(found) == sorted(whole)
    assert len(set(found)) == count


@pytest.mark.parametrize(
    ("call", "key"),
    [("describe_locked_snapshots", "Snapshots"), ("list_volumes_in_recycle_bin", "Volumes")],
)
def test_pages_without_a_paginator(aws: Service, call: str, key: str) -> None:
    first = getattr(aws.ec2, call)(MaxResults=5)
    rest = getattr(aws.ec2, call)(MaxResults=5, NextToken=first["NextToken"])

    assert (len(first[key]), len(rest[key])) == (5, COUNT - 5)
    assert "NextToken" not in rest
    ids = [repr(each) for each in [*first[key], *rest[key]]]
    assert len(set(ids)) == COUNT


def test_token_of_another_query_is_refused(aws: Service) -> None:
    """What DescribeVolumes answered with asks for no page of DescribeVolumeStatus."""
    token = aws.ec2.describe_volumes(MaxResults=5)["NextToken"]

    with pytest.raises(Exception, match="InvalidPaginationToken"):
        aws.ec2.describe_volume_status(MaxResults=5, NextToken=token)


def test_every_waiter_of_what_is_served_is_tried() -> None:
    waiters = known("waiters-2", "waiters")
    assert {name for name, each in waiters.items() if each["operation"] in served()} == WAITERS


WAITERS = {
    "ImageAvailable",
    "ImageExists",
    "InstanceExists",
    "InstanceRunning",
    "InstanceStopped",  # ebsim stops none: it waits until an instance fails to
    "InstanceTerminated",
    "SnapshotCompleted",
    "VolumeAvailable",
    "VolumeDeleted",
    "VolumeInUse",
}


def test_waiters_come_to_an_end(aws: Service) -> None:
    ec2 = aws.ec2

    def wait(name: str, **ids: Any) -> None:
        ec2.get_waiter(name).wait(**ids, WaiterConfig=QUICK)

    volume = ec2.create_volume(Size=1, AvailabilityZone=ZONE)["VolumeId"]
    wait("volume_available", VolumeIds=[volume])
    snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    wait("snapshot_completed", SnapshotIds=[snapshot])
    image = _image(aws, 50, snapshot)
    wait("image_exists", ImageIds=[image])
    wait("image_available", ImageIds=[image])
    made = ec2.run_instances(MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    wait("instance_exists", InstanceIds=[made])
    wait("instance_running", InstanceIds=[made])
    ec2.attach_volume(VolumeId=volume, InstanceId=made, Device="/dev/sdf")
    wait("volume_in_use", VolumeIds=[volume])
    ec2.terminate_instances(InstanceIds=[made])
    wait("instance_terminated", InstanceIds=[made])
    with pytest.raises(WaiterError, match="terminated"):
        wait("instance_stopped", InstanceIds=[made])
    ec2.delete_volume(VolumeId=volume)
    wait("volume_deleted", VolumeIds=[volume])


def test_waiter_tells_that_a_snapshot_failed(aws: Service) -> None:
    volume = aws.volume()
    aws.harness.faults.fail_next_snapshot()
    snapshot = aws.ec2.create_snapshot(VolumeId=volume)["SnapshotId"]

    with pytest.raises(WaiterError, match="error"):
        aws.ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig=QUICK)
