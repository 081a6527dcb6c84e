"""EC2's errors over boto3 beyond its catalogue, which test_aws_error_catalogue.py has.

Other ways to them, other codes, DryRun of each operation, and what must not be told.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from ebsim.core.tag_operations import TagOperations
from ebsim.errors import ErrorCode
from ebsim.testing.aws_service import ZONE, Service, refusal

pytest.importorskip("boto3")
from botocore import xform_name
from botocore.model import ListShape, Shape, StructureShape

from ebsim.server.operations import load_operations
from ebsim.server.protocol.models import load_model

MISSING = "00000000000000000"


def values(name: str, count: int) -> list[dict[str, Any]]:
    return [{"Name": name, "Values": [str(each) for each in range(count)]}]


def owned_volumes(count: int) -> dict[str, Any]:
    return {"VolumeIds": [f"vol-{MISSING}"], "MaxResults": count}


SIMPLE: list[tuple[str, str, dict[str, Any]]] = [
    ("InvalidSnapshot.NotFound", "describe_snapshots", {"SnapshotIds": [f"snap-{MISSING}"]}),
    ("InvalidSnapshot.NotFound", "delete_snapshot", {"SnapshotId": f"snap-{MISSING}"}),
    ("InvalidSnapshotID.Malformed", "delete_snapshot", {"SnapshotId": "snap-xyz"}),
    ("InvalidParameterValue", "delete_snapshot", {"SnapshotId": "foo"}),
    ("InvalidVolume.NotFound", "create_snapshot", {"VolumeId": f"vol-{MISSING}"}),
    ("InvalidVolumeID.Malformed", "delete_volume", {"VolumeId": "vol-xyz"}),
    (
        "UnknownVolumeType",
        "create_volume",
        {"Size": 1, "AvailabilityZone": ZONE, "VolumeType": "x"},
    ),
    ("InvalidZone.NotFound", "create_volume", {"Size": 1, "AvailabilityZone": "us-east-1z"}),
    ("MissingParameter", "create_volume", {"AvailabilityZone": ZONE}),
    ("InvalidParameterValue", "create_volume", {"AvailabilityZone": ZONE, "Size": 99999}),
    (
        "InvalidParameterCombination",
        "create_volume",
        {"AvailabilityZone": ZONE, "Size": 1, "Iops": 3000},
    ),
    (
        "InvalidParameterDependency",
        "create_volume",
        {"AvailabilityZone": ZONE, "Size": 1, "KmsKeyId": "alias/aws/ebs"},
    ),
    ("InvalidParameterCombination", "describe_volumes", owned_volumes(5)),
    ("InvalidUserID.Malformed", "describe_snapshots", {"OwnerIds": ["nobody"]}),
    ("InvalidPaginationToken", "describe_snapshots", {"MaxResults": 5, "NextToken": "next"}),
    ("FilterLimitExceeded", "describe_snapshots", {"Filters": values("volume-id", 201)}),
    ("InvalidParameterValue", "describe_snapshots", {"Filters": values("colour", 1)}),
    ("InvalidID", "create_tags", {"Resources": ["eni-12"], "Tags": [{"Key": "a", "Value": ""}]}),
    ("InvalidAMIID.Malformed", "deregister_image", {"ImageId": "ami-xyz"}),
    ("InvalidAMIID.NotFound", "deregister_image", {"ImageId": f"ami-{MISSING}"}),
    ("InvalidAMIName.Malformed", "register_image", {"Name": "a*b"}),
    (
        "InvalidBlockDeviceMapping",
        "register_image",
        {"Name": "web", "BlockDeviceMappings": [{"DeviceName": "/dev/sda"}]},
    ),
    ("CustomerKeyHasBeenRevoked", "modify_ebs_default_kms_key_id", {"KmsKeyId": MISSING}),
    ("InvalidAction", "describe_vpcs", {}),
]


@pytest.mark.parametrize(("code", "call", "parameters"), SIMPLE)
def test_request_that_is_refused_by_what_it_says(
    aws: Service, code: str, call: str, parameters: dict[str, Any]
) -> None:
    assert refusal(getattr(aws.ec2, call), **parameters) == (code, 400)


def test_message_names_what_is_missing(aws: Service) -> None:
    with pytest.raises(Exception, match="The snapshot 'snap-00000000000000000' does not exist"):
        aws.ec2.describe_snapshots(SnapshotIds=[f"snap-{MISSING}"])


def test_dry_run(aws: Service) -> None:
    """Section 9: authorization and required parameters first, then DryRunOperation, for each."""
    volume = aws.volume()
    assert refusal(aws.ec2.delete_volume, VolumeId=volume, DryRun=True) == ("DryRunOperation", 412)
    assert aws.ec2.describe_volumes(VolumeIds=[volume])["Volumes"]


def least(shape: Shape) -> Any:
    """Return a value of a shape with no more than it needs."""
    if isinstance(shape, StructureShape):
        return {name: least(shape.members[name]) for name in shape.required_members}
    if isinstance(shape, ListShape):
        return [least(shape.member) or dict.fromkeys(shape.member.members, "text")]
    if shape.type_name == "timestamp":
        return datetime(2030, 1, 1, tzinfo=UTC)
    return {"integer": 1, "boolean": True}.get(shape.type_name, "text")


def served_by_ec2() -> list[str]:
    return sorted(name for service, name in load_operations().known if service == "ec2")


@pytest.mark.parametrize("name", served_by_ec2())
def test_dry_run_of_each_operation(aws: Service, name: str) -> None:
    operation = load_model("ec2").operation_model(name)
    parameters = least(operation.input_shape)
    before = aws.store.events()

    refused = refusal(getattr(aws.ec2, xform_name(name)), **parameters, DryRun=True)

    assert refused == ("DryRunOperation", 412)
    assert aws.store.events() == before


def test_snapshot_of_the_direct_apis_that_is_not_there(aws: Service) -> None:
    """Point 14 of section 11: 404 there, where EC2 has 400."""
    refused = refusal(aws.client("ebs").list_snapshot_blocks, SnapshotId=f"snap-{MISSING}")
    assert refused == ("ResourceNotFoundException", 404)


def test_snapshot_in_use_and_image_name_taken(aws: Service) -> None:
    snapshot = aws.snapshot()
    mapping = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}]
    image = aws.ec2.register_image(Name="one", BlockDeviceMappings=mapping)["ImageId"]

    assert refusal(aws.ec2.register_image, Name="one", BlockDeviceMappings=mapping) == (
        "InvalidAMIName.Duplicate",
        400,
    )
    assert refusal(aws.ec2.delete_snapshot, SnapshotId=snapshot) == ("InvalidSnapshot.InUse", 400)
    aws.ec2.deregister_image(ImageId=image)


def test_volume_in_use(aws: Service) -> None:
    volume = aws.volume()
    with aws.store.volumes.open(volume):
        assert refusal(aws.ec2.delete_volume, VolumeId=volume) == ("VolumeInUse", 400)


def test_volume_modification_rate(aws: Service) -> None:
    """Section 3.4: at most four in 24 hours."""
    volume = aws.volume()
    for size in (2, 3, 4, 5):
        aws.ec2.modify_volume(VolumeId=volume, Size=size)
    assert refusal(aws.ec2.modify_volume, VolumeId=volume, Size=6) == (
        "VolumeModificationRateExceeded",
        400,
    )


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("VolumeLimitExceeded", {"storage_gib_per_type": 0}),
        ("ResourceLimitExceeded", {"initialization_mib_s": 0}),
    ],
)
def test_quotas_of_volumes(aws: Service, code: str, changes: dict[str, Any]) -> None:
    snapshot = aws.snapshot()
    with aws.quotas(**changes):
        refused = refusal(
            aws.ec2.create_volume,
            SnapshotId=snapshot,
            AvailabilityZone=ZONE,
            VolumeInitializationRate=100,
        )
    assert refused == (code, 400)


@contextmanager
def pending(aws: Service, volume: str, count: int) -> Iterator[str]:
    """A context in which snapshots of a volume are pending: the id of the first."""
    with aws.harness.faults.hold_snapshots():
        made = [aws.ec2.create_snapshot(VolumeId=volume)["SnapshotId"] for _ in range(count)]
        yield made[0]
    aws.store.wait_snapshots(made)


def test_incorrect_state(aws: Service) -> None:
    volume = aws.volume()
    with pending(aws, volume, 1) as snapshot:
        refused = refusal(aws.ec2.create_volume, SnapshotId=snapshot, AvailabilityZone=ZONE)
        copied = refusal(aws.ec2.copy_snapshot, SourceRegion="us-east-1", SourceSnapshotId=snapshot)
    assert (refused, copied) == (("IncorrectState", 400), ("IncorrectState", 400))


@pytest.mark.parametrize(
    ("code", "given"),
    [
        ("InvalidTagKey.Malformed", [{"Key": "aws:mine", "Value": ""}]),
        ("TagLimitExceeded", [{"Key": f"key{each}", "Value": ""} for each in range(51)]),
        ("InvalidParameterValue", [{"Key": "long", "Value": "x" * 257}]),
    ],
)
def test_tags(aws: Service, code: str, given: list[dict[str, str]]) -> None:
    volume = aws.volume()
    assert refusal(aws.ec2.create_tags, Resources=[volume], Tags=given) == (code, 400)


@contextmanager
def altered(aws: Service, change: Callable[[dict[str, Any]], object]) -> Iterator[None]:
    """A context in which DescribeVolumes is sent with other fields than boto3 would send."""

    def before(params: dict[str, Any], **_others: object) -> None:
        change(params["body"])

    event = "before-call.ec2.DescribeVolumes"
    aws.ec2.meta.events.register(event, before)
    try:
        yield
    finally:
        aws.ec2.meta.events.unregister(event, before)


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("UnknownParameter", lambda fields: fields.update({"Colour": "red"})),
        ("MissingAction", lambda fields: fields.pop("Action")),
        ("InvalidAction", lambda fields: fields.update({"Action": "Fly"})),
        ("InvalidParameterValue", lambda fields: fields.update({"MaxResults": "many"})),
        ("NoSuchVersion", lambda fields: fields.update({"Version": "1999-01-01"})),
    ],
)
def test_request_that_boto3_would_not_send(
    aws: Service, code: str, change: Callable[[dict[str, Any]], object]
) -> None:
    with altered(aws, change):
        assert refusal(aws.ec2.describe_volumes) == (code, 400)


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (RuntimeError("broken"), ("InternalError", 500)),
        (OSError(5, "broken"), ("InternalError", 500)),
    ],
)
def test_internal_error(
    aws: Service, monkeypatch: pytest.MonkeyPatch, error: Exception, answer: tuple[str, int]
) -> None:
    """What went wrong inside is in the log, not in the answer."""

    def broken(*_given: object) -> None:
        raise error

    monkeypatch.setattr(TagOperations, "describe", broken)
    with pytest.raises(Exception, match="An internal error has occurred"):
        aws.ec2.describe_tags()
    assert refusal(aws.ec2.describe_tags) == answer


def test_codes_of_ec2_are_those_of_the_engine() -> None:
    """Every code of the table that the engine raises is told as it is."""
    told = {code for code, _, _ in SIMPLE}
    engine = {str(each) for each in ErrorCode}
    of_the_protocol = {"InvalidAction"}
    assert told - engine == of_the_protocol
