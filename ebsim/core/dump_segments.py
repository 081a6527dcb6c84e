"""Dumping segments: their headers, their records, and the journal that they hold.

A segment is read page by page from its beginning, without the catalog. Where no record begins, a
gap is told: bytes that were given back, or damage.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebsim.core.dump_items import HIDDEN, DumpItem, plain
from ebsim.errors import EbsimError
from ebsim.format.catalog_values import Table
from ebsim.format.checksum import stored_checksum
from ebsim.format.meta_records import decode_journal, decode_pages, decode_versions
from ebsim.format.segment import (
    ALIGNMENT,
    RecordHeader,
    RecordKind,
    decode_record,
    decode_record_header,
    decode_segment_header,
)
from ebsim.storage.files import File, Files
from ebsim.units import MIB

SCAN_SIZE = MIB
"""How much of a gap is read at once."""


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """A record, or a gap, of a segment.

    Attributes:
        offset: Where it begins.
        end: Where it ends.
        header: The record's header; None for a gap.
        payload: The record's payload if all of it is sound.
        damage: What is wrong; empty if nothing is. A gap without damage is all zeros.
    """

    offset: int
    end: int
    header: RecordHeader | None = None
    payload: bytes | None = None
    damage: str = ""


def segment_paths(files: Files, folder: Path) -> list[Path]:
    """Return the segment files of a store, by name.

    Raises:
        OSError: The folder cannot be read.
    """
    names = sorted(name for name in files.list(folder / "segments") if name.endswith(".seg"))
    return [folder / "segments" / name for name in names]


def dump_segment_header(files: Files, path: Path) -> DumpItem:
    """Return a segment's header, without the key in it."""
    item: DumpItem = {"Kind": "segment", "File": path.name}
    try:
        file = files.open(path)
    except OSError as error:
        return {**item, "Damaged": str(error.strerror)}
    try:
        item["SizeInBytes"] = file.size()
        fields = plain(decode_segment_header(file.read_at(0, ALIGNMENT)))
        return {**item, **fields, "hash_key": HIDDEN}
    except (EbsimError, OSError) as error:
        return {**item, "Damaged": str(error)}
    finally:
        file.close()


def dump_segment(files: Files, path: Path) -> Iterator[DumpItem]:
    """Yield a segment's header, records and gaps."""
    yield dump_segment_header(files, path)
    try:
        file = files.open(path)
    except OSError:
        return  # said already
    try:
        for found in scan_segment(file, _segment_id(path)):
            yield _record_item(found)
    finally:
        file.close()


def dump_journal(files: Files, folder: Path) -> Iterator[DumpItem]:
    """Yield the journal's entries of all segments, by number, and whether the chain is whole."""
    entries: list[tuple[int, bytes, DumpItem]] = []
    for path in segment_paths(files, folder):
        file = files.open(path)
        try:
            for found in scan_segment(file, _segment_id(path)):
                if found.header is not None and found.header.kind is RecordKind.JOURNAL:
                    item = _journal_item(path, found)
                    entries.append((item.get("sequence", 0), found.payload or b"", item))
        finally:
            file.close()
    entries.sort(key=lambda entry: entry[0])
    before = 0
    names: tuple[str, ...] = ()
    for sequence, payload, item in entries:
        if sequence:
            linked = item.get("previous") in names if sequence == before + 1 else None
            item["Chained"] = linked if before else None
            stands_for = item["facts"].get("stands_for", "") if "facts" in item else ""
            before, names = sequence, (stored_checksum((payload,)).hex(), stands_for)
        yield item


def scan_segment(file: File, segment_id: bytes) -> Iterator[FoundRecord]:
    """Yield the records and gaps of a segment, in the order of their bytes.

    Raises:
        OSError: The file cannot be read.
    """
    size, offset, gap = file.size(), ALIGNMENT, ALIGNMENT
    while offset < size:
        header = _header_at(file, segment_id, offset)
        if header is None:
            offset = _next_candidate(file, offset + ALIGNMENT, size)
            continue
        if gap < offset:
            yield _gap(file, gap, offset)
        found = _record_at(file, segment_id, header)
        yield found
        offset = gap = found.end
    if gap < size:
        yield _gap(file, gap, size)


def _segment_id(path: Path) -> bytes:
    try:
        return bytes.fromhex(path.stem)
    except ValueError:
        return b""


def _header_at(file: File, segment_id: bytes, offset: int) -> RecordHeader | None:
    """Return the header at an offset if it is one that was written there, sound or not."""
    try:
        header = decode_record_header(file.read_at(offset, ALIGNMENT))
    except EbsimError:
        return None
    return header if (header.segment_id, header.offset) == (segment_id, offset) else None


def _next_candidate(file: File, offset: int, size: int) -> int:
    """Return the next offset at which a page begins that is not all zeros, or the end."""
    while offset < size:
        data = file.read_at(offset, min(SCAN_SIZE, size - offset))
        if not data:
            return size
        for start in range(0, len(data), ALIGNMENT):
            if any(data[start : start + 4]):
                return offset + start
        offset += len(data)
    return size


def _record_at(file: File, segment_id: bytes, header: RecordHeader) -> FoundRecord:
    offset, end = header.offset, header.offset + header.extent
    try:
        data = file.read_at(offset, header.extent)
        payload = bytes(decode_record(data, segment_id, offset)[1])
    except EbsimError as error:
        return FoundRecord(offset, min(end, file.size()), header, damage=str(error))
    return FoundRecord(offset, end, header, payload)


def _gap(file: File, start: int, end: int) -> FoundRecord:
    """Return a gap: zeros where bytes were given back, else what nobody can read any more."""
    for offset in range(start, end, SCAN_SIZE):
        if any(file.read_at(offset, min(SCAN_SIZE, end - offset))):
            return FoundRecord(start, end, damage="no record begins here")
    return FoundRecord(start, end)


def _record_item(found: FoundRecord) -> DumpItem:
    if found.header is None:
        item: DumpItem = {"Kind": "gap", "Offset": found.offset, "End": found.end}
    else:
        header = found.header
        item = {
            "Kind": "record",
            "Offset": found.offset,
            "End": found.end,
            "Holds": header.kind.name,
            "Codec": header.codec.name,
            "PayloadSize": header.payload_size,
            "PlainSize": header.plain_size,
        }
        if header.kind is RecordKind.BLOCK:
            item["BlockHash"] = header.block_hash.hex()
        elif found.payload is not None:
            item |= _described(header.kind, found.payload)
    return {**item, "Damaged": found.damage} if found.damage else item


def _described(kind: RecordKind, payload: bytes) -> DumpItem:
    """Return what a record of maps, versions or the journal says, in short."""
    try:
        if kind is RecordKind.VERSIONS:
            first, hashes = decode_versions(payload)
            return {"FirstVersion": first, "Versions": len(hashes)}
        if kind is RecordKind.PAGES:
            first, pages = decode_pages(payload)
            return {"FirstPage": first, "Pages": len(pages)}
        entry = decode_journal(payload)
        return {"Sequence": entry["sequence"], "Operation": entry["operation"]}
    except (EbsimError, KeyError) as error:
        return {"Damaged": str(error)}


def _journal_item(path: Path, found: FoundRecord) -> DumpItem:
    item: DumpItem = {"Kind": Table.JOURNAL.value.decode(), "File": path.name}
    item["Offset"] = found.offset
    if found.payload is None:
        return {**item, "Damaged": found.damage}
    try:
        entry: dict[str, Any] = decode_journal(found.payload)
    except EbsimError as error:
        return {**item, "Damaged": str(error)}
    return {**item, **plain(entry)}
