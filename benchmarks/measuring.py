"""Measuring commands: wall time, processor time, and peak memory.

A command is started as a user would start it, and waited for with `wait4`. What the kernel then
tells covers the process and all its descendants: the sum of their processor times, and the largest
resident set any one of them had. The kernel counts a process's memory from before it was executed
on, so that no command seems to need less than this process does: about 20 MiB.
"""

import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ebsim.units import KIB

TIMEOUT_S = 900
"""No command may take longer; a hung one would hold up the rest for ever."""


class BenchmarkError(Exception):
    """A benchmark cannot go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a command took.

    Attributes:
        seconds: Wall time.
        cpu_seconds: Processor time, of all its processes, user and system.
        peak_bytes: The largest resident set of any one of its processes.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int

    def followed_by(self, other: "Measurement") -> "Measurement":
        """Return what this command and then another took."""
        return Measurement(
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            max(self.peak_bytes, other.peak_bytes),
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """What several runs of one command took.

    Attributes:
        runs: How many there were, 1 or more.
        seconds: The median wall time.
        fastest: The least wall time.
        slowest: The greatest wall time.
        cpu_seconds: The median processor time.
        peak_bytes: The largest peak memory.
    """

    runs: int
    seconds: float
    fastest: float
    slowest: float
    cpu_seconds: float
    peak_bytes: int

    @classmethod
    def of(cls, measurements: Sequence[Measurement]) -> "Summary":
        """Return the summary of one or more measurements."""
        times = [measurement.seconds for measurement in measurements]
        return cls(
            runs=len(times),
            seconds=statistics.median(times),
            fastest=min(times),
            slowest=max(times),
            cpu_seconds=statistics.median(found.cpu_seconds for found in measurements),
            peak_bytes=max(found.peak_bytes for found in measurements),
        )


@dataclass(frozen=True, slots=True)
class Shell:
    """Where commands run.

    Attributes:
        folder: Their working folder.
        variables: Their whole environment.
    """

    folder: Path
    variables: Mapping[str, str]

    def run(self, *command: str | Path, folder: Path | None = None) -> tuple[Measurement, str]:
        """Run a command and return what it took and what it printed on standard output.

        Args:
            command: The program and its arguments.
            folder: Where to run it, if elsewhere.

        Raises:
            BenchmarkError: It failed.
        """
        with tempfile.TemporaryFile() as output:
            try:
                measured = self._run(command, folder or self.folder, output.fileno())
            except BenchmarkError as error:
                raise BenchmarkError(f"{error}{_text(output)}") from None
            return measured, _text(output)

    def time(self, *command: str | Path, folder: Path | None = None) -> Measurement:
        """Run a command whose standard output goes to /dev/null, and return what it took.

        Raises:
            BenchmarkError: It failed.
        """
        return self._run(command, folder or self.folder, subprocess.DEVNULL)

    def _run(self, command: Sequence[str | Path], folder: Path, output: int) -> Measurement:
        words = [str(word) for word in command]
        with tempfile.TemporaryFile() as complaints:
            begin = time.perf_counter()
            process = subprocess.Popen(
                words,
                cwd=folder,
                env=dict(self.variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=complaints,
            )
            watchdog = threading.Timer(TIMEOUT_S, process.kill)
            watchdog.start()
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - begin
            watchdog.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode != 0:
                code, said = process.returncode, _text(complaints).strip()
                raise BenchmarkError(f"{' '.join(words)} ended with {code}: {said}")
        return Measurement(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * KIB)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")
