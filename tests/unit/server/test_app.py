"""Where a request is read: at once where it is small, and beside the loop where it is not."""

import asyncio
import threading
from collections.abc import MutableMapping
from typing import Any

import pytest

pytest.importorskip("starlette")
from ebsim.server.app import SMALL_BODY, SMALL_QUERY, AwsApp
from ebsim.server.endpoint import Work
from ebsim.server.limits import Limits
from ebsim.server.observing import Seen, Watch
from ebsim.server.operations import Place
from ebsim.server.protocol.wire import HttpRequest, HttpResponse
from ebsim.server.workers import Workers


class Places:
    """Stands for an endpoint: it notes in which thread each step is taken."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.threads: list[str] = []
        self._loop = threading.current_thread()

    def begin(self, request: HttpRequest, seen: Seen) -> Work:
        self._note()
        return Work(self.place, self._carry_out)

    def _carry_out(self) -> HttpResponse:
        self._note()
        return HttpResponse(status=200, headers={}, body=b"")

    def _note(self) -> None:
        here = threading.current_thread()
        self.threads.append("loop" if here is self._loop else here.name.split("_")[0])


def threads_of(place: Place, *, body: int = 0, query: int = 0) -> list[str]:
    """Return in which threads a request is read and carried out."""
    places, workers = Places(place), Workers(1)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": bytes(body)}

    async def send(_message: MutableMapping[str, Any]) -> None:
        pass

    scope = {
        "method": "POST",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"a" * query,
        "headers": [],
    }
    app = AwsApp(places, Limits(), Watch(), workers)  # type: ignore[arg-type]
    asyncio.run(app(scope, receive, send))
    workers.close()
    return places.threads


def test_only_what_is_small_is_read_on_the_loop() -> None:
    computing, waiting = "ebsim-compute", "ebsim-request"
    for small in ({}, {"body": SMALL_BODY}, {"query": SMALL_QUERY}):
        assert threads_of(Place.LOOP, **small) == ["loop", "loop"]
        assert threads_of(Place.COMPUTING, **small) == ["loop", computing]
        assert threads_of(Place.WAITING, **small) == ["loop", waiting]
    for large in ({"body": SMALL_BODY + 1}, {"query": SMALL_QUERY + 1}):
        assert threads_of(Place.LOOP, **large) == [computing, computing]
        assert threads_of(Place.COMPUTING, **large) == [computing, computing]
        assert threads_of(Place.WAITING, **large) == [computing, waiting]
