"""Compaction whose process dies, or whose machine loses its power, at every step.

In memory: `ebsim.testing.machine` says what a step is, and what a power cut forgets. The same with
real processes and files is in test_kill.py.

What must hold afterwards. Every snapshot is there with its bytes and charges, all stored bytes
prove sound, nothing that nobody refers to is left, and the compaction can be done again.
"""

from pathlib import Path
from unittest import mock

import pytest

from ebsim.engine import Store
from ebsim.errors import EbsimError
from ebsim.storage.segments import LocalSegmentWriter
from ebsim.testing.deaths import die_at_each_step
from ebsim.testing.invariants import assert_healthy, assert_store_matches
from ebsim.testing.machine_nights import MachineNights
from ebsim.testing.memory_store import SEGMENTS

pytestmark = pytest.mark.crash

NIGHTS = ((4, 8), (4, 12), (16, 12), (16, 1))


class Run(MachineNights):
    """A machine with some nights behind it, whose compaction dies at a step."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, NIGHTS)
        with self.machine.start().open() as store:
            store.delete_snapshots(self.ids[1:2])
        self.model.delete(self.ids[1:2])

    def act(self, die_at: int | None) -> bool:
        """Return whether the process died before the end; it is dead now."""
        return self.machine.until_dead(die_at, self.check_compacted)

    def check_compacted(self, store: Store) -> None:
        assert store.compact().damaged == ()

    def assert_survived(self) -> None:
        with self.machine.start().open() as store:
            assert_store_matches(store, self.model)
            assert_healthy(store, orphan_bytes_max=0)
        with self.machine.start().open() as store:
            store.compact()
            assert_store_matches(store, self.model)
            assert_healthy(store, orphan_bytes_max=0)
            self.night(store, (20, 1))
            assert len(self.machine.files.list(SEGMENTS)) == store.stats().segments
        with self.machine.start().open() as store:
            assert_store_matches(store, self.model)
            assert_healthy(store, orphan_bytes_max=0)


def compaction_dies(folder: Path, ending: str, attempt: type[Run] = Run) -> None:
    die_at_each_step(attempt, folder, ending, steps=(20, 40))


@pytest.mark.parametrize("ending", ["killed", "power cut", "killed again"])
def test_died_at_each_step(fast_path: Path, ending: str) -> None:
    """F4, F6, F7, F9: no acknowledged effect is lost, whatever the step."""
    compaction_dies(fast_path, ending)


def test_missing_sync_is_noticed(fast_path: Path) -> None:
    """The test above can fail: without the sync of the copies, a power cut loses some."""

    class Unsynced(Run):
        def act(self, die_at: int | None) -> bool:
            with mock.patch.object(LocalSegmentWriter, "sync", return_value=None):
                return super().act(die_at)

    with pytest.raises((AssertionError, EbsimError)):
        compaction_dies(fast_path, "power cut", attempt=Unsynced)
