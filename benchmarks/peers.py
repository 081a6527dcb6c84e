"""The peers, with their defaults; and borg once more as its manual advises for disk images.

restic always encrypts; borg is told not to. borg takes part three times: as it is, with its rolling
hash and lz4; with fixed chunks, the very blocks ebsim has, which suits it so much better that both
must be seen; and with fixed chunks and zstd at level 1, as ebsim and restic compress.
qemu-img makes one compressed image and knows no increments, so it takes part in two steps only.
"""

import json
from dataclasses import replace
from pathlib import Path

from benchmarks.measuring import BenchmarkError, Measurement, Shell
from benchmarks.tools import Step, empty_folder, tool_version
from ebsim.units import BLOCK_SIZE

RESTIC, BORG, QEMU_IMG = "restic", "borg", "qemu-img"
"""The peers' names where they have their default settings."""

_INCREMENTAL_STEPS = frozenset(Step) - {Step.IN_PLACE}


class Restic:
    """restic with a local repository."""

    name = RESTIC
    steps = _INCREMENTAL_STEPS

    def __init__(self, shell: Shell, folder: Path) -> None:
        self.folder = folder
        variables = {
            "RESTIC_REPOSITORY": str(folder / "repository"),
            "RESTIC_PASSWORD": "benchmark",
            "RESTIC_CACHE_DIR": str(folder / "cache"),
        }
        self._shell = replace(shell, variables={**shell.variables, **variables})
        self._snapshots: list[str] = []

    def version(self) -> str | None:
        """Return its version; None where it is not installed."""
        return tool_version(self._shell, "restic", "version")

    def reset(self) -> None:
        """Begin with an empty repository."""
        empty_folder(self.folder)
        self._snapshots.clear()
        self._shell.time("restic", "init")

    def snapshot(self, image: Path) -> Measurement:
        """Back the image up."""
        measured, output = self._shell.run("restic", "backup", "--json", image)
        self._snapshots.append(_restic_snapshot_id(output))
        return measured

    def restore(self, position: int, folder: Path) -> tuple[Measurement, Path]:
        """Restore into a folder, below which restic puts the image's whole path."""
        name = self._snapshots[position]
        measured = self._shell.time("restic", "restore", name, "--target", folder)
        (restored,) = (path for path in folder.rglob("*") if path.is_file())
        return measured, restored

    def delete(self, position: int) -> Measurement:
        """Forget and prune."""
        return self._shell.time("restic", "forget", "--prune", self._snapshots.pop(position))

    def count(self) -> int:
        """Return how many snapshots there are."""
        return len(self._snapshots)

    def list_snapshots(self) -> Measurement:
        """List the snapshots."""
        return self._shell.time("restic", "snapshots")


class Borg:
    """borg with a local repository, not encrypted.

    Args:
        shell: Where it runs.
        folder: Where its repository lies.
        fixed_chunks: Cut the image into chunks of a block's size, as the manual advises for disk
            images, and not where its rolling hash says, as it does by itself.
        compression: Other than its default, lz4.
    """

    steps = _INCREMENTAL_STEPS

    def __init__(
        self, shell: Shell, folder: Path, *, fixed_chunks: bool, compression: str = ""
    ) -> None:
        settings = [BORG, "fixed chunks" if fixed_chunks else "", compression]
        self.name = ", ".join(setting for setting in settings if setting)
        self.folder = folder
        chunker = ["--chunker-params", f"fixed,{BLOCK_SIZE}"] if fixed_chunks else []
        squeezer = ["--compression", compression] if compression else []
        self._create = ["borg", "create", *chunker, *squeezer]
        variables = {
            "BORG_REPO": str(folder / "repository"),
            "BORG_BASE_DIR": str(folder / "base"),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }
        self._shell = replace(shell, variables={**shell.variables, **variables})
        self._snapshots: list[str] = []
        self._made = 0

    def version(self) -> str | None:
        """Return its version; None where it is not installed."""
        return tool_version(self._shell, "borg", "--version")

    def reset(self) -> None:
        """Begin with an empty repository."""
        empty_folder(self.folder)
        self._snapshots.clear()
        self._shell.time("borg", "init", "--encryption", "none")

    def snapshot(self, image: Path) -> Measurement:
        """Make an archive of the image."""
        self._made += 1
        name = f"snapshot-{self._made}"
        measured = self._shell.time(*self._create, f"::{name}", image.name, folder=image.parent)
        self._snapshots.append(name)
        return measured

    def restore(self, position: int, folder: Path) -> tuple[Measurement, Path]:
        """Extract into a folder."""
        name = self._snapshots[position]
        measured = self._shell.time("borg", "extract", f"::{name}", folder=folder)
        (restored,) = folder.iterdir()
        return measured, restored

    def delete(self, position: int) -> Measurement:
        """Delete and compact."""
        name = self._snapshots.pop(position)
        deleted = self._shell.time("borg", "delete", f"::{name}")
        return deleted.followed_by(self._shell.time("borg", "compact"))

    def count(self) -> int:
        """Return how many snapshots there are."""
        return len(self._snapshots)

    def list_snapshots(self) -> Measurement:
        """List the archives."""
        return self._shell.time("borg", "list")


class QemuImg:
    """qemu-img convert to a compressed qcow2 image, and back."""

    name = QEMU_IMG
    steps = frozenset({Step.FIRST, Step.RESTORE})

    def __init__(self, shell: Shell, folder: Path) -> None:
        self.folder = folder
        self._shell = shell
        self._copy = folder / "image.qcow2"

    def version(self) -> str | None:
        """Return its version; None where it is not installed."""
        return tool_version(self._shell, "qemu-img", "--version")

    def reset(self) -> None:
        """Begin without a copy."""
        empty_folder(self.folder)

    def snapshot(self, image: Path) -> Measurement:
        """Make a compressed copy."""
        return self._shell.time(
            "qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", image, self._copy
        )

    def restore(self, position: int, folder: Path) -> tuple[Measurement, Path]:
        """Convert the copy back."""
        assert position == 0, "there is but one"
        restored = folder / "image.raw"
        measured = self._shell.time(
            "qemu-img", "convert", "-f", "qcow2", "-O", "raw", self._copy, restored
        )
        return measured, restored

    def delete(self, position: int) -> Measurement:
        """Refuse: it is not one of its steps."""
        raise BenchmarkError(f"qemu-img has no snapshot {position} to delete")

    def count(self) -> int:
        """Return how many snapshots there are."""
        return int(self._copy.exists())

    def list_snapshots(self) -> Measurement:
        """Refuse: it is not one of its steps."""
        raise BenchmarkError("qemu-img lists nothing")


def _restic_snapshot_id(output: str) -> str:
    for line in reversed(output.splitlines()):
        message = json.loads(line)
        if message.get("message_type") == "summary":
            return str(message["snapshot_id"])
    raise BenchmarkError("restic did not say which snapshot it made")
