"""Refusing a store that other users may write to, or parts of which lie elsewhere.

Whoever may write to a store's folder or files can put anything in them that checksums allow, and a
link in the place of a part can have ebsim write to any file that its user may write to. LMDB opens
its files by path, so they are looked at before; `PosixFiles` looks at all others when it opens
them.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from ebsim.errors import ErrorCode, StoreError
from ebsim.storage.files import DIRECTORY_MODE, Files, PosixFiles, why_unsafe

_FOLDERS = ("catalog", "segments", "volumes")
_HEADER = "store.json"

KEYRING_NAME = "keyring.json"
"""The keyring, where it lies in the store; beside it, its lock file and what replaces it."""

KEYRING_FILES = (KEYRING_NAME, f".{KEYRING_NAME}.lock", f".{KEYRING_NAME}.new")

_FILES = (
    _HEADER,
    "lock",
    "reserve",
    "catalog.state",
    "catalog/data.mdb",
    "catalog/lock.mdb",
    *KEYRING_FILES,
)


def ensure_safe(folder: Path, files: Files) -> None:
    """Look that a store is its user's alone, if there is one in the folder.

    The folder itself may be named by a link; nothing in it may be one.

    Raises:
        StoreError: StoreUnsafe: others may write to it, it is another user's, or a part is a link
            or no file or folder. The first two are let pass with `PosixFiles(trust_others=True)`.
    """
    if not os.path.lexists(folder / _HEADER):
        return
    trusted = isinstance(files, PosixFiles) and files.trust_others
    _ensure_part(folder, folder.stat(), stat.S_ISDIR, trusted=trusted)
    for names, is_kind in ((_FOLDERS, stat.S_ISDIR), (_FILES, stat.S_ISREG)):
        for name in names:
            path = folder / name
            try:
                facts = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                continue  # whoever needs it says so
            _ensure_part(path, facts, is_kind, trusted=trusted)


def make_safe(folder: Path) -> None:
    """Take the right to write to a folder, which is to become a store, from others.

    Raises:
        OSError: It cannot be done, as where the folder is another user's.
    """
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o022:
        folder.chmod(mode & ~0o022 | DIRECTORY_MODE)


def _ensure_part(
    path: Path, facts: os.stat_result, is_kind: Callable[[int], bool], *, trusted: bool
) -> None:
    if stat.S_ISLNK(facts.st_mode):
        raise StoreError(
            f"{path} is a symbolic link, and there is none in a store: put what it leads to in its "
            "place",
            ErrorCode.STORE_UNSAFE,
        )
    if not is_kind(facts.st_mode):
        raise StoreError(f"{path} is no part of a store: remove it", ErrorCode.STORE_UNSAFE)
    problem = "" if trusted else why_unsafe(facts)
    if problem:
        raise StoreError(
            f"{path} {problem}, so nobody can say who wrote what is in it: make it yours alone "
            "(chown, chmod go-w), or set EBSIM_TRUST_OTHERS=1 to use the store as it is",
            ErrorCode.STORE_UNSAFE,
        )
