"""The file of intents of a managed volume: what a process that dies leaves its successor to know.

It begins with the boot of the machine. Then come, in any order, the leaves that its process was
about to write to, each synced before that; and, for a volume that is being loaded, the blocks that
it wrote to and that are so in the volume's file, not synced: good as long as the machine runs.
"""

import struct
from dataclasses import dataclass, field

import xxhash

INTENT = struct.Struct("<QQ")
"""what it is about, XXH3-64 of the volume's id and that."""

LOCAL_FLAG = 1 << 63
"""Set in an entry that names a block which is in the volume's file; else it names a leaf."""


@dataclass(slots=True)
class LeftIntents:
    """What a file of intents says.

    Attributes:
        leaves: The leaves that may have been written to.
        local: The blocks that are in the volume's file; none after a restart of the machine.
    """

    leaves: list[int] = field(default_factory=list)
    local: list[int] = field(default_factory=list)


def encode_boot(volume_id: str, boot_id: str) -> bytes:
    """Return the first entry: 16 bytes."""
    return _encode(volume_id, xxhash.xxh3_64_intdigest(boot_id.encode()))


def encode_intent(volume_id: str, leaf: int) -> bytes:
    """Return the entry that says that a leaf is going to be written to: 16 bytes."""
    return _encode(volume_id, leaf)


def encode_local(volume_id: str, block: int) -> bytes:
    """Return the entry that says that a block is in the volume's file: 16 bytes."""
    return _encode(volume_id, block | LOCAL_FLAG)


def decode_intents(volume_id: str, boot_id: str, data: bytes) -> LeftIntents | None:
    """Return what a file of intents says; None if it does not hold what was written.

    A last entry that is not whole is none: what it was to announce was not done.
    """
    found = LeftIntents()
    boot: int | None = None
    for number, check in INTENT.iter_unpack(data[: len(data) // INTENT.size * INTENT.size]):
        if check != intent_check(volume_id, number):
            return None
        if boot is None:
            boot = number
        elif not number & LOCAL_FLAG:
            found.leaves.append(number)
        elif boot_id and boot == xxhash.xxh3_64_intdigest(boot_id.encode()):
            found.local.append(number ^ LOCAL_FLAG)
    return found


def _encode(volume_id: str, number: int) -> bytes:
    return INTENT.pack(number, intent_check(volume_id, number))


def intent_check(volume_id: str, number: int) -> int:
    """Return what stands behind a number in the file of a volume."""
    return xxhash.xxh3_64_intdigest(volume_id.encode() + number.to_bytes(8, "little"))
