"""The output of the Query protocols: XML, EC2's and STS's."""

import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from ebsim.server.protocol.scalars import text_writer
from ebsim.server.protocol.wire import Document, FaultError, HttpResponse

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_PLAIN = re.compile("[ !#-%(-;=?-~]*")
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

VALUES_KEPT = 512
"""Values of each member whose elements are kept: owners, states, times, most tags come again."""

_Writer = Callable[[Any], str]


def write_result(operation: OperationModel, result: Document, request_id: str) -> HttpResponse:
    """Return the response that tells a result."""
    metadata = operation.service_model.metadata
    namespace = metadata["xmlNamespace"]
    ec2 = metadata["protocol"] == "ec2"
    inner = "<return>true</return>" if ec2 else ""
    if operation.output_shape is not None:
        inner = _members(operation.output_shape)(result)
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


def _escaped(value: object) -> str:
    return escape(str(value))


def escape(text: str) -> str:
    """Return text as it stands in XML; what XML cannot hold becomes a replacement character."""
    if _PLAIN.fullmatch(text):
        return text
    return _SPECIAL.sub(lambda found: _ESCAPES[found[0]], _FORBIDDEN.sub("�", text))


def _response(status: int, text: str, request_id: str) -> HttpResponse:
    headers = {"Content-Type": "text/xml;charset=UTF-8", "x-amzn-RequestId": request_id}
    return HttpResponse(status=status, headers=headers, body=text.encode("utf-8"))


@cache
def _element(shape: Shape, name: str) -> _Writer:
    """Return what writes a value of a shape as an element, or several where a list is flattened."""
    if isinstance(shape, StructureShape):
        inner = _members(shape)
        return lambda value: f"<{name}>{inner(value)}</{name}>"
    if isinstance(shape, ListShape):
        return _list_writer(shape, name)
    if isinstance(shape, MapShape):
        return _map_writer(shape, name)
    return _scalar_writer(shape, name)


def _scalar_writer(shape: Shape, name: str) -> _Writer:
    is_text = shape.type_name in {"string", "character"}
    text: _Writer = _escaped if is_text else text_writer(shape)

    @lru_cache(maxsize=VALUES_KEPT)  # values of one member are of one type: equal ones look alike
    def write(value: Any) -> str:  # noqa: ANN401 - any scalar
        return f"<{name}>{text(value)}</{name}>"

    return write


@cache
def _members(shape: StructureShape) -> _Writer:
    """Return what writes the members of a structure, without an element around them."""
    writers: dict[str, _Writer] = {}  # made when first needed, for shapes may contain themselves

    def write(value: Document) -> str:
        parts = []
        for member, below in value.items():
            if below is None:
                continue
            known = writers.get(member)
            if known is None:
                inner = shape.members[member]
                name = inner.serialization.get("name", member)
                known = writers[member] = _element(inner, name)
            parts.append(known(below))
        return "".join(parts)

    return write


def _list_writer(shape: ListShape, name: str) -> _Writer:
    inner = shape.member
    if shape.serialization.get("flattened"):
        each = _element(inner, inner.serialization.get("name", name))
        return lambda value: "".join(map(each, value))
    each = _element(inner, inner.serialization.get("name", "member"))
    return lambda value: f"<{name}>{''.join(map(each, value))}</{name}>"


def _map_writer(shape: MapShape, name: str) -> _Writer:
    write_key = _element(shape.key, shape.key.serialization.get("name", "key"))
    write_value = _element(shape.value, shape.value.serialization.get("name", "value"))
    flat = bool(shape.serialization.get("flattened"))
    entry = name if flat else "entry"

    def write(value: Document) -> str:
        entries = "".join(
            f"<{entry}>{write_key(key)}{write_value(below)}</{entry}>"
            for key, below in value.items()
        )
        return entries if flat else f"<{name}>{entries}</{name}>"

    return write
