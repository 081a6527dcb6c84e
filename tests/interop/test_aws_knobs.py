"""Profiles, faults and limits of the endpoint, as boto3 meets them."""

import base64
import hashlib
import json
import ssl
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest

from ebsim.errors import InvalidInputError
from ebsim.requests import VolumeRequest
from ebsim.testing.aws import RunningEndpoint, running_endpoint
from ebsim.testing.aws_service import QUICK, Service, refusal
from ebsim.testing.harness import Harness
from ebsim.units import BLOCK_SIZE

pytest.importorskip("boto3")
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ebsim.server.observing import MetricsFor
from ebsim.server.process import ServeOptions
from ebsim.server.profiles import Profile


def got(url: str, **options: Any) -> str:
    with urllib.request.urlopen(url, timeout=120, **options) as response:
        return str(response.read().decode())


# Faults


def test_throttled_call_is_tried_again_by_boto3(aws: Service) -> None:
    """Section 9: RequestLimitExceeded, 503, retryable; the third call is the one that is told."""
    aws.endpoint.throttle("DescribeRegions", nth=3)
    assert [refusal_or_none(aws.ec2.describe_regions) for _ in range(4)] == [
        None,
        None,
        ("RequestLimitExceeded", 503),
        None,
    ]
    aws.endpoint.throttle("DescribeRegions")
    patient = aws.endpoint.client("ec2")
    response = patient.describe_regions()["ResponseMetadata"]
    assert (response["HTTPStatusCode"], response["RetryAttempts"]) == (200, 1)


def refusal_or_none(call: Any, **parameters: object) -> tuple[str, int] | None:
    try:
        return refusal(call, **parameters)
    except AssertionError:
        return None


@pytest.mark.parametrize(
    ("service", "operation", "call", "parameters", "answer"),
    [
        (
            "ebs",
            "CompleteSnapshot",
            "complete_snapshot",
            {"SnapshotId": "snap-00000000000000000", "ChangedBlocksCount": 0},
            ("ThrottlingException", 400),
        ),
        ("kms", "ListKeys", "list_keys", {}, ("ThrottlingException", 400)),
        (
            "rbin",
            "rbin:ListRules",
            "list_rules",
            {"ResourceType": "EBS_SNAPSHOT"},
            ("ThrottlingException", 400),
        ),
        (
            "dlm",
            "GetLifecyclePolicies",
            "get_lifecycle_policies",
            {},
            ("LimitExceededException", 429),
        ),
        ("sts", "GetCallerIdentity", "get_caller_identity", {}, ("RequestLimitExceeded", 503)),
    ],
)
def test_each_service_throttles_in_its_own_words(
    aws: Service,
    service: str,
    operation: str,
    call: str,
    parameters: dict[str, Any],
    answer: tuple[str, int],
) -> None:
    aws.endpoint.throttle(operation)
    assert refusal(getattr(aws.client(service), call), **parameters) == answer


def test_what_cannot_be_throttled_is_refused(aws: Service) -> None:
    for told in (("Fly",), ("ebs:CreateSnapshot",), ("CreateSnapshot", 0), ("ListKeys", 1, 0)):
        with pytest.raises(InvalidInputError):
            aws.endpoint.throttle(*told)


def test_snapshot_that_fails_and_one_that_is_kept_pending(aws: Service) -> None:
    volume, endpoint = aws.volume(), aws.endpoint
    endpoint.fail_snapshot(reason="the disk is on fire")
    failed = aws.ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    aws.store.wait_snapshots([failed])
    (shown,) = aws.ec2.describe_snapshots(SnapshotIds=[failed])["Snapshots"]
    assert (shown["State"], shown["StateMessage"]) == ("error", "the disk is on fire")

    with endpoint.hold_snapshots():
        held, doomed = (
            aws.ec2.create_snapshot(VolumeId=aws.volume())["SnapshotId"] for _ in range(2)
        )
        assert aws.store.get_snapshot(held).state == "pending"
        endpoint.fail_snapshot(doomed, "enough")
        endpoint.release(held)
        aws.ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[held], WaiterConfig=QUICK)
        aws.store.wait_snapshots([doomed])
    assert aws.store.get_snapshot(doomed).state_message == "enough"


def test_faults_that_nobody_handed_over_are_told_of(aws: Service) -> None:
    bare = RunningEndpoint(aws.endpoint.url, aws.endpoint.credentials, aws.store, None)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="running_endpoint"):
        bare.fail_snapshot()


# The strict profile, and a late StartSnapshot


@pytest.fixture(scope="module")
def strict() -> Iterator[Service]:
    options = ServeOptions(profile=Profile.STRICT, start_delay_s=3)
    with (
        Harness() as harness,
        running_endpoint(harness.store, harness.faults, options) as endpoint,
    ):
        yield Service(harness, endpoint)


