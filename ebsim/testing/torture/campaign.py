"""What a campaign is: numbered cases, each of which is repeatable by its seed and number."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

RunCase = Callable[[int], int]
"""Runs the case of a number, and returns how many trials (kills, flips, states) it consisted of.

It raises `Violation` when a promise is broken. Whatever else it raises is a fault of the campaign.
"""


class Violation(AssertionError):  # noqa: N818 - it is what was found, not what went wrong
    """A promise of the store was broken. The message says which, and how to see it again."""


class Campaign(ABC):
    """One way to hurt a store.

    Attributes:
        name: What the command line calls it, for example `kills`.
        promise: What must hold in every case, in one line.
        excludes: What it does not show, in one line.
        cases: How many cases the full run has, numbered from 0.
        sample: How many of them, evenly spread, `make test` runs; a few seconds' worth.
    """

    name: str
    promise: str
    excludes: str
    cases: int
    sample: int

    def missing(self) -> str:
        """Return why it cannot be run on this machine, or nothing: most run everywhere."""
        return ""

    @abstractmethod
    def prepare(self, seed: int, folder: Path) -> AbstractContextManager[RunCase]:
        """Make what all cases share in an empty folder, and return what runs a case.

        Cases are run in any order and in several processes, each of which prepares for itself.
        A case leaves nothing behind, and depends on nothing but the seed and its number.
        """


def case_random(name: str, seed: int, number: int) -> random.Random:
    """Return the source of randomness of one case."""
    return random.Random(f"{name}/{seed}/{number}")  # noqa: S311 - it must be repeatable
