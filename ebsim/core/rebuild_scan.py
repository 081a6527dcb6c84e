"""Rebuilding, first part: what the segments hold, and how the journal is chained."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ebsim.core.journal import MORE
from ebsim.errors import CorruptionError, FormatVersionError
from ebsim.format.checksum import CHECKSUM_SIZE, stored_checksum
from ebsim.format.meta_records import decode_journal, decode_pages, decode_versions
from ebsim.format.segment import ALIGNMENT, RecordKind
from ebsim.format.store_header import StoreHeader
from ebsim.reports import Finding
from ebsim.storage.files import Files
from ebsim.storage.segment_scan import (
    ScannedRecord,
    has_room_for_records,
    read_segment_header,
    scan_segment,
    segment_path,
)

RESTATED = "restated"
"""The operation of an entry that takes the place of one that was damaged."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a record lies: the segment's number in the new catalog, offset and extent."""

    segment: int
    offset: int
    extent: int


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """An entry of the journal that was found.

    Attributes:
        sequence: Its number.
        checksum: By which the next entry names it.
        previous: The checksum of the entry before it.
        operation: What was done.
        facts: What that did.
        place: Its record.
    """

    sequence: int
    checksum: bytes
    previous: bytes
    operation: str
    facts: dict[str, Any]
    place: Place

    @property
    def names(self) -> tuple[bytes, ...]:
        """By what the next entry may name it: one that was restated stands for another."""
        stands_for = self.facts.get("stands_for") if self.operation == RESTATED else None
        if stands_for is None:
            return (self.checksum,)
        return self.checksum, bytes.fromhex(stands_for)


@dataclass(slots=True)
class Scan:
    """What the segments hold.

    Attributes:
        segments: The ids of the segments; the number of the first is 1.
        ends: By segment number, where its last record ends.
        records: The places of all records that are whole.
        blocks: By block hash, the places of records of that block.
        damaged_blocks: By block hash, places at which only the header of such a record is left.
        versions: By version, its block hash.
        version_records: By the first version it describes: how many, and where.
        pages: By page id, the page as stored.
        page_records: By the first page it has: how many, and where.
        journal: The entries by number; two of a number if one was never committed.
        unreadable: By segment number, bytes that are neither records nor holes.
        findings: What is wrong with whole segments.
    """

    segments: list[bytes] = field(default_factory=list)
    ends: dict[int, int] = field(default_factory=dict)
    records: list[Place] = field(default_factory=list)
    blocks: dict[bytes, Place] = field(default_factory=dict)
    damaged_blocks: dict[bytes, Place] = field(default_factory=dict)
    versions: dict[int, bytes] = field(default_factory=dict)
    version_records: dict[int, tuple[int, Place]] = field(default_factory=dict)
    pages: dict[int, bytes] = field(default_factory=dict)
    page_records: dict[int, tuple[int, Place]] = field(default_factory=dict)
    journal: dict[int, list[JournalEntry]] = field(default_factory=lambda: defaultdict(list))
    unreadable: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    findings: list[Finding] = field(default_factory=list)


def scan_store(
    folder: Path,
    files: Files,
    header: StoreHeader,
    segment_ids: set[bytes],
    advance: Callable[[int], None],
) -> Scan:
    """Read every record of every segment of a store.

    Args:
        folder: The store.
        files: Its files.
        header: Which store it is.
        segment_ids: The segments that are there.
        advance: Told how many bytes were read.

    Raises:
        StoreError: A file cannot be read.
    """
    scan = Scan()
    for segment_id in sorted(segment_ids):
        path = segment_path(folder, segment_id)
        try:
            found = read_segment_header(files, path)
            if found.store_id != header.store_id:
                scan.findings.append(
                    Finding(kind="unknown-segment", message=f"{path} is another store's")
                )
                continue
            if found.segment_id != segment_id:
                message = f"{path} is a copy of segment {found.segment_id.hex()}, or was renamed"
                scan.findings.append(Finding(kind="unknown-segment", message=message))
                continue
        except (CorruptionError, FormatVersionError) as error:
            if has_room_for_records(files, path):  # else its making was broken off
                scan.findings.append(Finding(kind="corrupt-segment", message=f"{path}: {error}"))
        scan.segments.append(segment_id)
        number = len(scan.segments)
        scan.ends[number] = ALIGNMENT
        for record in scan_segment(files, path, segment_id):
            _take(scan, number, record)
            advance(record.extent)
    return scan


