"""Threads of a server that stops: what was begun is finished, and the rest is never begun."""

import asyncio
import threading

import pytest

from ebsim.server.workers import LeftError, Workers


def test_what_waits_in_line_is_left() -> None:
    workers, gate, begun = Workers(1), threading.Event(), threading.Event()
    done: list[int] = []

    def first() -> str:
        begun.set()
        assert gate.wait(100)
        done.append(1)
        return "done"

    async def play() -> None:
        at_work = asyncio.create_task(workers.wait(first))
        in_line = asyncio.create_task(workers.wait(lambda: done.append(2)))
        while not begun.is_set():
            await asyncio.sleep(0)
        workers.leave()
        with pytest.raises(LeftError):
            await in_line
        with pytest.raises(LeftError):
            await workers.compute(lambda: done.append(3))
        gate.set()
        assert await at_work == "done"

    asyncio.run(play())
    workers.close()
    assert done == [1]


def test_who_is_cancelled_otherwise_is_cancelled() -> None:
    workers, gate = Workers(1), threading.Event()

    async def play() -> None:
        task = asyncio.create_task(workers.wait(lambda: gate.wait(100)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    try:
        asyncio.run(play())
    finally:
        gate.set()
        workers.close()
