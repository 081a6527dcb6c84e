"""boto3 against the endpoint: the story of volumes and snapshots, errors, waiters, pages."""

import re
from pathlib import Path
from typing import Any

import pytest

from ebsim.testing.aws import RunningEndpoint

boto3 = pytest.importorskip("boto3")
from botocore import xform_name  # noqa: E402 - skipped above where it is missing
from botocore.exceptions import ClientError  # noqa: E402

from ebsim.server.operations import load_operations  # noqa: E402

ZONE = "us-east-1a"
QUICK = {"Delay": 0, "MaxAttempts": 20_000}


def tags(kind: str, **values: str) -> list[dict[str, Any]]:
    return [
        {
            "ResourceType": kind,
            "Tags": [{"Key": key, "Value": value} for key, value in values.items()],
        }
    ]


def code_of(caught: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def new_volume(ec2: Any, **options: Any) -> str:
    volume = ec2.create_volume(**{"Size": 1, "AvailabilityZone": ZONE, **options})
    found: str = volume["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[found], WaiterConfig=QUICK)
    return found


def test_volume_is_written_to_and_its_snapshot_restored(
    ebsim_endpoint: RunningEndpoint, ebsim_ec2: Any
) -> None:
    """What the engine writes to a volume is in the snapshot that boto3 took of it."""
    volume = new_volume(ebsim_ec2, TagSpecifications=tags("volume", Name="web1"))
    with ebsim_endpoint.store.volumes.open(volume) as file:
        file.pwrite(b"the bytes", 12345)

    snapshot = ebsim_ec2.create_snapshot(
        VolumeId=volume,
        Description="Manual backup before update",
        TagSpecifications=tags("snapshot", Name="SampleSnapshot"),
    )
    assert snapshot["State"] == "pending"
    ebsim_ec2.get_waiter("snapshot_completed").wait(
        SnapshotIds=[snapshot["SnapshotId"]], WaiterConfig=QUICK
    )

    (shown,) = ebsim_ec2.describe_snapshots(SnapshotIds=[snapshot["SnapshotId"]])["Snapshots"]
    assert (shown["State"], shown["Progress"], shown["VolumeId"]) == ("completed", "100%", volume)
    assert shown["Tags"] == [{"Key": "Name", "Value": "SampleSnapshot"}]
    assert shown["FullSnapshotSizeInBytes"] == 512 * 1024
    second = new_volume(ebsim_ec2, SnapshotId=snapshot["SnapshotId"])
    with ebsim_endpoint.store.volumes.open(second) as file:
        assert file.pread(9, 12345) == b"the bytes"

    ebsim_ec2.delete_snapshot(SnapshotId=snapshot["SnapshotId"])
    ebsim_ec2.delete_volume(VolumeId=volume)
    ebsim_ec2.get_waiter("volume_deleted").wait(VolumeIds=[volume], WaiterConfig=QUICK)
    with pytest.raises(ClientError) as caught:
        ebsim_ec2.describe_snapshots(SnapshotIds=[snapshot["SnapshotId"]])
    assert code_of(caught) == ("InvalidSnapshot.NotFound", 400)


def test_pages_are_those_of_boto3(ebsim_ec2: Any) -> None:
    volumes = [new_volume(ebsim_ec2) for _ in range(7)]

    pages = list(
        ebsim_ec2.get_paginator("describe_volumes").paginate(PaginationConfig={"PageSize": 5})
    )

    assert [len(page["Volumes"]) for page in pages] == [5, 2]
    assert [each["VolumeId"] for page in pages for each in page["Volumes"]] == volumes


def test_copy_goes_to_the_region_of_the_client(ebsim_endpoint: RunningEndpoint) -> None:
    here, there = ebsim_endpoint.client("ec2"), ebsim_endpoint.client("ec2", region="eu-central-1")
    volume = new_volume(here)
    snapshot = here.create_snapshot(VolumeId=volume)["SnapshotId"]
    here.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig=QUICK)

    copy = there.copy_snapshot(SourceRegion="us-east-1", SourceSnapshotId=snapshot)["SnapshotId"]

    assert [each["SnapshotId"] for each in there.describe_snapshots()["Snapshots"]] == [copy]
    assert [each["SnapshotId"] for each in here.describe_snapshots()["Snapshots"]] == [snapshot]


def test_accounts_see_what_is_theirs(ebsim_endpoint: RunningEndpoint) -> None:
    one, other = ebsim_endpoint.client("ec2"), ebsim_endpoint.client("ec2", "111122223333")
    volume = new_volume(one)

    assert other.describe_volumes()["Volumes"] == []
    with pytest.raises(ClientError) as caught:
        other.delete_volume(VolumeId=volume)
    assert code_of(caught) == ("InvalidVolume.NotFound", 400)


def test_tags_are_created_described_and_deleted(ebsim_ec2: Any) -> None:
    volume = new_volume(ebsim_ec2)

    ebsim_ec2.create_tags(Resources=[volume], Tags=[{"Key": "a", "Value": "1"}, {"Key": "b"}])
    by_volume = [{"Name": "resource-id", "Values": [volume]}]
    shown = ebsim_ec2.describe_tags(Filters=by_volume)["Tags"]
    assert [(each["Key"], each["Value"]) for each in shown] == [("a", "1"), ("b", "")]
    ebsim_ec2.delete_tags(Resources=[volume], Tags=[{"Key": "a"}])

    assert [each["Key"] for each in ebsim_ec2.describe_tags(Filters=by_volume)["Tags"]] == ["b"]


def test_dry_run_changes_nothing(ebsim_ec2: Any) -> None:
    with pytest.raises(ClientError) as caught:
        ebsim_ec2.create_volume(Size=1, AvailabilityZone=ZONE, DryRun=True)

    assert code_of(caught) == ("DryRunOperation", 412)
    assert ebsim_ec2.describe_volumes()["Volumes"] == []


def test_operation_that_is_not_served_says_what_is(ebsim_ec2: Any) -> None:
    with pytest.raises(ClientError, match="CreateVolume") as caught:
        ebsim_ec2.describe_vpcs()

    assert code_of(caught) == ("InvalidAction", 400)


def test_wrong_secret_is_refused_and_nothing_done(ebsim_endpoint: RunningEndpoint) -> None:
    good = ebsim_endpoint.client("ec2")
    bad = boto3.client(
        "ec2",
        endpoint_url=ebsim_endpoint.url,
        region_name="us-east-1",
        aws_access_key_id=ebsim_endpoint.credentials.of_account().access_key,
        aws_secret_access_key="wrong",
    )

    with pytest.raises(ClientError) as caught:
        bad.create_volume(Size=1, AvailabilityZone=ZONE)

    assert code_of(caught) == ("SignatureDoesNotMatch", 403)
    assert good.describe_volumes()["Volumes"] == []


def test_caller_zones_and_regions_are_told(ebsim_endpoint: RunningEndpoint) -> None:
    other = ebsim_endpoint.client("sts", "111122223333", "eu-central-1")
    ec2 = ebsim_endpoint.client("ec2", region="eu-central-1")

    assert other.get_caller_identity()["Account"] == "111122223333"
    zones = ec2.describe_availability_zones()["AvailabilityZones"]
    assert [each["ZoneName"] for each in zones][:2] == ["eu-central-1a", "eu-central-1b"]
    regions = ec2.describe_regions()["Regions"]
    assert "eu-central-1" in [each["RegionName"] for each in regions]
    new_volume(ec2, AvailabilityZone="eu-central-1b")


def test_every_operation_is_called_in_some_test_here() -> None:
    """So every answer is compared with what botocore makes of it (ebsim.testing.aws_answers)."""
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("*.py"))
    called = set(re.findall(r"\b[a-z]\w+", tests))
    served = {name for _, name in load_operations().known}
    assert {name for name in served if xform_name(name) not in called} == set()
