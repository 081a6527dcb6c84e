"""The endpoint as an ASGI application, and the process that serves it."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ebsim.server.endpoint import Endpoint
from ebsim.server.limits import Limits
from ebsim.server.observing import METRICS_TYPE, Seen, Watch
from ebsim.server.protocol.wire import HttpRequest, HttpResponse

OWN_PATHS = frozenset({"/healthz", "/metrics"})


class AwsApp:
    """The ASGI application of an endpoint.

    Args:
        endpoint: What answers.
        limits: What is taken at once.
        watch: What is told of requests.
    """

    def __init__(self, endpoint: Endpoint, limits: Limits, watch: Watch) -> None:
        self._endpoint = endpoint
        self._limits = limits
        self._watch = watch
        self._metrics = watch.metrics
        self._threads: ThreadPoolExecutor | None = None

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
        except ClientGoneError:
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
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        request = HttpRequest(
            method=scope["method"],
            path=scope["raw_path"].decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            headers=headers,
            body=body,
        )
        loop = asyncio.get_running_loop()
        if self._threads is None:  # the loop's own: it waits for them when it is closed
            self._threads = ThreadPoolExecutor(self._limits.requests, "ebsim-request")
            loop.set_default_executor(self._threads)
        return await loop.run_in_executor(self._threads, self._endpoint.answer, request, seen)

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


def make_app(endpoint: Endpoint, limits: Limits, watch: Watch) -> ASGIApp:
    """Return the application: the endpoint, `/healthz`, and `/metrics`."""

    async def metrics(request: Request) -> Response:
        if not watch.may_read(request.client.host if request.client else ""):
            return PlainTextResponse("Metrics are not for your address.\n", 403)
        return Response(watch.metrics.text(), media_type=METRICS_TYPE)

    own = Starlette(routes=[Route("/healthz", _healthy), Route("/metrics", metrics)])
    aws = AwsApp(endpoint, limits, watch)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on a request: AWS's do not go through Starlette."""
        await (own if scope["path"] in OWN_PATHS else aws)(scope, receive, send)

    return app
