"""Ingest: reading a source and finding, hashing and storing the blocks that changed.

The main thread walks the leaves (128 MiB) that the plan names: for a scanned source those in which
it has data or the parent's map has entries, for a managed volume those it was written to. For each
it looks up what the parent recorded and hands runs of eight blocks to worker threads, which read,
hash, compare, compress and append; all of that happens outside the interpreter's lock. Results are
gathered into *batches* of whole leaves. A batch is published in one transaction
(`ebsim.core.publish`), by a thread of its own, while the workers go on with the next.

Memory is bounded by the batch, never by the volume.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from ebsim.config import Compression
from ebsim.core.block_maps import LEAF_BLOCKS, load_page
from ebsim.core.block_table import find_block, get_block
from ebsim.core.context import StoreContext
from ebsim.core.damaged_blocks import any_damaged, find_damaged
from ebsim.core.extents import ScanPlan
from ebsim.core.open_domains import Domain
from ebsim.core.sessions import OpenSegment, Session
from ebsim.core.version_table import version_blocks
from ebsim.format.block_hash import BlockHash
from ebsim.format.catalog_values import ZERO_BLOCK
from ebsim.format.segment import RecordKind
from ebsim.progress import Progress
from ebsim.storage.buffers import block_buffer
from ebsim.storage.codecs import BlockEncoder
from ebsim.storage.segments import BlockFacts
from ebsim.storage.sources import BlockSource
from ebsim.units import BLOCK_SIZE, MIB, block_count

WORKERS = 2
RUN_BLOCKS = 8
"""Blocks handed to a worker at once: 4 MiB, so that handing over costs under 1 % of the work."""

RUNS_AHEAD = 2 * WORKERS + 2
"""Runs handed out before the oldest must be finished."""

BATCH_STORED_BYTES = 128 * MIB
BATCH_CHANGES = 2048
"""A batch ends with the first leaf that exceeds either: about a second of work."""


@dataclass(frozen=True, slots=True)
class StoredPlace:
    """Where a new block record was appended.

    Attributes:
        segment: The segment's number.
        offset: The record's byte offset.
        extent: Its bytes.
    """

    segment: int
    offset: int
    extent: int


@dataclass(frozen=True, slots=True)
class ChangedBlock:
    """A block whose content is not what the parent recorded.

    Attributes:
        index: Its block index.
        block_hash: Its hash; None for a block of zeros.
        stored: Where this snapshot stored it, if it did.
        known: Whether a stored block with this content was found instead. It may be freed, by a
            deletion, before this snapshot refers to it; see `ebsim.core.publish`.
        heals: Whether it did not change at all, and was stored because the store's block with this
            content is damaged.
    """

    index: int
    block_hash: BlockHash | None
    stored: StoredPlace | None = None
    known: bool = False
    heals: bool = False


@dataclass(slots=True)
class Batch:
    """What is published together.

    Attributes:
        number: Batches are published in this order.
        segment: Where its blocks are stored.
        changes: Leaf number to changed blocks.
        parent_pages: Leaf number to the page id in the parent's map.
        scanned_end: How far the source is read, as so many bytes of its size.
        last_of_segment: Whether the segment is to be sealed behind it.
        healing: Where blocks were stored whose content the store has only damaged.
    """

    number: int
    segment: OpenSegment
    changes: dict[int, list[ChangedBlock]] = field(default_factory=dict)
    parent_pages: dict[int, int] = field(default_factory=dict)
    scanned_end: int = 0
    last_of_segment: bool = False
    changed_count: int = 0
    stored_bytes: int = 0
    healing: dict[BlockHash, StoredPlace] = field(default_factory=dict)

    def add(self, leaf: int, found: list[ChangedBlock]) -> None:
        """Take the result of one run."""
        self.stored_bytes += sum(change.stored.extent for change in found if change.stored)
        changed = [change for change in found if not change.heals]
        if changed:
            self.changes.setdefault(leaf, []).extend(changed)
            self.changed_count += len(changed)
        for change in found:
            if change.heals and change.block_hash is not None and change.stored is not None:
                self.healing[change.block_hash] = change.stored

    @property
    def relies_on_stored(self) -> bool:
        """Whether it refers to blocks that were found in the store, and may vanish."""
        return any(change.known for found in self.changes.values() for change in found)

    @property
    def full(self) -> bool:
        """Whether it should be published."""
        return self.stored_bytes >= BATCH_STORED_BYTES or self.changed_count >= BATCH_CHANGES


class Claims:
    """Which hashes this snapshot is storing just now, so that equal blocks are stored once."""

    def __init__(self) -> None:
        self._by_batch: dict[int, set[BlockHash]] = {}
        self._mutex = threading.Lock()

    def claim(self, block_hash: BlockHash, batch: int) -> bool:
        """Return True for the first to claim a hash: it stores the block, or finds it stored."""
        with self._mutex:
            if any(block_hash in hashes for hashes in self._by_batch.values()):
                return False
            self._by_batch.setdefault(batch, set()).add(block_hash)
            return True

    def release(self, batch: int) -> None:
        """Forget the claims of a batch that is published: the catalog knows its blocks now."""
        with self._mutex:
            self._by_batch.pop(batch, None)


class _Worker(threading.local):
    """What each worker thread keeps for itself."""

    def __init__(self, compression: Compression) -> None:
        self.buffer = block_buffer()
        self.encoder = BlockEncoder(compression)


@dataclass(frozen=True, slots=True)
class Storing:
    """How new blocks are stored.

    Attributes:
        domain: Their dedup domain, which says whether they are encrypted.
        compression: How they are compressed.
    """

    domain: Domain
    compression: Compression


class Ingest:
    """Reads one source against one parent map."""

    def __init__(
        self,
        context: StoreContext,
        session: Session,
        source: BlockSource,
        plan: ScanPlan,
        storing: Storing,
        progress: Progress,
    ) -> None:
        self._context = context
        self._session = session
        self._source = source
        self._plan = plan
        self._domain = storing.domain
        self._progress = progress
        self._claims = Claims()
        self._worker = _Worker(storing.compression)
        self._in_flight: deque[tuple[Batch, int, int, Future[list[ChangedBlock]]]] = deque()
        self._block_count = block_count(source.size_bytes)
        self._reported = 0
        with context.catalog.read() as reader:
            self._may_heal = any_damaged(reader)
        self.batch = Batch(0, session.borrow_segment())

    def run(
        self,
        root: int,
        prepare: Callable[[Batch], None],
        publish: Callable[[Batch], None],
    ) -> Batch:
        """Read the whole source and return the last batch, which is still to be published.

        Args:
            root: The root of the parent's map, 0 for a full snapshot.
            prepare: Called for each batch but the last, in order, when nothing is in flight.
            publish: Called after it, in another thread; while it runs, the next batch is read.

        Raises:
            SourceError: The source could not be read.
            EbsimError: Whatever `prepare`, `publish` or the segment raised.
        """
        workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="ebsim-ingest")
        publisher = ThreadPoolExecutor(1, thread_name_prefix="ebsim-publish")
        try:
            publishing: Future[None] | None = None
            for leaf, page_id, runs in self._plan.work(self._context.catalog, root):
                self._hand_out(workers, leaf, page_id, runs)
                if self.batch.full:
                    self._gather_all()
                    if publishing is not None:
                        publishing.result()
                    prepare(self.batch)
                    publishing = self._hand_over(publisher, publish)
            self._gather_all()
            if publishing is not None:
                publishing.result()
        finally:
            workers.shutdown(wait=True, cancel_futures=True)
            publisher.shutdown(wait=True)
        self._report(self._source.size_bytes)
        return self.batch

    def _hand_over(
        self, publisher: ThreadPoolExecutor, publish: Callable[[Batch], None]
    ) -> Future[None]:
        """Give the full batch to the publisher and begin the next."""
        done = self.batch
        done.last_of_segment = done.segment.full
        future = publisher.submit(self._publish_one, done, publish)
        segment = self._session.borrow_segment() if done.last_of_segment else done.segment
        self.batch = Batch(done.number + 1, segment)
        return future

    def _publish_one(self, batch: Batch, publish: Callable[[Batch], None]) -> None:
        """Publish a batch and let go of what it needed (in the publisher's thread)."""
        publish(batch)
        self._claims.release(batch.number)
        if batch.last_of_segment:
            self._session.seal_segment(batch.segment)

    def _hand_out(
        self,
        workers: ThreadPoolExecutor,
        leaf: int,
        page_id: int,
        runs: list[tuple[int, int]],
    ) -> None:
        """Hand the data of one leaf to the workers, and note what has become a hole."""
        expected = self._expected(page_id)
        base = leaf * LEAF_BLOCKS
        self.batch.parent_pages[leaf] = page_id
        position = base
        for start, end in runs:
            self._note_holes(leaf, expected, position, start)
            for first in range(start, end, RUN_BLOCKS):
                last = min(first + RUN_BLOCKS, end)
                while len(self._in_flight) >= RUNS_AHEAD:
                    self._gather()
                wanted = expected[first - base : last - base]
                future = workers.submit(self._scan, self.batch, first, wanted)
                self._in_flight.append((self.batch, leaf, last * BLOCK_SIZE, future))
            position = end
        leaf_end = min(base + LEAF_BLOCKS, self._block_count)
        self._note_holes(leaf, expected, position, leaf_end)
        self.batch.scanned_end = self._plan.progress(
            min(leaf_end * BLOCK_SIZE, self._source.size_bytes), self._source.size_bytes
        )

    def _note_holes(
        self, leaf: int, expected: list[BlockHash | None], start: int, end: int
    ) -> None:
        """A hole where the parent has data is a change: a block of zeros."""
        if not self._plan.rest_is_zeros:
            return
        base = leaf * LEAF_BLOCKS
        zero = self._domain.zero_hash
        found = [
            ChangedBlock(index, None)
            for index in range(start, end)
            if expected[index - base] not in (None, zero)
        ]
        self.batch.add(leaf, found)

    def _expected(self, page_id: int) -> list[BlockHash | None]:
        """Return the block hash that the parent has at each place of a leaf; None: unwritten."""
        if page_id == 0:
            return [None] * LEAF_BLOCKS
        with self._context.catalog.read() as reader:
            blocks = version_blocks(reader, load_page(reader, page_id)).tolist()
            zero = self._domain.zero_hash
            return [
                None
                if block == 0
                else zero
                if block == ZERO_BLOCK
                else get_block(reader, block).block_hash
                for block in blocks
            ]

    def _scan(
        self, batch: Batch, first: int, expected: list[BlockHash | None]
    ) -> list[ChangedBlock]:
        """Read a run of blocks and return those that changed, stored (in a worker thread)."""
        worker, domain = self._worker, self._domain
        zero = domain.zero_hash
        found = []
        for index, before in enumerate(expected, first):
            read_block(self._source, index, worker.buffer)
            block_hash = domain.hash_block(worker.buffer)
            if block_hash == before:
                found += self._heal(batch, index, block_hash)
                continue
            if block_hash != zero:
                found.append(self._store(batch, index, block_hash))
            elif before is not None or self._plan.is_written(index):
                found.append(ChangedBlock(index, None))
        return found

    def _store(self, batch: Batch, index: int, block_hash: BlockHash) -> ChangedBlock:
        """Store the block in this thread's buffer unless its content is stored already."""
        if not self._claims.claim(block_hash, batch.number):
            return ChangedBlock(index, block_hash)
        with self._context.catalog.read() as reader:
            if find_block(reader, block_hash) is not None:
                return ChangedBlock(index, block_hash, known=True)
        place = self._append(batch, block_hash)
        return ChangedBlock(index, block_hash, stored=place)

    def _heal(self, batch: Batch, index: int, block_hash: BlockHash) -> list[ChangedBlock]:
        """Store a block that did not change if the stored one is known to be damaged."""
        if not self._may_heal or block_hash == self._domain.zero_hash:
            return []
        with self._context.catalog.read() as reader:
            damaged = find_damaged(reader, block_hash) is not None
        if not damaged or not self._claims.claim(block_hash, batch.number):
            return []
        place = self._append(batch, block_hash)
        return [ChangedBlock(index, block_hash, stored=place, heals=True)]

    def _append(self, batch: Batch, block_hash: BlockHash) -> StoredPlace:
        worker = self._worker
        return store_block(batch.segment, self._domain, worker.encoder, worker.buffer, block_hash)

    def _gather(self) -> None:
        batch, leaf, end, future = self._in_flight.popleft()
        batch.add(leaf, future.result())
        self._report(min(end, self._source.size_bytes))

    def _gather_all(self) -> None:
        while self._in_flight:
            self._gather()

    def _report(self, position: int) -> None:
        if position > self._reported:
            self._progress.advance(position - self._reported)
            self._reported = position


def read_block(source: BlockSource, index: int, buffer: memoryview) -> None:
    """Read a whole block of a source; behind the end of the source are zeros.

    Raises:
        SourceError: As the source.
    """
    offset = index * BLOCK_SIZE
    length = min(BLOCK_SIZE, source.size_bytes - offset)
    source.read_into(offset, buffer[:length])
    if length < BLOCK_SIZE:
        buffer[length:] = bytes(BLOCK_SIZE - length)


def store_block(
    segment: OpenSegment,
    domain: Domain,
    encoder: BlockEncoder,
    block: memoryview,
    block_hash: BlockHash,
) -> StoredPlace:
    """Append a block's record to a segment, encrypted if its domain is.

    Raises:
        LimitExceededError, StoreError: As `SegmentWriter.append`.
    """
    codec, payload = encoder.encode(block)
    cipher = domain.cipher(segment.writer.segment_id)
    offset, extent = segment.writer.append(
        RecordKind.BLOCK, payload, BlockFacts(codec, block_hash, cipher)
    )
    return StoredPlace(segment.number, offset, extent)
