"""Making a snapshot that is pending: its source is read, and it ends as `completed` or `error`.

ingest    the source is read; full batches are published as they come
complete  one transaction: the last batch, the map's upper pages, the place in the lineage, the
charge, the ledger, the journal entry
abandon   instead of `complete` when anything failed: what was published is freed again
"""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from ebsim import failpoints, refusals
from ebsim.config import Compression
from ebsim.core.abandon import abandon, leave_pending, note_published
from ebsim.core.complete import Commit, MapGrowth, complete
from ebsim.core.context import StoreContext
from ebsim.core.domains import open_domain
from ebsim.core.extents import ScanPlan
from ebsim.core.ingest import Batch, Ingest, Storing, read_block, store_block
from ebsim.core.open_domains import Domain
from ebsim.core.publish import BlocksVanishedError, Prepared, prepare_batch, publish_batch
from ebsim.core.reclaim import reclaim_if_needed
from ebsim.core.sessions import OpenSegment, Session
from ebsim.core.snapshots import find_snapshot
from ebsim.core.space import SpaceChange
from ebsim.errors import (
    KEY_FAILURES,
    EbsimError,
    ErrorCode,
    SnapshotFailedError,
    SourceError,
    StoreError,
)
from ebsim.format.block_hash import BlockHash
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId
from ebsim.progress import Progress
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogWriter
from ebsim.storage.codecs import BlockEncoder
from ebsim.storage.reserve import DELETION_PART
from ebsim.storage.sources import BlockSource
from ebsim.units import BLOCK_SIZE


class Making:
    """One snapshot on its way from pending to completed.

    Args:
        context: The store.
        session: Whose segments are written.
        source: What is read.
        plan: Which of it.
        snapshot_id: The snapshot.
        compression: How new blocks are stored.

    Attributes:
        session: As given.
        snapshot_id: As given.
    """

    ingest_class: ClassVar[type[Ingest]] = Ingest

    def __init__(
        self,
        context: StoreContext,
        session: Session,
        source: BlockSource,
        plan: ScanPlan,
        snapshot_id: SnapshotId,
        compression: Compression,
    ) -> None:
        self._context = context
        self.session = session
        self._source = source
        self._plan = plan
        self.snapshot_id = snapshot_id
        self._compression = compression
        self._growth = MapGrowth()
        self._prepared: dict[int, Prepared] = {}
        self._segment: OpenSegment | None = None
        self._domain: Domain | None = None

    def run(
        self,
        record: SnapshotRecord,
        progress: Progress,
        *,
        source_read: Callable[[], None],
        commit: Commit | None = None,
    ) -> SnapshotRecord:
        """Read the source and complete the snapshot.

        Args:
            record: The pending snapshot.
            progress: Told how far the reading is.
            source_read: Called when the source is not needed any more.
            commit: Runs the completing transaction; None: by itself.

        Raises:
            LimitExceededError: NoSpace: what is left is needed for deleting.
            EbsimError: As reading, publishing and completing raise.
        """
        context, source = self._context, self._source
        context.reserve.ensure_room(context.path)
        self._domain = domain = open_domain(context, record.domain)
        storing = Storing(domain, self._compression)
        ingest = self.ingest_class(context, self.session, source, self._plan, storing, progress)
        try:
            batch = ingest.run(record.root, self._prepare, self._publish)
        finally:
            self._segment = ingest.batch.segment
        self._prepare(batch)
        if batch.relies_on_stored:  # publish while the source can still be read
            self._publish(batch)
        source.ensure_unchanged()
        source_read()
        failpoints.reach("complete.source-read")
        prepared = self._prepared.pop(batch.number, None) or Prepared([], 0, 0)
        completed = complete(context, record, batch.segment, prepared, self._growth, commit)
        self.session.return_segment(batch.segment)
        return completed

    def stop(self, error: BaseException) -> None:
        """Abandon the snapshot after `error`.

        Raises:
            SnapshotFailedError: As `give_up`.
        """
        segment = self._segment
        seal = None if segment is None else lambda: self.session.seal_segment(segment)
        give_up(self._context, self.snapshot_id, error, seal)

    def leave(self) -> None:
        """Leave the snapshot pending, to whoever goes on with it.

        Raises:
            StoreError, LimitExceededError: It could not be; the end of the session does it.
        """
        context, name = self._context, self.snapshot_id

        def leave(writer: CatalogWriter) -> None:
            record = find_snapshot(writer, name)
            if record is not None and record.state == SnapshotState.PENDING:
                leave_pending(writer, name)

        if context.poison:
            return  # whoever opens the store next does it
        if self._segment is not None:
            self.session.seal_segment(self._segment)
        context.catalog.update(leave)

    def _prepare(self, batch: Batch) -> None:
        prepared = prepare_batch(self._context, batch)
        self._prepared[batch.number] = prepared
        self._growth.add(prepared)

    def _publish(self, batch: Batch) -> None:
        prepared = self._prepared.pop(batch.number)
        segment = batch.segment
        failpoints.reach("publish.stored")
        segment.writer.sync()
        failpoints.reach("publish.synced")

        def change(writer: CatalogWriter) -> None:
            self._context.ensure_writable()
            space = SpaceChange(writer)
            publish_batch(writer, space, prepared)
            segment.publish(writer, prepared.end)
            if again is not None:
                again.publish(writer, again.writer.end)
            note_published(writer, self.snapshot_id, batch, prepared)
            space.save()

        again: OpenSegment | None = None
        while True:
            try:
                self._context.catalog.update(change)
                break
            except BlocksVanishedError as gone:
                again = again or self.session.borrow_segment()
                self._store_again(again, prepared, gone.hashes)
        failpoints.reach("publish.committed")
        if again is not None:
            self.session.return_segment(again)

    def _store_again(
        self, segment: OpenSegment, prepared: Prepared, hashes: set[BlockHash]
    ) -> None:
        """Store blocks that were found in the store, and freed before we referred to them."""
        encoder, domain = BlockEncoder(self._compression), self._domain
        assert domain is not None, "the blocks were read"
        buffer = memoryview(bytearray(BLOCK_SIZE))
        for position, change in enumerate(prepared.changes):
            if change.block_hash not in hashes:
                continue
            hashes.discard(change.block_hash)
            read_block(self._source, change.index, buffer)
            if domain.hash_block(buffer) != change.block_hash:
                raise SourceError(
                    f"{self._source.identity} changed at offset {change.index * BLOCK_SIZE} while "
                    "it was read",
                    ErrorCode.SOURCE_CHANGED,
                )
            place = store_block(segment, domain, encoder, buffer, change.block_hash)
            prepared.changes[position] = replace(change, stored=place)
        segment.writer.sync()


