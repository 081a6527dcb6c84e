"""Codecs: blocks come back, and nothing but one whole frame of one block is decoded."""

import random
import struct
import tracemalloc

import pytest
import zstandard

from ebsim.config import Compression
from ebsim.errors import CorruptionError
from ebsim.format.segment import Codec, RecordHeader, RecordKind, record_extent
from ebsim.storage.codecs import BlockDecoder, BlockEncoder
from ebsim.testing.contents import NOISE, TEXT, palette_block
from ebsim.units import BLOCK_SIZE, GIB, MIB

RLE_SIZE = 128 * 1024
"""The most that one block of a zstd frame may decode to."""


def header_of(codec: Codec, payload: bytes) -> RecordHeader:
    return RecordHeader(
        kind=RecordKind.BLOCK,
        codec=codec,
        payload_size=len(payload),
        plain_size=BLOCK_SIZE,
        segment_id=bytes(16),
        offset=4096,
    )


def decode(codec: Codec, payload: bytes) -> bytes:
    return bytes(BlockDecoder().decode(header_of(codec, payload), memoryview(payload)))


@pytest.mark.parametrize("compression", [Compression(), Compression(19), Compression(None)])
@pytest.mark.parametrize("number", range(9))
def test_block_comes_back(number: int, compression: Compression) -> None:
    block = palette_block(number)

    codec, payload = BlockEncoder(compression).encode(bytearray(block))

    assert decode(codec, payload) == block
    assert codec is Codec.PLAIN or len(payload) < BLOCK_SIZE - 4096


def test_one_encoder_and_one_decoder_do_for_many_blocks() -> None:
    encoder, decoder = BlockEncoder(Compression()), BlockDecoder()

    for number in (*range(9), *range(9)):
        block = palette_block(number)
        codec, payload = encoder.encode(memoryview(block))
        assert decoder.decode(header_of(codec, payload), memoryview(payload)) == memoryview(block)


def test_block_that_does_not_shrink_is_stored_plain() -> None:
    assert BlockEncoder(Compression()).encode(memoryview(NOISE)) == (Codec.PLAIN, NOISE)


def test_block_that_saves_no_unit_of_4096_bytes_is_stored_plain() -> None:
    """A frame would take as much space, and time to decode."""
    for saved in (100, 3000, 5000, 9000):
        block = NOISE[: BLOCK_SIZE - saved] + bytes(saved)
        frame = zstandard.ZstdCompressor(level=1).compress(block)
        codec, payload = BlockEncoder(Compression()).encode(memoryview(block))

        smaller = record_extent(len(frame)) < record_extent(BLOCK_SIZE)
        assert (codec is Codec.ZSTD) == smaller
        assert record_extent(len(payload)) <= record_extent(BLOCK_SIZE)


def test_no_compression_stores_everything_plain() -> None:
    assert BlockEncoder(Compression(None)).encode(memoryview(TEXT)) == (Codec.PLAIN, TEXT)


