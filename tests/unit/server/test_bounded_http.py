"""What one client may have the server hold before anybody looks at it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

pytest.importorskip("uvicorn")
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from ebsim.server.bounded_http import PIPELINE_MAX, WAITING_MAX, BoundedHttp, bounded_by
from ebsim.server.limits import HttpLimits
from ebsim.units import BLOCK_SIZE

ASKED = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POSTED = b"POST / HTTP/1.1\r\nHost: x\r\n"
PIECE = b"x" * 256_000
OK: list[dict[str, Any]] = [
    {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]},
    {"type": "http.response.body", "body": b""},
]


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closing = False
        self._reading = True

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closing = True

    abort = close

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True

    def is_reading(self) -> bool:
        return self._reading


async def answers(scope: Scope, receive: Receive, send: Send) -> None:
    """Take a body, and answer."""
    while (await receive()).get("more_body"):
        pass
    for message in OK:
        await send(message)


def connected() -> tuple[BoundedHttp, Wire]:
    config = uvicorn.Config(answers, ws="none", lifespan="off", http=bounded_by(HttpLimits()))
    config.load()
    protocol = BoundedHttp(config, ServerState(), {}, asyncio.get_running_loop())
    wire = Wire()
    protocol.connection_made(wire)
    return protocol, wire


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await story()

    asyncio.run(whole())


async def until_idle(protocol: BoundedHttp) -> None:
    while protocol.tasks:
        await asyncio.gather(*protocol.tasks)


@pytest.mark.parametrize(
    ("clients", "most"), [(1, BLOCK_SIZE), (128, BLOCK_SIZE), (1000, WAITING_MAX // 1000)]
)
def test_no_more_is_read_while_a_block_waits_to_be_taken(clients: int, most: int) -> None:
    async def story() -> None:
        protocol, wire = connected()
        others = [connected()[0] for _ in range(clients - 1)]
        protocol.connections.update(others)
        protocol.data_received(POSTED + b"Content-Length: 99999999\r\n\r\n")
        pieces = 0
        while wire.is_reading():
            protocol.data_received(PIECE)
            pieces += 1
        assert most < pieces * len(PIECE) <= most + len(PIECE)
        await asyncio.sleep(0)  # it is taken
        assert wire.is_reading()
        protocol.connection_lost(None)
        await until_idle(protocol)

    run(story)


def test_body_in_many_parts_costs_as_much_as_in_one() -> None:
    async def story() -> None:
        protocol, wire = connected()
        protocol.data_received(POSTED + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(8):
            protocol.data_received(b"1\r\nx\r\n" * 40_000)
        assert isinstance(protocol.cycle.body, bytearray)
        assert len(protocol.cycle.body) == 8 * 40_000
        protocol.data_received(b"0\r\n\r\n")
        await until_idle(protocol)
        assert wire.written.startswith(b"HTTP/1.1 200 OK")

    run(story)


@pytest.mark.parametrize("more", [PIPELINE_MAX, PIPELINE_MAX + 1, 3 * PIPELINE_MAX])
def test_few_requests_wait_for_the_answer_to_the_first(more: int) -> None:
    async def story() -> None:
        protocol, wire = connected()
        protocol.data_received(ASKED * (1 + more))
        assert len(protocol.pipeline) <= PIPELINE_MAX
        await until_idle(protocol)
        answered = wire.written.count(b"HTTP/1.1 200 OK")
        if more <= PIPELINE_MAX:
            assert (answered, wire.closing) == (1 + more, False)
        else:
            assert (answered, wire.closing) == (1, True), "the first is answered, and it ends"
            assert b"connection: close" in wire.written
            assert b"HTTP/1.1 4" not in wire.written
        protocol.connection_lost(None)

    run(story)
