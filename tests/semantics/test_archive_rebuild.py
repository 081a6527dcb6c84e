"""The archive survives rebuilds of the catalog, repairs of the journal, and processes that die.

Each is compared with what a user can ask of the store before.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ebsim import failpoints
from ebsim.config import Quotas, SnapshotOptions
from ebsim.engine import Seams, Store
from ebsim.format.meta_records import decode_journal
from ebsim.format.segment import RecordKind
from ebsim.results import ChargeEvent
from ebsim.storage.files import PosixFiles
from ebsim.storage.segment_scan import scan_segment
from ebsim.testing.contents import noise_block
from ebsim.testing.damage import flip_bit, segment_files
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.memory_store import MemoryStore, leave_as_if_killed
from ebsim.testing.seams import ManualClock, SeededEntropy, fast_folder
from ebsim.testing.sources import MemorySource
from ebsim.tiering import StorageTier, TierRestore
from ebsim.units import BLOCK_SIZE

FOR_GOOD = TierRestore(permanent=True)


def live_a_life(store: Store, clock: ManualClock) -> None:
    """Archive, restore in both ways, let expire, change, delete while on the way; leave some."""
    disk = MemorySource("memory:disk", 3 * BLOCK_SIZE)
    names = []
    for night in range(7):
        disk.put(night % 3, noise_block(night))
        names.append(store.create_snapshot(disk).snapshot_id)
    for name in names[:4]:
        store.tiers.archive(name)
    store.tiers.restore(names[0], FOR_GOOD)
    store.tiers.restore(names[1], TierRestore(days=5))
    branch = MemorySource("memory:branch", 3 * BLOCK_SIZE)
    branch.put(1, noise_block(20))
    store.create_snapshot(branch, SnapshotOptions(parent=names[1]))
    clock.advance(days=5)
    store.tiers.restore(names[1], TierRestore(days=3))
    store.tiers.restore(names[1], TierRestore(days=180))
    store.tiers.restore(names[2])
    store.tiers.restore(names[2], FOR_GOOD)
    store.tiers.archive(names[2])
    store.delete_snapshots([names[3]])
    store.quotas = Quotas(archival_s=7200, tier_restore_s=7200)
    store.tiers.archive(names[4])
    clock.advance(hours=1)
    store.delete_snapshots([names[4]])
    store.tiers.restore(names[2], FOR_GOOD)
    store.tiers.archive(names[5])


def told(store: Store) -> dict[str, Any]:
    snapshots = store.list_snapshots()
    return {
        "snapshots": snapshots,
        "contents": [
            store.read_block(each.snapshot_id, index)
            for each in snapshots
            if each.storage_tier is StorageTier.STANDARD
            for index in range(3)
        ],
        "dry runs": [
            store.delete_snapshots([each.snapshot_id], dry_run=True).deleted[0].moved_to
            for each in snapshots
        ],
        "ledger": store.ledger(),
        "tiers": store.tiers.describe(),
        "quotas": store.quotas,
    }


def at(clock: ManualClock, seed: int) -> Seams:
    return Seams(clock=ManualClock(clock.now_us()), entropy=SeededEntropy(seed))


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="module")
def lived(clock: ManualClock) -> Iterator[Path]:
    """A folder with such a store, which nobody changes."""
    folder = fast_folder()
    with Store.create(folder / "store", Seams(clock=clock, entropy=SeededEntropy())) as store:
        live_a_life(store, clock)
        assert_healthy(store)
    yield folder / "store"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def before(lived: Path, clock: ManualClock) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is told now, and once everything fell due."""
    folder = fast_folder()
    path = Path(shutil.copytree(lived, folder / "store"))
    found = told_twice(path, clock, 3)
    shutil.rmtree(folder)
    return found


