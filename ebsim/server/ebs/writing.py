"""StartSnapshot, PutSnapshotBlock and CompleteSnapshot (semantics section 11.9)."""

import base64
import binascii
from collections.abc import Sequence

from ebsim.encryption import EncryptionRequest
from ebsim.server.ec2.documents import answer, moment, tag_list
from ebsim.server.operations import OPERATIONS, Place, Served
from ebsim.server.protocol.wire import Document, FaultError
from ebsim.started import TIMEOUT_MINUTES, StartRequest
from ebsim.units import BLOCK_SIZE, size_gib

ALGORITHM = "SHA256"


@OPERATIONS.add("ebs", "StartSnapshot")
def start_snapshot(served: Served) -> Document:
    """Begin a snapshot whose blocks are sent one by one."""
    given = served.parameters
    request = StartRequest(
        volume_size_gib=given["VolumeSize"],
        parent_id=given.get("ParentSnapshotId"),
        description=given.get("Description", ""),
        tags=_tags(given.get("Tags", ())),
        client_token=given.get("ClientToken", ""),
        encryption=EncryptionRequest(
            encrypted=given.get("Encrypted"), kms_key_id=given.get("KmsKeyArn")
        ),
        timeout_minutes=given.get("Timeout", TIMEOUT_MINUTES),
    )
    made = served.store.started.start(request)
    return answer(
        SnapshotId=made.snapshot_id,
        OwnerId=made.owner,
        Status=made.state.value,
        StartTime=moment(made.start_time_us),
        VolumeSize=size_gib(made.size_bytes),
        BlockSize=BLOCK_SIZE,
        Tags=tag_list(made.tags) or None,
        ParentSnapshotId=made.parent_id,
        KmsKeyArn=made.kms_key_id or None,
        Description=made.description or None,
        SseType="sse-kms" if made.encrypted else "none",
    )


@OPERATIONS.add("ebs", "PutSnapshotBlock", Place.COMPUTING)
def put_snapshot_block(served: Served) -> Document:
    """Take a block, whose hash is made once for signature and checksum."""
    given = served.parameters
    _check_algorithm(given["ChecksumAlgorithm"])
    block = given.get("BlockData", b"")
    if given["DataLength"] != len(block):
        raise _invalid(
            f"The body has {len(block)} bytes, and x-amz-Data-Length says {given['DataLength']}.",
            "INVALID_BLOCK",
        )
    served.store.started.put(
        given["SnapshotId"],
        given["BlockIndex"],
        block,
        _digest(given["Checksum"]),
        served.body_digest,
    )
    return {"Checksum": given["Checksum"], "ChecksumAlgorithm": ALGORITHM}


@OPERATIONS.add("ebs", "CompleteSnapshot")
def complete_snapshot(served: Served) -> Document:
    """Seal a snapshot; it is completed after the answer."""
    given = served.parameters
    _check_algorithm(given.get("ChecksumAlgorithm", ALGORITHM))
    if given.get("ChecksumAggregationMethod", "LINEAR") != "LINEAR":
        raise _invalid("ChecksumAggregationMethod must be LINEAR.", "INVALID_PARAMETER_VALUE")
    checksum = given.get("Checksum")
    state = served.store.started.complete(
        given["SnapshotId"],
        given["ChangedBlocksCount"],
        None if checksum is None else _digest(checksum),
    )
    return {"Status": state.value}


def _tags(tags: Sequence[Document]) -> dict[str, str]:
    """Return the tags that a request gives."""
    found = {each.get("Key", ""): each.get("Value", "") for each in tags}
    if len(found) < len(tags):
        raise _invalid("The key of a tag is given twice.", "INVALID_TAG")
    return found


def _check_algorithm(name: str) -> None:
    if name != ALGORITHM:
        raise _invalid(f"The checksum algorithm must be {ALGORITHM}.", "INVALID_PARAMETER_VALUE")


def _digest(text: str) -> bytes:
    """Return the SHA-256 that a checksum says."""
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 32:
        raise _invalid("The checksum must be a SHA-256 in base64.", "INVALID_PARAMETER_VALUE")
    return digest


def _invalid(message: str, reason: str) -> FaultError:
    return FaultError("ValidationException", message, 400, {"Reason": reason})
