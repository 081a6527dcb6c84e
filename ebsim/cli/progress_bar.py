"""A progress bar on standard error, for people at a terminal only.

Most operations are over before a bar is of use, and drawing one costs 50 ms for importing rich. So
nothing is drawn, nor imported, before a phase has lasted two seconds. Where standard error is no
terminal, only notes are printed.
"""

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from ebsim.cli.output import print_note
from ebsim.units import format_size

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

SHOW_AFTER_S = 2.0
"""Shorter phases show nothing: a bar that flashes up tells nobody anything."""

REDRAW_S = 0.1
"""How often the bar hears of what was done: at 10 GB/s there are 20,000 blocks a second."""


class ProgressBar:
    """Implements `ebsim.progress.Progress`. A context manager: leaving it wipes the bar.

    Args:
        stream: Where to draw; standard error if None.
        monotonic: The time in seconds, from any origin.
    """

    def __init__(
        self, stream: TextIO | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._label = ""
        self._total_bytes = 0
        self._done_bytes = 0
        self._started_at = 0.0
        self._redraw_at = 0.0
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.finish()

    def start(self, label: str, total_bytes: int) -> None:
        """Begin a phase that will handle `total_bytes`; it ends the one before."""
        self.finish()
        with self._lock:
            self._label, self._total_bytes, self._done_bytes = label, total_bytes, 0
            self._started_at = self._monotonic()
            self._redraw_at = self._started_at + SHOW_AFTER_S

    def advance(self, done_bytes: int) -> None:
        """Count a further `done_bytes`, from any thread."""
        with self._lock:
            self._done_bytes += done_bytes
            now = self._monotonic()
            if now >= self._redraw_at and self._drawable():
                self._redraw_at = now + REDRAW_S
                self._draw(now - self._started_at)

    def finish(self) -> None:
        """Wipe the bar, if there is one."""
        with self._lock:
            bar, self._bar, self._task = self._bar, None, None
            self._total_bytes = self._done_bytes = 0
        if bar is not None:
            bar.stop()

    def note(self, message: str) -> None:
        """Print one line, above the bar if there is one."""
        with self._lock:
            if self._bar is None:
                print_note(message)
            else:
                self._bar.console.print(f"ebsim: {message}", markup=False, highlight=False)

    def _drawable(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def _draw(self, elapsed_s: float) -> None:
        rate = f"{format_size(round(self._done_bytes / elapsed_s))}/s"
        if self._bar is None:
            self._bar = _new_bar(self._stream)
            total = self._total_bytes or None
            self._task = self._bar.add_task(self._label, total=total, rate=rate)
            self._bar.start()
        assert self._task is not None, "a bar has its task"
        self._bar.update(self._task, completed=self._done_bytes, rate=rate)


def _new_bar(stream: TextIO) -> "RichProgress":
    """Return a bar with percent, rate and time left, which vanishes when it stops."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(binary_units=True),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(file=stream),
        transient=True,
    )
