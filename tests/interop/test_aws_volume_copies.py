"""boto3 against the endpoint: CopyVolumes, and CreateImage of pretended instances."""

from typing import Any

import pytest

from ebsim.testing.aws_service import QUICK, Service, refusal

pytest.importorskip("boto3")

MISSING = "00000000000000000"


def tagged(*kinds: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": [{"Key": "of", "Value": kind}]} for kind in kinds]


def read(aws: Service, volume: str) -> bytes:
    with aws.store.volumes.open(volume) as file:
        found: bytes = file.pread(6, 0)
        return found


def test_volume_is_copied(aws: Service) -> None:
    source = aws.volume()
    aws.snapshot(source, b"before")

    (made,) = aws.ec2.copy_volumes(
        SourceVolumeId=source, VolumeType="gp3", Size=2, TagSpecifications=tagged("volume")
    )["Volumes"]
    with aws.store.volumes.open(source) as file:
        file.pwrite(b"after!", 0)

    assert (made["State"], made["SourceVolumeId"]) == ("creating", source)
    assert "Attachments" not in made
    copy = made["VolumeId"]
    aws.ec2.get_waiter("volume_available").wait(VolumeIds=[copy], WaiterConfig=QUICK)
    (shown,) = aws.ec2.describe_volumes(VolumeIds=[copy])["Volumes"]
    assert (shown["VolumeType"], shown["Size"], shown["SourceVolumeId"]) == ("gp3", 2, source)
    assert shown["Tags"] == [{"Key": "of", "Value": "volume"}]
    assert (shown["SnapshotId"], read(aws, copy)) == ("", b"before")
    (status,) = aws.ec2.describe_volume_status(VolumeIds=[copy])["VolumeStatuses"]
    assert status["InitializationStatusDetails"]["InitializationType"] == "volume-copy"
    for parameters, code in (
        ({"SourceVolumeId": f"vol-{MISSING}"}, "InvalidVolume.NotFound"),
        ({"SourceVolumeId": "vol-x"}, "InvalidVolumeID.Malformed"),
        ({"SourceVolumeId": copy, "Size": 1}, "InvalidParameterValue"),
        ({"SourceVolumeId": copy, "TagSpecifications": tagged("image")}, "InvalidParameterValue"),
        ({"SourceVolumeId": copy, "DryRun": True}, "DryRunOperation"),
    ):
        refused_with, _ = refusal(aws.ec2.copy_volumes, **parameters)
        assert refused_with == code


def new_instance(aws: Service) -> str:
    snapshot = aws.snapshot(data=b"system")
    image = aws.ec2.register_image(
        Name=f"base {snapshot}",
        BlockDeviceMappings=[
            {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}},
            {
                "DeviceName": "/dev/sdf",
                "Ebs": {"SnapshotId": snapshot, "VolumeType": "io1", "VolumeSize": 4, "Iops": 150},
            },
        ],
    )["ImageId"]
    made = aws.ec2.run_instances(MinCount=1, MaxCount=1, ImageId=image)["Instances"][0]
    found: str = made["InstanceId"]
    return found


def test_image_of_an_instance(aws: Service) -> None:
    instance = new_instance(aws)

    image = aws.ec2.create_image(
        InstanceId=instance,
        Name="golden",
        Description="as it is",
        NoReboot=True,
        TagSpecifications=tagged("image", "snapshot"),
        BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"DeleteOnTermination": False}}],
    )["ImageId"]

    aws.ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig=QUICK)
    (shown,) = aws.ec2.describe_images(ImageIds=[image])["Images"]
    assert (shown["Name"], shown["Description"], shown["State"]) == (
        "golden",
        "as it is",
        "available",
    )
    assert (shown["SourceInstanceId"], shown["RootDeviceName"]) == (instance, "/dev/xvda")
    assert shown["Tags"] == [{"Key": "of", "Value": "image"}]
    root, data = (each["Ebs"] for each in shown["BlockDeviceMappings"])
    assert (root["VolumeSize"], root["VolumeType"], root["DeleteOnTermination"]) == (1, "gp2", True)
    assert (data["VolumeType"], data["Iops"], data["DeleteOnTermination"]) == ("io1", 150, False)
    ids = [root["SnapshotId"], data["SnapshotId"]]
    for snapshot in aws.ec2.describe_snapshots(SnapshotIds=ids)["Snapshots"]:
        assert snapshot["Tags"] == [{"Key": "of", "Value": "snapshot"}]
        assert image in snapshot["Description"]
        code = refusal(aws.ec2.delete_snapshot, SnapshotId=snapshot["SnapshotId"])
        assert code == ("InvalidSnapshot.InUse", 400)
    made = aws.ec2.run_instances(MinCount=1, MaxCount=1, ImageId=image)["Instances"][0]
    volume = made["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    assert read(aws, volume) == b"system"

    mappings = [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 8}}]
    for parameters, wanted in (
        ({"Name": "golden"}, "InvalidAMIName.Duplicate"),
        ({"Name": "a*b"}, "InvalidAMIName.Malformed"),
        ({"InstanceId": f"i-{MISSING}"}, "InvalidInstanceID.NotFound"),
        ({"SnapshotLocation": "local"}, "InvalidParameterValue"),
        ({"BlockDeviceMappings": mappings}, "InvalidBlockDeviceMapping"),
        ({"TagSpecifications": tagged("volume")}, "InvalidParameterValue"),
        ({"DryRun": True}, "DryRunOperation"),
    ):
        asked = {"InstanceId": instance, "Name": "another", **parameters}
        refused_with, _ = refusal(aws.ec2.create_image, **asked)
        assert refused_with == wanted
