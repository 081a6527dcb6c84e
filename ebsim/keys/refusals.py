"""The table of refusals about keys: KMS's codes. EC2's are in `ebsim.refusals`.

Each function returns an exception, for the caller to raise. The codes are those that KMS's API
documents for the operation; which of them it gives where several fit, and the wording, is assumed
throughout, and can be changed here. *Assumed* at a function says that its very code is a guess.
"""

from pathlib import Path

from ebsim.errors import (
    KEY_FAILURES,
    ConflictError,
    CorruptionError,
    EbsimError,
    ErrorCode,
    InvalidInputError,
    LimitExceededError,
    NotFoundError,
    StoreError,
    WrongKeyError,
)
from ebsim.refusals import customer_key_revoked

UNUSABLE = KEY_FAILURES - {ErrorCode.CUSTOMER_KEY_REVOKED}
"""Codes that mean to EBS: the key cannot be used."""

# references


def key_not_found(key_arn: str) -> NotFoundError:
    """Return the refusal of a key that does not exist."""
    return NotFoundError(f"Key '{key_arn}' does not exist", ErrorCode.KEY_NOT_FOUND)


def alias_not_found(alias_arn: str) -> NotFoundError:
    """Return the refusal of an alias that does not exist."""
    return NotFoundError(f"Alias {alias_arn} is not found.", ErrorCode.KEY_NOT_FOUND)


def invalid_reference(reference: str) -> NotFoundError:
    """Return the refusal of what is no key id, ARN or alias."""
    return NotFoundError(f"Invalid keyId '{reference}'", ErrorCode.KEY_NOT_FOUND)


def wrong_region(arn: str, region: str) -> NotFoundError:
    """Return the refusal of an ARN of another Region: keys do not leave theirs."""
    return NotFoundError(f"Invalid arn {arn}: it is not in {region}", ErrorCode.KEY_NOT_FOUND)


def grant_not_found(grant_id: str, key_arn: str) -> NotFoundError:
    """Return the refusal of a grant that does not exist, or that is not the caller's to see."""
    return NotFoundError(
        f"Grant {grant_id} is not found for key {key_arn}", ErrorCode.KEY_NOT_FOUND
    )


# states


def key_disabled(key_arn: str) -> ConflictError:
    """Return the refusal to use a key that is disabled."""
    return ConflictError(f"{key_arn} is disabled. Enable it first.", ErrorCode.KEY_DISABLED)


def key_pending_deletion(key_arn: str) -> ConflictError:
    """Return the refusal to use or change a key that is going to be deleted."""
    return ConflictError(
        f"{key_arn} is pending deletion. Cancel that first.", ErrorCode.KEY_INVALID_STATE
    )


def key_not_pending_deletion(key_arn: str) -> ConflictError:
    """Return the refusal to cancel what was not scheduled."""
    return ConflictError(f"{key_arn} is not pending deletion.", ErrorCode.KEY_INVALID_STATE)


# rights


def access_denied(account: str, operation: str, key_arn: str) -> ConflictError:
    """Return the refusal of an operation that an account has no right to."""
    return ConflictError(
        f"Account {account} is not authorized to perform: kms:{operation} on resource: {key_arn}",
        ErrorCode.ACCESS_DENIED,
    )


def managed_by_aws(operation: str, key_arn: str) -> ConflictError:
    """Return the refusal to change, delete or share an AWS managed key (the code is assumed)."""
    return ConflictError(
        f"kms:{operation} is not possible on {key_arn}: it is an AWS managed key",
        ErrorCode.ACCESS_DENIED,
    )


def malformed_policy(why: str) -> InvalidInputError:
    """Return the refusal of a key policy that is none."""
    return InvalidInputError(f"The new key policy is malformed: {why}.", ErrorCode.MALFORMED_POLICY)


def unsupported_policy(why: str) -> InvalidInputError:
    """Return the refusal of a key policy whose meaning ebsim does not carry out."""
    return InvalidInputError(
        f"ebsim cannot carry out the key policy: {why}.", ErrorCode.UNSUPPORTED_KEY_OPERATION
    )


def policy_too_long(limit_bytes: int) -> LimitExceededError:
    """Return the refusal of a key policy that is too long."""
    return LimitExceededError(
        f"A key policy has at most {limit_bytes:,} bytes.", ErrorCode.POLICY_LIMIT_EXCEEDED
    )


def policy_not_found(name: str, key_arn: str) -> NotFoundError:
    """Return the refusal of a policy of another name than the only one."""
    return NotFoundError(f"{key_arn} has no policy {name[:128]!r}", ErrorCode.KEY_NOT_FOUND)


def invalid_tag(why: str) -> InvalidInputError:
    """Return the refusal of a key's tag."""
    return InvalidInputError(f"The tag is invalid: {why}.", ErrorCode.INVALID_KEY_TAG)


# messages


def invalid_ciphertext() -> InvalidInputError:
    """Return the refusal of what no key of this keyring encrypted so; it does not say why."""
    return InvalidInputError(
        "The ciphertext is damaged, is none of this keyring's, or its encryption context is another"
        " one",
        ErrorCode.INVALID_CIPHERTEXT,
    )


def incorrect_key(key_arn: str) -> InvalidInputError:
    """Return the refusal to decrypt with another key than the one that encrypted."""
    return InvalidInputError(
        f"{key_arn} is not the key that encrypted the ciphertext", ErrorCode.INCORRECT_KEY
    )


# values


def invalid_value(message: str) -> InvalidInputError:
    """Return the refusal of a value that has the wrong form."""
    return InvalidInputError(message, ErrorCode.VALIDATION)


