"""Creating a snapshot of a source: from `pending` to `completed`, or to `error`.

    begin     one transaction: the volume, the pending snapshot, and a hold on its parent's map
    ingest    the source is read; full batches are published as they come
    complete  one transaction: the last batch, the map's upper pages, the place in the lineage, the
              charge, the ledger, the journal entry
    abandon   instead of `complete` when anything failed: what was published is freed again

A process that dies leaves a pending snapshot whose session's lock is free; the next process to open
the store abandons it (`ebsim.core.recovery`).
"""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace

from ebsim.config import SnapshotOptions
from ebsim.core.abandon import abandon, note_published
from ebsim.core.complete import MapGrowth, complete
from ebsim.core.context import StoreContext
from ebsim.core.counters import take
from ebsim.core.ingest import Batch, Ingest, read_block, store_block
from ebsim.core.lineage import add_hold
from ebsim.core.publish import BlocksVanishedError, Prepared, prepare_batch, publish_batch
from ebsim.core.reclaim import reclaim_if_needed, reclaim_if_possible
from ebsim.core.sessions import OpenSegment, Session, current_session
from ebsim.core.snapshots import check_options, put_snapshot
from ebsim.core.space import SpaceChange
from ebsim.core.volumes import continue_volume, find_volume
from ebsim.errors import EbsimError, ErrorCode, SnapshotFailedError, SourceError, StoreError
from ebsim.format.block_hash import BlockHash, hash_block
from ebsim.format.catalog_values import Counter, Table
from ebsim.format.records import SnapshotRecord, decode_snapshot
from ebsim.ids import VolumeId, new_snapshot_id
from ebsim.progress import Progress
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogWriter
from ebsim.storage.codecs import BlockEncoder
from ebsim.storage.locks import Lock, Region
from ebsim.storage.sources import BlockSource
from ebsim.units import BLOCK_SIZE


def create_snapshot(
    context: StoreContext,
    source_opener: AbstractContextManager[BlockSource],
    identity: str,
    options: SnapshotOptions,
    progress: Progress,
) -> SnapshotRecord:
    """Take a snapshot of a source and return its record.

    Args:
        context: The store.
        source_opener: Entered when the snapshot begins, left as soon as the source is read.
        identity: The source's name.
        options: What the user said.
        progress: Told how far the reading is.

    Raises:
        InvalidInputError, NotFoundError, ConflictError: Refused; nothing was changed.
        SnapshotFailedError: The snapshot ended as `error`.
    """
    check_options(options)
    session = current_session(context)
    with _exclusive_volume(context, identity, options, progress), ExitStack() as stack:
        source = stack.enter_context(source_opener)
        making = _Making(context, session, source, options)
        try:
            completed = making.run(stack, progress)
        except BaseException as error:
            making.stop(error)
            raise
        finally:
            progress.finish()
    reclaim_if_possible(context)
    return completed


@contextmanager
def _exclusive_volume(
    context: StoreContext, identity: str, options: SnapshotOptions, progress: Progress
) -> Iterator[None]:
    """Make one snapshot of a source, and of a volume, at a time; a second one waits and says so.

    Both are locked: a source that is not known yet has no volume, and a volume may be continued
    from another path. The source comes first everywhere, so that nobody waits in a circle.
    """
    with _hold_name(context, f"source {identity}", identity, progress):
        volume = _volume_to_continue(context, identity, options)
        if volume is None:
            yield
            return
        with _hold_name(context, f"volume {volume}", identity, progress):
            yield


def _volume_to_continue(
    context: StoreContext, identity: str, options: SnapshotOptions
) -> VolumeId | None:
    if options.volume_id is not None or options.new_volume:
        return options.volume_id
    with context.catalog.read() as reader:
        known = find_volume(reader, identity)
    return None if known is None else known.volume_id


def _hold_name(context: StoreContext, name: str, identity: str, progress: Progress) -> Lock:
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    region = Region.VOLUME + int.from_bytes(digest[:5], "big")
    lock = context.locks.try_hold(region)
    if lock is None:
        progress.note(f"another snapshot of {identity} is being made; waiting for it to finish")
        lock = context.locks.hold(region)
    return lock


