"""Campaign: a process dies at every failpoint, at every hit of it, in stories of all operations.

A *moment* is a hit of a failpoint in a story. At each one a process kills itself with SIGKILL, on
real files; once more, and then the next one at a random step of its recovery; and once more on a
simulated machine, which loses its power then. What a process does when it finds what another left
has failpoints too, and moments of its own.

A new operation needs a line in `ebsim.testing.volume_stories`, and is covered with it.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ebsim.testing.forked_play import ForkedPlay, import_everything
from ebsim.testing.machine_play import Play, quiet_log
from ebsim.testing.seams import fast_folder
from ebsim.testing.torture.campaign import Campaign, RunCase, Violation, case_random
from ebsim.testing.volume_stories import ALL_STORIES, REAL_ONLY

NAME = "failpoints"
RECOVERY_STEPS = 60


@dataclass(frozen=True, slots=True)
class Moment:
    """When a process dies.

    Attributes:
        how: `kill`, `kill again` (the next one dies too), `power cut`, or `recovery` (the next one
            dies at the failpoint, after one that died in the middle of the story).
        story: The name of the story.
        failpoint: The failpoint.
        hit: Which time it is reached, from 1.
    """

    how: str
    story: str
    failpoint: str
    hit: int

    def __str__(self) -> str:
        return f"{self.how} at hit {self.hit} of {self.failpoint} in the story {self.story}"


def find_moments(folder: Path) -> list[Moment]:
    """Return all moments, the same in every run but for what threads do side by side.

    Args:
        folder: An empty folder.
    """
    found = []
    for story in ALL_STORIES:
        place = folder / story
        for how, hits in _hits(place, story):
            ways = (how, "kill again") if how == "kill" else (how,)
            found += [
                Moment(way, story, name, hit)
                for name, count in sorted(hits.items())
                for hit in range(1, count + 1)
                for way in ways
            ]
        shutil.rmtree(place)
    return found


def _hits(place: Path, story: str) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield how often each failpoint is reached: in the story, in a recovery, on the machine."""
    lines = ALL_STORIES[story]
    whole, half, simulated = place / "whole", place / "half", place / "simulated"
    for each in (whole, half, simulated):
        each.mkdir(parents=True)
    play = ForkedPlay(whole, lines)
    play.run(None)
    yield "kill", play.hits
    dead = ForkedPlay(half, lines)
    dead.run(play.steps // 2)
    dead.recover(None)
    yield "recovery", dead.hits
    machine = Play(simulated, [] if story in REAL_ONLY else lines)
    machine.run(None)
    yield "power cut", machine.hits


class Failpoints(Campaign):
    """See the module."""

    name = NAME
    promise = "0 acknowledged effects lost and 0 wrong bytes after a death at any failpoint"
    excludes = "deaths between two failpoints; power cuts of real disks"
    cases = 9000
    sample = 12

    @contextmanager
    def prepare(self, seed: int, folder: Path) -> Iterator[RunCase]:
        """Find the moments. Where there are fewer than cases, other chances are tried."""
        del folder
        import_everything()
        place = fast_folder()
        try:
            moments = find_moments(place)
            with quiet_log():
                yield lambda number: run_moment(moments[number % len(moments)], seed, number)
        finally:
            shutil.rmtree(place, ignore_errors=True)


def run_moment(moment: Moment, seed: int, number: int) -> int:
    """Have a process die at a moment and look at what is left; return how many died.

    Raises:
        Violation: Something is lost or wrong.
    """
    place = fast_folder()
    try:
        if moment.how == "power cut":
            return _cut_power(moment, seed, number, place)
        return _kill(moment, seed, number, place)
    except Exception as error:
        raise Violation(f"case {number} of seed {seed}: {moment}: {error}") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _cut_power(moment: Moment, seed: int, number: int, place: Path) -> int:
    play = Play(place, ALL_STORIES[moment.story])
    died = play.run((moment.failpoint, moment.hit))
    play.cut_power(case_random(NAME, seed, number))
    play.assert_survived(cut=True)
    return int(died)


def _kill(moment: Moment, seed: int, number: int, place: Path) -> int:
    chance = case_random(NAME, seed, number)
    play = ForkedPlay(place, ALL_STORIES[moment.story])
    if moment.how == "recovery":
        deaths = int(play.run(chance.randrange(20, 200)))
        deaths += play.recover((moment.failpoint, moment.hit))
    else:
        deaths = int(play.run((moment.failpoint, moment.hit)))
        if moment.how == "kill again":
            deaths += play.recover(chance.randrange(1, RECOVERY_STEPS))
    play.assert_survived()
    return deaths
