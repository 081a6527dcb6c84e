"""Reading a segment without a catalog: every record that is there, from the front to the back.

A rebuild does it. Each record says which segment and which offset it was written at, so that after
damage the next record is recognised, and nothing is taken for a record that is none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ebsim.errors import CorruptionError, StoreError
from ebsim.format.segment import (
    ALIGNMENT,
    RecordHeader,
    SegmentHeader,
    decode_record,
    decode_record_header,
    decode_segment_header,
)
from ebsim.storage.files import File, Files

_ZEROS_SIZE = 1 << 20
_ZEROS = bytes(_ZEROS_SIZE)
_ZERO_PAGE = bytes(ALIGNMENT)


@dataclass(frozen=True, slots=True)
class ScannedRecord:
    """What lies at one place of a segment.

    Attributes:
        offset: Where it begins.
        extent: How many bytes it takes.
        header: Its header; None where there is none that fits the place.
        payload: Its payload, checked; None where it is damaged.
    """

    offset: int
    extent: int
    header: RecordHeader | None
    payload: memoryview | None


def segment_path(folder: Path, segment_id: bytes) -> Path:
    """Return the file of a segment in a store's folder."""
    return folder / "segments" / f"{segment_id.hex()}.seg"


def scan_segment(
    files: Files, path: Path, segment_id: bytes, *, start: int = ALIGNMENT, end: int | None = None
) -> Iterator[ScannedRecord]:
    """Yield the records of a segment, and pages that are neither a record nor a hole.

    Args:
        files: The store's files.
        path: The segment's file.
        segment_id: Its id.
        start: From where on, a multiple of 4096.
        end: Where no record may begin any more; None: the end of the file.

    Raises:
        StoreError: The file cannot be read.
    """
    try:
        file = files.open(path)
        try:
            size, offset = file.size(), start
            size = size if end is None else min(size, end)
            while offset < size:
                offset = _next_data(file, offset, size)
                if offset >= size:
                    return
                record = _record_at(file, segment_id, offset)
                yield record
                offset += record.extent
        finally:
            file.close()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error


def has_room_for_records(files: Files, path: Path) -> bool:
    """Return whether a segment is longer than its header.

    Raises:
        StoreError: The file cannot be read.
    """
    try:
        file = files.open(path)
        try:
            return file.size() > ALIGNMENT
        finally:
            file.close()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error


def read_segment_header(files: Files, path: Path) -> SegmentHeader:
    """Return a segment's header.

    Raises:
        CorruptionError: It is damaged.
        StoreError: The file cannot be read.
    """
    try:
        file = files.open(path)
        try:
            return decode_segment_header(file.read_at(0, ALIGNMENT))
        finally:
            file.close()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error


def _record_at(file: File, segment_id: bytes, offset: int) -> ScannedRecord:
    head = file.read_at(offset, ALIGNMENT)
    try:
        header = decode_record_header(head)
    except CorruptionError:
        return ScannedRecord(offset, ALIGNMENT, None, None)
    if header.segment_id != segment_id or header.offset != offset:
        return ScannedRecord(offset, ALIGNMENT, None, None)
    data = head + file.read_at(offset + ALIGNMENT, header.extent - ALIGNMENT)
    try:
        _, payload = decode_record(data, segment_id, offset)
    except CorruptionError:
        # The length may be what is damaged: the next record may begin on any page.
        return ScannedRecord(offset, ALIGNMENT, header, None)
    return ScannedRecord(offset, header.extent, header, payload)


def _next_data(file: File, offset: int, size: int) -> int:
    """Return the first page from `offset` on that is not all zeros, or the end."""
    while offset < size:
        if file.read_at(offset, ALIGNMENT).strip(b"\0"):
            return offset
        data = file.read_at(offset, _ZEROS_SIZE)
        if data == _ZEROS[: len(data)]:
            offset += len(data)
            continue
        at = 0
        while data[at : at + ALIGNMENT] == _ZERO_PAGE:
            at += ALIGNMENT
        if data[at : at + ALIGNMENT].strip(b"\0"):
            return offset + at
        return size
    return size
