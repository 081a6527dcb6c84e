"""HTTP as the endpoint takes it: uvicorn's protocol with bounds, strict where others differ.

Bounded are the head, in bytes and fields; what waits to be taken of a body; requests that come
before the first is answered; the time until a request is there; the time until a client has read
what it was sent; and the connections. uvicorn bounds only idle ones, bodies, and requests that are
at work.

Refused is what two readers of HTTP may understand differently, so that nothing can be hidden from a
proxy before the endpoint: a length beside an encoding, any encoding but `chunked`, fields after the
body (which would be taken for fields of the head), upgrades, and versions other than 1.0 and 1.1.
"""

import asyncio
from http import HTTPStatus
from typing import cast

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from ebsim.server.limits import HttpLimits
from ebsim.units import BLOCK_SIZE

WAITING_MAX = 64 * 1024 * 1024
"""Bytes of bodies that wait to be taken, beside the last part of each; every client has a share."""

PIPELINE_MAX = 16
"""Requests of one client that wait behind the one at work; with more, it is left after that one."""

TLS_CLOSE_S = 0.05
"""How long an idle TLS connection has to close when the server stops."""


class RefusedRequestError(Exception):
    """A head that is not taken."""


class BoundedHttp(HttpToolsProtocol):
    """The connection of one client.

    Attributes:
        limits: What it may.
    """

    limits = HttpLimits()
    _arriving: asyncio.TimerHandle | None = None
    _leaving: asyncio.TimerHandle | None = None
    _at_work: RequestResponseCycle | None = None
    _status = HTTPStatus.BAD_REQUEST
    _in_head = True
    _head_size = 0
    _fields = 0
    _since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with a client; with too many, end at once."""
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            transport.abort()
            return
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a client."""
        if self._arriving is not None:
            self._arriving.cancel()
        self._response_left()
        self.pipeline.clear()
        if self._at_work is not None:  # uvicorn tells only the newest of several
            self._at_work.disconnected = True
            self._at_work.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if self.transport.is_closing():
            return
        if not self._is_busy():
            self._await_request()
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head and not self.transport.is_closing():
            self._head_size += len(data)
            if self._head_size > self.limits.head_bytes:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    # what the parser tells

    def on_message_begin(self) -> None:
        """Begin with a request."""
        super().on_message_begin()
        self._in_head = True
        self._head_size = 0
        self._await_request()

    def on_headers_complete(self) -> None:
        """Look at the whole head, and have its request be answered."""
        size = len(self.url)
        lengths = encodings = 0
        for name, value in self.headers:
            size += len(name) + len(value)
            if name == b"content-length":
                lengths += 1
            elif name == b"transfer-encoding":
                encodings += 1 if value.lower() == b"chunked" else 2
        self._fields = len(self.headers)
        if size > self.limits.head_bytes or self._fields > self.limits.fields:
            self._status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise RefusedRequestError("a head that is too large")
        if self.parser.should_upgrade() or self.parser.get_http_version() not in {"1.0", "1.1"}:
            raise RefusedRequestError("an upgrade, or another version")
        if lengths + encodings > 1:
            raise RefusedRequestError("a body of uncertain length")
        if len(self.pipeline) >= PIPELINE_MAX:
            raise RefusedRequestError("too many requests before the answer to the first")
        self._in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; the first one as the bytes that it came in: uvicorn copies it.

        No more is read while a block waits to be taken, or less where there are many clients: all
        of them may send much before anybody runs.
        """
        cycle = self.cycle
        if cycle.response_complete:
            return
        waiting = cast("bytes | bytearray", cycle.body)
        if not waiting:
            waiting = body
        else:
            waiting = waiting if isinstance(waiting, bytearray) else bytearray(waiting)
            waiting += body  # which copies only this part, however many there are
        cycle.body = waiting  # type: ignore[assignment]
        if len(waiting) > min(BLOCK_SIZE, WAITING_MAX // max(1, len(self.connections))):
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """End with a request's body; there are no fields after it."""
        if len(self.headers) != self._fields:
            raise RefusedRequestError("a field after the body")
        self._request_arrived()
        self._in_head = True
        self._head_size = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """End with a response."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._await_reader()

    # what is bounded in time

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        self._response_left()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """End an idle connection, and one whose client does not read at all."""
        super().timeout_keep_alive_handler()
        self._await_reader()

    def shutdown(self) -> None:
        """End soon, as the server stops; a TLS client that is idle need not agree to it."""
        super().shutdown()
        if self.transport.is_closing() and self.transport.get_extra_info("sslcontext"):
            self.loop.call_later(TLS_CLOSE_S, self._abort_if_sent)

    def _abort_if_sent(self) -> None:
        if self.transport.get_write_buffer_size() == 0:
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request of ours, and end; what is at work is answered before."""
        if self._at_work is not None and self._is_busy():
            self._at_work.keep_alive = False
            self.pipeline.clear()
            self._in_head = False  # nothing of what follows is one
            return
        self._refuse(self._status)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._at_work = cycle
        super()._start_asgi_task(cycle, app)

    def _is_busy(self) -> bool:
        """Return whether a request that is there as a whole is being answered."""
        cycle = self._at_work
        return cycle is not None and not cycle.response_complete and not cycle.more_body

    def _refuse(self, status: HTTPStatus) -> None:
        text = f"{status.phrase}\n".encode("ascii")
        head = (
            f"content-type: text/plain\r\ncontent-length: {len(text)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(STATUS_LINE[status] + head.encode("ascii") + text)
        self.transport.close()
        self._await_reader()

    def _await_request(self) -> None:
        if self._since is None:
            self._since = self.loop.time()
            if self._arriving is None:  # one timer for many requests
                self._arriving = self.loop.call_later(self.limits.request_s, self._look)

    def _request_arrived(self) -> None:
        self._since = None

    def _look(self) -> None:
        """See whether the request that is awaited is late."""
        self._arriving = None
        if self._since is None or self.transport.is_closing():
            return
        if self._is_busy():  # the server itself, with the one before
            self._since = self.loop.time()
        left = self._since + self.limits.request_s - self.loop.time()
        if left > 0:
            self._arriving = self.loop.call_later(left, self._look)
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def _await_reader(self) -> None:
        if self._leaving is None:
            self._leaving = self.loop.call_later(self.limits.response_s, self.transport.abort)

    def _response_left(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None


def bounded_by(limits: HttpLimits) -> type[BoundedHttp]:
    """Return the protocol with these limits; uvicorn makes its connections."""
    return type("BoundedHttp", (BoundedHttp,), {"limits": limits})
