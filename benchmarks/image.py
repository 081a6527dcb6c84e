"""The image that is snapshotted: a real ext4 file system full of files of this machine.

No root is needed: `mke2fs -d` fills a new file system from a folder. Files are taken in the order
of their names, so that two runs on one machine measure the same image. Later changes put into
random blocks what lies elsewhere in the image, cut into pieces at odd places: data as compressible
as the rest, which no tool has met before.
"""

import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import BenchmarkError
from ebsim.units import BLOCK_SIZE, KIB, MIB

FILL_SHARE = 0.9
"""Of the image, in files and folders; ext4 needs about 4 % for itself."""

FILE_SIZE_MAX = 256 * MIB
FILE_UNIT = 4 * KIB
"""ext4 allots whole blocks of 4 KiB, to files and to folders."""

BYTES_PER_FILE = 16 * KIB
"""mke2fs makes one inode for so many bytes of image; no more files than half of that are put in."""

PIECE_SIZE = 16 * KIB
"""What a changed block is made of: 32 pieces from as many places."""

_FOLDERS = ("/usr", "/opt", "/var/lib", sys.base_prefix)
_TOOL_FOLDERS = "/usr/sbin:/sbin:/usr/local/sbin"


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is in an image.

    Attributes:
        size_bytes: Its size.
        allocated_bytes: Bytes of it that are no holes.
        files: How many files were put in; 0 where it is a copy of a given image.
    """

    size_bytes: int
    allocated_bytes: int
    files: int


def build_image(image: Path, size_bytes: int, folder: Path) -> ImageFacts:
    """Make an ext4 image of files of this machine.

    Args:
        image: The image to make.
        size_bytes: Its size, a whole number of MiB.
        folder: Where the files are gathered; made, and removed at the end.

    Raises:
        BenchmarkError: There is no mke2fs, or it failed.
    """
    tool = shutil.which("mke2fs") or shutil.which("mke2fs", path=_TOOL_FOLDERS)
    if tool is None:
        raise BenchmarkError("mke2fs is not installed: install the package e2fsprogs")
    files = _gather(folder, int(size_bytes * FILL_SHARE), size_bytes // BYTES_PER_FILE // 2)
    size = f"{size_bytes // KIB}k"
    command = [tool, "-q", "-F", "-t", "ext4", "-m", "0", "-d", str(folder), str(image), size]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    shutil.rmtree(folder)
    if done.returncode != 0:
        raise BenchmarkError(f"mke2fs failed: {done.stderr.strip()}")
    return _facts(image, files)


def copy_image(image: Path, given: Path) -> ImageFacts:
    """Copy a given image, since the benchmark changes it; holes stay holes.

    Raises:
        BenchmarkError: It cannot be copied.
    """
    command = ["cp", "--sparse=auto", str(given), str(image)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchmarkError(f"the image cannot be copied: {done.stderr.strip()}")
    return _facts(image, 0)


def change_image(image: Path, share: float, seed: int) -> int:
    """Change a share of an image's blocks, at random places; return how many.

    Args:
        image: At least one block long.
        share: Above 0, to 1; at least one block is changed.
        seed: Another one gives other places and other data.
    """
    chooser = random.Random(seed)
    with image.open("r+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        blocks = size // BLOCK_SIZE
        chosen = chooser.sample(range(blocks), max(1, round(blocks * share)))
        for index in chosen:
            pieces = (
                os.pread(file.fileno(), PIECE_SIZE, chooser.randrange(size - PIECE_SIZE))
                for _ in range(BLOCK_SIZE // PIECE_SIZE)
            )
            os.pwrite(file.fileno(), b"".join(pieces), index * BLOCK_SIZE)
    return len(chosen)


def _facts(image: Path, files: int) -> ImageFacts:
    status = image.stat()
    return ImageFacts(status.st_size, status.st_blocks * 512, files)


def _gather(folder: Path, bytes_max: int, files_max: int) -> int:
    """Copy files of this machine into a folder, in the order of their names; return how many."""
    used, files, made = 0, 0, set[Path]()
    folder.mkdir()
    for path, size in machine_files():
        target = folder / path.relative_to("/")
        need = -(-size // FILE_UNIT) * FILE_UNIT
        need += FILE_UNIT * sum(parent not in made for parent in target.parents)
        if used + need > bytes_max:
            continue
        if files >= files_max:
            break
        target.parent.mkdir(parents=True, exist_ok=True)
        made.update(target.parents)
        try:
            shutil.copyfile(path, target)
        except OSError:  # not ours to read, or gone since
            target.unlink(missing_ok=True)
            continue
        used += need
        files += 1
    return files


def machine_files() -> Iterator[tuple[Path, int]]:
    """Yield regular files that are not empty, with their sizes."""
    seen: list[Path] = []
    for origin in _FOLDERS:
        real = Path(origin).resolve()
        if any(real.is_relative_to(other) for other in seen):
            continue
        seen.append(real)
        for folder, folders, names in os.walk(real):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                try:
                    status = path.lstat()
                except OSError:  # gone since
                    continue
                if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= FILE_SIZE_MAX:
                    yield path, status.st_size
