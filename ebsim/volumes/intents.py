"""Intents: before a process first writes to a leaf of a volume, it says so durably.

So whoever opens the volume after a crash knows where writes may have been lost from the tracking,
and compares there by content. A file of its own, because the catalog's writing transaction may be
held by others for longer than a write may take.

For a volume that is being loaded, the file also tells which blocks were written to since the last
flush. So who opens it after its process died, and not the machine, does not load them anew.
"""

import threading
from contextlib import suppress
from pathlib import Path

from ebsim import failpoints
from ebsim.format.intent import (
    INTENT,
    LeftIntents,
    decode_intents,
    encode_boot,
    encode_intent,
    encode_local,
)
from ebsim.storage.files import File, Files

_FILE_SIZE_MAX = INTENT.size << 22
"""Eight times the leaves of a volume of 64 TiB; what a larger file says is taken for unknown."""


class Intents:
    """The intents of one volume.

    Args:
        files: Where the file lies.
        path: The file; it need not exist.
        volume_id: The volume.
        boot_id: Which boot of the machine this is; empty if that is not known.
    """

    def __init__(self, files: Files, path: Path, volume_id: str, boot_id: str) -> None:
        self._files = files
        self._path = path
        self._volume_id = volume_id
        self._boot_id = boot_id
        self._file: File | None = None
        self._end = 0
        self._noted: set[int] = set()
        self._mutex = threading.Lock()

    def left_behind(self) -> LeftIntents | None:
        """Return what a process that died left; None: it was damaged, so it may have been anything.

        Raises:
            OSError: The file cannot be read.
        """
        try:
            file = self._files.open(self._path)
        except FileNotFoundError:
            return LeftIntents()
        try:
            if file.size() > _FILE_SIZE_MAX:
                return None
            data = file.read_at(0, _FILE_SIZE_MAX)
            return decode_intents(self._volume_id, self._boot_id, data)
        finally:
            file.close()

    def note(self, leaf: int) -> None:
        """Say durably that a leaf is going to be written to; costs nothing the second time.

        Raises:
            OSError: No space, or the device failed: the leaf must not be written to.
        """
        if leaf in self._noted:
            return
        with self._mutex:
            if leaf in self._noted:
                return
            file = self._append(encode_intent(self._volume_id, leaf))
            failpoints.reach("intent.written")
            file.sync()
            self._noted.add(leaf)

    def note_local(self, block: int) -> None:
        """Say that a block is in the volume's file, as long as the machine runs.

        Raises:
            OSError: No space, or the device failed.
        """
        with self._mutex:
            self._append(encode_local(self._volume_id, block))

    def clear(self) -> None:
        """Say durably that all writes are known to the catalog.

        Raises:
            OSError: The device failed.
        """
        with self._mutex:
            self._close()
            with suppress(FileNotFoundError):
                self._files.remove(self._path)
                failpoints.reach("intent.removed")
                self._files.sync_directory(self._path.parent)
            self._noted.clear()
            self._end = 0

    def close(self) -> None:
        """Close the file and leave it for the next who opens the volume."""
        with self._mutex:
            self._close()

    def _append(self, entry: bytes) -> File:
        if self._file is None:
            file = self._files.create(self._path)
            try:
                self._files.sync_directory(self._path.parent)
            except OSError:
                file.close()
                self._files.remove(self._path)
                raise
            self._file = file
        if not self._end:
            entry = encode_boot(self._volume_id, self._boot_id) + entry
        self._file.write_at(self._end, [entry])
        self._end += len(entry)
        return self._file

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()
