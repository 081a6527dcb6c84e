"""Campaign: processes that kill themselves with SIGKILL at a random step of a random history."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebsim.testing.forked_play import ForkedPlay, import_everything
from ebsim.testing.machine_play import quiet_log
from ebsim.testing.seams import fast_folder
from ebsim.testing.torture.campaign import Campaign, RunCase, Violation, case_random
from ebsim.testing.volume_stories import StoryMaker

NAME = "kills"
STEPS_A_LINE = 16
RECOVERY_STEPS = 60


class Kills(Campaign):
    """See the module."""

    name = NAME
    promise = "0 acknowledged effects lost and 0 wrong bytes after SIGKILL, also during recovery"
    excludes = "kills within a system call or a commit of LMDB (tests/fault/test_kill.py has some)"
    cases = 9000
    sample = 12

    @contextmanager
    def prepare(self, seed: int, folder: Path) -> Iterator[RunCase]:
        """Return what runs a case, each on a store of its own in memory."""
        del folder
        import_everything()
        with quiet_log():
            yield lambda number: self._case(seed, number)

    def _case(self, seed: int, number: int) -> int:
        chance = case_random(NAME, seed, number)
        story = StoryMaker(chance, real=True).make(chance.randrange(4, 20))
        place = fast_folder()
        play = ForkedPlay(place, story)
        kills = 0
        try:
            kills += play.run(chance.randrange(1, STEPS_A_LINE * len(story)))
            while chance.random() < 0.4:
                kills += play.recover(chance.randrange(1, RECOVERY_STEPS))
            play.assert_survived()
        except Exception as error:
            line = story[play.done] if play.done < len(story) else "the end"
            raise Violation(
                f"case {number} of seed {seed}: died in line {play.done} ({line}): {error}"
            ) from error
        finally:
            shutil.rmtree(place, ignore_errors=True)
        return kills
