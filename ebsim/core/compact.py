"""Compaction: what is live in segments that are not worth keeping is copied, and their files go.

It goes on in steps of bounded size. For each:

    1. Live records are read, proved by their stored checksum, and appended to a segment of this
       process as they are: a header for the new place, the same payload, nothing decompressed. A
       block that is encrypted is so for its place, and encrypted anew: that needs its key.
    2. The segment is synced.
    3. One transaction lets the catalog name the new places, of those records that are still live
       and still where they were. A copy that came too late is given back.
    4. The usual reclaim (`ebsim.core.reclaim`) removes segments in which nothing is live any more.

A process that dies leaves bytes that nothing refers to, which the next one to open the store cuts
off, or an empty segment, which it removes. A record that cannot be proved stays where it is, with
its segment, and is reported; so does an encrypted block whose key cannot be had. Segments that
somebody may still append to are never touched.

Nobody waits for a compaction but another one. A reader that looked a place up before the third step
finds other bytes there, or none, and looks it up once more (`ebsim.core.read.BlockLoader`).
"""

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from ebsim import failpoints
from ebsim.core.compact_plan import Candidate, plan_compaction
from ebsim.core.context import StoreContext
from ebsim.core.domains import open_domain
from ebsim.core.reclaim import reclaim, reclaim_if_needed
from ebsim.core.sessions import OpenSegment, current_session
from ebsim.core.space import SpaceChange, get_segment
from ebsim.errors import (
    CorruptionError,
    EbsimError,
    ErrorCode,
    LimitExceededError,
    StoreError,
)
from ebsim.format.catalog_values import BlockRecord, MetaRecord, Table, number_key, parse_number_key
from ebsim.format.segment import RecordHeader, RecordKind
from ebsim.progress import Progress
from ebsim.reports import CompactReport, DamagedRecord
from ebsim.storage.catalog import CatalogReader, CatalogWriter
from ebsim.storage.locks import Lock, Region
from ebsim.storage.reserve import ROOM_MIN
from ebsim.storage.segments import BlockFacts
from ebsim.units import MIB, format_size

STEP_BYTES_MAX = 64 * MIB
"""What a step copies at most: the space needed beside what the store occupies already."""

STEP_RECORDS_MAX = 4096
"""What a step's transaction moves at most."""

RECORDS_AT_ONCE = 4096
"""Records looked up in one view of the catalog."""

_KINDS = {
    Table.BLOCKS: RecordKind.BLOCK,
    Table.PAGE_RECORDS: RecordKind.PAGES,
    Table.VERSION_RECORDS: RecordKind.VERSIONS,
    Table.JOURNAL: RecordKind.JOURNAL,
}
"""The tables that name records, and what each names."""

_TABLES = tuple(_KINDS)


@dataclass(frozen=True, slots=True)
class _LiveRecord:
    """A record that the catalog names.

    Attributes:
        table: Where it is named.
        number: Under which number.
        segment: The number of its segment.
        offset: Its byte offset.
        extent: Its bytes.
    """

    table: Table
    number: int
    segment: int
    offset: int
    extent: int


def compact_store(context: StoreContext, progress: Progress, *, dry_run: bool) -> CompactReport:
    """Compact what is worth it, or tell what that would do.

    Returns once the files are gone.

    Raises:
        LimitExceededError: NoSpace: there is too little space to begin, or it ran out; what was
            moved until then stays moved.
        CorruptionError: A value of the catalog is damaged.
        StoreError: A write failed; the same.
    """
    if dry_run:
        plan = _plan(context)
        outcomes = tuple(candidate.outcome(candidate.live_bytes) for candidate in plan)
        return CompactReport(compacted=outcomes, damaged=(), dry_run=True)
    context.ensure_writable()
    with _only_one(context, progress):
        reclaim_if_needed(context)
        plan = _plan(context)
        if not plan:
            return CompactReport(compacted=(), damaged=(), dry_run=False)
        return _Compaction(context, plan, _step_bytes(context), progress).run()


def _plan(context: StoreContext) -> list[Candidate]:
    with context.catalog.read() as reader:
        return plan_compaction(reader, context.segments)


def _only_one(context: StoreContext, progress: Progress) -> Lock:
    lock = context.locks.try_hold(Region.COMPACT)
    if lock is None:
        progress.note("another compaction of this store is under way; waiting for it")
        lock = context.locks.hold(Region.COMPACT)
    return lock


