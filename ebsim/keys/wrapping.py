"""Wrapping: keys sealed by keys, with AES-256-GCM.

    commitment of the sealing key (32 bytes) | nonce (12) | ciphertext of 32 bytes | tag (16)

Nonces are random: a key of the keyring wraps far fewer keys than the 2^32 that random nonces are
good for. The commitment tells a wrong key from damaged bytes. Associated data say what is wrapped,
for whom and by which key, so that a wrapped key put in another's place does not open.
"""

import hmac
import struct
from dataclasses import dataclass

from ebsim.entropy import Entropy
from ebsim.errors import CorruptionError, WrongKeyError
from ebsim.format.sealing import COMMITMENT_SIZE, NONCE_SIZE, TAG_SIZE, key_commitment
from ebsim.ids import DataKeyId
from ebsim.keys.refusals import keyring_damaged

KEY_SIZE = 32
WRAPPED_SIZE = COMMITMENT_SIZE + NONCE_SIZE + KEY_SIZE + TAG_SIZE

WRAPPED_DATA_KEY = struct.Struct(f"<BxxxI{WRAPPED_SIZE}s")
"""version of this layout, version of the KMS key's material, the wrapped key."""

_LAYOUT_VERSION = 1
_SALT = b"ebsim keyring"


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a wrapped data key belongs; it opens nowhere else.

    Attributes:
        store_id: The store's, 16 bytes.
        data_key_id: The data key's.
    """

    store_id: bytes
    data_key_id: DataKeyId


def wrap(key: bytes, secret: bytes, about: bytes, entropy: Entropy) -> bytes:
    """Return 32 secret bytes sealed by a key."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    assert len(key) == len(secret) == KEY_SIZE
    nonce = entropy.token_bytes(NONCE_SIZE)
    return key_commitment(key, _SALT) + nonce + AESGCM(key).encrypt(nonce, secret, about)


def unwrap(key: bytes, wrapped: bytes, about: bytes) -> bytes:
    """Return the 32 bytes that `wrap` sealed.

    Raises:
        WrongKeyError: Another key sealed them.
        CorruptionError: They are damaged, or about something else.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(wrapped) != WRAPPED_SIZE:
        raise keyring_damaged("a wrapped key of another length")
    if not hmac.compare_digest(wrapped[:COMMITMENT_SIZE], key_commitment(key, _SALT)):
        raise WrongKeyError("a wrapped key was sealed with another key")
    nonce, sealed = wrapped[COMMITMENT_SIZE:][:NONCE_SIZE], wrapped[COMMITMENT_SIZE + NONCE_SIZE :]
    try:
        return AESGCM(key).decrypt(nonce, sealed, about)
    except InvalidTag:
        raise keyring_damaged("a wrapped key that does not open") from None


def joined(*parts: bytes | str) -> bytes:
    """Return parts as one, each with its length, so that no two lists give the same bytes."""
    raw = [part.encode("utf-8") if isinstance(part, str) else part for part in parts]
    return b"".join(struct.pack("<I", len(part)) + part for part in raw)


def about_data_key(binding: Binding, key_arn: str, version: int) -> bytes:
    """Return the associated data of a data key wrapped by a version of a KMS key."""
    return joined("data key", binding.store_id, binding.data_key_id, key_arn, str(version))


def encode_wrapped(version: int, wrapped: bytes) -> bytes:
    """Return a wrapped data key with the version of the material that wrapped it."""
    return WRAPPED_DATA_KEY.pack(_LAYOUT_VERSION, version, wrapped)


def decode_wrapped(data: bytes) -> tuple[int, bytes]:
    """Return version and wrapped key of what `encode_wrapped` returned.

    Raises:
        CorruptionError: It is none.
    """
    if len(data) != WRAPPED_DATA_KEY.size:
        raise CorruptionError("no wrapped data key: it has another length")
    layout, version, wrapped = WRAPPED_DATA_KEY.unpack(data)
    if layout != _LAYOUT_VERSION or any(data[1:4]):
        raise CorruptionError("no wrapped data key: it has another layout")
    return version, wrapped