def alias_reserved(name: str) -> InvalidInputError:
    """Return the refusal of an alias that only AWS may make, change or delete (assumed)."""
    return InvalidInputError(
        f"Alias '{name}' is reserved: names that begin with alias/aws/ are AWS's",
        ErrorCode.INVALID_ALIAS_NAME,
    )


def alias_exists(alias_arn: str) -> ConflictError:
    """Return the refusal of an alias whose name is taken in the account and Region."""
    return ConflictError(
        f"An alias with the name {alias_arn} already exists", ErrorCode.ALIAS_EXISTS
    )


def limit(what: str, limit_count: int) -> LimitExceededError:
    """Return the refusal of one more key, alias or grant (the numbers are ebsim's)."""
    return LimitExceededError(
        f"There are {limit_count} {what} already, and there can be no more",
        ErrorCode.POLICY_LIMIT_EXCEEDED,  # LimitExceededException, KMS's code too
    )


# what EBS makes of it


def unusable_key(reference: str, error: EbsimError) -> EbsimError:
    """Return what EC2 answers when an operation needs a key and KMS refuses it.

    Args:
        reference: The key as the request named it, or its ARN.
        error: KMS's refusal. Any other error is returned as it is.
    """
    if error.code not in UNUSABLE:
        return error
    return customer_key_revoked(reference, str(error))


# what EBS refuses about encryption


def key_without_flag() -> InvalidInputError:
    """Return the refusal of a KMS key for what is not to be encrypted, in EC2's very words."""
    return InvalidInputError(
        "The parameter [KmsKeyId] requires the parameter Encrypted to be set.",
        ErrorCode.INVALID_PARAMETER_DEPENDENCY,
    )


def copy_must_be_encrypted(why: str) -> InvalidInputError:
    """Return the refusal of a copy without encryption (the code and the wording are assumed)."""
    return InvalidInputError(
        f"Value (false) for parameter encrypted is invalid. The copy is encrypted, since {why}; "
        "leave the parameter out.",
        ErrorCode.INVALID_PARAMETER_VALUE,
    )


def start_encryption(message: str) -> InvalidInputError:
    """Return the refusal of what StartSnapshot is asked about encryption."""
    return InvalidInputError(
        f"The encryption parameters are not valid: {message}.", ErrorCode.VALIDATION
    )


# the keyring


def keyring_missing(path: Path) -> NotFoundError:
    """Return the error for a keyring that is not there."""
    return NotFoundError(
        f"there is no keyring at {path}: `ebsim key create` makes one with its first key; name "
        "another place with --keyring or EBSIM_KEYRING, or bring a lost one back with `ebsim key "
        "recover`",
        ErrorCode.KEYRING_NOT_FOUND,
    )


def keyring_lost(path: Path, keyring_id: str) -> NotFoundError:
    """Return the refusal to make a keyring anew for a store that had one."""
    return NotFoundError(
        f"the keyring of this store ({keyring_id}) is not at {path}: name the place where it is "
        "with --keyring or EBSIM_KEYRING, put a copy of it back, or make it again from its "
        "recovery copy with `ebsim key recover`",
        ErrorCode.KEYRING_NOT_FOUND,
    )


def wrong_keyring(path: Path, wanted: str, found: str) -> WrongKeyError:
    """Return the refusal of a keyring that is another store's."""
    return WrongKeyError(
        f"{path} is keyring {found}, and this store's is {wanted}: name that one with --keyring or "
        "EBSIM_KEYRING"
    )


def keyring_inside(path: Path, store: Path) -> InvalidInputError:
    """Return the refusal of a place for a keyring that is within a store."""
    return InvalidInputError(
        f"{path} is within the store {store}, where the keyring can only be keyring.json: leave "
        "its place out, or choose one outside of the store"
    )


def recovery_copy_inside(path: Path) -> InvalidInputError:
    """Return the refusal of a recovery copy that would lie in the store."""
    return InvalidInputError(
        f"{path} is within the store: a recovery copy there is lost with it, and opens it to "
        "whoever copies it; choose a place elsewhere"
    )


def keyring_of_other(path: Path, error: EbsimError) -> EbsimError:
    """Return an error about a keyring that is not the used store's, but another's."""
    return type(error)(
        f"the keyring of the other store, {path}: {error.message} (the other store's has options "
        "of its own: --to-keyring, --to-key-file, --to-passphrase-command)",
        error.code,
    )


def keyring_exists(path: Path) -> ConflictError:
    """Return the refusal to make a keyring where one is."""
    return ConflictError(
        f"{path} exists already; a keyring is never written over", ErrorCode.KEYRING_EXISTS
    )


def keyring_locked(message: str) -> InvalidInputError:
    """Return the refusal to use keys while nothing that opens the keyring was given."""
    return InvalidInputError(message, ErrorCode.KEYRING_LOCKED)


def keyring_exposed(path: Path, why: str) -> StoreError:
    """Return the refusal of a file with secrets that others can read."""
    return StoreError(
        f"{path} {why}: make it yours alone with `chmod 600`, and think about who read it",
        ErrorCode.KEYRING_EXPOSED,
    )


def keyring_damaged(why: str) -> CorruptionError:
    """Return the error for a keyring that is not what was written."""
    return CorruptionError(
        f"the keyring is damaged ({why}): put a copy of it back, or make it again from its "
        "recovery copy",
        ErrorCode.CORRUPT_KEYRING,
    )


def wrong_secret(what: str) -> WrongKeyError:
    """Return the error for a passphrase or key file that does not open the keyring."""
    return WrongKeyError(f"the {what} is not the one that the keyring was protected with")


def recovery_line(number: int, why: str) -> InvalidInputError:
    """Return the error for a line of a recovery copy that was not typed as it was printed."""
    return InvalidInputError(
        f"line {number} of the recovery copy {why}", ErrorCode.INVALID_RECOVERY_COPY
    )
