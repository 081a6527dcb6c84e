"""Benchmark 1: ebsim beside restic, borg and qemu-img, on one image, in one run.

Every step is done by every tool before the next step, and in each round the tools take turns in
going first, so that a machine that becomes slower meanwhile is unfair to nobody. The image changes
as the steps go on:

    first snapshot      each run with an empty store
    unchanged rescan    the image is touched before, so that a tool must read it, not its dates
    restore             of the first snapshot; compared with the image byte for byte
    1 % changed         other blocks in each run
    restore in place    the image is rolled back and forth between the two newest snapshots
    delete, same        of a snapshot that equals its neighbours: nothing is freed
    40 % changed        other blocks in each run; only the newest snapshot before it is kept
    delete, much        of that one: 40 % of its blocks are freed
"""

import filecmp
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from benchmarks.ebsim_tool import Ebsim
from benchmarks.image import change_image
from benchmarks.measuring import BenchmarkError, Measurement, Shell, Summary
from benchmarks.peers import Borg, QemuImg, Restic
from benchmarks.tools import Reference, Step, Tool, folder_bytes, references

LITTLE, MUCH = 0.01, 0.4

REPEAT_SECONDS = 15.0
"""A peer that has spent so much on a step is not asked to do it again."""

PEERS: Mapping[str, Callable[[Shell, Path], Tool]] = {
    "restic": Restic,
    "borg": partial(Borg, fixed_chunks=False),
    "borg-fixed": partial(Borg, fixed_chunks=True),
    "borg-fixed-zstd": partial(Borg, fixed_chunks=True, compression="zstd,1"),
    "qemu-img": QemuImg,
}
LIST_RUNS = 9
READ_SECONDS = 3.0

T = TypeVar("T", bound=Tool | Reference)


@dataclass(slots=True)
class Results:
    """What was measured.

    Attributes:
        times: Every run, by step and tool.
        stored_bytes: What each tool's store occupied after the first snapshot.
        catalog_bytes_per_block: How much ebsim's catalog grew then, for each stored block.
        parts: Seconds a block for the parts of each step (`benchmarks.limits`).
        reads: Random block reads a second.
        versions: Of the tools that took part.
        absent: Tools that are not installed.
    """

    times: dict[tuple[Step, str], list[Measurement]] = field(default_factory=dict)
    stored_bytes: dict[str, int] = field(default_factory=dict)
    catalog_bytes_per_block: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    reads: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)

    def summary(self, step: Step, tool: str) -> Summary | None:
        """Return what a tool took for a step, None if it did not do it."""
        found = self.times.get((step, tool))
        return Summary.of(found) if found else None

    def peak_bytes(self, tool: str) -> int:
        """Return the most memory a tool needed in any step."""
        return max(
            found.peak_bytes
            for (_, name), measurements in self.times.items()
            for found in measurements
            if name == tool
        )


