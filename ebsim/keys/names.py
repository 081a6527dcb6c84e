"""What keys are called: ids, ARNs and aliases."""

import re
from dataclasses import dataclass

from ebsim.caller import Caller
from ebsim.ids import KeyId
from ebsim.keys import refusals

ALIAS_PREFIX = "alias/"
ALIAS_RESERVED = "alias/aws/"
DEFAULT_ALIAS = "alias/aws/ebs"
"""The AWS managed key of EBS, one in each account and Region."""

ALIAS_SIZE_MAX = 256

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_KEY_ID = re.compile(_UUID + r"\Z")
_ALIAS = re.compile(r"alias/[a-zA-Z0-9/_-]+\Z")
_ARN = re.compile(r"arn:aws:kms:([a-z0-9-]+):([0-9]{12}):(?:key/(" + _UUID + r")|(alias/.+))\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a request names a key by: exactly one of `key_id` and `alias` is set.

    Attributes:
        caller: The account and Region in which it is looked for.
        key_id: The key's id.
        alias: An alias, with `alias/`.
    """

    caller: Caller
    key_id: KeyId | None = None
    alias: str | None = None

    @property
    def arn(self) -> str:
        """The ARN of what is named."""
        if self.key_id is not None:
            return key_arn(self.caller, self.key_id)
        assert self.alias is not None
        return alias_arn(self.caller, self.alias)


def key_arn(caller: Caller, key_id: KeyId) -> str:
    """Return the ARN of a key of an account and Region."""
    return f"arn:aws:kms:{caller.region}:{caller.account}:key/{key_id}"


def alias_arn(caller: Caller, alias: str) -> str:
    """Return the ARN of an alias of an account and Region."""
    return f"arn:aws:kms:{caller.region}:{caller.account}:{alias}"


def is_key_id(text: str) -> bool:
    """Return whether a text is a key's id: a UUID in lower case."""
    return _KEY_ID.match(text) is not None


def parse_reference(text: str, caller: Caller) -> Reference:
    """Return what a request of `caller` means by a key id, key ARN, alias or alias ARN.

    Only an ARN can mean another account's key, and none one of another Region.

    Raises:
        NotFoundError: It is none of them, or its Region is another.
    """
    if is_key_id(text):
        return Reference(caller=caller, key_id=KeyId(text))
    if _ALIAS.match(text):
        return Reference(caller=caller, alias=text)
    match = _ARN.match(text)
    if match is None or (match[4] is not None and not _ALIAS.match(match[4])):
        raise refusals.invalid_reference(text)
    if match[1] != caller.region:
        raise refusals.wrong_region(text, caller.region)
    owner = Caller(match[2], match[1])
    if match[3] is not None:
        return Reference(caller=owner, key_id=KeyId(match[3]))
    return Reference(caller=owner, alias=match[4])


def check_alias(name: str) -> str:
    """Return the name of an alias that a customer may make, change or delete.

    Raises:
        InvalidInputError: It is malformed, too long, or reserved.
    """
    if not _ALIAS.match(name) or len(name) > ALIAS_SIZE_MAX:
        raise refusals.invalid_value(
            f"Alias '{name[:ALIAS_SIZE_MAX]}' is malformed: it begins with alias/, goes on with "
            f"letters, digits, / _ and -, and has at most {ALIAS_SIZE_MAX} characters"
        )
    if name.startswith(ALIAS_RESERVED):
        raise refusals.alias_reserved(name)
    return name
