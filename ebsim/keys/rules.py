"""What may be done with a key, by whom, and in which state: pure functions on a keyring's contents.

A key whose time of deletion has come is treated as if it were not there, by everything here; its
material is destroyed only by `without_gone`. A clock that was wrong for an hour must not cost all
data: nothing irrevocable follows from the time alone.

States (KMS's table of key states, for the states that keys of ebsim have):

    operation                    Enabled   Disabled   PendingDeletion
    use, rotate, grant           yes       Disabled   InvalidState
    enable, disable              yes       yes        InvalidState
    describe (text), alias to    yes       yes        InvalidState
    schedule deletion            yes       yes        InvalidState
    cancel deletion              InvalidState  same   yes: then Disabled
    show, list, retire a grant, delete an alias: in every state
"""

from collections.abc import Iterable
from dataclasses import replace

from ebsim.caller import Caller
from ebsim.ids import parse_account
from ebsim.keys import refusals
from ebsim.keys.key_policies import policy_allows
from ebsim.keys.names import (
    DEFAULT_ALIAS,
    Reference,
    alias_arn,
    check_alias,
    parse_reference,
)
from ebsim.keys.records import (
    KeyGrant,
    KeyManager,
    KeyMaterial,
    KeyOperation,
    KeyringContents,
    KeyState,
    KmsKey,
)

DELETION_DAYS_MIN = 7
DELETION_DAYS_MAX = 30
DESCRIPTION_SIZE_MAX = 8192
GRANT_NAME_SIZE_MAX = 256
DAY_US = 24 * 3600 * 1_000_000

KEYS_MAX = 10_000
"""In one keyring, of all accounts; KMS has 100,000 for each account and Region."""

ALIASES_MAX = 50
"""Of one key; KMS's number."""

GRANTS_MAX = 1000
"""Of one key; KMS has 50,000."""

VERSIONS_MAX = 1000
"""Rotations of one key; KMS has 25 on demand, and yearly ones without limit."""

# looking for


def find_default(contents: KeyringContents, caller: Caller, now_us: int) -> KmsKey | None:
    """Return the AWS managed key of EBS of an account and Region, if it was made."""
    return _with_alias(contents, Reference(caller=caller, alias=DEFAULT_ALIAS), now_us)


def find(contents: KeyringContents, reference: str, caller: Caller, now_us: int) -> KmsKey:
    """Return the key that a request names.

    Raises:
        NotFoundError: There is none.
    """
    return find_parsed(contents, parse_reference(reference, caller), now_us)


def find_parsed(contents: KeyringContents, wanted: Reference, now_us: int) -> KmsKey:
    """Return the key that a parsed reference names.

    Raises:
        NotFoundError: There is none.
    """
    if wanted.key_id is None:
        key = _with_alias(contents, wanted, now_us)
        if key is None:
            raise refusals.alias_not_found(wanted.arn)
        return key
    key = contents.keys.get(wanted.key_id)
    if key is None or key.owner != wanted.caller or key.is_gone(now_us):
        raise refusals.key_not_found(wanted.arn)
    return key


def keys_of(contents: KeyringContents, caller: Caller, now_us: int) -> list[KmsKey]:
    """Return the keys of an account and Region, oldest first."""
    return [
        key for key in contents.keys.values() if key.owner == caller and not key.is_gone(now_us)
    ]


def _with_alias(contents: KeyringContents, wanted: Reference, now_us: int) -> KmsKey | None:
    for key in keys_of(contents, wanted.caller, now_us):
        if wanted.alias in key.aliases:
            return key
    return None


# rights and states


def require_right(key: KmsKey, caller: Caller, operation: KeyOperation) -> None:
    """See that an account may do this with a key.

    Its owner may, and whom it was granted, or whom the key's policy allows it.

    Raises:
        ConflictError: It may not (AccessDeniedException).
    """
    granted = caller.account == key.account or any(
        grant.grantee == caller.account and operation in grant.operations for grant in key.grants
    )
    if not granted and not policy_allows(key.policy, caller.account, operation):
        raise refusals.access_denied(caller.account, operation, key.arn)


def require_owner(key: KmsKey, caller: Caller, operation: str) -> None:
    """See that a key is the caller's own.

    Raises:
        ConflictError: It is another account's (AccessDeniedException).
    """
    if caller.account != key.account:
        raise refusals.access_denied(caller.account, operation, key.arn)


def require_customer_key(key: KmsKey, caller: Caller, operation: str) -> None:
    """See that a key is the caller's own, and managed by him.

    Raises:
        ConflictError: It is another account's, or AWS's (AccessDeniedException).
    """
    require_owner(key, caller, operation)
    if key.manager is KeyManager.AWS:
        raise refusals.managed_by_aws(operation, key.arn)