class Comparison:
    """One run of the benchmark.

    Args:
        shell: Runs the commands, in the work folder.
        image: The image; it is changed.
        runs: How often each step is done, by tools that are not too slow.
        peer_names: The keys of `PEERS` to take.
    """

    def __init__(self, shell: Shell, image: Path, runs: int, peer_names: Sequence[str]) -> None:
        work = shell.folder
        self._image = image
        self._runs = runs
        self._scratch = work / "scratch"
        self._seed = 0
        self._ebsim = Ebsim(shell, work / "ebsim")
        peers = [PEERS[name](shell, work / name) for name in peer_names]
        self.results = Results()
        self._tools = list(self._installed([self._ebsim, *peers]))
        self._references = list(self._installed(references(shell, self._scratch)))

    def run(self) -> Results:
        """Do every step.

        Raises:
            BenchmarkError: A command failed, or restored something else than was saved.
        """
        self._ebsim.reset()
        empty = self._ebsim.catalog_size()[0]
        self.results.parts = self._measure_parts()
        self._each(Step.FIRST, self._first)
        for tool in self._tools:
            self.results.stored_bytes[tool.name] = folder_bytes(tool.folder)
        full, blocks = self._ebsim.catalog_size()
        self.results.catalog_bytes_per_block = (full - empty) / blocks
        self._each(Step.RESCAN, self._snapshot, before=self._image.touch)
        self._each(Step.RESTORE, self._restore)
        for tool in self._tools:
            if Step.CHANGED_LITTLE not in tool.steps:
                tool.reset()  # it has done its part, and the room is needed
        self._each(Step.CHANGED_LITTLE, self._snapshot, before=lambda: self._change(LITTLE))
        self._each(Step.IN_PLACE, self._restore_in_place)
        self._each(Step.DELETE_SAME, lambda tool: tool.delete(1))
        self._each(Step.LIST, lambda tool: tool.list_snapshots(), runs=LIST_RUNS)
        self._say("random block reads")
        self.results.reads = self._ebsim.read_blocks(self._image, READ_SECONDS)
        self._change_much()
        self._prove_newest()
        return self.results

    def _installed(self, candidates: Sequence[T]) -> Iterator[T]:
        """Yield the tools that can be run, and note those that cannot."""
        for tool in candidates:
            version = tool.version()
            if version is None:
                self.results.absent.append(tool.name)
                self._say(f"{tool.name} is not installed: left out")
            else:
                self.results.versions[tool.name] = version
                yield tool

    def _each(
        self,
        step: Step,
        action: Callable[[Tool], Measurement],
        *,
        before: Callable[[], object] | None = None,
        runs: int | None = None,
    ) -> None:
        """Let every tool do a step, some times over."""
        wanted = self._runs if runs is None else runs
        for number in range(wanted):
            if before is not None:
                before()
            for tool in self._turn(number):
                if self._has_turn(step, tool):
                    self._note(step, tool.name, action(tool))
            for reference in self._references:
                if self._has_turn(step, reference):
                    self._note(step, reference.name, reference.measure(self._image))

    def _turn(self, number: int) -> list[Tool]:
        """Return the tools, another one first in each round."""
        first = number % len(self._tools)
        return self._tools[first:] + self._tools[:first]

    def _has_turn(self, step: Step, tool: Tool | Reference) -> bool:
        """Say whether a tool does a step (once more). Our own always does."""
        done = self.results.times.get((step, tool.name), [])
        if step not in tool.steps or tool is self._ebsim:
            return step in tool.steps
        if isinstance(tool, Reference):
            return len(done) < self._runs
        if step is Step.DELETE_SAME:  # there are as many such snapshots as it made
            return len(done) < len(self.results.times[Step.RESCAN, tool.name])
        return sum(found.seconds for found in done) < REPEAT_SECONDS

    def _note(self, step: Step, tool: str, found: Measurement) -> None:
        self.results.times.setdefault((step, tool), []).append(found)
        self._say(f"{step}: {tool} {found.seconds:.2f} s")

    def _measure_parts(self) -> dict[str, float]:
        self._say("the parts of each step")
        self._scratch.mkdir()
        try:
            return self._ebsim.parts(self._image, self._scratch)
        finally:
            shutil.rmtree(self._scratch)

    def _first(self, tool: Tool) -> Measurement:
        tool.reset()
        return tool.snapshot(self._image)

    def _snapshot(self, tool: Tool) -> Measurement:
        return tool.snapshot(self._image)

    def _restore(self, tool: Tool) -> Measurement:
        self._scratch.mkdir()
        try:
            measured, restored = tool.restore(0, self._scratch)
            self._ensure_same(restored, tool.name)
        finally:
            shutil.rmtree(self._scratch)
        return measured

    def _restore_in_place(self, tool: Tool) -> Measurement:
        """Roll the image back to the last snapshot but one; and forth again, off the record."""
        assert isinstance(tool, Ebsim), "no peer restores in place"
        measured = tool.restore_in_place(tool.count() - 2, self._image)
        tool.restore_in_place(tool.count() - 1, self._image)
        return measured

    def _change(self, share: float) -> None:
        self._seed += 1
        change_image(self._image, share, self._seed)

    def _change_much(self) -> None:
        """Snapshot after 40 % changed, then delete the snapshot before; some times over."""
        self._say("deleting all snapshots but the newest")
        for tool in self._tools:
            while Step.DELETE_MUCH in tool.steps and tool.count() > 1:
                tool.delete(0)
        for number in range(self._runs):
            self._change(MUCH)
            turn = [tool for tool in self._turn(number) if self._has_turn(Step.CHANGED_MUCH, tool)]
            for tool in turn:
                self._note(Step.CHANGED_MUCH, tool.name, tool.snapshot(self._image))
            for tool in turn:
                self._note(Step.DELETE_MUCH, tool.name, tool.delete(0))

    def _prove_newest(self) -> None:
        """Prove that what ebsim kept through all of it is still the image."""
        self._scratch.mkdir()
        restored = self._ebsim.restore(0, self._scratch)[1]
        self._ensure_same(restored, "ebsim")
        shutil.rmtree(self._scratch)

    def _ensure_same(self, restored: Path, tool: str) -> None:
        if not filecmp.cmp(self._image, restored, shallow=False):
            raise BenchmarkError(f"{tool} restored another image than was saved")

    @staticmethod
    def _say(message: str) -> None:
        print(message, file=sys.stderr, flush=True)
