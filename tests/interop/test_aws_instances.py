"""boto3 against the endpoint: pretended instances, attachments, and snapshots of all volumes."""

from typing import Any

import pytest

from ebsim.engine import Store
from ebsim.testing.aws_service import ZONE, Service, refusal, running_service

pytest.importorskip("boto3")

MISSING = "i-00000000000000000"


def new_instance(aws: Service, **options: Any) -> str:
    made = aws.ec2.run_instances(MinCount=1, MaxCount=1, **options)["Instances"][0]
    found: str = made["InstanceId"]
    return found


def ebs(device: str, **members: Any) -> dict[str, Any]:
    return {"DeviceName": device, "Ebs": {"VolumeSize": 1, **members}}


def volumes_of(aws: Service, instance: str) -> dict[str, str]:
    """Return the volumes of an instance, by device."""
    (reservation,) = aws.ec2.describe_instances(InstanceIds=[instance])["Reservations"]
    mappings = reservation["Instances"][0]["BlockDeviceMappings"]
    return {each["DeviceName"]: each["Ebs"]["VolumeId"] for each in mappings}


def test_volume_is_attached_and_detached(aws: Service) -> None:
    """Section 3.5."""
    instance, volume = new_instance(aws), aws.volume()

    done = aws.ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/sdf")

    assert (done["State"], done["Device"], done["DeleteOnTermination"]) == (
        "attaching",
        "/dev/sdf",
        False,
    )
    by_instance = [{"Name": "attachment.instance-id", "Values": [instance]}]
    (shown,) = aws.ec2.describe_volumes(Filters=by_instance)["Volumes"]
    assert (shown["VolumeId"], shown["State"]) == (volume, "in-use")
    (attachment,) = shown["Attachments"]
    assert (attachment["InstanceId"], attachment["State"]) == (instance, "attached")
    assert volumes_of(aws, instance) == {"/dev/sdf": volume}
    assert refusal(aws.ec2.delete_volume, VolumeId=volume) == ("VolumeInUse", 400)

    assert aws.ec2.detach_volume(VolumeId=volume)["State"] == "detaching"
    (shown,) = aws.ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
    assert (shown["State"], shown["Attachments"]) == ("available", [])
    aws.ec2.delete_volume(VolumeId=volume)


def test_volume_in_use_is_read_written_and_taken_a_snapshot_of(aws: Service) -> None:
    """Section 1.1: the source of a snapshot may be in use."""
    instance, volume = new_instance(aws), aws.volume()
    aws.ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/sdf")

    snapshot = aws.snapshot(volume, b"written while attached")

    copy = aws.volume(snapshot_id=snapshot)
    with aws.store.volumes.open(copy) as file:
        assert file.pread(22, 0) == b"written while attached"


def attached(aws: Service) -> dict[str, str]:
    instance, volume = new_instance(aws), aws.volume()
    aws.ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/sdf")
    return {"VolumeId": volume, "InstanceId": instance}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, "VolumeInUse"),
        ({"VolumeId": "NEW", "Device": "/dev/sdf"}, "InvalidParameterValue"),
        ({"VolumeId": "FAR"}, "InvalidVolume.ZoneMismatch"),
        ({"VolumeId": "NEW", "InstanceId": MISSING}, "InvalidInstanceID.NotFound"),
        ({"VolumeId": "NEW", "InstanceId": "i-x"}, "InvalidInstanceID.Malformed"),
        ({"VolumeId": "vol-00000000000000000"}, "InvalidVolume.NotFound"),
    ],
)
def test_attaching_is_refused(aws: Service, change: dict[str, str], code: str) -> None:
    """Sections 3.5 and 9."""
    parameters = {**attached(aws), "Device": "/dev/sdg", **change}
    if parameters["VolumeId"] in {"NEW", "FAR"}:
        zone = ZONE if parameters["VolumeId"] == "NEW" else "us-east-1b"
        parameters["VolumeId"] = aws.volume(zone=zone)

    assert refusal(aws.ec2.attach_volume, **parameters) == (code, 400)


def test_detaching_is_refused_where_the_volume_is_not(aws: Service) -> None:
    there, volume = attached(aws), aws.volume()

    assert refusal(aws.ec2.detach_volume, VolumeId=volume) == ("IncorrectState", 400)
    elsewhere = {"VolumeId": there["VolumeId"], "InstanceId": new_instance(aws)}
    assert refusal(aws.ec2.detach_volume, **elsewhere) == ("InvalidAttachment.NotFound", 400)
    other_device = {"VolumeId": there["VolumeId"], "Device": "/dev/sdz"}
    assert refusal(aws.ec2.detach_volume, **other_device) == ("InvalidAttachment.NotFound", 400)


