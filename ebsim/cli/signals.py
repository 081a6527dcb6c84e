"""Signals as exceptions, so that leaving on one runs every `finally` on the way out.

A snapshot may hold a frozen file system, and a restore a half-written file: both are put right in
`finally` clauses, which a signal's default action would skip. So the first SIGINT, SIGTERM or
SIGHUP raises `StoppedBySignal` in the main thread. While that unwinds, a second signal must not
cut the cleaning up short (impatient people press Ctrl-C twice): it is only answered with a note.
A third raises again. A signal that the parent process ignores (nohup, a shell's background job)
stays ignored.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ebsim.cli.output import print_note

STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_NAMES = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}


class StoppedBySignal(BaseException):
    """A signal asked the process to end. No `except Exception` may swallow it.

    Attributes:
        number: The signal.
        pending: Snapshots that were begun and stay pending.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.pending: tuple[str, ...] = ()

    def __str__(self) -> str:
        name = _NAMES.get(signal.Signals(self.number), "stopped")
        if not self.pending:
            return name
        ids, it, stays = " ".join(self.pending), "it", "stays"
        if len(self.pending) > 1:
            it, stays = "them", "stay"
        return (
            f"{name}: {ids} {stays} pending; `ebsim snapshot wait {ids}` goes on copying {it}, "
            f"`ebsim snapshot delete {ids}` gives {it} up"
        )


class _Stopper:
    """The handler: remembers how many signals came."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self._count == 2:
            print_note("cleaning up; a third signal gives up")
            return
        raise StoppedBySignal(number)


def ignore_interrupts() -> None:
    """Ignore SIGINT from now on: all is told, and Python only has to tidy up before it exits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Raise `StoppedBySignal` for as long as the body runs. Does nothing outside the main thread.

    Raises:
        StoppedBySignal: A signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopper = _Stopper()
    before = {number: signal.getsignal(number) for number in STOPPING_SIGNALS}
    handled = [number for number in STOPPING_SIGNALS if before[number] is not signal.SIG_IGN]
    try:
        for number in handled:
            signal.signal(number, stopper)
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])
