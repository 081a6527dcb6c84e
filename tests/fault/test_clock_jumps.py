"""No decision about safety uses the wall clock: it jumps ten years at every reading (F41)."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ebsim.clock import Clock
from ebsim.config import Quotas
from ebsim.core.sessions import Session
from ebsim.core.snapshots import list_snapshots
from ebsim.engine import Seams, Store
from ebsim.format.records import SnapshotRecord
from ebsim.ids import VolumeId
from ebsim.requests import VolumeRequest
from ebsim.results import Snapshot, SnapshotState
from ebsim.storage.catalog import CatalogReader
from ebsim.testing.contents import palette_block
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.seams import START_US, ManualClock, SeededEntropy
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE

TEN_YEARS_US = 10 * 365 * 24 * 3600 * 1_000_000
STEPS = 30
BLOCKS = 5


class JumpingClock:
    """Ten years ahead, ten years back, and now and then the same moment again."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def now_us(self) -> int:
        return START_US + self._random.choice((-1, 0, 1)) * TEN_YEARS_US


class BackwardsClock:
    """Each reading is ten years before the last."""

    def __init__(self) -> None:
        self._now_us = START_US

    def now_us(self) -> int:
        self._now_us = max(1, self._now_us - TEN_YEARS_US)
        return self._now_us


CLOCKS: dict[str, Callable[[], Clock]] = {
    "jumping": lambda: JumpingClock(1),
    "another": lambda: JumpingClock(2),
    "backwards": BackwardsClock,
    "leaping": lambda: ManualClock(step_us=TEN_YEARS_US // 50),
}


@dataclass
class Life:
    """The same history whatever the clock says, with everything that a user sees but times."""

    path: Path
    clock: Clock
    told: list[object] = field(default_factory=list)
    opened: int = 0

    def seams(self) -> Seams:
        self.opened += 1
        return Seams(clock=self.clock, entropy=SeededEntropy(self.opened))

    def live(self) -> list[object]:
        rng = random.Random(4)
        store = Store.create(self.path, self.seams())
        store.quotas = Quotas(snapshot_spacing_s=0)
        volume_id = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
        for _ in range(STEPS):
            store = self.step(store, volume_id, rng)
            self.look(store)
        self.look_closely(store)
        store.close()
        Store.rebuild(self.path, self.seams())
        with Store.open(self.path, self.seams()) as store:
            self.look(store)
            self.look_closely(store)
        return self.told

    def step(self, store: Store, volume_id: str, rng: random.Random) -> Store:
        kinds = ("snapshot", "volume", "delete", "reopen", "die", "compact")
        kind = rng.choices(kinds, (10, 8, 8, 2, 2, 2))[0]
        shown = store.list_snapshots()
        if kind == "snapshot":
            blocks = [palette_block(rng.randrange(20)) for _ in range(BLOCKS)]
            name = f"memory:{rng.randrange(3)}"
            self.told.append(store.create_snapshot(disk_of(*blocks, name=name)).snapshot_id)
        elif kind == "volume":
            with store.volumes.open(volume_id) as file:
                index = rng.randrange(BLOCKS)
                file.pwrite(palette_block(rng.randrange(1, 20)), index * BLOCK_SIZE)
            store.wait_snapshots([store.create_snapshot(volume_id).snapshot_id])
        elif kind == "delete" and shown:
            chosen = rng.sample([each.snapshot_id for each in shown], min(2, len(shown)))
            self.told.append(store.delete_snapshots(chosen))
        elif kind == "compact":
            store.compact()
        elif kind == "die":
            store.close = lambda **_: None  # type: ignore[method-assign]
            self.abandon(store)
            store = Store.open(self.path, self.seams())
        elif kind == "reopen":
            store.close()
            store = Store.open(self.path, self.seams())
        return store

    def abandon(self, store: Store) -> None:
        """Leave the store as a process does that dies: its session is not ended, its lock is."""
        session = store._context.session
        if session is not None:
            release(session)
        store._context.catalog.close()

    def look(self, store: Store) -> None:
        """Note everything but times."""
        self.told.extend(without_times(each) for each in store.list_snapshots())
        self.told.extend(
            (each.cause, each.snapshot_id, each.blocks, each.other_id) for each in store.ledger()
        )

    def look_closely(self, store: Store) -> None:
        """Note every block, and prove every byte."""
        assert_healthy(store)
        for each in store.list_snapshots():
            assert each.state is SnapshotState.COMPLETED
            self.told.append(
                [hash(store.read_block(each.snapshot_id, index)) for index in range(BLOCKS)]
            )


def release(session: Session) -> None:
    session._lock.release()


def without_times(shown: Snapshot) -> tuple[object, ...]:
    return (
        shown.snapshot_id,
        shown.volume_id,
        shown.state,
        shown.parent_id,
        shown.size_bytes,
        shown.full_size_bytes,
        shown.incremental_size_bytes,
        shown.charged_size_bytes,
    )


@pytest.fixture(scope="module")
def expected(fast_module_path: Path) -> list[object]:
    """What happens when the clock stands still."""
    return Life(fast_module_path / "still", ManualClock()).live()


@pytest.mark.slow
@pytest.mark.parametrize("name", CLOCKS)
def test_nothing_but_times_depends_on_the_clock(
    name: str, expected: list[object], fast_path: Path
) -> None:
    """F41."""
    told = Life(fast_path / "store", CLOCKS[name]()).live()

    assert len(told) == len(expected)
    for found, wanted in zip(told, expected, strict=True):
        assert found == wanted


@pytest.mark.slow
def test_decision_that_uses_the_clock_is_found(
    expected: list[object], fast_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parent that is chosen by its time, and not by its place in the lineage, is noticed."""

    def newest_by_time(reader: CatalogReader, volume_id: VolumeId) -> SnapshotRecord | None:
        mine = [
            each
            for each in list_snapshots(reader)
            if each.volume_id == volume_id and each.state == SnapshotState.COMPLETED
        ]
        return max(mine, key=lambda each: each.start_us, default=None)

    monkeypatch.setattr("ebsim.core.volumes.newest_of_volume", newest_by_time)

    assert Life(fast_path / "store", JumpingClock(1)).live() != expected
