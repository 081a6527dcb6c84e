"""Lists of blocks of snapshots, as the EBS direct APIs have them."""

from dataclasses import dataclass

from ebsim.ids import SnapshotId

PAGE_MIN = 100
PAGE_MAX = 10_000
"""How many blocks a page has at most: 100 to 10,000 may be asked for (the direct APIs' model)."""


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
        indices: The indices of the blocks, ascending.
        in_first: For each, whether the first snapshot has it.
        in_second: And whether the second one has it.
        next_index: Where the next page begins; None: there is no more.
    """

    first_id: SnapshotId
    second_id: SnapshotId
    size_bytes: int
    indices: tuple[int, ...]
    in_first: tuple[bool, ...]
    in_second: tuple[bool, ...]
    next_index: int | None

    @property
    def blocks(self) -> tuple[ChangedBlock, ...]:
        """The blocks one by one."""
        columns = zip(self.indices, self.in_first, self.in_second, strict=True)
        return tuple(
            ChangedBlock(index=index, in_first=one, in_second=two) for index, one, two in columns
        )
