"""Kept blocks: copies made before a write that a pending snapshot must not see.

A block may be kept several times, for different epochs. A snapshot that ended epoch e reads the
copy with the least `through` that is not less than e; with none, the block in the volume's file has
not changed since. Nothing is kept while no snapshot is pending. Copies of volumes that are being
made need them as pending snapshots do.

Of an encrypted volume, what is kept is encrypted as in the volume's file, and the checksum is over
that: whoever looks for damage needs no key.
"""

import threading
from contextlib import suppress
from pathlib import Path

from ebsim import failpoints
from ebsim.errors import CorruptionError
from ebsim.format.kept_block import (
    KEPT_HEADER_SIZE,
    SLOT_SIZE,
    decode_kept_slot,
    encode_kept_header,
)
from ebsim.storage.files import File, Files
from ebsim.storage.sealed_file import SectorCiphers
from ebsim.units import BLOCK_SIZE


class KeptBlocks:
    """The kept blocks of one volume. A block is kept and read under its stripe's lock.

    Args:
        files: Where the file lies.
        path: The file; it need not exist.
        volume_id: The volume.
        ciphers: What encrypts its data; None: nothing does.
    """

    def __init__(
        self, files: Files, path: Path, volume_id: str, ciphers: SectorCiphers | None = None
    ) -> None:
        self._files = files
        self._path = path
        self._volume_id = volume_id
        self._ciphers = ciphers
        self._file: File | None = None
        self._slots = 0
        self._places: dict[int, list[tuple[int, int]]] = {}
        self._mutex = threading.Lock()

    def load(self) -> None:
        """Find what a process that died has kept.

        Raises:
            CorruptionError: A slot is damaged: what it kept is lost.
            OSError: The file cannot be read.
        """
        with suppress(FileNotFoundError):
            self._file = self._files.open(self._path, writable=True)
        if self._file is None:
            return
        self._slots = -(-self._file.size() // SLOT_SIZE)
        for slot in range(self._slots):
            offset = slot * SLOT_SIZE
            data = memoryview(self._file.read_at(offset, SLOT_SIZE))
            found = decode_kept_slot(self._volume_id, data)
            if found is not None:
                self._note(*found, offset)

    def keep(self, block: int, through: int, data: memoryview) -> None:
        """Keep a block as it is.

        Args:
            block: Its index.
            through: The epoch that ended last: for no later one this is the block.
            data: Its 524,288 bytes, plain.

        Raises:
            OSError: No space, or the device failed; nothing is kept.
        """
        stored = data if self._ciphers is None else self._ciphers.seal_block(block, data)
        header = encode_kept_header(self._volume_id, block, through, stored)
        with self._mutex:
            if self._file is None:
                self._file = self._files.create(self._path)
            offset = self._slots * SLOT_SIZE
            self._slots += 1
            file = self._file
        file.write_at(offset + KEPT_HEADER_SIZE, [stored])
        failpoints.reach("keep.half")
        file.write_at(offset, [header])
        with self._mutex:
            self._note(block, through, offset)

    def sync(self) -> None:
        """Make what is kept durable, and that the file is there or not.

        Raises:
            OSError: The device failed.
        """
        if self._file is not None:
            self._file.sync()
        self._files.sync_directory(self._path.parent)

    def read(self, block: int, epoch: int, buffer: memoryview) -> bool:
        """Fill the buffer with the block as it was at the end of an epoch; False if not kept.

        Raises:
            CorruptionError: What is kept is damaged.
            OSError: It cannot be read.
        """
        offset = self._find(block, epoch)
        if offset is None or self._file is None:
            return False
        slot = memoryview(self._file.read_at(offset, SLOT_SIZE))
        found = decode_kept_slot(self._volume_id, slot)
        if found is None or found[0] != block:
            raise CorruptionError("a kept block is not what was written")
        stored = slot[KEPT_HEADER_SIZE : KEPT_HEADER_SIZE + BLOCK_SIZE]
        if self._ciphers is None:
            buffer[:] = stored
        else:
            self._ciphers.open_block(block, stored, buffer)
        return True

    def has_any(self, first: int, count: int, epoch: int) -> bool:
        """Return whether any of these blocks is kept as it was at the end of an epoch."""
        if not self._places:
            return False
        return any(self._find(each, epoch) is not None for each in range(first, first + count))

    def clear(self) -> None:
        """Drop everything: no point in time is needed any more.

        Raises:
            OSError: The file cannot be removed.
        """
        with self._mutex:
            self._places.clear()
            self._slots = 0
            file, self._file = self._file, None
            if file is not None:
                file.close()
            with suppress(FileNotFoundError):
                self._files.remove(self._path)

    def close(self) -> None:
        """Close the file and leave it for the next who opens the volume."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _find(self, block: int, epoch: int) -> int | None:
        with self._mutex:
            places = self._places.get(block, ())
            good = [place for place in places if place[0] >= epoch]
        return min(good)[1] if good else None

    def _note(self, block: int, through: int, offset: int) -> None:
        self._places.setdefault(block, []).append((through, offset))
