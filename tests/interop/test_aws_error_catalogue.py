"""EC2's error catalogue over the wire: each row of semantics section 9, its code and HTTP status.

CATALOGUE has every code of section 9: how it is provoked with boto3, or why nothing in ebsim leads
to it; docs/aws-api.md tells the same.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ebsim.core.tag_operations import TagOperations
from ebsim.testing.aws_service import OTHER, ZONE, Service, refusal

pytest.importorskip("boto3")
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.httpsession import URLLib3Session

from ebsim.server.protocol.models import SERVICES

DOCUMENT = Path(__file__).parents[2] / "docs" / "aws-api.md"
MISSING = "00000000000000000"
Provoked = tuple[str, int]


@dataclass(frozen=True)
class Row:
    """A code of the catalogue.

    Attributes:
        status: Its HTTP status.
        provoke: Returns what a request was refused with.
        why_not: Why it cannot be provoked, if it cannot.
    """

    status: int
    provoke: Callable[[Service], Provoked] | None = None
    why_not: str = ""


def calling(operation: str, **parameters: Any) -> Row:
    """A row that a call of EC2 gives with no more than its parameters."""
    return Row(400, lambda aws: refusal(getattr(aws.ec2, operation), **parameters))


def never(why: str, status: int = 400) -> Row:
    return Row(status, why_not=why)


@contextmanager
def pending(aws: Service, volume: str, count: int = 1) -> Iterator[str]:
    """A context in which snapshots of a volume are pending: the id of the first."""
    with aws.harness.faults.hold_snapshots():
        made = [aws.ec2.create_snapshot(VolumeId=volume)["SnapshotId"] for _ in range(count)]
        yield made[0]
    aws.store.wait_snapshots(made)


def one_snapshot_too_many(count: int = 1, **changes: Any) -> Callable[[Service], Provoked]:
    def provoke(aws: Service) -> Provoked:
        volume = aws.volume()
        with pending(aws, volume, count), aws.quotas(**changes):
            return refusal(aws.ec2.create_snapshot, VolumeId=volume)

    return provoke


def snapshot_of_an_image(aws: Service) -> Provoked:
    snapshot = aws.snapshot()
    mapping = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}]
    aws.ec2.register_image(Name="uses a snapshot", BlockDeviceMappings=mapping)
    return refusal(aws.ec2.delete_snapshot, SnapshotId=snapshot)


def copy_too_many(aws: Service) -> Provoked:
    there, snapshot = aws.client("ec2", "123456789012", "eu-west-1"), aws.snapshot()
    with aws.quotas(pending_copies=0):
        return refusal(there.copy_snapshot, SourceRegion="us-east-1", SourceSnapshotId=snapshot)


def instance(aws: Service) -> str:
    made = aws.ec2.run_instances(MinCount=1, MaxCount=1)["Instances"][0]
    found: str = made["InstanceId"]
    return found


def attached(aws: Service, volume: str) -> dict[str, str]:
    where = {"VolumeId": volume, "InstanceId": instance(aws)}
    aws.ec2.attach_volume(**where, Device="/dev/sdf")
    return where


def attach_across_zones(aws: Service) -> Provoked:
    where = {"VolumeId": aws.volume(zone="us-east-1b"), "InstanceId": instance(aws)}
    return refusal(aws.ec2.attach_volume, **where, Device="/dev/sdf")


def delete_attached(aws: Service) -> Provoked:
    return refusal(aws.ec2.delete_volume, VolumeId=attached(aws, aws.volume())["VolumeId"])


def detach_available(aws: Service) -> Provoked:
    return refusal(aws.ec2.detach_volume, VolumeId=aws.volume())


def detach_from_another(aws: Service) -> Provoked:
    where = attached(aws, aws.volume())
    return refusal(aws.ec2.detach_volume, **where | {"InstanceId": instance(aws)})


def modify_while_modified(aws: Service) -> Provoked:
    volume = aws.volume()
    with aws.quotas(modification_s=100):
        aws.ec2.modify_volume(VolumeId=volume, Size=2)
        return refusal(aws.ec2.modify_volume, VolumeId=volume, Size=3)


def volume_too_many(aws: Service) -> Provoked:
    with aws.quotas(storage_gib_per_type=0):
        return refusal(aws.ec2.create_volume, Size=1, AvailabilityZone=ZONE)


def tag_too_many(aws: Service) -> Provoked:
    tags = [{"Key": f"key {each}", "Value": ""} for each in range(51)]
    return refusal(aws.ec2.create_tags, Resources=[aws.volume()], Tags=tags)


def tag_of_aws(aws: Service) -> Provoked:
    tags = [{"Key": "aws:mine", "Value": ""}]
    return refusal(aws.ec2.create_tags, Resources=[aws.volume()], Tags=tags)


def token_used_twice(aws: Service) -> Provoked:
    wanted = {"AvailabilityZone": ZONE, "ClientToken": "a token"}
    aws.ec2.create_volume(Size=1, **wanted)
    return refusal(aws.ec2.create_volume, Size=2, **wanted)


def share_under_the_default_key(aws: Service) -> Provoked:
    snapshot = aws.snapshot(aws.volume(encrypted=True))
    added = {"Add": [{"UserId": OTHER}]}
    return refusal(
        aws.ec2.modify_snapshot_attribute, SnapshotId=snapshot, CreateVolumePermission=added
    )


def delete_what_is_shared(aws: Service) -> Provoked:
    snapshot = aws.snapshot()
    added = {"Add": [{"UserId": OTHER}]}
    aws.ec2.modify_snapshot_attribute(SnapshotId=snapshot, CreateVolumePermission=added)
    return refusal(aws.other.delete_snapshot, SnapshotId=snapshot)


def product_codes(aws: Service) -> Provoked:
    return refusal(
        aws.ec2.modify_snapshot_attribute,
        SnapshotId=aws.snapshot(),
        Attribute="productCodes",
        OperationType="add",
    )


def dry_run(aws: Service) -> Provoked:
    return refusal(aws.ec2.create_volume, Size=1, AvailabilityZone=ZONE, DryRun=True)


def altered(change: Callable[[dict[str, Any]], object]) -> Row:
    """A row for a request that boto3 would not send: DescribeVolumes with other fields."""

    def provoke(aws: Service) -> Provoked:
        def before(params: dict[str, Any], **_others: object) -> None:
            change(params["body"])

        event = "before-call.ec2.DescribeVolumes"
        aws.ec2.meta.events.register(event, before)
        try:
            return refusal(aws.ec2.describe_volumes)
        finally:
            aws.ec2.meta.events.unregister(event, before)

    return Row(400, provoke)


def throttled(aws: Service) -> Provoked:
    aws.endpoint.throttle("DescribeRegions")
    return refusal(aws.ec2.describe_regions)


def broken_inside(aws: Service) -> Provoked:
    def broken(*_given: object) -> None:
        raise RuntimeError("broken")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TagOperations, "describe", broken)
        return refusal(aws.ec2.describe_tags)


# signatures: what a request is altered to before or after it is signed


def client_with(aws: Service, service: str = "ec2", **changes: Any) -> Any:
    import boto3

    known = aws.endpoint.credentials.of_account()
    options = {
        "endpoint_url": aws.endpoint.url,
        "region_name": "us-east-1",
        "aws_access_key_id": known.access_key,
        "aws_secret_access_key": known.secret,
        "config": Config(retries={"total_max_attempts": 1, "mode": "standard"}),
    }
    return boto3.client(service, **options | changes)


def unknown_key(aws: Service) -> Provoked:
    stranger = client_with(aws, aws_access_key_id="AKIANOBODY0000000000")
    return refusal(stranger.describe_volumes)


def wrong_secret(aws: Service) -> Provoked:
    return refusal(client_with(aws, aws_secret_access_key="wrong").describe_volumes)


def unsigned(aws: Service) -> Provoked:
    from botocore import UNSIGNED

    nobody = client_with(aws, config=Config(signature_version=UNSIGNED))
    return refusal(nobody.describe_volumes)


def signed_otherwise(aws: Service, change: Callable[[Any], object]) -> Provoked:
    """Have the signature of a request altered before it is sent."""
    client = client_with(aws)

    def before(request: Any, **_others: object) -> None:
        change(request)

    client.meta.events.register("before-send.ec2.DescribeVolumes", before)
    return refusal(client.describe_volumes)


def signed_an_hour_ago(aws: Service) -> Provoked:
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda *_given: hour_ago)
        return refusal(client_with(aws).describe_volumes)


def half_a_signature(aws: Service) -> Provoked:
    def halve(request: Any) -> None:
        whole = request.headers["Authorization"]
        text = whole.decode() if isinstance(whole, bytes) else whole
        request.headers["Authorization"] = text.partition(", Signature=")[0]

    return signed_otherwise(aws, halve)


CATALOGUE: dict[str, Row] = {
    "InvalidSnapshot.NotFound": calling("delete_snapshot", SnapshotId=f"snap-{MISSING}"),
    "InvalidSnapshotID.Malformed": calling("delete_snapshot", SnapshotId="snap-xyz"),
    "InvalidParameterValue": calling("delete_snapshot", SnapshotId="foo"),
    "InvalidSnapshot.InUse": Row(400, snapshot_of_an_image),
    "ConcurrentSnapshotLimitExceeded": Row(400, one_snapshot_too_many(5)),
    "PendingSnapshotLimitExceeded": Row(400, one_snapshot_too_many(pending_per_account=1)),
    "SnapshotCreationPerVolumeRateExceeded": Row(400, one_snapshot_too_many(snapshot_spacing_s=15)),
    "SnapshotLimitExceeded": Row(400, one_snapshot_too_many(snapshots_per_region=1)),
    "ResourceLimitExceeded": Row(400, copy_too_many),
    "SnapshotCopyUnsupported.InterRegion": never("each Region takes copies from each other"),
    "InvalidVolume.NotFound": calling("delete_volume", VolumeId=f"vol-{MISSING}"),
    "InvalidVolumeID.Malformed": calling("delete_volume", VolumeId="vol-xyz"),
    "InvalidVolumeID.Duplicate": never("ids of volumes are drawn, never given"),
    "InvalidVolumeID.ZoneMismatch": never("told as InvalidVolume.ZoneMismatch"),
    "InvalidVolume.ZoneMismatch": Row(400, attach_across_zones),
    "VolumeInUse": Row(400, delete_attached),
    "IncorrectState": Row(400, detach_available),
    "InvalidState": never("told as IncorrectState, which EC2 documents for the same"),
    "IncorrectModificationState": Row(400, modify_while_modified),
    "VolumeLimitExceeded": Row(400, volume_too_many),
    "MaxIOPSLimitExceeded": never("there is no quota of IOPS"),
    "VolumeIOPSLimit": never("there is no quota of IOPS"),
    "VolumeModificationSizeLimitExceeded": never("there is no quota of what is being modified"),
    "VolumeTypeNotAvailableInZone": never("each zone has each type of volume"),
    "UnknownVolumeType": calling("create_volume", Size=1, AvailabilityZone=ZONE, VolumeType="x"),
    "InsufficientVolumeCapacity": never("a zone holds what the disk of the store holds", 503),
    "AttachmentLimitExceeded": never("a pretended instance takes any number of volumes"),
    "EncryptedVolumesNotSupported": never("pretended instances of all types take them"),
    "CustomerKeyHasBeenRevoked": calling("modify_ebs_default_kms_key_id", KmsKeyId=MISSING),
    "InvalidParameterCombination": calling(
        "create_volume", Size=1, AvailabilityZone=ZONE, Iops=3000
    ),
    "InvalidParameterDependency": calling(
        "create_volume", Size=1, AvailabilityZone=ZONE, KmsKeyId="alias/aws/ebs"
    ),
    "InvalidParameter": never("told as InvalidParameterValue or InvalidParameterCombination"),
    "MissingParameter": calling("create_volume", AvailabilityZone=ZONE),
    "UnknownParameter": altered(lambda fields: fields.update({"Colour": "red"})),
    "TagLimitExceeded": Row(400, tag_too_many),
    "InvalidTagKey.Malformed": Row(400, tag_of_aws),
    "ConcurrentTagAccess": never("changes of tags wait for each other"),
    "TagPolicyViolation": never("there are no tag policies of an organization"),
    "InvalidUserID.Malformed": calling("describe_snapshots", OwnerIds=["nobody"]),
    "InvalidPaginationToken": calling("describe_snapshots", MaxResults=5, NextToken="next"),
    "FilterLimitExceeded": calling(
        "describe_snapshots",
        Filters=[{"Name": "volume-id", "Values": [f"vol-{each}" for each in range(201)]}],
    ),
    "IdempotentParameterMismatch": Row(400, token_used_twice),
    "OperationNotPermitted": Row(400, share_under_the_default_key),
    "UnsupportedOperation": Row(400, product_codes),
    "Unsupported": never("told as UnsupportedOperation, or as what is wrong"),
    "AuthFailure": Row(403, delete_what_is_shared),
    "UnauthorizedOperation": never("there is no IAM: an account may do all with what it has", 403),
    "DryRunOperation": Row(412, dry_run),
    "InvalidZone.NotFound": calling("create_volume", Size=1, AvailabilityZone="us-east-1z"),
    "InvalidAttachment.NotFound": Row(400, detach_from_another),
    "InvalidBlockDeviceMapping": calling(
        "register_image", Name="web", BlockDeviceMappings=[{"DeviceName": "/dev/sda"}]
    ),
    "InvalidAction": calling("describe_vpcs"),
    "MissingAction": altered(lambda fields: fields.pop("Action")),
    "InvalidClientTokenId": Row(403, unknown_key),
    "SignatureDoesNotMatch": Row(403, wrong_secret),
    "MissingAuthenticationToken": Row(403, unsigned),
    "RequestExpired": Row(400, signed_an_hour_ago),
    "IncompleteSignature": Row(400, half_a_signature),
    "RequestLimitExceeded": Row(503, throttled),
    "InternalError": Row(500, broken_inside),
    "InternalFailure": never("told as InternalError", 500),
    "ServerInternal": never("told as InternalError", 500),
}
"""Semantics section 9, in its order. The statuses of signing, 401 or 403 there, are 403 as in the
errors that are common to AWS's services, and 400 for what is incomplete or too late."""


