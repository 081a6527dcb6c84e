"""Signals become exceptions, and exit codes."""

import json
import signal
from pathlib import Path
from typing import NoReturn

import pytest

from ebsim.caller import Caller
from ebsim.cli.environment import Environment
from ebsim.cli.main import run
from ebsim.cli.signals import STOPPING_SIGNALS, StoppedBySignal, signals_as_exceptions
from ebsim.testing.shell import NoStores


class SignalledStores(NoStores):
    """Opening a store takes long enough for a signal to come."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number
        self.cleaned_up = False

    def open(
        self,
        _path: Path,
        caller: Caller,
        *,
        create: bool = False,
        resume: bool = False,
        prove: bool = False,
        progress: object = None,
    ) -> NoReturn:
        assert not create
        try:
            signal.raise_signal(self.number)
        finally:
            self.cleaned_up = True
        raise AssertionError("the signal came")


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGHUP, 129, "hung up"),
    ],
)
def test_a_signal_cleans_up_and_ends_with_its_code(
    number: signal.Signals, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stores = SignalledStores(number)
    assert run(["stats"], Environment(store=Path("/x")), stores) == code
    assert stores.cleaned_up
    output, errors = capsys.readouterr()
    assert (output, errors) == ("", f"ebsim: {message}\n")
    assert run(["stats", "--json"], Environment(store=Path("/x")), stores) == code
    document = json.loads(capsys.readouterr().out)
    assert document == {"Error": {"Code": "Interrupted", "Message": message}}


def test_a_second_signal_does_not_cut_the_cleaning_up_short(
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps = []

    def work() -> None:
        with signals_as_exceptions():
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                steps.append("begun")
                signal.raise_signal(signal.SIGTERM)
                steps.append("done")

    with pytest.raises(StoppedBySignal):
        work()
    assert steps == ["begun", "done"]
    assert capsys.readouterr().err == "ebsim: cleaning up; a third signal gives up\n"


def test_a_third_signal_gives_up() -> None:
    def work() -> None:
        with signals_as_exceptions():
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(StoppedBySignal) as caught:
        work()
    assert caught.value.number == signal.SIGTERM


def test_no_clause_for_ordinary_exceptions_catches_a_signal() -> None:
    assert not issubclass(StoppedBySignal, Exception)


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in STOPPING_SIGNALS]
    with signals_as_exceptions():
        assert [signal.getsignal(number) for number in STOPPING_SIGNALS] != before
    assert [signal.getsignal(number) for number in STOPPING_SIGNALS] == before


def test_a_signal_that_the_parent_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_as_exceptions():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
