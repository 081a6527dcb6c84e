"""What the benchmark ran on: a table of numbers means nothing without it."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from ebsim.units import GIB, KIB


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine and how busy it was.

    Attributes:
        processor: Its model.
        cores: Cores this process may use.
        memory_gib: Its memory.
        kernel: Name and release.
        file_system: The kind of the work folder's.
        load: The load average of the last minute when this was asked.
    """

    processor: str
    cores: int
    memory_gib: float
    kernel: str
    file_system: str
    load: float

    def __str__(self) -> str:
        """Return one sentence."""
        kind = self.file_system + (" (in memory)" if self.file_system == "tmpfs" else "")
        return (
            f"{self.processor}, {self.cores} cores, {self.memory_gib:.0f} GiB of memory,"
            f" {self.kernel}; work folder on {kind}; load {self.load:.1f} at the beginning"
        )


def look_at_machine(work: Path) -> Machine:
    """Return what this machine is."""
    return Machine(
        processor=_field(Path("/proc/cpuinfo"), "model name") or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=int(_field(Path("/proc/meminfo"), "MemTotal").split()[0]) * KIB / GIB,
        kernel=f"{platform.system()} {platform.release().partition('-')[0]}",
        file_system=_file_system(work),
        load=os.getloadavg()[0],
    )


def _field(file: Path, name: str) -> str:
    """Return what follows `name:` in a file of /proc, empty if it is not there."""
    for line in file.read_text(encoding="utf-8").splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() == name:
            return value.strip()
    return ""


def _file_system(folder: Path) -> str:
    """Return the kind of the file system a folder is on: that of the nearest mount above."""
    real, nearest, kind = folder.resolve(), Path("/"), "unknown"
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        _, place, found = line.split()[:3]
        mount = Path(place)
        if real.is_relative_to(mount) and len(mount.parts) >= len(nearest.parts):
            nearest, kind = mount, found
    return kind
