"""Files with secrets: theirs alone who use them, and known again when they were replaced."""

import os
import stat
from pathlib import Path

from ebsim.keys.refusals import keyring_exposed

Stamp = tuple[int, ...]
"""Differs as soon as a file was replaced or written to."""

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def private_stamp(path: Path) -> Stamp | None:
    """Return the stamp of a file that only its owner can read; None where the kernel has no file.

    There is none in tests that keep files in memory; then nothing is known about who can read it.
    While the file of the stamp is open, its inode belongs to no other file, and as every change
    makes another file of that name, none is missed, however coarse the times are.

    Raises:
        StoreError: Others can read or write it, or it belongs to somebody else (KeyringExposed).
    """
    try:
        facts = os.stat(path, follow_symlinks=False)
    except OSError:  # who opens the file learns why
        return None
    if facts.st_mode & _OTHERS and stat.S_ISREG(facts.st_mode):
        raise keyring_exposed(path, f"has mode {stat.S_IMODE(facts.st_mode):04o}")
    if facts.st_uid != os.geteuid() and os.geteuid() != 0:
        raise keyring_exposed(path, "belongs to another user")
    return (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
