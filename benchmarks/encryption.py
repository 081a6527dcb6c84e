"""Benchmark 5: what encrypting costs: a first snapshot and a restore, with and without.

Two stores, one with its snapshots encrypted, take turns in going first with each step, on the same
image, each command in a process of its own. Every restored image is compared with what was saved.
"""

import filecmp
import json
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measuring import BenchmarkError, Measurement, Shell, Summary
from benchmarks.tools import Step, empty_folder

PLAIN, ENCRYPTED = "unencrypted", "encrypted"
STEPS = (Step.FIRST, Step.RESCAN, Step.RESTORE)


@dataclass(slots=True)
class EncryptionResults:
    """What was measured: every run, by step, and whether it was encrypted."""

    times: dict[tuple[Step, str], list[Measurement]] = field(default_factory=dict)

    def summary(self, step: Step, kind: str) -> Summary:
        """Return what a step took."""
        return Summary.of(self.times[step, kind])

    def cost(self, step: Step) -> tuple[float, float]:
        """Return by how much wall and processor time are longer if encrypted; 0.1 is 10 %.

        It is the median over the rounds, in each of which both were done one after the other.
        """
        pairs = list(zip(self.times[step, PLAIN], self.times[step, ENCRYPTED], strict=True))
        return (
            statistics.median(sealed.seconds / plain.seconds for plain, sealed in pairs) - 1,
            statistics.median(sealed.cpu_seconds / plain.cpu_seconds for plain, sealed in pairs)
            - 1,
        )


class EncryptionComparison:
    """One run of the benchmark.

    Args:
        shell: Runs the commands, in the work folder.
        image: The image.
        runs: How often each step is done.
    """

    def __init__(self, shell: Shell, image: Path, runs: int) -> None:
        self._shell = shell
        self._image = image
        self._runs = runs
        self.results = EncryptionResults()

    def run(self) -> EncryptionResults:
        """Do every step.

        Raises:
            BenchmarkError: A command failed, or what was restored is not what was saved.
        """
        for number in range(self._runs):
            kinds = (PLAIN, ENCRYPTED) if number % 2 else (ENCRYPTED, PLAIN)
            snapshots = {}
            for kind in kinds:
                empty_folder(self._store(kind))
                self._command(kind, "init")
                flags = ("--encrypted",) if kind == ENCRYPTED else ()
                shown = self._measure(Step.FIRST, kind, "snapshot", "create", self._image, *flags)
                snapshots[kind] = json.loads(shown)["SnapshotId"]
            for kind in kinds:
                self._measure(Step.RESCAN, kind, "snapshot", "create", self._image)
            for kind in kinds:
                self._restore(kind, snapshots[kind])
        return self.results

    def _restore(self, kind: str, snapshot_id: str) -> None:
        target = self._shell.folder / "restored"
        target.unlink(missing_ok=True)
        self._measure(Step.RESTORE, kind, "restore", snapshot_id, target)
        if not filecmp.cmp(self._image, target, shallow=False):
            raise BenchmarkError(f"{kind}: what was restored is not what was saved")
        target.unlink()

    def _measure(self, step: Step, kind: str, *words: str | Path) -> str:
        print(f"{step}: {kind}", file=sys.stderr)
        measured, output = self._command(kind, *words)
        self.results.times.setdefault((step, kind), []).append(measured)
        return output

    def _command(self, kind: str, *words: str | Path) -> tuple[Measurement, str]:
        ebsim = (sys.executable, "-m", "ebsim", "--store", self._store(kind), "--json")
        return self._shell.run(*ebsim, *words)

    def _store(self, kind: str) -> Path:
        return self._shell.folder / kind
