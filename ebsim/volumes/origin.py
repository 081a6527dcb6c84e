"""Loading: a volume made from a snapshot is used at once; its blocks come when they are needed.

`Origin` is the map that the volume is loaded from, held in the lineage so that deleting the
snapshot does not matter, with the blocks that are *local*: loaded, or written since. A block that
the map does not have is a hole of the volume's file, and so local from the beginning.

That a block is local is remembered in the catalog only when its bytes are durable in the volume's
file. So after a crash a block may be loaded again, and is never taken for loaded when it is not.
"""

import threading
from collections.abc import Iterable, Iterator

import numpy as np

from ebsim.core.block_maps import LEAF_BLOCKS, find_leaf, load_page, walk_leaves
from ebsim.core.block_places import BlockPlace, find_place
from ebsim.core.context import StoreContext
from ebsim.core.read import BlockLoader
from ebsim.core.written_blocks import Flags, no_flags, pack_flags, unpack_flags
from ebsim.format.catalog_values import Table, pair_key
from ebsim.format.records import VolumeRecord
from ebsim.storage.catalog import CatalogReader, CatalogWriter


class Origin:
    """What a volume is loaded from. A block is looked at and marked under its stripe's lock."""

    def __init__(self, context: StoreContext, volume: VolumeRecord) -> None:
        self._context = context
        self._number = volume.number
        self._root = volume.origin_root
        self._loader = BlockLoader(context)
        self._local: dict[int, bytearray] = {}
        self._recoverable: dict[int, bytearray] = {}
        self._unsaved: set[int] = set()
        self._mutex = threading.Lock()
        self._retired = False

    def is_local(self, block: int) -> bool:
        """Return whether the volume's file has the block."""
        return bool(self._leaf(block // LEAF_BLOCKS)[block % LEAF_BLOCKS])

    def mark_local(self, block: int) -> None:
        """Note that the volume's file has the block."""
        number = block // LEAF_BLOCKS
        self._leaf(number)[block % LEAF_BLOCKS] = 1
        self._unsaved.add(number)

    def is_recoverable(self, block: int) -> bool:
        """Return whether the next who opens the volume would know that its file has the block."""
        if block // LEAF_BLOCKS not in self._recoverable:
            self._look_up(block // LEAF_BLOCKS)
        return bool(self._recoverable[block // LEAF_BLOCKS][block % LEAF_BLOCKS])

    def mark_recoverable(self, block: int) -> None:
        """Note that the next who opens the volume would know that its file has the block."""
        self._recoverable[block // LEAF_BLOCKS][block % LEAF_BLOCKS] = 1

    def fetch(self, block: int) -> memoryview | None:
        """Return the block's bytes, valid until this thread's next fetch; None for zeros.

        Raises:
            CorruptionError: The stored bytes are damaged.
        """
        place = self._place(block)
        return None if place is None else self._loader.load(place)

    def missing(self, start: int = 0) -> Iterator[int]:
        """Yield the blocks from `start` on that are not local, looked at when their turn comes."""
        for leaf in self._leaves():
            if leaf < start // LEAF_BLOCKS:
                continue
            flags = self._leaf(leaf)
            place = flags.find(0, max(0, start - leaf * LEAF_BLOCKS))
            while place >= 0:
                yield leaf * LEAF_BLOCKS + place
                place = flags.find(0, place + 1)

    def count_missing(self) -> int:
        """Return how many blocks are not local."""
        return sum(self._leaf(leaf).count(0) for leaf in self._leaves())

    def take_unsaved(self) -> list[tuple[int, bytes]]:
        """Return what became local since last time, as rows; call before the file is synced."""
        taken = []
        while self._unsaved:
            leaf = self._unsaved.pop()
            taken.append((leaf, bytes(self._local[leaf])))
        return taken

    def save(self, writer: CatalogWriter, taken: list[tuple[int, bytes]]) -> None:
        """Remember what `take_unsaved` returned; call after the file is synced."""
        for leaf, local in taken:
            row = pack_flags(np.frombuffer(local, dtype=bool))
            writer.put(Table.VOLUME_LOADED, pair_key(self._number, leaf), row)

    def give_back(self, taken: list[tuple[int, bytes]]) -> None:
        """Take back what could not be saved."""
        self._unsaved.update(leaf for leaf, _ in taken)

    def retire(self) -> None:
        """Answer from now on that everything is local: the map is about to be let go of."""
        with self._mutex:
            self._retired = True

    def _leaf(self, number: int) -> bytearray:
        """Return one byte for each block of a leaf: 1 where it is local."""
        return self._local.get(number) or self._look_up(number)

    def _look_up(self, leaf: int) -> bytearray:
        with self._mutex:
            if self._retired and leaf not in self._local:
                return bytearray(b"\1" * LEAF_BLOCKS)
            if leaf not in self._local:
                with self._context.catalog.read() as reader:
                    flags = local_blocks(reader, self._number, self._root, leaf)
                self._recoverable[leaf] = bytearray(flags.tobytes())
                self._local[leaf] = bytearray(flags.tobytes())
            return self._local[leaf]

    def _leaves(self) -> list[int]:
        with self._context.catalog.read() as reader:
            return [leaf for leaf, _ in walk_leaves(reader, self._root)]

    def _place(self, block: int) -> BlockPlace | None:
        with self._context.catalog.read() as reader:
            return find_place(reader, self._root, block)


def local_blocks(reader: CatalogReader, number: int, root: int, leaf: int) -> Flags:
    """Return which blocks of a leaf the volume's file has, as the catalog knows it.

    Args:
        reader: The catalog.
        number: The volume's number.
        root: The map it is loaded from.
        leaf: The leaf.
    """
    page = load_page(reader, find_leaf(reader, root, leaf))
    row = reader.get(Table.VOLUME_LOADED, pair_key(number, leaf))
    local: Flags = np.asarray(page) == 0
    return local if row is None else local | unpack_flags(row)


def add_local_blocks(writer: CatalogWriter, number: int, blocks: Iterable[int]) -> None:
    """Remember that the volume's file has these blocks; call after it is synced."""
    by_leaf: dict[int, Flags] = {}
    for block in blocks:
        flags = by_leaf.setdefault(block // LEAF_BLOCKS, no_flags())
        flags[block % LEAF_BLOCKS] = True
    for leaf, flags in by_leaf.items():
        key = pair_key(number, leaf)
        row = writer.get(Table.VOLUME_LOADED, key)
        known = flags if row is None else flags | unpack_flags(row)
        writer.put(Table.VOLUME_LOADED, key, pack_flags(known))
