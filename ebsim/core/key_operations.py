"""The operations on KMS keys, as `Store.keys` offers them.

All act as the store's caller: its account, in its Region. Looking needs no passphrase; changing
does. A store without a keyring has no keys; the first key makes the keyring.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ebsim.core.context import StoreContext
from ebsim.core.key_access import (
    ensure_not_another,
    find_keyring,
    keyring_path,
    set_keyring_place,
)
from ebsim.core.rewrapping import rewrap_data_keys
from ebsim.keys import key_facts, messages, recovery_copy, refusals
from ebsim.keys.key_policies import POLICY_NAME, check_policy
from ebsim.keys.keyring import Keyring
from ebsim.keys.messages import Decrypted
from ebsim.keys.names import DEFAULT_ALIAS, check_alias, parse_reference
from ebsim.keys.open_keyring import KeyringSeams
from ebsim.keys.records import EBS_OPERATIONS, KeyAlias, KeyGrant, KeyOperation, KmsKey
from ebsim.keys.rules import DELETION_DAYS_MAX
from ebsim.keys.unlocking import NO_PROTECTION, Unlocking

DATA_KEY_SIZE_MAX = 1024
"""Bytes of a data key that a program asks for; KMS's limit."""


class KeyOperations:
    """The caller's keys; and the keyring, which all accounts share."""

    def __init__(self, context: StoreContext) -> None:
        self._context = context
        self._caller = context.acting

    # keys

    def create(
        self,
        description: str = "",
        alias: str | None = None,
        *,
        policy: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> KmsKey:
        """Make a customer managed key, and the keyring if there is none.

        Args:
            description: Free text.
            alias: A name for it, with `alias/`; None: none.
            policy: Its policy; empty: that which lets its owner do everything.
            tags: Its tags.

        Raises:
            InvalidInputError: The description is too long, the alias, the policy or a tag no proper
                one; or the keyring is locked.
            ConflictError: The alias is taken; the key is not made then.
            LimitExceededError: There are as many keys as there may be.
            NotFoundError, WrongKeyError, StoreError, CorruptionError: The keyring is lost,
                another's, exposed or damaged.
        """
        if alias is not None:
            check_alias(alias)
        if policy:
            check_policy(policy, self._caller.account, "")
        key_facts.check_tags(tags or {})
        keyring = self._context.keyring(create=True)

        def said(key: KmsKey) -> KmsKey:
            return replace(key_facts.with_tags(key, tags or {}), policy=policy)

        if alias is None:
            return keyring.create_key(self._caller, description, said)
        if any(each.name == alias for each in keyring.list_aliases(self._caller)):
            raise refusals.alias_exists(parse_reference(alias, self._caller).arn)
        key = keyring.create_key(self._caller, description, said)
        keyring.create_alias(self._caller, alias, key.key_id)
        return self.get(key.arn)

    def list(self) -> list[KmsKey]:
        """Return the caller's keys in the Region, oldest first.

        Raises:
            NotFoundError, WrongKeyError, StoreError, CorruptionError: As `create`.
        """
        keyring = find_keyring(self._context)
        return [] if keyring is None else keyring.list_keys(self._caller)

    def get(self, reference: str) -> KmsKey:
        """Return a key: the caller's, or one that was granted to it, by its ARN.

        The AWS managed key of EBS is made if it is asked for by its alias and not there.

        Raises:
            NotFoundError: There is no such key.
            ConflictError: It is another account's, and not granted (AccessDeniedException).
            WrongKeyError, StoreError, CorruptionError: As `create`.
        """
        wanted = parse_reference(reference, self._caller)
        is_default = wanted.alias == DEFAULT_ALIAS and wanted.caller == self._caller
        if is_default:
            return self._context.keyring(create=True).default_key(self._caller)
        return self._found(reference).describe_key(self._caller, reference)

    def update_description(self, reference: str, text: str) -> KmsKey:
        """Give a key another description.

        Raises:
            InvalidInputError, NotFoundError, ConflictError: As the keyring's operation.
        """
        return self._found(reference).update_description(self._caller, reference, text)

    def enable(self, reference: str) -> KmsKey:
        """Let a key be used again.

        Raises:
            NotFoundError, ConflictError: There is no such key, or it may not be changed.
        """
        return self._found(reference).enable_key(self._caller, reference)

    def disable(self, reference: str) -> KmsKey:
        """Have a key, and all that it encrypts, be unusable at once.

        Raises:
            NotFoundError, ConflictError: There is no such key, or it may not be changed.
        """
        return self._found(reference).disable_key(self._caller, reference)

    def schedule_deletion(self, reference: str, days: int = DELETION_DAYS_MAX) -> KmsKey:
        """Have a key be unusable now, and gone in 7 to 30 days, with all that it encrypts.

        Raises:
            InvalidInputError: So many days are not possible.
            NotFoundError, ConflictError: There is no such key, or it may not be changed.
        """
        return self._found(reference).schedule_key_deletion(self._caller, reference, days)

    def cancel_deletion(self, reference: str) -> KmsKey:
        """Keep a key after all; it is disabled then.

        Raises:
            NotFoundError, ConflictError: There is no such key, or it is not pending deletion.
        """
        return self._found(reference).cancel_key_deletion(self._caller, reference)

    def destroy_deleted(self) -> Sequence[str]:
        """Destroy the materials of keys of all accounts whose time has come; return their ARNs.

        Raises:
            InvalidInputError, WrongKeyError, StoreError, LimitExceededError, CorruptionError: As
                `create`.
        """
        keyring = find_keyring(self._context)
        return [] if keyring is None else keyring.destroy_deleted_keys()

    def rotate(self, reference: str) -> KmsKey:
        """Give a key new material, and wrap the store's data keys anew with it.

        What the earlier material wrapped stays readable; no data are touched.

        Raises:
            NotFoundError, ConflictError: There is no such key, or it may not be changed or used.
            LimitExceededError: It was rotated as often as a key can be.
        """
        key = self._found(reference).rotate_key(self._caller, reference)
        rewrap_data_keys(self._context, key.arn)
        return key

    # aliases

    def create_alias(self, name: str, reference: str) -> KeyAlias:
        """Name a key of the caller's.

        Raises:
            InvalidInputError, NotFoundError, ConflictError, LimitExceededError: As the keyring's
                operation.
        """
        return self._found(reference).create_alias(self._caller, name, reference)

    def update_alias(self, name: str, reference: str) -> KeyAlias:
        """Have an alias mean another key.

        Raises:
            InvalidInputError, NotFoundError, ConflictError, LimitExceededError: As the keyring's
                operation.
        """
        return self._found(reference).update_alias(self._caller, name, reference)

    def delete_alias(self, name: str) -> None:
        """Take an alias away; its key stays as it is.

        Raises:
            InvalidInputError, NotFoundError: As the keyring's operation.
        """
        check_alias(name)
        self._found(name).delete_alias(self._caller, name)

    def list_aliases(self, reference: str | None = None) -> Sequence[KeyAlias]:
        """Return the caller's aliases in the Region, or those of one key of its own, by name.

        Raises:
            NotFoundError, ConflictError: There is no such key, or it is another account's.
        """
        keyring = find_keyring(self._context) if reference is None else self._found(reference)
        return [] if keyring is None else keyring.list_aliases(self._caller, reference)

    # grants

    def create_grant(
        self,
        reference: str,
        grantee: str,
        operations: Iterable[KeyOperation] = EBS_OPERATIONS,
        name: str = "",
        retiring: str = "",
    ) -> KeyGrant:
        """Let another account use a key; by default for all that encrypted snapshots need.

        Args:
            reference: The key.
            grantee: The account.
            operations: What it may.
            name: Free text.
            retiring: Another account that may end the grant; empty: none.

        Raises:
            InvalidInputError, NotFoundError, ConflictError, LimitExceededError: As the keyring's
                operation.
        """
        keyring = self._found(reference)
        return keyring.create_grant(self._caller, reference, grantee, operations, name, retiring)

    def retire_grant(self, reference: str, grant_id: str) -> None:
        """End a grant, at once.

        Raises:
            NotFoundError: There is no such key or grant, or the caller has nothing to do with it.
        """
        self._found(reference).retire_grant(self._caller, reference, grant_id)

    def list_grants(self, reference: str) -> Sequence[KeyGrant]:
        """Return the grants of a key of the caller's, oldest first.

        Raises:
            NotFoundError, ConflictError: There is no such key, or it is another account's.
        """
        return self._found(reference).list_grants(self._caller, reference)

    # policies and tags

    def policy(self, reference: str, name: str = POLICY_NAME) -> str:
        """Return the policy of a key of the caller's, as it was put.

        Raises:
            NotFoundError, ConflictError: As `ebsim.keys.key_facts.policy_of`.
        """
        return key_facts.policy_of(self._found(reference), self._caller, reference, name)

    def put_policy(self, reference: str, text: str, name: str = POLICY_NAME) -> KmsKey:
        """Say by a policy who else may use a key of the caller's, from now on.

        Raises:
            InvalidInputError, NotFoundError, ConflictError, LimitExceededError: As
                `ebsim.keys.key_facts.put_policy`.
        """
        return key_facts.put_policy(self._found(reference), self._caller, reference, text, name)

    def tags(self, reference: str) -> Mapping[str, str]:
        """Return the tags of a key of the caller's.

        Raises:
            NotFoundError, ConflictError: There is no such key, or it is another account's.
        """
        return key_facts.tags_of(self._found(reference), self._caller, reference)

    def tag(self, reference: str, tags: Mapping[str, str]) -> KmsKey:
        """Give a key of the caller's tags; others that it has stay.

        Raises:
            InvalidInputError, NotFoundError, ConflictError, LimitExceededError: As
                `ebsim.keys.key_facts.put_tags`.
        """
        return key_facts.put_tags(self._found(reference), self._caller, reference, tags)

    def untag(self, reference: str, names: Iterable[str]) -> KmsKey:
        """Take tags from a key of the caller's.

        Raises:
            NotFoundError, ConflictError: There is no such key, or it may not be changed.
        """
        return key_facts.drop_tags(self._found(reference), self._caller, reference, names)

    # messages

    def encrypt(
        self,
        reference: str,
        plaintext: bytes,
        context: Mapping[str, str],
        operation: KeyOperation = KeyOperation.ENCRYPT,
    ) -> tuple[KmsKey, bytes]:
        """Return the key that is named, and a message of at most 4,096 bytes encrypted with it.

        Args:
            reference: The key.
            plaintext: The message.
            context: Whoever decrypts it must give the same.
            operation: What another account than the key's needs the right to.

        Raises:
            InvalidInputError, NotFoundError, ConflictError: As `ebsim.keys.messages.encrypt`.
        """
        self.get(reference)  # makes the default key
        keyring = self._found(reference)
        return messages.encrypt(keyring, self._caller, reference, plaintext, context, operation)

    def decrypt(
        self,
        message: bytes,
        context: Mapping[str, str],
        reference: str | None = None,
        operation: KeyOperation = KeyOperation.DECRYPT,
    ) -> Decrypted:
        """Return what `encrypt` encrypted.

        Raises:
            InvalidInputError, NotFoundError, ConflictError: As `ebsim.keys.messages.decrypt`.
        """
        keyring = find_keyring(self._context)
        if keyring is None:
            raise refusals.invalid_ciphertext()
        return messages.decrypt(keyring, self._caller, message, context, reference, operation)

    def generate_data_key(
        self,
        reference: str,
        size_bytes: int,
        context: Mapping[str, str],
        operation: KeyOperation = KeyOperation.GENERATE_DATA_KEY,
    ) -> tuple[KmsKey, bytes, bytes]:
        """Return the key that is named, random bytes, and these encrypted with it.

        Raises:
            InvalidInputError: It is to have none of 1 to 1,024 bytes; or as `encrypt`.
            NotFoundError, ConflictError: As `encrypt`.
        """
        if not 1 <= size_bytes <= DATA_KEY_SIZE_MAX:
            raise refusals.invalid_value(f"a data key has 1 to {DATA_KEY_SIZE_MAX} bytes")
        plain = self._context.entropy.token_bytes(size_bytes)
        key, message = self.encrypt(reference, plain, context, operation)
        return key, plain, message

    # the keyring as a whole

    @property
    def keyring_path(self) -> Path:
        """Where the keyring lies, or will lie."""
        return keyring_path(self._context)

    def set_place(self, path: Path | None) -> None:
        """Have the store look for its keyring elsewhere from now on. No file is moved.

        Args:
            path: Where it lies, or will lie; None: in the store's folder.

        Raises:
            InvalidInputError: It would lie within the store under another name.
            WrongKeyError: Another keyring than the store's is there.
            StoreError, LimitExceededError, FormatVersionError, CorruptionError: A write failed, or
                what is there cannot be read.
        """
        set_keyring_place(self._context, path)

    def protection(self) -> str | None:
        """Return how the keyring is protected: `none`, `scrypt` or `key-file`; None: there is none.

        Raises:
            NotFoundError, WrongKeyError, StoreError, CorruptionError: As `create`.
        """
        keyring = find_keyring(self._context)
        return None if keyring is None else keyring.protection()

    def protect(self, unlocking: Unlocking) -> None:
        """Protect the keyring otherwise from now on; it is made if there is none.

        Copies that were made before still open with what they were protected by.

        Raises:
            InvalidInputError: The passphrase or key file is missing, too short or too long; or the
                keyring is locked.
            WrongKeyError, NotFoundError, StoreError, LimitExceededError, CorruptionError: As
                `create`.
        """
        self._context.keyring(create=True).change_protection(unlocking)
        self._context.state.unlocking = unlocking

    def export(self, path: Path) -> None:
        """Write the recovery copy of the keyring, which holds all keys in the clear, to a new file.

        Raises:
            NotFoundError: There is no keyring.
            InvalidInputError: The file would lie in the store.
            ConflictError: There is a file.
            InvalidInputError, WrongKeyError, StoreError, LimitExceededError, CorruptionError: As
                `create`.
        """
        if Path(os.path.abspath(path)).is_relative_to(os.path.abspath(self._context.path)):
            raise refusals.recovery_copy_inside(path)
        self._context.keyring().export(path)

    def recover(self, text: str) -> int:
        """Make the keyring again from its recovery copy, where it is missing.

        It is protected by what opens the handle's keyring (`Seams.unlocking`).

        Returns:
            How many keys it has, of all accounts.

        Raises:
            InvalidInputError: A line is mistyped or missing (InvalidRecoveryCopy).
            ConflictError: There is a keyring (KeyringExists).
            WrongKeyError: It is the recovery copy of another keyring than the store's.
            StoreError, LimitExceededError: It cannot be written.
        """
        context = self._context
        path = keyring_path(context)
        keyring_id, keys = recovery_copy.parse(text)
        ensure_not_another(context, path, keyring_id)
        context.ensure_writable()
        unlocking = context.state.unlocking or NO_PROTECTION
        seams = KeyringSeams(files=context.files, clock=context.clock, entropy=context.entropy)
        Keyring.recover(path, text, unlocking, seams)
        context.keyring(create=True)  # so that the store knows which one is its own
        return len(keys)

    def _found(self, reference: str) -> Keyring:
        """Return the keyring in which a key is to be found.

        Raises:
            NotFoundError: There is none, and so no such key; or it is lost.
        """
        wanted = parse_reference(reference, self._caller)
        keyring = find_keyring(self._context)
        if keyring is None:
            raise refusals.key_not_found(wanted.arn)
        return keyring