@pytest.mark.parametrize("code", [code for code, row in CATALOGUE.items() if row.provoke])
def test_code_and_status(aws: Service, code: str) -> None:
    row = CATALOGUE[code]
    assert row.provoke is not None
    assert row.provoke(aws) == (code, row.status)


def test_what_nothing_leads_to_is_told() -> None:
    told = DOCUMENT.read_text(encoding="utf-8")
    for code, row in CATALOGUE.items():
        if row.why_not:
            assert f"| {code} | {row.why_not} |" in told


OF_JSON = {
    "InvalidClientTokenId": "UnrecognizedClientException",
    "SignatureDoesNotMatch": "InvalidSignatureException",
}


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_tells_in_its_own_form_that_a_signature_is_wrong(
    aws: Service, service: str
) -> None:
    """Also where nothing proves for which service the request is."""
    call, parameters = {
        "ec2": ("describe_volumes", {}),
        "ebs": ("list_snapshot_blocks", {"SnapshotId": f"snap-{MISSING}"}),
        "rbin": ("list_rules", {"ResourceType": "EBS_SNAPSHOT"}),
        "dlm": ("get_lifecycle_policies", {}),
        "kms": ("list_keys", {}),
        "sts": ("get_caller_identity", {}),
    }[service]
    for code, change in (
        ("InvalidClientTokenId", {"aws_access_key_id": "AKIANOBODY0000000000"}),
        ("SignatureDoesNotMatch", {"aws_secret_access_key": "wrong"}),
    ):
        client = client_with(aws, service, **change)
        expected = code if service in {"ec2", "sts"} else OF_JSON[code]
        assert refusal(getattr(client, call), **parameters) == (expected, 403)


def test_presigned_request_holds_until_it_expires(aws: Service) -> None:
    """Over HTTP, as a browser would send it."""
    wanted = {"ExpiresIn": 60, "HttpMethod": "GET"}
    url = aws.ec2.generate_presigned_url("describe_regions", **wanted)
    with pytest.MonkeyPatch.context() as patch:
        hour_ago = datetime.now(UTC) - timedelta(hours=1)
        patch.setattr("botocore.auth.get_current_datetime", lambda *_given: hour_ago)
        late = aws.ec2.generate_presigned_url("describe_regions", **wanted)

    assert fetched(url) == (200, "")
    assert fetched(late) == (400, "RequestExpired")
    assert fetched(url.replace("Version=2016-11-15", "Version=2016-11-16")) == (
        403,
        "SignatureDoesNotMatch",
    )
    assert fetched(url.partition("&X-Amz-Signature=")[0]) == (400, "IncompleteSignature")


def fetched(url: str) -> tuple[int, str]:
    """Return the HTTP status of a GET, and the code that it tells."""
    answer = URLLib3Session().send(AWSRequest("GET", url).prepare())
    code = re.search("<Code>(.*)</Code>", answer.text)
    return answer.status_code, code[1] if code else ""
