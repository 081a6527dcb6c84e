"""What AWS's models document of requests and answers, where a harness would notice a difference."""

from typing import Any

import pytest

from ebsim.testing.aws_service import OTHER, ZONE, Service, refusal

pytest.importorskip("boto3")

Filters = list[dict[str, Any]]


def by(name: str, *values: str) -> Filters:
    """Return one filter."""
    return [{"Name": name, "Values": list(values)}]


# Zones and Regions


def test_zone_ids_are_those_of_aws(aws: Service) -> None:
    """EC2's examples: use1-az1, use2-az1."""
    there = aws.client("ec2", "123456789012", "ap-southeast-2")

    def first(ec2: Any) -> tuple[str, str]:
        zone = ec2.describe_availability_zones()["AvailabilityZones"][0]
        return zone["ZoneName"], zone["ZoneId"]

    assert first(aws.ec2) == (ZONE, "use1-az1")
    assert first(there) == ("ap-southeast-2a", "apse2-az1")
    assert refusal(aws.ec2.describe_availability_zones, ZoneIds=["apse2-az1"]) == (
        "InvalidParameterValue",
        400,
    )


def test_regions_and_zones_are_filtered_by_all_that_is_documented(aws: Service) -> None:
    def regions(filters: Filters) -> list[str]:
        return [each["RegionName"] for each in aws.ec2.describe_regions(Filters=filters)["Regions"]]

    assert regions(by("endpoint", "ec2.us-w*")) == ["us-west-1", "us-west-2"]
    assert regions(by("region-name", "eu-*-1")) == ["eu-central-1", "eu-west-1"]
    assert regions(by("opt-in-status", "opted-in")) == []
    assert refusal(aws.ec2.describe_regions, Filters=by("colour", "red"))[1] == 400
    for name in ("parent-zone-id", "parent-zone-name", "message"):
        found = aws.ec2.describe_availability_zones(Filters=by(name, "*"))
        assert found["AvailabilityZones"] == []


# Volumes


def test_volumes_are_filtered_by_the_id_of_their_zone_and_by_their_operator(aws: Service) -> None:
    volume = aws.volume(zone="us-east-1b")

    def shown(*filters: dict[str, Any]) -> list[str]:
        found = aws.ec2.describe_volumes(VolumeIds=[volume], Filters=list(filters))["Volumes"]
        return [each["VolumeId"] for each in found]

    assert shown(*by("availability-zone-id", "use1-az2")) == [volume]
    assert shown(*by("availability-zone-id", "use1-az1")) == []
    assert shown(*by("operator.managed", "false")) == [volume]
    assert shown(*by("operator.principal", "*")) == []


def test_modification_is_told_as_it_begins_and_none_is_not_found(aws: Service) -> None:
    changed, never = aws.volume(), aws.volume()

    begun = aws.ec2.modify_volume(VolumeId=changed, Size=2)["VolumeModification"]

    assert (begun["ModificationState"], begun["Progress"]) == ("modifying", 0)
    assert "EndTime" not in begun
    tell = aws.ec2.describe_volumes_modifications
    assert [each["TargetSize"] for each in tell(VolumeIds=[changed])["VolumesModifications"]] == [2]
    assert refusal(tell, VolumeIds=[changed, never]) == ("InvalidVolumeModification.NotFound", 400)
    assert never not in [each["VolumeId"] for each in tell()["VolumesModifications"]]


def test_status_tells_where_a_volume_is_attached(aws: Service) -> None:
    volume = aws.volume(volume_type="gp3")
    run = aws.ec2.run_instances(MinCount=1, MaxCount=1)
    instance = run["Instances"][0]["InstanceId"]
    aws.ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/sdf")

    found = aws.ec2.describe_volume_status(
        Filters=[
            *by("attachment-status.instance-id", instance),
            *by("attachment-status.io-performance", "normal"),
        ]
    )

    (status,) = found["VolumeStatuses"]
    assert status["VolumeId"] == volume
    assert status["AttachmentStatuses"] == [{"InstanceId": instance, "IoPerformance": "normal"}]


# Instances and images


