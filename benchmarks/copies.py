"""Benchmark 4: copies to another store, beside restic's, and beside copying the files themselves.

Each tool has two stores. The image is saved to the first, which is not measured; then what is there
is copied to the second. Each step is done by every tool before the next step, and the tools take
turns in going first.

    first copy     one snapshot, to an empty store; each run to a new one
    nothing new    once more
    1 % changed    a further snapshot of the image, other blocks in each run
    40 % changed   likewise

restic proves what it reads, as ebsim does, and both stores have keys of their own, as ebsim's have.
borg has no command for it: its manual has its users copy the files of the repository. That is what
`cp -au` does here with the files of ebsim's store: it proves nothing, and must not run while
something is written; it is there for scale.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from benchmarks.ebsim_tool import Ebsim
from benchmarks.image import change_image
from benchmarks.measuring import Measurement, Shell, Summary
from benchmarks.peers import RESTIC, Restic
from benchmarks.tools import empty_folder, folder_bytes, tool_version

LITTLE, MUCH = 0.01, 0.4
EBSIM, FILES = "ebsim", "cp -au"


class CopyStep(StrEnum):
    """What is measured, as the table calls it."""

    FIRST = "first copy"
    SAME = "nothing new"
    LITTLE = "1 % changed"
    MUCH = "40 % changed"


class Copier(Protocol):
    """Something that saves an image to one store, and copies from that to another."""

    @property
    def name(self) -> str:
        """Its name in the table."""
        ...

    @property
    def other(self) -> Path:
        """Where it copies to."""
        ...

    def version(self) -> str | None:
        """Return its version; None where it is not installed."""
        ...

    def save(self, image: Path) -> None:
        """Save the image to the first store."""
        ...

    def reset_other(self) -> None:
        """Begin with an empty second store."""
        ...

    def copy(self) -> Measurement:
        """Copy what the second store does not have."""
        ...


class EbsimCopier:
    """ebsim snapshot copy --all --to-store."""

    name = EBSIM

    def __init__(self, shell: Shell, folder: Path) -> None:
        self.store, self.other = folder / "here", folder / "there"
        self._shell = shell
        self._tool = Ebsim(shell, self.store)
        self._tool.reset()

    def version(self) -> str | None:
        """Return its version."""
        return self._tool.version()

    def save(self, image: Path) -> None:
        """Take a snapshot."""
        self._tool.snapshot(image)

    def reset_other(self) -> None:
        """Make an empty second store."""
        Ebsim(self._shell, self.other).reset()

    def copy(self) -> Measurement:
        """Copy all snapshots that are not there."""
        ebsim = (sys.executable, "-m", "ebsim", "--store", self.store, "--json")
        return self._shell.time(*ebsim, "snapshot", "copy", "--all", "--to-store", self.other)

    def check(self) -> None:
        """Prove every byte of the second store.

        Raises:
            BenchmarkError: Something is wrong with it.
        """
        self._shell.time(sys.executable, "-m", "ebsim", "--store", self.other, "check", "--data")


class ResticCopier:
    """restic copy."""

    name = RESTIC

    def __init__(self, shell: Shell, folder: Path) -> None:
        self.other = folder / "there" / "repository"
        self._shell = shell
        self._first = Restic(shell, folder / "here")
        self._second = Restic(shell, folder / "there")
        variables = {
            "RESTIC_REPOSITORY": str(self.other),
            "RESTIC_PASSWORD": "benchmark",
            "RESTIC_CACHE_DIR": str(folder / "cache"),
            "RESTIC_FROM_REPOSITORY": str(folder / "here" / "repository"),
            "RESTIC_FROM_PASSWORD_COMMAND": "echo benchmark",
        }
        self._copying = replace(shell, variables={**shell.variables, **variables})
        if self.version() is not None:
            self._first.reset()

    def version(self) -> str | None:
        """Return its version; None where it is not installed."""
        return tool_version(self._shell, "restic", "version")

    def save(self, image: Path) -> None:
        """Back the image up."""
        self._first.snapshot(image)

    def reset_other(self) -> None:
        """Make an empty second repository."""
        self._second.reset()

    def copy(self) -> Measurement:
        """Copy all snapshots that are not there."""
        return self._copying.time("restic", "copy")


class FileCopier:
    """Copying the files of ebsim's first store, those that are newer than what is there."""

    name = FILES

    def __init__(self, shell: Shell, folder: Path, store: Path) -> None:
        self.other = folder / "there"
        self._shell = shell
        self._store = store

    def version(self) -> str | None:
        """Return its version; None where it is not installed."""
        return tool_version(self._shell, "cp", "--version")

    def save(self, image: Path) -> None:
        """Do nothing: ebsim did."""

    def reset_other(self) -> None:
        """Begin with an empty folder."""
        empty_folder(self.other)

    def copy(self) -> Measurement:
        """Copy what is newer."""
        return self._shell.time("cp", "-au", "--sparse=always", f"{self._store}/.", self.other)


@dataclass(slots=True)
class CopyResults:
    """What was measured.

    Attributes:
        times: Every run, by step and tool.
        stored_bytes: What each second store occupied after the first copy.
        versions: Of the tools that took part.
        absent: Tools that are not installed.
    """

    times: dict[tuple[CopyStep, str], list[Measurement]] = field(default_factory=dict)
    stored_bytes: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)

    def summary(self, step: CopyStep, tool: str) -> Summary | None:
        """Return what a tool took for a step, None if it did not do it."""
        found = self.times.get((step, tool))
        return Summary.of(found) if found else None


class CopyComparison:
    """One run of the benchmark.

    Args:
        shell: Runs the commands, in the work folder.
        image: The image; it is changed.
        runs: How often each step is done.
    """

    def __init__(self, shell: Shell, image: Path, runs: int) -> None:
        work = shell.folder
        self._image = image
        self._runs = runs
        self._seed = 0
        self._round = 0
        self._ebsim = EbsimCopier(shell, work / "ebsim")
        tools: Sequence[Copier] = (
            self._ebsim,
            ResticCopier(shell, work / "restic"),
            FileCopier(shell, work / "files", self._ebsim.store),
        )
        self.results = CopyResults()
        self._tools = list(self._installed(tools))

    def run(self) -> CopyResults:
        """Do every step.

        Raises:
            BenchmarkError: A command failed, or what was copied is not sound.
        """
        self._save()
        for _ in range(self._runs):
            for tool in self._tools:
                tool.reset_other()
            self._measure(CopyStep.FIRST)
        for tool in self._tools:
            self.results.stored_bytes[tool.name] = folder_bytes(tool.other)
        for _ in range(self._runs):
            self._measure(CopyStep.SAME)
        for step, share in ((CopyStep.LITTLE, LITTLE), (CopyStep.MUCH, MUCH)):
            for _ in range(self._runs):
                self._seed += 1
                change_image(self._image, share, self._seed)
                self._save()
                self._measure(step)
        self._ebsim.check()
        return self.results

    def _installed(self, tools: Sequence[Copier]) -> Iterator[Copier]:
        for tool in tools:
            version = tool.version()
            if version is None:
                self.results.absent.append(tool.name)
            else:
                self.results.versions[tool.name] = version
                yield tool

    def _save(self) -> None:
        for tool in self._tools:
            tool.save(self._image)

    def _measure(self, step: CopyStep) -> None:
        """Have each tool copy, each time another one first."""
        turn = self._round % len(self._tools)
        self._round += 1
        for tool in [*self._tools[turn:], *self._tools[:turn]]:
            print(f"{step}: {tool.name}", file=sys.stderr)
            self.results.times.setdefault((step, tool.name), []).append(tool.copy())
