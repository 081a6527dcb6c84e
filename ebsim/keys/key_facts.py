"""What a key's owner says about it: its policy, and its tags."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ebsim.caller import Caller
from ebsim.keys import refusals, rules
from ebsim.keys.key_policies import POLICY_NAME, check_policy, default_policy
from ebsim.keys.keyring import Keyring
from ebsim.keys.records import KmsKey

TAGS_MAX = 50
TAG_KEY_LENGTH_MAX = 128
TAG_VALUE_LENGTH_MAX = 256


def policy_of(keyring: Keyring, caller: Caller, reference: str, name: str = POLICY_NAME) -> str:
    """Return the policy of a key of the caller's.

    Raises:
        NotFoundError: There is no such key, or no policy of that name.
        ConflictError: It is another account's.
    """
    key = keyring.find(caller, reference)
    rules.require_owner(key, caller, "GetKeyPolicy")
    _check_name(name, key)
    return key.policy or default_policy(key.account)


def put_policy(
    keyring: Keyring, caller: Caller, reference: str, text: str, name: str = POLICY_NAME
) -> KmsKey:
    """Give a key of the caller's another policy; it is in effect with the next request.

    Raises:
        InvalidInputError: It is malformed, or says what is not carried out.
        NotFoundError: There is no such key, or no policy of that name.
        ConflictError: It is another account's or AWS's, or is pending deletion.
        LimitExceededError: The policy is too long.
    """

    def change(key: KmsKey, _now_us: int) -> KmsKey:
        rules.require_customer_key(key, caller, "PutKeyPolicy")
        rules.require_not_pending(key)
        _check_name(name, key)
        check_policy(text, key.account, key.arn)
        return replace(key, policy=text)

    return keyring.change_key(caller, reference, change)


def tags_of(keyring: Keyring, caller: Caller, reference: str) -> dict[str, str]:
    """Return the tags of a key of the caller's.

    Raises:
        NotFoundError, ConflictError: There is no such key, or it is another account's.
    """
    key = keyring.find(caller, reference)
    rules.require_owner(key, caller, "ListResourceTags")
    return dict(key.tags)


def put_tags(keyring: Keyring, caller: Caller, reference: str, tags: Mapping[str, str]) -> KmsKey:
    """Give a key of the caller's tags; others that it has stay.

    Raises:
        InvalidInputError: A tag is malformed or reserved.
        NotFoundError, ConflictError: There is no such key, or it may not be changed.
        LimitExceededError: They are too many.
    """
    check_tags(tags)

    def change(key: KmsKey, _now_us: int) -> KmsKey:
        _ensure_taggable(key, caller, "TagResource")
        return with_tags(key, {**key.tags, **tags})

    return keyring.change_key(caller, reference, change)


def drop_tags(keyring: Keyring, caller: Caller, reference: str, names: Iterable[str]) -> KmsKey:
    """Take tags from a key of the caller's; those that it does not have are no matter.

    Raises:
        NotFoundError, ConflictError: There is no such key, or it may not be changed.
    """
    gone = set(names)

    def change(key: KmsKey, _now_us: int) -> KmsKey:
        _ensure_taggable(key, caller, "UntagResource")
        return replace(key, tags={name: key.tags[name] for name in key.tags if name not in gone})

    return keyring.change_key(caller, reference, change)


def with_tags(key: KmsKey, tags: Mapping[str, str]) -> KmsKey:
    """Return a key with these tags instead of those it has.

    Raises:
        LimitExceededError: They are too many.
    """
    if len(tags) > TAGS_MAX:
        raise refusals.limit(f"tags of {key.arn}", TAGS_MAX)
    return replace(key, tags=dict(tags))


def check_tags(tags: Mapping[str, str]) -> None:
    """See that tags have a proper form.

    Raises:
        InvalidInputError: One does not (TagException).
    """
    for name, value in tags.items():
        if not 1 <= len(name) <= TAG_KEY_LENGTH_MAX or len(value) > TAG_VALUE_LENGTH_MAX:
            raise refusals.invalid_tag(
                f"a key has 1 to {TAG_KEY_LENGTH_MAX} characters, a value at most "
                f"{TAG_VALUE_LENGTH_MAX}"
            )
        if name.lower().startswith("aws:"):
            raise refusals.invalid_tag(f"{name!r} begins with aws:, which is AWS's")


def _ensure_taggable(key: KmsKey, caller: Caller, operation: str) -> None:
    rules.require_customer_key(key, caller, operation)
    rules.require_not_pending(key)


def _check_name(name: str, key: KmsKey) -> None:
    if name != POLICY_NAME:
        raise refusals.policy_not_found(name, key.arn)
