"""The catalog's tables, and the keys and values of those with a fixed layout.

Keys are big-endian, so that LMDB's byte order is numeric order. Values are little-endian. The
catalog appends to each value an XXH3-128 over table, key and value (`ebsim.storage.catalog`).
"""

import struct
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, TypeVar

from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.block_hash import BlockHash
from ebsim.format.segment import ALIGNMENT

ZERO_BLOCK = 1
"""The block id of a block of zeros: it is charged like any other and stored nowhere."""

HASH_KEY_BYTES = 16
"""Bytes of a block hash in the keys of HASHES."""

FIRST_BLOCK = 2
"""Block ids below are reserved: 0 is a freed version, 1 the zero block."""

_U64 = struct.Struct(">Q")
_PAIR = struct.Struct(">QQ")
_LEDGER = struct.Struct(">QI")
_PLACE = struct.Struct(">IQ")

BLOCK_VALUE = struct.Struct("<IIII32s")
"""segment number, offset / 4096, extent / 4096, references, block hash."""

SEGMENT_VALUE = struct.Struct("<16sBQQQ")
"""segment id, state, published end, live bytes, session."""

NODE_VALUE = struct.Struct("<BQQ22s")
"""kind, parent node, root page, snapshot id (zeros where there is none)."""

META_RECORD_VALUE = struct.Struct("<IIIQI")
"""segment number, offset / 4096, extent / 4096, items written, items still live."""


def unpack_value(layout: struct.Struct, data: bytes) -> tuple[Any, ...]:
    """Return the fields of a value.

    Raises:
        CorruptionError: It has another length.
    """
    if len(data) != layout.size:
        raise CorruptionError(
            f"a catalog value of {len(data)} bytes where {layout.size} were written",
            ErrorCode.CORRUPT_CATALOG,
        )
    return layout.unpack(data)


class Table(Enum):
    """The named databases of the catalog."""

    __hash__ = object.__hash__  # each is one object, and the hash of `Enum` is written in Python

    META = b"meta"
    VOLUMES = b"volumes"
    VOLUME_SNAPSHOTS = b"volume_snapshots"
    SOURCES = b"sources"
    SNAPSHOTS = b"snapshots"
    PENDING_SNAPSHOTS = b"pending_snapshots"
    NODES = b"nodes"
    CHILDREN = b"children"
    PAGES = b"pages"
    PAGE_RECORDS = b"page_records"
    VERSIONS = b"versions"
    VERSION_RECORDS = b"version_records"
    BLOCKS = b"blocks"
    HASHES = b"hashes"
    SEGMENTS = b"segments"
    OPEN_SEGMENTS = b"open_segments"
    EMPTY_SEGMENTS = b"empty_segments"
    SESSIONS = b"sessions"
    PENDING_RANGES = b"pending_ranges"
    FREED = b"freed"
    PUNCH = b"punch"
    JOURNAL = b"journal"
    LEDGER = b"ledger"
    LEDGER_BY_SNAPSHOT = b"ledger_by_snapshot"
    VOLUME_UNFINISHED = b"volume_unfinished"
    VOLUME_ORIGINS = b"volume_origins"
    VOLUME_WRITES = b"volume_writes"
    VOLUME_LOADED = b"volume_loaded"
    IMAGES = b"images"
    IMAGE_SNAPSHOTS = b"image_snapshots"
    EVENTS = b"events"
    POLICIES = b"policies"
    ACCOUNTS = b"accounts"
    DOMAINS = b"domains"
    FAST_RESTORES = b"fast_restores"
    BIN_RULES = b"bin_rules"
    BIN_EXITS = b"bin_exits"


class Counter(Enum):
    """What is numbered, never twice the same: its key in META, and the first number."""

    SEQUENCE = (b"sequence", 1)
    SESSION = (b"session", 1)
    SEGMENT = (b"segment", 1)
    VOLUME = (b"volume", 1)
    NODE = (b"node", 1)
    LINEAGE = (b"lineage", 1)
    LINEAGE_CHANGE = (b"lineage_change", 1)
    PAGE = (b"page", 1)
    VERSION = (b"version", 1)
    BLOCK = (b"block", FIRST_BLOCK)
    FREED = (b"freed", 1)
    EVENT = (b"event", 1)
    DOMAIN = (b"domain", 1)
    FAST_RESTORE = (b"fast_restore", 1)

    @property
    def key(self) -> bytes:
        """Its key in META."""
        return self.value[0]

    @property
    def first(self) -> int:
        """The number it begins with in a new store."""
        return self.value[1]


def number_key(number: int) -> bytes:
    """Return the key of a numbered thing: 8 bytes, big-endian."""
    return _U64.pack(number)


def parse_number_key(key: bytes) -> int:
    """Return the number a key stands for."""
    return int(unpack_value(_U64, key)[0])


def pair_key(first: int, second: int) -> bytes:
    """Return the key of a pair of numbers, ordered by the first."""
    return _PAIR.pack(first, second)


def parse_pair_key(key: bytes) -> tuple[int, int]:
    """Return the pair a key stands for."""
    first, second = unpack_value(_PAIR, key)
    return first, second


def ledger_key(sequence: int, position: int) -> bytes:
    """Return the key of the `position`-th ledger entry of a commit."""
    return _LEDGER.pack(sequence, position)


def hash_key(block_hash: BlockHash) -> bytes:
    """Return the key under which a block is found by content, within its dedup domain.

    The key of the block hash is another in each domain, and random: so is the hash.

    Half of the hash is enough to find a block, and saves a fifth of the catalog; the whole hash, in
    the block's record, is compared before two blocks are taken for equal.
    """
    return block_hash[:HASH_KEY_BYTES]


