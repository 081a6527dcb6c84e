"""Key policies: which other accounts may use a key, as far as KMS's policy language says so.

A policy gives rights beside the grants of a key; neither takes any away. Its owner may do with a
key whatever KMS can do with it, and the policy has to say so, as the one that KMS makes does; so
nothing is in effect that the document does not say. What else of the language has a meaning that
is not carried out here is refused by its name: Deny, NotAction, NotPrincipal, NotResource, services
and federated users, and conditions, but for the one on CreateGrant that the policies of KMS's
console have, `kms:GrantIsForAWSResource`: it gives nobody but EBS a right, which needs no grants.

A principal stands for the account that it belongs to, as the grantee of a grant does. Operations
that KMS lets no other account do are its owner's, whatever the policy says; so are ListGrants and
RevokeGrant here.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ebsim.keys import refusals
from ebsim.keys.records import KeyOperation

POLICY_NAME = "default"
"""The only one that a key's policy can have."""

SIZE_MAX = 32 * 1024
"""Bytes of a policy; KMS's limit."""

EVERYBODY = "*"

_VERSIONS = ("2012-10-17", "2008-10-17")
_PRINCIPAL = re.compile(r"(?:arn:aws:(?:iam|sts)::)?([0-9]{12})(?::.+)?\Z", re.ASCII)
_ACTION = re.compile(r"(?:kms:[a-z*?]+|\*)\Z", re.ASCII | re.IGNORECASE)
_UNDERSTOOD = frozenset({"Sid", "Effect", "Principal", "Action", "Resource", "Condition"})
_OWNER_ONLY = ("PutKeyPolicy", "ScheduleKeyDeletion", "DisableKey")
"""Operations that a policy must let the owner do; who may do these, and all others, may do all."""

_FOR_AWS_RESOURCE = "kms:GrantIsForAWSResource"

_RIGHTS = {
    **{each: (each.value,) for each in KeyOperation},
    KeyOperation.RE_ENCRYPT: ("ReEncryptFrom", "ReEncryptTo"),
}
"""The actions that a policy must allow for each operation."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a policy allows.

    Attributes:
        accounts: Whom; `EVERYBODY` for all.
        actions: Patterns of actions.
    """

    accounts: frozenset[str]
    actions: tuple[str, ...]

    def allows(self, account: str, action: str) -> bool:
        """Return whether an account may do something, given without `kms:`."""
        if account not in self.accounts and EVERYBODY not in self.accounts:
            return False
        return any(_matches(pattern, f"kms:{action}") for pattern in self.actions)


def default_policy(account: str) -> str:
    """Return the policy of a key that was given none: its owner may do everything."""
    document = {
        "Version": "2012-10-17",
        "Id": "key-default-1",
        "Statement": [
            {
                "Sid": "Enable IAM User Permissions",
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
                "Action": "kms:*",
                "Resource": "*",
            }
        ],
    }
    return json.dumps(document, indent=2)


def check_policy(text: str, account: str, key_arn: str) -> None:
    """See that a policy is one that a key of an account can have.

    Args:
        text: The policy.
        account: The key's owner.
        key_arn: The key; empty: it is being made.

    Raises:
        InvalidInputError: It is malformed (MalformedPolicyDocumentException), or says what is not
            carried out here (UnsupportedOperationException).
        LimitExceededError: It is too long.
    """
    if len(text.encode()) > SIZE_MAX:
        raise refusals.policy_too_long(SIZE_MAX)
    statements = _parse(text, key_arn)
    for action in ("*", *_OWNER_ONLY, *(each for many in _RIGHTS.values() for each in many)):
        if not any(each.allows(account, action) for each in statements):
            raise refusals.unsupported_policy(
                f"it does not allow its owner, {account}, all of kms:*: keep the statement that "
                "every policy of KMS begins with"
            )


def policy_allows(text: str, account: str, operation: KeyOperation) -> bool:
    """Return whether a policy lets an account do something with its key."""
    if not text:
        return False
    statements = _kept(text)
    return all(
        any(each.allows(account, action) for each in statements) for action in _RIGHTS[operation]
    )


@lru_cache(maxsize=256)
def _kept(text: str) -> tuple[Statement, ...]:
    """Return the statements of a policy that was checked when it was put."""
    return _parse(text, "")


