"""The worked examples of the EBS documentation, to the block, at their full sizes.

E1 to E8 are the rows of the table of published examples in docs/semantics.md. A GiB is 2,048 blocks
of 512 KiB. The blocks are synthetic and compress well, so that seconds are enough; their number is
not scaled (but in E8). Changes are scattered over the volume rather than in one run. In E1 and E2
all blocks are different; in the larger examples there are few contents, each on many blocks: less
is stored, and the charges are the same all the same.
"""

import itertools
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ebsim.config import SnapshotOptions
from ebsim.engine import Store
from ebsim.ids import SnapshotId
from ebsim.results import DeletedSnapshot, Snapshot
from ebsim.testing.synthetic import SyntheticSource
from ebsim.units import BLOCK_SIZE, BLOCKS_PER_GIB, GIB

pytestmark = pytest.mark.slow

Stamps = npt.NDArray[np.uint64]

LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"

GENERATION = 1 << 32
"""Stamps of different generations differ, so blocks of different generations differ."""


FEW = 61
"""How many contents a generation has where they repeat. A prime, so that no pattern fits it."""


def written(volume_gib: int, data_gib: int, contents: int = GENERATION) -> Stamps:
    """Stamps of a volume of which the first GiB are written and the rest is not."""
    stamps = np.zeros(volume_gib * BLOCKS_PER_GIB, np.uint64)
    rewrite(stamps, added(0, data_gib), 1, contents)
    return stamps


def rewrite(
    stamps: Stamps, indices: npt.NDArray[np.int64], generation: int, contents: int = GENERATION
) -> None:
    """Give each of the blocks a content of a generation of its own, out of so many."""
    stamps[indices] = (indices % contents + generation * GENERATION).astype(np.uint64)


def scattered(count: int, of: int) -> npt.NDArray[np.int64]:
    """Return `count` of the first `of` block indices, evenly spread."""
    return np.arange(count) * of // count


def added(start_gib: int, end_gib: int) -> npt.NDArray[np.int64]:
    return np.arange(start_gib * BLOCKS_PER_GIB, end_gib * BLOCKS_PER_GIB)


@dataclass(frozen=True)
class Documented:
    """A closed store, where its snapshots A, B and C are, and what their blocks were."""

    path: Path
    ids: dict[str, SnapshotId]
    stamps: dict[str, Stamps]

    def name_of(self, snapshot_id: SnapshotId) -> str:
        return next(name for name, known in self.ids.items() if known == snapshot_id)

    @contextmanager
    def copy(self, target: Path) -> Iterator[Store]:
        """Open a copy, which may be changed."""
        subprocess.run(["cp", "-a", "--sparse=always", self.path, target], check=True)
        with Store.open(target) as store:
            yield store


@pytest.fixture(scope="module")
def a_and_b(fast_module_path: Path) -> Documented:
    """15 GiB volume. A: 10 GiB of data. B: 4 of them changed."""
    path = fast_module_path / "a-and-b"
    stamps = {"A": written(15, 10)}
    stamps["B"] = stamps["A"].copy()
    rewrite(stamps["B"], scattered(4 * BLOCKS_PER_GIB, 10 * BLOCKS_PER_GIB), generation=2)
    with Store.create(path) as store:
        ids = {name: snapshot_of(store, "E1", stamps[name]).snapshot_id for name in "AB"}
    return Documented(path, ids, stamps)


@pytest.fixture(scope="module")
def a_b_c(fast_module_path: Path, a_and_b: Documented) -> Documented:
    """The same with C: 2 GiB added."""
    path = fast_module_path / "a-b-c"
    newest = a_and_b.stamps["B"].copy()
    rewrite(newest, added(10, 12), generation=3)
    with a_and_b.copy(path) as store:
        ids = a_and_b.ids | {"C": snapshot_of(store, "E1", newest).snapshot_id}
    return Documented(path, ids, a_and_b.stamps | {"C": newest})


def snapshot_of(
    store: Store, identity: str, stamps: Stamps, options: SnapshotOptions | None = None
) -> Snapshot:
    source = SyntheticSource(identity, len(stamps) * BLOCK_SIZE, stamps)
    return store.create_snapshot(source, options or SnapshotOptions())


def charged_blocks(store: Store, made: Documented) -> dict[str, int]:
    return {
        made.name_of(shown.snapshot_id): shown.charged_size_bytes // BLOCK_SIZE
        for shown in store.list_snapshots()
    }


def charged_gib(store: Store, made: Documented) -> dict[str, float]:
    return {name: blocks / BLOCKS_PER_GIB for name, blocks in charged_blocks(store, made).items()}


