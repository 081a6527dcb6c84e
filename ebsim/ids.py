"""Identifiers: their types, their forms, and how they are made.

Ids look as EC2's do: a prefix and 17 lowercase hex digits (semantics section 1.4). An id is checked
here before it is used in a path or a key.
"""

import re
from typing import NewType

from ebsim.entropy import Entropy
from ebsim.errors import ErrorCode, InvalidInputError

SnapshotId = NewType("SnapshotId", str)
VolumeId = NewType("VolumeId", str)
ImageId = NewType("ImageId", str)
PolicyId = NewType("PolicyId", str)
BlockIndex = NewType("BlockIndex", int)

_SNAPSHOT = re.compile(r"snap-[0-9a-f]{17}\Z")
_VOLUME = re.compile(r"vol-[0-9a-f]{17}\Z")
_IMAGE = re.compile(r"ami-[0-9a-f]{17}\Z")
_POLICY = re.compile(r"policy-[0-9a-f]{17}\Z")


def parse_snapshot_id(text: str) -> SnapshotId:
    """Return `text` as a snapshot id.

    Raises:
        InvalidInputError: It is not `snap-` and 17 hex digits (EC2: InvalidSnapshotID.Malformed,
            or InvalidParameterValue where the prefix is another).
    """
    if _SNAPSHOT.match(text):
        return SnapshotId(text)
    if text.startswith("snap-"):
        raise InvalidInputError(
            f"Invalid id: '{text}' (expecting 'snap-' and 17 hex digits)",
            ErrorCode.INVALID_SNAPSHOT_ID_MALFORMED,
        )
    raise InvalidInputError(
        f"Value ({text}) for parameter snapshotId is invalid. Expected: 'snap-...'."
    )


def is_volume_id(text: str) -> bool:
    """Return whether a text looks like a volume's id, and not like a path."""
    return _VOLUME.match(text) is not None


def parse_volume_id(text: str) -> VolumeId:
    """Return `text` as a volume id.

    Raises:
        InvalidInputError: It is not `vol-` and 17 hex digits (EC2: InvalidVolumeID.Malformed, or
            InvalidParameterValue where the prefix is another).
    """
    if _VOLUME.match(text):
        return VolumeId(text)
    if text.startswith("vol-"):
        raise InvalidInputError(
            f"Invalid id: '{text}' (expecting 'vol-' and 17 hex digits)",
            ErrorCode.INVALID_VOLUME_ID_MALFORMED,
        )
    raise InvalidInputError(
        f"Value ({text}) for parameter volumeId is invalid. Expected: 'vol-...'."
    )


def parse_image_id(text: str) -> ImageId:
    """Return `text` as an image id.

    Raises:
        InvalidInputError: It is not `ami-` and 17 hex digits (EC2: InvalidAMIID.Malformed).
    """
    if _IMAGE.match(text):
        return ImageId(text)
    raise InvalidInputError(
        f"Invalid id: '{text}' (expecting 'ami-' and 17 hex digits)",
        ErrorCode.INVALID_IMAGE_ID_MALFORMED,
    )


def parse_policy_id(text: str) -> PolicyId:
    """Return `text` as the id of a lifecycle policy.

    Raises:
        InvalidInputError: It is not `policy-` and 17 hex digits (DLM: InvalidRequestException).
    """
    if _POLICY.match(text):
        return PolicyId(text)
    raise InvalidInputError(
        f"Invalid policy id: '{text}' (expecting 'policy-' and 17 hex digits)",
        ErrorCode.INVALID_REQUEST,
    )


def new_snapshot_id(entropy: Entropy) -> SnapshotId:
    """Return a random snapshot id."""
    return SnapshotId("snap-0" + entropy.token_bytes(8).hex())


def new_volume_id(entropy: Entropy) -> VolumeId:
    """Return a random volume id."""
    return VolumeId("vol-0" + entropy.token_bytes(8).hex())


def new_image_id(entropy: Entropy) -> ImageId:
    """Return a random image id."""
    return ImageId("ami-0" + entropy.token_bytes(8).hex())


def new_policy_id(entropy: Entropy) -> PolicyId:
    """Return a random id of a lifecycle policy."""
    return PolicyId("policy-0" + entropy.token_bytes(8).hex())
