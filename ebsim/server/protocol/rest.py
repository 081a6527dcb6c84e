"""REST-JSON: which operation a path is, and where its members are: path, query, headers, body."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote

from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape

from ebsim.server.protocol.forms import split_form
from ebsim.server.protocol.json_body import parse_json, read_structure, write_structure
from ebsim.server.protocol.scalars import BadValueError, text_parser, text_writer
from ebsim.server.protocol.wire import Document, FaultError, HttpRequest, HttpResponse

QUERY_FIELDS_MAX = 1000

Query = list[tuple[str, str]]
_OutsideReader = Callable[[dict[str, str], Query, HttpRequest], Any]
_LABEL = re.compile(r"\{(\w+)(\+?)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """One operation's place.

    Attributes:
        operation: Its model.
        method: The HTTP method.
        pattern: What its paths look like.
        query: Query parameters that are part of its place.
        labels: How many labels the path has: fewer go before more.
    """

    operation: OperationModel
    method: str
    pattern: re.Pattern[str]
    query: frozenset[tuple[str, str]]
    labels: int


@cache
def routes(model: ServiceModel) -> tuple[Route, ...]:
    """Return the places of a service's operations, the most exact first."""
    found = (_route(model.operation_model(name)) for name in model.operation_names)
    return tuple(sorted(found, key=lambda route: (route.labels, -len(route.pattern.pattern))))


def _route(operation: OperationModel) -> Route:
    path, _, query = operation.http["requestUri"].partition("?")
    pattern, last, labels = "", 0, 0
    for found in _LABEL.finditer(path):
        pattern += re.escape(path[last : found.start()])
        pattern += f"(?P<{found[1]}>{'.+' if found[2] else '[^/]+'})"
        last, labels = found.end(), labels + 1
    pattern += re.escape(path[last:])
    return Route(
        operation,
        operation.http["method"],
        re.compile(pattern.rstrip("/") + "/?"),
        frozenset(parse_qsl(query, keep_blank_values=True)),
        labels,
    )


def find_route(
    model: ServiceModel, request: HttpRequest, query: Query
) -> tuple[OperationModel, dict[str, str]]:
    """Return the operation that a request is for, and the labels of its path, decoded.

    Raises:
        FaultError: UnknownOperationException: there is none.
    """
    given = set(query)
    for route in routes(model):
        if route.method != request.method or not route.query <= given:
            continue
        match = route.pattern.fullmatch(request.path)
        if match:
            return route.operation, {key: unquote(text) for key, text in match.groupdict().items()}
    raise FaultError("UnknownOperationException", "There is no such operation.", 404)


def read_query(request: HttpRequest) -> Query:
    """Return the fields of a request's query.

    Raises:
        FaultError: ValidationException: there are too many.
    """
    if not request.query:
        return []
    try:
        return split_form(request.query, QUERY_FIELDS_MAX, "replace")
    except ValueError:
        raise FaultError("ValidationException", "The query has too many fields.") from None


def read_parameters(
    operation: OperationModel, labels: dict[str, str], query: Query, request: HttpRequest
) -> Document:
    """Return the parameters of an operation.

    Raises:
        FaultError: ValidationException: a member is missing, or no value of its type.
    """
    shape = operation.input_shape
    if shape is None:
        return {}
    found: Document = {}
    outside = _outside_readers(shape)
    for name, read in outside.items():
        value = read(labels, query, request)
        if value is not None:
            found[name] = value
    payload = shape.serialization.get("payload")
    if payload is not None:
        _read_payload(shape, payload, request, found)
    elif len(outside) < len(shape.members):
        document = parse_json(request.body, "ValidationException")
        found |= read_structure(shape, document, "ValidationException", frozenset(outside))
    for name in shape.required_members:
        if name not in found:
            raise FaultError("ValidationException", f"{name} is missing.")
    return found


def _read_payload(
    shape: StructureShape, payload: str, request: HttpRequest, found: Document
) -> None:
    member = shape.members[payload]
    if isinstance(member, StructureShape):
        document = parse_json(request.body, "ValidationException")
        found[payload] = read_structure(member, document, "ValidationException")
    elif member.type_name == "blob":
        found[payload] = request.body
    else:
        found[payload] = bytes(request.body).decode("utf-8", "replace")


