"""Work that goes on after its request is answered, and is waited for when the server stops."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from ebsim.errors import EbsimError, SourceError
from ebsim.progress import Progress, SilentProgress
from ebsim.server.protocol.wire import FaultError

_LOG = logging.getLogger("ebsim.server")

BEGINNING_MAX = 8
"""Requests that wait at once for their work to begin, half of those that are carried out."""

Begun = Callable[[str], None]


class _UntilStopped(SilentProgress):
    """A listener that ends what it listens to."""

    def __init__(self, stopped: threading.Event) -> None:
        self._stopped = stopped

    def start(self, label: str, total_bytes: int) -> None:
        """Let a phase begin.

        Raises:
            SourceError: The server has stopped.
        """
        self.advance(0)

    def advance(self, done_bytes: int) -> None:
        """Let it go on.

        Raises:
            SourceError: The server has stopped.
        """
        if self._stopped.is_set():
            raise SourceError("the server was stopped before the copy was completed")


class Background:
    """Threads of a server. May be used by several threads.

    Args:
        beginning_max: Requests that may wait at once for their work to begin.
    """

    def __init__(self, beginning_max: int = BEGINNING_MAX) -> None:
        self._threads: set[threading.Thread] = set()
        self._mutex = threading.Lock()
        self._beginning = threading.BoundedSemaphore(beginning_max)
        self._stopped = threading.Event()

    @property
    def progress(self) -> Progress:
        """What work that can be given up is to tell its progress to."""
        return _UntilStopped(self._stopped)

    @property
    def is_busy(self) -> bool:
        """Whether anything that was begun is not done yet."""
        with self._mutex:
            return bool(self._threads)

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

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until all that was begun is done.

        Args:
            timeout_s: What is not done after so many seconds, and tells its progress, is given up;
                None: nothing is.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            with self._mutex:
                thread = next(iter(self._threads), None)
            if thread is None:
                return
            if end is None or self._stopped.is_set():
                thread.join()
                continue
            thread.join(max(0.0, end - time.monotonic()))
            if time.monotonic() >= end:
                self._stopped.set()

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
