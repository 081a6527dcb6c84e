"""A command that waits for a volume says so, at a terminal."""

import sys
from pathlib import Path

import pytest

from ebsim.caller import Caller
from ebsim.cli.stores import EngineStores

WAITING = "waiting for volume vol-1: another process has it open"


@pytest.mark.parametrize("terminal", [False, True])
def test_waiting_is_told_at_a_terminal_only(
    store_path: Path,
    terminal: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with EngineStores().open(store_path, Caller(), create=True) as store:
        patience = store.patience
    patience.told(WAITING)
    assert capsys.readouterr().err == (f"ebsim: {WAITING}\n" if terminal else "")
    assert patience.told_after_s == 2
    assert patience.seconds == 600
