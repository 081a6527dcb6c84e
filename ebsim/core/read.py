"""Reading blocks of snapshots: from a block index to checked bytes."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ebsim.core.access import usable_snapshot
from ebsim.core.block_maps import LEAF_BLOCKS, find_leaf, load_page
from ebsim.core.block_table import get_block
from ebsim.core.context import StoreContext
from ebsim.core.domains import find_open, is_known, open_domain
from ebsim.core.open_domains import Domain
from ebsim.core.snapshots import get_completed
from ebsim.core.space import get_segment
from ebsim.core.version_table import version_blocks
from ebsim.errors import CorruptionError, ErrorCode, InvalidInputError, NotFoundError
from ebsim.format.catalog_values import FIRST_BLOCK, BlockRecord
from ebsim.format.sealing import SEAL_SIZE, SegmentCipher
from ebsim.format.segment import RecordHeader, RecordKind
from ebsim.ids import SnapshotId
from ebsim.storage.buffers import block_buffer
from ebsim.storage.catalog import CatalogReader
from ebsim.storage.codecs import BlockDecoder
from ebsim.units import BLOCK_SIZE, block_count

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """Where a block's bytes are, and what they must be.

    Attributes:
        segment_id: The segment.
        record: Offset, extent and block hash.
        block_id: Which stored block it is, for it keeps its id when it is moved; 0: only what lies
            at this place is wanted.
    """

    segment_id: bytes
    record: BlockRecord
    block_id: int = 0


class Places:
    """Looks up where many stored blocks lie; each segment only once.

    Args:
        reader: One view of the catalog, and no longer than it lasts.
    """

    def __init__(self, reader: CatalogReader) -> None:
        self._reader = reader
        self._segment_ids: dict[int, bytes] = {}

    def find(self, block_id: int) -> BlockPlace:
        """Return where a stored block lies."""
        record = get_block(self._reader, block_id)
        segment_id = self._segment_ids.get(record.segment)
        if segment_id is None:
            segment_id = get_segment(self._reader, record.segment).segment_id
            self._segment_ids[record.segment] = segment_id
        return BlockPlace(segment_id, record, block_id)


def place_of(reader: CatalogReader, block_id: int) -> BlockPlace:
    """Return where one stored block lies."""
    return Places(reader).find(block_id)


def find_place(reader: CatalogReader, root: int, index: int) -> BlockPlace | None:
    """Return where a block of a map lies; None where it is unwritten or zeros.

    Args:
        reader: The catalog.
        root: The root page of the map.
        index: The block index.
    """
    page = load_page(reader, find_leaf(reader, root, index // LEAF_BLOCKS))
    entry = index % LEAF_BLOCKS
    block_id = int(version_blocks(reader, page[entry : entry + 1])[0])
    return None if block_id < FIRST_BLOCK else place_of(reader, block_id)


class _Local(threading.local):
    """What each thread keeps for itself."""

    def __init__(self) -> None:
        self.decoder = BlockDecoder()
        self.opened = block_buffer()


_LOCAL = _Local()
"""For single blocks: buffers that are made anew cost more than the rest of a read."""


class BlockLoader:
    """Loads stored blocks with every check. May be used from several threads."""

    def __init__(self, context: StoreContext, local: _Local | None = None) -> None:
        self._context = context
        self._local = local or _Local()

    def load(self, place: BlockPlace) -> memoryview:
        """Return the plain bytes of a stored block, valid until this thread loads the next.

        The stored checksum is compared before a sealed payload is opened, and that before the
        decompressor sees a byte; the length after it, and the block hash last, so that wrong bytes
        are never returned. A block that was moved
        since its place was looked up is looked up once more.

        Raises:
            CorruptionError: The bytes are not those that were stored.
            EbsimError: The block is encrypted and its key cannot be had (`open_domain`).
        """
        return self._load_where_it_is(place, self._load)

    def load_own(self, place: BlockPlace) -> bytes | memoryview:
        """Return the same, valid for as long as it is kept; copied only where it must be.

        Raises:
            CorruptionError, EbsimError: As `load`.
        """
        return self._load_where_it_is(place, self._load_own)

    def _load_where_it_is(self, place: BlockPlace, load: Callable[[BlockPlace], T]) -> T:
        while True:
            try:
                return load(place)
            except CorruptionError:
                now = self._moved_to(place)
                if now is None:
                    raise
                place = now

    def _moved_to(self, place: BlockPlace) -> BlockPlace | None:
        """Return where a block lies now; None if it is where it was, or nowhere."""
        with self._context.catalog.read() as reader:
            try:
                now = place_of(reader, place.block_id)
            except CorruptionError:
                return None
        same = (now.segment_id, now.record.offset) == (place.segment_id, place.record.offset)
        return None if same or now.record.block_hash != place.record.block_hash else now

    def prove(self, place: BlockPlace) -> bool:
        """Check a stored block with every check; return whether its key could be had for that.

        Where it could not, the stored checksum was compared, which covers each byte as it was
        written: whoever keeps a store for others finds damage without their keys.

        Raises:
            CorruptionError: The bytes are not those that were stored.
        """
        header, payload = self._read(place)
        domain = find_open(self._context, header.domain)
        if domain is not None:
            self._decode(place, domain, header, payload)
            return True
        with self._context.catalog.read() as reader:
            if not is_known(reader, header.domain):
                raise self._corrupt(place, f"it names domain {header.domain}, which is none")
        return False

    def _load(self, place: BlockPlace) -> memoryview:
        header, payload = self._read(place)
        return self._decode(place, open_domain(self._context, header.domain), header, payload)

    def _load_own(self, place: BlockPlace) -> bytes | memoryview:
        header, payload = self._read(place)
        domain = open_domain(self._context, header.domain)
        cipher = domain.cipher(place.segment_id)
        if cipher is not None:
            payload = self._open(cipher, header, payload)
        block = self._local.decoder.decode_own(header, payload)
        self._prove(place, domain, block)
        return bytes(block) if cipher is not None else block

    def _read(self, place: BlockPlace) -> tuple[RecordHeader, memoryview]:
        record = place.record
        header, payload = self._context.segments.read_record(
            place.segment_id, record.offset, record.extent
        )
        if header.kind is not RecordKind.BLOCK or header.block_hash != record.block_hash:
            raise self._corrupt(place, "another record lies there")
        return header, payload

    def _decode(
        self, place: BlockPlace, domain: Domain, header: RecordHeader, payload: memoryview
    ) -> memoryview:
        cipher = domain.cipher(place.segment_id)
        if cipher is not None:
            payload = self._open(cipher, header, payload)
        block = self._local.decoder.decode(header, payload)
        self._prove(place, domain, block)
        return block

    def _prove(self, place: BlockPlace, domain: Domain, block: bytes | memoryview) -> None:
        if domain.hash_block(block) != place.record.block_hash:
            raise self._corrupt(place, "the block hash of its bytes differs")

    def _open(self, cipher: SegmentCipher, header: RecordHeader, payload: memoryview) -> memoryview:
        """Return what a payload seals, in this thread's buffer."""
        if len(payload) > BLOCK_SIZE + SEAL_SIZE:
            raise CorruptionError("a sealed payload that is too large", ErrorCode.CORRUPT_BLOCK)
        return cipher.open_into(header, payload, self._local.opened)

    @staticmethod
    def _corrupt(place: BlockPlace, what: str) -> CorruptionError:
        return CorruptionError(
            f"segment {place.segment_id.hex()} at {place.record.offset}: {what}",
            ErrorCode.CORRUPT_BLOCK,
        )


