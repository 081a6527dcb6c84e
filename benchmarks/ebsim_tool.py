"""ebsim as a tool among others: its command line, in a process of its own for each command."""

import json
import sys
from pathlib import Path

from benchmarks.measuring import Measurement, Shell
from benchmarks.tools import Step, empty_folder


class Ebsim:
    """ebsim with a store in a folder."""

    name = "ebsim"
    steps = frozenset(Step)

    def __init__(self, shell: Shell, folder: Path) -> None:
        self.folder = folder
        self._shell = shell
        self._snapshots: list[str] = []

    def version(self) -> str | None:
        """Return its version."""
        output = self._shell.run(sys.executable, "-m", "ebsim", "--version")[1]
        return f"{output.strip()}, Python {sys.version.split()[0]}"

    def reset(self) -> None:
        """Begin with an empty store."""
        empty_folder(self.folder)
        self._snapshots.clear()
        self._command("init")

    def snapshot(self, image: Path) -> Measurement:
        """Take a snapshot."""
        measured, output = self._command("snapshot", "create", image)
        self._snapshots.append(json.loads(output)["SnapshotId"])
        return measured

    def restore(self, position: int, folder: Path) -> tuple[Measurement, Path]:
        """Restore to a new file."""
        restored = folder / "image.raw"
        return self._command("restore", self._snapshots[position], restored)[0], restored

    def restore_in_place(self, position: int, image: Path) -> Measurement:
        """Roll an image back, or forth."""
        return self._command("restore", self._snapshots[position], image, "--in-place")[0]

    def delete(self, position: int) -> Measurement:
        """Delete a snapshot."""
        return self._command("snapshot", "delete", self._snapshots.pop(position))[0]

    def count(self) -> int:
        """Return how many snapshots there are."""
        return len(self._snapshots)

    def list_snapshots(self) -> Measurement:
        """List the snapshots, as a table for people."""
        return self._shell.time(
            sys.executable, "-m", "ebsim", "--store", self.folder, "snapshot", "list"
        )

    def read_blocks(self, image: Path, seconds: float) -> dict[str, float]:
        """Return what `benchmarks.random_reads` finds with the newest snapshot."""
        output = self._shell.run(
            sys.executable, "-m", "benchmarks.random_reads", self.folder, self._snapshots[-1],
            image, str(seconds),
        )[1]  # fmt: skip
        found: dict[str, float] = json.loads(output)
        return found

    def parts(self, image: Path, folder: Path) -> dict[str, float]:
        """Return what `benchmarks.limits` finds, with room to write in a folder."""
        output = self._shell.run(sys.executable, "-m", "benchmarks.limits", image, folder)[1]
        found: dict[str, float] = json.loads(output)
        return found

    def catalog_size(self) -> tuple[int, int]:
        """Return the catalog's size on disk in bytes, and how many blocks are stored."""
        stats = json.loads(self._command("stats")[1])
        return int(stats["CatalogSizeInBytes"]), int(stats["Blocks"])

    def _command(self, *words: str | Path) -> tuple[Measurement, str]:
        return self._shell.run(
            sys.executable, "-m", "ebsim", "--store", self.folder, "--json", *words
        )
