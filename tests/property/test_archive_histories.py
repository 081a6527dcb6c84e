"""Random histories with the archive, beside a model that counts everything by brute force.

After every step each snapshot is charged in each tier what the model says, the ledger adds up to
that, and what can be read reads as it was; at the end the store is checked down to its bytes, and
the catalog that a rebuild makes says the same.

By default there are 30 histories, the same in every run; `EBSIM_TEST_PROFILE=long` takes 200 at
random.
"""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebsim.config import Quotas, SnapshotOptions
from ebsim.engine import Seams, Store
from ebsim.errors import ConflictError
from ebsim.results import Snapshot
from ebsim.testing.archive_model import ArchiveModel, ModelDisk
from ebsim.testing.contents import palette_block
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.seams import ManualClock, SeededEntropy, fast_folder
from ebsim.testing.sources import MemorySource
from ebsim.tiering import StorageTier, TierRestore
from ebsim.units import BLOCK_SIZE

pytestmark = pytest.mark.slow

BLOCKS = 4
DISKS = ("memory:one", "memory:two")

STEPS = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 1), st.integers(0, BLOCKS - 1), st.integers(0, 6)),
    st.tuples(st.just("snapshot"), st.integers(0, 1)),
    st.tuples(
        st.sampled_from(
            ["branch", "copy", "archive", "archive", "temporary", "permanent", "delete"]
        ),
        st.integers(0, 20),
    ),
    st.tuples(st.just("expire")),
)


