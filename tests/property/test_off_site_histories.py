"""Random lives of two stores, of which one copies to the other: what is there is what was copied.

Snapshots are made, branched off and deleted in the first store, and copied and deleted in any order
in the second, some of them interrupted. Every copy has the bytes of its source when that was made,
and both stores prove sound at the end, with nothing left over. Some stores encrypt what they have.

By default there are four lives, one for each way to encrypt; `EBSIM_TEST_PROFILE=long` takes eight.
"""

import os
import random
from contextlib import suppress
from pathlib import Path

import pytest

from ebsim.config import SnapshotOptions
from ebsim.core import ingest
from ebsim.core.off_site_making import OffSiteMaking
from ebsim.engine import Seams, Store
from ebsim.ids import SnapshotId
from ebsim.off_site import CopyOutcome, OffSiteRequest
from ebsim.results import SnapshotState
from ebsim.testing.contents import palette_block
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.sources import MemorySource
from ebsim.units import BLOCK_SIZE

PLACES = (0, 1, 255, 256, 257, 600)
SIZE = 601 * BLOCK_SIZE
STEPS = 30
LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"


class Life:
    """Two stores, and what every snapshot had."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.encrypted = seed & 3
        clock = ManualClock()
        self.here = Store.create(folder / "here", Seams(clock=clock, entropy=SeededEntropy(1)))
        self.there = Store.create(folder / "there", Seams(clock=clock, entropy=SeededEntropy(2)))
        if seed & 1:
            self.here.encryption.enable_by_default()
        if seed & 2:
            self.there.encryption.enable_by_default()
        self.disks = [self.new_disk("disk 0", {})]
        self.contents: dict[str, dict[int, int]] = {}

    @staticmethod
    def new_disk(name: str, blocks: dict[int, int]) -> tuple[MemorySource, dict[int, int]]:
        disk = MemorySource(name, SIZE, report_holes=True)
        for index, number in blocks.items():
            disk.put(index, palette_block(number))
        return disk, dict(blocks)

    def snapshot(self) -> None:
        disk, blocks = self.chance.choice(self.disks)
        for _ in range(self.chance.randrange(4)):
            index, number = self.chance.choice(PLACES), self.chance.randrange(12)
            disk.put(index, palette_block(number))
            blocks[index] = number
        self.contents[self.here.create_snapshot(disk).snapshot_id] = dict(blocks)

    def branch(self) -> None:
        living = [each.snapshot_id for each in self.here.list_snapshots()]
        if living:
            parent = self.chance.choice(living)
            disk, blocks = self.new_disk(f"disk {len(self.disks)}", self.contents[parent])
            self.disks.append((disk, blocks))
            options = SnapshotOptions(parent=SnapshotId(parent))
            self.contents[self.here.create_snapshot(disk, options).snapshot_id] = dict(blocks)

    def delete(self, store: Store) -> None:
        living = [each.snapshot_id for each in store.list_snapshots()]
        if living:
            store.delete_snapshots(self.chance.sample(living, min(len(living), 2)))

    def copy(self) -> None:
        living = [each.snapshot_id for each in self.here.list_snapshots()]
        if living:
            some = self.chance.sample(living, self.chance.randrange(1, len(living) + 1))
            request = OffSiteRequest(snapshot_ids=some)
            for each in self.here.copy_to(self.there, request).copies:
                assert each.outcome in (CopyOutcome.COPIED, CopyOutcome.PRESENT)

    def interrupted_copy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        keep = OffSiteMaking._keep

        def interrupt(making: OffSiteMaking, batch: ingest.Batch) -> None:
            keep(making, batch)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(OffSiteMaking, "_keep", interrupt)
            with suppress(KeyboardInterrupt):
                self.here.copy_to(self.there, OffSiteRequest(all_snapshots=True))

    def assert_as_copied(self) -> None:
        for shown in self.there.list_snapshots():
            if shown.state is SnapshotState.PENDING:
                continue
            assert shown.state is SnapshotState.COMPLETED
            assert shown.encrypted is (self.encrypted > 0)
            blocks = self.contents[shown.copied_from.rpartition("/")[2]]
            for index in PLACES:
                expected = palette_block(blocks.get(index, 0))
                assert self.there.read_block(shown.snapshot_id, index) == expected


@pytest.mark.parametrize("seed", range(8 if LONG else 4))
def test_copies_are_what_their_sources_were(
    fast_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(ingest, "BATCH_CHANGES", 1)
    monkeypatch.setattr(ingest, "RUNS_AHEAD", 1)
    life = Life(fast_path, seed)
    steps = [life.snapshot] * 4 + [life.branch, life.copy, life.copy]
    steps += [lambda: life.delete(life.here), lambda: life.delete(life.there)]
    steps += [lambda: life.interrupted_copy(monkeypatch)]
    with life.here, life.there:
        for _ in range(STEPS):
            life.chance.choice(steps)()
            report = life.there.check()
            assert report.healthy, report.findings
        life.copy()
        life.assert_as_copied()
        assert_ledger_matches_copies(life.there)
        assert_healthy(life.here)
    with Store.open(life.there.path) as there:
        assert_healthy(there, orphan_bytes_max=0)
        if left := [each.snapshot_id for each in there.list_snapshots()]:
            there.delete_snapshots(left)
        assert (there.stats().blocks, there.stats().charged_size_bytes) == (0, 0)
        assert_healthy(there, orphan_bytes_max=0)


def assert_ledger_matches_copies(store: Store) -> None:
    charged = sum(each.charged_size_bytes for each in store.list_snapshots())
    assert charged == store.stats().charged_size_bytes
    assert charged == BLOCK_SIZE * sum(event.blocks for event in store.ledger())
