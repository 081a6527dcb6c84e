"""The input of the Query protocols: EC2's, and STS's.

A form of flat names, `Filter.1.Value.2=x`, is read into a tree first, and the tree by the model's
shapes. What the shapes do not know is refused, as EC2 does.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from ebsim.server.protocol.forms import split_form
from ebsim.server.protocol.scalars import BadValueError, text_parser
from ebsim.server.protocol.wire import Document, FaultError

FIELDS_MAX = 20_000
"""Fields of one form; the largest list that EC2 takes has 1,000 entries."""

DEPTH_MAX = 12

IGNORED = frozenset({"Action", "Version", "AWSAccessKeyId", "SignatureVersion", "Timestamp"})
"""Fields that are no parameters of an operation."""

Tree = dict[str, Any]
_Reader = Callable[[str, Any], Any]


def read_form(body: str) -> dict[str, str]:
    """Return the fields of a form.

    Raises:
        FaultError: MalformedQueryString: a field is given twice, or there are too many.
    """
    try:
        pairs = split_form(body, FIELDS_MAX)
    except ValueError:
        raise FaultError(
            "MalformedQueryString", "The query string is malformed, or has too many fields."
        ) from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise FaultError("MalformedQueryString", "A field of the query is given twice.")
    return fields


def read_parameters(operation: OperationModel, fields: dict[str, str]) -> Document:
    """Return the parameters of an operation.

    Args:
        operation: The model of the operation, of the protocol ec2 or query.
        fields: As `read_form` returns them.

    Raises:
        FaultError: UnknownParameter, MissingParameter, InvalidParameterValue or
            MalformedQueryString.
    """
    own = {name: text for name, text in fields.items() if not _is_ignored(name)}
    tree = _tree(own)
    shape = operation.input_shape
    if shape is None:
        if tree:
            raise _unknown(next(iter(tree)))
        return {}
    protocol = operation.service_model.metadata["protocol"]
    found: Document = _reader(shape, protocol == "ec2")("", tree)
    return found


def _tree(fields: dict[str, str]) -> Tree:
    root: Tree = {}
    for name, text in fields.items():
        parts = name.split(".")
        if len(parts) > DEPTH_MAX:
            raise FaultError("MalformedQueryString", f"The field {name[:80]} is nested too deeply.")
        node = root
        for part in parts[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise _malformed(name)
        if isinstance(node.get(parts[-1]), dict):
            raise _malformed(name)
        node[parts[-1]] = text
    return root


@cache
def _reader(shape: Shape, ec2: bool) -> _Reader:
    if isinstance(shape, StructureShape):
        return _structure_reader(shape, ec2)
    if isinstance(shape, ListShape):
        return _list_reader(shape, ec2)
    if isinstance(shape, MapShape):
        return _map_reader(shape, ec2)
    parse = text_parser(shape)

    def read(name: str, node: Any) -> Any:  # noqa: ANN401 - any scalar
        if isinstance(node, dict):
            raise _unknown(f"{name}.{next(iter(node), '')}")
        try:
            return parse(node)
        except BadValueError as error:
            raise FaultError(
                "InvalidParameterValue", f"Invalid value '{node[:200]}' for {name}: {error}."
            ) from None

    return read


def _structure_reader(shape: StructureShape, ec2: bool) -> _Reader:
    members = {
        _wire_name(name, member, ec2=ec2): (name, member) for name, member in shape.members.items()
    }
    required = [_wire_name(name, shape.members[name], ec2=ec2) for name in shape.required_members]

    def read(name: str, node: Any) -> Document:  # noqa: ANN401 - a node of the tree
        if not isinstance(node, dict):
            raise _malformed(name)
        found: Document = {}
        for key, below in node.items():
            known = members.get(key)
            if known is None:
                raise _unknown(f"{name}.{key}" if name else key)
            path = f"{name}.{key}" if name else key
            found[known[0]] = _reader(known[1], ec2)(path, below)
        for key in required:
            if key not in node:
                raise FaultError(
                    "MissingParameter",
                    f"The request must contain the parameter {f'{name}.{key}' if name else key}",
                )
        return found

    return read


def _list_reader(shape: ListShape, ec2: bool) -> _Reader:
    flat = ec2 or bool(shape.serialization.get("flattened"))
    entry = shape.member.serialization.get("name", "member")

    def read(name: str, node: Any) -> list[Any]:  # noqa: ANN401 - a node of the tree
        if node == "":
            return []
        if not flat and isinstance(node, dict):
            if node.keys() - {entry}:
                raise _unknown(f"{name}.{min(node.keys() - {entry})}")
            node = node.get(entry, {})
        if not isinstance(node, dict):
            raise _malformed(name)
        numbers = sorted((_number(name, key), key) for key in node)
        return [_reader(shape.member, ec2)(f"{name}.{key}", node[key]) for _, key in numbers]

    return read


def _map_reader(shape: MapShape, ec2: bool) -> _Reader:
    flat = bool(shape.serialization.get("flattened"))
    key_name = shape.key.serialization.get("name", "key")
    value_name = shape.value.serialization.get("name", "value")

    def read(name: str, node: Any) -> Document:  # noqa: ANN401 - a node of the tree
        if not flat and isinstance(node, dict):
            node = node.get("entry", {})
        if not isinstance(node, dict):
            raise _malformed(name)
        found = {}
        for _, place in sorted((_number(name, key), key) for key in node):
            entry = node[place]
            if not isinstance(entry, dict) or entry.keys() != {key_name, value_name}:
                raise _malformed(f"{name}.{place}")
            key = _reader(shape.key, ec2)(f"{name}.{place}.{key_name}", entry[key_name])
            found[key] = _reader(shape.value, ec2)(
                f"{name}.{place}.{value_name}", entry[value_name]
            )
        return found

    return read


def _wire_name(name: str, shape: Shape, *, ec2: bool) -> str:
    known = shape.serialization.get("name", name)
    if not ec2:
        return str(known)
    return str(shape.serialization.get("queryName") or known[:1].upper() + known[1:])


def _number(name: str, key: str) -> int:
    if not key.isascii() or not key.isdigit() or len(key) > 6:
        raise _unknown(f"{name}.{key}")
    return int(key)


def _unknown(name: str) -> FaultError:
    return FaultError("UnknownParameter", f"The parameter {name[:200]} is not recognized")


def _malformed(name: str) -> FaultError:
    return FaultError("MalformedQueryString", f"The field {name[:200]} is malformed.")


def _is_ignored(name: str) -> bool:
    return name in IGNORED or name.lower().startswith("x-amz-")
