"""Reading stored blocks, with every check."""

import threading
from collections.abc import Callable
from typing import TypeVar

from ebsim.core.block_places import BlockPlace, place_of
from ebsim.core.context import StoreContext
from ebsim.core.domains import find_open, is_known, open_domain
from ebsim.core.open_domains import Domain
from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.sealing import SEAL_SIZE, SegmentCipher
from ebsim.format.segment import RecordHeader, RecordKind
from ebsim.storage.buffers import block_buffer
from ebsim.storage.codecs import BlockDecoder
from ebsim.units import BLOCK_SIZE

T = TypeVar("T")


class LoaderBuffers(threading.local):
    """What each thread keeps for itself."""

    def __init__(self) -> None:
        self.decoder = BlockDecoder()
        self.opened = block_buffer()


class BlockLoader:
    """Loads stored blocks with every check. May be used from several threads.

    Attributes:
        missed: Whether a block was not, or not whole, where its place said.
    """

    def __init__(self, context: StoreContext, local: LoaderBuffers | None = None) -> None:
        self._context = context
        self._local = local or LoaderBuffers()
        self.missed = False

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
                self.missed = True
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
