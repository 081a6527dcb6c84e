"""A bar appears late, on a terminal only, and never on standard output."""

import io
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from ebsim.cli.progress_bar import SHOW_AFTER_S, ProgressBar
from ebsim.units import MIB

if TYPE_CHECKING:
    from ebsim.progress import Progress


class FakeTerminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Stopwatch:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> FakeTerminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return FakeTerminal()


@pytest.fixture
def stopwatch() -> Stopwatch:
    return Stopwatch()


def test_it_is_a_progress() -> None:
    progress: Progress = ProgressBar(io.StringIO())
    progress.finish()


def test_nothing_is_drawn_for_a_short_phase(terminal: FakeTerminal, stopwatch: Stopwatch) -> None:
    with ProgressBar(terminal, stopwatch) as bar:
        bar.start("reading", 8 * MIB)
        stopwatch.now_s += SHOW_AFTER_S - 0.01
        bar.advance(MIB)
    assert terminal.getvalue() == ""


def test_a_long_phase_shows_label_percent_rate_and_time_left(
    terminal: FakeTerminal, stopwatch: Stopwatch
) -> None:
    with ProgressBar(terminal, stopwatch) as bar:
        bar.start("reading", 8 * MIB)
        stopwatch.now_s += SHOW_AFTER_S
        bar.advance(2 * MIB)
        bar.finish()
    drawn = terminal.getvalue()
    assert "reading" in drawn
    assert "25%" in drawn
    assert "2.0/8.0 MiB" in drawn
    assert "1 MiB/s" in drawn


def test_each_phase_is_timed_from_its_own_start(
    terminal: FakeTerminal, stopwatch: Stopwatch
) -> None:
    with ProgressBar(terminal, stopwatch) as bar:
        for _ in range(5):
            bar.start("reading", MIB)
            stopwatch.now_s += SHOW_AFTER_S / 2
            bar.advance(MIB)
            bar.finish()
    assert terminal.getvalue() == ""


def test_nothing_is_drawn_where_there_is_no_terminal(stopwatch: Stopwatch) -> None:
    stream = io.StringIO()
    with ProgressBar(stream, stopwatch) as bar:
        bar.start("reading", 8 * MIB)
        stopwatch.now_s += 60
        bar.advance(MIB)
    assert stream.getvalue() == ""


def test_a_phase_of_unknown_size_is_drawn(terminal: FakeTerminal, stopwatch: Stopwatch) -> None:
    with ProgressBar(terminal, stopwatch) as bar:
        bar.start("looking", 0)
        stopwatch.now_s += SHOW_AFTER_S
        bar.advance(0)
    assert "looking" in terminal.getvalue()


def test_a_note_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar() as bar:
        bar.note("waiting for another ebsim that is deleting")
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors == "ebsim: waiting for another ebsim that is deleting\n"


def test_a_note_goes_above_a_bar(terminal: FakeTerminal, stopwatch: Stopwatch) -> None:
    with ProgressBar(terminal, stopwatch) as bar:
        bar.start("reading", 8 * MIB)
        stopwatch.now_s += SHOW_AFTER_S
        bar.advance(MIB)
        bar.note("still [here]")
    assert "ebsim: still [here]" in terminal.getvalue()


def test_leaving_by_an_exception_wipes_the_bar(
    terminal: FakeTerminal, stopwatch: Stopwatch
) -> None:
    def fail_while_drawing() -> None:
        with ProgressBar(terminal, stopwatch) as bar:
            bar.start("reading", 8 * MIB)
            stopwatch.now_s += SHOW_AFTER_S
            bar.advance(MIB)
            raise KeyError

    before = set(threading.enumerate())
    with pytest.raises(KeyError):
        fail_while_drawing()
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=10)
    assert set(threading.enumerate()) <= before


def test_every_thread_is_counted(terminal: FakeTerminal, stopwatch: Stopwatch) -> None:
    def count() -> None:
        for _ in range(100):
            bar.advance(1)

    with ProgressBar(terminal, stopwatch) as bar:
        bar.start("reading", 400)
        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stopwatch.now_s += SHOW_AFTER_S
        bar.advance(0)
        bar.finish()
    assert "100%" in terminal.getvalue()


def test_a_closed_standard_error_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with ProgressBar() as bar:
        bar.start("reading", 1)
        bar.advance(1)
        bar.note("unheard")
