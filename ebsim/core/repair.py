"""Repair: damaged records are set aside, and written anew where their bytes can be found again.

The plan is made first (`ebsim.core.repair_plan`); carrying it out goes on in steps of bounded size,
in the order of a compaction:

    1. The damaged bytes are set aside, in files of their own (`ebsim.storage.set_aside`).
    2. What takes their place is proved once more, and appended to a segment of this process.
    3. The segment is synced.
    4. One transaction lets the catalog name the new places, of those records that are still where
       they were. A block for which there is no remedy is noted as damaged: it is not found by its
       content any more, so that the next snapshot that has this content heals it.
    5. The usual reclaim gives the old bytes back.

A segment's header is written anew in its place: it was damaged, and stays so at the worst.

A process that dies leaves what a compaction leaves, and files that were set aside; the repair can
be done again. Nobody waits for a repair but another one, or a compaction.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ebsim import failpoints
from ebsim.config import Compression
from ebsim.core.block_table import get_block, heal_block
from ebsim.core.context import StoreContext
from ebsim.core.damaged_blocks import find_damaged, mark_damaged, unmark_damaged
from ebsim.core.ingest import store_block
from ebsim.core.other_store import OtherStore
from ebsim.core.reclaim import reclaim_if_needed
from ebsim.core.remake import Remade, live_items, remake
from ebsim.core.remedies import Remedies
from ebsim.core.repair_plan import Damaged, plan_repair
from ebsim.core.sessions import OpenSegment, Session, current_session
from ebsim.core.space import SpaceChange
from ebsim.errors import CorruptionError, ErrorCode, LimitExceededError, StoreError
from ebsim.format.catalog_values import BlockRecord, MetaRecord, Table, hash_key, number_key
from ebsim.format.segment import SegmentHeader
from ebsim.progress import Progress
from ebsim.reports import RepairedRecord, RepairReport
from ebsim.storage.catalog import CatalogReader, CatalogWriter
from ebsim.storage.codecs import BlockEncoder
from ebsim.storage.locks import Lock, Region
from ebsim.storage.reserve import ROOM_MIN
from ebsim.storage.set_aside import SetAside
from ebsim.units import BLOCK_SIZE, MIB, format_size

STEP_BYTES_MAX = 64 * MIB
"""What a step sets aside and writes anew at most, each."""


def repair_store(
    context: StoreContext, progress: Progress, *, other: OtherStore | None, dry_run: bool
) -> RepairReport:
    """Repair a store, or tell what that would do.

    Args:
        context: The store.
        progress: Told how far it is.
        other: Another store that may have what is missed.
        dry_run: Change nothing.

    Raises:
        InvalidInputError, NotFoundError: The other store is none, or is this one.
        CorruptionError: A value of the catalog is damaged: a rebuild comes first.
        LimitExceededError: NoSpace: there is too little to begin, or it ran out; what was healed
            until then stays healed.
        StoreError: A write failed; the same.
    """
    with Remedies(context, other, progress) as remedies:
        if dry_run:
            plan, read_bytes = plan_repair(context, remedies, progress)
            told = tuple(item.outcome(healed=bool(item.remedy[0])) for item in plan)
            return RepairReport(records=told, read_bytes=read_bytes, dry_run=True)
        context.ensure_writable()
        with _only_one(context, progress):
            plan, read_bytes = plan_repair(context, remedies, progress)
            records = _Repair(context, remedies, progress).run(plan) if plan else ()
            return RepairReport(records=tuple(records), read_bytes=read_bytes, dry_run=False)


def _only_one(context: StoreContext, progress: Progress) -> Lock:
    lock = context.locks.try_hold(Region.COMPACT)
    if lock is None:
        progress.note("a compaction or repair of this store is under way; waiting for it")
        lock = context.locks.hold(Region.COMPACT)
    return lock


@dataclass(slots=True)
class _Done:
    """What is written of one damaged record.

    Attributes:
        item: The record.
        set_aside: Where its damaged bytes are.
        places: What takes its place: offset and extent in the segment, and for metadata what it is.
        gone: Whether nothing referred to it any more.
        healed: Whether it is healed.
    """

    item: Damaged
    set_aside: str
    places: list[tuple[int, int, Remade | None]] = field(default_factory=list)
    gone: bool = False
    healed: bool = False


class _Repair:
    """One repair; its caller holds the lock."""

    def __init__(self, context: StoreContext, remedies: Remedies, progress: Progress) -> None:
        self._context = context
        self._remedies = remedies
        self._progress = progress
        self._set_aside = SetAside(context.path, context.files)
        self._encoder = BlockEncoder(Compression())
        self._session: Session | None = None

    def run(self, plan: Sequence[Damaged]) -> Iterator[RepairedRecord]:
        """Do what is planned, and yield what became of each record."""
        unchanged = [item for item in plan if item.known and not item.remedy[0]]
        wanted = [item for item in plan if not (item.known and not item.remedy[0])]
        self._progress.start("repair", sum(item.record.extent for item in wanted))
        try:
            for step in self._steps(wanted):
                for done in self._carry_out(step):
                    if not done.gone:
                        yield done.item.outcome(healed=done.healed, set_aside=done.set_aside)
        finally:
            self._progress.finish()
        for item in unchanged:
            yield item.outcome(healed=False)

    def _steps(self, plan: Sequence[Damaged]) -> Iterator[list[Damaged]]:
        """Yield what is done together; an entry of the journal alone, for the next names it."""
        if not plan:
            return
        room_max = self._step_bytes()
        step: list[Damaged] = []
        room = room_max
        for item in plan:
            size = max(item.record.extent, 2 * BLOCK_SIZE)
            if step and (size > room or Table.JOURNAL in (item.table, step[-1].table)):
                yield step
                step, room = [], room_max
            step.append(item)
            room -= size
        yield step

    def _step_bytes(self) -> int:
        """Return how much a step may take, which is less where little is free.

        Raises:
            LimitExceededError: NoSpace: what is free is left to deletions.
        """
        context = self._context
        try:
            free = context.files.free_bytes(context.path)
        except OSError as error:
            message = f"cannot ask {context.path} for its space: {error.strerror}"
            raise StoreError(message) from error
        if free < ROOM_MIN:
            raise LimitExceededError(
                f"repairing needs {format_size(ROOM_MIN)} of free space, and {format_size(free)} "
                "are free: delete snapshots, or free space otherwise, and try again",
                ErrorCode.NO_SPACE,
            )
        return min(STEP_BYTES_MAX, free // 4)

    def _carry_out(self, step: list[Damaged]) -> list[_Done]:
        """Set aside, write anew, let the catalog name it, and reclaim."""
        context = self._context
        names = self._set_aside.keep(
            (item.segment_id, item.record.offset, self._raw(item)) for item in step
        )
        failpoints.reach("repair.set-aside")
        work = [_Done(item, name) for item, name in zip(step, names, strict=True)]
        for done in work:
            if done.item.table is Table.SEGMENTS:
                self._rewrite_header(done)
        records = [done for done in work if done.item.table is not Table.SEGMENTS]
        if records:
            self._session = self._session or current_session(context)
            segment = self._session.borrow_segment()
            try:
                for done in records:
                    self._write_anew(segment, done)
                failpoints.reach("repair.written")
                segment.writer.sync()
                failpoints.reach("repair.synced")
                context.catalog.update(_naming(segment, records))
                failpoints.reach("repair.committed")
            except StoreError:
                raise  # the outcome may be unknown: whoever opens the store next looks
            except BaseException:
                self._session.seal_segment(segment)
                raise
            self._session.return_segment(segment)
            reclaim_if_needed(context)
        for done in work:
            self._progress.advance(done.item.record.extent)
        return work

    def _raw(self, item: Damaged) -> bytes:
        if item.is_sound:
            return b""
        return self._context.segments.read_raw(
            item.segment_id, item.record.offset, item.record.extent
        )

    def _rewrite_header(self, done: _Done) -> None:
        context, item = self._context, done.item
        header = SegmentHeader(
            store_id=context.header.store_id,
            segment_id=item.segment_id,
            hash_key=context.hash_key,
            created_us=0,  # nobody knows any more
        )
        context.segments.rewrite_header(header)
        failpoints.reach("repair.header-written")
        done.healed = True

    def _write_anew(self, segment: OpenSegment, done: _Done) -> None:
        """Append what takes a damaged record's place, if it can still be proved, or made."""
        item = done.item
        if isinstance(item.record, BlockRecord):
            self._write_block(segment, done, item.record)
        elif item.remedy[0]:
            try:
                made = remake(self._context, item.table, item.number, item.record)
            except CorruptionError:
                return  # it was freed meanwhile, or what it needs is damaged too
            for part in made:
                place = segment.writer.append(part.kind, part.payload)
                done.places.append((*place, part))

    def _write_block(self, segment: OpenSegment, done: _Done, record: BlockRecord) -> None:
        remedy, wanted = done.item.block, done.item.hits
        if remedy is None or wanted is None or wanted.domain is None:
            return
        data = self._remedies.proved(remedy, wanted)
        if data is None:
            return
        block = memoryview(data)
        place = store_block(segment, wanted.domain, self._encoder, block, record.block_hash)
        done.places.append((place.offset, place.extent, None))