def _take(scan: Scan, number: int, record: ScannedRecord) -> None:
    """Add what lies at one place."""
    header, payload = record.header, record.payload
    if header is None or payload is None:
        scan.unreadable[number] += record.extent
        if header is not None and header.kind is RecordKind.BLOCK:
            place = Place(number, record.offset, header.extent)
            scan.damaged_blocks[header.block_hash] = place
        return
    place = Place(number, record.offset, record.extent)
    scan.ends[number] = record.offset + record.extent
    try:
        if header.kind is RecordKind.BLOCK:
            scan.blocks.setdefault(header.block_hash, place)
        elif header.kind is RecordKind.VERSIONS:
            first, hashes = decode_versions(payload)
            scan.version_records.setdefault(first, (len(hashes), place))
            scan.versions.update(enumerate(hashes, first))
        elif header.kind is RecordKind.PAGES:
            first, pages = decode_pages(payload)
            scan.page_records.setdefault(first, (len(pages), place))
            scan.pages.update(enumerate(pages, first))
        else:
            entry = journal_entry(payload, place)
            if all(entry.checksum != other.checksum for other in scan.journal[entry.sequence]):
                scan.journal[entry.sequence].append(entry)
    except (CorruptionError, ValueError, TypeError) as error:
        scan.unreadable[number] += record.extent
        message = f"a record that ebsim did not write: {error}"
        scan.findings.append(Finding(kind="corrupt-record", message=message))
        return
    scan.records.append(place)


def journal_entry(payload: memoryview, place: Place) -> JournalEntry:
    """Return the entry that a record holds.

    Raises:
        CorruptionError, KeyError, ValueError, TypeError: It is none.
    """
    fields = decode_journal(payload)
    return JournalEntry(
        sequence=int(fields["sequence"]),
        checksum=stored_checksum((payload,)),
        previous=bytes.fromhex(fields["previous"]),
        operation=fields["operation"],
        facts=fields["facts"],
        place=place,
    )


_PREFERENCE = {"complete": 0, "delete": 2}
"""Of two entries that may be the last, a completion counts, because it loses nothing."""


def chained_entries(scan: Scan) -> tuple[list[JournalEntry], list[Finding]]:
    """Return the entries that were committed, in order, and where the chain is broken.

    Of two entries with one number, the later one names the one that was committed. Nobody names the
    last one: a commit whose outcome nobody was told may count, and one that was lost is not missed.
    Of a commit with several entries that breaks off at the end, none counts.
    """
    chain: list[JournalEntry] = []
    findings: list[Finding] = []
    wanted: bytes | None = None
    for sequence in range(max(scan.journal, default=0), 0, -1):
        candidates = sorted(scan.journal.get(sequence, []), key=_preference)
        named = [entry for entry in candidates if wanted is None or wanted in entry.names]
        if len(named) > 1 and chain == []:
            message = f"two entries of the journal are numbered {sequence}, the last one"
            findings.append(Finding(kind="journal-ambiguous", message=message))
        if not named:
            what = "is missing" if not candidates else "is not the one that the next one names"
            message = f"entry {sequence} of the journal {what}: what it did is not known"
            findings.append(Finding(kind="journal-gap", message=message))
            wanted = None if not candidates else candidates[0].previous
            chain.extend(candidates[:1])
            continue
        chain.append(named[0])
        wanted = named[0].previous
    if chain and chain[-1].sequence == 1 and chain[-1].previous != bytes(CHECKSUM_SIZE):
        findings.append(Finding(kind="journal-gap", message="the journal's first entry is not one"))
    chain.reverse()
    while chain and chain[-1].facts.get(MORE):
        chain.pop()
    return chain, findings[::-1]


def _preference(entry: JournalEntry) -> tuple[int, bytes]:
    return _PREFERENCE.get(entry.operation, 1), entry.checksum
