"""The keys of copies to another store: which each copy has there, and whether it can be made.

The rules are those of a copy to another Region (`ebsim.core.encryption_rules.copy_key`): the copy
of an encrypted snapshot is encrypted, under the key that is named, or else the default key; and all
keys are the other store's. Two stores have two keyrings, which may be one file; a data key never
leaves its store. Blocks are opened with the keys of the first store and sealed with those of the
second, in memory.

What can be wrong is told apart, since the one is a matter of the data and the other of this call:

- a key cannot be used: the copy is begun and ends as `error`, as EC2 has it (semantics section
  11.5), unless the request itself asks for that key, and so would fail for each snapshot;
- a keyring is missing, locked, damaged or another: no copy is begun.
"""

from ebsim import refusals
from ebsim.caller import Caller
from ebsim.core.context import StoreContext
from ebsim.core.encryption import Preparation, make_domain
from ebsim.core.encryption_keys import key_to_decrypt, key_to_encrypt, load_defaults
from ebsim.core.encryption_rules import copy_key
from ebsim.core.key_access import find_keyring
from ebsim.encryption import EncryptionSource
from ebsim.errors import KEYRING_FAILURES, EbsimError
from ebsim.format.records import SnapshotRecord
from ebsim.keys.names import DEFAULT_ALIAS
from ebsim.keys.refusals import keyring_of_other
from ebsim.off_site import OffSiteRequest


class CopyKeys:
    """The keys of the copies that one call makes, or would make.

    Args:
        source: The store that is copied from.
        other: The store that is copied to.
        request: What is asked for. A dry run makes neither a keyring nor a key.
    """

    def __init__(self, source: StoreContext, other: StoreContext, request: OffSiteRequest) -> None:
        self._source = source
        self._other = other
        self._request = request.encryption
        self._create = not request.dry_run
        self._broken: dict[str, EbsimError] = {}
        with other.catalog.read() as reader:
            self._defaults = load_defaults(reader, other.acting)

    def check(self, records: list[SnapshotRecord]) -> str | None:
        """Refuse what cannot be asked for; return the key that was asked for, or None.

        Raises:
            InvalidInputError: A key without the flag, or a copy less encrypted than its source.
            ConflictError: The key that was asked for cannot be used (CustomerKeyHasBeenRevoked).
            EbsimError: The keyring of the other store is missing, locked, damaged or another.
        """
        for kms_key in dict.fromkeys(["", *(record.kms_key for record in records)]):
            copy_key(self._request, self._defaults, EncryptionSource(kms_key_id=kms_key or None))
        if not self._request.encrypted or not records:
            return None
        return self._key_there(self._request.kms_key_id or self._defaults.kms_key_id)

    def key_of(self, record: SnapshotRecord) -> str:
        """Return the ARN of the key of a snapshot's copy; empty: it is not encrypted.

        In a dry run it is an alias where the other store's default key is not made yet.

        Raises:
            EbsimError: See the module.
        """
        source = EncryptionSource(kms_key_id=record.kms_key or None)
        reference = copy_key(self._request, self._defaults, source)
        return "" if reference is None else self._key_there(reference)

    def ensure_readable(self, record: SnapshotRecord) -> None:
        """See that the key of a snapshot can be used.

        Raises:
            EbsimError: See the module.
        """
        if not record.domain:
            return
        caller = Caller(self._source.acting.account, record.region)
        self._ensure_unbroken("here")
        try:
            key_to_decrypt(self._source, record.kms_key, caller)
        except EbsimError as error:
            raise self._told("here", error) from error

    def prepare(self, kms_key: str) -> Preparation:
        """Return how a copy under this key, which may be none, is encrypted.

        Raises:
            EbsimError: See the module.
        """
        return make_domain(self._other, kms_key) if kms_key else Preparation()

    def _key_there(self, reference: str) -> str:
        self._ensure_unbroken("there")
        try:
            if self._create or self._is_made(reference):
                return key_to_encrypt(self._other, reference).arn
        except EbsimError as error:
            raise self._told("there", error) from error
        if reference != DEFAULT_ALIAS:
            raise refusals.customer_key_revoked(reference, "the other store has no keys yet")
        return reference

    def _is_made(self, reference: str) -> bool:
        """Return whether asking for a key makes nothing."""
        keyring = find_keyring(self._other)
        if keyring is None or reference != DEFAULT_ALIAS:
            return keyring is not None
        return any(key.is_default for key in keyring.list_keys(self._other.acting))

    def _ensure_unbroken(self, side: str) -> None:
        """Raise what was wrong with a keyring before: it is not tried again."""
        if side in self._broken:
            raise self._broken[side]

    def _told(self, side: str, error: EbsimError) -> EbsimError:
        """Return an error about keys as it is told, and keep it if it stands for all of them."""
        if error.code not in KEYRING_FAILURES:
            return error
        told = error if side == "here" else keyring_of_other(self._other.path, error)
        self._broken[side] = told
        return told
