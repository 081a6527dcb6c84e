"""A frozen volume: its point in time, while a snapshot of it is pending or a copy being made."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ebsim.core.written_blocks import Flags
from ebsim.ids import SnapshotId, VolumeId


@dataclass(slots=True, eq=False)
class Frozen:
    """What a pending snapshot, or a copy that is being made, needs of its volume.

    Attributes:
        needed_by: The snapshot, or the copy.
        epoch: The last epoch of writes it contains.
        base_epoch: An epoch that its parent contains for certain; a copy has none.
        whole: Whether it needs every block, as a copy does, and not just what was written lately.
        done: Of a copy: the blocks before this one were read.
        written: Leaf number to one byte for each block: 1 where it was written in that epoch by
            this process.
        tracked: Whether the catalog knows all that was written before it; until then every block
            that is overwritten is kept.
        failure: Why it cannot be completed, or empty.
    """

    needed_by: SnapshotId | VolumeId
    epoch: int
    base_epoch: int
    whole: bool = False
    done: int = 0
    written: dict[int, bytearray] = field(default_factory=dict)
    tracked: bool = False
    failure: str = ""

    def inherit(self, written: dict[int, bytearray]) -> None:
        """Count as written in this epoch what was in an earlier one that nobody needs any more."""
        for leaf, theirs in written.items():
            mine = self.written.get(leaf)
            self.written[leaf] = theirs if mine is None else _union(theirs, mine)


def find_point(points: Iterable[Frozen], needed_by: SnapshotId | VolumeId) -> Frozen | None:
    """Return the point in time of a snapshot or a copy, if it is among these."""
    return next((each for each in points if each.needed_by == needed_by), None)


def as_flags(written: bytearray) -> Flags:
    """Return one byte for each block, which is not 0 where it was written, as flags."""
    flags: Flags = np.frombuffer(bytes(written), dtype=np.uint8) != 0
    return flags


def _union(one: bytearray, other: bytearray) -> bytearray:
    return bytearray((as_flags(one) | as_flags(other)).tobytes())
