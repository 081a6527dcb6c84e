"""What keys encrypt for programs: messages, and data keys."""

from ebsim.keys.records import KeyOperation
from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document, FaultError

ALGORITHM = "SYMMETRIC_DEFAULT"
_SIZES = {"AES_128": 16, "AES_256": 32}


@OPERATIONS.add("kms", "Encrypt")
def encrypt(served: Served) -> Document:
    """Encrypt at most 4,096 bytes."""
    given = served.parameters
    _ensure_symmetric(given, "EncryptionAlgorithm")
    key, message = served.store.keys.encrypt(
        given["KeyId"], bytes(given["Plaintext"]), given.get("EncryptionContext", {})
    )
    return {"CiphertextBlob": message, "KeyId": key.arn, "EncryptionAlgorithm": ALGORITHM}


@OPERATIONS.add("kms", "Decrypt")
def decrypt(served: Served) -> Document:
    """Decrypt what Encrypt, GenerateDataKey or ReEncrypt answered."""
    given = served.parameters
    _ensure_symmetric(given, "EncryptionAlgorithm")
    _refuse(given, "Recipient")
    _refuse(given, "DryRunModifiers")
    found = served.store.keys.decrypt(
        _ciphertext(given), given.get("EncryptionContext", {}), given.get("KeyId")
    )
    return {
        "KeyId": found.key.arn,
        "Plaintext": found.plaintext,
        "EncryptionAlgorithm": ALGORITHM,
    }


@OPERATIONS.add("kms", "ReEncrypt")
def re_encrypt(served: Served) -> Document:
    """Decrypt with one key and encrypt with another, without telling what is said."""
    given, keys = served.parameters, served.store.keys
    _ensure_symmetric(given, "SourceEncryptionAlgorithm")
    _ensure_symmetric(given, "DestinationEncryptionAlgorithm")
    _refuse(given, "DryRunModifiers")
    right = KeyOperation.RE_ENCRYPT
    context = given.get("SourceEncryptionContext", {})
    found = keys.decrypt(_ciphertext(given), context, given.get("SourceKeyId"), right)
    context = given.get("DestinationEncryptionContext", {})
    key, message = keys.encrypt(given["DestinationKeyId"], found.plaintext, context, right)
    return {
        "CiphertextBlob": message,
        "SourceKeyId": found.key.arn,
        "KeyId": key.arn,
        "SourceEncryptionAlgorithm": ALGORITHM,
        "DestinationEncryptionAlgorithm": ALGORITHM,
    }


@OPERATIONS.add("kms", "GenerateDataKey")
def generate_data_key(served: Served) -> Document:
    """Make a data key, in the clear and encrypted."""
    given = served.parameters
    _refuse(given, "Recipient")
    size = _size(given.get("KeySpec"), given.get("NumberOfBytes"))
    key, plain, message = served.store.keys.generate_data_key(
        given["KeyId"], size, given.get("EncryptionContext", {})
    )
    return {"CiphertextBlob": message, "Plaintext": plain, "KeyId": key.arn}


@OPERATIONS.add("kms", "GenerateDataKeyWithoutPlaintext")
def generate_data_key_without_plaintext(served: Served) -> Document:
    """Make a data key, encrypted alone."""
    given = served.parameters
    size = _size(given.get("KeySpec"), given.get("NumberOfBytes"))
    right = KeyOperation.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT
    key, _, message = served.store.keys.generate_data_key(
        given["KeyId"], size, given.get("EncryptionContext", {}), right
    )
    return {"CiphertextBlob": message, "KeyId": key.arn}


def _ciphertext(given: Document) -> bytes:
    found = given.get("CiphertextBlob")
    if not found:
        raise FaultError("ValidationException", "CiphertextBlob is missing.")
    return bytes(found)


def _size(spec: str | None, count: int | None) -> int:
    """Return how many bytes a data key is to have.

    Raises:
        FaultError: ValidationException: neither is said, or both, or an unknown word.
    """
    if (spec is None) == (count is None):
        raise FaultError(
            "ValidationException", "Please specify either number of bytes or key spec."
        )
    if count is not None:
        return count
    if spec not in _SIZES:
        raise FaultError("ValidationException", f"KeySpec must be one of {', '.join(_SIZES)}.")
    return _SIZES[spec]


def _ensure_symmetric(given: Document, name: str) -> None:
    if given.get(name, ALGORITHM) != ALGORITHM:
        raise FaultError(
            "InvalidKeyUsageException", f"{name} can only be {ALGORITHM} with a symmetric key."
        )


def _refuse(given: Document, name: str) -> None:
    if given.get(name):
        raise FaultError("UnsupportedOperationException", f"{name} is not supported.")