def test_instance_has_the_volumes_of_its_image_until_it_is_terminated(aws: Service) -> None:
    snapshot = aws.snapshot(data=b"boot")
    image = aws.ec2.register_image(
        Name="boots",
        BlockDeviceMappings=[
            {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot}},
            {"DeviceName": "/dev/sdb", "Ebs": {"SnapshotId": snapshot}},
        ],
    )["ImageId"]
    instance = new_instance(
        aws,
        ImageId=image,
        InstanceType="t3.nano",
        Placement={"AvailabilityZone": "us-east-1b"},
        BlockDeviceMappings=[
            {"DeviceName": "/dev/sdb", "NoDevice": ""},
            ebs("/dev/sdc", DeleteOnTermination=False),
        ],
    )

    (reservation,) = aws.ec2.describe_instances(InstanceIds=[instance])["Reservations"]
    (shown,) = reservation["Instances"]
    assert (shown["ImageId"], shown["InstanceType"]) == (image, "t3.nano")
    assert (shown["State"], shown["RootDeviceName"]) == (
        {"Code": 16, "Name": "running"},
        "/dev/sda1",
    )
    assert shown["Placement"]["AvailabilityZone"] == "us-east-1b"
    volumes = volumes_of(aws, instance)
    assert [*volumes] == ["/dev/sda1", "/dev/sdc"]
    with aws.store.volumes.open(volumes["/dev/sda1"]) as file:
        assert file.pread(4, 0) == b"boot"

    (ended,) = aws.ec2.terminate_instances(InstanceIds=[instance])["TerminatingInstances"]

    assert (ended["PreviousState"]["Name"], ended["CurrentState"]["Code"]) == ("running", 48)
    (kept,) = aws.ec2.describe_volumes(VolumeIds=[volumes["/dev/sdc"]])["Volumes"]
    assert kept["State"] == "available"
    assert refusal(aws.ec2.describe_volumes, VolumeIds=[volumes["/dev/sda1"]]) == (
        "InvalidVolume.NotFound",
        400,
    )
    by_state = [{"Name": "instance-state-name", "Values": ["terminated"]}]
    gone = aws.ec2.describe_instances(InstanceIds=[instance], Filters=by_state)["Reservations"]
    assert len(gone) == 1
    again = {"VolumeId": kept["VolumeId"], "InstanceId": instance, "Device": "/dev/sdf"}
    assert refusal(aws.ec2.attach_volume, **again) == ("IncorrectState", 400)


def test_terminated_instance_is_forgotten_after_an_hour(aws: Service) -> None:
    instance = new_instance(aws)
    aws.ec2.terminate_instances(InstanceIds=[instance])

    aws.harness.clock.advance(hours=1, seconds=1)
    new_instance(aws)

    assert refusal(aws.ec2.describe_instances, InstanceIds=[instance]) == (
        "InvalidInstanceID.NotFound",
        400,
    )


def test_instance_that_cannot_be_made_leaves_no_volumes(aws: Service) -> None:
    before = aws.ec2.describe_volumes()["Volumes"]
    mappings = [ebs("/dev/sda1"), ebs("/dev/sdb", VolumeSize=99_999)]

    refused = refusal(aws.ec2.run_instances, MinCount=1, MaxCount=1, BlockDeviceMappings=mappings)

    assert refused == ("InvalidParameterValue", 400)
    assert aws.ec2.describe_volumes()["Volumes"] == before


# CreateSnapshots (section 3.6)


def test_snapshots_of_all_volumes_have_one_point_in_time(aws: Service) -> None:
    instance = new_instance(aws, BlockDeviceMappings=[ebs("/dev/xvda"), ebs("/dev/sdb")])
    volumes = volumes_of(aws, instance)
    aws.ec2.create_tags(
        Resources=[volumes["/dev/sdb"]], Tags=[{"Key": "disk", "Value": "b"}, {"Key": "Name"}]
    )

    made = aws.ec2.create_snapshots(
        InstanceSpecification={"InstanceId": instance},
        Description="all",
        CopyTagsFromSource="volume",
        TagSpecifications=[{"ResourceType": "snapshot", "Tags": [{"Key": "Name", "Value": "set"}]}],
    )["Snapshots"]

    assert [each["VolumeId"] for each in made] == [volumes["/dev/xvda"], volumes["/dev/sdb"]]
    assert {(each["State"], each["Progress"], each["Description"]) for each in made} == {
        ("pending", "", "all")
    }
    assert len({each["StartTime"] for each in made}) == 1
    ids = [each["SnapshotId"] for each in made]
    aws.store.wait_snapshots(ids)
    shown = {each["SnapshotId"]: each for each in aws.ec2.describe_snapshots()["Snapshots"]}
    tags = [{each["Key"]: each["Value"] for each in shown[name]["Tags"]} for name in ids]
    assert tags == [{"Name": "set"}, {"Name": "set", "disk": "b"}]


