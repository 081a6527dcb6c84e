"""The keyring: KMS keys of all accounts and Regions, and what may be done with them.

Every operation says who calls (`Caller`), and is refused as KMS refuses it. Nothing is remembered
between operations but the root key, so that a key that another process disabled is unusable with
the next call. The root key is fetched when the first operation needs it: looking up, showing and
listing need none.

What is in memory can be read by whoever can read this process's memory, or its core dumps; keys
are not overwritten when they are let go, since Python cannot promise that. No key is in any `repr`,
error or log.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from ebsim.caller import Caller
from ebsim.ids import new_data_key_id, new_key_id
from ebsim.keys import recovery_copy, rules
from ebsim.keys.keyring_file import write_new_private
from ebsim.keys.materials import Materials, NewDataKey
from ebsim.keys.names import DEFAULT_ALIAS, alias_arn, parse_reference
from ebsim.keys.open_keyring import KeyringSeams, OpenKeyring, Present
from ebsim.keys.records import (
    EBS_OPERATIONS,
    KeyAlias,
    KeyGrant,
    KeyManager,
    KeyOperation,
    KeyringContents,
    KeyState,
    KmsKey,
)
from ebsim.keys.unlocking import NO_PROTECTION, Unlocking
from ebsim.keys.wrapping import KEY_SIZE, Binding, decode_wrapped

KEYRING_ID_SIZE = 16
GRANT_ID_SIZE = 32
DEFAULT_DESCRIPTION = "Default key that protects EBS volumes when no other key is defined"


class Keyring:
    """An open keyring; for several threads at once.

    Args:
        path: Its file.
        unlocking: What opens it.
        seams: Files, time and randomness.
    """

    def __init__(
        self, path: Path, unlocking: Unlocking = NO_PROTECTION, seams: KeyringSeams | None = None
    ) -> None:
        self._ring = OpenKeyring(path, unlocking, seams or KeyringSeams())

    def __repr__(self) -> str:
        return f"<keyring {self.path}>"

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._ring.path

    @property
    def keyring_id(self) -> str:
        """Which one it is: 32 hex digits, the same in all its copies and after a recovery.

        Raises:
            NotFoundError, StoreError, FormatVersionError, CorruptionError: As `open`.
        """
        return self._ring.read().contents.keyring_id

    def let_go(self) -> None:
        """Close its file, so that nothing of its folder is in use; a later use opens it again."""
        self._ring.let_go()

    @classmethod
    def create(
        cls, path: Path, unlocking: Unlocking = NO_PROTECTION, seams: KeyringSeams | None = None
    ) -> "Keyring":
        """Make an empty keyring.

        Raises:
            ConflictError: There is one (KeyringExists).
            InvalidInputError: The passphrase or key file is missing, too short or too long.
            StoreError, LimitExceededError: It cannot be written.
        """
        made = cls(path, unlocking, seams)
        keyring_id = made._ring.seams.entropy.token_bytes(KEYRING_ID_SIZE).hex()
        made._ring.begin(lambda _materials: KeyringContents(keyring_id, {}), keyring_id)
        return made

    @classmethod
    def open(
        cls, path: Path, unlocking: Unlocking = NO_PROTECTION, seams: KeyringSeams | None = None
    ) -> "Keyring":
        """Open a keyring; its root key is fetched when it is needed.

        Raises:
            NotFoundError: There is none (KeyringNotFound).
            StoreError: It cannot be read, or others can read it (KeyringExposed).
            FormatVersionError: It is no keyring, or another version's.
            CorruptionError: It is damaged (CorruptKeyring).
        """
        opened = cls(path, unlocking, seams)
        opened._ring.read()
        return opened

    @classmethod
    def recover(
        cls,
        path: Path,
        text: str,
        unlocking: Unlocking = NO_PROTECTION,
        seams: KeyringSeams | None = None,
    ) -> "Keyring":
        """Make a keyring from a recovery copy; its root key and protection are new.

        Raises:
            InvalidInputError: A line is mistyped or missing (InvalidRecoveryCopy); or as `create`.
            ConflictError, StoreError, LimitExceededError: As `create`.
        """
        keyring_id, plain_keys = recovery_copy.parse(text)
        made = cls(path, unlocking, seams)

        def contents(materials: Materials) -> KeyringContents:
            keys = [materials.sealed(plain) for plain in plain_keys]
            return KeyringContents(keyring_id, {key.key_id: key for key in keys})

        made._ring.begin(contents, keyring_id)
        return made

    # the keyring as a whole

    def version(self) -> int:
        """Return a number that is another as soon as anybody changed the keyring (2 us).

        Whoever remembers an unwrapped data key compares it, and asks again after a change.

        Raises:
            NotFoundError, StoreError, FormatVersionError, CorruptionError: As `open`.
        """
        return self._ring.version()

    def unlock(self) -> None:
        """Fetch the root key now, so that a wrong passphrase is told before work begins.

        Raises:
            InvalidInputError: What opens it was not given (KeyringLocked).
            WrongKeyError: It is another passphrase or key file.
            NotFoundError, StoreError, FormatVersionError, CorruptionError: As `open`.
        """
        self._ring.present()

    def change_protection(self, unlocking: Unlocking) -> None:
        """Protect the keyring otherwise from now on. Only the root key is wrapped anew.

        Copies of the file that were made before still open with what they were protected by.

        Raises:
            InvalidInputError: The passphrase or key file is missing, too short or too long.
            WrongKeyError, StoreError, LimitExceededError, CorruptionError: As any change.
        """
        self._ring.protect_anew(unlocking)

    def protection(self) -> str:
        """Return how the root key is protected: `none`, `scrypt` or `key-file`."""
        return str(self._ring.read().protection.get("method"))

    def recovery_text(self) -> str:
        """Return the recovery copy: whoever has it has all keys.

        Raises:
            InvalidInputError, WrongKeyError, StoreError, CorruptionError: As `unlock`.
        """
        present = self._ring.present()
        contents = rules.without_gone(present.contents, present.now_us)
        keys = [present.materials.opened(key) for key in contents.keys.values()]
        return recovery_copy.render(contents.keyring_id, keys, present.now_us)

    def export(self, path: Path) -> None:
        """Write the recovery copy to a new file of mode 0600.

        Raises:
            ConflictError: There is a file (KeyringExists).
            StoreError, LimitExceededError: It cannot be written.
            InvalidInputError, WrongKeyError, CorruptionError: As `unlock`.
        """
        write_new_private(path, self.recovery_text().encode("ascii"), self._ring.seams.files)

    def destroy_deleted_keys(self) -> list[str]:
        """Destroy the materials of keys whose waiting time is over; return the keys' ARNs.

        They are unusable already. From now on no clock that is set back, and no mistake that is
        noticed, brings back what they encrypted.

        Raises:
            InvalidInputError, WrongKeyError, StoreError, LimitExceededError, CorruptionError: As
                any change.
        """

        def change(present: Present) -> tuple[KeyringContents, list[str]]:
            contents = present.contents
            gone = [key.arn for key in contents.keys.values() if key.is_gone(present.now_us)]
            return (rules.without_gone(contents, present.now_us) if gone else contents), gone

        return self._ring.change(change)

    # keys

    def create_key(
        self,
        caller: Caller,
        description: str = "",
        change: Callable[[KmsKey], KmsKey] | None = None,
    ) -> KmsKey:
        """Make a customer managed key; `change` is applied to it before it is kept.

        Raises:
            InvalidInputError: The description is too long.
            LimitExceededError: There are as many keys as there may be.
        """
        rules.check_description(description)

        def make(present: Present) -> tuple[KeyringContents, KmsKey]:
            made = self._made(caller, present.now_us, description)
            made = made if change is None else change(made)
            key = present.materials.with_new(made, present.now_us)
            return rules.with_new_key(present.contents, key), key

        return self._ring.change(make)

    def default_key(self, caller: Caller) -> KmsKey:
        """Return the AWS managed key of EBS (`alias/aws/ebs`), made at the first need.

        Raises:
            LimitExceededError: There are as many keys as there may be.
        """
        found = rules.find_default(
            self._ring.read().contents, caller, self._ring.seams.clock.now_us()
        )
        if found is not None:
            return found

        def change(present: Present) -> tuple[KeyringContents, KmsKey]:
            key = rules.find_default(present.contents, caller, present.now_us)
            if key is not None:  # another process was faster
                return present.contents, key
            key = replace(
                self._made(caller, present.now_us, DEFAULT_DESCRIPTION),
                manager=KeyManager.AWS,
                aliases=(DEFAULT_ALIAS,),
            )
            key = present.materials.with_new(key, present.now_us)
            return rules.with_new_key(present.contents, key), key

        return self._ring.change(change)

    def resolve(self, reference: str, caller: Caller) -> KmsKey:
        """Return the key that a request of EBS names; its state is not looked at.

        Args:
            reference: A key id, key ARN, alias or alias ARN; another account's only by ARN.
            caller: Whose request it is. His `alias/aws/ebs` is made if it is not there.

        Raises:
            NotFoundError: There is none (KMS: NotFoundException).
            ConflictError: It is another account's, and not shared (KMS: AccessDeniedException).
        """
        wanted = parse_reference(reference, caller)
        if wanted.alias == DEFAULT_ALIAS and wanted.caller == caller:
            return self.default_key(caller)
        return self.describe_key(caller, reference)

    def describe_key(self, caller: Caller, reference: str) -> KmsKey:
        """Return a key.

        Raises:
            NotFoundError, ConflictError: As `resolve`.
        """
        key = self.find(caller, reference)
        rules.require_right(key, caller, KeyOperation.DESCRIBE_KEY)
        return key

    def list_keys(self, caller: Caller) -> list[KmsKey]:
        """Return the keys of the caller's account and Region, oldest first."""
        return rules.keys_of(self._ring.read().contents, caller, self._ring.seams.clock.now_us())

    def update_description(self, caller: Caller, reference: str, text: str) -> KmsKey:
        """Give a key another description.

        Raises:
            InvalidInputError: It is too long.
            NotFoundError, ConflictError: There is no such key, or it may not be changed.
        """
        return self.change_key(
            caller, reference, lambda key, _: rules.with_description(key, caller, text)
        )

    def enable_key(self, caller: Caller, reference: str) -> KmsKey:
        """Let a key be used again.

        Raises:
            NotFoundError, ConflictError: There is no such key, or it may not be changed.
        """
        return self.change_key(
            caller, reference, lambda key, _: rules.with_state(key, caller, KeyState.ENABLED)
        )

    def disable_key(self, caller: Caller, reference: str) -> KmsKey:
        """Have a key be unusable, and with it, at once, everything that it encrypts.

        Raises:
            NotFoundError, ConflictError: There is no such key, or it may not be changed.
        """
        return self.change_key(
            caller, reference, lambda key, _: rules.with_state(key, caller, KeyState.DISABLED)
        )

    def schedule_key_deletion(
        self, caller: Caller, reference: str, days: int = rules.DELETION_DAYS_MAX
    ) -> KmsKey:
        """Have a key be unusable now, and gone in 7 to 30 days, with all that it encrypts.

        Raises:
            InvalidInputError: So many days are not possible.
            NotFoundError, ConflictError: There is no such key, or it may not be changed.
        """
        return self.change_key(
            caller, reference, lambda key, now_us: rules.with_deletion(key, caller, days, now_us)
        )

    def cancel_key_deletion(self, caller: Caller, reference: str) -> KmsKey:
        """Keep a key after all; it is disabled then.

        Raises:
            NotFoundError, ConflictError: There is no such key, or it is not pending deletion.
        """
        return self.change_key(
            caller, reference, lambda key, _: rules.without_deletion(key, caller)
        )

    def rotate_key(self, caller: Caller, reference: str) -> KmsKey:
        """Give a key a new version of its material. What earlier ones wrapped stays readable.

        Raises:
            NotFoundError, ConflictError: There is no such key, or it may not be changed or used.
            LimitExceededError: It was rotated as often as a key can be.
        """

        def change(present: Present) -> tuple[KeyringContents, KmsKey]:
            key = rules.find(present.contents, reference, caller, present.now_us)
            rules.require_rotatable(key, caller)
            rotated = present.materials.with_new(key, present.now_us)
            return present.contents.with_key(rotated), rotated

        return self._ring.change(change)

    # aliases

    def create_alias(self, caller: Caller, name: str, reference: str) -> KeyAlias:
        """Name a key of the caller's.

        Raises:
            InvalidInputError: The name is malformed, or reserved (InvalidAliasNameException).
            NotFoundError, ConflictError: There is no such key, it may not be changed, or the name
                is taken (AlreadyExistsException).
            LimitExceededError: The key has as many as it may have.
        """
        return self._change_alias(caller, name, reference, rules.with_alias)

    def update_alias(self, caller: Caller, name: str, reference: str) -> KeyAlias:
        """Have an alias mean another key.

        Raises:
            InvalidInputError: The name is malformed or reserved.
            NotFoundError, ConflictError: There is no such alias or key, or it may not be changed.
            LimitExceededError: The key has as many as it may have.
        """
        return self._change_alias(caller, name, reference, rules.with_alias_moved)

    def delete_alias(self, caller: Caller, name: str) -> None:
        """Take an alias away; its key stays as it is.

        Raises:
            InvalidInputError: The name is malformed or reserved.
            NotFoundError: There is no such alias.
        """

        def change(present: Present) -> tuple[KeyringContents, None]:
            return rules.without_alias(present.contents, caller, name, present.now_us), None

        self._ring.change(change)

    def list_aliases(self, caller: Caller, reference: str | None = None) -> list[KeyAlias]:
        """Return the aliases of the caller's account and Region, or of one key of his, by name.

        Raises:
            NotFoundError, ConflictError: There is no such key, or it is another account's.
        """
        keys = self.list_keys(caller)
        if reference is not None:
            keys = [self.find(caller, reference)]
            rules.require_owner(keys[0], caller, "ListAliases")
        found = [_alias(name, key) for key in keys for name in key.aliases]
        return sorted(found, key=lambda alias: alias.name)

    # grants

    def create_grant(
        self,
        caller: Caller,
        reference: str,
        grantee: str,
        operations: Iterable[KeyOperation] = EBS_OPERATIONS,
        name: str = "",
        retiring: str = "",
    ) -> KeyGrant:
        """Let another account use a key; an equal grant that is there already is returned.

        Raises:
            InvalidInputError: The grantee is no account, or nothing is granted.
            NotFoundError, ConflictError: There is no such key, or the caller may not share it, or
                it is AWS's or not enabled.
            LimitExceededError: The key has as many as it may have.
        """
        wanted = set(operations)
        rules.check_grant(grantee, wanted, name, retiring)
        ordered = tuple(operation for operation in KeyOperation if operation in wanted)

        def change(present: Present) -> tuple[KeyringContents, KeyGrant]:
            contents = present.contents
            key = rules.find(contents, reference, caller, present.now_us)
            grant = KeyGrant(
                grant_id=self._ring.seams.entropy.token_bytes(GRANT_ID_SIZE).hex(),
                grantee=grantee,
                issuer=caller.account,
                operations=ordered,
                name=name,
                created_us=present.now_us,
                retiring=retiring,
            )
            changed, granted = rules.with_grant(key, caller, grant)
            return (contents if changed is key else contents.with_key(changed)), granted

        return self._ring.change(change)

    def retire_grant(self, caller: Caller, reference: str, grant_id: str) -> None:
        """End a grant; its effect ends at once.

        Raises:
            NotFoundError: There is no such key or grant, or the caller has nothing to do with it.
        """
        self.change_key(
            caller, reference, lambda key, _: rules.without_grant(key, caller, grant_id)
        )

    def list_grants(self, caller: Caller, reference: str) -> list[KeyGrant]:
        """Return the grants of a key of the caller's, oldest first.

        Raises:
            NotFoundError, ConflictError: There is no such key, or it is another account's.
        """
        key = self.find(caller, reference)
        rules.require_owner(key, caller, "ListGrants")
        return list(key.grants)

    def usable_key(self, caller: Caller, reference: str, operation: KeyOperation) -> KmsKey:
        """Return a key that the caller may use so now; what it is was proved with the root key.

        His `alias/aws/ebs` is made if it is not there.

        Raises:
            NotFoundError, ConflictError: There is no such key, it is not enabled, or the caller
                may not use it.
            InvalidInputError, WrongKeyError, StoreError, CorruptionError: As `unlock`.
        """
        self.unlock()
        return self.opened(caller, self.resolve(reference, caller).arn, operation)[0]

    # data keys

    def generate_data_key(self, caller: Caller, reference: str, store_id: bytes) -> NewDataKey:
        """Make a data key for a dedup domain of a store, wrapped by a KMS key.

        Raises:
            NotFoundError, ConflictError: There is no such key, it is not enabled, or the caller
                may not use it.
            InvalidInputError, WrongKeyError, StoreError, CorruptionError: As `unlock`.
        """
        self.unlock()  # so that what is looked up below is proved
        data_key_id = new_data_key_id(self._ring.seams.entropy)
        plain = self._ring.seams.entropy.token_bytes(KEY_SIZE)
        key = self.resolve(reference, caller)
        wrapped = self.wrap_data_key(caller, key.arn, plain, Binding(store_id, data_key_id))
        return NewDataKey(data_key_id=data_key_id, key_arn=key.arn, wrapped=wrapped, plain=plain)

    def wrap_data_key(
        self, caller: Caller, reference: str, data_key: bytes, binding: Binding
    ) -> bytes:
        """Return a data key wrapped by the newest material of a KMS key.

        Raises:
            NotFoundError, ConflictError, InvalidInputError, WrongKeyError, StoreError,
                CorruptionError: As `generate_data_key`.
        """
        operation = KeyOperation.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT
        key, materials = self.opened(caller, reference, operation)
        return materials.wrap_data_key(key, data_key, binding)

    def unwrap_data_key(
        self, caller: Caller, reference: str, wrapped: bytes, binding: Binding
    ) -> bytes:
        """Return the data key that `wrap_data_key` wrapped (0.1 ms).

        Raises:
            NotFoundError, ConflictError: There is no such key, it is not enabled, or the caller
                may not use it.
            CorruptionError: What is wrapped is damaged, or another data key's, store's or KMS
                key's.
            InvalidInputError, WrongKeyError, StoreError: As `unlock`.
        """
        key, materials = self.opened(caller, reference, KeyOperation.DECRYPT)
        return materials.unwrap_data_key(key, wrapped, binding)

    def rewrap_data_key(
        self, caller: Caller, reference: str, wrapped: bytes, binding: Binding
    ) -> bytes:
        """Return the same data key wrapped by the newest material, after a rotation.

        What is so wrapped already is returned as it is. No data are touched.

        Raises:
            NotFoundError, ConflictError, CorruptionError, InvalidInputError, WrongKeyError,
                StoreError: As `unwrap_data_key`.
        """
        key, materials = self.opened(caller, reference, KeyOperation.RE_ENCRYPT)
        data_key = materials.unwrap_data_key(key, wrapped, binding)
        if decode_wrapped(wrapped)[0] == key.materials[-1].version:
            return wrapped
        return materials.wrap_data_key(key, data_key, binding)

    # within

    def change_key(
        self, caller: Caller, reference: str, change: Callable[[KmsKey, int], KmsKey]
    ) -> KmsKey:
        """Keep what `change` makes of a key and the time; it is found within the same change."""

        def change_found(present: Present) -> tuple[KeyringContents, KmsKey]:
            contents = present.contents
            key = rules.find(contents, reference, caller, present.now_us)
            changed = change(key, present.now_us)
            return (contents if changed == key else contents.with_key(changed)), changed

        return self._ring.change(change_found)

    def _change_alias(
        self,
        caller: Caller,
        name: str,
        reference: str,
        rule: Callable[[KeyringContents, KmsKey, Caller, str, int], KeyringContents],
    ) -> KeyAlias:
        def change(present: Present) -> tuple[KeyringContents, KeyAlias]:
            contents, now_us = present.contents, present.now_us
            key = rules.find(contents, reference, caller, now_us)
            return rule(contents, key, caller, name, now_us), _alias(name, key)

        return self._ring.change(change)

    def find(self, caller: Caller, reference: str) -> KmsKey:
        """Return a key, whatever the caller may do with it; NotFoundError: there is none."""
        contents = self._ring.read().contents
        return rules.find(contents, reference, caller, self._ring.seams.clock.now_us())

    def _made(self, caller: Caller, now_us: int, description: str) -> KmsKey:
        """Return a new customer managed key, still without material."""
        return KmsKey(
            key_id=new_key_id(self._ring.seams.entropy),
            account=caller.account,
            region=caller.region,
            description=description,
            created_us=now_us,
            materials=(),
        )

    def opened(
        self, caller: Caller, reference: str, operation: KeyOperation
    ) -> tuple[KmsKey, Materials]:
        """Return an enabled key that the caller may use so, and what opens its materials."""
        present = self._ring.present()
        key = rules.find(present.contents, reference, caller, present.now_us)
        rules.require_right(key, caller, operation)
        rules.require_enabled(key)
        return key, present.materials


def _alias(name: str, key: KmsKey) -> KeyAlias:
    return KeyAlias(name, alias_arn(key.owner, name), key.key_id)
