"""The block store's seam, and the one that keeps segments as local files.

`SegmentStore` is what the engine needs of a place for segments: create one and append batches of
records, read a record by place, list and drop segments, give back ranges. A backend that keeps
segments elsewhere must pass `tests/conformance/test_segment_stores.py`.
"""

import errno
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ebsim import failpoints
from ebsim.errors import CorruptionError, ErrorCode, StoreError
from ebsim.format.sealing import SegmentCipher, sealed_size
from ebsim.format.segment import (
    ALIGNMENT,
    PAYLOAD_SIZE_MAX,
    Codec,
    RecordHeader,
    RecordKind,
    SegmentHeader,
    decode_record,
    decode_segment_header,
    encode_record,
    encode_segment_header,
    record_extent,
)
from ebsim.storage.failures import read_failure, write_failure
from ebsim.storage.files import File, Files
from ebsim.units import BLOCK_SIZE

RECORD_EXTENT_MAX = record_extent(PAYLOAD_SIZE_MAX)

OPEN_FILES_MAX = 64
"""Segments kept open for reading; beyond, the one unused for longest is closed."""

_NAME = re.compile(r"([0-9a-f]{32})\.seg\Z")


@dataclass(frozen=True, slots=True)
class BlockFacts:
    """What is said of a block when its record is appended.

    Attributes:
        codec: How the payload was made from the block.
        block_hash: The hash of its plain bytes, in its dedup domain.
        cipher: Seals the payload, for an encrypted domain; None for the unencrypted one.
    """

    codec: Codec
    block_hash: bytes
    cipher: SegmentCipher | None = None


class SegmentWriter(Protocol):
    """A segment that is being written, by this process and no other."""

    @property
    def segment_id(self) -> bytes:
        """The segment's 16-byte id."""
        ...

    @property
    def end(self) -> int:
        """The offset at which the next record begins."""
        ...

    def append(
        self,
        kind: RecordKind,
        payload: bytes,
        block: BlockFacts | None = None,
    ) -> tuple[int, int]:
        """Write a record at the end; return its offset and extent. Safe for several threads.

        Args:
            kind: What it holds.
            payload: Its payload, not sealed yet.
            block: For a block, and only for one, what else is said of it.

        Raises:
            LimitExceededError: No space; the segment must be cut off at its published end.
            StoreError: The device failed; likewise.
        """
        ...

    def sync(self) -> None:
        """Make every record appended so far durable.

        Raises:
            StoreError: The device failed; what was appended since the last sync may be lost.
        """
        ...

    def close(self) -> None:
        """Append nothing more. What was not published is cut off by `SegmentStore.truncate`."""
        ...


class SegmentStore(Protocol):
    """A place for segments."""

    def create(self, header: SegmentHeader) -> SegmentWriter:
        """Create a segment and make its existence durable.

        Raises:
            LimitExceededError: No space.
            StoreError: The device failed, or the id exists.
        """
        ...

    def read_record(
        self, segment_id: bytes, offset: int, extent: int
    ) -> tuple[RecordHeader, memoryview]:
        """Return header and payload of a record, checked against its stored checksum.

        Raises:
            CorruptionError: The segment is missing, or any byte of the record differs.
        """
        ...

    def read_header(self, segment_id: bytes) -> SegmentHeader:
        """Return a segment's header.

        Raises:
            CorruptionError: It is missing or damaged.
        """
        ...

    def read_raw(self, segment_id: bytes, offset: int, length: int) -> bytes:
        """Return what lies there, unproved; less where the segment ends before, or is missing.

        A page that the device cannot read is returned as zeros.
        """
        ...

    def rewrite_header(self, header: SegmentHeader) -> None:
        """Write a header anew where it was damaged, and sync it; records are not touched.

        Raises:
            LimitExceededError, StoreError: It cannot be written; it is as damaged as before.
        """
        ...

    def list_ids(self) -> set[bytes]:
        """Return the ids of all segments that are there."""
        ...

    def free(self, segment_id: bytes, ranges: Iterable[tuple[int, int]]) -> None:
        """Give back ranges of (offset, length); they hold nothing any more. Missing is fine."""
        ...

    def truncate(self, segment_id: bytes, end: int) -> None:
        """Cut off a segment whose writer died. Missing or shorter is fine."""
        ...

    def drop(self, segment_id: bytes) -> None:
        """Remove a segment. Missing is fine."""
        ...

    def occupied_bytes(self, segment_id: bytes) -> int:
        """Return the bytes a segment occupies; 0 where it is missing."""
        ...

    def stored_bytes(self) -> int:
        """Return the bytes all segments occupy."""
        ...

    def close(self) -> None:
        """Close what is open for reading."""
        ...