def _step_bytes(context: StoreContext) -> int:
    """Return how much a step may copy, which is less where little is free.

    Raises:
        LimitExceededError: NoSpace: what is free is left to deletions.
    """
    try:
        free = context.files.free_bytes(context.path)
    except OSError as error:
        raise StoreError(f"cannot ask {context.path} for its space: {error.strerror}") from error
    if free < ROOM_MIN:
        raise LimitExceededError(
            f"compacting needs {format_size(ROOM_MIN)} of free space, and {format_size(free)} are "
            "free: delete snapshots, or free space otherwise, and try again",
            ErrorCode.NO_SPACE,
        )
    return min(STEP_BYTES_MAX, free // 4)


class _Compaction:
    """One compaction; its caller holds the lock."""

    def __init__(
        self,
        context: StoreContext,
        plan: Sequence[Candidate],
        step_bytes: int,
        progress: Progress,
    ) -> None:
        self._context = context
        self._plan = plan
        self._step_bytes = step_bytes
        self._progress = progress
        self._copied: defaultdict[int, int] = defaultdict(int)
        self._damaged: list[DamagedRecord] = []
        self._sealed = 0

    def run(self) -> CompactReport:
        """Do what is planned."""
        session = current_session(self._context)
        self._progress.start("compact", sum(candidate.live_bytes for candidate in self._plan))
        try:
            steps = self._steps(_live_records(self._context, self._plan))
            segment: OpenSegment | None = None
            for step in steps:
                segment = segment or session.borrow_segment()
                try:
                    self._move(segment, step)
                except StoreError:
                    raise  # the outcome may be unknown: whoever opens the store next looks
                except BaseException:
                    session.seal_segment(segment)
                    raise
                if segment.full:
                    session.return_segment(segment)
                    segment = None
            if segment is not None:
                session.return_segment(segment)
        finally:
            self._progress.finish()
        return self._report()

    def _steps(self, records: dict[int, "array[int]"]) -> Iterator[list[_LiveRecord]]:
        """Yield what is moved together: whole segments, as far as they fit into a step."""
        step: list[_LiveRecord] = []
        room = self._step_bytes
        for candidate in self._plan:
            found = _unpacked(candidate.number, records.pop(candidate.number, array("Q")))
            size = sum(record.extent for record in found)
            if step and (size > room or len(step) + len(found) > STEP_RECORDS_MAX):
                yield step
                step, room = [], self._step_bytes
            for record in found:
                if step and (record.extent > room or len(step) == STEP_RECORDS_MAX):
                    yield step
                    step, room = [], self._step_bytes
                step.append(record)
                room -= record.extent
        if step:
            yield step

    def _move(self, segment: OpenSegment, step: list[_LiveRecord]) -> None:
        """Copy the records of a step, let the catalog name the copies, and reclaim."""
        with self._context.catalog.read() as reader:
            ids = {
                number: get_segment(reader, number).segment_id
                for number in {record.segment for record in step if _is_there(reader, record)}
            }
        copies: list[tuple[_LiveRecord, int]] = []
        for record in step:
            if record.segment in ids:
                offset = self._copy(segment, record, ids[record.segment])
                if offset is not None:
                    copies.append((record, offset))
            self._progress.advance(record.extent)
        if copies:
            failpoints.reach("compact.copied")
            segment.writer.sync()
            failpoints.reach("compact.synced")
            moved = self._context.catalog.update(_repointing(segment, copies))
            failpoints.reach("compact.committed")
            for number, size in moved.items():
                self._copied[number] += size
        reclaim(self._context)

    def _copy(self, segment: OpenSegment, record: _LiveRecord, segment_id: bytes) -> int | None:
        """Append a record as it is and return its new offset; None if it stays where it is.

        It stays if it cannot be proved; or if it is sealed, and its key cannot be had: it is sealed
        for its place.
        """
        try:
            header, payload = self._context.segments.read_record(
                segment_id, record.offset, record.extent
            )
            self._ensure_meant(record, header)
        except EbsimError as error:
            self._note_damaged(record, segment_id, error)
            return None
        try:
            domain = open_domain(self._context, header.domain)
        except EbsimError:
            self._sealed += 1
            return None
        cipher = domain.cipher(segment_id)
        try:
            plain = bytes(payload) if cipher is None else cipher.open(header, payload)
        except EbsimError as error:
            self._note_damaged(record, segment_id, error)
            return None
        facts = None
        if header.kind is RecordKind.BLOCK:
            new_cipher = domain.cipher(segment.writer.segment_id)
            facts = BlockFacts(header.codec, header.block_hash, new_cipher)
        offset, _ = segment.writer.append(header.kind, plain, facts)
        return offset

    def _note_damaged(self, record: _LiveRecord, segment_id: bytes, error: EbsimError) -> None:
        """Tell of a record that cannot be proved, unless it was freed meanwhile."""
        with self._context.catalog.read() as reader:
            if not _is_there(reader, record):
                return
        self._damaged.append(
            DamagedRecord(segment_id=segment_id.hex(), offset=record.offset, message=str(error))
        )

    def _ensure_meant(self, record: _LiveRecord, header: RecordHeader) -> None:
        """Look that the record is the one that the catalog means."""
        with self._context.catalog.read() as reader:
            named = _named(reader, record.table, record.number)
        other_block = isinstance(named, BlockRecord) and named.block_hash != header.block_hash
        if header.kind is not _KINDS[record.table] or other_block:
            raise CorruptionError("another record lies there", ErrorCode.CORRUPT_SEGMENT)

    def _report(self) -> CompactReport:
        with self._context.catalog.read() as reader:
            kept = {
                candidate.number
                for candidate in self._plan
                if reader.get(Table.SEGMENTS, number_key(candidate.number)) is not None
            }
        outcomes = tuple(
            candidate.outcome(self._copied[candidate.number], gone=candidate.number not in kept)
            for candidate in self._plan
        )
        return CompactReport(
            compacted=outcomes,
            damaged=tuple(self._damaged),
            sealed_blocks=self._sealed,
            dry_run=False,
        )


def _live_records(context: StoreContext, plan: Sequence[Candidate]) -> dict[int, "array[int]"]:
    """Return, by segment, each live record as four numbers: table, number, offset and extent.

    A sealed segment gets no further records, so that none is missed by looking at the catalog for a
    short time at once.
    """
    found = {candidate.number: array("Q") for candidate in plan}
    for at, table in enumerate(_TABLES):
        decode = BlockRecord.decode if table is Table.BLOCKS else MetaRecord.decode
        start: bytes | None = b""
        while start is not None:
            with context.catalog.read() as reader:
                part = list(islice(reader.items(table, start=start), RECORDS_AT_ONCE))
            for key, value in part:
                record = decode(value)
                if record.segment in found:
                    place = (at, parse_number_key(key), record.offset, record.extent)
                    found[record.segment].extend(place)
            start = number_key(parse_number_key(part[-1][0]) + 1) if part else None
    return found


def _unpacked(segment: int, numbers: "array[int]") -> list[_LiveRecord]:
    """Return the records of a segment in the order of their bytes."""
    records = [
        _LiveRecord(
            _TABLES[numbers[at]], numbers[at + 1], segment, numbers[at + 2], numbers[at + 3]
        )
        for at in range(0, len(numbers), 4)
    ]
    return sorted(records, key=lambda record: record.offset)


def _named(reader: CatalogReader, table: Table, number: int) -> BlockRecord | MetaRecord | None:
    value = reader.get(table, number_key(number))
    if value is None:
        return None
    return BlockRecord.decode(value) if table is Table.BLOCKS else MetaRecord.decode(value)


def _is_there(reader: CatalogReader, record: _LiveRecord) -> bool:
    """Return whether the catalog still names the record, at this place."""
    named = _named(reader, record.table, record.number)
    return named is not None and (named.segment, named.offset) == (record.segment, record.offset)


def _repointing(
    segment: OpenSegment, copies: Sequence[tuple[_LiveRecord, int]]
) -> Callable[[CatalogWriter], dict[int, int]]:
    """Return the change that names the copies instead; it returns the bytes moved, by segment."""

    def change(writer: CatalogWriter) -> dict[int, int]:
        space = SpaceChange(writer)
        moved: defaultdict[int, list[_LiveRecord]] = defaultdict(list)
        for record, offset in copies:
            named = _named(writer, record.table, record.number)
            if named is None or not _is_there(writer, record):
                space.discard(segment.number, offset, record.extent)
                continue
            value = replace(named, segment=segment.number, offset=offset).encode()
            writer.put(record.table, number_key(record.number), value)
            space.use(segment.number, record.extent)
            moved[record.segment].append(record)
        for number, records in moved.items():
            _vacate(writer, space, number, records)
        segment.publish(writer, segment.writer.end)
        space.save()
        return {
            number: sum(record.extent for record in records) for number, records in moved.items()
        }

    return change


def _vacate(
    writer: CatalogWriter, space: SpaceChange, number: int, records: Sequence[_LiveRecord]
) -> None:
    """Count records less in their old segment, and punch them out where its file stays."""
    size = sum(record.extent for record in records)
    left = get_segment(writer, number).live_bytes - size
    if left < 0:
        raise CorruptionError(
            f"segment {number} has more live records than it counts: run `ebsim check`",
            ErrorCode.CORRUPT_CATALOG,
        )
    if left == 0:
        space.vacate(number, size)
        return
    for record in records:
        space.free(number, record.offset, record.extent)
