"""Dedup domains whose keys are at hand."""

import threading
from dataclasses import dataclass, field

from ebsim.format.block_hash import BlockHash, hash_block, zero_block_hash
from ebsim.format.sealing import DataKey, SegmentCipher

PLAIN = 0
"""The unencrypted domain."""

CIPHERS_MAX = 256
"""Ciphers of segments kept by each open domain."""


class Domain:
    """A domain whose keys are at hand. For several threads.

    Args:
        number: Its number.
        hash_key: The key of its block hash.
        data_key: Its data key; None: its blocks are not encrypted.
    """

    __slots__ = ("_ciphers", "_data_key", "_hash_key", "_mutex", "number", "zero_hash")

    def __init__(self, number: int, hash_key: bytes, data_key: DataKey | None) -> None:
        self.number = number
        self.zero_hash = zero_block_hash(hash_key)
        self._hash_key = hash_key
        self._data_key = data_key
        self._ciphers: dict[bytes, SegmentCipher] = {}
        self._mutex = threading.Lock()

    @property
    def data_key(self) -> DataKey | None:
        """What the keys of its live data are derived from."""
        return self._data_key

    def hash_block(self, block: bytes | bytearray | memoryview) -> BlockHash:
        """Return the block hash of plain bytes."""
        return hash_block(block, self._hash_key)

    def cipher(self, segment_id: bytes) -> SegmentCipher | None:
        """Return what seals and opens its blocks in a segment; None: they are not encrypted."""
        if self._data_key is None:
            return None
        cipher = self._ciphers.get(segment_id)
        if cipher is not None:
            return cipher
        with self._mutex:
            cipher = self._ciphers.get(segment_id)
            if cipher is None:
                cipher = self._data_key.segment_cipher(self.number, segment_id)
                while len(self._ciphers) >= CIPHERS_MAX:
                    self._ciphers.pop(next(iter(self._ciphers)))
                self._ciphers[segment_id] = cipher
        return cipher


@dataclass(slots=True)
class OpenDomains:
    """The domains that one handle has open, by number and by whose right opened them."""

    plain: Domain | None = None
    opened: dict[tuple[int, str], tuple[int, Domain]] = field(default_factory=dict)
    mutex: threading.Lock = field(default_factory=threading.Lock)
