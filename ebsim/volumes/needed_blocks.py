"""Which blocks of a live volume have to be kept before they are overwritten, and for whom."""

from ebsim.core.block_maps import LEAF_BLOCKS
from ebsim.core.context import StoreContext
from ebsim.core.written_blocks import Flags, leaf_was_written
from ebsim.volumes.frozen import Frozen


class NeededBlocks:
    """What the points in time of one live volume still need. A block is asked for by its stripe.

    Args:
        context: The store.
        number: The volume's number.
    """

    def __init__(self, context: StoreContext, number: int) -> None:
        self._context = context
        self._number = number
        self._older: dict[int, Flags] = {}

    def clear(self) -> None:
        """Forget what was looked up: there is another point in time."""
        self._older.clear()

    def by(self, frozen: list[Frozen], block: int) -> list[Frozen]:
        """Return the points in time that may still have to copy a block as it is now.

        A copy needs all that it has not read yet. Snapshots are copied one after the other, each
        from what was written since the one before: where one needs the block, all of them count.

        Args:
            frozen: All points in time of the volume, oldest first.
            block: The block.
        """
        needing = [each for each in frozen if each.whole and block >= each.done]
        needing = [each for each in needing if not each.failure]
        snapshots = [each for each in frozen if not each.whole]
        if any(not each.failure for each in snapshots) and self._was_written(
            frozen, snapshots, block
        ):
            needing += snapshots
        return needing

    def _was_written(self, frozen: list[Frozen], snapshots: list[Frozen], block: int) -> bool:
        """Return whether a block was written in the epochs of snapshots, or may have been."""
        if not all(point.tracked for point in frozen):
            return True
        leaf, entry = divmod(block, LEAF_BLOCKS)
        for point in frozen:
            flags = point.written.get(leaf)
            if flags is not None and flags[entry]:
                return True
        return bool(self._written_before(leaf, snapshots)[entry])

    def _written_before(self, leaf: int, snapshots: list[Frozen]) -> Flags:
        """Return which blocks of a leaf the catalog counts as written in these epochs."""
        known = self._older.get(leaf)
        if known is None:
            with self._context.catalog.read() as reader:
                first, last = snapshots[0].base_epoch, snapshots[-1].epoch
                known = leaf_was_written(reader, self._number, leaf, first, last)
            self._older[leaf] = known
        return known
