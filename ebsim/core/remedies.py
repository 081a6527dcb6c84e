"""Remedies: where the bytes of a damaged block may be found again.

They are looked for in this order, the cheapest first:

    record   the damaged record itself: its payload may be whole where its header is not
    volume   the live data of a managed volume, or the blocks that it keeps for pending snapshots
    source   the image or device that a snapshot was scanned from
    copy     another record of the same content in a segment, that nothing refers to any more
    store    another store, which the user names

Nothing of that is believed: a candidate counts if its plain bytes have the block hash that the
catalog wants, and is read and hashed once more when it is used.
"""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np

from ebsim.core.block_places import BlockPlace, place_of
from ebsim.core.block_table import find_block
from ebsim.core.check_data import sorted_places
from ebsim.core.context import StoreContext
from ebsim.core.domains import find_open
from ebsim.core.ingest import read_block
from ebsim.core.open_domains import Domain
from ebsim.core.other_store import OtherStore
from ebsim.core.read import BlockLoader
from ebsim.core.volume_records import managed_volumes
from ebsim.core.volumes import get_volume
from ebsim.errors import CorruptionError, EbsimError, ErrorCode, InvalidInputError
from ebsim.format.block_hash import BlockHash
from ebsim.format.catalog_values import BlockRecord, SegmentRecord, Table, number_key
from ebsim.format.kept_block import KEPT_HEADER, KEPT_HEADER_SIZE, SLOT_SIZE, decode_kept_slot
from ebsim.format.records import SnapshotRecord
from ebsim.format.sealing import SegmentCipher
from ebsim.format.segment import (
    ALIGNMENT,
    RECORD_HEADER_SIZE,
    Codec,
    RecordHeader,
    RecordKind,
)
from ebsim.progress import Progress
from ebsim.storage.buffers import block_buffer
from ebsim.storage.codecs import BlockDecoder
from ebsim.storage.files import File
from ebsim.storage.sealed_file import SealedFile, SectorCiphers
from ebsim.storage.segment_scan import scan_segment, segment_path
from ebsim.storage.sources import BlockSource, open_source
from ebsim.units import BLOCK_SIZE, block_count

BLOCKS_AT_ONCE = 4096
"""Blocks of another store looked up in one view of its catalog."""

SEAL_ENDS = 2
"""So many zeros at the end of a seal are tried; more are as likely as 2**-24."""

