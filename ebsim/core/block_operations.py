"""The operations on blocks of snapshots, as `Store.blocks` offers them."""

from ebsim import refusals
from ebsim.block_lists import PAGE_MAX, PAGE_MIN, BlockPage, ChangedBlockPage
from ebsim.core.block_listing import list_blocks, list_changed_blocks
from ebsim.core.context import StoreContext
from ebsim.core.single_reads import read_block
from ebsim.ids import parse_snapshot_id


class BlockOperations:
    """Reading snapshots block by block."""

    def __init__(self, context: StoreContext) -> None:
        self._context = context

    def list(self, snapshot_id: str, start: int = 0, count: int = PAGE_MAX) -> BlockPage:
        """Return some of the blocks that a snapshot has, its ancestors' included.

        Args:
            snapshot_id: The snapshot.
            start: The first index that may be among them.
            count: At most so many; fewer than 100 are taken for 100.

        Raises:
            InvalidInputError: The id is malformed, or a number is out of range.
            NotFoundError, ConflictError: There is no such snapshot, or it is not completed.
            EbsimError: Its key cannot be had.
        """
        _check(start, count)
        wanted = parse_snapshot_id(snapshot_id)
        return list_blocks(self._context, wanted, start, max(count, PAGE_MIN))

    def list_changed(
        self, first_id: str, second_id: str, start: int = 0, count: int = PAGE_MAX
    ) -> ChangedBlockPage:
        """Return the changes among the next `count` blocks that two snapshots of a lineage have.

        Raises:
            InvalidInputError: As `list`; or they are not of one lineage.
            NotFoundError, ConflictError, EbsimError: As `list`.
        """
        _check(start, count)
        first, second = parse_snapshot_id(first_id), parse_snapshot_id(second_id)
        return list_changed_blocks(self._context, first, second, start, max(count, PAGE_MIN))

    def read(self, snapshot_id: str, index: int) -> bytes | memoryview:
        """Return the 524,288 bytes of a block of a snapshot; a view where that saves a copy.

        Raises:
            As `Store.read_block`.
        """
        return read_block(self._context, parse_snapshot_id(snapshot_id), index)


def _check(start: int, count: int) -> None:
    if start < 0:
        raise refusals.invalid_value(start, "startingBlockIndex", "Expected 0 or more")
    if not 1 <= count <= PAGE_MAX:
        raise refusals.invalid_value(count, "maxResults", f"Expected at most {PAGE_MAX}")
