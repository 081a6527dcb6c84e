"""Messages: small texts that KMS keys encrypt for whoever asks (KMS's Encrypt and Decrypt).

    "ebsimK" | layout (1 byte) | length of the ARN (1) | version (4) | ARN | random (24) | sealed

AES-256-GCM under a key that is derived from the material and from 24 random bytes, so that
no data key and no other message shares it; the last 12 of them are the nonce. Associated data are
the head up to the ARN, and the encryption context.
"""

import hashlib
import hmac
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from ebsim.caller import Caller
from ebsim.errors import CorruptionError, NotFoundError
from ebsim.keys import refusals
from ebsim.keys.keyring import Keyring
from ebsim.keys.records import KeyOperation, KmsKey
from ebsim.keys.wrapping import joined

PLAINTEXT_MAX = 4096
"""Bytes; KMS's limit for symmetric keys."""

CIPHERTEXT_MAX = 6144
"""Bytes; KMS's limit."""

CONTEXT_MAX = 8192
"""Bytes of an encryption context; KMS's limit."""

_HEAD = struct.Struct(">6sBBI")
_MAGIC = b"ebsimK"
_LAYOUT = 1
_SALT_SIZE = 24
_NONCE_SIZE = 12

Context = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Decrypted:
    """What a message was.

    Attributes:
        key: The key that encrypted it.
        plaintext: What it says.
    """

    key: KmsKey
    plaintext: bytes = field(repr=False)


def encrypt(
    keyring: Keyring,
    caller: Caller,
    reference: str,
    plaintext: bytes,
    context: Context,
    operation: KeyOperation = KeyOperation.ENCRYPT,
) -> tuple[KmsKey, bytes]:
    """Return the key that a request names, and a message encrypted by its newest material.

    Args:
        keyring: The keyring.
        caller: Whose request it is.
        reference: The key.
        plaintext: 1 to 4,096 bytes.
        context: Must be the same to decrypt it.
        operation: What the caller needs the right to.

    Raises:
        InvalidInputError: The plaintext or context is too long, or the plaintext empty.
        NotFoundError, ConflictError: There is no such key, it is not enabled, or the caller may
            not use it.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if not 1 <= len(plaintext) <= PLAINTEXT_MAX:
        raise refusals.invalid_value(f"a plaintext has 1 to {PLAINTEXT_MAX} bytes")
    about = _about(context)
    key = keyring.usable_key(caller, reference, operation)
    key, materials = keyring.opened(caller, key.arn, operation)
    version = key.materials[-1].version
    arn = key.arn.encode("ascii")
    head = _HEAD.pack(_MAGIC, _LAYOUT, len(arn), version) + arn
    salt = materials.entropy.token_bytes(_SALT_SIZE)
    derived = _derived(materials.secret_of(key, version), salt)
    sealed = AESGCM(derived).encrypt(salt[-_NONCE_SIZE:], plaintext, joined(head, about))
    return key, head + salt + sealed


def decrypt(
    keyring: Keyring,
    caller: Caller,
    message: bytes,
    context: Context,
    reference: str | None = None,
    operation: KeyOperation = KeyOperation.DECRYPT,
) -> Decrypted:
    """Return what a message says, and the key that encrypted it.

    Args:
        keyring: The keyring.
        caller: Whose request it is.
        message: As `encrypt` returned it.
        context: As it was given then.
        reference: The key that encrypted it must be this one; None: whichever it says.
        operation: What the caller needs the right to.

    Raises:
        InvalidInputError: It is none, damaged, of another context (InvalidCiphertextException), or
            of another key (IncorrectKeyException).
        NotFoundError, ConflictError: As `encrypt`.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    about = _about(context)
    version, head, rest = _parsed(message)
    arn = head[_HEAD.size :].decode("ascii", "replace")
    if reference is not None:
        named = keyring.usable_key(caller, reference, operation)
        if named.arn != arn:
            raise refusals.incorrect_key(named.arn)
    try:
        key, materials = keyring.opened(caller, arn, operation)
    except NotFoundError:
        raise refusals.invalid_ciphertext() from None
    salt, sealed = rest[:_SALT_SIZE], rest[_SALT_SIZE:]
    try:
        derived = _derived(materials.secret_of(key, version), salt)
        plain = AESGCM(derived).decrypt(salt[-_NONCE_SIZE:], sealed, joined(head, about))
    except (InvalidTag, CorruptionError):
        raise refusals.invalid_ciphertext() from None
    return Decrypted(key, plain)


def _derived(secret: bytes, salt: bytes) -> bytes:
    """Return the key of one message."""
    return hmac.new(secret, joined("ebsim message", salt), hashlib.sha256).digest()


def _about(context: Context) -> bytes:
    pairs = [text for pair in sorted(context.items()) for text in pair]
    about = joined("encryption context", *pairs)
    if len(about) > CONTEXT_MAX:
        raise refusals.invalid_value(f"an encryption context has at most {CONTEXT_MAX} bytes")
    return about


def _parsed(message: bytes) -> tuple[int, bytes, bytes]:
    """Return the version of the material, the head, and the rest of a message."""
    if _HEAD.size <= len(message) <= CIPHERTEXT_MAX:
        magic, layout, size, version = _HEAD.unpack_from(message)
        end = _HEAD.size + size
        if (magic, layout) == (_MAGIC, _LAYOUT) and len(message) > end + _SALT_SIZE + 16:
            return version, message[:end], message[end:]
    raise refusals.invalid_ciphertext()