def test_rate_of_changing_calls(strict: Service) -> None:
    """EC2's table: one call at once for EnableSnapshotBlockPublicAccess, and 0.1 a second."""
    block = strict.ec2.enable_snapshot_block_public_access
    block(State="block-all-sharing")
    assert refusal(block, State="unblocked") == ("RequestLimitExceeded", 503)
    strict.harness.clock.advance(9.9)
    assert refusal(block, State="unblocked") == ("RequestLimitExceeded", 503)
    strict.harness.clock.advance(0.1)
    block(State="block-new-sharing")
    other = strict.client("ec2", "111122223333")
    other.enable_snapshot_block_public_access(State="block-all-sharing")  # has a rate of its own


def test_direct_apis_throttle_accounts(strict: Service) -> None:
    """EBS User Guide, quotas: 10 StartSnapshot a second."""
    start = strict.client("ebs").start_snapshot
    strict.harness.clock.advance(10)
    for _ in range(10):
        start(VolumeSize=1)
    assert refusal(start, VolumeSize=1) == ("ThrottlingException", 400)
    strict.harness.clock.advance(0.1)
    start(VolumeSize=1)


def test_spacing_of_snapshots_of_a_volume(strict: Service) -> None:
    """Section 1.3; the store's own quotas stay what they are."""
    volume, create = strict.volume(), strict.ec2.create_snapshot
    with strict.endpoint.hold_snapshots():
        create(VolumeId=volume)
        code = "SnapshotCreationPerVolumeRateExceeded"
        assert refusal(create, VolumeId=volume) == (code, 400)
        strict.harness.clock.advance(15)
        create(VolumeId=volume)
    assert strict.store.quotas.snapshot_spacing_s == 0


def test_storage_of_a_type(strict: Service) -> None:
    """Section 3.2: 50 TiB."""
    size = {"Size": 16_384, "AvailabilityZone": "us-east-1a", "VolumeType": "gp2"}
    for _ in range(3):
        strict.ec2.create_volume(**size)
    assert refusal(strict.ec2.create_volume, **size) == ("VolumeLimitExceeded", 400)


def test_started_snapshot_is_known_late(strict: Service) -> None:
    """What EC2 and the EBS direct APIs say of eventual consistency."""
    strict.harness.clock.advance(10)
    ebs, block = strict.client("ebs"), b"x" * BLOCK_SIZE
    made = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    put = {
        "SnapshotId": made,
        "BlockIndex": 0,
        "BlockData": block,
        "DataLength": BLOCK_SIZE,
        "Checksum": base64.b64encode(hashlib.sha256(block).digest()).decode(),
        "ChecksumAlgorithm": "SHA256",
    }
    assert refusal(ebs.put_snapshot_block, **put) == ("ResourceNotFoundException", 404)
    describe = strict.ec2.describe_snapshots
    assert refusal(describe, SnapshotIds=[made]) == ("InvalidSnapshot.NotFound", 400)
    assert made not in {each["SnapshotId"] for each in describe()["Snapshots"]}

    strict.harness.clock.advance(3)
    ebs.put_snapshot_block(**put)
    assert made in {each["SnapshotId"] for each in describe()["Snapshots"]}


# Health, metrics and the access log


def test_metrics_count_what_was_asked(aws: Service) -> None:
    before = got(f"{aws.endpoint.url}/metrics").splitlines()
    refusal(aws.ec2.describe_vpcs)
    aws.ec2.describe_availability_zones()
    lines = got(f"{aws.endpoint.url}/metrics").splitlines()

    labels = 'code="",operation="DescribeAvailabilityZones",service="ec2",status="200"'
    assert f"ebsim_requests_total{{{labels}}} 1.0" in lines
    labels = 'code="InvalidAction",operation="DescribeVpcs",service="ec2",status="400"'
    assert f"ebsim_requests_total{{{labels}}} 1.0" in lines
    assert any(each.startswith("process_resident_memory_bytes ") for each in before)
    bounds = 'le="+Inf",operation="DescribeVpcs",service="ec2"'
    assert f"ebsim_request_seconds_bucket{{{bounds}}} 1.0" in lines
    assert got(f"{aws.endpoint.url}/healthz") == "ok\n"


def test_metrics_are_for_whom_they_were_meant(fast_path: Path) -> None:
    options = ServeOptions(metrics_for=MetricsFor.NONE)
    with Harness(fast_path) as harness, running_endpoint(harness.store, None, options) as endpoint:
        with pytest.raises(HTTPError) as caught:
            got(f"{endpoint.url}/metrics")
        assert caught.value.code == 403
        caught.value.close()


