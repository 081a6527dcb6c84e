"""The file of kept blocks: what blocks were before a write that pending snapshots must not see.

The file is a row of slots of 4 KiB and a block each. A slot is written before the block it keeps is
overwritten, the block first and its header, one page, after it. So if the process dies, another can
go on with the snapshots: a slot without a header was not needed yet, and any other that is not
whole is damaged.
"""

import struct

from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.checksum import CHECKSUM_SIZE, stored_checksum
from ebsim.units import BLOCK_SIZE

KEPT_MAGIC = b"EBSIMKPT"

KEPT_HEADER = struct.Struct("<8sQQ16s")
"""magic, block index, last epoch for which this was the block, checksum."""

KEPT_HEADER_SIZE = 4096
"""Bytes before the block in a slot, so that the block is aligned."""

SLOT_SIZE = KEPT_HEADER_SIZE + BLOCK_SIZE


def encode_kept_header(volume_id: str, block: int, through: int, data: memoryview) -> bytes:
    """Return the header of a slot.

    Args:
        volume_id: The volume; a slot of another one is none.
        block: The block index.
        through: The last epoch for which `data` was the block.
        data: 524,288 bytes.
    """
    checksum = _checksum(volume_id, block, through, data)
    header = KEPT_HEADER.pack(KEPT_MAGIC, block, through, checksum)
    return header.ljust(KEPT_HEADER_SIZE, b"\0")


def decode_kept_slot(volume_id: str, slot: memoryview) -> tuple[int, int] | None:
    """Return the block index and the last epoch of a slot; None if it has no header yet.

    Raises:
        CorruptionError: It is no whole slot of this volume.
    """
    if not any(slot[: KEPT_HEADER.size]):
        return None
    if len(slot) == SLOT_SIZE:
        header, data = slot[:KEPT_HEADER_SIZE], slot[KEPT_HEADER_SIZE:]
        magic, block, through, checksum = KEPT_HEADER.unpack_from(header)
        if magic == KEPT_MAGIC and checksum == _checksum(volume_id, block, through, data):
            return block, through
    raise CorruptionError("a kept block is not what was written", ErrorCode.CORRUPT_BLOCK)


def _checksum(volume_id: str, block: int, through: int, data: memoryview) -> bytes:
    head = KEPT_HEADER.pack(KEPT_MAGIC, block, through, bytes(CHECKSUM_SIZE))
    return stored_checksum((volume_id.encode(), head, data))
