"""Segments: a header of 4096 bytes, then records, each beginning at a multiple of 4096.

A segment is written once, by one process, and describes itself: from the segments of a store alone
its catalog can be made again. Every record says what it is, how long it is and where it lies; its
checksum covers each byte of it, padding included. The position (segment id and offset) is part of
the header, so that a record copied or moved elsewhere is not taken for genuine.

Records are aligned to 4096 bytes so that a freed one gives every byte of its own back to the file
system by hole punching; the mean cost is 2 KiB a record (decision 002).
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from ebsim.errors import CorruptionError, ErrorCode, FormatVersionError, InternalError
from ebsim.format.block_hash import HASH_KEY_SIZE, HASH_SIZE
from ebsim.format.checksum import CHECKSUM_SIZE, stored_checksum
from ebsim.units import BLOCK_SIZE

ALIGNMENT = 4096
SEGMENT_MAGIC = b"EBSIMSEG"
SEGMENT_VERSION = 1
RECORD_MAGIC = b"EBR1"
SEGMENT_ID_SIZE = 16
STORE_ID_SIZE = 16
PAYLOAD_SIZE_MAX = 4 * 1024 * 1024
"""No record's payload is larger: a length beyond it is damage, whatever the checksum says."""

SEGMENT_HEADER = struct.Struct("<8sHHI16s16s32sQ")
"""magic, version, flags, reserved, store id, segment id, hash key, creation time in us."""

RECORD_HEADER = struct.Struct("<4sBBHII16sQII32s")
"""magic, kind, codec, flags, payload length, plain length, segment id, offset, domain, reserved,
block hash. The 16-byte checksum follows."""

RECORD_HEADER_SIZE = RECORD_HEADER.size + CHECKSUM_SIZE


class RecordKind(IntEnum):
    """What a record holds."""

    BLOCK = 1
    VERSIONS = 2
    PAGES = 3
    JOURNAL = 4


class Codec(IntEnum):
    """How a record's payload was made from the plain bytes."""

    PLAIN = 0
    ZSTD = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentHeader:
    """The first 4096 bytes of a segment.

    Attributes:
        store_id: 16 bytes; the store it belongs to.
        segment_id: 16 random bytes; also the file's name.
        hash_key: The key of the block hash in the unencrypted domain (32 bytes).
        created_us: When it was made; for people, never for a decision.
    """

    store_id: bytes
    segment_id: bytes
    hash_key: bytes
    created_us: int


def encode_segment_header(header: SegmentHeader) -> bytes:
    """Return the 4096 bytes that open a segment."""
    assert len(header.hash_key) == HASH_KEY_SIZE
    body = SEGMENT_HEADER.pack(
        SEGMENT_MAGIC,
        SEGMENT_VERSION,
        0,
        0,
        header.store_id,
        header.segment_id,
        header.hash_key,
        header.created_us,
    )
    padding = bytes(ALIGNMENT - len(body) - CHECKSUM_SIZE)
    return body + padding + stored_checksum((body, padding))


def decode_segment_header(data: bytes) -> SegmentHeader:
    """Return the header that `data`, the first 4096 bytes of a segment, holds.

    Raises:
        FormatVersionError: A version this ebsim does not know.
        CorruptionError: Anything else is wrong with it.
    """
    if len(data) != ALIGNMENT or data[:8] != SEGMENT_MAGIC:
        raise CorruptionError("no segment header", ErrorCode.CORRUPT_SEGMENT)
    if stored_checksum((data[:-CHECKSUM_SIZE],)) != data[-CHECKSUM_SIZE:]:
        raise CorruptionError("the segment header's checksum is wrong", ErrorCode.CORRUPT_SEGMENT)
    _, version, flags, reserved, store_id, segment_id, key, created = SEGMENT_HEADER.unpack_from(
        data
    )
    if version != SEGMENT_VERSION or flags or reserved:
        raise FormatVersionError(
            f"segment of format version {version}, flags {flags}; known is {SEGMENT_VERSION}, 0"
        )
    return SegmentHeader(store_id=store_id, segment_id=segment_id, hash_key=key, created_us=created)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordHeader:
    """The header of one record.

    Attributes:
        kind: What the record holds.
        codec: How its payload is coded.
        payload_size: Bytes of payload behind the header.
        plain_size: Bytes the payload decodes to.
        segment_id: The segment it was written to.
        offset: The byte offset it was written at, a multiple of 4096.
        domain: The dedup domain.
        block_hash: For a block, its hash; else zeros.
    """

    kind: RecordKind
    codec: Codec
    payload_size: int
    plain_size: int
    segment_id: bytes
    offset: int
    domain: int = 0
    block_hash: bytes = bytes(HASH_SIZE)

    @property
    def extent(self) -> int:
        """Bytes from the record's beginning to the next one's."""
        return record_extent(self.payload_size)