def give_up(
    context: StoreContext,
    snapshot_id: SnapshotId,
    error: BaseException,
    seal: Callable[[], None] | None = None,
) -> None:
    """Abandon a pending snapshot after `error`.

    What this cannot do, for a lack of space or a second failure, is done when the session ends.

    Args:
        context: The store.
        snapshot_id: The snapshot; it need not have been begun.
        error: What happened.
        seal: Seals the segment that it was written to.

    Raises:
        SnapshotFailedError: The snapshot ended as `error`. Not raised when it was refused, when
            the user interrupted it (then nothing of it is kept), or when it is completed.
    """
    if isinstance(error, StoreError):
        context.poison = context.poison or str(error)
    if context.poison or not _is_pending(context, snapshot_id):
        return
    failed = isinstance(error, (EbsimError, OSError))
    reason = _reason(error) if failed else None
    with context.reserve.released_if_low(keep=DELETION_PART):
        if seal is not None:
            seal()
        abandoned = context.catalog.update(
            lambda writer: abandon(context, writer, snapshot_id, reason)
        )
        reclaim_if_needed(context)
    if failed and abandoned:
        code = error.code if isinstance(error, EbsimError) else None
        raise SnapshotFailedError(
            f"snapshot {snapshot_id} ended as error: {error}", code, snapshot_id
        ) from error


def _reason(error: BaseException) -> str:
    """Return a failed snapshot's `StateMessage`; EC2 has one for every trouble with a key."""
    key = isinstance(error, EbsimError) and error.code in KEY_FAILURES
    return str(refusals.key_not_accessible() if key else error)


def _is_pending(context: StoreContext, snapshot_id: SnapshotId) -> bool:
    with context.catalog.read() as reader:
        record = find_snapshot(reader, snapshot_id)
    return record is not None and record.state == SnapshotState.PENDING
