"""Commands that a test runs in its own process, and the stores that they find."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebsim.caller import Caller
from ebsim.engine import Seams, Store
from ebsim.testing.seams import ManualClock, SeededEntropy

if TYPE_CHECKING:
    import pytest


class Shell:
    """Runs commands, and takes what they print.

    Args:
        run: Runs a command line, and returns its exit code.
        capture: pytest's `capsys`.

    Attributes:
        errors: What the last command printed on standard error.
    """

    def __init__(
        self, run: Callable[[list[str]], int], capture: "pytest.CaptureFixture[str]"
    ) -> None:
        self._run = run
        self._capture = capture
        self.errors = ""

    def __call__(self, *arguments: str | Path, code: int = 0) -> str:
        """Return what a command printed on standard output.

        Raises:
            AssertionError: It ended with another exit code.
        """
        found = self._run([str(each) for each in arguments])
        output, self.errors = self._capture.readouterr()
        assert found == code, output + self.errors
        return output

    def failing(self, *arguments: str | Path, code: int = 1) -> str:
        """Return what a command that fails printed on standard error, and nowhere else."""
        assert self(*arguments, code=code) == ""
        return self.errors

    def json(self, *arguments: str | Path, code: int = 0) -> Any:  # noqa: ANN401 - any document
        """Return the document of a command that is run with --json."""
        return json.loads(self(*arguments, "--json", code=code))


class NoStores:
    """What commands ask of stores beside opening them: no test here has them do it."""

    def create(self, path: Path) -> Store:
        """Tell that no command should have made a store."""
        raise AssertionError(f"no test here makes {path}")

    def lacks(self, _path: Path, /) -> bool:
        """Return that there is a store."""
        return False

    def rebuild(self, path: Path, **_: object) -> Any:  # noqa: ANN401 - it returns nothing
        """Tell that no command should have made a catalog again."""
        raise AssertionError(f"no test here rebuilds {path}")


class OneStore(NoStores):
    """A store that is open already, whoever opens it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def open(self, path: Path, caller: Caller, **_: object) -> Store:
        """Return the store, as the caller sees it; closing that closes nothing."""
        assert path == self._store.path
        return self._store.as_account(caller.account, caller.region)


class ClockedStores(NoStores):
    """Stores on disk whose clock a test holds; each that is opened has other random bytes."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._opened = 0

    def seams(self) -> Seams:
        """Return what a store is opened with."""
        self._opened += 1
        return Seams(clock=self._clock, entropy=SeededEntropy(self._opened))

    def create(self, path: Path) -> Store:
        """Make a store."""
        return Store.create(path, self.seams())

    def open(
        self, path: Path, caller: Caller, *, create: bool = False, resume: bool = False, **_: object
    ) -> Store:
        """Open a store."""
        return Store.open(path, replace(self.seams(), caller=caller), create=create, resume=resume)
