"""What reading single blocks remembers, so that who reads on is not kept waiting by look-ups.

Which map a snapshot has, and that the caller may read it, holds until somebody commits. Where the
blocks of a leaf lie is remembered beyond that: a page names one content for ever, and a block that
was moved or healed meanwhile is not what lies at its old place, which is noticed (`BlockLoader`).
"""

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ebsim.caller import Caller
from ebsim.ids import SnapshotId

if TYPE_CHECKING:
    from ebsim.core.block_places import BlockPlace

LEAVES_MAX = 64
"""Leaves whose places are remembered: 8 GiB of volumes, in about 6 MiB of memory."""

SNAPSHOTS_MAX = 1024


@dataclass(frozen=True, slots=True)
class ReadableSnapshot:
    """A snapshot that a caller may read.

    Attributes:
        commit: The last commit that was looked at for that.
        root: The root of its map.
        blocks: How many blocks the volume has.
        domain: The domain of its blocks.
    """

    commit: int
    root: int
    blocks: int
    domain: int


Leaf = tuple[int, int]
"""The root of a map, and the number of one of its leaves."""

LeafPlaces = tuple["BlockPlace | None", ...]
"""Where the blocks of a leaf lie; None for one that is unwritten or zeros."""


@dataclass(slots=True)
class ReadMemory:
    """What is remembered, for all threads of a handle."""

    _snapshots: dict[tuple[Caller | None, SnapshotId], ReadableSnapshot] = field(
        default_factory=dict
    )
    _leaves: dict[Leaf, LeafPlaces] = field(default_factory=dict)
    _touched: dict[Leaf, None] = field(default_factory=dict)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def snapshot(
        self, caller: Caller | None, snapshot_id: SnapshotId, commit: int
    ) -> ReadableSnapshot | None:
        """Return a snapshot, if nothing was committed since it was found to be readable."""
        found = self._snapshots.get((caller, snapshot_id))
        return found if found is not None and found.commit == commit else None

    def keep_snapshot(
        self, caller: Caller | None, snapshot_id: SnapshotId, found: ReadableSnapshot
    ) -> None:
        """Remember a snapshot."""
        with self._mutex:
            if len(self._snapshots) >= SNAPSHOTS_MAX:
                self._snapshots.clear()
            self._snapshots[caller, snapshot_id] = found

    def places(self, leaf: Leaf) -> LeafPlaces | None:
        """Return where the blocks of a leaf lie, if that is remembered."""
        return self._leaves.get(leaf)

    def is_read_on(self, leaf: Leaf) -> bool:
        """Return whether a block of a leaf was read before: only then is it worth all of them."""
        with self._mutex:
            if leaf in self._touched:
                del self._touched[leaf]
                return True
            if len(self._touched) >= SNAPSHOTS_MAX:
                self._touched.clear()
            self._touched[leaf] = None
            return False

    def keep_places(self, leaf: Leaf, places: LeafPlaces) -> None:
        """Remember where the blocks of a leaf lie; the leaf that was kept first is forgotten."""
        with self._mutex:
            if len(self._leaves) >= LEAVES_MAX:
                del self._leaves[next(iter(self._leaves))]
            self._leaves[leaf] = places

    def forget_places(self, leaf: Leaf) -> None:
        """Forget a leaf: something is not where it was."""
        with self._mutex:
            self._leaves.pop(leaf, None)