def test_instances_are_filtered(aws: Service) -> None:
    run = aws.ec2.run_instances(
        MinCount=1,
        MaxCount=1,
        BlockDeviceMappings=[{"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 1}}],
    )
    instance = run["Instances"][0]["InstanceId"]
    tell = aws.ec2.describe_instances

    for filters in (
        by("instance-state-code", "16"),
        by("block-device-mapping.delete-on-termination", "true"),
        by("block-device-mapping.status", "attached"),
        by("block-device-mapping.attach-time", "2026-*"),
        by("launch-time", "2026-*"),
        by("virtualization-type", "hvm"),
    ):
        (found,) = tell(Filters=[*by("instance-id", instance), *filters])["Reservations"]
        assert found["Instances"][0]["VirtualizationType"] == "hvm"
    assert refusal(tell, InstanceIds=[instance], MaxResults=5) == (
        "InvalidParameterCombination",
        400,
    )


def test_images_are_filtered_and_tell_what_is_encrypted(aws: Service) -> None:
    plain = aws.snapshot()
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    sealed = aws.snapshot(aws.volume(encrypted=True, kms_key_id=key))
    image = aws.ec2.register_image(
        Name="one of each",
        RootDeviceName="/dev/xvda",
        BlockDeviceMappings=[
            {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": plain}},
            {"DeviceName": "/dev/sdb", "Ebs": {"SnapshotId": sealed, "DeleteOnTermination": False}},
        ],
    )["ImageId"]

    for filters in (
        [*by("root-device-type", "ebs"), *by("virtualization-type", "hvm")],
        [*by("is-public", "false"), *by("image-type", "machine"), *by("hypervisor", "xen")],
        by("block-device-mapping.encrypted", "true"),
        by("block-device-mapping.delete-on-termination", "false"),
        by("manifest-location", "123456789012/one*"),
    ):
        (found,) = aws.ec2.describe_images(Owners=["self"], Filters=filters)["Images"]
        assert found["ImageId"] == image
        assert [each["Ebs"]["Encrypted"] for each in found["BlockDeviceMappings"]] == [False, True]
    for filters in (by("is-public", "true"), by("platform", "windows"), by("owner-alias", "*")):
        assert aws.ec2.describe_images(Filters=filters)["Images"] == []


def test_fast_restores_are_filtered_by_the_id_of_their_zone(aws: Service) -> None:
    snapshot = aws.snapshot()
    aws.ec2.enable_fast_snapshot_restores(
        SourceSnapshotIds=[snapshot], AvailabilityZones=[ZONE, "us-east-1c"]
    )
    found = aws.ec2.describe_fast_snapshot_restores(
        Filters=[*by("snapshot-id", snapshot), *by("availability-zone-id", "use1-az3")]
    )["FastSnapshotRestores"]
    assert [each["AvailabilityZone"] for each in found] == ["us-east-1c"]


# Tags


def test_key_of_a_tag_is_given_once(aws: Service) -> None:
    volume = aws.volume()
    twice = [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]

    refused = refusal(aws.ec2.create_tags, Resources=[volume], Tags=twice)
    assert refused == ("InvalidParameterValue", 400)
    assert aws.ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Tags"] == []


@pytest.mark.parametrize(
    "tags",
    [
        [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}],
        [{"Key": "aws:a", "Value": "1"}],
        [{"Key": "k" * 128, "Value": ""}],
        [{"Key": "k" * 127, "Value": "v" * 256}],
        [{"Key": f"key {number}", "Value": ""} for number in range(51)],
    ],
)
def test_direct_apis_tell_bad_tags_in_their_words(aws: Service, tags: list[Any]) -> None:
    ebs = aws.client("ebs")
    with pytest.raises(ebs.exceptions.ValidationException) as caught:
        ebs.start_snapshot(VolumeSize=1, Tags=tags)
    assert caught.value.response["Reason"] == "INVALID_TAG"


# Sharing


def test_direct_apis_list_no_public_snapshots(aws: Service) -> None:
    """Semantics section 4.3: public snapshots are not supported; private sharing is."""
    snapshot = aws.snapshot()
    share = {"SnapshotId": snapshot, "Attribute": "createVolumePermission", "OperationType": "add"}
    aws.ec2.modify_snapshot_attribute(**share, GroupNames=["all"])
    there = aws.client("ebs", OTHER)

    both = {"FirstSnapshotId": snapshot, "SecondSnapshotId": snapshot}
    for name, given in (
        ("list_snapshot_blocks", {"SnapshotId": snapshot}),
        ("list_changed_blocks", both),
    ):
        with pytest.raises(there.exceptions.AccessDeniedException) as caught:
            getattr(there, name)(**given)
        assert caught.value.response["Reason"] == "UNAUTHORIZED_ACCOUNT"
    assert len(aws.client("ebs").list_snapshot_blocks(SnapshotId=snapshot)["Blocks"]) == 1
    aws.ec2.modify_snapshot_attribute(**share, UserIds=[OTHER])
    assert len(there.list_snapshot_blocks(SnapshotId=snapshot)["Blocks"]) == 1


# Locks


def test_days_of_a_lock_on_a_pending_snapshot_have_not_begun(aws: Service) -> None:
    volume = aws.volume()
    with aws.endpoint.hold_snapshots():
        snapshot = aws.ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
        locked = aws.ec2.lock_snapshot(SnapshotId=snapshot, LockMode="governance", LockDuration=1)
        assert not {"LockDurationStartTime", "LockExpiresOn"} & locked.keys()
    aws.store.wait_snapshots([snapshot])
    (shown,) = aws.ec2.describe_locked_snapshots(SnapshotIds=[snapshot])["Snapshots"]
    days = shown["LockExpiresOn"] - shown["LockDurationStartTime"]
    assert days.days == 1


# KMS


@pytest.mark.parametrize(
    ("name", "largest"),
    [("list_keys", 1000), ("list_aliases", 100), ("list_grants", 100), ("list_resource_tags", 50)],
)
def test_pages_of_kms_have_the_sizes_that_it_documents(
    aws: Service, name: str, largest: int
) -> None:
    kms = aws.client("kms")
    of_key = name in {"list_grants", "list_resource_tags"}
    given = {"KeyId": kms.create_key()["KeyMetadata"]["KeyId"]} if of_key else {}

    assert getattr(kms, name)(Limit=largest, **given)["Truncated"] is False
    if largest < 1000:
        assert refusal(getattr(kms, name), Limit=largest + 1, **given) == (
            "ValidationException",
            400,
        )
