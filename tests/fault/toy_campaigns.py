"""Campaigns that hurt nothing, for the tests of the driver that runs campaigns."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ebsim.testing.torture.campaign import Campaign, RunCase, Violation, case_random

BAD_CASE = 7


@dataclass(frozen=True)
class Toy(Campaign):
    """Counts; at case 7 it does what its name says."""

    name: str
    cases: int = 40
    sample: int = 4
    reason: str = ""
    promise: str = "numbers stay numbers"
    excludes: str = "everything else"

    def missing(self) -> str:
        return self.reason

    @contextmanager
    def prepare(self, seed: int, folder: Path) -> Iterator[RunCase]:
        log = os.environ.get("TOY_LOG")

        def run_case(number: int) -> int:
            assert 0 <= number < self.cases
            if log:
                with open(log, "a") as file:
                    file.write(f"{self.name} {number}\n")
            if number == BAD_CASE:
                self._misbehave(seed, number)
            return 1 + case_random(self.name, seed, number).randrange(3)

        (folder / "prepared").write_text(self.name)
        yield run_case
        assert (folder / "prepared").read_text() == self.name

    def _misbehave(self, seed: int, number: int) -> None:
        if self.name == "bad":
            raise Violation(f"case {number} of seed {seed} lost a number")
        if self.name == "broken":
            raise ValueError("the toy is broken")
        if self.name == "dying":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.name == "unprepared":
            raise AssertionError


@dataclass(frozen=True)
class Unprepared(Toy):
    """Cannot be prepared."""

    @contextmanager
    def prepare(self, seed: int, folder: Path) -> Iterator[RunCase]:
        if seed:
            raise OSError("no toy shop")
        yield int


ALL = (
    Toy("good"),
    Toy("large", cases=400),
    Toy("bad"),
    Toy("broken"),
    Toy("dying"),
    Toy("absent", reason="no toys here"),
    Unprepared("unprepared"),
)
