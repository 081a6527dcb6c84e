"""Segment headers and records: every bit of them counts."""

import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from ebsim.errors import CorruptionError, EbsimError, ErrorCode, FormatVersionError, InternalError
from ebsim.format.segment import (
    ALIGNMENT,
    PAYLOAD_SIZE_MAX,
    RECORD_HEADER_SIZE,
    Codec,
    RecordHeader,
    RecordKind,
    SegmentHeader,
    decode_record,
    decode_record_header,
    decode_segment_header,
    encode_record,
    encode_segment_header,
    record_extent,
)
from ebsim.units import BLOCK_SIZE

SEGMENT_ID = bytes(range(16))
OTHER_ID = bytes(range(1, 17))
BLOCK_HASH = bytes(range(32, 64))
SEGMENT_HEADER = SegmentHeader(
    store_id=b"s" * 16,
    segment_id=SEGMENT_ID,
    hash_key=b"k" * 32,
    created_us=1_767_225_600_000_000,
)
RECORD = RecordHeader(
    kind=RecordKind.BLOCK,
    codec=Codec.ZSTD,
    payload_size=11,
    plain_size=BLOCK_SIZE,
    segment_id=SEGMENT_ID,
    offset=5 * ALIGNMENT,
    domain=3,
    block_hash=BLOCK_HASH,
)
PAYLOAD = b"some bytes."


def encoded(header: RecordHeader = RECORD, payload: bytes = PAYLOAD) -> bytes:
    return b"".join(encode_record(header, payload))


def undetected_flips(
    data: bytes, decode: Callable[[bytes], object], error: type[EbsimError]
) -> list[int]:
    """Return the numbers of the bits whose flip `decode` does not answer with `error`."""
    undetected = []
    flipped = bytearray(data)
    for bit in range(len(data) * 8):
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            decode(bytes(flipped))
            undetected.append(bit)
        except error:
            pass
        flipped[bit // 8] ^= 1 << bit % 8
    assert flipped == data
    return undetected


# segment headers


@given(
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**64 - 1),
)
def test_segment_header_comes_back(
    store_id: bytes, segment_id: bytes, hash_key: bytes, created_us: int
) -> None:
    header = SegmentHeader(
        store_id=store_id,
        segment_id=segment_id,
        hash_key=hash_key,
        created_us=created_us,
    )

    data = encode_segment_header(header)

    assert len(data) == ALIGNMENT
    assert decode_segment_header(data) == header


def test_every_flipped_bit_of_a_segment_header_is_detected() -> None:
    data = encode_segment_header(SEGMENT_HEADER)

    assert undetected_flips(data, decode_segment_header, CorruptionError) == []


@pytest.mark.parametrize("size", [0, 8, 88, ALIGNMENT - 1])
def test_segment_header_that_is_cut_off_is_damage(size: int) -> None:
    with pytest.raises(CorruptionError, match="no segment header"):
        decode_segment_header(encode_segment_header(SEGMENT_HEADER)[:size])


def test_segment_header_with_a_byte_more_is_damage() -> None:
    with pytest.raises(CorruptionError):
        decode_segment_header(encode_segment_header(SEGMENT_HEADER) + b"\0")


def forge_segment_header(position: int, layout: str, value: int) -> bytes:
    """Return a segment header with another value in one field, and a checksum that is right."""
    body = bytearray(encode_segment_header(SEGMENT_HEADER)[:-16])
    struct.pack_into(layout, body, position, value)
    return bytes(body) + xxhash.xxh3_128_digest(bytes(body))


@pytest.mark.parametrize("version", [0, 2, 255, 256])
def test_segment_of_another_version_is_told_apart_from_damage(version: int) -> None:
    with pytest.raises(FormatVersionError, match=str(version)) as caught:
        decode_segment_header(forge_segment_header(8, "<H", version))

    assert caught.value.code is ErrorCode.UNKNOWN_FORMAT


@pytest.mark.parametrize("flags", [1, 0x8000])
def test_segment_with_flags_that_nobody_knows_is_refused(flags: int) -> None:
    """A flag is how a later version says that what follows must be read otherwise."""
    with pytest.raises((CorruptionError, FormatVersionError)):
        decode_segment_header(forge_segment_header(10, "<H", flags))


# records


def test_record_has_the_bytes_that_the_format_says() -> None:
    head = b"EBR1" + struct.pack("<BBHII", 1, 1, 0, 11, BLOCK_SIZE) + SEGMENT_ID
    head += struct.pack("<QII", 5 * 4096, 3, 0) + BLOCK_HASH
    padding = bytes(4096 - 80 - 16 - 11)

    assert encoded() == head + xxhash.xxh3_128_digest(head + PAYLOAD + padding) + PAYLOAD + padding


@given(
    st.sampled_from([RecordKind.VERSIONS, RecordKind.PAGES, RecordKind.JOURNAL]),
    st.sampled_from(Codec),
    st.binary(max_size=2 * ALIGNMENT),
    st.integers(0, PAYLOAD_SIZE_MAX),
    st.integers(0, 2**32 - 1).map(lambda unit: unit * ALIGNMENT),
    st.integers(0, 2**32 - 1),
)
def test_record_comes_back(
    kind: RecordKind, codec: Codec, payload: bytes, plain_size: int, offset: int, domain: int
) -> None:
    header = RecordHeader(
        kind=kind,
        codec=codec,
        payload_size=len(payload),
        plain_size=plain_size,
        segment_id=SEGMENT_ID,
        offset=offset,
        domain=domain,
        block_hash=BLOCK_HASH,
    )

    data = encoded(header, payload)
    found, found_payload = decode_record(data, SEGMENT_ID, offset)

    assert found == header
    assert bytes(found_payload) == payload
    assert len(data) == header.extent == record_extent(len(payload))


