"""The threads that carry out what would keep the loop from its other clients.

What computes gains nothing from more threads than there are processors: they would only take
Python's lock, and the caches, away from one another. What may wait, for a lock, another process or
a disk, has threads of its own, many, so that it does not keep blocks from being read.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class LeftError(Exception):
    """It was not begun, and is not any more: the server stops."""


class Workers:
    """Threads, made when they are first needed.

    Args:
        waiting: How many requests may wait, or run, at once beside those that compute.
    """

    def __init__(self, waiting: int) -> None:
        self._computing = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "ebsim-compute")
        self._waiting = ThreadPoolExecutor(waiting, "ebsim-request")
        self._left = False

    async def compute(self, work: Callable[[], Result]) -> Result:
        """Have something be done that keeps a processor busy, and waits for nothing but disks.

        Raises:
            LeftError: `leave` was called before it was begun.
        """
        return await self._run(self._computing, work)

    async def wait(self, work: Callable[[], Result]) -> Result:
        """Have something be done that may wait.

        Raises:
            LeftError: As `compute`.
        """
        return await self._run(self._waiting, work)

    def leave(self) -> None:
        """Begin nothing any more, also of what was asked for; called by the loop."""
        self._left = True
        for each in (self._computing, self._waiting):
            each.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Wait until all that was begun is done; nothing can be asked then.

        The store may be closed behind this.
        """
        self._computing.shutdown()
        self._waiting.shutdown()

    async def _run(self, threads: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
        if self._left:
            raise LeftError
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, work)
        except asyncio.CancelledError:
            if self._left:
                raise LeftError from None
            raise
