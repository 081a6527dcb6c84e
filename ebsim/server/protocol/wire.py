"""What goes over the wire, and what it means: requests, responses, parsed calls, faults."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]
"""A structure as botocore has it: member name to str, int, float, bool, bytes, datetime, list or
another structure. A member that was not sent is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request as it came.

    Attributes:
        method: GET, PUT, ...
        path: The path as it was sent, percent-encoded.
        query: The query string as it was sent.
        headers: Lower-case name to value; of several with one name, joined with commas.
        body: All of it.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | memoryview = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """A response to be sent.

    Attributes:
        status: The HTTP status.
        headers: Name to value, without Content-Length.
        body: All of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that was understood.

    Attributes:
        service: botocore's name: ec2, ebs, rbin, dlm, kms, sts.
        operation: As the model has it: DescribeSnapshots.
        parameters: What it asks, by the model's member names.
    """

    service: str
    operation: str
    parameters: Document


class FaultError(Exception):
    """What a service answers instead of a result.

    Attributes:
        code: AWS's code.
        message: For people.
        status: The HTTP status.
        members: Further members of the error's shape.
    """

    def __init__(
        self, code: str, message: str, status: int = 400, members: Document | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.members = members or {}