def freed_gib(report: DeletedSnapshot) -> float:
    return report.freed_size_bytes / GIB


def assert_ledger_agrees(store: Store) -> None:
    """Each snapshot's events add up to its charge, of the deleted ones to nothing."""
    charged = {shown.snapshot_id: shown.charged_size_bytes for shown in store.list_snapshots()}
    sums = dict.fromkeys(charged, 0)
    for event in store.ledger():
        sums[event.snapshot_id] = sums.get(event.snapshot_id, 0) + event.blocks * BLOCK_SIZE
    assert {key: total for key, total in sums.items() if total or key in charged} == charged
    assert store.stats().charged_size_bytes == sum(charged.values())


def assert_contents(store: Store, made: Documented) -> None:
    """Read some blocks of each snapshot that is left, seeded at random, and the borders."""
    for shown in store.list_snapshots():
        stamps = made.stamps[made.name_of(shown.snapshot_id)]
        source = SyntheticSource("expected", len(stamps) * BLOCK_SIZE, stamps)
        gib = BLOCKS_PER_GIB
        some = random.Random(len(made.stamps)).sample(range(12 * gib), 12)
        for index in [*some, 0, 10 * gib - 1, 10 * gib, 12 * gib - 1, 12 * gib, 15 * gib - 1]:
            expected = bytearray(BLOCK_SIZE)
            source.read_into(index * BLOCK_SIZE, memoryview(expected))
            assert store.read_block(shown.snapshot_id, index) == expected


def test_e1_charges_20480_then_8192_then_4096_blocks(a_b_c: Documented, fast_path: Path) -> None:
    with a_b_c.copy(fast_path / "store") as store:
        assert charged_blocks(store, a_b_c) == {"A": 20_480, "B": 8_192, "C": 4_096}
        assert store.stats().charged_size_bytes == 32_768 * BLOCK_SIZE == 16 * GIB
        assert_ledger_agrees(store)
        assert_contents(store, a_b_c)


