"""Planning a repair: which records are damaged, whom that hits, and what heals them.

Every live record is read and proved, as `check --data` does it, and every segment's header. Nothing
is written, not even what was proved: a plan leaves every byte of the store as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from ebsim.core.block_places import place_of
from ebsim.core.check_data import DataCheckRun, DataTask, block_hits
from ebsim.core.check_domains import check_data_keys, check_domains
from ebsim.core.check_values import SoundReader
from ebsim.core.context import StoreContext
from ebsim.core.damaged_blocks import list_damaged
from ebsim.core.domains import find_open
from ebsim.core.open_domains import PLAIN, Domain
from ebsim.core.remake import remake
from ebsim.core.remedies import Hits, Remedies, Remedy, Wanted
from ebsim.core.snapshots import list_snapshots
from ebsim.errors import CorruptionError, EbsimError, ErrorCode
from ebsim.format.catalog_values import (
    BlockRecord,
    MetaRecord,
    SegmentRecord,
    Table,
    parse_number_key,
)
from ebsim.format.segment import ALIGNMENT, decode_record_header, decode_segment_header
from ebsim.progress import Progress
from ebsim.reports import RepairedRecord
from ebsim.requests import DataCheck
from ebsim.storage.catalog import CatalogReader
from ebsim.units import BLOCK_SIZE

KINDS = {
    Table.BLOCKS: "block",
    Table.PAGE_RECORDS: "pages",
    Table.VERSION_RECORDS: "versions",
    Table.JOURNAL: "journal",
    Table.SEGMENTS: "header",
}
"""What is damaged, by the table that names it."""


@dataclass(frozen=True, slots=True)
class Damaged:
    """A damaged record, and how it is healed.

    Attributes:
        table: Where the catalog names it; SEGMENTS for a segment's header.
        number: Under which number.
        segment_id: Its segment.
        record: What the catalog says about it; a header is one of 4096 bytes at offset 0.
        message: What is wrong with it.
        remedy: What heals it: kind and place, for people; empty where nothing does.
        block: For a block, where its bytes are if they are to be written anew.
        hits: For a block, who has it.
        known: Whether it is known to be damaged, and was set aside.
    """

    table: Table
    number: int
    segment_id: bytes
    record: BlockRecord | MetaRecord
    message: str
    remedy: tuple[str, str] = ("", "")
    block: Remedy | None = None
    hits: Wanted | None = None
    known: bool = False

    @property
    def is_sound(self) -> bool:
        """Whether it is sound after all."""
        return self.remedy[0] == "sound"

    def outcome(self, *, healed: bool, set_aside: str = "") -> RepairedRecord:
        """Return what a user is told."""
        hits = [] if self.hits is None else self.hits.hits
        starts = [index * BLOCK_SIZE for _, index in hits]
        return RepairedRecord(
            kind=KINDS[self.table],
            segment_id=self.segment_id.hex(),
            offset=self.record.offset,
            size_bytes=self.record.extent,
            message=self.message,
            remedy=self.remedy[0] if healed else "",
            where=self.remedy[1] if healed else "",
            healed=healed,
            set_aside=set_aside,
            snapshots=tuple(record.snapshot_id for record, _ in hits),
            ranges=tuple(
                (start, min(start + BLOCK_SIZE, record.size_bytes))
                for start, (record, _) in zip(starts, hits, strict=True)
            ),
        )


def plan_repair(
    context: StoreContext, remedies: Remedies, progress: Progress
) -> tuple[list[Damaged], int]:
    """Return what is damaged, headers first, and how many bytes were read.

    Raises:
        CorruptionError: A value of the catalog is damaged: a rebuild comes first.
        StoreError: The store cannot be read.
    """
    segments = _sound_catalog(context)
    nothing: dict[Table, frozenset[bytes]] = {table: frozenset() for table in Table}
    run = DataCheckRun(context, nothing, segments, DataCheck(), keep=False)
    run.read(progress)
    for task, _ in run.damaged:  # what cannot be read for another reason is not damaged
        context.segments.read_raw(task.segment_id, task.record.offset, ALIGNMENT)
    tasks = [(task, wrong) for task, wrong in run.damaged if task.table is Table.BLOCKS]
    others = [(task, wrong) for task, wrong in run.damaged if task.table is not Table.BLOCKS]
    found = list(_headers(context, segments))
    found += _metadata(context, others)
    found += _blocks(context, remedies, tasks)
    return found, run.read_bytes


def _sound_catalog(context: StoreContext) -> dict[int, SegmentRecord]:
    """Return the segments that the catalog knows, by number.

    Raises:
        CorruptionError: A value of the catalog is damaged, or a data key damaged or missing.
    """
    with context.catalog.read() as raw:
        reader = SoundReader.examine(raw)
        keys = chain(
            check_domains(reader, list_snapshots(reader)), check_data_keys(context, reader.damage)
        )
        finding = next(chain(reader.findings(), keys), None)
        if finding is not None:
            raise CorruptionError(
                f"{finding.message}: make the catalog again with `ebsim rebuild` first, and then "
                "repair",
                ErrorCode.CORRUPT_CATALOG,
            )
        return {
            parse_number_key(key): SegmentRecord.decode(value)
            for key, value in reader.items(Table.SEGMENTS)
        }


def _headers(context: StoreContext, segments: dict[int, SegmentRecord]) -> Iterator[Damaged]:
    present = context.segments.list_ids()
    for number, record in sorted(segments.items()):
        if not record.live_bytes or record.segment_id not in present:
            continue
        message = "the segment header is another segment's"
        try:
            data = context.segments.read_raw(record.segment_id, 0, ALIGNMENT)
            header = decode_segment_header(data)
            if (header.segment_id, header.store_id) == (record.segment_id, context.header.store_id):
                continue
        except CorruptionError as error:
            message = f"segment {record.segment_id.hex()}: {error}"
        if _still_live(context, record.segment_id):
            place = MetaRecord(number, 0, ALIGNMENT, 1, 1)
            made = ("catalog", "")
            yield Damaged(Table.SEGMENTS, number, record.segment_id, place, message, made)


def _still_live(context: StoreContext, segment_id: bytes) -> bool:
    """Tell damage from a segment that was removed meanwhile."""
    with context.catalog.read() as reader:
        records = (SegmentRecord.decode(value) for _, value in reader.items(Table.SEGMENTS))
        live = any(each.segment_id == segment_id and each.live_bytes for each in records)
    return live and segment_id in context.segments.list_ids()


def _metadata(context: StoreContext, tasks: list[tuple[DataTask, str]]) -> Iterator[Damaged]:
    """Yield damaged records of pages and versions, and of the journal in its order."""
    entries = {task.number for task, _ in tasks if task.table is Table.JOURNAL}
    for task, wrong in sorted(tasks, key=lambda each: (each[0].table.value, each[0].number)):
        record = task.record
        assert isinstance(record, MetaRecord)
        remedy, reason = ("catalog", ""), ""
        follows = task.table is Table.JOURNAL and task.number - 1 in entries
        try:
            if not follows:  # else the one before it is made again first
                remake(context, task.table, task.number, record)
        except EbsimError as error:
            reason, remedy = f"; it cannot be made again: {error}", ("", "")
        yield Damaged(task.table, task.number, task.segment_id, record, wrong + reason, remedy)


def _blocks(
    context: StoreContext, remedies: Remedies, tasks: list[tuple[DataTask, str]]
) -> Iterator[Damaged]:
    with context.catalog.read() as reader:
        known = {block: _place(reader, block) for block, _ in list_damaged(reader)}
    wrong = {task.number: message for task, message in tasks}
    places = {task.number: (task.segment_id, task.record) for task, _ in tasks}
    nothing: dict[Table, frozenset[bytes]] = {table: frozenset() for table in Table}
    hits = block_hits(context, nothing, wrong.keys() | known.keys())
    wanted = []
    for block_id, (segment_id, record) in places.items():
        assert isinstance(record, BlockRecord)
        domain = _domain(context, segment_id, record, hits[block_id])
        wanted.append(
            Wanted(block_id, record.block_hash, segment_id, record, domain, hits[block_id])
        )
    found = remedies.find(wanted)
    for block in wanted:
        remedy = found.get(block.block_id)
        yield Damaged(
            Table.BLOCKS,
            block.block_id,
            block.segment_id,
            block.record,
            wrong[block.block_id],
            ("", "") if remedy is None else (remedy.kind, remedy.where),
            remedy,
            block,
            known=block.block_id in known,
        )
    for block_id, (segment_id, record) in known.items():
        if block_id not in wrong:
            back = Wanted(block_id, record.block_hash, segment_id, record, None, hits[block_id])
            message = f"block {block_id} was damaged, and its bytes are sound now"
            place = (Table.BLOCKS, block_id, segment_id, record, message)
            yield Damaged(*place, ("sound", ""), hits=back, known=True)


def _domain(
    context: StoreContext, segment_id: bytes, record: BlockRecord, hits: Hits
) -> Domain | None:
    """Return the domain of a damaged block, as its snapshots say, or else what is left of it."""
    if hits:
        return find_open(context, hits[0][0].domain)
    try:
        head = context.segments.read_raw(segment_id, record.offset, ALIGNMENT)
        return find_open(context, decode_record_header(head).domain)
    except EbsimError:
        return find_open(context, PLAIN)


def _place(reader: CatalogReader, block_id: int) -> tuple[bytes, BlockRecord]:
    place = place_of(reader, block_id)
    return place.segment_id, place.record