def told_twice(path: Path, clock: ManualClock, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a store tells now and 200 days later."""
    seams = at(clock, seed)
    with Store.open(path, seams) as store:
        now = told(store)
        assert isinstance(seams.clock, ManualClock)
        seams.clock.advance(days=200)
        then = told(store)
        assert_healthy(store)
    return now, then


@pytest.fixture
def copied(lived: Path, fast_path: Path) -> Path:
    return Path(shutil.copytree(lived, fast_path / "store"))


def entries(folder: Path) -> list[tuple[dict[str, Any], Path, int]]:
    """Return each entry of the journal, and where it is."""
    found = [
        (decode_journal(bytes(record.payload)), path, record.offset)
        for path in segment_files(folder)
        for record in scan_segment(PosixFiles(), path, bytes.fromhex(path.stem))
        if record.header is not None
        and record.header.kind is RecordKind.JOURNAL
        and record.payload is not None
    ]
    return sorted(found, key=lambda each: each[0]["sequence"])


def test_catalog_is_made_again(
    copied: Path, before: tuple[dict[str, Any], dict[str, Any]], clock: ManualClock
) -> None:
    shutil.rmtree(copied / "catalog")
    assert Store.rebuild(copied, at(clock, 4)).findings == ()
    assert told_twice(copied, clock, 5) == before


def test_every_kind_of_step_is_among_the_entries(lived: Path) -> None:
    """So that the test below takes each of them away once."""
    causes = {
        event["cause"]
        for entry, _, _ in entries(lived)
        if entry["operation"] == "tier"
        for event in entry["facts"]["events"]
    }
    assert causes >= {"archived", "retrieved", "restored", "expired", "moved-out", "moved-in"}
    gone = [
        step
        for entry, _, _ in entries(lived)
        if entry["operation"] == "delete"
        for step in entry["facts"]["steps"]
    ]
    assert {step.get("arriving") for step in gone} == {True, False}


@pytest.mark.parametrize("operation", ["tier", "delete", "complete"])
def test_entries_of_the_journal_are_made_again(
    copied: Path, before: tuple[dict[str, Any], dict[str, Any]], clock: ManualClock, operation: str
) -> None:
    """Each by itself: damaged, repaired from what the catalog knows, and told again."""
    for number, (entry, path, offset) in enumerate(entries(copied)):
        if entry["operation"] != operation:
            continue
        one = Path(shutil.copytree(copied, copied.parent / f"store{number}"))
        flip_bit(one / path.relative_to(copied), 8 * (offset + 100))
        with Store.open(one, at(clock, 6)) as store:
            assert [each.kind for each in store.repair().records] == ["journal"]
            assert_healthy(store)
        shutil.rmtree(one / "catalog")
        assert Store.rebuild(one, at(clock, 7)).findings == ()
        assert told_twice(one, clock, 8) == before, entry
        shutil.rmtree(one)


def test_whole_journal_is_made_again(
    copied: Path, before: tuple[dict[str, Any], dict[str, Any]], clock: ManualClock
) -> None:
    for _, path, offset in entries(copied)[7:]:
        flip_bit(path, 8 * (offset + 100))
    with Store.open(copied, at(clock, 6)) as store:
        store.repair()
    shutil.rmtree(copied / "catalog")
    assert Store.rebuild(copied, at(clock, 7)).findings == ()
    assert told_twice(copied, clock, 8) == before


class _KilledError(BaseException):
    """The process ends here."""


def sums(events: list[ChargeEvent]) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for event in events:
        key = event.snapshot_id, event.tier.value
        found[key] = found.get(key, 0) + event.blocks
    return {key: blocks for key, blocks in found.items() if blocks}


STEPS: list[Callable[[Store, list[str]], object]] = [
    lambda store, names: store.tiers.archive(names[1]),
    lambda store, names: store.tiers.restore(names[1]),
    lambda store, names: store.tiers.restore(names[1], FOR_GOOD),
    lambda store, names: store.tiers.archive(names[1]),
    lambda store, names: store.tiers.restore(names[1], FOR_GOOD),
]


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_process_that_dies_leaves_it_done_or_not(fast_path: Path, step: int) -> None:
    """At every failpoint: whoever opens the store next finds it whole, and can go on."""
    for deaths in range(40):
        folder = fast_path / str(deaths)
        folder.mkdir()
        disk = MemoryStore(folder)
        store = disk.open()
        source = MemorySource("memory:disk", 3 * BLOCK_SIZE)
        names = []
        for night in range(3):
            source.put(night, noise_block(night))
            source.put(0, noise_block(10 + night))
            names.append(str(store.create_snapshot(source).snapshot_id))
        for earlier in STEPS[:step]:
            earlier(store, names)
        left = [deaths]

        def die(_name: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise _KilledError

        failpoints.arm(die)
        try:
            STEPS[step](store, names)
            died = False
        except _KilledError:
            died = True
        finally:
            failpoints.disarm()
        leave_as_if_killed(store._context)
        again = disk.open()
        assert_healthy(again)
        charged = {
            (each.snapshot_id, "standard"): each.charged_size_bytes // BLOCK_SIZE
            for each in again.list_snapshots()
            if each.charged_size_bytes
        }
        found = {key: blocks for key, blocks in sums(again.ledger()).items() if key[1] != "archive"}
        assert found == charged
        (status,) = again.tiers.describe().statuses or (None,)
        assert status is None or not status.status.endswith("in-progress"), "it was carried on"
        if not died:
            return
    raise AssertionError("it never came to its end")


def test_store_open_for_reading_leaves_what_is_due(
    copied: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may not write sees it as it was last left."""
    seams = at(clock, 9)
    with Store.open(copied, seams) as store:
        monkeypatch.setattr(type(store._context.catalog), "read_only", property(lambda _: True))
        assert isinstance(seams.clock, ManualClock)
        seams.clock.advance(days=200)
        shown = store.tiers.describe().statuses
        assert any(each.status.endswith("in-progress") for each in shown)
        assert max(each.progress_percent for each in shown) == 100
        monkeypatch.undo()
        assert not any(
            each.status.endswith("in-progress") for each in store.tiers.describe().statuses
        )
