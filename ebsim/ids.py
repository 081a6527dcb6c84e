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
BlockIndex = NewType("BlockIndex", int)

_SNAPSHOT = re.compile(r"snap-[0-9a-f]{17}\Z")
_VOLUME = re.compile(r"vol-[0-9a-f]{17}\Z")


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


def new_snapshot_id(entropy: Entropy) -> SnapshotId:
    """Return a random snapshot id."""
    return SnapshotId("snap-0" + entropy.token_bytes(8).hex())


def new_volume_id(entropy: Entropy) -> VolumeId:
    """Return a random volume id."""
    return VolumeId("vol-0" + entropy.token_bytes(8).hex())
