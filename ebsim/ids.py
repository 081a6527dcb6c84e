"""Identifiers: their types, their forms, and how they are made.

Ids look as EC2's do: a prefix and 17 lowercase hex digits, or 8 for those that EC2 gave out until
2016; ebsim makes none of 8, so such a one is well-formed and names nothing (semantics section 1.4).
An id is checked here before it is used in a path or a key.
"""

import os
import re
from string import ascii_lowercase, digits
from typing import NewType

from ebsim.entropy import Entropy
from ebsim.errors import ErrorCode, InvalidInputError

SnapshotId = NewType("SnapshotId", str)
VolumeId = NewType("VolumeId", str)
ImageId = NewType("ImageId", str)
InstanceId = NewType("InstanceId", str)
PolicyId = NewType("PolicyId", str)
RuleId = NewType("RuleId", str)
KeyId = NewType("KeyId", str)
"""Of a KMS key: a UUID."""
DataKeyId = NewType("DataKeyId", str)
"""Of a data key, EBS's `DataEncryptionKeyId`: a UUID."""
BlockIndex = NewType("BlockIndex", int)

_SNAPSHOT = re.compile(r"snap-([0-9a-f]{8}|[0-9a-f]{17})\Z")
_VOLUME = re.compile(r"vol-([0-9a-f]{8}|[0-9a-f]{17})\Z")
_IMAGE = re.compile(r"ami-([0-9a-f]{8}|[0-9a-f]{17})\Z")
_INSTANCE = re.compile(r"i-([0-9a-f]{8}|[0-9a-f]{17})\Z")
_POLICY = re.compile(r"policy-[0-9a-f]{17}\Z")
_RULE = re.compile(r"[0-9a-zA-Z]{11}\Z")
_ACCOUNT = re.compile(r"[0-9]{12}\Z")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]\Z")


def parse_snapshot_id(text: str) -> SnapshotId:
    """Return `text` as a snapshot id.

    Raises:
        InvalidInputError: It is not `snap-` and 17 or 8 hex digits (EC2:
            InvalidSnapshotID.Malformed, or InvalidParameterValue where the prefix is another).
    """
    if _SNAPSHOT.match(text):
        return SnapshotId(text)
    if text.startswith("snap-"):
        raise InvalidInputError(
            f"Invalid id: '{text}' (expecting 'snap-' and 17 or 8 hex digits)",
            ErrorCode.INVALID_SNAPSHOT_ID_MALFORMED,
        )
    raise InvalidInputError(
        f"Value ({text}) for parameter snapshotId is invalid. Expected: 'snap-...'."
    )


def names_volume(text: str) -> bool:
    """Return whether a text is meant as a volume's id, maybe a malformed one, and not as a path."""
    if _VOLUME.match(text):
        return True
    looks_so = text.startswith("vol-") and "/" not in text and "." not in text
    return looks_so and not os.path.lexists(text)


def parse_volume_id(text: str) -> VolumeId:
    """Return `text` as a volume id.

    Raises:
        InvalidInputError: It is not `vol-` and 17 or 8 hex digits (EC2: InvalidVolumeID.Malformed,
            or InvalidParameterValue where the prefix is another).
    """
    if _VOLUME.match(text):
        return VolumeId(text)
    if text.startswith("vol-"):
        raise InvalidInputError(
            f"Invalid id: '{text}' (expecting 'vol-' and 17 or 8 hex digits)",
            ErrorCode.INVALID_VOLUME_ID_MALFORMED,
        )
    raise InvalidInputError(
        f"Value ({text}) for parameter volumeId is invalid. Expected: 'vol-...'."
    )


def parse_image_id(text: str) -> ImageId:
    """Return `text` as an image id.

    Raises:
        InvalidInputError: It is not `ami-` and 17 or 8 hex digits (EC2: InvalidAMIID.Malformed).
    """
    if _IMAGE.match(text):
        return ImageId(text)
    raise InvalidInputError(
        f"Invalid id: '{text}' (expecting 'ami-' and 17 or 8 hex digits)",
        ErrorCode.INVALID_IMAGE_ID_MALFORMED,
    )


