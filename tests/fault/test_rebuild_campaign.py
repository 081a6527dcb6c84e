"""The campaign of rebuilds sees what a rebuild does wrong."""

from pathlib import Path
from typing import Any

import pytest

from ebsim.core import rebuild_journal, rebuild_volumes
from ebsim.core.rebuild_journal import History
from ebsim.core.rebuild_scan import JournalEntry
from ebsim.storage.files import PosixFile
from ebsim.testing.torture.campaign import Violation
from ebsim.testing.torture.rebuilds import Rebuilds

CLOSED = range(0, 80, 4)


def run_cases(folder: Path, numbers: range = CLOSED) -> None:
    with Rebuilds().prepare(1, folder) as run_case:
        for number in numbers:
            assert run_case(number) == 1


@pytest.mark.parametrize("number", range(4))
def test_each_ending_is_survived(fast_path: Path, number: int) -> None:
    """Closed, with snapshots pending, killed, and a story of what is kept."""
    run_cases(fast_path, range(number, number + 1))


def do_nothing(_history: History, _entry: JournalEntry) -> None:
    """Leave an entry of the journal out."""


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["delete", "tags", "image", "modify-volume", "complete"])
def test_entry_that_is_left_out_is_seen(
    fast_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    monkeypatch.setitem(rebuild_journal._OPERATIONS, operation, do_nothing)

    with pytest.raises(Violation):
        run_cases(fast_path)


@pytest.mark.slow
def test_volume_that_is_not_compared_is_seen(
    fast_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written since the last snapshot would be missed by the next."""

    def suspect_nothing(*_: Any) -> None:
        """Compare nothing."""

    monkeypatch.setattr(rebuild_volumes, "_suspect", suspect_nothing)

    with pytest.raises(Violation):
        run_cases(fast_path)


@pytest.mark.slow
def test_block_that_is_loaded_twice_is_seen(
    fast_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would undo what was written to a volume since."""
    monkeypatch.setattr(PosixFile, "is_hole", lambda *_: True)

    with pytest.raises(Violation):
        run_cases(fast_path)
