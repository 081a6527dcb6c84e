"""Requests as boto3 sends them, signed, as bytes: made before anything is timed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Target:
    """A server and a key that it takes.

    Attributes:
        name: Whose server it is.
        url: Its URL.
        access_key: The key's id.
        secret: The secret key.
        pid: Its process.
    """

    name: str
    url: str
    access_key: str
    secret: str
    pid: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request to be sent.

    Attributes:
        head: Its head, and its body unless that lies in the file of data.
        body: Offset and length in the file of data.
    """

    head: bytes
    body: tuple[int, int] = (0, 0)


class _CaughtError(Exception):
    """Carries a request away before it is sent."""

    def __init__(self, request: Any) -> None:
        super().__init__()
        self.request = request


class Preparer:
    """Makes requests to a server, by botocore's own clients.

    Args:
        target: The server.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """Return a client that sends what it is asked."""
        import botocore.session
        from botocore.config import Config

        return botocore.session.get_session().create_client(
            service,
            region_name=REGION,
            endpoint_url=self._target.url,
            aws_access_key_id=self._target.access_key,
            aws_secret_access_key=self._target.secret,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=120),
        )

    def prepare(
        self, service: str, operation: str, body: tuple[int, int] = (0, 0), **parameters: Any
    ) -> Prepared:
        """Return a request.

        Args:
            service: botocore's name of the service.
            operation: The name of the client's method.
            body: Where the body lies in the file of data, if it is not to be in the request.
            parameters: As the client takes them.
        """
        if service not in self._clients:
            client = self.client(service)
            client.meta.events.register("before-send", _catch)
            self._clients[service] = client
        try:
            getattr(self._clients[service], operation)(**parameters)
        except _CaughtError as caught:
            return Prepared(_bytes_of(caught.request, with_body=body == (0, 0)), body)
        raise AssertionError("nothing was caught")


def _catch(request: Any, **_kwargs: Any) -> None:
    raise _CaughtError(request)


def _bytes_of(request: Any, *, with_body: bool) -> bytes:
    parts = urlsplit(request.url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    body = request.body or b""
    body = body.encode() if isinstance(body, str) else body
    headers = {"Host": parts.netloc, **dict(request.headers.items())}
    headers["Content-Length"] = str(len(body))
    lines = [f"{request.method} {path or '/'} HTTP/1.1"]
    for name, value in headers.items():
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        if name.lower() != "expect":
            lines.append(f"{name}: {text}")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head + bytes(body) if with_body else head


def write_job(
    path: Path,
    target: Target,
    requests: Sequence[Prepared],
    *,
    connections: int,
    seconds: float,
    data: Path | None = None,
    once: bool = False,
) -> None:
    """Write what `benchmarks.endpoint_load` is to do.

    Args:
        path: The file.
        target: Whom to ask.
        requests: What to ask, over and over, in this order.
        connections: How many requests are under way at once.
        seconds: After so long no further request is sent.
        data: The file that bodies lie in.
        once: Whether each request is sent at most once.
    """
    place = urlsplit(target.url)
    document = {
        "host": place.hostname,
        "port": place.port,
        "connections": connections,
        "seconds": seconds,
        "once": once,
        "data": None if data is None else str(data),
        "heads": [each.head.hex() for each in requests],
        "bodies": [each.body for each in requests],
    }
    path.write_text(json.dumps(document), encoding="ascii")
