"""A real ext4 image made of files of this machine, and changes inside it. No root is needed.

The tools are those of e2fsprogs: `mke2fs -d` fills a new file system from a folder, `debugfs -w`
changes files in it without mounting, `e2fsck -fn` proves that it is whole.
"""

import os
import random
import shutil
import stat
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ebsim.errors import EbsimError, ErrorCode, NotFoundError
from ebsim.units import KIB, MIB

IMAGE_SIZE = 512 * MIB
FILES_SIZE_MAX = 288 * MIB
"""What is put into the image at most; the rest stays free, as on a real disk: a hole."""
FILES_PER_FOLDER_MAX = 1_500
"""From each of three folders: few enough to be copied in a few seconds."""
FILE_SIZE_MIN = 2 * KIB
FILE_SIZE_MAX = 16 * MIB

REPLACED_FILES = 60
REMOVED_FILES = 20
NEW_FILE_SIZE = 24 * MIB

_TOOL_FOLDERS = "/usr/sbin:/sbin:/usr/local/sbin"
_TOOL_TIMEOUT_S = 120
_SEED = 20_480


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTree:
    """What was put into the image.

    Attributes:
        paths: Every file, relative to the root of the file system, sorted.
        size_bytes: The sum of their sizes.
    """

    paths: tuple[Path, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What was changed in the image.

    Attributes:
        replaced: Files that got another content.
        removed: Files that were deleted.
        added_size_bytes: The size of one new file.
    """

    replaced: int
    removed: int
    added_size_bytes: int


def require_tools() -> None:
    """Make sure that a file system can be made.

    Raises:
        NotFoundError: A tool is missing.
    """
    for name in ("mke2fs", "debugfs", "e2fsck"):
        find_tool(name)


def find_tool(name: str) -> str:
    """Return the path of a tool, also where a user without root has no sbin in PATH.

    Raises:
        NotFoundError: There is none.
    """
    path = shutil.which(name) or shutil.which(name, path=_TOOL_FOLDERS)
    if path is None:
        raise NotFoundError(
            f"The demo needs {name}: install the package e2fsprogs.", ErrorCode.DEMO_FAILED
        )
    return path


def build_image(image: Path, folder: Path) -> FileTree:
    """Make an ext4 image of 512 MiB with files of this machine.

    Args:
        image: The image to make.
        folder: An empty folder, where the files are gathered. It is removed at the end.

    Raises:
        EbsimError: The file system could not be made (DEMO_FAILED).
    """
    tree = _gather(folder)
    run_tool(
        "mke2fs", "-q", "-F", "-t", "ext4", "-d", str(folder), str(image), f"{IMAGE_SIZE // KIB}k"
    )
    shutil.rmtree(folder)
    return tree


def change_image(image: Path, tree: FileTree, folder: Path) -> Changes:
    """Replace, remove and add files in the image, as a day of use does.

    Args:
        image: The image, which nothing has mounted.
        tree: What it was built from.
        folder: An empty folder for the new contents. It is removed at the end.

    Raises:
        EbsimError: A change was refused (DEMO_FAILED).
    """
    chooser = random.Random(_SEED)  # noqa: S311 - the same choice every time, nothing secret
    plain = [path for path in tree.paths if _is_plain(path)]
    chosen = chooser.sample(plain, min(len(plain), REPLACED_FILES + REMOVED_FILES))
    replaced, removed = chosen[REMOVED_FILES:], chosen[:REMOVED_FILES]
    commands = [f'rm "/{path}"' for path in chosen]
    for number, path in enumerate(replaced):
        content = folder / str(number)
        content.write_bytes(chooser.randbytes(chooser.randrange(1, 64) * KIB))
        commands += [f'cd "/{path.parent}"', f'write "{content}" "{path.name}"']
    (folder / "added").write_bytes(chooser.randbytes(NEW_FILE_SIZE))
    commands += ["cd /", f'write "{folder / "added"}" "added.bin"']
    _debug_file_system(image, folder / "script", commands)
    shutil.rmtree(folder)
    return Changes(replaced=len(replaced), removed=len(removed), added_size_bytes=NEW_FILE_SIZE)


def check_file_system(image: Path) -> None:
    """Prove with e2fsck that the image holds a whole file system; nothing is written.

    Raises:
        EbsimError: It does not (DEMO_FAILED).
    """
    run_tool("e2fsck", "-f", "-n", str(image))


def run_tool(name: str, *arguments: str) -> str:
    """Run a tool and return what it printed, on both streams.

    Raises:
        NotFoundError: There is no such tool.
        EbsimError: It failed (DEMO_FAILED).
    """
    done = subprocess.run(  # noqa: S603 - our own arguments, no shell
        [find_tool(name), *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_TOOL_TIMEOUT_S,
    )
    if done.returncode != 0:
        last = done.stdout.strip().rpartition("\n")[2]
        raise EbsimError(
            f"{name} failed with exit code {done.returncode}: {last}", ErrorCode.DEMO_FAILED
        )
    return done.stdout


def _debug_file_system(image: Path, script: Path, commands: Sequence[str]) -> None:
    """Run debugfs commands. Its exit code tells nothing: what it prints besides is a complaint."""
    script.write_text("\n".join([*commands, ""]), encoding="utf-8")
    output = run_tool("debugfs", "-w", "-f", str(script), str(image))
    expected = ("debugfs", "Allocated inode:")
    complaints = [line for line in output.splitlines() if line and not line.startswith(expected)]
    if complaints:
        raise EbsimError(f"debugfs: {complaints[0]}", ErrorCode.DEMO_FAILED)


def _gather(folder: Path) -> FileTree:
    """Copy files of this machine into a folder: texts, code and programs."""
    paths: list[Path] = []
    size = 0
    for origin in (Path(sysconfig.get_path("stdlib")), Path("/usr/share"), Path("/usr/lib")):
        for file, file_size in islice(_files(origin), FILES_PER_FOLDER_MAX):
            target = Path(origin.name) / file.relative_to(origin)
            if size + file_size <= FILES_SIZE_MAX and _copy(file, folder / target):
                paths.append(target)
                size += file_size
    return FileTree(paths=tuple(sorted(paths)), size_bytes=size)


def _files(origin: Path) -> Iterator[tuple[Path, int]]:
    """Yield regular files under a folder with their sizes, in the same order every time."""
    for folder, folders, names in os.walk(origin):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            try:
                status = path.lstat()
            except OSError:  # it is gone since
                continue
            if stat.S_ISREG(status.st_mode) and FILE_SIZE_MIN <= status.st_size <= FILE_SIZE_MAX:
                yield path, status.st_size


def _copy(file: Path, target: Path) -> bool:
    """Copy one file; False where it may not be read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(file, target)
    except PermissionError:
        return False
    return True


def _is_plain(path: Path) -> bool:
    """Say whether debugfs's command language takes this path within quotes."""
    text = str(path)
    return text.isascii() and text.isprintable() and not set(text) & {'"', "\\"}
