"""A frozen volume: its point in time, while a snapshot of it is pending."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ebsim.core.written_blocks import Flags
from ebsim.ids import SnapshotId


@dataclass(slots=True, eq=False)
class Frozen:
    """What a pending snapshot needs of its volume.

    Attributes:
        snapshot_id: The snapshot.
        epoch: The last epoch of writes it contains.
        base_epoch: An epoch that its parent contains for certain.
        written: Leaf number to one byte for each block: 1 where it was written in that epoch by
            this process.
        tracked: Whether the catalog knows all that was written before it; until then every block
            that is overwritten is kept.
        failure: Why it cannot be completed, or empty.
    """

    snapshot_id: SnapshotId
    epoch: int
    base_epoch: int
    written: dict[int, bytearray] = field(default_factory=dict)
    tracked: bool = False
    failure: str = ""

    def inherit(self, written: dict[int, bytearray]) -> None:
        """Count as written in this epoch what was in an earlier one that nobody needs any more."""
        for leaf, theirs in written.items():
            mine = self.written.get(leaf)
            self.written[leaf] = theirs if mine is None else _union(theirs, mine)


def find_point(points: Iterable[Frozen], snapshot_id: SnapshotId) -> Frozen | None:
    """Return the point in time of a snapshot, if it is among these."""
    return next((each for each in points if each.snapshot_id == snapshot_id), None)


def as_flags(written: bytearray) -> Flags:
    """Return one byte for each block, which is not 0 where it was written, as flags."""
    flags: Flags = np.frombuffer(bytes(written), dtype=np.uint8) != 0
    return flags


def _union(one: bytearray, other: bytearray) -> bytearray:
    return bytearray((as_flags(one) | as_flags(other)).tobytes())
