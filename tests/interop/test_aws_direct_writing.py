"""The EBS direct APIs over boto3: writing snapshots block by block (semantics section 4)."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

import pytest

from ebsim.engine import Store
from ebsim.testing.aws import RunningEndpoint
from ebsim.testing.aws_service import refusal_with_reason as refused
from ebsim.testing.contents import NOISE, TEXT
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.seams import ManualClock
from ebsim.units import BLOCK_SIZE

pytest.importorskip("boto3")
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session

ZEROS = bytes(BLOCK_SIZE)


def encoded(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def checksum(block: bytes) -> str:
    return encoded(hashlib.sha256(block).digest())


def linear(blocks: Mapping[int, bytes]) -> str:
    digests = [hashlib.sha256(blocks[index]).digest() for index in sorted(blocks)]
    return encoded(hashlib.sha256(b"".join(digests)).digest())


def put(ebs: Any, snapshot: str, index: int, block: bytes, **other: Any) -> Any:
    told = {
        "SnapshotId": snapshot,
        "BlockIndex": index,
        "BlockData": block,
        "DataLength": len(block),
        "Checksum": checksum(block),
        "ChecksumAlgorithm": "SHA256",
        **other,
    }
    return ebs.put_snapshot_block(**told)


def complete(ebs: Any, snapshot: str, blocks: Mapping[int, bytes], **other: Any) -> str:
    told = {
        "ChangedBlocksCount": len(blocks),
        "Checksum": linear(blocks),
        "ChecksumAlgorithm": "SHA256",
        "ChecksumAggregationMethod": "LINEAR",
        **other,
    }
    status: str = ebs.complete_snapshot(SnapshotId=snapshot, **told)["Status"]
    return status


def write(ebs: Any, store: Store, blocks: Mapping[int, bytes], **options: Any) -> str:
    snapshot: str = ebs.start_snapshot(VolumeSize=1, **options)["SnapshotId"]
    for index, block in blocks.items():
        put(ebs, snapshot, index, block)
    assert complete(ebs, snapshot, blocks) == "pending"
    store.wait_snapshots([snapshot])
    return snapshot


def read(ebs: Any, snapshot: str) -> dict[int, bytes]:
    listed = ebs.list_snapshot_blocks(SnapshotId=snapshot)["Blocks"]
    return {
        each["BlockIndex"]: ebs.get_snapshot_block(SnapshotId=snapshot, **each)["BlockData"].read()
        for each in listed
    }


def test_answers_are_ebs_s(ebsim_ebs: Any, ebsim_ec2: Any, ebsim_store: Store) -> None:
    """Semantics section 4.1, each member."""
    started = ebsim_ebs.start_snapshot(
        VolumeSize=1, Description="import", Tags=[{"Key": "Name", "Value": "one"}], Timeout=20
    )

    snapshot = started["SnapshotId"]
    assert started["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (started["Status"], started["BlockSize"], started["VolumeSize"]) == (
        "pending",
        BLOCK_SIZE,
        1,
    )
    assert (started["Description"], started["OwnerId"]) == ("import", "123456789012")
    assert started["Tags"] == [{"Key": "Name", "Value": "one"}]
    (shown,) = ebsim_ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert (shown["SnapshotId"], shown["State"]) == (snapshot, "pending")
    taken = put(ebsim_ebs, snapshot, 3, NOISE, Progress=50)
    assert taken["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (taken["Checksum"], taken["ChecksumAlgorithm"]) == (checksum(NOISE), "SHA256")
    sealed = ebsim_ebs.complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=1)
    assert (sealed["Status"], sealed["ResponseMetadata"]["HTTPStatusCode"]) == ("pending", 202)
    ebsim_store.wait_snapshots([snapshot])
    (shown,) = ebsim_ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"]
    assert (shown["State"], shown["Progress"]) == ("completed", "100%")
    assert shown["FullSnapshotSizeInBytes"] == BLOCK_SIZE


def test_full_and_incremental(ebsim_ebs: Any, ebsim_store: Store) -> None:
    one = write(ebsim_ebs, ebsim_store, {0: TEXT, 9: NOISE, 2047: ZEROS})
    two = write(ebsim_ebs, ebsim_store, {9: TEXT, 10: NOISE}, ParentSnapshotId=one)

    assert read(ebsim_ebs, one) == {0: TEXT, 9: NOISE, 2047: ZEROS}
    assert read(ebsim_ebs, two) == {0: TEXT, 9: TEXT, 10: NOISE, 2047: ZEROS}
    changed = ebsim_ebs.list_changed_blocks(FirstSnapshotId=one, SecondSnapshotId=two)
    assert [each["BlockIndex"] for each in changed["ChangedBlocks"]] == [9, 10]
    assert_healthy(ebsim_store)


def test_encrypted(ebsim_ebs: Any, ebsim_ec2: Any, ebsim_store: Store) -> None:
    key = ebsim_store.keys.create().arn
    started = ebsim_ebs.start_snapshot(VolumeSize=1, Encrypted=True, KmsKeyArn=key)
    snapshot = started["SnapshotId"]
    assert (started["KmsKeyArn"], started["SseType"]) == (key, "sse-kms")
    put(ebsim_ebs, snapshot, 1, TEXT)
    complete(ebsim_ebs, snapshot, {1: TEXT})
    ebsim_store.wait_snapshots([snapshot])

    assert read(ebsim_ebs, snapshot) == {1: TEXT}
    (shown,) = ebsim_ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"]
    assert (shown["Encrypted"], shown["KmsKeyId"]) == (True, key)


def test_refusals_have_their_reasons(
    ebsim_ebs: Any, ebsim_store: Store, ebsim_clock: ManualClock
) -> None:
    """Section 11, point 7, and section 4.6."""
    invalid = "ValidationException"
    parent = write(ebsim_ebs, ebsim_store, {0: TEXT})
    start = ebsim_ebs.start_snapshot
    assert refused(start, VolumeSize=1, ParentSnapshotId="snap-0123456789abcdef0") == (
        "ResourceNotFoundException",
        "SNAPSHOT_NOT_FOUND",
        404,
    )
    assert refused(start, VolumeSize=1, ParentSnapshotId=parent, Encrypted=True)[0] == invalid
    start(VolumeSize=1, ClientToken="one")
    assert refused(start, VolumeSize=2, ClientToken="one") == ("ConflictException", "", 409)

    snapshot = start(VolumeSize=1, Timeout=10)["SnapshotId"]
    bad = (invalid, "INVALID_BLOCK", 400)
    assert refused(put, ebsim_ebs, snapshot, 0, TEXT, Checksum=checksum(NOISE)) == bad
    assert refused(put, ebsim_ebs, snapshot, 2048, TEXT) == bad
    assert refused(put, ebsim_ebs, snapshot, 0, TEXT[:512]) == bad
    assert refused(put, ebsim_ebs, snapshot, 0, TEXT, DataLength=512) == bad
    wrong = (invalid, "INVALID_PARAMETER_VALUE", 400)
    assert refused(put, ebsim_ebs, snapshot, 0, TEXT, Checksum="AAAA") == wrong
    put(ebsim_ebs, snapshot, 0, TEXT)
    put(ebsim_ebs, snapshot, 1, NOISE)
    blocks = {0: TEXT, 1: NOISE}
    assert refused(complete, ebsim_ebs, snapshot, blocks, ChangedBlocksCount=3) == wrong
    text = hashlib.sha256((checksum(TEXT) + checksum(NOISE)).encode()).digest()
    assert refused(complete, ebsim_ebs, snapshot, blocks, Checksum=encoded(text)) == wrong
    ebsim_clock.advance(seconds=601)
    late = (invalid, "WRITE_REQUEST_TIMEOUT", 400)
    assert refused(put, ebsim_ebs, snapshot, 0, TEXT) == late
    assert refused(complete, ebsim_ebs, snapshot, blocks) == late
    sealed = (invalid, "INVALID_SNAPSHOT_ID", 400)
    assert refused(put, ebsim_ebs, parent, 0, TEXT) == sealed


@pytest.mark.parametrize("said", [True, False], ids=["said", "not-said"])
def test_body_that_is_signed_is_not_hashed_again(
    ebsim_endpoint: RunningEndpoint,
    ebsim_ebs: Any,
    monkeypatch: pytest.MonkeyPatch,
    said: bool,
) -> None:
    """The hash that proves the signature is compared with the checksum too."""
    snapshot = ebsim_ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    path = f"/snapshots/{snapshot}/blocks/4"
    body_hash = hashlib.sha256(NOISE).hexdigest() if said else ""
    monkeypatch.delattr("ebsim.core.started_operations.hashlib")

    assert put_by_hand(ebsim_endpoint, path, checksum(NOISE), body_hash) == 201
    assert put_by_hand(ebsim_endpoint, path, checksum(TEXT), body_hash) == 400


def test_body_may_be_unsigned(ebsim_endpoint: RunningEndpoint, ebsim_ebs: Any) -> None:
    """Section 4.1: only the checksum is signed, and it is that which is proved."""
    snapshot = ebsim_ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    path = f"/snapshots/{snapshot}/blocks/4"

    assert put_by_hand(ebsim_endpoint, path, checksum(NOISE), "UNSIGNED-PAYLOAD") == 201
    assert put_by_hand(ebsim_endpoint, path, checksum(TEXT), "UNSIGNED-PAYLOAD") == 400
    complete(ebsim_ebs, snapshot, {4: NOISE})
    ebsim_endpoint.store.wait_snapshots([snapshot])
    assert read(ebsim_ebs, snapshot) == {4: NOISE}


def test_other_bodies_must_be_signed(ebsim_endpoint: RunningEndpoint) -> None:
    """Section 4.1 names PutSnapshotBlock alone; nothing of a body is read before it is proved."""
    start = b'{"VolumeSize": 1}'
    unsigned = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}

    assert started_by_hand(ebsim_endpoint, start, {}) == (201, None)
    refused = (400, "IncompleteSignatureException")
    assert started_by_hand(ebsim_endpoint, start, unsigned) == refused
    refused = (403, "InvalidSignatureException")
    assert started_by_hand(ebsim_endpoint, start, {}, sent=b"no JSON {") == refused


def started_by_hand(
    endpoint: RunningEndpoint, body: bytes, headers: dict[str, str], sent: bytes | None = None
) -> tuple[int, str | None]:
    """Start a snapshot; return the HTTP status and the error's code. `sent` is sent unsigned."""
    credential = endpoint.credentials.of_account("123456789012")
    said = {"X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest(), **headers}
    request = AWSRequest("POST", endpoint.url + "/snapshots", said, data=body)
    keys = Credentials(credential.access_key, credential.secret)
    SigV4Auth(keys, "ebs", "us-east-1").add_auth(request)
    prepared = request.prepare()
    prepared.body = body if sent is None else sent
    prepared.headers["Content-Length"] = str(len(prepared.body))
    response = URLLib3Session().send(prepared)
    return response.status_code, response.headers.get("x-amzn-ErrorType")


def put_by_hand(endpoint: RunningEndpoint, path: str, said: str, body_hash: str) -> int:
    """Put NOISE, with what is said of its hash, if anything; return the HTTP status."""
    credential = endpoint.credentials.of_account("123456789012")
    headers = {
        "x-amz-Data-Length": str(BLOCK_SIZE),
        "x-amz-Checksum": said,
        "x-amz-Checksum-Algorithm": "SHA256",
    }
    if body_hash:
        headers["X-Amz-Content-SHA256"] = body_hash
    request = AWSRequest("PUT", endpoint.url + path, headers, data=NOISE)
    keys = Credentials(credential.access_key, credential.secret)
    SigV4Auth(keys, "ebs", "us-east-1").add_auth(request)
    status: int = URLLib3Session().send(request.prepare()).status_code
    return status