class Play:
    """A store and the model of it, and the steps that both are taken through."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.seams = Seams(clock=self.clock, entropy=SeededEntropy())
        self.path = folder / "store"
        self.store = Store.create(self.path, self.seams)
        self.model = ArchiveModel()
        self.sources: dict[str, MemorySource] = {}
        for name in DISKS:
            self._add_disk(name, [1] * BLOCKS)

    def _add_disk(self, name: str, contents: list[int]) -> None:
        data = bytearray(b"".join(palette_block(content) for content in contents))
        self.sources[name] = MemorySource(name, data)
        self.model.disks[name] = ModelDisk(list(contents))

    def take(self, step: tuple[str | int, ...]) -> None:
        """Take one step, if it is possible now."""
        what, numbers = str(step[0]), [int(each) for each in step[1:]]
        if what == "write":
            disk, index, content = DISKS[numbers[0]], numbers[1], numbers[2]
            self.sources[disk].put(index, palette_block(content))
            self.model.disks[disk].blocks[index] = content
        elif what == "snapshot":
            disk = DISKS[numbers[0]]
            made = self.store.create_snapshot(self.sources[disk])
            self.model.snapshot(made.snapshot_id, disk)
        elif what == "expire":
            self.clock.advance(days=1)
            self.model.expire()
        else:
            self._change(what, numbers[0])

    def _change(self, what: str, number: int) -> None:
        names = sorted(self.model.snapshots, key=lambda each: self.model.snapshots[each].order)
        if not names:
            return
        name = names[number % len(names)]
        shown = self.model.snapshots[name]
        can: dict[str, bool] = {
            "branch": shown.standard,
            "copy": shown.standard,
            "archive": shown.standard and not shown.archive,
            "temporary": shown.archive,
            "permanent": shown.archive,
            "delete": True,
        }
        do: dict[str, Callable[[str], None]] = {
            "branch": self._branch,
            "copy": self._copy,
            "archive": self._archive,
            "temporary": self._restore_for_a_time,
            "permanent": self._restore_for_good,
            "delete": self._delete,
        }
        if can[what]:
            do[what](name)
            return
        with pytest.raises(ConflictError):
            do[what](name)

    def _branch(self, name: str) -> None:
        disk = f"memory:branch {len(self.sources)}"
        contents = [self.model.snapshots[name].contents.get(at, 0) for at in range(BLOCKS)]
        self._add_disk(disk, contents)
        at = len(self.sources) % BLOCKS
        self.sources[disk].put(at, palette_block(9))
        self.model.disks[disk].blocks[at] = 9
        options = SnapshotOptions(parent=self.store.get_snapshot(name).snapshot_id)
        made = self.store.create_snapshot(self.sources[disk], options)
        self.model.snapshot(made.snapshot_id, disk, parent=name)

    def _copy(self, name: str) -> None:
        self.model.copy(self.store.copy_snapshot(name).snapshot_id, name)

    def _archive(self, name: str) -> None:
        self.store.tiers.archive(name)
        self.model.archive(name)

    def _restore_for_a_time(self, name: str) -> None:
        self.store.tiers.restore(name)
        self.model.restore(name, permanent=False)

    def _restore_for_good(self, name: str) -> None:
        self.store.tiers.restore(name, TierRestore(permanent=True))
        self.model.restore(name, permanent=True)

    def _delete(self, name: str) -> None:
        told = self.store.delete_snapshots([name], dry_run=True).deleted[0]
        before = {each: self.model.charged_blocks(each) for each in self.model.snapshots}
        done = self.store.delete_snapshots([name]).deleted[0]
        self.model.delete(name)
        assert done == told
        moved = {each.snapshot_id: each.size_bytes for each in done.moved_to}
        after = {each: self.model.charged_blocks(each) for each in self.model.snapshots}
        gained = {each: after[each] - before[each] for each in after if after[each] != before[each]}
        assert moved == {each: blocks * BLOCK_SIZE for each, blocks in gained.items()}
        lost = before[name] - sum(gained.values())
        assert done.freed_size_bytes == lost * BLOCK_SIZE

    def compare(self) -> None:
        """Compare what the store says with the model."""
        listed = {each.snapshot_id: each for each in self.store.list_snapshots()}
        assert listed.keys() == self.model.snapshots.keys()
        sums: Counter[tuple[str, StorageTier]] = Counter()
        for event in self.store.ledger():
            sums[event.snapshot_id, event.tier] += event.blocks
        for name, shown in listed.items():
            self._compare_one(name, shown, sums)
            del sums[name, StorageTier.STANDARD], sums[name, StorageTier.ARCHIVE]
        assert not any(sums.values()), "what is deleted is charged nothing"

    def _compare_one(
        self, name: str, shown: Snapshot, sums: "Counter[tuple[str, StorageTier]]"
    ) -> None:
        expected = self.model.snapshots[name]
        charged, archived = self.model.charged_blocks(name), self.model.archived_blocks(name)
        assert shown.charged_size_bytes == charged * BLOCK_SIZE
        assert shown.full_size_bytes == len(expected.versions) * BLOCK_SIZE
        assert sums[name, StorageTier.STANDARD] == charged
        assert sums[name, StorageTier.ARCHIVE] == archived
        if expected.standard:
            assert shown.storage_tier is StorageTier.STANDARD
            for index in range(BLOCKS):
                content = palette_block(expected.contents.get(index, 0))
                assert self.store.read_block(name, index) == content
        else:
            assert shown.storage_tier is StorageTier.ARCHIVE
            with pytest.raises(ConflictError):
                self.store.read_block(name, 0)

    def rebuild(self) -> None:
        """Have the catalog made again from the segments, and compare what it says."""
        before = self.store.list_snapshots(), self.store.ledger(), self.store.tiers.describe()
        self.store.close()
        Store.rebuild(self.path, self.seams)
        self.store = Store.open(self.path, self.seams)
        after = self.store.list_snapshots(), self.store.ledger(), self.store.tiers.describe()
        assert after == before


@settings(max_examples=settings().max_examples // 5)
@given(steps=st.lists(STEPS, min_size=8, max_size=30))
def test_histories_with_the_archive_equal_the_model(steps: list[tuple[str | int, ...]]) -> None:
    folder = fast_folder()
    play = Play(folder)
    try:
        play.store.quotas = Quotas(archived_per_volume=1000)
        play.take(("snapshot", 0))
        for step in steps:
            play.take(step)
            play.compare()
        assert_healthy(play.store)
        play.rebuild()
        play.compare()
        assert_healthy(play.store)
        for name in list(play.model.snapshots):
            if not play.model.snapshots[name].standard:
                play.take(("permanent", list(play.model.snapshots).index(name)))
        play.compare()
        for name in list(play.model.snapshots):
            play.store.delete_snapshots([name])
            play.model.delete(name)
            play.compare()
        assert play.store.stats().blocks == 0
        assert_healthy(play.store)
    finally:
        play.store.close()
        shutil.rmtree(folder)