Hits = list[tuple[SnapshotRecord, int]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A damaged block.

    Attributes:
        block_id: Which.
        block_hash: What its plain bytes must hash to.
        segment_id: Where its damaged record is.
        record: Likewise.
        domain: Its dedup domain, if that could be opened: else nothing proves a remedy.
        hits: The completed snapshots and block indices that have it.
    """

    block_id: int
    block_hash: BlockHash
    segment_id: bytes
    record: BlockRecord
    domain: Domain | None
    hits: Hits


@dataclass(frozen=True, slots=True)
class Remedy:
    """Where a damaged block's bytes are.

    Attributes:
        kind: `record`, `volume`, `source`, `copy` or `store`.
        where: For people: a path, or what it is.
        load: Reads them; they must be hashed.
    """

    kind: str
    where: str
    load: Callable[[], bytes]


class Remedies:
    """Looks for remedies; what it opens stays open until it is left, so that they can be used.

    Args:
        context: The store.
        other: Another store to look in, which is opened as any command opens it.
        progress: Told how far a search is.
    """

    def __init__(self, context: StoreContext, other: OtherStore | None, progress: Progress) -> None:
        self._context = context
        self._progress = progress
        self._other_place = other
        self._stack = ExitStack()
        self._sources: dict[str, BlockSource | None] = {}
        self._files: dict[Path, File | None] = {}
        self._other: StoreContext | None = None

    def __enter__(self) -> Self:
        """Open the other store, if there is one.

        Raises:
            InvalidInputError: It is this one.
            EbsimError: It cannot be opened.
        """
        place = self._other_place
        if place is not None:
            if os.path.realpath(place.path) == os.path.realpath(self._context.path):
                raise InvalidInputError(
                    f"{place.path} is the store that is to be repaired: name another"
                )
            self._other = place.open(self._context, self._progress, self._stack)
        return self

    def __exit__(self, *_: object) -> None:
        """Close everything."""
        self._stack.close()

    def proved(self, remedy: Remedy, block: Wanted) -> bytes | None:
        """Return a block's bytes if they can be read and are the wanted ones."""
        if block.domain is None:
            return None
        try:
            data = remedy.load()
        except (EbsimError, OSError):
            return None  # no remedy, then
        right = len(data) == BLOCK_SIZE and block.domain.hash_block(data) == block.block_hash
        return data if right else None

    def find(self, damaged: Collection[Wanted]) -> dict[int, Remedy]:
        """Return, by block id, a remedy for each block that has one."""
        found: dict[int, Remedy] = {}
        for block in damaged:
            for remedy in self._near(block):
                if self.proved(remedy, block) is not None:
                    found[block.block_id] = remedy
                    break
        for search in (self._copies, self._in_other, self._anywhere_in_other):
            left = {block.block_hash: block for block in damaged if block.block_id not in found}
            if left:
                for block_hash, remedy in search(left):
                    if self.proved(remedy, left[block_hash]) is not None:
                        found.setdefault(left[block_hash].block_id, remedy)
        return found

    # What is near: no search is needed

    def _near(self, block: Wanted) -> Iterator[Remedy]:
        yield from self._within_record(block)
        yield from self._in_volumes(block)
        yield from self._in_sources(block)

    def _within_record(self, block: Wanted) -> Iterator[Remedy]:
        place = (block.segment_id, block.record.offset, block.record.extent)
        where = f"segment {block.segment_id.hex()} at {block.record.offset}"

        def plain() -> bytes:
            return self._payload(*place)[:BLOCK_SIZE]

        def compressed() -> bytes:
            return bytes(BlockDecoder().decode_first_frame(memoryview(self._payload(*place))))

        domain = block.domain
        cipher = None if domain is None else domain.cipher(block.segment_id)
        if cipher is not None:
            yield Remedy("record", where, partial(self._unsealed, cipher, block))
            return
        yield Remedy("record", where, plain)
        yield Remedy("record", where, compressed)

    def _unsealed(self, cipher: SegmentCipher, block: Wanted) -> bytes:
        """Return what the payload of a sealed record seals, by a header that is told anew.

        The seal ends with the last byte that is not padding, or with zeros behind that.

        Raises:
            CorruptionError, WrongKeyError: It cannot be opened.
        """
        place = (block.segment_id, block.record.offset, block.record.extent)
        payload = self._payload(*place)
        least = len(payload.rstrip(b"\0"))
        for size in range(least, min(least + SEAL_ENDS, len(payload)) + 1):
            for codec in Codec:
                header = RecordHeader(
                    kind=RecordKind.BLOCK,
                    codec=codec,
                    payload_size=size,
                    plain_size=BLOCK_SIZE,
                    segment_id=block.segment_id,
                    offset=block.record.offset,
                    domain=cipher.domain,
                    block_hash=block.block_hash,
                )
                with suppress(CorruptionError):
                    plain = cipher.open(header, payload[:size])
                    return bytes(BlockDecoder().decode(header, memoryview(plain)))
        raise CorruptionError("the sealed payload is damaged too", ErrorCode.CORRUPT_BLOCK)

    def _payload(self, segment_id: bytes, offset: int, extent: int) -> bytes:
        return self._context.segments.read_raw(segment_id, offset, extent)[RECORD_HEADER_SIZE:]

    def _in_volumes(self, block: Wanted) -> Iterator[Remedy]:
        with self._context.catalog.read() as reader:
            volumes = managed_volumes(reader)
        for volume in volumes:
            indices = sorted(
                {
                    index
                    for record, index in block.hits
                    if volume.volume_id == record.volume_id
                    or volume.origin_id == record.snapshot_id
                }
            )
            domain = find_open(self._context, volume.domain) if indices else None
            if domain is None:
                continue  # nothing is looked for, or its key cannot be had
            ciphers = None
            if domain.data_key is not None:
                ciphers = SectorCiphers(domain.data_key.sector_cipher(volume.volume_id))
            path = self._context.volumes_folder / f"{volume.volume_id}.data"
            for index in indices:
                load = partial(self._volume_block, path, index, ciphers)
                yield Remedy("volume", str(path), load)
            kept = path.with_suffix(".kept")
            for offset in self._kept_slots(kept, set(indices)):
                load = partial(self._kept_block, kept, volume.volume_id, offset, ciphers)
                yield Remedy("volume", str(kept), load)

    def _volume_block(self, path: Path, index: int, ciphers: SectorCiphers | None) -> bytes:
        file = self._opened(path)
        if file is not None and ciphers is not None:
            file = SealedFile(file, ciphers)
        data = b"" if file is None else file.read_at(index * BLOCK_SIZE, BLOCK_SIZE)
        return data.ljust(BLOCK_SIZE, b"\0") if data else b""

    def _kept_slots(self, path: Path, indices: set[int]) -> Iterator[int]:
        """Yield where a volume keeps what one of these blocks was."""
        file = self._opened(path) if indices else None
        if file is None:
            return
        for offset in range(0, file.size(), SLOT_SIZE):
            head = file.read_at(offset, KEPT_HEADER.size)
            if len(head) == KEPT_HEADER.size and KEPT_HEADER.unpack(head)[1] in indices:
                yield offset

    def _kept_block(
        self, path: Path, volume_id: str, offset: int, ciphers: SectorCiphers | None
    ) -> bytes:
        file = self._opened(path)
        if file is None:
            return b""
        slot = memoryview(file.read_at(offset, SLOT_SIZE))
        found = decode_kept_slot(volume_id, slot)
        if found is None:
            return b""
        if ciphers is None:
            return bytes(slot[KEPT_HEADER_SIZE:])
        plain = bytearray(BLOCK_SIZE)
        ciphers.open_block(found[0], slot[KEPT_HEADER_SIZE:], memoryview(plain))
        return bytes(plain)

    def _opened(self, path: Path) -> File | None:
        """Return a file of the store, opened once; None where there is none."""
        if path not in self._files:
            try:
                file = self._context.files.open(path)
            except OSError:
                self._files[path] = None
                return None
            self._files[path] = file
            self._stack.callback(file.close)
        return self._files[path]

    def _in_sources(self, block: Wanted) -> Iterator[Remedy]:
        candidates: dict[tuple[str, int], None] = {}
        with self._context.catalog.read() as reader:
            for record, index in block.hits:
                if record.epoch:
                    continue  # of a managed volume
                candidates[record.source, index] = None
                try:
                    volume = get_volume(reader, record.volume_id)
                except EbsimError:
                    continue  # it is gone; the snapshot's own source is known
                candidates[volume.source, index] = None
        for path, index in candidates:
            source = self._source(path)
            if source is not None and index < block_count(source.size_bytes):
                yield Remedy("source", path, partial(_source_block, source, index))

    def _source(self, path: str) -> BlockSource | None:
        """Return an image or device, opened once; None where it cannot be."""
        if path not in self._sources:
            self._sources[path] = None
            if os.path.isabs(path):
                try:
                    source = open_source(path)
                except (EbsimError, OSError):
                    return None
                self._sources[path] = source
                self._stack.callback(source.close)
        return self._sources[path]

    # Other records of this store

    def _copies(self, wanted: dict[BlockHash, Wanted]) -> Iterator[tuple[BlockHash, Remedy]]:
        """Yield records of wanted blocks in what nothing refers to."""
        context = self._context
        loader = BlockLoader(context)
        self._progress.note("looking for other copies in the store")
        for segment_id, start, end in self._gaps():
            path = segment_path(context.path, segment_id)
            for found in scan_segment(context.files, path, segment_id, start=start, end=end):
                header = found.header
                if header is None or header.kind is not RecordKind.BLOCK or found.payload is None:
                    continue
                block_hash = BlockHash(header.block_hash)
                if block_hash in wanted:
                    record = BlockRecord(0, found.offset, found.extent, 0, block_hash)
                    load = partial(_stored_block, loader, BlockPlace(segment_id, record))
                    where = f"segment {segment_id.hex()} at {found.offset}"
                    yield block_hash, Remedy("copy", where, load)

    def _gaps(self) -> Iterator[tuple[bytes, int, int | None]]:
        """Yield what lies between the live records of each segment file."""
        context = self._context
        places = sorted_places(context, {table: frozenset() for table in Table})
        with context.catalog.read() as reader:
            known = {
                record.segment_id: int.from_bytes(key, "big")
                for key, record in (
                    (key, SegmentRecord.decode(value))
                    for key, value in reader.items(Table.SEGMENTS)
                )
            }
        for segment_id in sorted(context.segments.list_ids()):
            end = ALIGNMENT
            number = known.get(segment_id, 0)
            low, high = np.searchsorted(places["segment"], [number, number + 1])
            mine = places[low:high]
            for page, pages in zip(mine["page"].tolist(), mine["pages"].tolist(), strict=True):
                if page * ALIGNMENT > end:
                    yield segment_id, end, page * ALIGNMENT
                end = (page + pages) * ALIGNMENT
            yield segment_id, end, None

    # Another store

    def _in_other(self, wanted: dict[BlockHash, Wanted]) -> Iterator[tuple[BlockHash, Remedy]]:
        """Yield the blocks that the other store finds by their hash: if it is a copy of this."""
        other = self._other
        if other is None or other.hash_key != self._context.hash_key:
            return
        loader = BlockLoader(other)
        for block_hash in wanted:
            with other.catalog.read() as reader:
                block_id = find_block(reader, block_hash)
                place = None if block_id is None else place_of(reader, block_id)
            if place is not None:
                yield (
                    block_hash,
                    Remedy("store", str(other.path), partial(_stored_block, loader, place)),
                )

    def _anywhere_in_other(
        self, wanted: dict[BlockHash, Wanted]
    ) -> Iterator[tuple[BlockHash, Remedy]]:
        """Yield wanted blocks of a store whose hashes are others: every block of it is read."""
        other = self._other
        if other is None or other.hash_key == self._context.hash_key:
            return
        loader = BlockLoader(other)
        left = set(wanted)
        domains = {block.domain for block in wanted.values() if block.domain is not None}
        with other.catalog.read() as reader:
            total = reader.count(Table.BLOCKS) * BLOCK_SIZE
        self._progress.start("search the other store", total)
        try:
            for place in _all_places(other):
                self._progress.advance(BLOCK_SIZE)
                try:
                    block = loader.load(place)
                except EbsimError:
                    continue  # of no use
                for block_hash in left & {domain.hash_block(block) for domain in domains}:
                    left.discard(block_hash)
                    load = partial(_stored_block, loader, place)
                    yield block_hash, Remedy("store", str(other.path), load)
                if not left:
                    return
        finally:
            self._progress.finish()


def _all_places(other: StoreContext) -> Iterator[BlockPlace]:
    """Yield where every block of a store lies, in views of the catalog that are short."""
    start: int | None = 0
    while start is not None:
        with other.catalog.read() as reader:
            keys = islice(reader.items(Table.BLOCKS, start=number_key(start)), BLOCKS_AT_ONCE)
            numbers = [int.from_bytes(key, "big") for key, _ in keys]
            places = [place_of(reader, number) for number in numbers]
        yield from places
        start = numbers[-1] + 1 if numbers else None


def _stored_block(loader: BlockLoader, place: BlockPlace) -> bytes:
    return bytes(loader.load(place))


def _source_block(source: BlockSource, index: int) -> bytes:
    buffer = block_buffer()
    read_block(source, index, buffer)
    return bytes(buffer)
