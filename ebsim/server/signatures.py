"""AWS Signature Version 4: whether a request was signed by somebody who has a secret key.

The rules are those of AWS's description of the signing process, read strictly:

- A request is signed in its headers or in its query, never in both, and no part is given twice.
- `host` and each `x-amz-...` header that is there must be signed.
- The day of the scope is that of the request's time, which is at most 15 minutes off.
- The hash of the body is compared with what was signed. `UNSIGNED-PAYLOAD` is taken only where the
  model allows it, which is for PutSnapshotBlock: there the signed header x-amz-Checksum says what
  the body is. Chunked signing is not taken.
- A session token must be that of the access key.

Nothing of the body is looked at before the head is known to be genuine. An unknown access key costs
the same work as a wrong signature.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import NoReturn
from urllib.parse import quote

from ebsim.server.protocol.forms import split_form
from ebsim.server.protocol.wire import FaultError, HttpRequest

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_MAX_S = 15 * 60
EXPIRES_MAX_S = 7 * 24 * 3600
QUERY_FIELDS_MAX = 20_000
SIGNED_KEPT_MAX = 1024
"""Characters of a list of signed headers up to which it is kept: anybody may send many others."""

UNSIGNED = "UNSIGNED-PAYLOAD"
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z\Z", re.ASCII)
_FIELD = re.compile(r"(Credential|SignedHeaders|Signature)=([^,\s]+)\Z")
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Credential=(?P<Credential>[^,\s]+), SignedHeaders=(?P<SignedHeaders>[^,\s]+), "
    r"Signature=(?P<Signature>[^,\s]+)\Z"
)
"""The header as nearly everybody writes it."""

_SIGNATURE = re.compile(r"[0-9a-f]{64}\Z")
_NO_TIME = "X-Amz-Date must be a time such as 20260131T120000Z."
_NOBODY = "ebsim-nobody"


@dataclass(frozen=True, slots=True)
class Credential:
    """What a secret key belongs to.

    Attributes:
        access_key: Its id.
        secret: The secret access key.
        account: 12 digits.
        session_token: What must come with it, if it is temporary; else empty.
        expires: When it ends, if it is temporary.
    """

    access_key: str
    secret: str
    account: str
    session_token: str = ""
    expires: datetime | None = None

    def __repr__(self) -> str:
        return f"<credential {self.access_key}>"


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed a request, and for what.

    Attributes:
        credential: With which key.
        region: The Region of the scope.
        service: The service of the scope, by its signing name.
        body_hash: What the body must hash to, in hex; `UNSIGNED-PAYLOAD` where it is not signed.
        body_proved: Whether it is known to: the request did not say, so that it was computed.
    """

    credential: Credential
    region: str
    service: str
    body_hash: str
    body_proved: bool = False


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a request says about its signature."""

    access_key: str
    scope: tuple[str, str, str]
    stamp: str
    signed: tuple[str, ...]
    signature: str
    token: str
    query: str


Find = Callable[[str], Credential | None]
"""From an access key's id to the credential."""


def verify(request: HttpRequest, find: Find, now: datetime) -> Signer:
    """Return who signed a request's head; its body is proved by `verify_body`.

    Raises:
        FaultError: MissingAuthenticationToken, IncompleteSignature, InvalidClientTokenId,
            SignatureDoesNotMatch, RequestExpired.
    """
    claim = _claim(request, now)
    credential = find(claim.access_key)
    known = credential or Credential(_NOBODY, _NOBODY, "")
    body_hash = _claimed_body_hash(request, claim)
    expected = _signature(request, claim, known.secret, body_hash)
    right = hmac.compare_digest(expected, claim.signature)
    if credential is None:
        raise FaultError(
            "InvalidClientTokenId",
            "The security token included in the request is invalid: this store has no such access "
            "key. `ebsim credentials env` shows one that it has.",
            403,
        )
    if not right:
        raise FaultError(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check "
            "your AWS Secret Access Key and signing method.",
            403,
        )
    _check_token(credential, claim, now)
    _, region, service = claim.scope
    body_proved = "x-amz-content-sha256" not in request.headers
    return Signer(credential, region, service, body_hash, body_proved)


def verify_body(signer: Signer, body: bytes | memoryview) -> bytes:
    """Compare a body with what was signed; return its SHA-256.

    Args:
        signer: As `verify` returned it; the body is signed.
        body: All of it.

    Raises:
        FaultError: SignatureDoesNotMatch.
    """
    if signer.body_proved:
        return bytes.fromhex(signer.body_hash)
    digest = hashlib.sha256(body).digest()
    if not hmac.compare_digest(digest.hex(), signer.body_hash):
        raise FaultError("SignatureDoesNotMatch", "The body is not the one that was signed.", 403)
    return digest


