"""Requests that are none, over a socket and in this process: refused, and nothing else happens.

Each run makes the same requests; with EBSIM_TEST_PROFILE=long there are 50,000 of them.
"""

import json
import logging
import os
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from ebsim.engine import Store
from ebsim.requests import VolumeRequest
from ebsim.testing.aws import RunningEndpoint, running_endpoint
from ebsim.testing.harness import Harness

pytest.importorskip("boto3")
from botocore.model import ListShape, MapShape, Shape, StructureShape

from ebsim.server.endpoint import Endpoint
from ebsim.server.limits import HttpLimits, Limits
from ebsim.server.operations import load_operations
from ebsim.server.process import ServeOptions
from ebsim.server.protocol.models import load_model
from ebsim.server.protocol.wire import HttpRequest

LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"
OVER_SOCKET = 25_000 if LONG else 500
IN_PROCESS = 25_000 if LONG else 1000
GROWTH_MAX = 96 * 1024 * 1024
WAIT_S = 120

CANARY = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
"""Whoever takes a body, or half of one, for the next request answers this with 200."""

FORM = b"Action=CreateVolume&Version=2016-11-15&Size=1&AvailabilityZone=us-east-1a"
SIGNED = (
    b"authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/us-east-1/ec2/"
    b"aws4_request, SignedHeaders=host;x-amz-date, Signature=" + b"0" * 64 + b"\r\n"
)
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


def body(*fields: bytes, sent: bytes = FORM + b"&" + CANARY, start: bytes = HEAD) -> bytes:
    return start + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + sent


