"""AWS's protocol vectors against the server's side of the wire.

The vectors are those of botocore's source package: parameters with the HTTP request that they make,
and HTTP responses with the result or the error that they tell. `make clients` fetches them.

A request of a vector has to be read as what it was made of. A result or error of a vector has to be
written so that botocore's parser reads it, and as the vector has it where the form is fixed. What
is left out is told by LEFT_OUT, and a test proves that no operation that is served has it.
"""

import io
import json
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("botocore")
from botocore.awsrequest import HeadersDict
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape
from botocore.parsers import create_parser

from ebsim.server.operations import load_operations
from ebsim.server.protocol import codec
from ebsim.server.protocol.models import load_model
from ebsim.server.protocol.wire import Call, FaultError, HttpRequest, HttpResponse

FOLDER = Path(__file__).parents[2] / "build" / "clients" / f"botocore-{version('botocore')}"
VECTORS = FOLDER / "tests" / "unit" / "protocols"
FILES = ("ec2", "query", "json", "json_1_0", "rest-json")
REQUEST_ID = "11111111-2222-3333-4444-555555555555"
NOT_TOLD = {"jsonVersion": "1.0", "targetPrefix": "", "xmlNamespace": "http://example.com/"}
"""What some vectors do not say of their services."""

NOT_OF_A_SERVER = {
    "the parser of botocore does not read it": re.compile("Ec2XmlLists|QueryXmlLists"),
    "a custom endpoint with a path; ebsim's has none": re.compile(".*HostWithPath"),
    "it has no X-Amz-Target": re.compile("AwsJson10EndpointTrait.*|legacy json Idempotency.*"),
    "the client adds a header of its own": re.compile("legacy.*Content-Type and JSON body 25.7"),
    "an answer that only another server gives: a member that is not in the model": re.compile(
        "legacy.*Tagged Unions 17.2"
    ),
}
"""Vectors that no service could stand on; the reason, and what they are called."""


@dataclass(frozen=True)
class Vector:
    """A vector: the service that it is about, and what is in its file."""

    name: str
    protocol: str
    model: ServiceModel
    case: dict[str, Any]

    @cached_property
    def operation(self) -> OperationModel:
        return OperationModel(self.case["given"], self.model)


def vectors(kind: str) -> Iterator[Vector]:
    """Yield the vectors of input or output, the older ones too."""
    for place in (kind, f"legacy/{kind}"):
        for protocol in FILES:
            path = VECTORS / place / f"{protocol}.json"
            suites = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
            for at, suite in enumerate(suites):
                suite["metadata"] = NOT_TOLD | suite["metadata"]
                for number, case in enumerate(suite.pop("cases")):
                    given = case["given"]
                    model = ServiceModel({**suite, "operations": {given["name"]: given}}, "served")
                    older = f"legacy {protocol} {suite['description']} {at}.{number}"
                    yield Vector(case.get("id", older), model.metadata["protocol"], model, case)


@cache
def shapes(operation: OperationModel) -> tuple[Shape, ...]:
    """Return the shapes of an operation."""
    waiting: list[Any] = [operation.input_shape, operation.output_shape, *operation.error_shapes]
    found, seen = [], set()
    while waiting:
        shape = waiting.pop()
        if shape is None:
            continue
        found.append(shape)
        if shape.name not in seen:
            seen.add(shape.name)
            if isinstance(shape, StructureShape):
                waiting += shape.members.values()
            elif isinstance(shape, ListShape):
                waiting.append(shape.member)
            elif isinstance(shape, MapShape):
                waiting += [shape.key, shape.value]
    return tuple(found)


def any_shape(check: Callable[[Shape], object]) -> Callable[[OperationModel], bool]:
    return lambda operation: any(check(shape) for shape in shapes(operation))


def _payload(shape: Shape) -> Shape | None:
    name = shape.serialization.get("payload")
    return shape.members[name] if name else None


