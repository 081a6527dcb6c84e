"""Which paths lead into the store itself: nothing there is a source or a target for its user.

A volume's live data have one way in, `ebsim volume read` and `write`: what is written past it is in
no snapshot, and what is read past it is no point in time. A segment or the catalog overwritten is a
store lost.

A path leads in by its name, with symbolic links followed; through another mount of the store's file
system (a folder above it is one of the store's); or as a hard link of one of the store's files.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ebsim.errors import ErrorCode, InvalidInputError

_Identity = tuple[int, int]
"""Device and inode."""


def ensure_not_in_store(path: str | os.PathLike[str], store: Path, code: ErrorCode) -> None:
    """Refuse a source or target that lies in the store's folder, or is a file of it.

    Args:
        path: What the user named; it need not exist. Symbolic links are followed.
        store: The store's folder.
        code: What the refusal is called.

    Raises:
        InvalidInputError: It does.
    """
    try:
        real = os.path.realpath(os.fspath(path))
        folders = dict(_folders(store))
        inside = any(identity in folders for identity in _above(real))
        inside = inside or _is_file_of(real, folders)
    except (OSError, ValueError):
        return  # whoever opens it says what is wrong with it
    if inside:
        raise InvalidInputError(
            f"{os.fspath(path)} is part of the store {store}, which only ebsim itself may read and "
            "write. The content of a volume is read with `ebsim volume read` and written with "
            "`ebsim volume write`; give a path outside the store.",
            code,
        )


def _identity(path: str | Path) -> _Identity:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _folders(store: Path) -> Iterator[tuple[_Identity, Path]]:
    """Yield the store's folder and those in it."""
    yield _identity(store), store
    with os.scandir(store) as entries:
        for entry in entries:
            if entry.is_dir():
                yield _identity(entry.path), Path(entry.path)


def _above(real: str) -> Iterator[_Identity]:
    """Yield what a path and the folders above it are, as far as they exist."""
    while True:
        with suppress(FileNotFoundError, NotADirectoryError):
            yield _identity(real)
        parent = os.path.dirname(real)
        if parent == real:
            return
        real = parent


def _is_file_of(real: str, folders: dict[_Identity, Path]) -> bool:
    """Return whether a path is a second name of a regular file in one of these folders."""
    try:
        status = os.stat(real)
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISREG(status.st_mode):
        return False
    for (device, _), folder in folders.items():
        if device == status.st_dev:
            with os.scandir(folder) as entries:
                if any(entry.inode() == status.st_ino for entry in entries):
                    return True
    return False
