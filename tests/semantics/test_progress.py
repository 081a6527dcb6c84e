"""How the progress of a snapshot is told: as the blocks are gathered, not batch by batch."""

from ebsim.core.ingest import RUN_BLOCKS
from ebsim.engine import Store
from ebsim.testing.contents import palette_block
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE

BLOCKS = 5 * RUN_BLOCKS + 3


class Steps:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.total = 0
        self.steps: list[int] = []

    def start(self, label: str, total_bytes: int) -> None:
        assert label
        self.total = total_bytes

    def advance(self, done_bytes: int) -> None:
        self.steps.append(done_bytes)

    def finish(self) -> None:
        self.steps.append(0)

    def note(self, message: str) -> None:
        raise AssertionError(message)


def test_snapshot_is_told_run_by_run(store: Store) -> None:
    """All of it is one batch of 128 MiB; no step is larger than a run of eight blocks."""
    steps = Steps()

    store.create_snapshot(disk_of(*map(palette_block, range(1, BLOCKS + 1))), progress=steps)

    assert steps.total == sum(steps.steps) == BLOCKS * BLOCK_SIZE
    assert max(steps.steps) <= RUN_BLOCKS * BLOCK_SIZE
    assert steps.steps[-1] == 0, "and then it is finished"
