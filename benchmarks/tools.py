"""What is compared: ebsim, its peers, and plain commands as references.

Each tool keeps its store in a folder of its own and remembers its snapshots, oldest first. A tool
that is not installed, or cannot do a step, is left out of it.
"""

import shutil
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from benchmarks.measuring import Measurement, Shell


class Step(StrEnum):
    """What is measured, as the table calls it."""

    FIRST = "first snapshot"
    RESCAN = "unchanged rescan"
    RESTORE = "restore to a new file"
    CHANGED_LITTLE = "1 % changed"
    IN_PLACE = "restore in place, 1 % differs"
    DELETE_SAME = "delete, nothing to free"
    CHANGED_MUCH = "40 % changed"
    DELETE_MUCH = "delete, 40 % to free"
    LIST = "list snapshots"


class Tool(Protocol):
    """Something that takes snapshots of an image."""

    @property
    def name(self) -> str:
        """Its name in the table."""
        ...

    @property
    def steps(self) -> frozenset[Step]:
        """What it can do."""
        ...

    @property
    def folder(self) -> Path:
        """Where it keeps its store."""
        ...

    def version(self) -> str | None:
        """Return its version; None where it is not installed."""
        ...

    def reset(self) -> None:
        """Begin with an empty store."""
        ...

    def snapshot(self, image: Path) -> Measurement:
        """Take a snapshot."""
        ...

    def restore(self, position: int, folder: Path) -> tuple[Measurement, Path]:
        """Restore a snapshot into an empty folder; return what it took, and the restored image."""
        ...

    def delete(self, position: int) -> Measurement:
        """Delete a snapshot and give its space back to the file system."""
        ...

    def count(self) -> int:
        """Return how many snapshots there are."""
        ...

    def list_snapshots(self) -> Measurement:
        """List the snapshots."""
        ...


def tool_version(shell: Shell, name: str, *arguments: str) -> str | None:
    """Return the first line a tool prints about its version; None where it is not installed."""
    if shutil.which(name, path=shell.variables["PATH"]) is None:
        return None
    lines = shell.run(name, *arguments)[1].strip().splitlines()
    return lines[0] if lines else name


def empty_folder(folder: Path) -> None:
    """Make a folder, or remove everything that is in it."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def folder_bytes(folder: Path) -> int:
    """Return what the files below a folder occupy on disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


class Reference:
    """A plain command that does the bare part of a step, for scale.

    Args:
        shell: Where it runs.
        name: Its name in the table; the first word is the program.
        folder: Where its output goes, if it makes any.
        command: What it runs; `IMAGE` and `OUT` stand for the paths.
        steps: The steps it stands beside.
    """

    def __init__(
        self, shell: Shell, name: str, folder: Path, command: Sequence[str], steps: Sequence[Step]
    ) -> None:
        self._shell = shell
        self._command = command
        self.name = name
        self.folder = folder
        self.steps = frozenset(steps)

    def version(self) -> str | None:
        """Return its version; None where it is not installed."""
        return tool_version(self._shell, self._command[0], "--version")

    def measure(self, image: Path) -> Measurement:
        """Run its command and remove what it made."""
        empty_folder(self.folder)
        places = {"IMAGE": str(image), "OUT": str(self.folder / "out")}
        try:
            return self._shell.time(*(places.get(word, word) for word in self._command))
        finally:
            shutil.rmtree(self.folder)


CAT, ZSTD, COPY = "cat", "zstd -1 -T2", "cp --sparse=never"
START = "python with the libraries"
"""The start of Python with what ebsim cannot do without: no command of its can be faster."""

_LIBRARIES = "import blake3, click, dataclasses, lmdb, pathlib, xxhash"


def references(shell: Shell, folder: Path) -> list[Reference]:
    """Return the references that the targets name. What `cat` prints goes to /dev/null."""
    zstd = [*ZSTD.split(), "-q", "IMAGE", "-o", "OUT"]
    return [
        Reference(shell, CAT, folder, [CAT, "IMAGE"], [Step.FIRST, Step.RESCAN]),
        Reference(shell, ZSTD, folder, zstd, [Step.FIRST]),
        Reference(
            shell, START, folder, [sys.executable, "-c", _LIBRARIES], [Step.DELETE_SAME, Step.LIST]
        ),
        Reference(shell, COPY, folder, [*COPY.split(), "IMAGE", "OUT"], [Step.RESTORE]),
    ]