@cache
def _outside_readers(shape: StructureShape) -> dict[str, _OutsideReader]:
    """Return, by name, what reads the members that are not in the body."""
    found = {}
    for name, member in shape.members.items():
        where = member.serialization.get("location")
        if where is not None:
            found[name] = _outside_reader(member.serialization.get("name", name), member, where)
    return found


def _outside_reader(wire_name: str, member: Shape, where: str) -> _OutsideReader:
    if where == "headers":
        return _prefixed_reader(wire_name.lower())
    if where == "uri":
        in_path = _scalar_reader(member, wire_name, "iso8601")
        return lambda labels, _query, _whole: in_path(labels.get(wire_name))
    if where == "header":
        key = wire_name.lower()
        in_header = _scalar_reader(member, wire_name, "rfc822")
        return lambda _labels, _query, whole: in_header(whole.headers.get(key))
    if isinstance(member, MapShape):
        return lambda _labels, query, _whole: dict(query) or None
    if isinstance(member, ListShape):
        each = _scalar_reader(member.member, wire_name, "iso8601")
        return lambda _labels, query, _whole: (
            [each(text) for key, text in query if key == wire_name] or None
        )
    in_query = _scalar_reader(member, wire_name, "iso8601")
    return lambda _labels, query, _whole: in_query(
        next((text for key, text in query if key == wire_name), None)
    )


def _prefixed_reader(prefix: str) -> _OutsideReader:
    def read(_labels: dict[str, str], _query: Query, whole: HttpRequest) -> Document | None:
        found = {
            key[len(prefix) :]: text
            for key, text in whole.headers.items()
            if key.startswith(prefix)
        }
        return found or None

    return read


def _scalar_reader(shape: Shape, name: str, form: str) -> Callable[[str | None], Any]:
    parse = text_parser(shape, form)

    def read(text: str | None) -> Any:  # noqa: ANN401 - any value
        if text is None:
            return None
        try:
            return parse(text)
        except BadValueError as error:
            raise FaultError(
                "ValidationException", f"Invalid value '{text[:200]}' for {name}: {error}."
            ) from None

    return read


def write_result(operation: OperationModel, result: Document, request_id: str) -> HttpResponse:
    """Return the response that tells a result."""
    status = operation.http.get("responseCode", 200)
    headers = {"x-amzn-RequestId": request_id}
    shape = operation.output_shape
    if shape is None:
        return HttpResponse(status=status, headers=headers, body=b"")
    outside = set()
    for name, write in _header_writers(shape).items():
        outside.add(name)
        if result.get(name) is not None:
            headers.update(write(result[name]))
    for name, member in shape.members.items():
        if member.serialization.get("location") == "statusCode":
            outside.add(name)
            status = result.get(name, status)
    payload = shape.serialization.get("payload")
    if payload is None:
        if len(outside) < len(shape.members) or not outside:
            headers["Content-Type"] = "application/json"
            body: bytes | memoryview = write_structure(shape, result, frozenset(outside))
        else:
            body = b""
        return HttpResponse(status=status, headers=headers, body=body)
    member = shape.members[payload]
    if isinstance(member, StructureShape):
        headers["Content-Type"] = "application/json"
        body = write_structure(member, result.get(payload) or {})
    else:
        headers["Content-Type"] = "application/octet-stream"
        value = result.get(payload, b"")
        body = value.encode() if isinstance(value, str) else value
    return HttpResponse(status=status, headers=headers, body=body)


_HeaderWriter = Callable[[Any], dict[str, str]]


@cache
def _header_writers(shape: StructureShape) -> dict[str, _HeaderWriter]:
    found: dict[str, _HeaderWriter] = {}
    for name, member in shape.members.items():
        wire_name = member.serialization.get("name", name)
        where = member.serialization.get("location")
        if where == "header":
            found[name] = _one_header(wire_name, text_writer(member, "rfc822"))
        elif where == "headers":
            found[name] = _prefixed_headers(wire_name)
    return found


def _one_header(name: str, write: Callable[[Any], str]) -> _HeaderWriter:
    return lambda value: {name: write(value)}


def _prefixed_headers(prefix: str) -> _HeaderWriter:
    return lambda value: {prefix + key: text for key, text in value.items()}
