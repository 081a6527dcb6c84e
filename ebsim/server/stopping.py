"""How a server stops: what is under way is finished, or left to the next process, within a time.

The first signal begins that. A second one ends the process at once, by that signal: nothing is lost
by it that was acknowledged, as nothing is when a process is killed.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AT_ONCE = b"ebsim: stopped at once: the next process takes up what was under way\n"


class Stopping:
    """When a server has to be done.

    Args:
        grace_s: How long after it was asked to stop.
        monotonic: The time in seconds, from any origin.
    """

    def __init__(self, grace_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._grace_s = grace_s
        self._monotonic = monotonic
        self._deadline: float | None = None

    @property
    def is_asked(self) -> bool:
        """Whether the server is to stop."""
        return self._deadline is not None

    def ask(self) -> None:
        """Ask the server to stop; asked again, the time does not become longer."""
        if self._deadline is None:
            self._deadline = self._monotonic() + self._grace_s

    def left_s(self) -> float:
        """Return how many seconds are left, from now on if nobody asked before."""
        self.ask()
        assert self._deadline is not None
        return max(0.0, self._deadline - self._monotonic())


@contextmanager
def asked_by_signals(ask: Callable[[], None]) -> Iterator[None]:
    """Call `ask` at the first signal to stop, and end the process at the second.

    A signal that the parent process has ignored stays ignored. Does nothing outside the main
    thread.

    Args:
        ask: Called in a signal handler.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os.write(2, _AT_ONCE)
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        asked = True
        ask()

    before = {number: signal.getsignal(number) for number in STOPPING_SIGNALS}
    handled = [number for number in STOPPING_SIGNALS if before[number] is not signal.SIG_IGN]
    try:
        for number in handled:
            signal.signal(number, handle)
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])


@contextmanager
def told_by_signal(number: signal.Signals, what: Callable[[], None]) -> Iterator[None]:
    """Call `what` whenever a signal comes. Does nothing outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, lambda _number, _frame: what())
    try:
        yield
    finally:
        signal.signal(number, before)
