"""Making one copy in another store: begun or gone on with, proved, and kept as far as it came.

As any snapshot, it is made by `ebsim.core.making`, in the store that is copied to. Beside that

- what was stored is read back, and must be what was copied, before anything refers to it;
- after each batch the map as far as it is copied is kept (`ebsim.core.copied_part`), so that who
  is interrupted goes on there;
- an interruption leaves the copy pending, and only a failure ends it as `error`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from ebsim.config import Compression
from ebsim.core.abandon import forget_published, leave_pending, release_hold
from ebsim.core.block_maps import PageAllocator, replace_leaves, upper_page_count
from ebsim.core.context import StoreContext
from ebsim.core.copied_part import CopiedPart
from ebsim.core.counters import take
from ebsim.core.domains import encryption_members
from ebsim.core.encryption import Preparation
from ebsim.core.ingest import Batch, ChangedBlock, Ingest
from ebsim.core.lineage import Lineage, add_hold
from ebsim.core.making import Making
from ebsim.core.off_site_plan import OffSitePlan
from ebsim.core.off_site_relatives import Base
from ebsim.core.off_site_source import OffSiteIngest, OffSiteSource
from ebsim.core.publish import Prepared, describe_pages, publish_pages
from ebsim.core.sessions import OpenSegment, Session
from ebsim.core.snapshots import (
    find_snapshot,
    get_pending,
    put_snapshot,
    snapshots_of_volume,
)
from ebsim.core.space import SpaceChange
from ebsim.core.volumes import find_volume, put_volume
from ebsim.errors import CorruptionError, EbsimError, StoreError
from ebsim.format.catalog_values import Counter, NodeKind, NodeRecord
from ebsim.format.map_page import encode_page
from ebsim.format.records import SnapshotRecord, VolumeRecord
from ebsim.ids import SnapshotId, new_volume_id
from ebsim.progress import Progress
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogWriter


class BaseGoneError(Exception):
    """What a copy would be incremental on was deleted meanwhile; nothing was begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyJob:
    """One copy to be made.

    Attributes:
        snapshot_id: The copy's id: a new one, or that of one that was begun before.
        source: The snapshot that is copied.
        origin: What the copy says that it is a copy of.
        identity: What the copy's volume is known by.
        base: What it is incremental on, None for a full one.
        part: What was copied before.
        encryption: How it is encrypted; of one that was begun before, its record says so.
        unusable: Why a key that it needs cannot be used: then it ends as `error`.
        description: Of the copy.
        tags: Of the copy.
    """

    snapshot_id: SnapshotId
    source: SnapshotRecord
    origin: str
    identity: str
    base: Base | None = None
    part: CopiedPart = field(default_factory=CopiedPart)
    encryption: Preparation = field(default_factory=Preparation)
    unusable: EbsimError | None = None
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


class OffSiteMaking(Making):
    """One copy on its way from pending to completed.

    Attributes:
        stored_blocks: How many blocks the other store did not have.
        stored_bytes: What it occupies for them.
    """

    ingest_class: ClassVar[type[Ingest]] = OffSiteIngest

    def __init__(
        self,
        context: StoreContext,
        session: Session,
        source: OffSiteSource,
        plan: OffSitePlan,
        job: CopyJob,
    ) -> None:
        super().__init__(context, session, source, plan, job.snapshot_id, Compression())
        self._job = job
        self._growth.changed_blocks = job.part.changed_blocks
        self._base_root = 0
        self._unproved: Batch | None = None
        self.stored_blocks = 0
        self.stored_bytes = 0

    def make(self, progress: Progress) -> SnapshotRecord:
        """Begin the copy or go on with it, and complete it.

        Raises:
            SnapshotFailedError: It ended as `error`.
            StoreError: What was written reads back as something else, or as writing raises.
        """
        context, job = self._context, self._job
        try:
            record = context.catalog.update(
                lambda writer: begin(context, writer, self.session, job)
            )
            _ensure_usable(job)
            self._base_root = record.root
            progress.start(f"copy {job.source.snapshot_id}", job.source.size_bytes)
            return self.run(record, progress, source_read=self._prove_rest)
        except BaseGoneError:
            raise
        except BaseException as error:
            if isinstance(error, (EbsimError, OSError)):
                self.stop(error)
            else:
                self.leave()
            raise
        finally:
            progress.finish()

    # What is stored is proved before anything refers to it

    def _prepare(self, batch: Batch) -> None:
        super()._prepare(batch)
        self._unproved = batch
        places = [change.stored for found in batch.changes.values() for change in found]
        places += batch.healing.values()
        extents = [place.extent for place in places if place is not None]
        self.stored_blocks += len(extents)
        self.stored_bytes += sum(extents)

    def _publish(self, batch: Batch) -> None:
        self._prove(batch)
        super()._publish(batch)
        self._keep(batch)

    def _prove_rest(self) -> None:
        """Prove what the completing transaction publishes."""
        if self._unproved is not None:
            self._prove(self._unproved)

    def _prove(self, batch: Batch) -> None:
        """Read a batch back and compare its checksums, which were made of what was proved.

        Raises:
            StoreError: A record is not what was written.
        """
        if batch is self._unproved:
            self._unproved = None
        batch.segment.writer.sync()
        for found in batch.changes.values():
            for change in found:
                if change.stored is not None and not self._reads_back(batch.segment, change):
                    raise StoreError(
                        f"what was copied to {self._context.path} reads back as something else: "
                        "the disk or the memory is failing"
                    )

    def _reads_back(self, segment: OpenSegment, change: ChangedBlock) -> bool:
        place = change.stored
        assert place is not None, "only what was stored is read back"
        try:
            header, _ = self._context.segments.read_record(
                segment.writer.segment_id, place.offset, place.extent
            )
        except CorruptionError:
            return False
        return header.block_hash == change.block_hash

    # What is copied is kept

    def _keep(self, batch: Batch) -> None:
        """Keep the map as far as it is published, for who goes on if this process dies."""
        leaves = dict(self._growth.leaves)
        if not leaves:
            return
        context = self._context
        count = upper_page_count(leaves)
        first = context.catalog.update(lambda writer: take(writer, Counter.PAGE, count))
        allocator = PageAllocator(first)
        with context.catalog.read() as reader:
            root = replace_leaves(reader, self._base_root, leaves, allocator)
        segment = self.session.borrow_segment()
        pages = [encode_page(page) for page in allocator.pages]
        top = Prepared([], 0, first, pages)
        top.page_records = describe_pages(segment, first, pages)
        segment.writer.sync()
        part = CopiedPart(
            root=root,
            new_blocks=self._growth.new_blocks,
            changed_blocks=self._growth.changed_blocks,
            end=batch.scanned_end,
        )
        context.catalog.update(lambda writer: self._commit_part(writer, segment, top, part))
        self.session.return_segment(segment)

    def _commit_part(
        self, writer: CatalogWriter, segment: OpenSegment, top: Prepared, part: CopiedPart
    ) -> None:
        self._context.ensure_writable()
        pending = get_pending(writer, self._job.snapshot_id)
        space, lineage = SpaceChange(writer), Lineage(writer)
        publish_pages(writer, space, top.first_page, top.pages, top.page_records)
        forget_published(writer, pending.snapshot_id)
        hold, before = take(writer, Counter.NODE), CopiedPart.of(pending).hold
        lineage.add(hold, NodeRecord(NodeKind.HOLD, before or pending.hold, part.root, ""))
        if before:
            release_hold(writer, space, lineage, before)
        lineage.save(writer)
        put_snapshot(writer, replace(pending, copied_part=replace(part, hold=hold).facts()))
        segment.publish(writer, segment.writer.end)
        space.save()


