"""Compaction whose process dies, or whose machine loses its power, at every step.

In memory: `ebsim.testing.machine` says what a step is, and what a power cut forgets. The same with
real processes and files is in test_kill.py.

What must hold afterwards. Every snapshot is there with its bytes and charges, all stored bytes
prove sound, nothing that nobody refers to is left, and the compaction can be done again.
"""

import random
from pathlib import Path

import pytest

from ebsim.engine import Store
from ebsim.errors import EbsimError
from ebsim.storage.segments import LocalSegmentWriter
from ebsim.testing.contents import palette_block
from ebsim.testing.invariants import assert_healthy, assert_store_matches
from ebsim.testing.machine import Killed, Machine
from ebsim.testing.memory_store import SEGMENTS
from ebsim.testing.model import ReferenceModel
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE

pytestmark = pytest.mark.crash

WEB = "memory:web"
NIGHTS = ((4, 8), (4, 12), (16, 12), (16, 1))


class Run:
    """A machine with some nights behind it, whose compaction dies at a step."""

    def __init__(self, folder: Path) -> None:
        self.machine = Machine(folder)
        self.model = ReferenceModel()
        self.model.add_volume(WEB, len(NIGHTS[0]) * BLOCK_SIZE)
        self.ids: list[str] = []
        for blocks in NIGHTS:
            with self.machine.start().open() as store:
                self.night(store, blocks)
        with self.machine.start().open() as store:
            store.delete_snapshots(self.ids[1:2])
        self.model.delete(self.ids[1:2])

    def night(self, store: Store, blocks: tuple[int, ...]) -> None:
        source = disk_of(*(palette_block(number) for number in blocks), name=WEB)
        for index, number in enumerate(blocks):
            self.model.write(WEB, index, palette_block(number))
        self.ids.append(store.create_snapshot(source).snapshot_id)
        self.model.snapshot(WEB, self.ids[-1])

    def compact(self, die_at: int | None) -> bool:
        """Return whether the process died before the end; it is dead now."""
        process = self.machine.start(die_at)
        try:
            with process.open() as store:
                report = store.compact()
                assert report.damaged == ()
        except Killed:
            return True
        finally:
            process.kill()
        return False

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


def die_at_each_step(folder: Path, ending: str) -> None:
    """Have a compaction die at each of its steps, and look at what is left."""
    chance = random.Random(ending)
    step = 0
    while True:
        step += 1
        (place := folder / str(step)).mkdir()
        run = Run(place)
        died = run.compact(step)
        if ending == "power cut":
            run.machine.cut_power(chance)
        elif ending == "killed again":
            run.compact(chance.randrange(1, 40))
        try:
            run.assert_survived()
        except BaseException as error:
            error.add_note(f"died at step {step}")
            raise
        if not died:
            assert step > 20
            return


@pytest.mark.parametrize("ending", ["killed", "power cut", "killed again"])
def test_died_at_each_step(fast_path: Path, ending: str) -> None:
    """F4, F6, F7, F9: no acknowledged effect is lost, whatever the step."""
    die_at_each_step(fast_path, ending)


def test_missing_sync_is_noticed(fast_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: without the sync of the copies, a power cut loses some."""
    compact = Run.compact

    def without_sync(run: Run, die_at: int | None) -> bool:
        with monkeypatch.context() as patch:
            patch.setattr(LocalSegmentWriter, "sync", lambda _self: None)
            return compact(run, die_at)

    monkeypatch.setattr(Run, "compact", without_sync)
    with pytest.raises((AssertionError, EbsimError)):
        die_at_each_step(fast_path, "power cut")
