"""The acceptance checklist of the facts about EBS, on managed volumes: points 1 to 4 and 13.

The volumes have the sizes of the published examples, and their full number of blocks. A block is
written by its first bytes only: the file behind a volume is sparse, so that this takes little room.
Only the long tests write different bytes to all blocks; others write few contents. The counts
are the same, and in `test_published_examples.py` all blocks of E1 are different.
"""

import os
import struct
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ebsim.engine import Seams, Store
from ebsim.errors import ConflictError, ErrorCode, LimitExceededError
from ebsim.ids import SnapshotId
from ebsim.requests import BlockDevice, VolumeModificationRequest, VolumeRequest
from ebsim.results import Snapshot, SnapshotState
from ebsim.testing.contents import NOISE, TEXT, ZEROS, palette_block
from ebsim.testing.held_copies import HeldCopies
from ebsim.testing.invariants import assert_healthy, assert_holds_nothing
from ebsim.units import BLOCK_SIZE, BLOCKS_PER_GIB, GIB

LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"
_STAMP = struct.Struct("<QQ")
CONTENTS = 1 << 32 if LONG else 61
"""How many different blocks a generation has. A prime, so that no pattern fits it."""


@pytest.fixture
def copies() -> HeldCopies:
    return HeldCopies(holding=False)


@pytest.fixture
def seams(seams: Seams, copies: HeldCopies) -> Seams:
    return replace(seams, before_copy=copies)


@pytest.fixture
def store(store_path: Path, seams: Seams, copies: HeldCopies) -> Iterator[Store]:
    with Store.create(store_path, seams) as opened:
        yield opened
        copies.release_all()  # closing waits for what is pending


def new_volume(store: Store, **wanted: object) -> str:
    return store.volumes.create(VolumeRequest(**wanted)).volume_id  # type: ignore[arg-type]


def stamp(store: Store, volume: str, indices: Iterable[int], generation: int) -> None:
    """Change blocks: those of different generations are different."""
    with store.volumes.open(volume) as file:
        for index in indices:
            file.pwrite(_STAMP.pack(generation, index % CONTENTS), index * BLOCK_SIZE)


def stamped(generation: int, index: int) -> bytes:
    return _STAMP.pack(generation, index % CONTENTS).ljust(BLOCK_SIZE, b"\0")


def gib(start: int, end: int) -> range:
    return range(start * BLOCKS_PER_GIB, end * BLOCKS_PER_GIB)


