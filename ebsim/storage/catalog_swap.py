"""Putting a rebuilt catalog in the place of the old one, which is set aside and never thrown away.

    catalog.new/      is being made; worth nothing
    catalog.ready/    is whole and synced, and goes to its place
    catalog/          the store's catalog
    catalog.old-N/    what was the catalog before the N-th rebuild

Each step is a rename. As long as `catalog` is there, it is the store's; between the two last steps
it is not, and whoever opens the store then finishes with the last one (`finish_swap`).
"""

import errno
import re
from contextlib import suppress
from pathlib import Path

from ebsim import failpoints
from ebsim.errors import ErrorCode, LimitExceededError, StoreError
from ebsim.format.catalog_state import STATE_NAME
from ebsim.storage.files import Files

CATALOG = "catalog"
BEING_MADE = "catalog.new"
READY = "catalog.ready"
_SET_ASIDE = re.compile(r"catalog\.old-([0-9]{1,9})\Z")
_DATABASE_FILES = ("data.mdb", "lock.mdb")


def begin_catalog(folder: Path, files: Files) -> Path:
    """Return an empty folder for a new catalog.

    Raises:
        StoreError, LimitExceededError: It cannot be made.
    """
    path = folder / BEING_MADE
    try:
        files.make_directory(path)
        for name in _DATABASE_FILES:
            with suppress(FileNotFoundError):
                files.remove(path / name)
        if READY in files.list(folder):
            files.rename(folder / READY, folder / _next_aside(files.list(folder)))
    except OSError as error:
        raise _failure(error, path) from error
    return path


def swap_catalog(folder: Path, files: Files) -> str:
    """Put the new catalog, which is closed, in the place of the old one.

    Returns:
        The name of the folder in which the old one is now; empty if there was none.

    Raises:
        StoreError, LimitExceededError: It failed; the store has its old catalog, or its new one.
    """
    aside = ""
    try:
        files.sync_directory(folder / BEING_MADE)
        failpoints.reach("swap.synced")
        files.rename(folder / BEING_MADE, folder / READY)
        failpoints.reach("swap.ready")
        with suppress(FileNotFoundError):
            files.remove(folder / STATE_NAME)  # what it says is of the old one
        files.sync_directory(folder)
        failpoints.reach("swap.ready-synced")
        names = files.list(folder)
        if CATALOG in names:
            aside = _next_aside(names)
            files.rename(folder / CATALOG, folder / aside)
            failpoints.reach("swap.aside")
        finish_swap(folder, files)
    except OSError as error:
        raise _failure(error, folder / CATALOG) from error
    return aside


def finish_swap(folder: Path, files: Files) -> bool:
    """Put a whole new catalog in its place where there is no other; return whether there was one.

    Raises:
        OSError: It failed.
    """
    names = files.list(folder)
    if READY not in names or CATALOG in names:
        return False
    files.rename(folder / READY, folder / CATALOG)
    failpoints.reach("swap.placed")
    files.sync_directory(folder)
    return True


def _next_aside(names: list[str]) -> str:
    """Return a name that no catalog that was set aside has."""
    taken = [int(match[1]) for match in map(_SET_ASIDE.match, names) if match]
    return f"catalog.old-{max(taken, default=0) + 1}"


def _failure(error: OSError, path: Path) -> StoreError | LimitExceededError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LimitExceededError(f"no space left for {path}", ErrorCode.NO_SPACE)
    return StoreError(f"cannot write {path}: {error.strerror}", ErrorCode.STORE_FAILED)
