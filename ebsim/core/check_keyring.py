"""Checking the keyring of a store: that it is there, whole, the right one, and private."""

from collections.abc import Iterator

from ebsim.core.context import StoreContext
from ebsim.core.key_access import find_keyring
from ebsim.errors import CorruptionError, EbsimError, ErrorCode, FormatVersionError
from ebsim.keys.keyring import Keyring
from ebsim.keys.unlocking import NO_PROTECTION, NONE
from ebsim.reports import Finding


def check_keyring(context: StoreContext) -> Iterator[Finding]:
    """Look at the keyring, if the store ever had one.

    Its checksum is compared; and, where it can be opened without asking anybody, what proves that
    nobody changed it who had not its root key.

    Raises:
        WrongKeyError: What was given to open it does not.
    """
    try:
        keyring = find_keyring(context)
        if keyring is not None and _opens_unasked(context, keyring):
            keyring.unlock()
    except (CorruptionError, FormatVersionError) as error:
        if error.code is ErrorCode.CORRUPT_CATALOG:
            raise  # the store's note of which keyring is its own
        yield Finding(kind="corrupt-keyring", message=str(error))
    except EbsimError as error:
        if error.code is ErrorCode.KEYRING_NOT_FOUND:
            yield Finding(kind="missing-keyring", message=str(error))
        elif error.code is ErrorCode.KEYRING_EXPOSED:
            yield Finding(kind="exposed-keyring", message=str(error))
        elif error.code is not ErrorCode.KEYRING_LOCKED:
            raise


def _opens_unasked(context: StoreContext, keyring: Keyring) -> bool:
    unlocking = context.state.unlocking or NO_PROTECTION
    return keyring.protection() == NONE or unlocking.method() != NONE