def _naming(segment: OpenSegment, work: Sequence[_Done]) -> Callable[[CatalogWriter], None]:
    """Return the change that names what was written anew, and notes what could not be."""

    def change(writer: CatalogWriter) -> None:
        space = SpaceChange(writer)
        for done in work:
            done.gone, done.healed = not _is_there(writer, done.item), False
            if done.gone:
                for offset, extent, _ in done.places:
                    space.discard(segment.number, offset, extent)
            elif isinstance(done.item.record, BlockRecord):
                done.healed = _name_block(writer, space, segment, done)
            elif done.places:
                _name_metadata(writer, space, segment, done)
                done.healed = True
        segment.publish(writer, segment.writer.end)
        space.save()

    return change


def _is_there(reader: CatalogReader, item: Damaged) -> bool:
    """Return whether the catalog still names a record, at this place."""
    value = reader.get(item.table, number_key(item.number))
    if value is None:
        return False
    decode = BlockRecord.decode if item.table is Table.BLOCKS else MetaRecord.decode
    now = decode(value)
    return (now.segment, now.offset) == (item.record.segment, item.record.offset)


def _name_block(
    writer: CatalogWriter, space: SpaceChange, segment: OpenSegment, done: _Done
) -> bool:
    """Heal a block or note that it is damaged; return whether it is healed."""
    item = done.item
    record = get_block(writer, item.number)
    if item.is_sound:
        if find_damaged(writer, record.block_hash) == item.number:
            unmark_damaged(writer, record.block_hash)
            writer.put(Table.HASHES, hash_key(record.block_hash), number_key(item.number))
        return True
    if not done.places:
        mark_damaged(writer, item.number, record.block_hash)
        return False
    ((offset, extent, _),) = done.places
    heal_block(writer, space, item.number, (segment.number, offset, extent))
    return True


def _name_metadata(
    writer: CatalogWriter, space: SpaceChange, segment: OpenSegment, done: _Done
) -> None:
    """Name the records that take the place of one, as far as their items still count."""
    item = done.item
    writer.delete(item.table, number_key(item.number))
    space.free(item.record.segment, item.record.offset, item.record.extent)
    for offset, extent, part in done.places:
        assert part is not None
        live = len(live_items(writer, item.table, part.first, part.items))
        if not live:
            space.discard(segment.number, offset, extent)
            continue
        record = MetaRecord(segment.number, offset, extent, part.items, live)
        writer.put(item.table, number_key(part.first), record.encode())
        space.use(segment.number, extent)