def test_access_log_has_every_request_and_no_secret(fast_path: Path) -> None:
    """Not a part of any key, signature or token, though one request carries them in its query."""
    path = fast_path / "access.jsonl"
    with (
        Harness(fast_path) as harness,
        running_endpoint(harness.store, None, ServeOptions(access_log=path)) as endpoint,
    ):
        ec2, credential = endpoint.client("ec2"), endpoint.credentials.of_account()
        expires = datetime.now(UTC) + timedelta(hours=1)
        temporary = endpoint.credentials.create_temporary(credential.account, expires)
        import boto3

        guest = boto3.client(
            "ec2",
            endpoint_url=endpoint.url,
            region_name="eu-west-1",
            aws_access_key_id=temporary.access_key,
            aws_secret_access_key=temporary.secret,
            aws_session_token=temporary.session_token,
        )
        ec2.create_tags(Resources=[ec2_volume(harness)], Tags=[{"Key": "k", "Value": "private"}])
        guest.describe_volumes()
        presigned = guest.generate_presigned_url("describe_volumes", HttpMethod="GET")
        assert "<DescribeVolumesResponse" in got(presigned)
        with pytest.raises(HTTPError) as caught:
            got(f"{endpoint.url}/snapshots?X-Amz-Security-Token={temporary.session_token}")
        caught.value.close()

    text = path.read_text(encoding="ascii")
    lines = [json.loads(each) for each in text.splitlines()]
    assert [(each["operation"], each["region"], each["status"]) for each in lines] == [
        ("CreateTags", "us-east-1", 200),
        ("DescribeVolumes", "eu-west-1", 200),
        ("DescribeVolumes", "eu-west-1", 200),
        ("", "", 403),
    ]
    assert lines[-1]["code"] == "MissingAuthenticationTokenException"
    assert {each["account"] for each in lines[:3]} == {credential.account}
    assert path.stat().st_mode & 0o777 == 0o600
    secrets = [credential.secret, temporary.secret, temporary.session_token, "private"]
    signature = presigned.partition("X-Amz-Signature=")[2].split("&")[0]
    for secret in [*secrets, signature, "Signature", "AKIA", "ASIA", credential.access_key]:
        assert secret not in text
        assert len(secret) < 30 or secret[5:20] not in text


def ec2_volume(harness: Harness) -> str:
    return harness.store.volumes.create(VolumeRequest(size_gib=1)).volume_id


# TLS


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a certificate of 127.0.0.1, and its key."""
    import ipaddress

    folder = tmp_path_factory.mktemp("tls")
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ebsim test")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(pem(key, serialization.NoEncryption()))
    private.chmod(0o600)
    return certificate, private


def pem(key: ec.EllipticCurvePrivateKey, sealed: serialization.KeySerializationEncryption) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, sealed)


def test_boto3_over_tls(certified: tuple[Path, Path], fast_path: Path) -> None:
    """It verifies the certificate; a client that does not know it refuses, and is not served."""
    certificate, key = certified
    options = ServeOptions(certificate=certificate, key=key)
    with (
        Harness(fast_path) as harness,
        running_endpoint(harness.store, harness.faults, options) as endpoint,
    ):
        assert endpoint.url.startswith("https://127.0.0.1:")
        volume = ec2_volume(harness)
        with harness.store.volumes.open(volume) as file:
            file.pwrite(b"data", 0)
        ec2 = endpoint.client("ec2", verify=str(certificate))
        snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
        harness.store.wait_snapshots([snapshot])
        ebs = endpoint.client("ebs", verify=str(certificate))
        (block,) = ebs.list_snapshot_blocks(SnapshotId=snapshot)["Blocks"]
        found = ebs.get_snapshot_block(SnapshotId=snapshot, **block)["BlockData"].read()
        assert found[:4] == b"data"
        with pytest.raises(URLError, match="CERTIFICATE_VERIFY_FAILED"):
            got(f"{endpoint.url}/healthz", context=ssl.create_default_context())


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("no key", "cannot be read: No such file"),
        ("no certificate", "there is no certificate at"),
        ("readable by all", "chmod 600"),
        ("another key", "is not the key of the certificate"),
        ("passphrase", "has a passphrase"),
        ("nonsense", "do not hold a certificate and its private key in PEM"),
    ],
)
def test_certificate_that_cannot_be_served(
    certified: tuple[Path, Path], tmp_path: Path, what: str, told: str
) -> None:
    from ebsim.server.tls import tls_context

    certificate, private = certified
    key = tmp_path / "key.pem"
    other = ec.generate_private_key(ec.SECP256R1())
    key.write_bytes(private.read_bytes())
    key.chmod(0o644 if what == "readable by all" else 0o600)
    if what == "no key":
        key.unlink()
    elif what == "no certificate":
        certificate = tmp_path / "none.pem"
    elif what == "another key":
        key.write_bytes(pem(other, serialization.NoEncryption()))
    elif what == "passphrase":
        key.write_bytes(pem(other, serialization.BestAvailableEncryption(b"secret")))
    elif what == "nonsense":
        key.write_bytes(b"nonsense")
    with pytest.raises(InvalidInputError, match=told):
        tls_context(certificate, key)
