"""AWS's test suite of Signature Version 4 against the server's side of it.

It comes in botocore's source package; `make clients` fetches it.
"""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest

pytest.importorskip("botocore")
from ebsim.server.protocol.wire import FaultError, HttpRequest
from ebsim.server.signatures import Credential, verify, verify_body

BUILD = Path(__file__).parents[2] / "build" / "clients"
SUITE = BUILD / f"botocore-{version('botocore')}" / "tests" / "unit" / "auth" / "aws4_testsuite"
NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

REFUSED = {
    "get-relative": "a path that could be read in two ways",
    "get-relative-relative": "a path that could be read in two ways",
    "get-slash": "a path that could be read in two ways",
    "get-slash-dot-slash": "a path that could be read in two ways",
    "get-slash-pointless-dot": "a path that could be read in two ways",
    "get-slashes": "a path that could be read in two ways",
    "get-header-value-multiline": "folded lines, which HTTP does not have any more",
    "get-vanilla-with-session-token": "its request does not have the token that is signed",
}
"""What ebsim refuses although AWS may take it, and why."""

pytestmark = pytest.mark.skipif(
    not SUITE.is_dir(), reason="no test suite of signatures: `make clients` fetches it"
)


def read_request(path: Path) -> HttpRequest:
    """Return a request of the suite, signed as the suite says."""
    head, _, body = path.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")
    first, *lines = head.decode().split("\n")
    method, _, target = first.rpartition(" ")[0].partition(" ")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        key = name.lower()
        headers[key] = f"{headers[key]},{value.strip()}" if key in headers else value.strip()
    headers["authorization"] = path.with_suffix(".authz").read_text(encoding="utf-8").strip()
    place, _, query = target.partition("?")
    return HttpRequest(method=method, path=place, query=query, headers=headers, body=body)


def check(request: HttpRequest, secret: str = SECRET) -> None:
    token = request.headers.get("x-amz-security-token", "")
    known = Credential("AKIDEXAMPLE", secret, "123456789012", session_token=token)
    signer = verify(request, lambda _key: known, NOW)
    verify_body(signer, request.body)


@pytest.mark.parametrize("path", sorted(SUITE.rglob("*.req")), ids=lambda path: path.parent.name)
def test_request_of_the_suite_is_genuine(path: Path) -> None:
    request = read_request(path)
    if path.parent.name in REFUSED:
        with pytest.raises(FaultError):
            check(request)
        return

    check(request)

    with pytest.raises(FaultError, match="SignatureDoesNotMatch"):
        check(request, SECRET[:-1])
