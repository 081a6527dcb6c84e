"""Grants: the right of another account to use a key.

Grants are given to accounts: a principal is taken for the account that it belongs to.
"""

import base64
import binascii
import re

from ebsim.keys.records import KeyGrant, KeyOperation
from ebsim.server.ec2.documents import moment
from ebsim.server.kms.pages import GRANTS, cut
from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document, FaultError

_PRINCIPAL = re.compile(r"(?:arn:aws:(?:iam|sts)::)?([0-9]{12})(?::.+)?\Z", re.ASCII)
_RE_ENCRYPT = frozenset({"ReEncryptFrom", "ReEncryptTo"})
_NEEDLESS = frozenset({"RetireGrant"})
"""Granted operations that a grantee may do anyhow."""


@OPERATIONS.add("kms", "CreateGrant")
def create_grant(served: Served) -> Document:
    """Let another account use a key."""
    given = served.parameters
    for name in ("Constraints", "GranteeServicePrincipal", "RetiringServicePrincipal"):
        if given.get(name):
            raise FaultError("UnsupportedOperationException", f"{name} is not supported.")
    grantee = _account(given.get("GranteePrincipal", ""))
    keys, wanted = served.store.keys, _operations(given["Operations"])
    retiring = _account(given["RetiringPrincipal"]) if "RetiringPrincipal" in given else ""
    name = given.get("Name", "")
    grant = keys.create_grant(given["KeyId"], grantee, wanted, name, retiring)
    arn = keys.get(given["KeyId"]).arn
    return {"GrantId": grant.grant_id, "GrantToken": _token(arn, grant.grant_id)}


@OPERATIONS.add("kms", "ListGrants")
def list_grants(served: Served) -> Document:
    """Return a page of the grants of a key (`Limit`, `Marker`)."""
    given, keys = served.parameters, served.store.keys
    found = keys.list_grants(given["KeyId"])
    arn = keys.get(given["KeyId"]).arn
    if "GrantId" in given:
        found = [each for each in found if each.grant_id == given["GrantId"]]
    if "GranteePrincipal" in given:
        grantee = _account(given["GranteePrincipal"])
        found = [each for each in found if each.grantee == grantee]
    if "GranteeServicePrincipal" in given:
        found = []
    page, more = cut(served, f"grants of {arn}", found, lambda each: each.grant_id, GRANTS)
    return {"Grants": [_grant(each, arn) for each in page], **more}


@OPERATIONS.add("kms", "RetireGrant")
def retire_grant(served: Served) -> Document:
    """End a grant: by its token, or by key and id."""
    given = served.parameters
    if "GrantToken" in given:
        arn, grant_id = _named(given["GrantToken"])
    elif "KeyId" in given and "GrantId" in given:
        arn, grant_id = given["KeyId"], given["GrantId"]
    else:
        raise FaultError("ValidationException", "GrantToken, or KeyId and GrantId are needed.")
    served.store.keys.retire_grant(arn, grant_id)
    return {}


@OPERATIONS.add("kms", "RevokeGrant")
def revoke_grant(served: Served) -> Document:
    """End a grant of a key of the caller's own."""
    given, keys = served.parameters, served.store.keys
    keys.list_grants(given["KeyId"])  # refused to others than the owner, who may retire only
    keys.retire_grant(given["KeyId"], given["GrantId"])
    return {}


def _account(principal: str) -> str:
    """Return the account of a principal.

    Raises:
        FaultError: InvalidArnException: it is none.
    """
    match = _PRINCIPAL.match(principal)
    if match is None:
        raise FaultError(
            "InvalidArnException", f"'{principal[:256]}' is no principal of an account."
        )
    return match[1]


def _operations(names: list[str]) -> list[KeyOperation]:
    """Return what is granted.

    Raises:
        FaultError: ValidationException: nothing, or what ebsim does not tell apart.
    """
    asked = set(names) - _NEEDLESS
    if asked & _RE_ENCRYPT:
        if not asked >= _RE_ENCRYPT:
            raise FaultError(
                "ValidationException", "ReEncryptFrom and ReEncryptTo can only be granted together."
            )
        asked = asked - _RE_ENCRYPT | {KeyOperation.RE_ENCRYPT.value}
    elif KeyOperation.RE_ENCRYPT.value in asked:
        raise FaultError("ValidationException", "There is no operation ReEncrypt to be granted.")
    known = {each.value for each in KeyOperation}
    if not asked <= known:
        unknown = min(asked - known)
        raise FaultError("ValidationException", f"{unknown[:80]} cannot be granted.")
    return [KeyOperation(name) for name in asked]


def _grant(grant: KeyGrant, arn: str) -> Document:
    operations: list[str] = []
    for each in grant.operations:
        operations += sorted(_RE_ENCRYPT) if each is KeyOperation.RE_ENCRYPT else [each.value]
    return {
        "KeyId": arn,
        "GrantId": grant.grant_id,
        "Name": grant.name,
        "CreationDate": moment(grant.created_us),
        "GranteePrincipal": f"arn:aws:iam::{grant.grantee}:root",
        "IssuingAccount": f"arn:aws:iam::{grant.issuer}:root",
        "Operations": operations,
        **({"RetiringPrincipal": _root_of(grant.retiring)} if grant.retiring else {}),
    }


def _root_of(account: str) -> str:
    return f"arn:aws:iam::{account}:root"


def _token(arn: str, grant_id: str) -> str:
    """Return a grant's token: it is no secret, it only names the grant."""
    return base64.b64encode(f"{arn} {grant_id}".encode()).decode("ascii")


def _named(token: str) -> tuple[str, str]:
    """Return key and id of the grant that a token names.

    Raises:
        FaultError: InvalidGrantTokenException: it is none.
    """
    try:
        text = base64.b64decode(token, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    arn, space, grant_id = text.partition(" ")
    if not space:
        raise FaultError("InvalidGrantTokenException", "The grant token is none.")
    return arn, grant_id