def _parse(text: str, key_arn: str) -> tuple[Statement, ...]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise refusals.malformed_policy("it is no JSON") from None
    if not isinstance(document, dict):
        raise refusals.malformed_policy("it is no object")
    for name in document:
        if name not in {"Version", "Id", "Statement"}:
            raise refusals.malformed_policy(f"it has no member {name!r}")
    if document.get("Version", _VERSIONS[1]) not in _VERSIONS:
        raise refusals.malformed_policy(f"its Version is none of {', '.join(_VERSIONS)}")
    statements = document.get("Statement", [])
    listed = [statements] if isinstance(statements, dict) else statements
    if not isinstance(listed, list) or not listed:
        raise refusals.malformed_policy("it has no Statement")
    parsed = [_statement(each, key_arn) for each in listed]
    return tuple(each for each in parsed if each is not None)


def _statement(statement: object, key_arn: str) -> Statement | None:
    """Return what a statement allows; None: nothing to an account."""
    if not isinstance(statement, dict):
        raise refusals.malformed_policy("a statement is no object")
    for name in statement:
        if name in {"NotAction", "NotPrincipal", "NotResource"}:
            raise refusals.unsupported_policy(f"{name} is not supported")
        if name not in _UNDERSTOOD:
            raise refusals.malformed_policy(f"a statement has no member {name!r}")
    effect = statement.get("Effect")
    if effect == "Deny":
        raise refusals.unsupported_policy("the effect Deny is not supported")
    if effect != "Allow":
        raise refusals.malformed_policy("a statement's Effect is Allow or Deny")
    accounts = _accounts(statement.get("Principal"))
    actions = tuple(_texts(statement, "Action"))
    for action in actions:
        if not _ACTION.match(action):
            raise refusals.malformed_policy(f"{action[:80]!r} is no action of kms")
    for resource in _texts(statement, "Resource"):
        if resource not in {"*", key_arn} and (key_arn or not resource.startswith("arn:aws:kms:")):
            raise refusals.unsupported_policy(f"the resource {resource[:128]!r} is not the key")
    if _is_for_aws(statement.get("Condition")):
        return None
    return Statement(accounts, actions)


def _accounts(principal: object) -> frozenset[str]:
    if principal == EVERYBODY:
        return frozenset({EVERYBODY})
    if not isinstance(principal, Mapping) or not principal:
        raise refusals.malformed_policy("a statement has no Principal")
    for kind in principal:
        if kind != "AWS":
            raise refusals.unsupported_policy(f"principals of the kind {kind!r} are not supported")
    found = set()
    for name in _texts(principal, "AWS"):
        match = _PRINCIPAL.match(name)
        if name != EVERYBODY and match is None:
            raise refusals.malformed_policy(f"{name[:128]!r} is no principal")
        found.add(EVERYBODY if match is None else match[1])
    return frozenset(found)


def _texts(of: Mapping[str, Any], name: str) -> list[str]:
    """Return a member that is a text, or some."""
    value = of.get(name)
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not listed:
        raise refusals.malformed_policy(f"a statement has no {name}")
    for each in listed:
        if not isinstance(each, str):
            raise refusals.malformed_policy(f"{name} is no text")
    return listed


def _is_for_aws(condition: object) -> bool:
    """Return whether a statement is for what AWS's services do for an account alone."""
    if condition is None or condition == {}:
        return False
    if not isinstance(condition, Mapping):
        raise refusals.malformed_policy("a Condition is no object")
    for operator, values in condition.items():
        if operator != "Bool" or not isinstance(values, Mapping):
            raise refusals.unsupported_policy(f"conditions with {operator!r} are not supported")
        for name, value in values.items():
            wanted = value[0] if isinstance(value, list) and len(value) == 1 else value
            if name != _FOR_AWS_RESOURCE or str(wanted).lower() != "true":
                raise refusals.unsupported_policy(f"the condition {name!r} is not supported")
    return True


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    literal = "".join(
        {"*": ".*", "?": "."}.get(character, re.escape(character)) for character in text
    )
    return re.compile(literal, re.IGNORECASE | re.DOTALL)


def _matches(pattern: str, action: str) -> bool:
    """Return whether an action is one of those that a pattern means; letters' case is no matter."""
    return _pattern(pattern).fullmatch(action) is not None