LEFT_OUT: dict[str, Callable[[OperationModel], bool]] = {
    "compressed requests": lambda operation: bool(operation.request_compression),
    "names of hosts": lambda operation: "{" in (operation.endpoint or {}).get("hostPrefix", ""),
    "documents": any_shape(lambda shape: getattr(shape, "is_document_type", False)),
    "JSON in a string": any_shape(lambda shape: shape.serialization.get("jsonvalue")),
    "event streams": any_shape(lambda shape: shape.serialization.get("eventstream")),
    "lists in headers": any_shape(
        lambda shape: (
            isinstance(shape, ListShape) and shape.serialization.get("location") == "header"
        )
    ),
    "maps in headers": any_shape(lambda shape: shape.serialization.get("location") == "headers"),
    "maps in the query string": any_shape(
        lambda shape: (
            isinstance(shape, MapShape) and shape.serialization.get("location") == "querystring"
        )
    ),
    "blobs in headers": any_shape(
        lambda shape: shape.type_name == "blob" and shape.serialization.get("location") == "header"
    ),
    "a structure as payload": any_shape(lambda shape: isinstance(_payload(shape), StructureShape)),
    "named members of flat lists in the protocol query": lambda operation: (
        operation.service_model.metadata["protocol"] == "query"
        and any_shape(
            lambda shape: (
                isinstance(shape, ListShape)
                and shape.serialization.get("flattened")
                and shape.member.serialization.get("name")
            )
        )(operation)
    ),
    "members of errors in XML": lambda operation: (
        operation.service_model.metadata["protocol"] in {"ec2", "query"}
        and any(shape.members.keys() - {"message", "Message"} for shape in operation.error_shapes)
    ),
}
"""What vectors are left out, by what their operations have."""


def tried(kind: str, *, error: bool = False) -> list[Any]:
    """Return the vectors of a kind, as parameters; those that are not tried with the reason."""
    found = []
    for vector in vectors(kind):
        if ("error" in vector.case) != error:
            continue
        reasons = [reason for reason, has in LEFT_OUT.items() if has(vector.operation)]
        reasons += [why for why, names in NOT_OF_A_SERVER.items() if names.fullmatch(vector.name)]
        if not reasons:
            found.append(pytest.param(vector, id=vector.name))
    return found


needs_vectors = pytest.mark.skipif(
    not VECTORS.is_dir(), reason="no protocol vectors of this botocore: `make clients` fetches them"
)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Vector], str]:
    """What has the codec serve the service of a vector; it returns the service's name."""

    def start(vector: Vector) -> str:
        names = frozenset(vector.model.operation_names)
        monkeypatch.setattr(codec, "load_model", lambda _service: vector.model)
        monkeypatch.setattr(codec, "operation_names", lambda _service: names)
        return vector.protocol

    return start


def meant(shape: Shape | None, value: Any) -> Any:
    """Return a value as calls and results have it: vectors have JSON for everything."""
    if shape is None:
        return {}
    if isinstance(shape, StructureShape):
        known = {name: each for name, each in value.items() if each is not None}
        return {name: meant(shape.members[name], each) for name, each in known.items()}
    if isinstance(shape, ListShape):
        return [meant(shape.member, each) for each in value if each is not None]
    if isinstance(shape, MapShape):
        return {name: meant(shape.value, each) for name, each in value.items() if each is not None}
    if shape.type_name == "timestamp":
        return datetime.fromtimestamp(value, UTC)
    if shape.type_name == "blob":
        return value.encode()
    return float(value) if shape.type_name in {"float", "double"} else value


