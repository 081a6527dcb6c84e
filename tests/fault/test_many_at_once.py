"""Several processes at once that create, delete, restore and die, for a while.

Who comes first is left to chance, so this proves nothing when it passes; it looks for what nobody
thought of. Each snapshot's description says what it holds, so that it can be checked afterwards
whoever made it.
"""

import json
import os
import random
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from ebsim.engine import Store
from ebsim.results import SnapshotState
from ebsim.testing.contents import palette_block
from ebsim.testing.invariants import assert_healthy, assert_holds_nothing
from ebsim.testing.worker import Task, Worker
from ebsim.units import BLOCK_SIZE

LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"
pytestmark = [
    pytest.mark.crash,
    pytest.mark.slow,
    pytest.mark.skipif(not LONG, reason="EBSIM_TEST_PROFILE=long searches by chance"),
]

AT_ONCE = 4
TASKS_EACH = 40
CONTENTS = 30
BLOCKS = 12


class Crowd:
    """Gives each of its threads one task after the other, and a child process for each."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        self.known: list[str] = []
        self.problems: list[object] = []

    def run(self) -> None:
        threads = [threading.Thread(target=self._work, args=(number,)) for number in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, number: int) -> None:
        rng = random.Random(self.seed * AT_ONCE + number)
        blocks = [rng.randrange(CONTENTS) for _ in range(BLOCKS)]
        for _ in range(TASKS_EACH):
            for _ in range(rng.randrange(4)):
                blocks[rng.randrange(BLOCKS)] = rng.randrange(CONTENTS)
            self._perform(self._choose(rng, number, blocks))

    def _choose(self, rng: random.Random, number: int, blocks: Sequence[int]) -> Task:
        store = str(self.folder / "store")
        die_at_step = rng.choice([None, None, rng.randrange(1, 60)])
        if rng.random() < 0.6 or len(self.known) < AT_ONCE:
            return Task(
                store=store,
                operation="create",
                disk=f"memory:disk{number // 2}",  # two share a disk
                blocks=tuple(blocks),
                description=json.dumps(blocks),
                die_at_step=die_at_step,
            )
        chosen = rng.sample(self.known, rng.randrange(1, 4))
        return Task(
            store=store,
            operation="delete",
            snapshot_ids=tuple(chosen),
            die_at_step=die_at_step,
        )

    def _perform(self, task: Task) -> None:
        with Worker(task) as worker:
            for event in worker.events():
                if event["event"] == "done" and task.operation == "create":
                    self.known.extend(event["snapshot_ids"])
                unknown = event.get("code") == "InvalidSnapshot.NotFound"
                if event["event"] == "failed" and not unknown:
                    self.problems.append((task, event))
            if worker.wait() == 1:
                self.problems.append((task, "a traceback"))


@pytest.mark.parametrize("seed", range(3))
def test_crowd_leaves_a_sound_store(fast_path: Path, seed: int) -> None:
    Store.create(fast_path / "store").close()
    crowd = Crowd(fast_path, seed)

    crowd.run()

    assert crowd.problems == []
    with Store.open(fast_path / "store") as store:
        assert_healthy(store)
        listed = store.list_snapshots()
        held: set[int] = set()
        for shown in listed:
            if shown.state is not SnapshotState.COMPLETED:
                assert_holds_nothing(shown)
                continue
            numbers = json.loads(shown.description)
            held.update(numbers)
            for index, number in enumerate(numbers):
                assert store.read_block(shown.snapshot_id, index) == palette_block(number)
        assert store.stats().blocks == len(held - {0})
        assert_charges_add_up(store)
        store.delete_snapshots([shown.snapshot_id for shown in listed])
        assert store.stats().charged_size_bytes == store.stats().blocks == 0


def assert_charges_add_up(store: Store) -> None:
    charged: dict[str, int] = {
        each.snapshot_id: each.charged_size_bytes for each in store.list_snapshots()
    }
    sums: dict[str, int] = {}
    for event in store.ledger():
        sums[event.snapshot_id] = sums.get(event.snapshot_id, 0) + event.blocks * BLOCK_SIZE
    for snapshot_id in sums.keys() | charged.keys():
        assert sums.get(snapshot_id, 0) == charged.get(snapshot_id, 0)
    assert store.stats().charged_size_bytes == sum(charged.values())
