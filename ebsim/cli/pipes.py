"""Finding out that a command waits for a volume that the other end of its pipe has open.

`ebsim volume read VOL | ebsim volume write VOL` can never go on: one has the volume until all bytes
are through, and the other waits for it. Which processes a pipe leads to, also through others, is
read from /proc, as far as they are one's own.
"""

import os
import stat
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from ebsim import refusals
from ebsim.engine import Store
from ebsim.volumes.volume_file import VolumeFile

_PROC = Path("/proc")
_OTHER_WAY = (
    "each waits for the other; let the bytes go through a file, or copy the volume with "
    "`ebsim volume copy`"
)

Identity = tuple[int, int]
"""A file, by its device and its inode."""


def open_beside_pipe(
    store: Store, volume_id: str, stream: BinaryIO, *, reading: bool
) -> VolumeFile:
    """Open a volume for a command; while it waits, refuse it if its own pipe has the volume.

    Args:
        store: The store, whose patience changes.
        volume_id: The volume.
        stream: The command's standard input or output.
        reading: Whether bytes come from there; else they go there.

    Raises:
        ConflictError: VolumeInUse: the pipe has it; or Unavailable: another process.
        EbsimError: As `store.volumes.open`.
    """
    data = store.path / "volumes" / f"{volume_id}.data"

    def ensure_worthwhile() -> None:
        if has_open(data, stream, reading=reading):
            raise refusals.volume_in_use(volume_id, "the other end of this pipe", _OTHER_WAY)

    store.patience = replace(store.patience, ensure_worthwhile=ensure_worthwhile)
    return store.volumes.open(volume_id)


def has_open(path: Path, stream: BinaryIO, *, reading: bool) -> bool:
    """Return whether a process that a pipe comes from, or leads to, has a file open.

    Args:
        path: The file.
        stream: An end of the pipe; anything else leads nowhere.
        reading: Whether bytes come from it; else they go there.
    """
    try:
        status = os.fstat(stream.fileno())
        wanted = _identity(path.stat())
    except OSError:
        return False
    if not stat.S_ISFIFO(status.st_mode):
        return False
    opened: dict[int, set[Identity]] = {}
    nearer: dict[Identity, set[int]] = defaultdict(set)  # who has the other end of a pipe
    further: dict[int, set[Identity]] = defaultdict(set)  # the pipes behind a process
    for pid, file, writes, is_pipe in _descriptors():
        opened.setdefault(pid, set()).add(file)
        if is_pipe and writes == reading:
            nearer[file].add(pid)
        elif is_pipe:
            further[pid].add(file)
    left, seen = [_identity(status)], set[Identity]()
    while left:
        pipe = left.pop()
        seen.add(pipe)
        for pid in nearer[pipe]:
            if wanted in opened[pid]:
                return True
            left.extend(further[pid] - seen)
    return False


def _descriptors() -> Iterator[tuple[int, Identity, bool, bool]]:
    """Yield what other processes have open: pid, file, whether to write, whether it is a pipe."""
    for process in _PROC.iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        with suppress(OSError):  # somebody else's, or it ended
            for link in (process / "fd").iterdir():
                with suppress(OSError):
                    status = link.stat()
                    writes = bool(link.lstat().st_mode & stat.S_IWUSR)
                    is_pipe = stat.S_ISFIFO(status.st_mode)
                    yield int(process.name), _identity(status), writes, is_pipe


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino
