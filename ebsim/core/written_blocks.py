"""Which blocks of a managed volume were written, as the catalog keeps it.

A volume's writes are counted in *epochs*: each snapshot ends one. A row says, for one leaf (256
blocks) and one epoch, which blocks were *written* for certain, and which are *suspect*: a process
died before it could say, so they are compared by content (`docs/durability.md`).

A snapshot of epoch e whose parent ended epoch p is made of the rows of the epochs p + 1 to e. Rows
that a completed snapshot covers are forgotten with its completion. So a snapshot that fails leaves
its rows to the next one, and nothing that was written is ever missed (invariant I-16).

Before the first write to a leaf, an *intent* is made durable (`ebsim.volumes.intents`). A row that
is lost with its process is so always covered by an intent that is not.
"""

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ebsim.core.block_maps import LEAF_BLOCKS, load_page, walk_differences
from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.catalog_values import Table, number_key, pair_key
from ebsim.storage.catalog import CatalogReader, CatalogWriter

Flags = npt.NDArray[np.bool_]
"""One truth value for each of the 256 blocks of a leaf."""

_BITMAP_SIZE = LEAF_BLOCKS // 8
_ROW = struct.Struct(f"<{_BITMAP_SIZE}s{_BITMAP_SIZE}s")
"""Bitmaps of the blocks written, and of those suspect; block 0 is bit 0 of byte 0."""


@dataclass(slots=True)
class LeafWrites:
    """What is known of the writes to one leaf.

    Attributes:
        written: Blocks that were written.
        suspect: Blocks that may have been written.
    """

    written: Flags
    suspect: Flags

    def join(self, other: "LeafWrites") -> None:
        """Take over what another says too."""
        self.written |= other.written
        self.suspect |= other.suspect

    def encode(self) -> bytes:
        """Return the row as stored: 64 bytes."""
        return _ROW.pack(pack_flags(self.written), pack_flags(self.suspect))

    @classmethod
    def decode(cls, data: bytes) -> "LeafWrites":
        """Return the row that `data` holds.

        Raises:
            CorruptionError: It has another length.
        """
        if len(data) != _ROW.size:
            raise CorruptionError("a row of writes of a wrong size", ErrorCode.CORRUPT_CATALOG)
        written, suspect = _ROW.unpack(data)
        return cls(unpack_flags(written), unpack_flags(suspect))


def no_flags() -> Flags:
    """Return flags of which none is set."""
    return np.zeros(LEAF_BLOCKS, dtype=bool)


def all_flags() -> Flags:
    """Return flags of which all are set."""
    return np.ones(LEAF_BLOCKS, dtype=bool)


def pack_flags(flags: Flags) -> bytes:
    """Return flags as a bitmap of 32 bytes."""
    return np.packbits(flags, bitorder="little").tobytes()


def unpack_flags(bitmap: bytes) -> Flags:
    """Return the flags that a bitmap of 32 bytes holds.

    Raises:
        CorruptionError: It has another length.
    """
    if len(bitmap) != _BITMAP_SIZE:
        raise CorruptionError("a bitmap of a wrong size", ErrorCode.CORRUPT_CATALOG)
    return np.unpackbits(np.frombuffer(bitmap, dtype=np.uint8), bitorder="little").astype(bool)


def add_writes(
    writer: CatalogWriter, volume: int, epoch: int, leaf: int, writes: LeafWrites
) -> None:
    """Add to what is known of one leaf in one epoch."""
    key = _row_key(volume, epoch, leaf)
    known = writer.get(Table.VOLUME_WRITES, key)
    if known is not None:
        writes = LeafWrites(writes.written.copy(), writes.suspect.copy())
        writes.join(LeafWrites.decode(known))
    writer.put(Table.VOLUME_WRITES, key, writes.encode())


def find_writes(
    reader: CatalogReader, volume: int, after: int, through: int
) -> dict[int, LeafWrites]:
    """Return what was written in the epochs after one and through another, by leaf."""
    found: dict[int, LeafWrites] = {}
    start = _row_key(volume, after + 1, 0)
    for key, value in reader.items(Table.VOLUME_WRITES, start=start, prefix=number_key(volume)):
        epoch, leaf = _parse_row_key(key)
        if epoch > through:
            break
        writes = LeafWrites.decode(value)
        if leaf in found:
            found[leaf].join(writes)
        else:
            found[leaf] = writes
    return found


def leaf_was_written(
    reader: CatalogReader, volume: int, leaf: int, after: int, through: int
) -> Flags:
    """Return the blocks of one leaf that some row of these epochs names."""
    flags = no_flags()
    for epoch in range(after + 1, through + 1):
        value = reader.get(Table.VOLUME_WRITES, _row_key(volume, epoch, leaf))
        if value is not None:
            writes = LeafWrites.decode(value)
            flags |= writes.written | writes.suspect
    return flags


def forget_writes(writer: CatalogWriter, volume: int, through: int | None = None) -> None:
    """Forget the rows of the epochs up to one; with None, all of the volume."""
    gone = []
    for key, _ in writer.items(Table.VOLUME_WRITES, prefix=number_key(volume)):
        if through is not None and _parse_row_key(key)[0] > through:
            break
        gone.append(key)
    for key in gone:
        writer.delete(Table.VOLUME_WRITES, key)


def note_difference(
    writer: CatalogWriter, volume: int, epoch: int, gone_root: int, left_root: int
) -> None:
    """Count as written what one map has and the map that takes its place has not.

    Args:
        writer: The transaction.
        volume: The volume's number.
        epoch: The epoch to which it is added: the one that the map that goes ended.
        gone_root: The map of the snapshot that goes.
        left_root: The map that the next snapshot of the volume starts from; 0 for none.
    """
    for leaf, gone_page, left_page in walk_differences(writer, gone_root, left_root):
        gone, left = load_page(writer, gone_page), load_page(writer, left_page)
        differ: Flags = np.asarray(gone) != np.asarray(left)
        add_writes(writer, volume, epoch, leaf, LeafWrites(differ, no_flags()))


def _row_key(volume: int, epoch: int, leaf: int) -> bytes:
    return number_key(volume) + pair_key(epoch, leaf)


def _parse_row_key(key: bytes) -> tuple[int, int]:
    """Return epoch and leaf."""
    return int.from_bytes(key[8:16], "big"), int.from_bytes(key[16:24], "big")
