"""Signatures, against botocore's own signer; and every part of one altered."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import pytest

pytest.importorskip("botocore")
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from ebsim.server import signatures
from ebsim.server.protocol.wire import FaultError, HttpRequest
from ebsim.server.signatures import ALGORITHM, Credential, Signer, verify, verify_body

KEY, SECRET, ACCOUNT = (
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "111122223333",
)
KNOWN = {
    KEY: Credential(KEY, SECRET, ACCOUNT),
    "ASIATEMPORARY": Credential(
        "ASIATEMPORARY", SECRET, ACCOUNT, "token/+=", datetime(2100, 1, 1, tzinfo=UTC)
    ),
    "ASIAEXPIRED": Credential(
        "ASIAEXPIRED", SECRET, ACCOUNT, "token", datetime(2020, 1, 1, tzinfo=UTC)
    ),
}


def signed(
    *,
    method: str = "POST",
    url: str = "http://localhost:4747/",
    body: bytes = b"Action=DescribeSnapshots&Version=2016-11-15",
    key: str = KEY,
    secret: str = SECRET,
    token: str | None = None,
    in_query: bool = False,
    headers: dict[str, str] | None = None,
) -> HttpRequest:
    """Return a request that botocore signed just now; one signed in its query has no body."""
    if in_query:
        method, body = "GET", b""
    request = AWSRequest(method, url, data=body, headers=headers or {})
    credentials = Credentials(key, secret, token)
    signer = SigV4QueryAuth if in_query else SigV4Auth
    signer(credentials, "ec2", "eu-central-1").add_auth(request)
    prepared = request.prepare()
    target = prepared.url.split("localhost:4747", 1)[1]
    path, _, query = target.partition("?")
    found = {name.lower(): _text(value) for name, value in prepared.headers.items()}
    return HttpRequest(
        method=method,
        path=path,
        query=query,
        headers={**found, "host": "localhost:4747"},
        body=body,
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def now() -> datetime:
    return datetime.now(UTC)  # botocore signs for its own clock


def checked(request: HttpRequest, *, at: datetime | None = None) -> Signer:
    signer = verify(request, KNOWN.get, at or now())
    verify_body(signer, request.body)
    return signer


@pytest.mark.parametrize("in_query", [False, True], ids=["headers", "query"])
@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:4747/",
        "http://localhost:4747/snapshots/snap-1/blocks/7?blockToken=a%2Bb%3D%20c&x=1&x=0&empty=",
        "http://localhost:4747/rules/%2Fa%20b/c",
        "http://localhost:4747/tags/arn%3Aaws%3Aec2",
    ],
)
def test_what_botocore_signed_is_genuine(url: str, *, in_query: bool) -> None:
    signer = checked(signed(url=url, in_query=in_query))

    assert (signer.credential.account, signer.region, signer.service) == (
        ACCOUNT,
        "eu-central-1",
        "ec2",
    )


@pytest.mark.parametrize("in_query", [False, True], ids=["headers", "query"])
def test_temporary_key_needs_its_token(*, in_query: bool) -> None:
    checked(signed(key="ASIATEMPORARY", token="token/+=", in_query=in_query))

    for token in (None, "another"):
        with pytest.raises(FaultError) as caught:
            checked(signed(key="ASIATEMPORARY", token=token, in_query=in_query))
        assert caught.value.code == "InvalidClientTokenId"
    with pytest.raises(FaultError) as caught:
        checked(signed(key="ASIAEXPIRED", token="token", in_query=in_query))
    assert caught.value.code == "RequestExpired"


def test_unknown_key_and_wrong_secret_are_refused() -> None:
    with pytest.raises(FaultError) as caught:
        checked(signed(key="AKIAUNKNOWN"))
    assert (caught.value.code, caught.value.status) == ("InvalidClientTokenId", 403)
    with pytest.raises(FaultError) as caught:
        checked(signed(secret="another"))
    assert (caught.value.code, caught.value.status) == ("SignatureDoesNotMatch", 403)


@pytest.mark.parametrize("minutes", [-16, 16])
def test_clock_more_than_a_quarter_of_an_hour_off_is_refused(minutes: int) -> None:
    request = signed()

    checked(request, at=now() + timedelta(minutes=minutes * 14 / 16))
    with pytest.raises(FaultError) as caught:
        checked(request, at=now() + timedelta(minutes=minutes))
    assert caught.value.code == "RequestExpired"


def test_presigned_request_ends_when_it_says() -> None:
    request = signed(in_query=True)

    checked(request, at=now() + timedelta(seconds=3590))
    with pytest.raises(FaultError) as caught:
        checked(request, at=now() + timedelta(seconds=3610))
    assert caught.value.code == "RequestExpired"


def altered_heads(request: HttpRequest) -> list[HttpRequest]:
    """Return the request with each byte of each of its signed parts altered, one at a time."""
    found = [replace(request, method=each) for each in altered(request.method)]
    found += [replace(request, path=each) for each in altered(request.path)]
    found += [replace(request, query=each) for each in altered(request.query)]
    for name, text in request.headers.items():
        if name in {"content-length", "user-agent", "x-amzn-trace-id"}:
            continue  # these are not signed
        found += [
            replace(request, headers={**request.headers, name: each}) for each in altered(text)
        ]
    return found


def altered(text: str) -> list[str]:
    cut = [text[:at] + text[at + 1 :] for at in range(len(text))]
    flipped = [
        text[:at] + chr(ord(text[at]) ^ bit) + text[at + 1 :]
        for at in range(len(text))
        for bit in (1, 32)
        if text[at] not in "%&"
    ]
    return [each for each in (*cut, *flipped) if meaning(each) != meaning(text)]


def meaning(text: str) -> str:
    """Return what a text says whatever its blanks, and the case of its percent-encoding."""
    return unquote(text).replace(" ", "")


def is_accepted(request: HttpRequest) -> bool:
    try:
        checked(request)
    except FaultError:
        return False
    return True


@pytest.mark.parametrize("path", ["//", "/a//b", "/a/../b", "/./a", "a", "/a/.."])
def test_path_that_could_be_read_in_two_ways_is_refused(path: str) -> None:
    with pytest.raises(FaultError, match="path"):
        checked(replace(signed(), path=path))


@pytest.mark.parametrize("in_query", [False, True], ids=["headers", "query"])
def test_every_altered_part_of_a_signed_request_is_refused(*, in_query: bool) -> None:
    request = signed(
        url="http://localhost:4747/snapshots/snap-1/blocks/7?blockToken=abc&n=1",
        in_query=in_query,
        headers={"x-amz-data-length": "524288", "content-type": "application/x-www-form"},
    )
    checked(request)

    tried = altered_heads(request)

    assert len(tried) > 500
    assert [each for each in tried if is_accepted(each)] == []


@pytest.mark.parametrize("in_query", [False, True], ids=["headers", "query"])
def test_another_body_is_refused(*, in_query: bool) -> None:
    request = signed(in_query=in_query)

    with pytest.raises(FaultError) as caught:
        checked(replace(request, body=b"Action=DeleteSnapshot&Version=2016-11-15"))
    assert caught.value.code == "SignatureDoesNotMatch"


def test_header_that_was_added_must_be_signed() -> None:
    request = signed()
    more = replace(request, headers={**request.headers, "x-amz-added": "1"})

    with pytest.raises(FaultError, match="x-amz-added must be signed"):
        checked(more)


def test_request_is_signed_once() -> None:
    """CVE-2026-41145: which of two signatures counts must not be a matter of taste."""
    request, query = signed(), signed(in_query=True).query

    with pytest.raises(FaultError, match="in its headers and in its query"):
        checked(replace(request, query=query))
    presigned = signed(in_query=True)
    with pytest.raises(FaultError, match="given twice"):
        checked(replace(presigned, query=presigned.query + "&X-Amz-Date=20260101T000000Z"))


def test_request_without_signature_is_refused() -> None:
    with pytest.raises(FaultError) as caught:
        checked(HttpRequest(method="POST", path="/", headers={"host": "x"}, body=b""))
    assert (caught.value.code, caught.value.status) == ("MissingAuthenticationToken", 403)


@given(
    st.lists(
        st.sampled_from(
            ["Credential=a/b", "SignedHeaders=a;b", "Signature=0", "Signature=", "x=1", "=", ""]
        ),
        max_size=4,
    ),
    st.sampled_from([", ", ",", " ,", ",  ", ",\t", "; ", ",\x85", "\n, "]),
    st.sampled_from([f"{ALGORITHM} ", f" {ALGORITHM} ", f"{ALGORITHM}  ", ALGORITHM, "AWS4 "]),
    st.sampled_from(["", " ", ",", "\n", "x", "\x85"]),
)
def test_usual_header_is_read_as_any_other(
    parts: list[str], between: str, begin: str, end: str
) -> None:
    """What is read at one go is what is read part by part, and no less is refused."""
    text = begin + between.join(parts) + end
    usual = signatures._AUTHORIZATION.match(text)
    if usual is not None:
        assert signatures._authorization_fields(text) == usual.groupdict()


def test_long_list_of_signed_headers_is_not_kept() -> None:
    """Anybody may send one, and send others."""
    kept = signatures._few_signed_headers
    for count, more in ((10, 1), (1000, 0)):
        before = kept.cache_info().currsize
        names = tuple(f"x-{count}-{number:04}" for number in range(count))
        assert signatures._signed_headers(";".join(names)) == names
        assert kept.cache_info().currsize in {before + more, kept.cache_info().maxsize}


@pytest.mark.parametrize("part", ["Credential", "Security-Token", "Signature", "SignedHeaders"])
def test_what_is_no_utf_8_is_refused_as_what_is_wrong(part: str) -> None:
    request = signed(key="ASIATEMPORARY", token="token/+=", in_query=True)
    fields = request.query.split("&")
    (at,) = [at for at, field in enumerate(fields) if field.startswith(f"X-Amz-{part}=")]
    fields[at] = fields[at].replace("us-east-1", "%FF") + ("" if part == "Credential" else "%FF")
    fields[at] = fields[at].replace("eu-central-1", "%FF")
    with pytest.raises(FaultError):
        checked(replace(request, query="&".join(fields)))


def test_token_that_is_no_utf_8_is_another() -> None:
    told = signed(key="ASIATEMPORARY", token="another", in_query=True)
    request = replace(told, query=told.query.replace("another", "%FF"))
    claim = signatures._claim(request, now())
    right = signatures._signature(request, claim, SECRET, hashlib.sha256(b"").hexdigest())
    request = replace(request, query=request.query.replace(claim.signature, right))
    with pytest.raises(FaultError) as caught:
        checked(request)
    assert caught.value.code == "InvalidClientTokenId"


def test_secret_is_shown_nowhere() -> None:
    credential = KNOWN[KEY]

    assert SECRET not in repr(credential)
    assert SECRET not in repr(checked(signed()))