def plain(value: Any, *, empty: bool = True) -> Any:
    """Return a value that equals itself, with floats as in JSON, perhaps without what is empty."""
    if isinstance(value, dict):
        found = {key: plain(each, empty=empty) for key, each in value.items()}
        return {key: each for key, each in found.items() if empty or each not in ({}, [], b"")}
    if isinstance(value, list):
        return [plain(each, empty=empty) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if hasattr(value, "read"):
        return value.read()
    return bytes(value) if isinstance(value, memoryview) else value


def keeps_empty(operation: OperationModel) -> bool:
    """Return whether what is empty is on the wire: it is so in JSON, and nowhere else."""
    in_json = operation.service_model.metadata["protocol"] not in {"ec2", "query"}
    return in_json and not any_shape(
        lambda shape: shape.serialization.get("location") or shape.serialization.get("payload")
    )(operation)


@needs_vectors
@pytest.mark.parametrize("vector", tried("input"))
def test_request_is_read_as_what_it_was_made_of(
    vector: Vector, serve: Callable[[Vector], str]
) -> None:
    sent, operation = vector.case["serialized"], vector.operation
    path, _, query = sent["uri"].partition("?")
    request = HttpRequest(
        method=sent.get("method") or operation.http.get("method", "POST"),
        path=path,
        query=query,
        headers={name.lower(): value for name, value in sent.get("headers", {}).items()},
        body=sent.get("body", "").encode(),
    )

    call = codec.read_call(serve(vector), request)

    expected = meant(operation.input_shape, vector.case.get("params", {}))
    if "AutoFill" in vector.name or "auto fill" in vector.name:  # the client adds it
        expected = {
            **dict.fromkeys(call.parameters, "0" * 8 + "-0000-4000-8000-" + "0" * 12),
            **expected,
        }
    empty = keeps_empty(operation)
    assert call.operation == operation.name
    assert plain(call.parameters, empty=empty) == plain(expected, empty=empty)


def parsed(vector: Vector, response: HttpResponse, shape: Shape | None) -> dict[str, Any]:
    """Return what botocore's parser makes of a response."""
    operation = vector.operation
    if vector.protocol == "query" and shape is not None and shape is operation.output_shape:
        shape.serialization["resultWrapper"] = f"{operation.name}Result"
    raw = {
        "status_code": response.status,
        "headers": HeadersDict(response.headers),
        "body": bytes(response.body),
        "context": {"operation_name": operation.name},
    }
    if operation.has_streaming_output and response.status < 300:
        raw["body"] = io.BytesIO(response.body)
    found: dict[str, Any] = create_parser(vector.protocol).parse(raw, shape)
    metadata = found.pop("ResponseMetadata", None)  # it is not there for the shape of an error
    if metadata is not None:
        assert (metadata["HTTPStatusCode"], metadata["RequestId"]) == (response.status, REQUEST_ID)
    return found


OF_CLIENTS = re.compile(
    ".*(With(Posi|Nega)tiveOffset|IgnoreType|[Uu]nexpected_?[Jj]son.*|Ignores (extra|undefined).*)"
)
"""Bodies that a client must be able to read, and that ebsim writes otherwise: times elsewhere than
in UTC, and members that are not in the model."""


@needs_vectors
@pytest.mark.parametrize("vector", tried("output"))
def test_result_is_written_as_it_was_meant(vector: Vector, serve: Callable[[Vector], str]) -> None:
    shape = vector.operation.output_shape
    expected = meant(shape, vector.case["result"])
    call = Call(service=serve(vector), operation=vector.operation.name, parameters={})

    response = codec.write_result(call, expected, REQUEST_ID)

    given = vector.case["response"]
    empty = keeps_empty(vector.operation)
    assert response.status == given["status_code"]
    assert plain(parsed(vector, response, shape), empty=empty) == plain(expected, empty=empty)
    if given.get("body") and not OF_CLIENTS.fullmatch(vector.name):
        assert form(vector, bytes(response.body)) == form(vector, given["body"].encode())


def form(vector: Vector, body: bytes) -> Any:
    """Return what is fixed of the form of a body: all but space, order, ids and milliseconds."""
    if vector.protocol not in {"ec2", "query"}:
        try:
            return without_nulls(json.loads(MILLISECONDS.sub(b"Z", body) or b"{}"))
        except ValueError:
            return body
    return tree(ET.fromstring(MILLISECONDS.sub(b"Z", body)))


MILLISECONDS = re.compile(rb"[.]000Z|[+]00:00")
NOT_FIXED = {"requestId", "RequestId", "RequestID", "ResponseMetadata"}


def tree(element: ET.Element) -> Any:
    name = element.tag.rpartition("}")[2]
    below = sorted(
        (tree(each) for each in element if each.tag.rpartition("}")[2] not in NOT_FIXED), key=repr
    )
    text = (element.text or "").strip()
    return (name, below or text)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [without_nulls(each) for each in value if each is not None]
    return value


@needs_vectors
@pytest.mark.parametrize("vector", tried("output", error=True))
def test_error_is_written_as_it_was_meant(vector: Vector, serve: Callable[[Vector], str]) -> None:
    case, model = vector.case, vector.model
    told = {name: each for name, each in case["error"].items() if name != "Message"}
    fault = FaultError(
        case["errorCode"], case.get("errorMessage", ""), case["response"]["status_code"], told
    )

    response = codec.write_fault(serve(vector), fault, REQUEST_ID)

    shape = next((each for each in model.error_shapes if each.error_code == fault.code), None)
    found = parsed(vector, response, vector.operation.output_shape)
    assert (found["Error"]["Code"], found["Error"]["Message"]) == (fault.code, fault.message)
    assert response.status == fault.status
    if shape is not None:
        members = parsed(vector, response, shape)
        assert {name: members.get(name) for name in told} == told


def test_what_is_left_out_is_served_nowhere() -> None:
    served = [
        load_model(service).operation_model(name) for service, name in load_operations().known
    ]
    for feature, has in LEFT_OUT.items():
        assert [operation.name for operation in served if has(operation)] == [], feature


@needs_vectors
def test_what_is_left_out_is_little() -> None:
    """Hundreds are tried; a vector whose file or form changed would not be missed otherwise."""
    for kind, least in (("input", 220), ("output", 150)):
        assert len(tried(kind)) > least
