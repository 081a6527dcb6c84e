"""Work that goes on after its request is answered, and is waited for when the server stops."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future

from ebsim.errors import EbsimError
from ebsim.server.protocol.wire import FaultError

_LOG = logging.getLogger("ebsim.server")

BEGINNING_MAX = 8
"""Requests that wait at once for their work to begin, half of those that are carried out."""

Begun = Callable[[str], None]


class Background:
    """Threads of a server. May be used by several threads."""

    def __init__(self) -> None:
        self._threads: set[threading.Thread] = set()
        self._mutex = threading.Lock()
        self._beginning = threading.BoundedSemaphore(BEGINNING_MAX)

    def begin(self, name: str, work: Callable[[Begun], str]) -> str:
        """Have work go on by itself; return the id of what it makes as soon as there is one.

        Args:
            name: What it is, for the log.
            work: Does it all. It calls what it is given with the id, and returns the id.

        Raises:
            FaultError: RequestLimitExceeded: too many requests wait for their work to begin.
            Exception: What the work raised before there was an id.
        """
        if not self._beginning.acquire(blocking=False):
            raise FaultError("RequestLimitExceeded", "Request limit exceeded.", 503)
        try:
            made: Future[str] = Future()
            thread = threading.Thread(target=self._run, args=(name, work, made), name=name)
            with self._mutex:
                self._threads.add(thread)
                thread.start()
            return made.result()
        finally:
            self._beginning.release()

    def wait(self) -> None:
        """Wait until all that was begun is done."""
        while True:
            with self._mutex:
                thread = next(iter(self._threads), None)
            if thread is None:
                return
            thread.join()

    def _run(self, name: str, work: Callable[[Begun], str], made: "Future[str]") -> None:
        try:
            found = work(made.set_result)
            if not made.done():
                made.set_result(found)
        except Exception as error:  # noqa: BLE001 - told to the request, or to the log
            if not made.done():
                made.set_exception(error)
            elif isinstance(error, EbsimError):
                _LOG.warning("%s failed: %s", name, error)
            else:
                _LOG.exception("%s failed", name)
        finally:
            with self._mutex:
                self._threads.discard(threading.current_thread())