def require_enabled(key: KmsKey) -> None:
    """See that a key can be used.

    Raises:
        ConflictError: It is disabled, or pending deletion.
    """
    require_not_pending(key)
    if key.state is not KeyState.ENABLED:
        raise refusals.key_disabled(key.arn)


def require_not_pending(key: KmsKey) -> None:
    """See that a key is not going to be deleted.

    Raises:
        ConflictError: It is (KMSInvalidStateException).
    """
    if key.state is KeyState.PENDING_DELETION:
        raise refusals.key_pending_deletion(key.arn)


# keys


def check_description(text: str) -> str:
    """Return the description of a key.

    Raises:
        InvalidInputError: It is too long.
    """
    if len(text) > DESCRIPTION_SIZE_MAX:
        raise refusals.invalid_value(
            f"a description has at most {DESCRIPTION_SIZE_MAX} characters, not {len(text)}"
        )
    return text


def with_new_key(contents: KeyringContents, key: KmsKey) -> KeyringContents:
    """Return the contents with a new key.

    Raises:
        LimitExceededError: There are as many as there may be.
    """
    if len(contents.keys) >= KEYS_MAX:
        raise refusals.limit("keys", KEYS_MAX)
    return contents.with_key(key)


def with_state(key: KmsKey, caller: Caller, state: KeyState) -> KmsKey:
    """Return a key enabled or disabled; it may be so already.

    Raises:
        ConflictError: It is not the caller's, or is pending deletion.
    """
    require_customer_key(key, caller, "EnableKey" if state is KeyState.ENABLED else "DisableKey")
    require_not_pending(key)
    return replace(key, state=state)


def with_description(key: KmsKey, caller: Caller, text: str) -> KmsKey:
    """Return a key with another description.

    Raises:
        InvalidInputError: It is too long.
        ConflictError: It is not the caller's, or is pending deletion.
    """
    check_description(text)
    require_customer_key(key, caller, "UpdateKeyDescription")
    require_not_pending(key)
    return replace(key, description=text)


def with_deletion(key: KmsKey, caller: Caller, days: int, now_us: int) -> KmsKey:
    """Return a key that is gone in 7 to 30 days, and cannot be used from now on.

    Raises:
        InvalidInputError: So many days are not possible.
        ConflictError: It is not the caller's, or is pending deletion already.
    """
    if not DELETION_DAYS_MIN <= days <= DELETION_DAYS_MAX:
        raise refusals.invalid_value(
            f"a key is deleted after {DELETION_DAYS_MIN} to {DELETION_DAYS_MAX} days, not {days}"
        )
    require_customer_key(key, caller, "ScheduleKeyDeletion")
    require_not_pending(key)
    return replace(key, state=KeyState.PENDING_DELETION, deletion_us=now_us + days * DAY_US)


def without_deletion(key: KmsKey, caller: Caller) -> KmsKey:
    """Return a key that stays after all; it is disabled, until it is enabled.

    Raises:
        ConflictError: It is not the caller's, or is not pending deletion.
    """
    require_customer_key(key, caller, "CancelKeyDeletion")
    if key.state is not KeyState.PENDING_DELETION:
        raise refusals.key_not_pending_deletion(key.arn)
    return replace(key, state=KeyState.DISABLED, deletion_us=None)


def without_gone(contents: KeyringContents, now_us: int) -> KeyringContents:
    """Return the contents without the keys whose time has come: their data are lost for ever."""
    kept = {key_id: key for key_id, key in contents.keys.items() if not key.is_gone(now_us)}
    return KeyringContents(contents.keyring_id, kept)


def require_rotatable(key: KmsKey, caller: Caller) -> None:
    """See that a key can be given a new version of its material.

    Raises:
        ConflictError: It is not the caller's, or not enabled.
        LimitExceededError: It was rotated as often as a key can be.
    """
    require_customer_key(key, caller, "RotateKeyOnDemand")
    require_enabled(key)
    if len(key.materials) >= VERSIONS_MAX:
        raise refusals.limit(f"versions of {key.arn}", VERSIONS_MAX)


def material_of(key: KmsKey, version: int) -> KeyMaterial:
    """Return a version of a key's material.

    Raises:
        CorruptionError: It has none of that number.
    """
    for material in key.materials:
        if material.version == version:
            return material
    raise refusals.keyring_damaged(f"{key.arn} has no material of version {version}")


# aliases


