"""Every bit of a store's segments, flipped one at a time, and looked at by what reads it.

A store is cut into *pieces*: what is read as one. A record is one, and so is a segment's header.
Each flip is made in memory, in the bytes as they lie on disk, and shown to the very functions by
which `check --data` and a restore read them. The bits of a record's own header go through
`decode_record`; all others, which cannot change what the header says, through the comparison of
checksums that `decode_record` consists of.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ebsim.errors import EbsimError
from ebsim.format import segment as layout
from ebsim.format.intent import decode_intents, encode_boot, encode_intent, encode_local
from ebsim.format.kept_block import (
    KEPT_HEADER,
    KEPT_HEADER_SIZE,
    decode_kept_slot,
    encode_kept_header,
)
from ebsim.format.segment import ALIGNMENT, RECORD_HEADER_SIZE, RecordHeader, RecordKind
from ebsim.format.store_header import decode_store_header
from ebsim.storage.files import PosixFiles
from ebsim.storage.segment_scan import scan_segment
from ebsim.testing.contents import NOISE
from ebsim.testing.damage import segment_files
from ebsim.testing.torture.campaign import Violation

_MASKS = tuple(1 << bit for bit in range(8))

UNUSED = "holes and bytes that were given back"
"""The region of what nothing refers to: no flip there is found, and none does harm."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a store that are read as one.

    Attributes:
        name: What it is, for messages.
        region: What kind of bytes it consists of, for figures.
        data: The bytes as they lie on disk.
        start: The first byte to flip.
        end: The byte behind the last.
        place: Where `data` lies in its file.
        misses: Given the bytes and the place of one of them: how many of its bits can be flipped
            unnoticed. The bytes are as they were afterwards.
    """

    name: str
    region: str
    data: bytearray
    start: int
    end: int
    place: int
    misses: Callable[[bytearray, int], int]


def segment_pieces(store: Path) -> tuple[list[Piece], int]:
    """Return the pieces of a closed store's segments, and how many bytes are in none.

    Raises:
        Violation: There is damage before a bit is flipped.
    """
    pieces: list[Piece] = []
    unused = 0
    for path in segment_files(store):
        content = path.read_bytes()
        header = bytearray(content[:ALIGNMENT])
        name = f"the header of {path.name}"
        pieces.append(Piece(name, "segment headers", header, 0, ALIGNMENT, 0, _header_misses))
        used = ALIGNMENT
        for found in scan_segment(PosixFiles(), path, bytes.fromhex(path.stem)):
            if found.header is None or found.payload is None:
                raise Violation(f"{path} has no record at {found.offset}")
            data = bytearray(content[found.offset : found.offset + found.extent])
            used += found.extent
            pieces += _record_pieces(path.name, found.header, data)
        unused += len(content) - used
    return pieces, unused


def _record_pieces(file: str, header: RecordHeader, data: bytearray) -> list[Piece]:
    name = f"the {header.kind.name} record at {header.offset} of {file}"

    def decoded(record: bytearray) -> None:
        layout.decode_record(record, header.segment_id, header.offset)  # type: ignore[arg-type]

    def compared(record: bytearray, at: int) -> int:
        byte, missed = record[at], 0
        view = memoryview(record)
        for mask in _MASKS:
            record[at] = byte ^ mask
            said, found = layout.record_checksums(view)
            missed += said == found
        record[at] = byte
        return missed

    end = RECORD_HEADER_SIZE + header.payload_size
    kind = "blocks" if header.kind is RecordKind.BLOCK else "other records"
    start, place, in_header = RECORD_HEADER_SIZE, header.offset, _misses_of(decoded)
    return [
        Piece(name, "headers of records", data, 0, start, place, in_header),
        Piece(name, f"payloads of {kind}", data, start, end, place, compared),
        Piece(name, "padding behind payloads", data, end, len(data), place, compared),
    ]


def _misses_of(read: Callable[[bytearray], None]) -> Callable[[bytearray, int], int]:
    """Return what counts the bits of a byte that `read` does not miss when they are flipped."""

    def misses(data: bytearray, at: int) -> int:
        byte, missed = data[at], 0
        for mask in _MASKS:
            data[at] = byte ^ mask
            try:
                read(data)
            except EbsimError:
                continue
            missed += 1
        data[at] = byte
        return missed

    return misses


def _read_segment_header(data: bytearray) -> None:
    layout.decode_segment_header(bytes(data))


_header_misses = _misses_of(_read_segment_header)


def other_pieces(store: Path) -> list[Piece]:
    """Return `store.json`, and what a managed volume has beside its data.

    A kept block's header is 40 bytes of a page; the rest of the page is zeros that nobody reads.
    """
    header = bytearray((store / "store.json").read_bytes())
    kept = bytearray(encode_kept_header("vol-1", 7, 3, memoryview(NOISE)) + NOISE)
    intents = bytearray(
        encode_boot("vol-1", "boot") + encode_intent("vol-1", 5) + encode_local("vol-1", 9)
    )
    whole, slot = _misses_of(_read_store_header), _misses_of(_read_slot)
    return [
        Piece("store.json", "store.json", header, 0, len(header), 0, whole),
        Piece("a kept block's header", "kept blocks", kept, 0, KEPT_HEADER.size, 0, slot),
        Piece("a kept block", "kept blocks", kept, KEPT_HEADER_SIZE, len(kept), 0, slot),
        Piece("intents", "intents", intents, 0, len(intents), 0, _intent_misses),
    ]


def _read_store_header(data: bytearray) -> None:
    decode_store_header(bytes(data))


def _read_slot(data: bytearray) -> None:
    decode_kept_slot("vol-1", memoryview(data))


def _intent_misses(data: bytearray, at: int) -> int:
    byte, missed = data[at], 0
    for mask in _MASKS:
        data[at] = byte ^ mask
        missed += decode_intents("vol-1", "boot", bytes(data)) is not None
    data[at] = byte
    return missed


def flip_range(pieces: Iterable[Piece], start: int, end: int) -> Counter[str]:
    """Flip every bit of some bytes, each alone; return how many flips there were, by region.

    Args:
        pieces: The pieces, one behind the other.
        start: The first byte.
        end: The byte behind the last.

    Raises:
        Violation: A flip was not noticed.
    """
    flips: Counter[str] = Counter()
    passed = 0
    for piece in pieces:
        size = piece.end - piece.start
        low, high = max(start - passed, 0), min(end - passed, size)
        passed += size
        if low >= high:
            continue
        for at in range(piece.start + low, piece.start + high):
            if missed := piece.misses(piece.data, at):
                raise Violation(f"{missed} flipped bits of byte {at} of {piece.name} are not found")
        flips[piece.region] += 8 * (high - low)
    return flips


def total_bytes(pieces: Iterable[Piece]) -> int:
    """Return how many bytes there are to flip."""
    return sum(piece.end - piece.start for piece in pieces)


def flips_by_region(pieces: Iterable[Piece], unused: int) -> dict[str, int]:
    """Return how many bits there are of each kind."""
    regions: Counter[str] = Counter()
    for piece in pieces:
        regions[piece.region] += 8 * (piece.end - piece.start)
    return {**regions, UNUSED: 8 * unused}