def test_higher_level_compresses_better() -> None:
    words = [b"block", b"snapshot", b"lineage", b"segment", b"catalog", b"volume", b"charge"]
    chosen = random.Random(1)
    text = b" ".join(chosen.choice(words) for _ in range(BLOCK_SIZE // 4))[:BLOCK_SIZE]

    fast, small = (BlockEncoder(Compression(n)).encode(memoryview(text))[1] for n in (1, 19))

    assert len(small) < len(fast)
    assert decode(Codec.ZSTD, fast) == decode(Codec.ZSTD, small) == text


# what is no block


def frame_header(content_size: int, *, dictionary: bytes = b"") -> bytes:
    """Return the header of a zstd frame in one segment that says how long its content is."""
    descriptor = 0xE0 | {0: 0, 1: 1, 4: 3}[len(dictionary)]
    return b"\x28\xb5\x2f\xfd" + bytes([descriptor]) + dictionary + struct.pack("<Q", content_size)


def run_block(byte: bytes, size: int = RLE_SIZE, *, last: bool = False, kind: int = 1) -> bytes:
    """Return a block of a zstd frame that says: this byte, so many times."""
    return struct.pack("<I", size << 3 | kind << 1 | last)[:3] + byte


RUNS = [run_block(b"r")] * 3
GOOD = frame_header(BLOCK_SIZE) + b"".join(RUNS) + run_block(b"r", last=True)
"""A frame of a block full of `r`, made by hand."""

SKIPPABLE = b"\x50\x2a\x4d\x18" + struct.pack("<I", 4) + b"skip"


def test_frame_made_by_hand_is_a_block() -> None:
    """Else the tests below would see only frames that no decompressor likes."""
    assert decode(Codec.ZSTD, GOOD) == b"r" * BLOCK_SIZE


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(frame_header(1 << 32) + GOOD[13:], id="claims 4 GiB"),
        pytest.param(frame_header(1 << 46) + GOOD[13:], id="claims 64 TiB"),
        pytest.param(frame_header(2**64 - 1) + GOOD[13:], id="claims most of all"),
        pytest.param(zstandard.ZstdCompressor().compress(bytes(64 * MIB)), id="bomb"),
        pytest.param(
            frame_header(BLOCK_SIZE)
            + b"".join([run_block(b"r")] * (GIB // RLE_SIZE - 1))
            + run_block(b"r", last=True),
            id="bomb that claims to be a block",
        ),
        pytest.param(
            frame_header(BLOCK_SIZE) + b"".join(RUNS) + RUNS[0] + run_block(b"r", 1, last=True),
            id="one byte more than it claims",
        ),
        pytest.param(
            frame_header(BLOCK_SIZE) + b"".join(RUNS[:2]) + run_block(b"r", last=True),
            id="less than it claims",
        ),
        pytest.param(frame_header(BLOCK_SIZE + 1) + GOOD[13:], id="claims a byte more"),
        pytest.param(frame_header(BLOCK_SIZE - 1) + GOOD[13:], id="claims a byte less"),
        pytest.param(frame_header(BLOCK_SIZE) + b"".join(RUNS) + RUNS[0], id="never ends"),
        pytest.param(frame_header(0) + run_block(b"", 0, last=True, kind=0), id="empty"),
        pytest.param(
            zstandard.ZstdCompressor(write_content_size=False).compress(TEXT), id="no size"
        ),
        pytest.param(GOOD + b"\0", id="trailing byte"),
        pytest.param(GOOD + GOOD, id="second frame"),
        pytest.param(SKIPPABLE, id="skippable"),
        pytest.param(SKIPPABLE + GOOD, id="skippable before"),
        pytest.param(GOOD + SKIPPABLE, id="skippable behind"),
        pytest.param(
            frame_header(BLOCK_SIZE // 2) + RUNS[0] + run_block(b"r", last=True), id="half a block"
        ),
        pytest.param(
            (frame_header(BLOCK_SIZE // 2) + RUNS[0] + run_block(b"r", last=True)) * 2,
            id="two halves",
        ),
        pytest.param(frame_header(BLOCK_SIZE, dictionary=b"\x07") + GOOD[13:], id="dictionary"),
        pytest.param(
            frame_header(BLOCK_SIZE) + run_block(b"r", kind=3) + GOOD[17:], id="reserved block"
        ),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\0" * 100, id="zeros"),
        pytest.param(b"\x28\xb5\x2f\xfd", id="magic alone"),
        pytest.param(frame_header(BLOCK_SIZE), id="header alone"),
        pytest.param(GOOD[:-1], id="last byte missing"),
        pytest.param(NOISE, id="noise"),
    ],
)
def test_what_is_no_whole_frame_of_one_block_is_damage(payload: bytes) -> None:
    """F42, F43: and it takes no more memory than a block does."""
    decoder = BlockDecoder()
    tracemalloc.start()
    try:
        with pytest.raises(CorruptionError):
            decoder.decode(header_of(Codec.ZSTD, payload), memoryview(payload))
        assert tracemalloc.get_traced_memory()[1] < 2 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 1, BLOCK_SIZE - 1, BLOCK_SIZE + 1])
def test_plain_payload_of_another_length_is_damage(size: int) -> None:
    with pytest.raises(CorruptionError, match=str(size)):
        decode(Codec.PLAIN, bytes(size))


def test_decoder_goes_on_after_damage() -> None:
    decoder = BlockDecoder()
    with pytest.raises(CorruptionError):
        decoder.decode(header_of(Codec.ZSTD, GOOD[:-1]), memoryview(GOOD[:-1]))

    assert decoder.decode(header_of(Codec.ZSTD, GOOD), memoryview(GOOD)) == b"r" * BLOCK_SIZE