@pytest.mark.parametrize(
    ("payload_size", "units"),
    [
        (0, 1),
        (ALIGNMENT - RECORD_HEADER_SIZE, 1),
        (ALIGNMENT - RECORD_HEADER_SIZE + 1, 2),
        (BLOCK_SIZE, 129),
        (PAYLOAD_SIZE_MAX, 1025),
    ],
)
def test_record_takes_whole_units(payload_size: int, units: int) -> None:
    assert record_extent(payload_size) == units * ALIGNMENT


def test_every_flipped_bit_of_a_record_is_detected() -> None:
    """F20, F21: of its header, its checksum, its payload and its padding."""
    data = encoded()
    assert len(data) == ALIGNMENT

    def decode(altered: bytes) -> object:
        return decode_record(altered, SEGMENT_ID, RECORD.offset)

    assert undetected_flips(data, decode, CorruptionError) == []


def test_every_cut_of_a_record_is_damage() -> None:
    """F19"""
    data = encoded(replace(RECORD, payload_size=5000), b"x" * 5000)

    for size in [*range(0, len(data), 61), len(data) - ALIGNMENT, len(data) - 1]:
        with pytest.raises(CorruptionError):
            decode_record(data[:size], SEGMENT_ID, RECORD.offset)


@pytest.mark.parametrize("more", [1, ALIGNMENT])
def test_record_with_bytes_behind_it_is_damage(more: int) -> None:
    with pytest.raises(CorruptionError, match="length"):
        decode_record(encoded() + bytes(more), SEGMENT_ID, RECORD.offset)


@pytest.mark.parametrize(
    ("segment_id", "offset"), [(OTHER_ID, RECORD.offset), (SEGMENT_ID, RECORD.offset + ALIGNMENT)]
)
def test_record_of_another_place_is_damage(segment_id: bytes, offset: int) -> None:
    """F28: and the message names the place that it says it was written to."""
    with pytest.raises(CorruptionError, match=f"{SEGMENT_ID.hex()} offset {RECORD.offset}"):
        decode_record(encoded(), segment_id, offset)


def test_records_with_one_payload_have_another_checksum_at_each_place() -> None:
    other = encoded(replace(RECORD, offset=RECORD.offset + ALIGNMENT))

    assert encoded()[80:96] != other[80:96]


def forge_record(position: int, layout: str, value: int, data: bytes | None = None) -> bytes:
    """Return a record with another value in one field, and a checksum that is right."""
    forged = bytearray(encoded() if data is None else data)
    struct.pack_into(layout, forged, position, value)
    forged[80:96] = xxhash.xxh3_128_digest(bytes(forged[:80]) + bytes(forged[96:]))
    return bytes(forged)


@pytest.mark.parametrize(
    ("position", "layout", "value"),
    [
        (0, "<I", 0),
        (4, "<B", 0),  # kinds
        (4, "<B", 5),
        (4, "<B", 255),
        (5, "<B", 2),  # codecs
        (5, "<B", 255),
        (6, "<H", 1),  # flags
        (6, "<H", 0x8000),
        (8, "<I", PAYLOAD_SIZE_MAX + 1),
        (8, "<I", 2**32 - 1),
        (8, "<I", 4001),  # a payload of one byte more than the extent has room for
        (12, "<I", PAYLOAD_SIZE_MAX + 1),
        (12, "<I", 2**32 - 1),
        (12, "<I", 0),  # a block that is no block
        (12, "<I", BLOCK_SIZE - 1),
        (32, "<Q", RECORD.offset + 1),
        (44, "<I", 1),  # reserved
    ],
)
def test_header_out_of_bounds_is_damage_whatever_the_checksum_says(
    position: int, layout: str, value: int
) -> None:
    """F44"""
    with pytest.raises(CorruptionError) as caught:
        decode_record(forge_record(position, layout, value), SEGMENT_ID, RECORD.offset)

    assert caught.value.code is ErrorCode.CORRUPT_SEGMENT


def test_forging_makes_records_that_pass() -> None:
    """Else the test above would see only wrong checksums."""
    header, _ = decode_record(forge_record(40, "<I", 99), SEGMENT_ID, RECORD.offset)

    assert header == replace(RECORD, domain=99)


@pytest.mark.parametrize("size", [0, 1, RECORD_HEADER_SIZE - 1])
def test_header_that_is_cut_off_is_damage(size: int) -> None:
    with pytest.raises(CorruptionError, match="cut off"):
        decode_record_header(encoded()[:size])


def test_header_alone_can_be_read() -> None:
    assert decode_record_header(memoryview(encoded())[:RECORD_HEADER_SIZE]) == RECORD


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        (RECORD, b"another length"),
        (replace(RECORD, payload_size=PAYLOAD_SIZE_MAX + 1), bytes(PAYLOAD_SIZE_MAX + 1)),
    ],
)
def test_record_that_could_not_be_read_is_not_written(header: RecordHeader, payload: bytes) -> None:
    """Also under `python -O`: a journal entry grows with what is deleted at once."""
    with pytest.raises(InternalError):
        encode_record(header, payload)
