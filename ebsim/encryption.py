"""What a request says about encryption, what an account has set, and what a source is.

Words that requests, results and rules share; the rules are in `ebsim.core.encryption_rules`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionRequest:
    """What a request asks for.

    Attributes:
        encrypted: Its flag; None: it says nothing.
        kms_key_id: The key it names: key id, key ARN, alias or alias ARN; None: none.
    """

    encrypted: bool | None = None
    kms_key_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionSource:
    """A snapshot that something is made from.

    Attributes:
        kms_key_id: The ARN of its KMS key; None: it is not encrypted.
        own: Whether it is the caller's; else it is shared with him.
    """

    kms_key_id: str | None
    own: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionDefaults:
    """What an account has set for a Region.

    Attributes:
        by_default: Whether all that is new is encrypted.
        kms_key_id: The default key: the ARN that was set, or `alias/aws/ebs`.
    """

    by_default: bool
    kms_key_id: str
