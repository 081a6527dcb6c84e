"""The keys that the rules of encryption name: whether they exist, and may be used now.

EC2 looks at a key after the request, and the volume vanishes, or the copy ends in `error`, where it
cannot be used (section 5.1, rule 6). Here a key that is plainly unusable is refused with the
request, with the code that EC2 has for it (CustomerKeyHasBeenRevoked); what fails later is a key
that became unusable meanwhile.
"""

from ebsim.caller import Caller
from ebsim.core.account_settings import load_settings
from ebsim.core.context import StoreContext
from ebsim.encryption import EncryptionDefaults
from ebsim.errors import EbsimError
from ebsim.keys.names import DEFAULT_ALIAS
from ebsim.keys.records import KeyOperation, KmsKey
from ebsim.keys.refusals import unusable_key
from ebsim.storage.catalog import CatalogReader


def load_defaults(reader: CatalogReader, caller: Caller) -> EncryptionDefaults:
    """Return what an account has set about encryption for a Region.

    Raises:
        CorruptionError: The catalog holds something else.
    """
    settings = load_settings(reader, caller)
    return EncryptionDefaults(
        by_default=settings.encryption_by_default,
        kms_key_id=settings.default_kms_key_id or DEFAULT_ALIAS,
    )


def key_to_encrypt(context: StoreContext, reference: str, caller: Caller | None = None) -> KmsKey:
    """Return the key under which something new is to be encrypted.

    The keyring, and the AWS managed key of EBS, are made if they are needed for the first time. It
    is called outside of any transaction of the catalog's.

    Args:
        context: The store.
        reference: As the rules returned it: key id, key ARN, alias or alias ARN.
        caller: For whom; None: whom the context acts for.

    Raises:
        ConflictError: It does not exist, is not enabled, lies in another Region, or is another
            account's and not granted (CustomerKeyHasBeenRevoked).
        NotFoundError, WrongKeyError, StoreError, InvalidInputError, CorruptionError: The keyring is
            missing, another, exposed, locked or damaged.
    """
    return _usable(context, reference, caller, KeyOperation.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT)


def key_to_decrypt(context: StoreContext, reference: str, caller: Caller | None = None) -> KmsKey:
    """Return the key of something that is to be read.

    Args:
        context: The store.
        reference: Its ARN.
        caller: For whom; None: whom the context acts for.

    Raises:
        EbsimError: As `key_to_encrypt`; a keyring is not made.
    """
    return _usable(context, reference, caller, KeyOperation.DECRYPT)


def _usable(
    context: StoreContext, reference: str, caller: Caller | None, operation: KeyOperation
) -> KmsKey:
    keyring = context.keyring(create=operation is not KeyOperation.DECRYPT)
    try:
        return keyring.usable_key(caller or context.acting, reference, operation)
    except EbsimError as error:
        raise unusable_key(reference, error) from error
