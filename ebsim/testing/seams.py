"""Time, randomness and a place for stores that a test holds in its hand."""

import os
import random
import tempfile
from pathlib import Path

START_US = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z: a round moment, so that times in failing tests are easy to read."""

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
"""Where Linux keeps files in memory, so that syncs cost nothing."""


_HOUR_S = 3600
_DAY_S = 24 * _HOUR_S


class ManualClock:
    """A clock that moves only when told to.

    Args:
        now_us: The time it shows at first, in microseconds since the Unix epoch.
        step_us: How far it moves after each reading; 0: not at all. May be negative, because no
            decision about safety may depend on the clock.
    """

    def __init__(self, now_us: int = START_US, step_us: int = 0) -> None:
        self._now_us = now_us
        self._step_us = step_us

    def now_us(self) -> int:
        """Return microseconds since the Unix epoch, UTC."""
        now_us = self._now_us
        self._now_us += self._step_us
        return now_us

    def set_us(self, now_us: int) -> None:
        """Show this time from now on, be it earlier or later."""
        self._now_us = now_us

    def advance(self, seconds: float = 0, *, hours: float = 0, days: float = 0) -> None:
        """Move by so much in all; backwards where negative. A day has 24 hours."""
        self._now_us += round((seconds + hours * _HOUR_S + days * _DAY_S) * 1_000_000)


class SeededEntropy:
    """Random bytes that are the same in every run. Never for a store that matters.

    Args:
        seed: Two sources of one seed give the same bytes; so two open handles on one store need
            different seeds, or their ids collide.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - being predictable is its purpose

    def token_bytes(self, count: int) -> bytes:
        """Return `count` bytes."""
        return self._random.randbytes(count)


def fast_folder(parent: Path | None = None) -> Path:
    """Make an empty folder; the caller removes it.

    Args:
        parent: Where; None: in memory, or else where temporary files lie.
    """
    if parent is None and os.access(SHARED_MEMORY, os.W_OK):
        parent = SHARED_MEMORY
    return Path(tempfile.mkdtemp(prefix="ebsim-test-", dir=parent))