@pytest.mark.parametrize(
    ("specification", "devices"),
    [
        ({}, ["/dev/xvda", "/dev/sdb"]),
        ({"ExcludeBootVolume": True}, ["/dev/sdb"]),
        ({"ExcludeDataVolumeIds": ["/dev/sdb"]}, ["/dev/xvda"]),
    ],
)
def test_volumes_are_left_out(
    aws: Service, specification: dict[str, Any], devices: list[str]
) -> None:
    instance = new_instance(aws, BlockDeviceMappings=[ebs("/dev/xvda"), ebs("/dev/sdb")])
    volumes = volumes_of(aws, instance)
    if "ExcludeDataVolumeIds" in specification:
        specification = {"ExcludeDataVolumeIds": [volumes["/dev/sdb"]]}

    made = aws.ec2.create_snapshots(
        InstanceSpecification={"InstanceId": instance, **specification}
    )["Snapshots"]

    assert [each["VolumeId"] for each in made] == [volumes[each] for each in devices]
    aws.store.wait_snapshots([each["SnapshotId"] for each in made])


def test_boot_volume_is_not_left_out_by_its_id_nor_everything(aws: Service) -> None:
    instance = new_instance(aws, BlockDeviceMappings=[ebs("/dev/xvda")])
    root = volumes_of(aws, instance)["/dev/xvda"]

    for excluded in ({"ExcludeDataVolumeIds": [root]}, {"ExcludeBootVolume": True}):
        specification = {"InstanceId": instance, **excluded}
        refused = refusal(aws.ec2.create_snapshots, InstanceSpecification=specification)
        assert refused == ("InvalidParameterValue", 400)
    specification = {"InstanceId": MISSING}
    refused = refusal(aws.ec2.create_snapshots, InstanceSpecification=specification)
    assert refused == ("InvalidInstanceID.NotFound", 400)


def test_instances_and_attachments_survive_a_rebuild() -> None:
    with running_service() as aws:
        instance = new_instance(aws, BlockDeviceMappings=[ebs("/dev/xvda")])
        aws.store.tags.create([instance], {"Name": "web", "Old": ""})
        aws.store.tags.delete([instance], {"Old": None})
        kept = aws.store.instances.get(instance)
        assert kept.tags == {"Name": "web"}
        volumes = aws.store.volumes.list()
        harness = aws.harness
        harness.store.close()
        Store.rebuild(harness.path)
        store = harness.reopen()

        assert store.instances.get(instance) == kept
        assert store.volumes.list() == volumes
        assert [each.attachment for each in volumes] == list(kept.attachments)
        assert not store.check().findings


def test_client_token_makes_instances_once(aws: Service) -> None:
    """Section 3.2 has it of volumes: IdempotentParameterMismatch."""
    wanted = {"ClientToken": "token-1", "MinCount": 2, "MaxCount": 2}
    mappings = [ebs("/dev/sdf")]

    made = aws.ec2.run_instances(**wanted, BlockDeviceMappings=mappings)["Instances"]
    again = aws.ec2.run_instances(**wanted, BlockDeviceMappings=mappings)["Instances"]

    ids = [each["InstanceId"] for each in made]
    assert [each["InstanceId"] for each in again] == ids
    assert len(set(ids)) == 2
    assert refusal(aws.ec2.run_instances, **wanted) == ("IdempotentParameterMismatch", 400)
    aws.ec2.terminate_instances(InstanceIds=ids)


def test_instances_and_their_volumes_are_tagged(aws: Service) -> None:
    ec2 = aws.ec2
    made = ec2.run_instances(
        MinCount=2,
        MaxCount=2,
        BlockDeviceMappings=[ebs("/dev/xvda")],
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "tagged"}]},
            {"ResourceType": "volume", "Tags": [{"Key": "Of", "Value": "tagged"}]},
        ],
    )
    one, two = (each["InstanceId"] for each in made["Instances"])
    by_name = [{"Name": "tag:Name", "Values": ["tagged"]}]

    (reservation,) = ec2.describe_instances(Filters=by_name)["Reservations"]
    assert reservation["ReservationId"] == made["ReservationId"]
    assert [each["InstanceId"] for each in reservation["Instances"]] == [one, two]
    assert [each["AmiLaunchIndex"] for each in reservation["Instances"]] == [0, 1]
    of_both = ec2.describe_volumes(Filters=[{"Name": "tag:Of", "Values": ["tagged"]}])["Volumes"]
    assert {each["Attachments"][0]["InstanceId"] for each in of_both} == {one, two}

    ec2.create_tags(Resources=[one, two], Tags=[{"Key": "More", "Value": "1"}])
    ec2.delete_tags(Resources=[two], Tags=[{"Key": "Name"}])
    told = ec2.describe_tags(Filters=[{"Name": "resource-type", "Values": ["instance"]}])["Tags"]
    shown = {(each["ResourceId"], each["Key"]) for each in told}
    assert shown == {(one, "Name"), (one, "More"), (two, "More")}
    unknown = {"Resources": ["i-00000000000000000"], "Tags": [{"Key": "a", "Value": ""}]}
    assert refusal(ec2.create_tags, **unknown) == ("InvalidInstanceID.NotFound", 400)
    assert refusal(aws.other.create_tags, **{**unknown, "Resources": [one]}) == (
        "InvalidInstanceID.NotFound",
        400,
    )
    ec2.terminate_instances(InstanceIds=[one, two])
