"""Stories with encryption, sharing, copies, the archive and the Recycle Bin can fail: each check
of them sees the fault that it is there for."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from ebsim.core import rebuild_journal, rebuild_volumes
from ebsim.testing.forked_play import ForkedPlay
from ebsim.testing.kept_stories import BINNED, SEALED
from ebsim.testing.machine_play import Play, quiet_log
from ebsim.testing.torture.campaign import Violation
from ebsim.testing.torture.rebuilds import Rebuilds
from ebsim.testing.volume_story import Actor, Line

pytestmark = pytest.mark.crash

Sabotage = Callable[[], AbstractContextManager[object]]


def play(folder: Path, story: list[Line]) -> None:
    """Act a story out and compare the store with it."""
    with quiet_log():
        played = Play(folder, story)
        assert not played.run(None)
        played.assert_survived(cut=False)


def replaced(owner: object, name: str, by: Callable[..., object]) -> Sabotage:
    return lambda: mock.patch.object(owner, name, by)


def nothing(*_given: Any, **_named: Any) -> None:
    """Do nothing."""


STORIES: dict[str, list[Line]] = {"sealed": SEALED, "binned": BINNED}

LOST: dict[str, tuple[list[Line], Sabotage]] = {
    "a share": ([*SEALED[:10]], replaced(Actor, "_share", nothing)),
    "an unshare": ([*SEALED[:10], ("unshare", "k1")], replaced(Actor, "_unshare", nothing)),
    "a removal": ([*SEALED[:10], ("remove", "k1")], replaced(Actor, "_remove", nothing)),
    "a disabled key": ([*SEALED[:10], ("disable", "A")], replaced(Actor, "_disable", nothing)),
    "an archival": (BINNED[:6], replaced(Actor, "_archive", nothing)),
    "a restore": ([*BINNED[:6], ("thaw", "k1", 0)], replaced(Actor, "_thaw", nothing)),
    "the bin": (BINNED[:9], replaced(Actor, "_bin", Actor._remove)),
}

keep = Actor._keep


def keep_plainly(actor: Actor, name: str, disk: str, _key: str, *numbers: int) -> None:
    """Encrypt nothing."""
    keep(actor, name, disk, "", *numbers)


@pytest.mark.parametrize("story", STORIES)
def test_story_is_survived(fast_path: Path, story: str) -> None:
    play(fast_path, STORIES[story])


@pytest.mark.parametrize("what", LOST)
def test_what_is_lost_is_seen(fast_path: Path, what: str) -> None:
    story, sabotage = LOST[what]
    with sabotage(), pytest.raises(AssertionError):
        play(fast_path, story)


def test_plain_content_on_the_disk_is_seen(fast_path: Path) -> None:
    with (
        mock.patch.object(Actor, "_keep", keep_plainly),
        pytest.raises(AssertionError, match="are on the disk"),
    ):
        play(fast_path, BINNED[:5])


def kept_cases(folder: Path) -> None:
    with Rebuilds().prepare(1, folder) as run_case:
        for number in range(3, 80, 4):
            run_case(number)


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["tier", "change-snapshot", "bin-rule"])
def test_entry_of_the_journal_that_is_left_out_is_seen(
    fast_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    monkeypatch.setitem(rebuild_journal._OPERATIONS, operation, nothing)

    with pytest.raises(Violation):
        kept_cases(fast_path)


def test_unloaded_block_that_a_rebuild_forgets_is_seen(
    fast_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story: list[Line] = [
        ("key", "A"),
        ("keep", "k1", "a", "", 4, 8),
        ("build", "v", "k1", "A"),
        ("rebuild",),
    ]
    monkeypatch.setattr(rebuild_volumes, "_inherits_nothing", lambda _volume: False)
    played = ForkedPlay(fast_path, story)
    played.run(None)

    with pytest.raises(AssertionError, match="was missed"):
        played.assert_survived()
