"""The catalog's record of the keyring that a store's keys are in, as JSON."""

from dataclasses import asdict, dataclass

from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.records import decode_json, encode_json


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyringSettings:
    """Which keyring is a store's.

    Attributes:
        path: Where it lies, absolute; empty: in the store's folder.
        keyring_id: Which one it is, 32 hex digits; empty until the store needed it first.
    """

    path: str = ""
    keyring_id: str = ""


def encode_keyring_settings(settings: KeyringSettings) -> bytes:
    """Return the settings as stored."""
    return encode_json(asdict(settings))


def decode_keyring_settings(data: bytes) -> KeyringSettings:
    """Return the settings that `data` holds.

    Raises:
        CorruptionError: It is none.
    """
    try:
        return KeyringSettings(**decode_json(data))
    except TypeError as error:
        raise CorruptionError(
            f"no settings of a keyring: {error}", ErrorCode.CORRUPT_CATALOG
        ) from None
