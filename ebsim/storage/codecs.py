"""Codecs: from the plain bytes of a block to what is stored, and back.

One zstd frame per block, with its content size, without dictionary. A block that does not shrink
by at least one aligned unit is stored plain. Decoding trusts nothing: the frame must say the right
size before a byte of it is decompressed, and no more than that is ever written.
"""

import zstandard

from ebsim.config import Compression
from ebsim.errors import CorruptionError
from ebsim.format.segment import Codec, RecordHeader, record_extent
from ebsim.units import BLOCK_SIZE

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
        self._buffer = memoryview(bytearray(BLOCK_SIZE))

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

    def _decompress(self, payload: memoryview) -> memoryview:
        """Decompress one frame into the buffer, which saves allocating (a third of the time)."""
        try:
            if zstandard.frame_content_size(payload) != BLOCK_SIZE:
                raise CorruptionError("a compressed frame of another size than a block")
            with self._zstd.stream_reader(payload, closefd=False) as reader:
                return self._buffer[: reader.readinto(self._buffer)]
        except zstandard.ZstdError as error:
            raise CorruptionError(f"a compressed frame that cannot be decoded: {error}") from None