class LocalSegmentWriter:
    """A segment file that is being written."""

    def __init__(self, file: File, path: Path, segment_id: bytes) -> None:
        self._file = file
        self._path = path
        self._segment_id = segment_id
        self._end = ALIGNMENT
        self._lock = threading.Lock()

    @property
    def segment_id(self) -> bytes:
        """The segment's 16-byte id."""
        return self._segment_id

    @property
    def end(self) -> int:
        """The offset at which the next record begins."""
        return self._end

    def append(
        self,
        kind: RecordKind,
        payload: bytes,
        block: BlockFacts | None = None,
    ) -> tuple[int, int]:
        """Write a record at the end; return its offset and extent."""
        with self._lock:
            header = self._header(kind, len(payload), block)
            self._end += header.extent
        sealed: bytes | memoryview = payload
        if block is not None and block.cipher is not None:
            out = bytearray(header.payload_size)
            sealed = block.cipher.seal_into(header, payload, out)
        try:
            self._file.write_at(header.offset, encode_record(header, sealed))
        except OSError as error:
            raise write_failure(error, self._path) from error
        return header.offset, header.extent

    def _header(self, kind: RecordKind, size: int, block: BlockFacts | None) -> RecordHeader:
        if block is None:
            return RecordHeader(
                kind=kind,
                codec=Codec.PLAIN,
                payload_size=size,
                plain_size=size,
                segment_id=self._segment_id,
                offset=self._end,
            )
        cipher = block.cipher
        return RecordHeader(
            kind=kind,
            codec=block.codec,
            payload_size=size if cipher is None else sealed_size(size),
            plain_size=BLOCK_SIZE,
            segment_id=self._segment_id,
            offset=self._end,
            domain=0 if cipher is None else cipher.domain,
            block_hash=block.block_hash,
        )

    def sync(self) -> None:
        """Make every record appended so far durable."""
        try:
            self._file.sync()
        except OSError as error:
            raise write_failure(error, self._path) from error

    def close(self) -> None:
        """Append nothing more."""
        self._file.close()