def with_alias(
    contents: KeyringContents, key: KmsKey, caller: Caller, name: str, now_us: int
) -> KeyringContents:
    """Return the contents with one more alias of a key.

    Raises:
        InvalidInputError: The name is malformed or reserved.
        ConflictError: The name is taken; or the key is not the caller's, or is pending deletion.
        LimitExceededError: The key has as many as it may have.
    """
    check_alias(name)
    _require_aliasable(key, caller, "CreateAlias")
    if _with_alias(contents, Reference(caller=caller, alias=name), now_us) is not None:
        raise refusals.alias_exists(alias_arn(caller, name))
    return contents.with_key(replace(key, aliases=(*key.aliases, name)))


def with_alias_moved(
    contents: KeyringContents, key: KmsKey, caller: Caller, name: str, now_us: int
) -> KeyringContents:
    """Return the contents with an alias moved to a key.

    Raises:
        InvalidInputError: The name is malformed or reserved.
        NotFoundError: There is no such alias.
        ConflictError: The key is not the caller's, or is pending deletion.
        LimitExceededError: The key has as many as it may have.
    """
    check_alias(name)
    present = find_parsed(contents, Reference(caller=caller, alias=name), now_us)
    if present.key_id == key.key_id:
        return contents
    _require_aliasable(key, caller, "UpdateAlias")
    without = contents.with_key(_without_name(present, name))
    return without.with_key(replace(key, aliases=(*key.aliases, name)))


def without_alias(
    contents: KeyringContents, caller: Caller, name: str, now_us: int
) -> KeyringContents:
    """Return the contents without an alias of the caller's; its key stays as it is.

    Raises:
        InvalidInputError: The name is malformed or reserved.
        NotFoundError: There is no such alias.
    """
    check_alias(name)
    key = find_parsed(contents, Reference(caller=caller, alias=name), now_us)
    return contents.with_key(_without_name(key, name))


def _require_aliasable(key: KmsKey, caller: Caller, operation: str) -> None:
    require_customer_key(key, caller, operation)
    require_not_pending(key)
    if len(key.aliases) >= ALIASES_MAX:
        raise refusals.limit(f"aliases of {key.arn}", ALIASES_MAX)


def _without_name(key: KmsKey, name: str) -> KmsKey:
    return replace(key, aliases=tuple(each for each in key.aliases if each != name))


# grants


def check_grant(
    grantee: str, operations: Iterable[KeyOperation], name: str, retiring: str = ""
) -> None:
    """See that a grant has a proper form.

    Raises:
        InvalidInputError: The grantee, or who may retire it, is no account, it grants nothing, or
            its name is too long.
    """
    parse_account(grantee)
    if retiring:
        parse_account(retiring)
    if not tuple(operations):
        raise refusals.invalid_value("a grant needs at least one operation")
    if len(name) > GRANT_NAME_SIZE_MAX:
        raise refusals.invalid_value(f"a grant's name has at most {GRANT_NAME_SIZE_MAX} characters")


def with_grant(key: KmsKey, caller: Caller, grant: KeyGrant) -> tuple[KmsKey, KeyGrant]:
    """Return a key with one more grant, and that grant, or the equal one that it has already.

    Somebody who was himself granted CreateGrant passes on no more than he has.

    Raises:
        ConflictError: The caller may not, or the key is AWS's, or not enabled.
        LimitExceededError: The key has as many as it may have.
    """
    require_right(key, caller, KeyOperation.CREATE_GRANT)
    if key.manager is KeyManager.AWS:
        raise refusals.managed_by_aws(KeyOperation.CREATE_GRANT, key.arn)
    for operation in grant.operations:
        require_right(key, caller, operation)
    require_enabled(key)
    for present in key.grants:
        if replace(grant, grant_id=present.grant_id, created_us=present.created_us) == present:
            return key, present
    if len(key.grants) >= GRANTS_MAX:
        raise refusals.limit(f"grants of {key.arn}", GRANTS_MAX)
    return replace(key, grants=(*key.grants, grant)), grant


def without_grant(key: KmsKey, caller: Caller, grant_id: str) -> KmsKey:
    """Return a key without a grant: its owner, its issuer, grantee and retirer may end it.

    Raises:
        NotFoundError: There is no such grant, or the caller has nothing to do with it.
    """
    for grant in key.grants:
        concerned = (key.account, grant.issuer, grant.grantee, grant.retiring)
        if grant.grant_id == grant_id and caller.account in concerned:
            return replace(key, grants=tuple(each for each in key.grants if each is not grant))
    raise refusals.grant_not_found(grant_id, key.arn)
