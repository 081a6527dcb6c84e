"""The endpoint as an ASGI application, and the process that serves it."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ebsim.server.endpoint import Endpoint, Work
from ebsim.server.limits import Limits
from ebsim.server.observing import METRICS_TYPE, Seen, Watch
from ebsim.server.operations import Place
from ebsim.server.protocol.wire import HttpRequest, HttpResponse
from ebsim.server.workers import LeftError, Workers

OWN_PATHS = frozenset({"/healthz", "/metrics"})

SMALL_BODY = 16 * 1024
SMALL_QUERY = 2 * 1024
"""Bytes of a body and of a query up to which a request is proved and read at once: it takes a
moment. Each field of a query is encoded anew to be proved, before it is known who sent it."""


class AwsApp:
    """The ASGI application of an endpoint.

    Args:
        endpoint: What answers.
        limits: What is taken at once.
        watch: What is told of requests.
        workers: Carry out what does not take a moment only.
    """

    def __init__(self, endpoint: Endpoint, limits: Limits, watch: Watch, workers: Workers) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._watch = watch
        self._metrics = watch.metrics
        self._workers = workers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; one that did not come as a whole is none."""
        parts: list[bytes] = []
        begun = time.perf_counter()
        seen = Seen(method=scope["method"], path=scope["path"])
        self._metrics.at_work += 1
        try:
            response = await self._read_body(scope, receive, parts)
            if response is None:
                body = parts[0] if len(parts) == 1 else b"".join(parts)
                response = await self._answered(scope, body, seen)
            await _send(send, response)
            seen.status, seen.sent_bytes = response.status, len(response.body)
        except (ClientGoneError, LeftError):  # nobody is there any more
            return
        finally:
            seen.received_bytes = sum(map(len, parts))
            self._metrics.held_bytes -= seen.received_bytes
            self._metrics.at_work -= 1
            seen.duration_s = time.perf_counter() - begun
            client = scope.get("client")
            seen.client = client[0] if client else ""
            self._watch.note(seen)

    async def _answered(self, scope: Scope, body: bytes, seen: Seen) -> HttpResponse:
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        request = HttpRequest(
            method=scope["method"],
            path=scope["raw_path"].decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            headers=headers,
            body=body,
        )
        begin = partial(self._endpoint.begin, request, seen)
        if len(body) <= SMALL_BODY and len(request.query) <= SMALL_QUERY:
            work = begin()
            if work.place is Place.COMPUTING:
                return await self._workers.compute(work.carry_out)
        else:
            found = await self._workers.compute(lambda: _begun(begin))
            if isinstance(found, HttpResponse):
                return found
            work = found
        if work.place is Place.LOOP:
            return work.carry_out()
        return await self._workers.wait(work.carry_out)

    async def _read_body(
        self, scope: Scope, receive: Receive, parts: list[bytes]
    ) -> HttpResponse | None:
        """Read a request's body; return what is answered instead if it is too large.

        Raises:
            ClientGoneError: The client left before all of it was there.
        """
        body_max = self._limits.http.body_bytes
        if any(
            name == b"content-length" and int(value) > body_max for name, value in scope["headers"]
        ):
            return _too_large(body_max)
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            part = message.get("body", b"")
            size += len(part)
            if size > body_max:
                return _too_large(body_max)
            if self._metrics.held_bytes + len(part) > self._limits.held_bytes:
                return _plain(503, "Too many requests are under way: come again.")
            if part:
                self._metrics.held_bytes += len(part)
                parts.append(part)
            if not message.get("more_body"):
                return None


class ClientGoneError(Exception):
    """The client left before its request was there as a whole."""


def _too_large(body_max: int) -> HttpResponse:
    return _plain(413, f"A body has at most {body_max} bytes.")


def _plain(status: int, text: str) -> HttpResponse:
    headers = {"Content-Type": "text/plain", "Connection": "close"}
    return HttpResponse(status=status, headers=headers, body=f"{text}\n".encode())


def _begun(begin: Callable[[], Work]) -> HttpResponse | Work:
    """Prove and read a request, and carry it out unless it may have to wait."""
    work = begin()
    return work if work.place is Place.WAITING else work.carry_out()


async def _send(send: Send, response: HttpResponse) -> None:
    headers = [
        (name.lower().encode("latin-1"), str(value).encode("latin-1"))
        for name, value in response.headers.items()
    ]
    headers.append((b"content-length", str(len(response.body)).encode("ascii")))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    body: Any = response.body  # perhaps a view: it is not copied
    await send({"type": "http.response.body", "body": body})


async def _healthy(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


def make_app(endpoint: Endpoint, limits: Limits, watch: Watch, workers: Workers) -> ASGIApp:
    """Return the application: the endpoint, `/healthz`, and `/metrics`."""

    async def metrics(request: Request) -> Response:
        if not watch.may_read(request.client.host if request.client else ""):
            return PlainTextResponse("Metrics are not for your address.\n", 403)
        return Response(watch.metrics.text(), media_type=METRICS_TYPE)

    own = Starlette(routes=[Route("/healthz", _healthy), Route("/metrics", metrics)])
    aws = AwsApp(endpoint, limits, watch, workers)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on a request: AWS's do not go through Starlette."""
        await (own if scope["path"] in OWN_PATHS else aws)(scope, receive, send)

    return app
