"""Whatever the endpoint answers while a test runs, botocore's parser must read as it was meant.

So what the functions of operations return is compared with what a client gets, in every test that
has an endpoint, whatever it is about: a member of another type or name does not go unseen.
"""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from unittest import mock


@contextmanager
def compared_answers() -> Iterator[None]:
    """Return a context in which each result is compared with what botocore reads in its response.

    Raises:
        AssertionError: At the end: one was not the same; empty members and fractions of seconds do
            not count.
    """
    from botocore.awsrequest import HeadersDict
    from botocore.parsers import create_parser

    from ebsim.server.protocol import codec
    from ebsim.server.protocol.models import load_model
    from ebsim.server.protocol.wire import Call, Document, HttpResponse

    write = codec.write_result
    wrong: list[tuple[str, str, object, object]] = []

    def compared(call: Call, result: Document, request_id: str) -> HttpResponse:
        response = write(call, result, request_id)
        operation = load_model(call.service).operation_model(call.operation)
        body = bytes(response.body)
        raw = {
            "status_code": response.status,
            "headers": HeadersDict(response.headers),
            "body": io.BytesIO(body) if operation.has_streaming_output else body,
        }
        parser = create_parser(operation.service_model.metadata["protocol"])
        found = parser.parse(raw, operation.output_shape)
        told = found.pop("ResponseMetadata")
        if (told["RequestId"], on_wire(found)) != (request_id, on_wire(result)):
            wrong.append((call.service, call.operation, on_wire(result), on_wire(found)))
        return response

    with mock.patch.object(codec, "write_result", compared):
        yield
    assert not wrong, wrong


def on_wire(value: Any) -> Any:  # noqa: ANN401 - any value of a result
    """Return a value without what a response cannot tell from nothing, its times in seconds."""
    from ebsim.server.protocol.json_body import JsonText

    if isinstance(value, JsonText):
        return on_wire(json.loads(value))
    if isinstance(value, dict):
        found = {key: on_wire(each) for key, each in value.items()}
        return {key: each for key, each in found.items() if each not in ({}, [], None, b"")}
    if isinstance(value, list | tuple):
        return [on_wire(each) for each in value]
    if isinstance(value, datetime):
        return int(value.timestamp())
    if hasattr(value, "read"):
        return value.read()
    return bytes(value) if isinstance(value, memoryview) else value
