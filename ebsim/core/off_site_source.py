"""A snapshot as the source of a copy to another store: read with every check, stored as it was.

A block that the other store does not have goes there in the form in which it is stored here: its
compressed bytes were proved by their checksum, and what they decompress to by its block hash, so
that compressing it again would only cost time. Those of an encrypted block are opened here, and
sealed with a key of the other store as they are written there.
"""

import threading

from ebsim.config import Compression
from ebsim.core.block_places import BlockPlace
from ebsim.core.context import StoreContext
from ebsim.core.copy_source import SnapshotSource
from ebsim.core.extents import ScanPlan
from ebsim.core.ingest import Ingest, Storing
from ebsim.core.open_domains import Domain
from ebsim.core.read import BlockLoader
from ebsim.core.sessions import Session
from ebsim.format.records import SnapshotRecord
from ebsim.format.sealing import SegmentCipher
from ebsim.format.segment import Codec, RecordHeader
from ebsim.progress import Progress
from ebsim.storage.buffers import block_buffer
from ebsim.storage.codecs import BlockEncoder
from ebsim.storage.sources import BlockSource
from ebsim.units import BLOCK_SIZE

Frame = tuple[Codec, bytes]
"""A block as a record has it: its codec and its payload."""


class _Last(threading.local):
    """What each thread keeps for itself of the last block."""

    def __init__(self) -> None:
        self.opened = memoryview(b"")
        self.frame: Frame | None = None


class FrameLoader(BlockLoader):
    """Loads stored blocks with every check, and remembers how the last one was stored."""

    def __init__(self, context: StoreContext) -> None:
        super().__init__(context)
        self._last = _Last()

    def forget_frame(self) -> None:
        """Have this thread's last block be stored in no known way."""
        self._last.frame = None

    @property
    def frame(self) -> Frame | None:
        """How this thread's last block was stored; None where that is not known."""
        return self._last.frame

    def _decode(
        self, place: BlockPlace, domain: Domain, header: RecordHeader, payload: memoryview
    ) -> memoryview:
        self._last.frame, self._last.opened = None, payload
        block = super()._decode(place, domain, header, payload)
        self._last.frame = (header.codec, bytes(self._last.opened))
        return block

    def _open(self, cipher: SegmentCipher, header: RecordHeader, payload: memoryview) -> memoryview:
        self._last.opened = super()._open(cipher, header, payload)
        return self._last.opened


class OffSiteSource(SnapshotSource):
    """The blocks of a completed snapshot. Safe for several threads."""

    def __init__(self, context: StoreContext, record: SnapshotRecord, identity: str) -> None:
        super().__init__(context, record, identity)
        self._loader = self._frames = FrameLoader(context)
        self._mutex = threading.Lock()
        self.read_bytes = 0

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer with the block at `offset`.

        Raises:
            SourceError: The snapshot was deleted meanwhile, is damaged, or cannot be read.
        """
        self._frames.forget_frame()
        super().read_into(offset, buffer)
        if len(buffer) < BLOCK_SIZE:
            self._frames.forget_frame()  # zeros follow, whatever its block has there
        with self._mutex:
            self.read_bytes += len(buffer)

    @property
    def frame(self) -> Frame | None:
        """How the block that this thread read last is stored; None where that is not known."""
        return self._frames.frame


class _FrameEncoder(BlockEncoder):
    """Encodes the block that was read last: as it is stored in its source."""

    def __init__(self, source: OffSiteSource) -> None:
        super().__init__(Compression())
        self._source = source

    def encode(self, block: bytearray | memoryview) -> Frame:
        """Return codec and payload for a whole block."""
        return self._source.frame or super().encode(block)


class _Worker(threading.local):
    """What each worker thread keeps for itself."""

    def __init__(self, source: OffSiteSource) -> None:
        self.buffer = block_buffer()
        self.encoder = _FrameEncoder(source)


class OffSiteIngest(Ingest):
    """Reads a snapshot of another store; new blocks are stored as they are there."""

    def __init__(
        self,
        context: StoreContext,
        session: Session,
        source: BlockSource,
        plan: ScanPlan,
        storing: Storing,
        progress: Progress,
    ) -> None:
        super().__init__(context, session, source, plan, storing, progress)
        assert isinstance(source, OffSiteSource), "it is made for this"
        self._worker = _Worker(source)  # type: ignore[assignment]
