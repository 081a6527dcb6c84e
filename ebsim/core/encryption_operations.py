"""The operations on encryption by default, as `Store.encryption` offers them.

The six operations of EC2: what an account has set for a Region holds for volumes, copies and
StartSnapshot from then on; what exists stays as it is (section 5.1, rule 5).
"""

from dataclasses import replace

from ebsim.core.account_changes import change_settings
from ebsim.core.account_settings import load_settings
from ebsim.core.context import StoreContext
from ebsim.core.encryption_keys import key_to_encrypt
from ebsim.core.key_access import find_keyring
from ebsim.encryption import EncryptionDefaults
from ebsim.keys.names import DEFAULT_ALIAS


class EncryptionOperations:
    """What the caller has set about encryption for its Region."""

    def __init__(self, context: StoreContext) -> None:
        self._context = context

    def get_by_default(self) -> bool:
        """Return whether all that is new is encrypted; EC2's GetEbsEncryptionByDefault."""
        with self._context.catalog.read() as reader:
            return load_settings(reader, self._context.acting).encryption_by_default

    def enable_by_default(self) -> None:
        """Have new volumes and copies be encrypted.

        Raises:
            StoreError, LimitExceededError: A write failed.
        """
        change_settings(self._context, lambda now: replace(now, encryption_by_default=True))

    def disable_by_default(self) -> None:
        """Have new volumes and copies be encrypted only where that is asked for.

        Raises:
            StoreError, LimitExceededError: A write failed.
        """
        change_settings(self._context, lambda now: replace(now, encryption_by_default=False))

    def get_default_kms_key_id(self) -> str:
        """Return the key that is taken where none is named; EC2's GetEbsDefaultKmsKeyId.

        Returns:
            The ARN of the key that was set, or else of the AWS managed key; `alias/aws/ebs` as long
            as nobody needed that one.

        Raises:
            NotFoundError, WrongKeyError, StoreError, FormatVersionError, CorruptionError: The
                keyring is missing, another, exposed or damaged.
        """
        with self._context.catalog.read() as reader:
            settings = load_settings(reader, self._context.acting)
        if settings.default_kms_key_id:
            return settings.default_kms_key_id
        keyring = find_keyring(self._context)
        found = () if keyring is None else keyring.list_keys(self._context.acting)
        return next((key.arn for key in found if key.is_default), DEFAULT_ALIAS)

    def modify_default_kms_key_id(self, reference: str) -> str:
        """Have another key be taken where none is named; return its ARN.

        An alias is looked up now: what it means later makes no difference.

        Args:
            reference: A key id, key ARN, alias or alias ARN; another account's only by ARN.

        Raises:
            ConflictError: It cannot be used (CustomerKeyHasBeenRevoked).
            NotFoundError, WrongKeyError, StoreError, InvalidInputError, CorruptionError: The
                keyring is missing, another, exposed, locked or damaged; or a write failed.
        """
        key = key_to_encrypt(self._context, reference)
        chosen = "" if key.is_default and key.owner == self._context.acting else key.arn
        change_settings(self._context, lambda now: replace(now, default_kms_key_id=chosen))
        return key.arn

    def reset_default_kms_key_id(self) -> str:
        """Have the AWS managed key be taken where none is named, and return it as `get` does.

        Raises:
            StoreError, LimitExceededError: A write failed.
        """
        change_settings(self._context, lambda now: replace(now, default_kms_key_id=""))
        return self.get_default_kms_key_id()

    def defaults(self) -> EncryptionDefaults:
        """Return both settings.

        Raises:
            EbsimError: As `get_default_kms_key_id`.
        """
        return EncryptionDefaults(
            by_default=self.get_by_default(), kms_key_id=self.get_default_kms_key_id()
        )
