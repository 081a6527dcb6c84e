"""The catalog's record of what an account has set for a Region, as JSON."""

from dataclasses import asdict, dataclass, field
from typing import Any

from ebsim.caller import Caller
from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.records import decode_json, encode_json


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSettings:
    """What an account has set for a Region.

    Attributes:
        account: 12 digits.
        region: The Region's name.
        public_access: A `PublicAccess` value: whether snapshots may be public.
        encryption_by_default: Whether all that is new is encrypted.
        default_kms_key_id: The ARN of the key that is taken where none is named; empty: that of
            the AWS managed key, `alias/aws/ebs`.
        instances: The pretended instances (`ebsim.core.instances`), in the order of their making.
        next_instance: The number of the next one.
    """

    account: str
    region: str
    public_access: str = "unblocked"
    encryption_by_default: bool = False
    default_kms_key_id: str = ""
    instances: list[dict[str, Any]] = field(default_factory=list)
    next_instance: int = 1


def settings_key(caller: Caller) -> bytes:
    """Return the key of an account's settings for a Region: its id, a slash, the Region."""
    return f"{caller.account}/{caller.region}".encode("ascii")


def encode_settings(settings: AccountSettings) -> bytes:
    """Return an account's settings as stored."""
    return encode_json(asdict(settings))


def decode_settings(data: bytes) -> AccountSettings:
    """Return the settings that `data` holds.

    Raises:
        CorruptionError: It is none.
    """
    try:
        return AccountSettings(**decode_json(data))
    except TypeError as error:
        raise CorruptionError(f"no settings: {error}", ErrorCode.CORRUPT_CATALOG) from None