class LocalSegmentStore:
    """Segments as files `STORE/segments/ID.seg`."""

    def __init__(self, folder: Path, files: Files) -> None:
        self._folder = folder
        self._files = files
        self._open: OrderedDict[bytes, File] = OrderedDict()
        self._lock = threading.Lock()

    def create(self, header: SegmentHeader) -> SegmentWriter:
        """Create a segment and make its existence durable."""
        path = self._path(header.segment_id)
        try:
            file = self._files.create(path)
            try:
                failpoints.reach("segment.named")
                file.write_at(0, [encode_segment_header(header)])
                file.sync()
                failpoints.reach("segment.header-synced")
                self._files.sync_directory(self._folder)
            except OSError:
                file.close()
                self._files.remove(path)
                raise
        except OSError as error:
            raise write_failure(error, path) from error
        return LocalSegmentWriter(file, path, header.segment_id)

    def read_record(
        self, segment_id: bytes, offset: int, extent: int
    ) -> tuple[RecordHeader, memoryview]:
        """Return header and payload of a record, checked against its stored checksum."""
        if extent > RECORD_EXTENT_MAX:
            raise CorruptionError(
                f"{self._path(segment_id)} at {offset}: no record has {extent} bytes",
                ErrorCode.CORRUPT_SEGMENT,
            )
        try:
            data = self._reader(segment_id).read_at(offset, extent)
        except FileNotFoundError as error:
            raise CorruptionError(
                f"the segment file {self._path(segment_id)} is missing", ErrorCode.CORRUPT_SEGMENT
            ) from error
        except OSError as error:
            raise StoreError(
                f"cannot read {self._path(segment_id)} at {offset}: {error.strerror}"
            ) from error
        try:
            return decode_record(data, segment_id, offset)
        except CorruptionError as error:
            raise CorruptionError(
                f"{self._path(segment_id)} at {offset}: {error}", error.code
            ) from None

    def read_header(self, segment_id: bytes) -> SegmentHeader:
        """Return a segment's header.

        Raises:
            CorruptionError: It is missing or damaged.
        """
        try:
            data = self._reader(segment_id).read_at(0, ALIGNMENT)
        except OSError as error:
            raise CorruptionError(
                f"the segment file {self._path(segment_id)} cannot be read: {error.strerror}",
                ErrorCode.CORRUPT_SEGMENT,
            ) from error
        return decode_segment_header(data)

    def read_raw(self, segment_id: bytes, offset: int, length: int) -> bytes:
        """Return what lies there, unproved; less where the segment ends before, or is missing."""
        try:
            return self._reader(segment_id).read_at(offset, length)
        except FileNotFoundError:
            return b""
        except OSError as error:
            if error.errno != errno.EIO:
                raise read_failure(error, self._path(segment_id)) from error
        pages = range(offset, offset + length, ALIGNMENT)
        return b"".join(self._read_page(segment_id, page) for page in pages)

    def _read_page(self, segment_id: bytes, offset: int) -> bytes:
        try:
            return self._reader(segment_id).read_at(offset, ALIGNMENT)
        except OSError as error:
            if error.errno != errno.EIO:
                raise read_failure(error, self._path(segment_id)) from error
            return bytes(ALIGNMENT)

    def rewrite_header(self, header: SegmentHeader) -> None:
        """Write a header anew where it was damaged, and sync it; records are not touched."""
        path = self._path(header.segment_id)
        try:
            file = self._files.open(path, writable=True)
            try:
                file.write_at(0, [encode_segment_header(header)])
                file.sync()
            finally:
                file.close()
        except OSError as error:
            raise write_failure(error, path) from error

    def list_ids(self) -> set[bytes]:
        """Return the ids of all segments that are there."""
        try:
            names = self._files.list(self._folder)
        except OSError as error:
            raise StoreError(f"cannot list {self._folder}: {error.strerror}") from error
        matches = (_NAME.match(name) for name in names)
        return {bytes.fromhex(match[1]) for match in matches if match}

    def free(self, segment_id: bytes, ranges: Iterable[tuple[int, int]]) -> None:
        """Give back ranges of (offset, length); they hold nothing any more."""
        path = self._path(segment_id)
        try:
            file = self._files.open(path, writable=True)
        except FileNotFoundError:
            return
        except OSError as error:
            raise write_failure(error, path) from error
        try:
            for offset, length in merge_ranges(ranges):
                if not file.punch(offset, length):
                    return
        except OSError as error:
            raise write_failure(error, path) from error
        finally:
            file.close()

    def truncate(self, segment_id: bytes, end: int) -> None:
        """Cut off a segment whose writer died."""
        path = self._path(segment_id)
        try:
            file = self._files.open(path, writable=True)
        except FileNotFoundError:
            return
        except OSError as error:
            raise write_failure(error, path) from error
        try:
            if file.size() > end:
                file.truncate(end)
        except OSError as error:
            raise write_failure(error, path) from error
        finally:
            file.close()

    def drop(self, segment_id: bytes) -> None:
        """Remove a segment."""
        with self._lock:
            self._open.pop(segment_id, None)
        path = self._path(segment_id)
        try:
            self._files.remove(path)
            failpoints.reach("segment.removed")
            self._files.sync_directory(self._folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise write_failure(error, path) from error

    def occupied_bytes(self, segment_id: bytes) -> int:
        """Return the bytes a segment occupies; 0 where it is missing."""
        path = self._path(segment_id)
        try:
            return self._files.allocated_bytes(path)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise StoreError(f"cannot look at {path}: {error.strerror}") from error

    def stored_bytes(self) -> int:
        """Return the bytes all segments occupy."""
        return sum(self.occupied_bytes(segment_id) for segment_id in self.list_ids())

    def close(self) -> None:
        """Close what is open for reading."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()

    def _path(self, segment_id: bytes) -> Path:
        return self._folder / f"{segment_id.hex()}.seg"

    def _reader(self, segment_id: bytes) -> File:
        with self._lock:
            file = self._open.get(segment_id)
            if file is None:
                file = self._open[segment_id] = self._files.open(self._path(segment_id))
            self._open.move_to_end(segment_id)
            if len(self._open) > OPEN_FILES_MAX:
                self._open.popitem(last=False)
            return file


def merge_ranges(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges of (offset, length) in order, with those that touch made one."""
    merged: list[tuple[int, int]] = []
    for offset, length in sorted(ranges):
        if merged and sum(merged[-1]) >= offset:
            begin, known = merged[-1]
            merged[-1] = (begin, max(known, offset + length - begin))
        else:
            merged.append((offset, length))
    return merged
