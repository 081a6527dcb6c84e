"""The output of the Query protocols: XML, EC2's and STS's."""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from ebsim.server.protocol.scalars import text_writer
from ebsim.server.protocol.wire import Document, FaultError, HttpResponse

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_SPECIAL = re.compile("[&<>\"'\r]")
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&apos;",
    "\r": "&#13;",
}

_Writer = Callable[[list[str], str, Any], None]


def write_result(operation: OperationModel, result: Document, request_id: str) -> HttpResponse:
    """Return the response that tells a result."""
    metadata = operation.service_model.metadata
    namespace = metadata["xmlNamespace"]
    ec2 = metadata["protocol"] == "ec2"
    body: list[str] = []
    if operation.output_shape is not None:
        _members(operation.output_shape, ec2)(body, "", result)
    inner = "".join(body)
    if ec2:
        content = f"<requestId>{request_id}</requestId>{inner}"
    else:
        wrapper = f"{operation.name}Result"
        content = (
            f"<{wrapper}>{inner}</{wrapper}>"
            f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        )
    root = f"{operation.name}Response"
    text = f'{_HEAD}<{root} xmlns="{namespace}">{content}</{root}>'
    return _response(200, text, request_id)


def write_fault(service: str, fault: FaultError, request_id: str) -> HttpResponse:
    """Return the response that tells a fault."""
    error = f"<Code>{escape(fault.code)}</Code><Message>{escape(fault.message)}</Message>"
    if service == "ec2":
        text = (
            f"{_HEAD}<Response><Errors><Error>{error}</Error></Errors>"
            f"<RequestID>{request_id}</RequestID></Response>"
        )
    else:
        kind = "Sender" if fault.status < 500 else "Receiver"
        text = (
            f"{_HEAD}<ErrorResponse><Error><Type>{kind}</Type>{error}</Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    return _response(fault.status, text, request_id)


def escape(text: str) -> str:
    """Return text as it stands in XML; what XML cannot hold becomes a replacement character."""
    if not _SPECIAL.search(text) and text.isascii() and text.isprintable():
        return text
    return _SPECIAL.sub(lambda found: _ESCAPES[found[0]], _FORBIDDEN.sub("�", text))


def _response(status: int, text: str, request_id: str) -> HttpResponse:
    headers = {"Content-Type": "text/xml;charset=UTF-8", "x-amzn-RequestId": request_id}
    return HttpResponse(status=status, headers=headers, body=text.encode("utf-8"))


@cache
def _writer(shape: Shape, ec2: bool) -> _Writer:
    if isinstance(shape, StructureShape):
        write = _members(shape, ec2)
        return lambda out, name, value: _enclose(out, name, lambda: write(out, name, value))
    if isinstance(shape, ListShape):
        return _list_writer(shape, ec2)
    if isinstance(shape, MapShape):
        return _map_writer(shape, ec2)
    text = text_writer(shape)
    if shape.type_name in {"string", "character"}:
        return lambda out, name, value: out.append(f"<{name}>{escape(str(value))}</{name}>")
    return lambda out, name, value: out.append(f"<{name}>{text(value)}</{name}>")


def _enclose(out: list[str], name: str, write: Callable[[], None]) -> None:
    out.append(f"<{name}>")
    write()
    out.append(f"</{name}>")


@cache
def _members(shape: StructureShape, ec2: bool) -> _Writer:
    """Return what writes the members of a structure, without an element around them."""
    known = {
        name: (member.serialization.get("name", name), member)
        for name, member in shape.members.items()
    }

    def write(out: list[str], _name: str, value: Document) -> None:
        for member, below in value.items():
            if below is None:
                continue
            name, inner = known[member]
            _writer(inner, ec2)(out, name, below)

    return write


def _list_writer(shape: ListShape, ec2: bool) -> _Writer:
    entry = shape.member.serialization.get("name", "item" if ec2 else "member")
    inner = shape.member
    if shape.serialization.get("flattened"):

        def write_flat(out: list[str], name: str, value: Any) -> None:  # noqa: ANN401
            each_name = inner.serialization.get("name", name)
            for each in value:
                _writer(inner, ec2)(out, each_name, each)

        return write_flat

    def write(out: list[str], name: str, value: Any) -> None:  # noqa: ANN401 - a list
        out.append(f"<{name}>")
        for each in value:
            _writer(inner, ec2)(out, entry, each)
        out.append(f"</{name}>")

    return write


def _map_writer(shape: MapShape, ec2: bool) -> _Writer:
    key_name = shape.key.serialization.get("name", "key")
    value_name = shape.value.serialization.get("name", "value")
    flat = bool(shape.serialization.get("flattened"))

    def write(out: list[str], name: str, value: Document) -> None:
        entry = name if flat else "entry"
        if not flat:
            out.append(f"<{name}>")
        for key, below in value.items():
            out.append(f"<{entry}>")
            _writer(shape.key, ec2)(out, key_name, key)
            _writer(shape.value, ec2)(out, value_name, below)
            out.append(f"</{entry}>")
        if not flat:
            out.append(f"</{name}>")

    return write