def unsigned_body() -> FaultError:
    """Return the refusal of a body that is not signed, where the operation wants it to be."""
    return FaultError("IncompleteSignature", "The body must be signed.", 400)


def _check_token(credential: Credential, claim: _Claim, now: datetime) -> None:
    said = claim.token.encode("utf-8", "surrogateescape")
    if not hmac.compare_digest(credential.session_token.encode(), said):
        raise FaultError(
            "InvalidClientTokenId",
            "The security token included in the request is not that of the access key.",
            403,
        )
    if credential.expires is not None and credential.expires <= now:
        raise FaultError(
            "RequestExpired", "The security token included in the request is expired.", 400
        )


# what the request claims


def _claim(request: HttpRequest, now: datetime) -> _Claim:
    pairs = _query_pairs(request)
    names = [name for name, _ in pairs]
    query = dict(pairs)
    in_query = [name for name in names if name.lower().startswith("x-amz-")]
    in_header = "authorization" in request.headers
    if in_header and ("X-Amz-Algorithm" in query or "X-Amz-Signature" in query):
        _incomplete("The request is signed in its headers and in its query.")
    if len(set(in_query)) != len(in_query):
        _incomplete("A part of the signature is given twice.")
    if in_header:
        return _claim_of_headers(request, pairs, now)
    if "X-Amz-Algorithm" in query:
        return _claim_of_query(query, pairs, now)
    raise FaultError(
        "MissingAuthenticationToken",
        "The request must be signed: it has neither an Authorization header nor X-Amz-Algorithm. "
        "`ebsim credentials env` shows keys for that.",
        403,
    )


def _claim_of_headers(request: HttpRequest, pairs: list[tuple[str, str]], now: datetime) -> _Claim:
    text = request.headers["authorization"]
    usual = _AUTHORIZATION.match(text)
    fields = usual.groupdict() if usual else _authorization_fields(text)
    stamp = request.headers.get("x-amz-date", "")
    _check_skew(_time(stamp), now)
    token = request.headers.get("x-amz-security-token", "")
    return _built(fields, stamp, token, _canonical_query(pairs))


def _authorization_fields(text: str) -> dict[str, str]:
    algorithm, _, rest = text.strip().partition(" ")
    if algorithm != ALGORITHM:
        _incomplete(f"Only {ALGORITHM} is taken.")
    fields: dict[str, str] = {}
    for part in rest.split(","):
        match = _FIELD.match(part.strip())
        if match is None or match[1] in fields:
            _incomplete("The Authorization header is malformed.")
        fields[match[1]] = match[2]
    if len(fields) != 3:
        _incomplete("The Authorization header needs Credential, SignedHeaders and Signature.")
    return fields


def _claim_of_query(
    query: Mapping[str, str], pairs: list[tuple[str, str]], now: datetime
) -> _Claim:
    if query["X-Amz-Algorithm"] != ALGORITHM:
        _incomplete(f"Only {ALGORITHM} is taken.")
    fields = {
        name: query.get(f"X-Amz-{name}", "")
        for name in ("Credential", "SignedHeaders", "Signature")
    }
    stamp = query.get("X-Amz-Date", "")
    time = _time(stamp)
    expires = query.get("X-Amz-Expires", "")
    if not expires.isascii() or not expires.isdigit() or not 0 < int(expires) <= EXPIRES_MAX_S:
        _incomplete("X-Amz-Expires must be 1 to 604800 seconds.")
    age = (now - time).total_seconds()
    if age > int(expires):
        raise FaultError("RequestExpired", "Request has expired.", 400)
    if age < -SKEW_MAX_S:
        _check_skew(time, now)
    rest = [(name, text) for name, text in pairs if name != "X-Amz-Signature"]
    return _built(fields, stamp, query.get("X-Amz-Security-Token", ""), _canonical_query(rest))


def _built(fields: Mapping[str, str], stamp: str, token: str, query: str) -> _Claim:
    parts = fields["Credential"].rsplit("/", 4)
    if len(parts) != 5 or parts[4] != "aws4_request":
        _incomplete("The credential's scope must be DAY/REGION/SERVICE/aws4_request.")
    access_key, day, region, service, _ = parts
    if day != stamp[:8]:
        raise FaultError(
            "SignatureDoesNotMatch", "The day of the scope is not that of the request's time.", 403
        )
    signed = _signed_headers(fields["SignedHeaders"])
    if not _SIGNATURE.match(fields["Signature"]):
        _incomplete("The signature must be 64 hexadecimal digits.")
    return _Claim(
        access_key, (day, region, service), stamp, signed, fields["Signature"], token, query
    )


