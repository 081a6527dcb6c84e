"""What a keyring holds: keys, with their aliases, grants and materials; and their JSON.

Everything here is public but the materials, which are sealed by the keyring's root key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ebsim.caller import Caller
from ebsim.ids import KeyId
from ebsim.keys.names import DEFAULT_ALIAS, key_arn
from ebsim.keys.refusals import keyring_damaged


class KeyManager(StrEnum):
    """Who manages a key."""

    AWS = "AWS"
    CUSTOMER = "CUSTOMER"


class KeyState(StrEnum):
    """What may be done with a key; those of KMS's states that ebsim's keys can be in."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"
    PENDING_DELETION = "PendingDeletion"


class KeyOperation(StrEnum):
    """What is done with a key, and so what is granted (KMS splits ReEncrypt in two)."""

    CREATE_GRANT = "CreateGrant"
    DECRYPT = "Decrypt"
    DESCRIBE_KEY = "DescribeKey"
    GENERATE_DATA_KEY = "GenerateDataKey"
    GENERATE_DATA_KEY_WITHOUT_PLAINTEXT = "GenerateDataKeyWithoutPlaintext"
    RE_ENCRYPT = "ReEncrypt"
    ENCRYPT = "Encrypt"


EBS_OPERATIONS = tuple(each for each in KeyOperation if each is not KeyOperation.ENCRYPT)
"""All that somebody needs who works with encrypted snapshots that are shared with him."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyGrant:
    """The right of another account to use a key.

    Attributes:
        grant_id: 64 hex digits.
        grantee: The account that may.
        issuer: The account that gave it.
        operations: What it may.
        name: Free text, may be empty.
        created_us: When it was given.
        retiring: Another account that may end it; empty: none.
    """

    grant_id: str
    grantee: str
    issuer: str
    operations: tuple[KeyOperation, ...]
    name: str = ""
    created_us: int
    retiring: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMaterial:
    """One version of what a key encrypts with.

    Attributes:
        version: From 1; data keys say by which one they were wrapped.
        created_us: When it was made.
        sealed: The 32 bytes, sealed by the keyring's root key.
    """

    version: int
    created_us: int
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsKey:
    """A KMS key: symmetric, for encryption.

    Attributes:
        key_id: A UUID.
        account: Its owner.
        region: Where it lies; it never leaves.
        manager: AWS for the default key of EBS.
        state: What may be done with it.
        description: Free text.
        created_us: When it was made.
        deletion_us: From when on it is gone, while its deletion is pending.
        aliases: Names, each with `alias/`, in the order in which they were given.
        grants: Rights of other accounts, oldest first.
        materials: All versions, oldest first; the last one wraps.
        policy: What its owner said of who may use it (`ebsim.keys.key_policies`); empty: nothing.
        tags: Key to value.
    """

    key_id: KeyId
    account: str
    region: str
    manager: KeyManager = KeyManager.CUSTOMER
    state: KeyState = KeyState.ENABLED
    description: str = ""
    created_us: int
    deletion_us: int | None = None
    aliases: tuple[str, ...] = ()
    grants: tuple[KeyGrant, ...] = field(default=(), repr=False)
    materials: tuple[KeyMaterial, ...] = field(repr=False)
    policy: str = field(default="", repr=False)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """The key's ARN: `arn:aws:kms:REGION:ACCOUNT:key/UUID`."""
        return key_arn(self.owner, self.key_id)

    @property
    def owner(self) -> Caller:
        """The account and Region that it belongs to."""
        return Caller(self.account, self.region)

    @property
    def is_default(self) -> bool:
        """Whether it is the AWS managed key of EBS."""
        return DEFAULT_ALIAS in self.aliases

    def is_gone(self, now_us: int) -> bool:
        """Return whether the time of its deletion has come."""
        return self.deletion_us is not None and self.deletion_us <= now_us


@dataclass(frozen=True, slots=True)
class KeyAlias:
    """An alias, as it is listed.

    Attributes:
        name: With `alias/`.
        arn: Its ARN.
        key_id: The key that it means.
    """

    name: str
    arn: str
    key_id: KeyId


@dataclass(frozen=True, slots=True)
class KeyringContents:
    """All that a keyring holds. Never changed: an operation makes another.

    Attributes:
        keyring_id: 32 hex digits; kept by a recovery.
        keys: By id, in the order in which they were made.
    """

    keyring_id: str
    keys: Mapping[KeyId, KmsKey]

    def with_key(self, key: KmsKey) -> "KeyringContents":
        """Return the contents with a key added, or in place of the one with its id."""
        return KeyringContents(self.keyring_id, {**self.keys, key.key_id: key})


def key_fields(key: KmsKey) -> dict[str, Any]:
    """Return a key as JSON can hold it."""
    return {
        "key_id": key.key_id,
        "account": key.account,
        "region": key.region,
        "manager": key.manager,
        "state": key.state,
        "description": key.description,
        "created_us": key.created_us,
        "deletion_us": key.deletion_us,
        "aliases": list(key.aliases),
        "grants": [
            {
                "grant_id": grant.grant_id,
                "grantee": grant.grantee,
                "issuer": grant.issuer,
                "operations": list(grant.operations),
                "name": grant.name,
                "created_us": grant.created_us,
                **({"retiring": grant.retiring} if grant.retiring else {}),
            }
            for grant in key.grants
        ],
        "materials": [
            {
                "version": material.version,
                "created_us": material.created_us,
                "sealed": material.sealed.hex(),
            }
            for material in key.materials
        ],
        **({"policy": key.policy} if key.policy else {}),
        **({"tags": dict(key.tags)} if key.tags else {}),
    }


def key_from_fields(fields: dict[str, Any]) -> KmsKey:
    """Return the key that `key_fields` returned as JSON.

    Raises:
        CorruptionError: It is none.
    """
    try:
        return KmsKey(
            **{
                **fields,
                "manager": KeyManager(fields["manager"]),
                "state": KeyState(fields["state"]),
                "aliases": tuple(fields["aliases"]),
                "grants": tuple(map(_grant_from_fields, fields["grants"])),
                "materials": tuple(map(_material_from_fields, fields["materials"])),
            }
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise keyring_damaged(f"no key: {type(error).__name__}") from None


def _grant_from_fields(fields: dict[str, Any]) -> KeyGrant:
    operations = tuple(map(KeyOperation, fields["operations"]))
    return KeyGrant(**{**fields, "operations": operations})


def _material_from_fields(fields: dict[str, Any]) -> KeyMaterial:
    return KeyMaterial(**{**fields, "sealed": bytes.fromhex(fields["sealed"])})