def parse_instance_id(text: str) -> InstanceId:
    """Return `text` as the id of an instance.

    Raises:
        InvalidInputError: It is not `i-` and 17 or 8 hex digits (EC2: InvalidInstanceID.Malformed).
    """
    if _INSTANCE.match(text):
        return InstanceId(text)
    raise InvalidInputError(
        f"Invalid id: '{text}' (expecting 'i-' and 17 or 8 hex digits)",
        ErrorCode.INVALID_INSTANCE_ID_MALFORMED,
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


def parse_rule_id(text: str) -> RuleId:
    """Return `text` as the id of a rule of the Recycle Bin.

    Raises:
        InvalidInputError: It is not 11 letters and digits (rbin: ValidationException).
    """
    if _RULE.match(text):
        return RuleId(text)
    error = InvalidInputError(
        f"Invalid rule id: '{text}' (expecting 11 letters and digits)", ErrorCode.VALIDATION
    )
    error.reason = "INVALID_PARAMETER_VALUE"
    raise error


def is_account(text: str) -> bool:
    """Return whether a text is an account's id."""
    return bool(_ACCOUNT.match(text))


def parse_account(text: str) -> str:
    """Return `text` as an account.

    Raises:
        InvalidInputError: It is not 12 digits (EC2: InvalidUserID.Malformed).
    """
    if _ACCOUNT.match(text):
        return text
    raise InvalidInputError(
        f'Invalid user id: "{text}" (expecting 12 digits)', ErrorCode.INVALID_USER_ID_MALFORMED
    )


def parse_region(text: str) -> str:
    """Return `text` as the name of a Region; every one of that form exists.

    Raises:
        InvalidInputError: It has another form.
    """
    if _REGION.match(text):
        return text
    raise InvalidInputError(f"Invalid region: '{text}' (expecting a name such as us-east-1)")


def new_snapshot_id(entropy: Entropy) -> SnapshotId:
    """Return a random snapshot id."""
    return SnapshotId("snap-0" + entropy.token_bytes(8).hex())


def new_volume_id(entropy: Entropy) -> VolumeId:
    """Return a random volume id."""
    return VolumeId("vol-0" + entropy.token_bytes(8).hex())


def new_image_id(entropy: Entropy) -> ImageId:
    """Return a random image id."""
    return ImageId("ami-0" + entropy.token_bytes(8).hex())


def new_instance_id(entropy: Entropy) -> InstanceId:
    """Return a random id of an instance."""
    return InstanceId("i-0" + entropy.token_bytes(8).hex())


def new_policy_id(entropy: Entropy) -> PolicyId:
    """Return a random id of a lifecycle policy."""
    return PolicyId("policy-0" + entropy.token_bytes(8).hex())


def new_rule_id(entropy: Entropy) -> RuleId:
    """Return a random id of a rule of the Recycle Bin: a letter, a digit, and nine of either."""
    number = int.from_bytes(entropy.token_bytes(8), "big")
    text = ""
    for alphabet in (ascii_lowercase, digits, *[digits + ascii_lowercase] * 9):
        number, place = divmod(number, len(alphabet))
        text += alphabet[place]
    return RuleId(text)


def new_key_id(entropy: Entropy) -> KeyId:
    """Return a random id of a KMS key."""
    return KeyId(_new_uuid(entropy))


def new_data_key_id(entropy: Entropy) -> DataKeyId:
    """Return a random id of a data key."""
    return DataKeyId(_new_uuid(entropy))


def _new_uuid(entropy: Entropy) -> str:
    """Return a random UUID (RFC 9562, version 4)."""
    number = int.from_bytes(entropy.token_bytes(16), "big")
    number = number & ~(0xF << 76) | 4 << 76
    digits = f"{number & ~(3 << 62) | 2 << 62:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
