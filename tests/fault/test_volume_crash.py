"""Managed volumes whose process dies, or whose machine loses its power, at every step.

In memory: `ebsim.testing.machine` says what a step is, and what a power cut forgets. The same with
real processes and files is in test_volume_kill.py.

Only the long tests take every step. By default it is each seventh to each ninth of each story, and
with encrypted volumes each fourteenth to each eighteenth; the strides differ, so that the tests do
not all take the same ones.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from ebsim.testing.machine_play import Play
from ebsim.testing.volume_stories import STORIES
from ebsim.testing.volume_story import Line

pytestmark = [
    pytest.mark.crash,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]

LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"

ENCRYPTED = pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
STRIDE_ENCRYPTED = 2
"""So much rarer are the steps at which a process with encrypted volumes dies."""


def die_at_each_step(
    folder: Path,
    story: list[Line],
    stride: int,
    then: Callable[[Play], bool],
    *,
    encrypted: bool,
) -> int:
    """Have a process die at each step of a story, or each n-th; `then` does the rest.

    Returns:
        How many steps it has.
    """
    step = 1
    stride *= STRIDE_ENCRYPTED if encrypted else 1
    while True:
        play = Play(folder, story, encrypted=encrypted)
        died = play.run(step)
        try:
            play.assert_survived(cut=then(play))
        except BaseException as error:
            error.add_note(f"killed at step {step}, in line {play.done}")
            raise
        if not died:
            return step
        step += 1 if LONG else stride


@ENCRYPTED
@pytest.mark.parametrize("name", STORIES)
def test_killed_at_each_step(fast_path: Path, name: str, *, encrypted: bool) -> None:
    """F1, F2: what returned is there, snapshots are whole, and no change is missed."""
    die_at_each_step(fast_path, STORIES[name], 7, lambda _play: False, encrypted=encrypted)


@ENCRYPTED
@pytest.mark.parametrize("name", STORIES)
def test_killed_again_while_recovering(fast_path: Path, name: str, *, encrypted: bool) -> None:
    """F6: so is the next one, at some step of opening the store and copying what was left."""
    chance = random.Random(name)

    def again(play: Play) -> bool:
        play.recover(chance.randrange(1, 60))
        return False

    die_at_each_step(fast_path, STORIES[name], 9, again, encrypted=encrypted)


@ENCRYPTED
@pytest.mark.parametrize("name", STORIES)
def test_power_cut_at_each_step(fast_path: Path, name: str, *, encrypted: bool) -> None:
    """F7: what was flushed is there, snapshots are whole or in error, and no change is missed."""
    chance = random.Random(name)

    def cut(play: Play) -> bool:
        play.machine.cut_power(chance)
        return True

    die_at_each_step(fast_path, STORIES[name], 8, cut, encrypted=encrypted)


@ENCRYPTED
@pytest.mark.parametrize("name", ["pending", "loading", "sets"])
def test_power_cut_after_a_kill(fast_path: Path, name: str, *, encrypted: bool) -> None:
    """Snapshots that the next process has taken over, or not yet, do not outlive the machine."""
    chance = random.Random(name)

    def kill_and_cut(play: Play) -> bool:
        play.recover(chance.randrange(1, 60))
        play.machine.cut_power(chance)
        return True

    die_at_each_step(fast_path, STORIES[name], 9, kill_and_cut, encrypted=encrypted)
