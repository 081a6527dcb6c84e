"""The list of the blocks put to a started snapshot: one record for each put, in their order."""

import hashlib
import hmac
import struct
from dataclasses import dataclass

from ebsim.format.checksum import CHECKSUM_SIZE, stored_checksum

PUT_RECORD = struct.Struct("<QQ32s16s")
"""Index, time in microseconds, SHA-256 of the block, checksum of the snapshot's id and these."""

PUT_SIZE = PUT_RECORD.size


@dataclass(frozen=True, slots=True)
class PutRecord:
    """A block that was put.

    Attributes:
        index: Which.
        time_us: When.
        digest: Its SHA-256.
    """

    index: int
    time_us: int
    digest: bytes


class PutCodec:
    """Encodes and decodes the records of one snapshot.

    Of an encrypted one the digests are hidden: a digest tells who guesses a block that he is right.

    Args:
        snapshot_id: The snapshot.
        key: What hides the digests; None: nothing does.
    """

    def __init__(self, snapshot_id: str, key: bytes | None) -> None:
        self._name = snapshot_id.encode()
        self._key = key

    def encode(self, position: int, record: PutRecord) -> bytes:
        """Return a record for the place `position` of the file."""
        head = struct.pack("<QQ", record.index, record.time_us)
        body = head + self._hidden(position, head, record.digest)
        return body + stored_checksum((self._name, body))

    def decode(self, position: int, data: bytes) -> PutRecord | None:
        """Return the record that lies at a place; None: there is none."""
        body, check = data[:-CHECKSUM_SIZE], data[-CHECKSUM_SIZE:]
        if len(data) != PUT_SIZE or stored_checksum((self._name, body)) != check:
            return None
        index, time_us, hidden, _ = PUT_RECORD.unpack(data)
        return PutRecord(index, time_us, self._hidden(position, body[:16], hidden))

    def _hidden(self, position: int, head: bytes, digest: bytes) -> bytes:
        if self._key is None:
            return digest
        told = self._name + position.to_bytes(8, "little") + head
        pad = hmac.digest(self._key, told, hashlib.sha256)
        return bytes(one ^ other for one, other in zip(digest, pad, strict=True))