def ensure_still_there(
    context: StoreContext, snapshot_id: SnapshotId, error: CorruptionError
) -> None:
    """Tell damage from a snapshot that was deleted while it was being read."""
    with context.catalog.read() as reader:
        try:
            get_completed(reader, snapshot_id)
        except NotFoundError:
            raise NotFoundError(
                f"The snapshot '{snapshot_id}' was deleted while it was being read."
            ) from error


def read_block(context: StoreContext, snapshot_id: SnapshotId, index: int) -> bytes | memoryview:
    """Return the 524,288 bytes of one block of a snapshot; zeros where nothing was written.

    Costs four page look-ups and one decompression, whatever the chain's length.

    Raises:
        NotFoundError: No such snapshot.
        ConflictError: It is not completed.
        InvalidInputError: The index is outside the volume.
        CorruptionError: The stored bytes are damaged.
        EbsimError: Its key cannot be had (`ebsim.core.domains.open_domain`).
    """
    with context.catalog.read() as reader:
        record = usable_snapshot(context, reader, snapshot_id)
        if not 0 <= index < block_count(record.size_bytes):
            raise InvalidInputError(
                f"Block {index} is outside snapshot {snapshot_id}, which has "
                f"{block_count(record.size_bytes)} blocks."
            )
        place = find_place(reader, record.root, index)
    open_domain(context, record.domain)  # zeros are not for those without the key either
    if place is None:
        return bytes(BLOCK_SIZE)
    try:
        return BlockLoader(context, _LOCAL).load_own(place)
    except CorruptionError as error:
        ensure_still_there(context, snapshot_id, error)
        raise
