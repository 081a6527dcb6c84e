"""Whether what is made is encrypted, and under which key: EBS's three tables, as functions.

    volume_key    CreateVolume, semantics section 11.5
    copy_key      CopySnapshot, table 5.3
    started_key   StartSnapshot of the direct APIs, table 4.5

Each returns the key as it is to be looked up (ARN, id, alias), or None for what is not encrypted;
whether that key exists and may be used is found out by `ebsim.core.encryption_keys`. Nothing is
ever less encrypted than what it is made from (section 5.1, rule 1). A snapshot of a volume asks
nothing: it has its volume's key, or none (rules 1 and 2).

A flag that says false says for a volume what no flag says: the tables have one column for both, and
encryption by default wins. For a copy EC2's reference says "you cannot set this parameter to
false"; programs do, and mean that the copy need not be encrypted. So it is refused where the copy
would be encrypted nevertheless, and let pass where it would not.
"""

from ebsim.encryption import EncryptionDefaults, EncryptionRequest, EncryptionSource
from ebsim.keys import refusals


def volume_key(
    request: EncryptionRequest, defaults: EncryptionDefaults, source: EncryptionSource | None
) -> str | None:
    """Return the key of a new volume (table 5.2).

    Args:
        request: What CreateVolume says.
        defaults: What the caller has set for the Region.
        source: The snapshot it is made from; None: it is made empty.

    Raises:
        InvalidInputError: A key without the flag (InvalidParameterDependency).
    """
    _require_flag(request)
    if request.kms_key_id is not None:
        return request.kms_key_id
    if source is not None and source.kms_key_id is not None:
        return source.kms_key_id if source.own else defaults.kms_key_id
    return defaults.kms_key_id if request.encrypted or defaults.by_default else None


def copy_key(
    request: EncryptionRequest, defaults: EncryptionDefaults, source: EncryptionSource
) -> str | None:
    """Return the key of a copy of a snapshot (table 5.3), in the destination's Region.

    A copy of an encrypted snapshot for which no key is given has the account's default key: the
    sources disagree, and this is the choice of semantics section 11.5.

    Args:
        request: What CopySnapshot says.
        defaults: What the caller has set for the destination.
        source: The snapshot to copy.

    Raises:
        InvalidInputError: A key without the flag (InvalidParameterDependency), or a copy that is
            to be less encrypted than it must be (InvalidParameterValue).
    """
    _require_flag(request)
    if request.kms_key_id is not None:
        return request.kms_key_id
    why = ""
    if source.kms_key_id is not None:
        why = "the source snapshot is encrypted"
    elif defaults.by_default:
        why = "encryption by default is on"
    if why and request.encrypted is False:
        raise refusals.copy_must_be_encrypted(why)
    return defaults.kms_key_id if why or request.encrypted else None


def started_key(
    request: EncryptionRequest, defaults: EncryptionDefaults, parent: EncryptionSource | None
) -> str | None:
    """Return the key of a snapshot that is written block by block (table 4.5).

    Args:
        request: What StartSnapshot says (`Encrypted`, `KmsKeyArn`).
        defaults: What the caller has set for the Region.
        parent: The parent snapshot; None: there is none.

    Raises:
        InvalidInputError: The table has ValidationException there.
    """
    if parent is not None:
        return _key_below(parent, request, defaults)
    if request.encrypted is False:
        if request.kms_key_id is not None:
            raise refusals.start_encryption("KmsKeyArn is given, and Encrypted is false")
        if defaults.by_default:
            raise refusals.start_encryption("Encrypted is false, and encryption by default is on")
        return None
    if request.kms_key_id is not None:
        return request.kms_key_id
    return defaults.kms_key_id if request.encrypted or defaults.by_default else None


def _key_below(
    parent: EncryptionSource, request: EncryptionRequest, defaults: EncryptionDefaults
) -> str | None:
    """Return the key of a snapshot with a parent: the parent's, and nothing else can be asked."""
    if request.encrypted is not None:
        raise refusals.start_encryption("Encrypted is given together with ParentSnapshotId")
    if request.kms_key_id is not None:
        raise refusals.start_encryption("KmsKeyArn is given together with ParentSnapshotId")
    if parent.kms_key_id is None and defaults.by_default:
        raise refusals.start_encryption(
            "the parent snapshot is not encrypted, and encryption by default is on"
        )
    return parent.kms_key_id


def _require_flag(request: EncryptionRequest) -> None:
    if request.kms_key_id is not None and not request.encrypted:
        raise refusals.key_without_flag()
