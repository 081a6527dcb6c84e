"""The wire against botocore's own client code: what it sends is read, what is written it reads."""

import io
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

botocore_serialize = pytest.importorskip("botocore.serialize")
import botocore.parsers  # noqa: E402 - skipped above where it is missing
from botocore.awsrequest import HeadersDict  # noqa: E402
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape  # noqa: E402

from ebsim.errors import EbsimError, ErrorCode  # noqa: E402
from ebsim.server import faults  # noqa: E402
from ebsim.server.operations import load_operations  # noqa: E402
from ebsim.server.protocol.codec import read_call, write_fault, write_result  # noqa: E402
from ebsim.server.protocol.models import SERVICES, load_model  # noqa: E402
from ebsim.server.protocol.wire import Call, FaultError, HttpRequest, HttpResponse  # noqa: E402

ROUNDS = 6
DEPTH_MAX = 5


def operations() -> Iterator[OperationModel]:
    """Yield all operations of the small services, and those of EC2's that are served."""
    served = load_operations().known.keys()
    for service in SERVICES:
        model = load_model(service)
        for name in model.operation_names:
            if service != "ec2" or (service, name) in served:
                yield model.operation_model(name)


OPERATIONS = list(operations())
IDS = [f"{each.service_model.service_name}-{each.name}" for each in OPERATIONS]


