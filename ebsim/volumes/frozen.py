"""A frozen volume: its point in time, while a snapshot of it is pending."""

from dataclasses import dataclass, field

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
