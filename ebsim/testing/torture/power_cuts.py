"""Campaign: random histories on a simulated disk whose machine loses its power at random steps."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebsim.testing.machine_play import Play, quiet_log, suffer
from ebsim.testing.seams import fast_folder
from ebsim.testing.torture.campaign import Campaign, RunCase, Violation, case_random
from ebsim.testing.volume_stories import StoryMaker

STEPS_A_LINE = 9
"""What a line of a story takes on average, so that most processes die before its end."""

NAME = "power-cuts"


class PowerCuts(Campaign):
    """See the module."""

    name = NAME
    promise = (
        "what was acknowledged is there after a power cut, and every snapshot is whole or none"
    )
    excludes = "the catalog's own commits, which are durable here; real disks and file systems"
    cases = 8000
    sample = 30

    @contextmanager
    def prepare(self, seed: int, folder: Path) -> Iterator[RunCase]:
        """Return what runs a case; the folder is for kernel locks only."""
        del folder
        place = fast_folder()
        try:
            with quiet_log():
                yield lambda number: self._case(seed, number, place)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _case(self, seed: int, number: int, place: Path) -> int:
        chance = case_random(NAME, seed, number)
        story = StoryMaker(chance).make(chance.randrange(6, 26))
        lock_folder = place / f"{threading.get_ident()}"
        lock_folder.mkdir(exist_ok=True)
        play = Play(lock_folder, story, encrypted=chance.random() < 0.3)
        try:
            cut = suffer(play, chance, STEPS_A_LINE * len(story))
            play.assert_survived(cut=cut)
        except Exception as error:
            line = story[play.done] if play.done < len(story) else "the end"
            raise Violation(
                f"case {number} of seed {seed}: died in line {play.done} ({line}): {error!r}"
            ) from error
        return 1