class Values:
    """Makes values of shapes, at random from a seed."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)

    def of(self, shape: Shape, depth: int = 0) -> Any:
        if isinstance(shape, StructureShape):
            return self.structure(shape, depth)
        if isinstance(shape, ListShape):
            if depth > DEPTH_MAX:
                return []
            return [self.of(shape.member, depth + 1) for _ in range(self.random.randint(1, 3))]
        if isinstance(shape, MapShape):
            return {f"k{index}": self.of(shape.value, depth + 1) for index in range(2)}
        return self.scalar(shape)

    def structure(self, shape: StructureShape, depth: int) -> dict[str, Any]:
        found = {}
        for name, member in shape.members.items():
            needed = name in shape.required_members
            if needed or (depth < DEPTH_MAX and self.random.random() < 0.6):
                found[name] = self.of(member, depth + 1)
        if not found:  # an empty structure in a list is not on the wire
            name = next(iter(shape.members), None)
            found = {} if name is None else {name: self.of(shape.members[name], depth + 1)}
        return found

    def scalar(self, shape: Shape) -> Any:
        pick = self.random
        match shape.type_name:
            case "integer" | "long":
                return pick.randrange(-(2**31), 2**31)
            case "float" | "double":
                return pick.randrange(-1000, 1000) / 8
            case "boolean":
                return pick.random() < 0.5
            case "timestamp":
                return datetime.fromtimestamp(pick.randrange(2**31), UTC)
            case "blob":
                return pick.randbytes(pick.randrange(1, 20))
            case _:
                pass
        text = "".join(pick.choice("abcXYZ019 -_/:.&<>\"'é漢=+%") for _ in range(8))
        return f"x{text}x"  # with no blanks at the ends, which headers do not keep


def sent_by_botocore(operation: OperationModel, parameters: dict[str, Any]) -> HttpRequest:
    model = operation.service_model
    serializer = botocore_serialize.create_serializer(model.metadata["protocol"], False)
    sent = serializer.serialize_to_request(parameters, operation)
    body = sent["body"]
    if isinstance(body, dict):
        from botocore.compat import urlencode

        body = urlencode(body, doseq=True).encode()
    elif isinstance(body, str):
        body = body.encode()
    path, query = sent["url_path"], sent["query_string"]
    path, _, in_path = path.partition("?")
    if isinstance(query, dict):
        from botocore.awsrequest import AWSRequest

        whole = AWSRequest("GET", "http://localhost/", params=query).prepare().url
        query = whole.partition("?")[2]
    query = "&".join(each for each in (in_path, query) if each)
    return HttpRequest(
        method=sent["method"],
        path=path,
        query=query,
        headers={name.lower(): str(value) for name, value in sent["headers"].items()},
        body=body or b"",
    )


def read_by_botocore(operation: OperationModel, response: HttpResponse) -> dict[str, Any]:
    protocol = operation.service_model.metadata["protocol"]
    parser = botocore.parsers.create_parser(protocol)
    raw = {
        "status_code": response.status,
        "headers": HeadersDict(response.headers),
        "body": bytes(response.body),
    }
    if operation.has_streaming_output:
        raw["body"] = io.BytesIO(response.body)
    parsed: dict[str, Any] = parser.parse(raw, operation.output_shape)
    parsed.pop("ResponseMetadata", None)
    return parsed


@pytest.mark.parametrize("operation", OPERATIONS, ids=IDS)
def test_request_of_botocore_is_read_as_it_was_meant(operation: OperationModel) -> None:
    shape = operation.input_shape
    for number in range(ROUNDS):
        meant = {} if shape is None else Values(f"{operation.name} {number}").of(shape)
        request = sent_by_botocore(operation, meant)

        call = read_call(operation.service_model.service_name, request)

        assert call.operation == operation.name
        assert without_empty(call.parameters) == without_empty(meant)


@pytest.mark.parametrize("operation", OPERATIONS, ids=IDS)
def test_result_is_read_by_botocore_as_it_was_meant(operation: OperationModel) -> None:
    shape = operation.output_shape
    service = operation.service_model.service_name
    for number in range(ROUNDS):
        meant = {} if shape is None else Values(f"{operation.name} {number}").of(shape)
        call = Call(service=service, operation=operation.name, parameters={})

        response = write_result(call, meant, REQUEST_ID)

        assert without_empty(read_by_botocore(operation, response)) == without_empty(meant)


REQUEST_ID = "11111111-2222-3333-4444-555555555555"


def codes() -> Iterator[FaultError]:
    """Yield what can go wrong: each error of the engine, of the endpoint, and of the models."""
    for code in ErrorCode:
        yield faults.to_fault(EbsimError("what & <why>", code))
    for name in ("MissingAction", "UnknownParameter", "SignatureDoesNotMatch", "RequestExpired"):
        yield FaultError(name, "what & <why>")
    yield faults.dry_run()
    yield faults.internal_error()


@pytest.mark.parametrize("service", SERVICES)
def test_every_fault_is_read_by_botocore(service: str) -> None:
    """Its code, message, status and request id; where the model has the code, its status."""
    model = load_model(service)
    served = [model.operation_model(name) for of, name in load_operations().known if of == service]
    modelled = {each.error_code: each for operation in served for each in operation.error_shapes}
    raised = [faults.for_service(fault, service) for fault in codes()]
    raised += [FaultError(code, "what & <why>") for code in modelled]
    parser = botocore.parsers.create_parser(model.metadata["protocol"])
    shape = model.operation_model(model.operation_names[0]).output_shape
    for fault in raised:
        response = write_fault(service, fault, REQUEST_ID)

        raw = {
            "status_code": response.status,
            "headers": HeadersDict(response.headers),
            "body": bytes(response.body),
        }
        found = parser.parse(raw, shape)
        assert found["Error"]["Code"] == fault.code
        assert found["Error"]["Message"] == fault.message
        assert found["ResponseMetadata"]["RequestId"] == REQUEST_ID
        assert found["ResponseMetadata"]["HTTPStatusCode"] == response.status
        known = modelled.get(fault.code)
        if known is not None and known.metadata.get("error"):
            assert response.status == known.metadata["error"]["httpStatusCode"]
        else:
            assert response.status == fault.status


def test_members_of_a_fault_have_their_types() -> None:
    """A list of Data Lifecycle Manager's, which is no text."""
    members = {"RequiredParameters": ["PolicyDetails", "State"], "Unknown": 1}
    fault = FaultError("InvalidRequestException", "what", 400, members)

    response = write_fault("dlm", fault, REQUEST_ID)

    (shape,) = (each for each in load_model("dlm").error_shapes if each.error_code == fault.code)
    raw = {
        "status_code": response.status,
        "headers": HeadersDict(response.headers),
        "body": bytes(response.body),
    }
    found = botocore.parsers.create_parser("rest-json").parse(raw, shape)
    assert found["RequiredParameters"] == members["RequiredParameters"]
    assert found["Message"] == "what"
    assert "Unknown" not in found


def without_empty(value: Any) -> Any:
    """Return a value without what the wire cannot tell from nothing; blobs as text are bytes."""
    if isinstance(value, dict):
        found = {key: without_empty(each) for key, each in value.items()}
        return {key: each for key, each in found.items() if each not in ({}, [], None, b"")}
    if isinstance(value, list):
        return [each for each in map(without_empty, value) if each not in ({}, [], None, b"")]
    if hasattr(value, "read"):
        return value.read()
    return bytes(value) if isinstance(value, memoryview) else value