def punch_key(segment: int, offset: int) -> bytes:
    """Return the key of a range that is to be given back."""
    return _PLACE.pack(segment, offset)


def parse_punch_key(key: bytes) -> tuple[int, int]:
    """Return segment number and offset."""
    segment, offset = unpack_value(_PLACE, key)
    return segment, offset


@dataclass(frozen=True, slots=True)
class BlockRecord:
    """Where a stored block lies, what it is, and how many versions use it.

    Attributes:
        segment: The segment's number in the catalog.
        offset: Byte offset of its record.
        extent: Bytes of its record, padding included.
        references: How many versions have this content.
        block_hash: The hash of its plain bytes.
    """

    segment: int
    offset: int
    extent: int
    references: int
    block_hash: BlockHash

    def encode(self) -> bytes:
        """Return the record as stored: 48 bytes."""
        return BLOCK_VALUE.pack(
            self.segment,
            self.offset // ALIGNMENT,
            self.extent // ALIGNMENT,
            self.references,
            self.block_hash,
        )

    @classmethod
    def decode(cls, data: bytes) -> "BlockRecord":
        """Return the record that `data` holds."""
        segment, offset, extent, references, block_hash = unpack_value(BLOCK_VALUE, data)
        return cls(
            segment, offset * ALIGNMENT, extent * ALIGNMENT, references, BlockHash(block_hash)
        )

    def referenced(self, change: int) -> "BlockRecord":
        """Return the record with `change` more references."""
        references = self.references + change  # `replace` takes four times as long
        return BlockRecord(self.segment, self.offset, self.extent, references, self.block_hash)


_Member = TypeVar("_Member", bound=IntEnum)


def _member(kind: type[_Member], number: int) -> _Member:
    try:
        return kind(number)
    except ValueError as error:
        raise CorruptionError(f"a catalog value: {error}", ErrorCode.CORRUPT_CATALOG) from None


class SegmentState(IntEnum):
    """Whether a segment may still grow."""

    OPEN = 0
    SEALED = 1


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """A segment as the catalog knows it.

    Attributes:
        segment_id: 16 bytes; names the file.
        state: OPEN while its session may still append.
        published_end: Bytes up to which every record is either referred to or freed.
        live_bytes: Bytes of records that something refers to.
        session: The session that writes it.
    """

    segment_id: bytes
    state: SegmentState
    published_end: int
    live_bytes: int
    session: int

    def encode(self) -> bytes:
        """Return the record as stored."""
        return SEGMENT_VALUE.pack(
            self.segment_id, self.state, self.published_end, self.live_bytes, self.session
        )

    @classmethod
    def decode(cls, data: bytes) -> "SegmentRecord":
        """Return the record that `data` holds."""
        segment_id, state, end, live, session = unpack_value(SEGMENT_VALUE, data)
        return cls(segment_id, _member(SegmentState, state), end, live, session)

    @property
    def is_open(self) -> bool:
        """Whether its session may still append."""
        return self.state is SegmentState.OPEN

    @property
    def is_empty(self) -> bool:
        """Whether nothing is live in it, nor ever will be."""
        return self.state is SegmentState.SEALED and not self.live_bytes


class NodeKind(IntEnum):
    """What a node of the lineage tree is."""

    SNAPSHOT = 0
    NAMELESS = 1
    HOLD = 2
    ARCHIVED = 3


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node of the lineage tree.

    Attributes:
        kind: A live snapshot; a deleted one with several children; a hold, which keeps the map
            of a deleted parent alive for a snapshot that is still being made; or a snapshot in the
            archive, which keeps its map and is charged nothing in the standard tier.
        parent: The parent node, 0 for a first snapshot.
        root: The root page of the map it holds; 0 for a nameless node, which holds nothing.
        snapshot_id: The live or archived snapshot, or an empty text.
    """

    kind: NodeKind
    parent: int
    root: int
    snapshot_id: str

    def encode(self) -> bytes:
        """Return the record as stored."""
        return NODE_VALUE.pack(self.kind, self.parent, self.root, self.snapshot_id.encode())

    @classmethod
    def decode(cls, data: bytes) -> "NodeRecord":
        """Return the record that `data` holds."""
        kind, parent, root, snapshot_id = unpack_value(NODE_VALUE, data)
        name = snapshot_id.rstrip(b"\0").decode("ascii", "replace")
        return cls(_member(NodeKind, kind), parent, root, name)


@dataclass(frozen=True, slots=True)
class MetaRecord:
    """A segment record that holds pages, or the hashes of versions, of which some still count.

    Attributes:
        segment: The segment's number.
        offset: Byte offset of the record.
        extent: Bytes of the record.
        items: How many pages or versions it describes.
        live: How many of them are still referred to; at 0 the record is freed.
    """

    segment: int
    offset: int
    extent: int
    items: int
    live: int

    def encode(self) -> bytes:
        """Return the record as stored."""
        return META_RECORD_VALUE.pack(
            self.segment, self.offset // ALIGNMENT, self.extent // ALIGNMENT, self.items, self.live
        )

    @classmethod
    def decode(cls, data: bytes) -> "MetaRecord":
        """Return the record that `data` holds."""
        segment, offset, extent, items, live = unpack_value(META_RECORD_VALUE, data)
        return cls(segment, offset * ALIGNMENT, extent * ALIGNMENT, items, live)
