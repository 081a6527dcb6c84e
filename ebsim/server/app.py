"""The endpoint as an ASGI application, and the process that serves it."""

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ebsim.server.endpoint import Endpoint
from ebsim.server.protocol.wire import HttpRequest, HttpResponse

BODY_MAX = 1024 * 1024
"""The largest body of a request; a block of 512 KiB is the largest that is needed."""

WORKERS = 16
"""Requests carried out at once; more wait."""


BODIES_MAX = 128 * BODY_MAX
"""Bytes of all bodies that are held at once; a request beyond is told to come again."""


class AwsApp:
    """The ASGI application of an endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._limiter: anyio.CapacityLimiter | None = None
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; one that did not come as a whole is none."""
        parts: list[bytes] = []
        try:
            refusal = await self._read_body(scope, receive, parts)
            if refusal is not None:
                await _send(send, refusal)
                return
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            await _send(send, await self._answered(scope, body))
        except ClientGoneError:
            return
        finally:
            self._held -= sum(map(len, parts))

    async def _answered(self, scope: Scope, body: bytes) -> HttpResponse:
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
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(WORKERS)
        answer = self._endpoint.answer
        return await anyio.to_thread.run_sync(answer, request, limiter=self._limiter)

    async def _read_body(
        self, scope: Scope, receive: Receive, parts: list[bytes]
    ) -> HttpResponse | None:
        """Read a request's body; return what is answered instead if it is too large.

        Raises:
            ClientGoneError: The client left before all of it was there.
        """
        if any(
            name == b"content-length" and int(value) > BODY_MAX for name, value in scope["headers"]
        ):
            return _too_large()
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            part = message.get("body", b"")
            size += len(part)
            if size > BODY_MAX:
                return _too_large()
            if self._held + len(part) > BODIES_MAX:
                return _plain(503, "Too many requests are under way: come again.")
            if part:
                self._held += len(part)
                parts.append(part)
            if not message.get("more_body"):
                return None


class ClientGoneError(Exception):
    """The client left before its request was there as a whole."""


def _too_large() -> HttpResponse:
    return _plain(413, f"A body has at most {BODY_MAX} bytes.")


def _plain(status: int, text: str) -> HttpResponse:
    headers = {"Content-Type": "text/plain", "Connection": "close"}
    return HttpResponse(status=status, headers=headers, body=f"{text}\n".encode())


async def _send(send: Send, response: HttpResponse) -> None:
    body = bytes(response.body)
    headers = [
        (name.lower().encode("latin-1"), str(value).encode("latin-1"))
        for name, value in response.headers.items()
    ]
    headers.append((b"content-length", str(len(body)).encode("ascii")))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _healthy(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


def make_app(endpoint: Endpoint) -> Starlette:
    """Return the application: the endpoint, and `/healthz`."""
    app = Starlette(routes=[Route("/healthz", _healthy)])
    app.router.default = AwsApp(endpoint)
    return app