def record_extent(payload_size: int) -> int:
    """Return how many bytes a record with such a payload takes, a multiple of 4096."""
    size = RECORD_HEADER_SIZE + payload_size
    return -(-size // ALIGNMENT) * ALIGNMENT


def encode_record(
    header: RecordHeader, payload: bytes | memoryview
) -> tuple[bytes, bytes | memoryview, bytes]:
    """Return a record as header, payload and padding, to be written one after the other."""
    if len(payload) != header.payload_size or len(payload) > PAYLOAD_SIZE_MAX:
        raise InternalError(f"a record with a payload of {len(payload)} bytes")
    head = RECORD_HEADER.pack(
        RECORD_MAGIC,
        header.kind,
        header.codec,
        0,
        header.payload_size,
        header.plain_size,
        header.segment_id,
        header.offset,
        header.domain,
        0,
        header.block_hash,
    )
    padding = bytes(header.extent - RECORD_HEADER_SIZE - len(payload))
    return head + stored_checksum((head, payload, padding)), payload, padding


def decode_record_header(data: bytes | memoryview) -> RecordHeader:
    """Return the header at the beginning of `data`, without looking at its checksum.

    Raises:
        CorruptionError: It is no record header, or its lengths are out of bounds.
    """
    if len(data) < RECORD_HEADER_SIZE:
        raise CorruptionError("the record is cut off", ErrorCode.CORRUPT_SEGMENT)
    magic, kind, codec, flags, payload, plain, segment_id, offset, domain, reserved, block_hash = (
        RECORD_HEADER.unpack_from(data)
    )
    if magic != RECORD_MAGIC or flags or reserved:
        raise CorruptionError("no record header", ErrorCode.CORRUPT_SEGMENT)
    if payload > PAYLOAD_SIZE_MAX or plain > PAYLOAD_SIZE_MAX or offset % ALIGNMENT:
        raise CorruptionError("a record header out of bounds", ErrorCode.CORRUPT_SEGMENT)
    try:
        record_kind, record_codec = RecordKind(kind), Codec(codec)
    except ValueError as error:
        raise CorruptionError(f"an unknown record: {error}", ErrorCode.CORRUPT_SEGMENT) from None
    if record_kind is RecordKind.BLOCK and plain != BLOCK_SIZE:
        raise CorruptionError("a block record of another size", ErrorCode.CORRUPT_SEGMENT)
    return RecordHeader(
        kind=record_kind,
        codec=record_codec,
        payload_size=payload,
        plain_size=plain,
        segment_id=segment_id,
        offset=offset,
        domain=domain,
        block_hash=block_hash,
    )


def decode_record(data: bytes, segment_id: bytes, offset: int) -> tuple[RecordHeader, memoryview]:
    """Return header and payload of the record whose whole extent is `data`.

    Args:
        data: The record's bytes, from its header to the end of its padding.
        segment_id: The segment it was read from.
        offset: The offset it was read from.

    Raises:
        CorruptionError: Any byte differs from what was written there. The decompressor must not see
            a payload that did not pass this check.
    """
    header = decode_record_header(data)
    view = memoryview(data)
    if header.segment_id != segment_id or header.offset != offset:
        raise CorruptionError(
            f"the record of segment {header.segment_id.hex()} offset {header.offset} lies here",
            ErrorCode.CORRUPT_SEGMENT,
        )
    if header.extent != len(data):
        raise CorruptionError("the record's length differs", ErrorCode.CORRUPT_SEGMENT)
    expected, found = record_checksums(view)
    if found != expected:
        raise CorruptionError(
            f"checksum {found.hex()} where {expected.hex()} was written",
            ErrorCode.CORRUPT_SEGMENT,
        )
    return header, view[RECORD_HEADER_SIZE : RECORD_HEADER_SIZE + header.payload_size]


def record_checksums(record: memoryview) -> tuple[bytes, bytes]:
    """Return the stored checksum that a record says it has, and the one it has.

    Args:
        record: Its whole extent.
    """
    said = bytes(record[RECORD_HEADER.size : RECORD_HEADER_SIZE])
    return said, stored_checksum((record[: RECORD_HEADER.size], record[RECORD_HEADER_SIZE:]))