def test_e1_full_and_incremental_sizes(a_b_c: Documented, fast_path: Path) -> None:
    with a_b_c.copy(fast_path / "store") as store:
        shown = {name: store.get_snapshot(known) for name, known in a_b_c.ids.items()}

        assert [shown[name].full_size_bytes // GIB for name in "ABC"] == [10, 10, 12]
        assert [shown[name].incremental_size_bytes // GIB for name in "ABC"] == [10, 4, 2]
        assert [shown[name].size_bytes // GIB for name in "ABC"] == [15, 15, 15]
        assert [shown[name].parent_id for name in "ABC"] == [None, a_b_c.ids["A"], a_b_c.ids["B"]]


def test_e1_changed_blocks(a_b_c: Documented, fast_path: Path) -> None:
    a, b, c = (a_b_c.ids[name] for name in "ABC")
    changed = scattered(4 * BLOCKS_PER_GIB, 10 * BLOCKS_PER_GIB).tolist()
    with a_b_c.copy(fast_path / "store") as store:
        between_a_and_b = store.diff_snapshots(a, b)
        assert list(itertools.chain(*(range(*r) for r in between_a_and_b.ranges))) == changed
        assert store.diff_snapshots(b, c).ranges == ((20_480, 24_576),)
        assert store.diff_snapshots(a, c).block_count == 8_192 + 4_096
        assert store.diff_snapshots(c, a) == store.diff_snapshots(a, c)
        assert store.diff_snapshots(c, c).ranges == ()


def test_e2_deleting_a_moves_6_gib_to_b_and_frees_4(a_and_b: Documented, fast_path: Path) -> None:
    a, b = a_and_b.ids["A"], a_and_b.ids["B"]
    with a_and_b.copy(fast_path / "store") as store:
        assert store.stats().charged_size_bytes == 28_672 * BLOCK_SIZE
        planned = store.delete_snapshots([a], dry_run=True)
        done = store.delete_snapshots([a])

        (report,) = done.deleted
        assert planned.deleted == done.deleted
        assert report.freed_size_bytes == 8_192 * BLOCK_SIZE
        assert report.moved_size_bytes == 12_288 * BLOCK_SIZE
        assert [(to.snapshot_id, to.size_bytes) for to in report.moved_to] == [
            (b, 12_288 * BLOCK_SIZE)
        ]
        assert charged_blocks(store, a_and_b) == {"B": 20_480}
        assert store.stats().charged_size_bytes == 20_480 * BLOCK_SIZE
        assert_ledger_agrees(store)
        assert_contents(store, a_and_b)


@pytest.mark.parametrize(
    ("order", "freed", "left"),
    [
        pytest.param("A", [4], {"B": 10, "C": 2}, id="delete-A"),
        pytest.param("B", [0], {"A": 10, "C": 6}, id="delete-B"),
        pytest.param("C", [2], {"A": 10, "B": 4}, id="delete-C"),
        pytest.param("AB", [4, 0], {"C": 12}, id="delete-A-then-B"),
    ],
)
def test_deletion_table(
    a_b_c: Documented, fast_path: Path, order: str, freed: list[int], left: dict[str, int]
) -> None:
    with a_b_c.copy(fast_path / "store") as store:
        for name, gib in zip(order, freed, strict=True):
            (report,) = store.delete_snapshots([a_b_c.ids[name]]).deleted
            assert freed_gib(report) == gib

        assert charged_gib(store, a_b_c) == left
        assert (
            store.stats().charged_size_bytes == sum(left.values()) * GIB == (16 - sum(freed)) * GIB
        )
        assert_ledger_agrees(store)
        assert_contents(store, a_b_c)


@pytest.mark.parametrize(
    ("order", "freed"),
    [
        ("ABC", [4, 0, 12]),
        ("ACB", [4, 2, 10]),
        ("BAC", [0, 4, 12]),
        ("BCA", [0, 6, 10]),
        ("CAB", [2, 4, 10]),
        ("CBA", [2, 4, 10]),
    ],
)
def test_deleting_all_in_any_order_frees_all(
    a_b_c: Documented, fast_path: Path, order: str, freed: list[int]
) -> None:
    with a_b_c.copy(fast_path / "store") as store:
        for name, gib in zip(order, freed, strict=True):
            (report,) = store.delete_snapshots([a_b_c.ids[name]]).deleted
            assert freed_gib(report) == gib
            assert report.moved_size_bytes == sum(to.size_bytes for to in report.moved_to)
            assert_ledger_agrees(store)
            left = store.list_snapshots()
            if len(left) == 1:
                assert left[0].charged_size_bytes == left[0].full_size_bytes

        assert store.list_snapshots() == []
        assert store.stats().charged_size_bytes == 0
        assert store.stats().blocks == 0


EVERY_SET = [
    "".join(names) for count in (1, 2, 3) for names in itertools.permutations("ABC", count)
]
SOME_SETS = ["A", "B", "C", "AB", "CB", "BAC"]
"""Each snapshot in each place. Only the long tests take all 15; see also `test_acceptance.py`."""


@pytest.mark.parametrize("order", EVERY_SET if LONG else SOME_SETS)
def test_dry_run_of_a_set_equals_its_deletion(
    a_b_c: Documented, fast_path: Path, order: str
) -> None:
    """Also the stored bytes that are reclaimed, and also beside one deletion after the other."""
    chosen = [a_b_c.ids[name] for name in order]
    with a_b_c.copy(fast_path / "store") as store:
        before = store.list_snapshots(), store.ledger(), store.stats()
        planned = store.delete_snapshots(chosen, dry_run=True)
        assert (store.list_snapshots(), store.ledger(), store.stats()) == before

        done = store.delete_snapshots(chosen)

        assert (planned.dry_run, done.dry_run) == (True, False)
        assert planned.deleted == done.deleted
        assert [report.snapshot_id for report in done.deleted] == chosen
        assert_ledger_agrees(store)
        assert_contents(store, a_b_c)


def test_e3_charges_102400_then_61440_blocks(fast_path: Path) -> None:
    """200 GiB volume with 50 GiB of data; then 20 GiB changed and 10 added."""
    stamps = written(200, 50, FEW)
    with Store.create(fast_path / "store") as store:
        first = snapshot_of(store, "E3", stamps)
        rewrite(stamps, scattered(20 * BLOCKS_PER_GIB, 50 * BLOCKS_PER_GIB), 2, FEW)
        rewrite(stamps, added(50, 60), 2, FEW)
        second = snapshot_of(store, "E3", stamps)

        assert first.charged_size_bytes == 102_400 * BLOCK_SIZE == 50 * GIB
        assert second.charged_size_bytes == 61_440 * BLOCK_SIZE == 30 * GIB
        assert second.full_size_bytes == 60 * GIB
        assert store.stats().charged_size_bytes == 80 * GIB
        assert_ledger_agrees(store)


def test_e4_volume_made_from_a_snapshot_adds_only_its_own_blocks(fast_path: Path) -> None:
    """Vol1 of 14 GiB with 10 GiB of data gives A; Vol2, made from A, plus 4 GiB gives B."""
    stamps = written(14, 10, FEW)
    with Store.create(fast_path / "store") as store:
        a = snapshot_of(store, "vol1", stamps)
        rewrite(stamps, added(10, 14), 2, FEW)
        b = snapshot_of(store, "vol2", stamps, SnapshotOptions(parent=a.snapshot_id))

        assert b.parent_id == a.snapshot_id
        assert b.volume_id != a.volume_id
        assert (a.charged_size_bytes, b.charged_size_bytes) == (
            20_480 * BLOCK_SIZE,
            8_192 * BLOCK_SIZE,
        )
        assert b.full_size_bytes == 14 * GIB
        assert store.stats().charged_size_bytes == 14 * GIB
        assert store.diff_snapshots(a.snapshot_id, b.snapshot_id).ranges == ((20_480, 28_672),)
        assert_ledger_agrees(store)


def test_e6_branch_is_incremental_on_its_origin_and_not_on_its_successors(fast_path: Path) -> None:
    """A has no parent, B is on A, C on B; a volume made from A gives D."""
    stamps = {"A": written(2, 1)}
    for name, before, generation in (("B", "A", 2), ("C", "B", 3), ("D", "A", 4)):
        stamps[name] = stamps[before].copy()
        rewrite(stamps[name], scattered(128 * generation, BLOCKS_PER_GIB), generation)
    with Store.create(fast_path / "store") as store:
        a, b, c = (snapshot_of(store, "volume 0", stamps[name]) for name in "ABC")
        d = snapshot_of(store, "volume 1", stamps["D"], SnapshotOptions(parent=a.snapshot_id))

        assert [shown.parent_id for shown in (b, c, d)] == [
            a.snapshot_id,
            b.snapshot_id,
            a.snapshot_id,
        ]
        blocks = [shown.charged_size_bytes // BLOCK_SIZE for shown in (a, b, c, d)]
        assert blocks == [2_048, 256, 384, 512]
        assert store.diff_snapshots(a.snapshot_id, d.snapshot_id).block_count == 512
        assert_ledger_agrees(store)


def test_e6_origin_is_deleted_and_its_charges_move_to_the_oldest_that_needs_them(
    fast_path: Path,
) -> None:
    """B lost 512 of A's 2,048 blocks, D has all of them: D gets what B does not have."""
    stamps = {"A": written(1, 1)}
    stamps["B"] = stamps["A"].copy()
    rewrite(stamps["B"], scattered(512, BLOCKS_PER_GIB), generation=2)
    with Store.create(fast_path / "store") as store:
        a, b = (snapshot_of(store, "volume 0", stamps[name]) for name in "AB")
        d = snapshot_of(store, "volume 1", stamps["A"], SnapshotOptions(parent=a.snapshot_id))
        (report,) = store.delete_snapshots([a.snapshot_id]).deleted

        assert report.freed_size_bytes == 0
        assert [(to.snapshot_id, to.size_bytes // BLOCK_SIZE) for to in report.moved_to] == [
            (b.snapshot_id, 1_536),
            (d.snapshot_id, 512),
        ]
        assert store.get_snapshot(b.snapshot_id).charged_size_bytes == 2_048 * BLOCK_SIZE
        assert store.get_snapshot(d.snapshot_id).charged_size_bytes == 512 * BLOCK_SIZE
        assert store.diff_snapshots(b.snapshot_id, d.snapshot_id).block_count == 512
        assert_ledger_agrees(store)


@pytest.mark.parametrize("scale", [1] if LONG else [8])
def test_e8_charges_100_then_5(fast_path: Path, scale: int) -> None:
    """100 GiB at the first snapshot, 105 at the second; only the long tests do it unscaled."""
    stamps = np.zeros(128 * BLOCKS_PER_GIB // scale, np.uint64)
    first_end, second_end = 204_800 // scale, 215_040 // scale
    with Store.create(fast_path / "store") as store:
        rewrite(stamps, np.arange(first_end), 1, FEW)
        first = snapshot_of(store, "E8", stamps)
        rewrite(stamps, np.arange(first_end, second_end), 1, FEW)
        second = snapshot_of(store, "E8", stamps)

        assert first.charged_size_bytes * scale == 204_800 * BLOCK_SIZE == 100 * GIB
        assert second.charged_size_bytes * scale == 10_240 * BLOCK_SIZE == 5 * GIB
        assert second.full_size_bytes * scale == 105 * GIB
        assert store.stats().blocks == FEW
        assert_ledger_agrees(store)