CHUNKED = b"5\r\nActio\r\n0\r\n\r\n" + CANARY
UNCERTAIN = {
    "length and encoding": body(b"Content-Length: 5", b"Transfer-Encoding: chunked", sent=CHUNKED),
    "encoding and length": body(b"Transfer-Encoding: chunked", b"Content-Length: 5", sent=CHUNKED),
    "two lengths": body(b"Content-Length: 5", b"Content-Length: 70"),
    "the same length twice": body(b"Content-Length: 5", b"Content-Length: 5"),
    "list of lengths": body(b"Content-Length: 5, 5"),
    "signed length": body(b"Content-Length: +5"),
    "negative length": body(b"Content-Length: -5"),
    "hexadecimal length": body(b"Content-Length: 0x5"),
    "length beyond 64 bits": body(b"Content-Length: 99999999999999999999999"),
    "length with a NUL": body(b"Content-Length: 5\0"),
    "space before the colon": body(b"Content-Length : 5"),
    "another encoding": body(b"Transfer-Encoding: gzip, chunked", sent=CHUNKED),
    "encoding after chunked": body(b"Transfer-Encoding: chunked, identity", sent=CHUNKED),
    "unknown encoding": body(b"Transfer-Encoding: xchunked", sent=CHUNKED),
    "chunked twice": body(
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", sent=CHUNKED
    ),
    "encoding hidden by a tab": body(b"Transfer-Encoding:\x0bchunked", sent=CHUNKED),
    "encoding folded": body(b"Transfer-Encoding:\r\n chunked", b"Content-Length: 5", sent=CHUNKED),
    "bare line feeds": b"POST / HTTP/1.1\nHost: x\nContent-Length: 5\nContent-Length: 9\n\n" + FORM,
    "chunk size beyond 64 bits": body(
        b"Transfer-Encoding: chunked", sent=b"fffffffffffffffff\r\nx\r\n" + CANARY
    ),
    "negative chunk": body(b"Transfer-Encoding: chunked", sent=b"-1\r\nx\r\n" + CANARY),
    "chunk without its end": body(b"Transfer-Encoding: chunked", sent=b"2\r\nxxxx\r\n" + CANARY),
    "fields after the body": body(
        b"Transfer-Encoding: chunked", sent=b"0\r\nX-Amz-Target: x\r\n\r\n" + CANARY
    ),
    "upgrade": body(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 0", sent=CANARY),
    "tunnel": b"CONNECT example.com:80 HTTP/1.1\r\nHost: x\r\n\r\n" + CANARY,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + CANARY,
    "HTTP/9.9": b"POST / HTTP/9.9\r\nHost: x\r\n\r\n" + CANARY,
}
"""Requests of which two readers may find different ends: refused, and the connection closed."""

BROKEN = {
    "NUL in a field": body(b"X: a\0b", b"Content-Length: 5"),
    "NUL in a name": body(b"X\0: a", b"Content-Length: 5"),
    "NUL in the path": b"GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n",
    "bytes beyond ASCII in the path": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "carriage return in a field": body(b"X: a\rb: c", b"Content-Length: 5"),
    "field without a name": body(b": a", b"Content-Length: 5"),
    "field without a colon": body(b"nonsense", b"Content-Length: 5"),
    "name with a space": body(b"X Y: a", b"Content-Length: 5"),
    "method that is none": b"STEAL / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "large head": b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    "large path": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    "many fields": body(*(b"X-%d: a" % number for number in range(300)), sent=b""),
    "endless head": b"GET / HTTP/1.1\r\nX: " + b"a" * 1_000_000,
    "endless fields": b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 100_000,
    "length that is too large": body(b"Content-Length: 10000000"),
}
"""Requests that are malformed otherwise, or too large."""

HALVES = {
    "nothing": b"",
    "half a line": b"POST / HT",
    "half a head": HEAD + b"Content-Len",
    "half a body": HEAD + SIGNED + b"Content-Length: 1000\r\n\r\n" + FORM,
    "a little of a large chunk": body(b"Transfer-Encoding: chunked", sent=b"%x\r\n" % 2**40 + FORM),
    "half a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\n" + FORM,
}


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Refuse:
    """Sends requests to an endpoint, and looks at what comes back."""

    def __init__(self, endpoint: RunningEndpoint) -> None:
        parts = urlsplit(endpoint.url)
        self._address = (parts.hostname, parts.port)

    def connect(self) -> socket.socket:
        return socket.create_connection(self._address, timeout=WAIT_S)

    def told(self, data: bytes, *, ends: bool) -> bytes:
        """Return all that is answered; `ends`: the client sends no more, and says so."""
        with self.connect() as connection:
            found = b""
            try:
                connection.sendall(data)
                if ends:
                    connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(65536):
                    found += part
            except (BrokenPipeError, ConnectionResetError):
                pass  # it did not want to hear more
            return found


def statuses(told: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", told)]


def everything(store: Store) -> object:
    snapshots = store.describe_snapshots().snapshots
    keys = store.keys.list()
    rules = store.recycle_bin.rules.list().rules
    return [store.volumes.list(), snapshots, keys, rules, store.lifecycle.list()]


@contextmanager
def no_errors_logged() -> Iterator[None]:
    """Fail if an error was logged: something went wrong that is told as an internal error."""
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keep(logging.ERROR)
    names = ("ebsim.server", "uvicorn.error", "asyncio")
    for name in names:
        logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        for name in names:
            logging.getLogger(name).removeHandler(handler)
    assert [record.getMessage() for record in records] == []


@pytest.fixture(scope="module")
def harness() -> Iterator[Harness]:
    with Harness() as made:
        made.store.volumes.create(VolumeRequest(size_gib=1))
        yield made


@pytest.fixture(scope="module")
def endpoint(harness: Harness) -> Iterator[RunningEndpoint]:
    with running_endpoint(harness.store) as running:
        yield running


@contextmanager
def limited(limits: Limits) -> Iterator[RunningEndpoint]:
    """Return a context in which a store of its own is served under limits."""
    options = ServeOptions(limits=limits)
    with Harness() as other, running_endpoint(other.store, options=options) as running:
        yield running


@pytest.fixture(autouse=True)
def unchanged(harness: Harness) -> Iterator[None]:
    """Nothing is changed by any test, and no error is logged."""
    before = everything(harness.store)
    with no_errors_logged():
        yield
    assert everything(harness.store) == before


@pytest.mark.parametrize("name", UNCERTAIN)
def test_body_of_uncertain_length_is_refused(endpoint: RunningEndpoint, name: str) -> None:
    told = Refuse(endpoint).told(UNCERTAIN[name], ends=False)

    assert statuses(told) in ([400], [413]), told[:500]


@pytest.mark.parametrize("name", BROKEN)
def test_broken_request_is_refused(endpoint: RunningEndpoint, name: str) -> None:
    told = Refuse(endpoint).told(BROKEN[name], ends=False)

    assert statuses(told) in ([400], [413], [431], []), told[:500]


@pytest.mark.parametrize("name", HALVES)
def test_half_a_request_is_none(endpoint: RunningEndpoint, name: str) -> None:
    assert not [
        each for each in statuses(Refuse(endpoint).told(HALVES[name], ends=True)) if each < 400
    ]


@pytest.mark.parametrize("name", HALVES)
def test_client_that_stops_is_told_so(name: str) -> None:
    with limited(Limits(http=HttpLimits(request_s=0.05))) as running:
        assert statuses(Refuse(running).told(HALVES[name], ends=False)) == [408]


def test_client_that_does_not_read_is_left() -> None:
    """It asks and asks; the answers are too many for what the system keeps for it."""
    asked = b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000_000  # sent for as long as it is taken
    with (
        limited(Limits(http=HttpLimits(response_s=0.05))) as running,
        Refuse(running).connect() as connection,
        pytest.raises(OSError, match=r"reset|Broken"),
    ):
        connection.sendall(asked)


def test_answer_to_what_was_asked_before_is_still_given(endpoint: RunningEndpoint) -> None:
    told = Refuse(endpoint).told(
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n", ends=False
    )

    assert statuses(told) in ([200], [200, 400])


def test_bodies_are_bounded_together() -> None:
    """While one client has sent most of the bytes that all may hold, another is told to come."""
    http = HttpLimits(body_bytes=600_000)
    head, large = b"Content-Length: 150000\r\n\r\n", b"Content-Length: 550000\r\n\r\n"
    with (
        limited(Limits(held_bytes=600_000, http=http)) as running,
        Refuse(running).connect() as first,
    ):
        refuse = Refuse(running)
        first.sendall(HEAD + large + b"a" * 549_999)
        limit = time.monotonic() + WAIT_S
        metrics = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        while b"ebsim_held_bytes 549999.0" not in refuse.told(metrics, ends=False):
            assert time.monotonic() < limit
        request = HEAD + b"Connection: close\r\n" + head + b"a" * 150_000
        assert statuses(refuse.told(request, ends=False)) in ([503], [])
        small = HEAD + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello"
        assert statuses(refuse.told(small, ends=False)) == [403]


def test_half_a_request_does_not_keep_the_server_from_stopping() -> None:
    with limited(Limits(grace_s=0.05)) as running:
        half = Refuse(running).connect()
        half.sendall(HALVES["half a body"])
        metrics = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        limit = time.monotonic() + WAIT_S
        while b"ebsim_requests_at_work 1.0" not in Refuse(running).told(metrics, ends=False):
            assert time.monotonic() < limit
    with half, suppress(ConnectionResetError):  # that is an end, too
        assert half.recv(1) == b""


def test_too_many_connections_are_ended() -> None:
    with limited(Limits(connections=5)) as running:
        refuse = Refuse(running)
        held = [refuse.connect() for _ in range(5)]
        assert refuse.told(b"", ends=False) == b""
        for connection in held:
            connection.close()


# at random


def random_request(chance: random.Random) -> tuple[bytes, bool]:
    """Return bytes, and whether the client has to say that it sends no more."""
    kind = chance.randrange(5)
    if kind == 0:
        return chance.randbytes(chance.randrange(1, 2000)), True
    if kind == 1:
        data = chance.choice([*UNCERTAIN.values(), *BROKEN.values()])[:20_000]
    elif kind == 2:
        data = HEAD + SIGNED + b"Content-Length: %d\r\n\r\n" % len(FORM) + FORM
    elif kind == 3:
        fields = [chance.randbytes(chance.randrange(30)) for _ in range(chance.randrange(20))]
        data = body(*fields, sent=chance.randbytes(200))
    else:
        path = chance.choice([b"//", b"/../x", b"/%00", b"/snapshots/%ff/blocks", b"/rules/" * 50])
        data = b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + SIGNED + b"\r\n"
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(changed))
        what = chance.randrange(4)
        if what == 0:
            changed[at] = chance.randrange(256)
        elif what == 1:
            changed[at:at] = chance.randbytes(chance.randrange(1, 5))
        elif what == 2:
            del changed[at : at + chance.randrange(1, 9)]
        else:
            changed[at:at] = chance.choice((b"\r\n", b"\n", b"\0", b"\r\n\r\n", b" ", b"\r\n "))
        if not changed:
            break
    return bytes(changed), True


def test_random_bytes_are_refused_while_others_are_served(endpoint: RunningEndpoint) -> None:
    chance, refuse = random.Random(1), Refuse(endpoint)
    client = endpoint.client("ec2")
    client.describe_volumes()
    done, took = threading.Event(), [0.0]
    failed: list[Exception] = []

    def served() -> None:
        while not done.is_set():
            begun = time.monotonic()
            try:
                assert len(client.describe_volumes()["Volumes"]) == 1
            except Exception as error:  # noqa: BLE001 - told below
                failed.append(error)
                return
            took.append(time.monotonic() - begun)
            done.wait(0.01)

    healthy = threading.Thread(target=served)
    healthy.start()
    before = resident_bytes()
    try:
        for number in range(OVER_SOCKET):
            data, ends = random_request(chance)
            found = statuses(refuse.told(data, ends=ends))
            canary = b"/healthz" in data
            assert all(400 <= each < 500 or (canary and each == 200) for each in found), (
                number,
                data[:300],
            )
    finally:
        done.set()
        healthy.join()

    assert failed == []
    assert len(took) > 2
    assert max(took) < WAIT_S
    assert resident_bytes() - before < GROWTH_MAX


SERVICES = ("ec2", "ebs", "rbin", "dlm", "kms", "sts")
TEXTS = ("", "a", "\0", "\ud800", "\uffff", "-1", "1e999", "NaN", "9" * 400, "snap-", "../..", "%")


def random_value(chance: random.Random, depth: int = 0) -> Any:
    """Return any JSON value."""
    kind = chance.randrange(8 if depth < 4 else 5)
    if kind == 0:
        return chance.choice(TEXTS)
    if kind == 1:
        return chance.choice((0, -1, 2**63, 10**30, 1.5, 1e308))
    if kind == 2:
        return chance.choice((True, False, None))
    if kind < 6:
        return [random_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    names = ("KeyId", "ResourceType", "RetentionPeriod", "PolicyDetails", "Tags", "x", "")
    return {chance.choice(names): random_value(chance, depth + 1) for _ in range(4)}


def random_json(chance: random.Random) -> bytes:
    depth = chance.choice((10, 100, 1000, 100_000))
    large: list[bytes] = [
        b"[" * depth + b"]" * depth,
        b'{"a":' * depth + b"1" + b"}" * depth,
        b"[" + b"1," * depth + b"1]",
        b'{"Tags":[' + b"{}," * depth + b"{}]}",
        b'{"KeyId":' + b"9" * min(depth, 5000) + b"}",
    ]
    if chance.randrange(10) == 0:
        return chance.choice(large)
    text = json.dumps(random_value(chance)).encode()
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.randbytes(chance.randrange(3)) + text[at:]


def random_form(chance: random.Random, operations: list[str]) -> bytes:
    names = ["Filter", "SnapshotId", "Tag", "1", "2", "-1", "999999999", "Value", "Name", "", "x"]
    action = chance.choice(operations)
    fields = [f"Action={action}", f"Version={chance.choice(('2016-11-15', '2011-06-15', 'x'))}"]
    for _ in range(chance.choice((1, 3, 30))):
        path = ".".join(chance.choice(names) for _ in range(chance.choice((1, 2, 3, 30))))
        fields.append(
            f"{path}={chance.choice(('', 'a', '%00', '%ff', '%', '1', '+', '%ed%a0%80'))}"
        )
    if chance.randrange(50) == 0:
        fields += [f"SnapshotId.{number}=a" for number in range(30_000)]
    return "&".join(fields).encode()


def shaped(chance: random.Random, shape: Shape, depth: int = 0) -> Any:
    """Return a value of a shape's form, with scalars that nothing can be made of."""
    if depth > 6 or chance.randrange(20) == 0:
        return random_value(chance, depth)
    if isinstance(shape, StructureShape):
        required = set(shape.required_members)
        names = [name for name in shape.members if name in required or chance.randrange(2)]
        return {name: shaped(chance, shape.members[name], depth + 1) for name in names}
    if isinstance(shape, ListShape):
        count = chance.choice((0, 1, 1, 2, 2, 2000 if depth == 1 else 3))
        return [shaped(chance, shape.member, depth + 1)] * count
    if isinstance(shape, MapShape):
        return {chance.choice(TEXTS): shaped(chance, shape.value, depth + 1) for _ in range(2)}
    kind = shape.type_name
    if kind in {"integer", "long", "float", "double", "timestamp"}:
        return chance.choice((0, -1, 2**31, 2**63, 10**30, 1e308))
    if kind == "boolean":
        return chance.choice((True, False))
    return chance.choice((*TEXTS, "é" * 300, *getattr(shape, "enum", ())))


def fields_of(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """Return a value as EC2's forms have it."""
    if isinstance(value, (dict, list)):
        pairs = value.items() if isinstance(value, dict) else enumerate(value, 1)
        for name, below in pairs:
            text = str(name).encode("utf-8", "replace").decode()
            yield from fields_of(f"{prefix}.{text}" if prefix else text, below)
    else:
        yield prefix, str(value).encode("utf-8", "replace").decode()


MAKES = ("Create", "Enable", "Disable", "Run", "Register", "Start", "Copy", "Import", "Reset")


def shaped_request(chance: random.Random, known: list[tuple[str, str]]) -> HttpRequest:
    """Return a request of the form of an operation that makes nothing of nothing."""
    service, name = chance.choice(known)
    operation = load_model(service).operation_model(name)
    shape = operation.input_shape
    given = {} if shape is None else shaped(chance, shape)
    given = given if isinstance(given, dict) else {}
    headers = authorization(service)
    if service in {"ec2", "sts"}:
        version = load_model(service).metadata["apiVersion"]
        pairs = [("Action", name), ("Version", version), *fields_of("", given)]
        return HttpRequest(method="POST", path="/", headers=headers, body=urlencode(pairs).encode())
    path, _, _ = operation.http["requestUri"].partition("?")
    for label in re.findall(r"{(\w+)}", path):
        path = path.replace(f"{{{label}}}", chance.choice(("1", "%00", "%ff", "a%2Fb", "é" * 300)))
    if service == "kms":
        headers["x-amz-target"] = f"TrentService.{name}"
    body = json.dumps(given).encode()
    query = chance.choice(("", "tagKeys=a", "maxResults=100&pageToken=a", "blockToken=%ff"))
    method = operation.http["method"]
    return HttpRequest(method=method, path=path, query=query, headers=headers, body=body)


def authorization(service: str) -> dict[str, str]:
    scope = f"123456789012/20260101/us-east-1/{service}/aws4_request"
    return {"authorization": f"AWS4-HMAC-SHA256 Credential={scope}, x"}


def formless_request(chance: random.Random, known: list[tuple[str, str]]) -> HttpRequest:
    """Return a request of a service, with hardly any form."""
    service = chance.choice(SERVICES)
    headers = authorization(service)
    method, path, sent = "POST", "/", random_json(chance)
    if service == "kms":
        names = [name for kind, name in known if kind == "kms"]
        headers["x-amz-target"] = "TrentService." + chance.choice([*names, "X", ""])
    elif service in {"ec2", "sts"}:
        names = [name for kind, name in known if kind == service]
        sent = random_form(chance, [*names, "", "X"])
    else:
        method = chance.choice(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "X"))
        parts = ("snapshots", "rules", "policies", "tags", "list-rules", "blocks", "lock", "%ff")
        path = "".join(f"/{chance.choice(parts)}" for _ in range(chance.randrange(6))) or "/"
    query = chance.choice(("", "a=b", "maxResults=x", "%ff", "tagKeys=" * 2000))
    return HttpRequest(method=method, path=path, query=query, headers=headers, body=sent)


def test_no_form_of_a_request_breaks_the_endpoint(harness: Harness) -> None:
    """Nobody has to sign here, so that all of it is read.

    What makes something out of nothing is left out, and nothing that there is is named.
    """
    chance, operations = random.Random(2), load_operations()
    known = [
        (service, name)
        for service, name in operations.known
        if not name.startswith(MAKES) or (service, name) == ("rbin", "CreateRule")
    ]
    endpoint = Endpoint(harness.store, operations, None, lambda: datetime.now(UTC))
    before = resident_bytes()
    for number in range(IN_PROCESS):
        make = shaped_request if number % 2 else formless_request
        request = make(chance, known)
        response = endpoint.answer(request)
        assert response.status < 500, (number, request.headers, request.path, request.body[:300])
    assert resident_bytes() - before < GROWTH_MAX
