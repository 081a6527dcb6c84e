"""Every waiter and every paginator that botocore has for what ebsim serves."""

from collections.abc import Iterator
from typing import Any

import pytest

from ebsim.recycle_bin import RuleRequest, RuleResourceType
from ebsim.testing.aws_service import QUICK, ZONE, Service, running_service

pytest.importorskip("boto3")
from botocore.exceptions import UnknownServiceError, WaiterError
from botocore.loaders import Loader

from ebsim.server.operations import load_operations
from ebsim.server.protocol.models import SERVICES

COUNT = 6
"""As many of each as make two pages: EC2's smallest page has 5."""


def known(service: str, kind: str, member: str) -> dict[str, Any]:
    """Return botocore's waiters or paginators of a service by name."""
    try:
        found: dict[str, Any] = Loader().load_service_model(service, kind)[member]
    except UnknownServiceError:  # it has none
        return {}
    return found


def is_served(service: str, name: str) -> bool:
    return (service, name) in load_operations().known


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
        for _ in range(COUNT):  # each a reservation of its own
            ec2.run_instances(MinCount=1, MaxCount=1)
        _keys_and_rules(service)
        yield service


def _keys_and_rules(service: Service) -> None:
    kms, rbin = service.client("kms"), service.client("rbin")
    tags = [{"TagKey": f"key {each}", "TagValue": ""} for each in range(COUNT)]
    made = [kms.create_key(Tags=tags)["KeyMetadata"]["KeyId"] for _ in range(COUNT)]
    for number, key in enumerate(made):
        kms.create_alias(AliasName=f"alias/{number}", TargetKeyId=key)
        kms.create_grant(
            KeyId=made[0],
            GranteePrincipal=f"arn:aws:iam::11112222333{number}:root",
            Operations=["Decrypt"],
        )
        rbin.create_rule(
            ResourceType="EC2_IMAGE",
            RetentionPeriod={"RetentionPeriodValue": 1, "RetentionPeriodUnit": "DAYS"},
            ResourceTags=[{"ResourceTagKey": "keep", "ResourceTagValue": str(number)}],
        )


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
    ("ec2", "DescribeFastSnapshotRestores"): ("FastSnapshotRestores", COUNT),
    ("ec2", "DescribeImages"): ("Images", COUNT),
    ("ec2", "DescribeInstances"): ("Reservations", COUNT),
    ("ec2", "DescribeSnapshotTierStatus"): ("SnapshotTierStatuses", COUNT),
    ("ec2", "DescribeSnapshots"): ("Snapshots", 2 * COUNT),
    # a name of each volume, and of what is in the bin that it is there
    ("ec2", "DescribeTags"): ("Tags", 4 * COUNT),
    ("ec2", "DescribeVolumeStatus"): ("VolumeStatuses", COUNT),
    ("ec2", "DescribeVolumes"): ("Volumes", COUNT),
    ("ec2", "DescribeVolumesModifications"): ("VolumesModifications", COUNT),
    ("ec2", "ListImagesInRecycleBin"): ("Images", COUNT),
    ("ec2", "ListSnapshotsInRecycleBin"): ("Snapshots", COUNT),
    ("kms", "ListAliases"): ("Aliases", COUNT),
    ("kms", "ListGrants"): ("Grants", COUNT),
    ("kms", "ListKeyPolicies"): ("PolicyNames", 1),
    ("kms", "ListKeys"): ("Keys", COUNT),
    ("kms", "ListResourceTags"): ("Tags", COUNT),
    ("rbin", "ListRules"): ("Rules", COUNT + 1),  # one fills the bin
}


@pytest.mark.parametrize("service", SERVICES)
def test_every_paginator_of_what_is_served_is_tried(service: str) -> None:
    paginators = known(service, "paginators-1", "pagination")
    served = {name for name in paginators if is_served(service, name)}
    assert served == {name for of, name in PAGES if of == service}


def snake(name: str) -> str:
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name).lstrip("_")


@pytest.mark.parametrize(("service", "name"), sorted(PAGES))
def test_paginator_gives_each_once(aws: Service, service: str, name: str) -> None:
    key, count = PAGES[service, name]
    client = aws.client(service)
    needed: dict[str, str] = {}
    if name == "ListRules":
        needed = {"ResourceType": "EC2_IMAGE"}
    elif name in {"ListGrants", "ListKeyPolicies", "ListResourceTags"}:
        needed = {"KeyId": client.describe_key(KeyId="alias/0")["KeyMetadata"]["KeyId"]}
    paginator = client.get_paginator(snake(name))

    pages = [page[key] for page in paginator.paginate(**needed, PaginationConfig={"PageSize": 5})]

    assert [len(page) for page in pages] == [5] * (count // 5) + [count % 5]
    found = [repr(each) for page in pages for each in page]
    whole = [repr(each) for each in getattr(client, snake(name))(**needed)[key]]
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


@pytest.mark.parametrize("service", SERVICES)
def test_every_waiter_of_what_is_served_is_tried(service: str) -> None:
    waiters = known(service, "waiters-2", "waiters")
    served = {name for name, each in waiters.items() if is_served(service, each["operation"])}
    assert served == (WAITERS if service == "ec2" else set())


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