def _ensure_usable(job: CopyJob) -> None:
    """Have a copy fail whose key cannot be used.

    Raises:
        EbsimError: It cannot.
    """
    if job.unusable is not None:
        raise job.unusable


def begin(
    context: StoreContext, writer: CatalogWriter, session: Session, job: CopyJob
) -> SnapshotRecord:
    """Add the pending copy, or take over one that was begun before; return its record.

    Its start is its source's: it is that point in time (EBS's copies have a start of their own,
    which would make those of a month look like one day's).
    """
    known = find_snapshot(writer, job.snapshot_id)
    if known is not None:
        return _take_over(writer, session, known)
    volume = _volume(context, writer, job)
    put_volume(writer, volume)
    source = job.source
    parent = None
    if job.base is not None:
        parent = find_snapshot(writer, job.base.copy.snapshot_id)
        if parent is None or parent.node != job.base.copy.node:
            raise BaseGoneError
    record = SnapshotRecord(
        snapshot_id=job.snapshot_id,
        volume_id=volume.volume_id,
        state=SnapshotState.PENDING,
        session=session.number,
        begun=take(writer, Counter.NODE),
        start_us=source.start_us,
        description=job.description,
        tags=dict(job.tags),
        size_bytes=source.size_bytes,
        source=job.identity,
        owner=context.acting.account,
        region=context.acting.region,
        copied_from=job.origin,
        parent_id=parent.snapshot_id if parent else None,
        full_blocks=parent.full_blocks if parent else 0,
        hold=add_hold(writer, parent.node, parent.root) if parent else 0,
        root=parent.root if parent else 0,
        lineage=parent.lineage if parent else take(writer, Counter.LINEAGE),
        **encryption_members(writer, _domain(writer, job, parent, volume)),
    )
    put_snapshot(writer, record)
    return record


def _domain(
    writer: CatalogWriter, job: CopyJob, parent: SnapshotRecord | None, volume: VolumeRecord
) -> int:
    """Return the domain of a copy: its parent's, for the two have blocks in common."""
    beside = snapshots_of_volume(writer, volume.volume_id)
    return job.encryption.settle(writer, beside if parent is None else [parent, *beside])


def _take_over(writer: CatalogWriter, session: Session, left: SnapshotRecord) -> SnapshotRecord:
    """Have the map that was kept be what the copy starts from."""
    leave_pending(writer, left.snapshot_id)  # if its process died just now
    record, part = get_pending(writer, left.snapshot_id), CopiedPart.of(left)
    if part.hold:
        if record.hold:
            space, lineage = SpaceChange(writer), Lineage(writer)
            release_hold(writer, space, lineage, record.hold)
            lineage.save(writer)
            space.save()
        rest = CopiedPart(changed_blocks=part.changed_blocks, end=part.end)
        record = replace(
            record,
            hold=part.hold,
            root=part.root,
            full_blocks=record.full_blocks + part.new_blocks,
            copied_part=rest.facts(),
        )
    record = replace(record, session=session.number)
    put_snapshot(writer, record)
    return record


def _volume(context: StoreContext, writer: CatalogWriter, job: CopyJob) -> VolumeRecord:
    """Return the volume that stands for the copies of a volume."""
    known = find_volume(context, writer, job.identity)
    if known is not None:
        return known
    return VolumeRecord(
        volume_id=new_volume_id(context.entropy),
        number=take(writer, Counter.VOLUME),
        source=job.identity,
        size_bytes=0,
        created_us=context.clock.now_us(),
        owner=context.acting.account,
        region=context.acting.region,
    )