class _Making:
    """One snapshot on its way from pending to completed."""

    def __init__(
        self,
        context: StoreContext,
        session: Session,
        source: BlockSource,
        options: SnapshotOptions,
    ) -> None:
        self._context = context
        self._session = session
        self._source = source
        self._options = options
        self._snapshot_id = new_snapshot_id(context.entropy)
        self._growth = MapGrowth()
        self._prepared: dict[int, Prepared] = {}
        self._segment: OpenSegment | None = None

    def run(self, stack: ExitStack, progress: Progress) -> SnapshotRecord:
        """Read the source and complete the snapshot; `stack` is closed between the two."""
        context, source = self._context, self._source
        record = context.catalog.update(self._begin)
        progress.start(f"snapshot {record.snapshot_id}", source.size_bytes)
        ingest = Ingest(context, self._session, source, self._options.compression, progress)
        try:
            batch = ingest.run(record.root, self._prepare, self._publish)
        finally:
            self._segment = ingest.batch.segment
        self._prepare(batch)
        if batch.relies_on_stored:  # publish while the source can still be read
            self._publish(batch)
        source.ensure_unchanged()
        if getattr(source, "modified_since_open", False):
            progress.note(
                f"{source.identity} was written to while it was read: the snapshot may mix two "
                "moments (see --freeze)"
            )
        stack.close()
        prepared = self._prepared.pop(batch.number, None) or Prepared([], 0, 0)
        completed = complete(context, record, batch.segment, prepared, self._growth)
        self._session.return_segment(batch.segment)
        return completed

    def stop(self, error: BaseException) -> None:
        """Abandon the snapshot after `error`.

        What this cannot do, for a lack of space or a second failure, is done when the session ends.

        Raises:
            SnapshotFailedError: The snapshot ended as `error`. Not raised when it was refused, when
                the user interrupted it (then nothing of it is kept), or when it is completed.
        """
        context = self._context
        if isinstance(error, StoreError):
            context.poison = context.poison or str(error)
        if context.poison or not self._is_pending():
            return
        failed = isinstance(error, (EbsimError, OSError))
        reason = str(error) if failed else None
        with context.reserve.released_if_low():
            if self._segment is not None:
                self._session.seal_segment(self._segment)
            abandoned = context.catalog.update(
                lambda writer: abandon(context, writer, self._snapshot_id, reason)
            )
            reclaim_if_needed(context)
        if failed and abandoned:
            code = error.code if isinstance(error, EbsimError) else None
            raise SnapshotFailedError(
                f"snapshot {self._snapshot_id} ended as error: {error}", code, self._snapshot_id
            ) from error

    def _begin(self, writer: CatalogWriter) -> SnapshotRecord:
        context, source, options = self._context, self._source, self._options
        continuation = continue_volume(context, writer, source.identity, source.size_bytes, options)
        parent = continuation.parent
        record = SnapshotRecord(
            snapshot_id=self._snapshot_id,
            volume_id=continuation.volume.volume_id,
            state=SnapshotState.PENDING,
            session=self._session.number,
            begun=take(writer, Counter.NODE),
            start_us=context.clock.now_us(),
            description=options.description,
            tags=dict(options.tags),
            size_bytes=source.size_bytes,
            parent_id=parent.snapshot_id if parent else None,
            full_blocks=parent.full_blocks if parent else 0,
            source=source.identity,
            hold=add_hold(writer, parent.node, parent.root) if parent else 0,
            root=parent.root if parent else 0,
            lineage=parent.lineage if parent else take(writer, Counter.LINEAGE),
        )
        put_snapshot(writer, record)
        return record

    def _is_pending(self) -> bool:
        with self._context.catalog.read() as reader:
            value = reader.get(Table.SNAPSHOTS, self._snapshot_id.encode())
        return value is not None and decode_snapshot(value).state == SnapshotState.PENDING

    def _prepare(self, batch: Batch) -> None:
        prepared = prepare_batch(self._context, batch)
        self._prepared[batch.number] = prepared
        self._growth.add(prepared)

    def _publish(self, batch: Batch) -> None:
        prepared = self._prepared.pop(batch.number)
        segment = batch.segment
        segment.writer.sync()

        def change(writer: CatalogWriter) -> None:
            self._context.ensure_writable()
            space = SpaceChange(writer)
            publish_batch(writer, space, prepared)
            segment.publish(writer, prepared.end)
            if again is not None:
                again.publish(writer, again.writer.end)
            note_published(writer, self._snapshot_id, batch, prepared)
            space.save()

        again: OpenSegment | None = None
        while True:
            try:
                self._context.catalog.update(change)
                break
            except BlocksVanishedError as gone:
                again = again or self._session.borrow_segment()
                self._store_again(again, prepared, gone.hashes)
        if again is not None:
            self._session.return_segment(again)

    def _store_again(
        self, segment: OpenSegment, prepared: Prepared, hashes: set[BlockHash]
    ) -> None:
        """Store blocks that were found in the store, and freed before we referred to them."""
        encoder = BlockEncoder(self._options.compression)
        buffer = memoryview(bytearray(BLOCK_SIZE))
        for position, change in enumerate(prepared.changes):
            if change.block_hash not in hashes:
                continue
            hashes.discard(change.block_hash)
            read_block(self._source, change.index, buffer)
            if hash_block(buffer, self._context.hash_key) != change.block_hash:
                raise SourceError(
                    f"{self._source.identity} changed at offset {change.index * BLOCK_SIZE} while "
                    "it was read",
                    ErrorCode.SOURCE_CHANGED,
                )
            place = store_block(segment, encoder, buffer, change.block_hash)
            prepared.changes[position] = replace(change, stored=place)
        segment.writer.sync()
