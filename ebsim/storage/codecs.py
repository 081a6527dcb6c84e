"""Codecs: from the plain bytes of a block to what is stored, and back.

One zstd frame per block, with its content size, without dictionary. A block that does not shrink
by at least one aligned unit is stored plain. Decoding trusts nothing: the frame must say the right
size before a byte of it is decompressed, and nothing may follow it.
"""

import zstandard

from ebsim.config import Compression
from ebsim.errors import CorruptionError
from ebsim.format.segment import Codec, RecordHeader, record_extent
from ebsim.storage.buffers import block_buffer
from ebsim.units import BLOCK_SIZE

_RLE_BLOCK = 1
_FRAME_HAS_CHECKSUM = 4
_PLAIN_EXTENT = record_extent(BLOCK_SIZE)


class BlockEncoder:
    """Encodes blocks. Not for several threads at once."""

    def __init__(self, compression: Compression) -> None:
        level = compression.zstd_level
        self._zstd = None if level is None else zstandard.ZstdCompressor(level=level)

    def encode(self, block: bytearray | memoryview) -> tuple[Codec, bytes]:
        """Return codec and payload for a whole block."""
        if self._zstd is not None:
            payload = self._zstd.compress(block)
            if record_extent(len(payload)) < _PLAIN_EXTENT:
                return Codec.ZSTD, payload
        return Codec.PLAIN, bytes(block)


class BlockDecoder:
    """Decodes blocks into one buffer of its own. Not for several threads at once."""

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdDecompressor()
        self._buffer = block_buffer()

    def decode(self, header: RecordHeader, payload: memoryview) -> memoryview:
        """Return the plain bytes of a block record that passed its stored checksum.

        They are valid until the next call; whoever keeps them copies them.

        Raises:
            CorruptionError: They are not one block's.
        """
        block = payload if header.codec is Codec.PLAIN else self._decompress(payload)
        if len(block) != BLOCK_SIZE:
            raise CorruptionError(f"a block of {len(block)} bytes where {BLOCK_SIZE} were written")
        return block

    def decode_own(self, header: RecordHeader, payload: memoryview) -> bytes | memoryview:
        """Return the same, valid for as long as it is kept: `payload`, or memory of its own.

        Raises:
            CorruptionError: They are not one block's.
        """
        if header.codec is Codec.PLAIN:
            return self.decode(header, payload)
        try:
            _check_frame(payload)
            block = self._zstd.decompress(payload, max_output_size=BLOCK_SIZE)
        except zstandard.ZstdError as error:
            raise CorruptionError(f"a compressed frame that cannot be decoded: {error}") from None
        if len(block) != BLOCK_SIZE:
            raise CorruptionError(f"a block of {len(block)} bytes where {BLOCK_SIZE} were written")
        return block

    def decode_first_frame(self, data: memoryview) -> memoryview:
        """Return the block of the frame that `data` begins with, whatever follows it.

        For salvage alone: nothing says that these are the bytes that were stored.

        Raises:
            CorruptionError: There is none.
        """
        try:
            size = _frame_size(data)
        except (zstandard.ZstdError, IndexError) as error:
            raise CorruptionError(f"no compressed frame: {error}") from None
        return self._decompress(data[:size])

    def _decompress(self, payload: memoryview) -> memoryview:
        """Decompress one frame into the buffer, which saves allocating (a third of the time)."""
        try:
            _check_frame(payload)
            with self._zstd.stream_reader(payload, closefd=False) as reader:
                return self._buffer[: reader.readinto(self._buffer)]
        except zstandard.ZstdError as error:
            raise CorruptionError(f"a compressed frame that cannot be decoded: {error}") from None


def _check_frame(payload: memoryview) -> None:
    """See that a payload is one frame of one block, before a byte of it is decompressed.

    Raises:
        CorruptionError, zstandard.ZstdError: It is not.
    """
    if zstandard.frame_content_size(payload) != BLOCK_SIZE:
        raise CorruptionError("a compressed frame of another size than a block")
    if _frame_size(payload) != len(payload):
        raise CorruptionError("a compressed frame that is cut off, or not alone")


def _frame_size(payload: memoryview) -> int:
    """Return how long the zstd frame at the beginning is, by its block headers (RFC 8878, 3.1.1).

    Raises:
        CorruptionError: It is cut off.
    """
    at = zstandard.frame_header_size(payload)
    last = False
    while not last:
        header = payload[at : at + 3]
        if len(header) < 3:
            raise CorruptionError("a compressed frame that is cut off")
        fields = int.from_bytes(header, "little")
        last, kind, size = bool(fields & 1), fields >> 1 & 3, fields >> 3
        at += 3 + (1 if kind == _RLE_BLOCK else size)
    return at + (4 if payload[4] & _FRAME_HAS_CHECKSUM else 0)