def scattered(count: int, of: int) -> list[int]:
    """Return `count` of the first `of` block indices, evenly spread."""
    return [number * of // count for number in range(count)]


def snapshot_of(store: Store, volume: str) -> Snapshot:
    (shown,) = store.wait_snapshots([store.create_snapshot(volume).snapshot_id])
    assert shown.state is SnapshotState.COMPLETED, shown.state_message
    return shown


def charged(store: Store) -> list[int]:
    """Return the charges in blocks, oldest snapshot first."""
    return [shown.charged_size_bytes // BLOCK_SIZE for shown in store.list_snapshots()]


def refusal(error: pytest.ExceptionInfo[LimitExceededError]) -> tuple[ErrorCode, str]:
    """Return the code, and the message without what is said about this very volume."""
    return error.value.code, str(error.value).partition(" (volume")[0]


LIMIT = (
    ErrorCode.CONCURRENT_SNAPSHOT_LIMIT_EXCEEDED,
    "Maximum allowed in-progress snapshots for a single volume exceeded.",
)


# Point 1: E1 to E8 block counts; E1 deletion table in all orders


@dataclass(frozen=True)
class Documented:
    """A closed store, and its snapshots A, B and C."""

    path: Path
    ids: dict[str, SnapshotId]
    volume: str

    def copy(self, target: Path) -> Store:
        subprocess.run(["cp", "-a", "--sparse=always", self.path, target], check=True)
        return Store.open(target)


@pytest.fixture(scope="module")
def e1(fast_module_path: Path) -> Documented:
    """15 GiB volume. A: 10 GiB of data. B: 4 of them changed. C: 2 added."""
    path = fast_module_path / "e1"
    with Store.create(path) as store:
        volume = new_volume(store, size_gib=15)
        changes = {"A": gib(0, 10), "B": scattered(8192, 20_480), "C": gib(10, 12)}
        ids = {}
        for generation, (name, indices) in enumerate(changes.items(), 1):
            stamp(store, volume, indices, generation)
            ids[name] = snapshot_of(store, volume).snapshot_id
    return Documented(path, ids, volume)


@pytest.mark.slow
def test_1_e1_block_counts(e1: Documented, fast_path: Path) -> None:
    with e1.copy(fast_path / "store") as store:
        assert charged(store) == [20_480, 8_192, 4_096]
        shown = [store.get_snapshot(e1.ids[name]) for name in "ABC"]
        assert [each.full_size_bytes // GIB for each in shown] == [10, 10, 12]
        assert [each.incremental_size_bytes // GIB for each in shown] == [10, 4, 2]
        assert [each.parent_id for each in shown] == [None, e1.ids["A"], e1.ids["B"]]
        assert store.stats().charged_size_bytes == 32_768 * BLOCK_SIZE == 16 * GIB
        assert store.read_block(e1.ids["B"], 0) == stamped(2, 0)
        assert store.read_block(e1.ids["C"], 1) == stamped(1, 1)
        assert store.read_block(e1.ids["C"], 24_575) == stamped(3, 24_575)
        assert store.read_block(e1.ids["C"], 24_576) == ZEROS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "freed"),
    [
        ("A", [4]),
        ("B", [0]),
        ("C", [2]),
        ("AB", [4, 0]),
        ("BA", [0, 4]),
        ("CB", [2, 4]),
        ("ABC", [4, 0, 12]),
        ("ACB", [4, 2, 10]),
        ("BAC", [0, 4, 12]),
        ("BCA", [0, 6, 10]),
        ("CAB", [2, 4, 10]),
        ("CBA", [2, 4, 10]),
    ],
)
def test_1_e1_deletion_table(e1: Documented, fast_path: Path, order: str, freed: list[int]) -> None:
    """Also: the next snapshot of the volume is whole, whatever was deleted."""
    with e1.copy(fast_path / "store") as store:
        chosen = [e1.ids[name] for name in order]
        planned = store.delete_snapshots(chosen, dry_run=True).deleted
        done = [store.delete_snapshots([each]).deleted[0] for each in chosen]
        assert tuple(done) == planned
        assert [report.freed_size_bytes // GIB for report in done] == freed
        assert sum(charged(store)) == (16 - sum(freed)) * BLOCKS_PER_GIB
        left = [name for name in "ABC" if name not in order]
        if left:
            following = snapshot_of(store, e1.volume)
            assert following.parent_id == e1.ids[left[-1]]
            assert following.full_size_bytes == 12 * GIB
            missing = {"C": 0, "B": 2, "A": 6}
            assert following.incremental_size_bytes == missing[left[-1]] * GIB
            for index, generation in ((0, 2), (1, 1), (24_575, 3)):
                content = store.read_block(following.snapshot_id, index)
                assert content == stamped(generation, index)


@pytest.mark.slow
def test_1_e2_deleting_a_moves_6_gib_to_b_and_frees_4(e1: Documented, fast_path: Path) -> None:
    with e1.copy(fast_path / "store") as store:
        store.delete_snapshots([e1.ids["C"]])
        assert sum(charged(store)) == 28_672
        (report,) = store.delete_snapshots([e1.ids["A"]]).deleted
        assert (report.freed_size_bytes, report.moved_size_bytes) == (4 * GIB, 6 * GIB)
        assert charged(store) == [20_480]


@pytest.mark.slow
@pytest.mark.skipif(not LONG, reason="reads 80 GiB of a sparse file")
def test_1_e3_block_counts(fast_path: Path) -> None:
    with Store.create(fast_path / "store") as store:
        volume = new_volume(store, size_gib=200)
        stamp(store, volume, gib(0, 50), 1)
        snapshot_of(store, volume)
        stamp(store, volume, scattered(20 * BLOCKS_PER_GIB, 50 * BLOCKS_PER_GIB), 2)
        stamp(store, volume, gib(50, 60), 2)
        snapshot_of(store, volume)
        assert charged(store) == [102_400, 61_440]


@pytest.mark.slow
@pytest.mark.parametrize("origin_lives", [True, False], ids=["origin-lives", "origin-deleted"])
@pytest.mark.parametrize(
    ("loaded", "scale"), [(False, 1), (True, 16)], ids=["lazy", "initialized-and-scaled"]
)
def test_1_e4_block_counts(fast_path: Path, loaded: bool, scale: int, origin_lives: bool) -> None:
    """Vol1 of 14 GiB with 10 GiB of data gives A; Vol2 from A, plus 4 GiB, gives B.

    An initialized volume takes all the room that it has, so that it is scaled down.
    """
    ten, fourteen = 20_480 // scale, 28_672 // scale
    with Store.create(fast_path / "store") as store:
        vol1 = new_volume(store, size_gib=14)
        stamp(store, vol1, range(ten), 1)
        a = snapshot_of(store, vol1)
        vol2 = new_volume(store, snapshot_id=a.snapshot_id)
        assert store.volumes.get(vol2).size_bytes == 14 * GIB
        if loaded:
            store.volumes.initialize(vol2)
        stamp(store, vol2, range(ten, fourteen), 2)
        if not origin_lives:
            store.delete_snapshots([a.snapshot_id])
        b = snapshot_of(store, vol2)
        assert b.full_size_bytes == fourteen * BLOCK_SIZE
        if origin_lives:
            assert b.parent_id == a.snapshot_id
            assert charged(store) == [ten, fourteen - ten]
            changed = store.diff_snapshots(a.snapshot_id, b.snapshot_id)
            assert changed.ranges == ((ten, fourteen),)
        else:
            assert b.parent_id is None
            assert b.incremental_size_bytes == fourteen * BLOCK_SIZE
            assert charged(store) == [fourteen]
        assert store.read_block(b.snapshot_id, ten - 1) == stamped(1, ten - 1)
        assert store.read_block(b.snapshot_id, fourteen - 1) == stamped(2, fourteen - 1)
        assert store.check().findings == ()


@pytest.mark.slow
def test_1_e6_a_volume_made_from_a_snapshot_does_not_depend_on_its_successors(
    store: Store,
) -> None:
    """A has no parent, B is on A, C on B; a volume made from A gives D."""
    volume = new_volume(store, size_gib=2)
    stamp(store, volume, gib(0, 1), 1)
    a = snapshot_of(store, volume)
    stamp(store, volume, scattered(256, 2048), 2)
    b = snapshot_of(store, volume)
    stamp(store, volume, scattered(384, 2048), 3)
    c = snapshot_of(store, volume)
    other = new_volume(store, snapshot_id=a.snapshot_id)
    stamp(store, other, scattered(512, 2048), 4)
    d = snapshot_of(store, other)
    parents = [each.parent_id for each in (a, b, c, d)]
    assert parents == [None, a.snapshot_id, b.snapshot_id, a.snapshot_id]
    assert charged(store) == [2_048, 256, 384, 512]
    assert store.diff_snapshots(a.snapshot_id, d.snapshot_id).block_count == 512
    (report,) = store.delete_snapshots([a.snapshot_id]).deleted
    lost_by_b = {*scattered(256, 2048)}
    kept_by_d = lost_by_b - {*scattered(512, 2048)}
    freed = len(lost_by_b) - len(kept_by_d)
    assert report.freed_size_bytes == freed * BLOCK_SIZE
    assert [(to.snapshot_id, to.size_bytes // BLOCK_SIZE) for to in report.moved_to] == [
        (heir, count)
        for heir, count in ((b.snapshot_id, 2_048 - 256), (d.snapshot_id, len(kept_by_d)))
        if count
    ]


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1] if LONG else [16])
def test_1_e8_block_counts(fast_path: Path, scale: int) -> None:
    """100 GiB at the first snapshot, 105 at the second; only the long tests do it unscaled."""
    first_end, second_end = 204_800 // scale, 215_040 // scale
    with Store.create(fast_path / "store") as store:
        volume = new_volume(store, size_gib=128 // scale)
        stamp(store, volume, range(first_end), 1)
        snapshot_of(store, volume)
        stamp(store, volume, range(first_end, second_end), 1)
        snapshot_of(store, volume)
        assert charged(store) == [first_end, second_end - first_end]


# Point 2: a write after CreateSnapshot returned is never visible in it, one before it always


def test_2_write_after_create_snapshot_is_never_visible_and_before_always(
    store: Store, copies: HeldCopies
) -> None:
    """Without waiting and without flushing; with threads: `test_consistent_cuts.py`."""
    copies.hold_all()
    volume = new_volume(store, size_gib=1)
    last = GIB // BLOCK_SIZE - 1
    places = [0, 1, 255, 256, last]
    with store.volumes.open(volume) as file:
        pending = []
        for number in range(5):
            for place in places[: number + 1]:
                file.pwrite(palette_block(number + 1), place * BLOCK_SIZE)
            pending.append(store.create_snapshot(volume).snapshot_id)
            for place in places:
                file.pwrite(b"later", place * BLOCK_SIZE + 9)
        file.discard(0, GIB)
        copies.release_all()
        store.wait_snapshots(pending)
    changed = dict.fromkeys(places, ZEROS)
    for number, snapshot_id in enumerate(pending):
        for place in places[: number + 1]:
            changed[place] = palette_block(number + 1)
        assert {place: store.read_block(snapshot_id, place) for place in places} == changed
        for place, content in changed.items():
            changed[place] = content[:9] + b"later" + content[14:]
    assert_healthy(store)


# Point 3: the 6th snapshot of gp3 and the 2nd of st1; what fills a slot


@pytest.mark.parametrize(
    ("volume_type", "size_gib", "limit"),
    [
        ("gp3", 1, 5),
        ("gp2", 1, 5),
        ("io1", 4, 5),
        ("standard", 1, 5),
        ("st1", 125, 1),
        ("sc1", 125, 1),
    ],
)
def test_3_one_more_pending_snapshot_than_allowed_is_rejected(
    store: Store, copies: HeldCopies, volume_type: str, size_gib: int, limit: int
) -> None:
    copies.hold_all()
    iops = 100 if volume_type == "io1" else None
    volume = new_volume(store, size_gib=size_gib, volume_type=volume_type, iops=iops)
    pending = [store.create_snapshot(volume).snapshot_id for _ in range(limit)]
    before = store.list_snapshots()
    with pytest.raises(LimitExceededError) as caught:
        store.create_snapshot(volume)
    assert refusal(caught) == LIMIT
    other = new_volume(store, size_gib=1)
    with pytest.raises(LimitExceededError) as caught:
        store.create_snapshots([other, volume])
    assert refusal(caught) == LIMIT
    assert store.list_snapshots() == before
    copies.release(pending[0])
    store.wait_snapshots(pending[:1])
    assert store.create_snapshot(volume).state is SnapshotState.PENDING


def test_3_a_snapshot_deleted_while_pending_fills_its_slot_until_it_is_completed(
    store: Store, copies: HeldCopies
) -> None:
    copies.hold_all()
    volume = new_volume(store, size_gib=1, volume_type="gp3")
    with store.volumes.open(volume) as file:
        file.pwrite(NOISE, 0)
    pending = [store.create_snapshot(volume).snapshot_id for _ in range(5)]
    planned = store.delete_snapshots(pending[:2], dry_run=True).deleted
    assert store.delete_snapshots(pending[:2]).deleted == planned
    assert [(each.freed_size_bytes, each.reclaimed_bytes) for each in planned] == [(0, 0)] * 2
    assert [each.state for each in store.list_snapshots()] == [SnapshotState.PENDING] * 5
    with pytest.raises(LimitExceededError) as caught:
        store.create_snapshot(volume)
    assert refusal(caught) == LIMIT
    copies.release(*pending[:2])
    copies.wait_held(pending[2])
    assert [each.snapshot_id for each in store.list_snapshots()] == pending[2:]
    assert store.create_snapshot(volume).state is SnapshotState.PENDING
    copies.release_all()
    shown = store.wait_snapshots(pending[2:])
    assert [each.charged_size_bytes // BLOCK_SIZE for each in shown] == [1, 0, 0]
    assert store.read_block(pending[2], 0) == NOISE
    assert_healthy(store)


def test_3_a_failed_snapshot_fills_its_slot_until_it_is_deleted(
    store: Store, copies: HeldCopies
) -> None:
    volume = new_volume(store, size_gib=125, volume_type="st1")
    copies.hold_all()
    failed = store.create_snapshot(volume).snapshot_id
    copies.fail(failed)
    (shown,) = store.wait_snapshots([failed])
    assert_holds_nothing(shown)
    copies.release_all()
    with pytest.raises(LimitExceededError) as caught:
        store.create_snapshot(volume)
    assert refusal(caught) == LIMIT
    store.delete_snapshots([failed])
    snapshot_of(store, volume)


def test_3_pending_snapshots_complete_in_the_order_they_were_started(
    store: Store, copies: HeldCopies
) -> None:
    copies.hold_all()
    volume = new_volume(store, size_gib=1)
    pending = [store.create_snapshot(volume).snapshot_id for _ in range(4)]
    copies.release(*pending[1:])
    copies.wait_held(pending[0])
    assert {each.state for each in store.list_snapshots()} == {SnapshotState.PENDING}
    copies.release(pending[0])
    shown = store.wait_snapshots(pending)
    assert [each.parent_id for each in shown] == [None, *pending[:-1]]
    assert [each.snapshot_id for each in store.list_snapshots()] == pending


# Point 4: a restored larger volume


@pytest.mark.parametrize("loaded", [False, True], ids=["lazy", "initialized"])
def test_4_tail_of_a_larger_restored_volume_reads_zeros_and_is_in_no_snapshot(
    store: Store, loaded: bool
) -> None:
    volume = new_volume(store, size_gib=1)
    last = GIB // BLOCK_SIZE - 1
    with store.volumes.open(volume) as file:
        file.pwrite(NOISE, last * BLOCK_SIZE)
    origin = snapshot_of(store, volume)
    larger = new_volume(store, snapshot_id=origin.snapshot_id, size_gib=3)
    if loaded:
        store.volumes.initialize(larger)
    with store.volumes.open(larger) as file:
        assert file.size == 3 * GIB
        assert file.pread(2 * BLOCK_SIZE, last * BLOCK_SIZE) == NOISE + ZEROS
        assert file.pread(BLOCK_SIZE, 3 * GIB - 100) == bytes(100)
    shown = snapshot_of(store, larger)
    assert (shown.size_bytes, shown.full_size_bytes) == (3 * GIB, BLOCK_SIZE)
    assert shown.incremental_size_bytes == 0
    assert store.diff_snapshots(origin.snapshot_id, shown.snapshot_id).ranges == ()
    with store.volumes.open(larger) as file:
        file.pwrite(b"tail", 3 * GIB - 4)
    shown = snapshot_of(store, larger)
    assert shown.full_size_bytes == 2 * BLOCK_SIZE
    changed = store.diff_snapshots(origin.snapshot_id, shown.snapshot_id)
    assert changed.ranges == ((6143, 6144),)


def test_4_grown_volume_keeps_being_incremental(store: Store) -> None:
    volume = new_volume(store, size_gib=1)
    with store.volumes.open(volume) as file:
        file.pwrite(NOISE, GIB - BLOCK_SIZE)
        first = snapshot_of(store, volume)
        store.volumes.modify(volume, VolumeModificationRequest(size_gib=2))
        assert file.pread(BLOCK_SIZE + 1, GIB - 1) == NOISE[-1:] + ZEROS
        file.pwrite(TEXT, 2 * GIB - BLOCK_SIZE)
    second = snapshot_of(store, volume)
    assert store.get_snapshot(first.snapshot_id).size_bytes == GIB
    assert (second.size_bytes, second.parent_id) == (2 * GIB, first.snapshot_id)
    assert (second.full_size_bytes, second.incremental_size_bytes) == (2 * BLOCK_SIZE, BLOCK_SIZE)


# Point 13: images


def test_13_registered_and_disabled_images_both_block_deletion(store: Store) -> None:
    volume = new_volume(store, size_gib=1)
    snapshot_id = snapshot_of(store, volume).snapshot_id
    image = store.images.register("web", {"/dev/xvda": BlockDevice(snapshot_id)}).image_id
    refused = f"The snapshot {snapshot_id} is currently in use by {image}"

    def refuses() -> None:
        with pytest.raises(ConflictError) as caught:
            store.delete_snapshots([snapshot_id])
        assert caught.value.code is ErrorCode.INVALID_SNAPSHOT_IN_USE
        assert refused in str(caught.value)

    refuses()
    store.images.disable(image)
    refuses()
    store.images.enable(image)
    refuses()
    store.images.deregister(image)
    store.delete_snapshots([snapshot_id])
    assert store.list_snapshots() == []
