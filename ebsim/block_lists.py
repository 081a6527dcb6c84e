"""Lists of blocks of snapshots, as the EBS direct APIs have them."""

from dataclasses import dataclass

from ebsim.ids import SnapshotId


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPage:
    """Some of the blocks that a snapshot has.

    Attributes:
        snapshot_id: The snapshot.
        size_bytes: Its size.
        indices: Block indices, ascending; blocks of zeros that were written are among them.
        next_index: Where the next page begins; None: there is no more.
    """

    snapshot_id: SnapshotId
    size_bytes: int
    indices: tuple[int, ...]
    next_index: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedBlock:
    """A block in which two snapshots differ.

    Attributes:
        index: Its index.
        in_first: Whether the first snapshot has it.
        in_second: Whether the second one has it.
    """

    index: int
    in_first: bool
    in_second: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedBlockPage:
    """Some of the blocks in which two snapshots differ; there may be none, and more pages.

    Attributes:
        first_id: The first snapshot.
        second_id: The second one.
        size_bytes: The size of the second.
        blocks: The blocks, ascending.
        next_index: Where the next page begins; None: there is no more.
    """

    first_id: SnapshotId
    second_id: SnapshotId
    size_bytes: int
    blocks: tuple[ChangedBlock, ...]
    next_index: int | None