def _signed_headers(text: str) -> tuple[str, ...]:
    return _few_signed_headers(text) if len(text) <= SIGNED_KEPT_MAX else _names_of(text)


def _names_of(text: str) -> tuple[str, ...]:
    names = text.split(";")
    if names != sorted(set(names)) or text != text.lower():
        _incomplete("The signed headers must be in lower case, sorted, and each once.")
    return tuple(names)


_few_signed_headers = lru_cache(maxsize=256)(_names_of)  # a client signs the same ones every time


@lru_cache(maxsize=256)  # many are of the same second
def _time(stamp: str) -> datetime:
    match = _TIME.match(stamp)
    if match is None:
        _incomplete(_NO_TIME)
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:  # no such day
        _incomplete(_NO_TIME)


def _check_skew(time: datetime, now: datetime) -> None:
    if abs((now - time).total_seconds()) > SKEW_MAX_S:
        raise FaultError(
            "RequestExpired",
            f"The request's time {time:%Y%m%dT%H%M%SZ} is more than 15 minutes off: it is "
            f"{now:%Y%m%dT%H%M%SZ} here.",
            400,
        )


def _claimed_body_hash(request: HttpRequest, claim: _Claim) -> str:
    """Return what the body is said to hash to; without the header, what it does hash to."""
    said = request.headers.get("x-amz-content-sha256")
    if said is None:
        return hashlib.sha256(request.body).hexdigest()
    if "x-amz-content-sha256" not in claim.signed:
        _incomplete("The header x-amz-content-sha256 must be signed.")
    if said != UNSIGNED and not _SIGNATURE.match(said):
        _incomplete("x-amz-content-sha256 must be the body's SHA-256, in 64 hexadecimal digits.")
    return said


# the signature


def _signature(request: HttpRequest, claim: _Claim, secret: str, body_hash: str) -> str:
    headers, signed = request.headers, frozenset(claim.signed)
    must = [name for name in headers if name.startswith("x-amz-")]
    missing = [name for name in ("host", *must) if name not in signed]
    if missing:
        _incomplete(f"The header {min(missing)} must be signed.")
    absent = [name for name in claim.signed if name not in headers]
    if absent:
        _incomplete(f"The header {absent[0][:80]} is signed, and was not sent.")
    lines = [f"{name}:{' '.join(headers[name].split())}" for name in claim.signed]
    canonical = "\n".join(
        (
            request.method,
            _canonical_path(request.path),
            claim.query,
            *lines,
            "",
            ";".join(claim.signed),
            body_hash,
        )
    )
    scope = "/".join((*claim.scope, "aws4_request"))
    to_sign = "\n".join(
        (
            ALGORITHM,
            claim.stamp,
            scope,
            hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest(),
        )
    )
    signing = _signing_key(secret, *claim.scope).copy()
    signing.update(to_sign.encode("utf-8", "surrogateescape"))
    return signing.hexdigest()


@lru_cache(maxsize=256)
def _signing_key(secret: str, day: str, region: str, service: str) -> hmac.HMAC:
    """Return what signs with the key of a day, a Region and a service, still without a message."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode("utf-8", "surrogateescape"), "sha256")
    return hmac.new(key, digestmod="sha256")


def _canonical_path(path: str) -> str:
    """Return the path with each part encoded twice, as every service but S3 has it.

    Raises:
        FaultError: Signers would have made another path of it: `/a/../b`, `//`.
    """
    parts = path.split("/")
    if parts[0] or any(part in {".", ".."} for part in parts) or "" in parts[1:-1]:
        _incomplete("The path must begin with one slash, and have no empty part, `.` or `..`.")
    return quote(path or "/", safe="/~")


def _query_pairs(request: HttpRequest) -> list[tuple[str, str]]:
    if not request.query:
        return []
    try:
        return split_form(request.query, QUERY_FIELDS_MAX, "surrogateescape")
    except ValueError:
        _incomplete("The query has too many fields.")


def _canonical_query(pairs: list[tuple[str, str]]) -> str:
    encoded = sorted((_encoded(name), _encoded(text)) for name, text in pairs)
    return "&".join(f"{name}={text}" for name, text in encoded)


def _encoded(text: str) -> str:
    return quote(text, safe="~", errors="surrogateescape")


def _incomplete(message: str) -> NoReturn:
    raise FaultError("IncompleteSignature", message, 400)
