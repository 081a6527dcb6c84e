"""Copies to another store: incremental, proved, and like any other snapshots there.

EBS documents nothing of the kind; docs/semantics.md says what ebsim does (claim S-67).
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ebsim.config import SnapshotOptions
from ebsim.core.off_site_making import OffSiteMaking
from ebsim.core.off_site_source import OffSiteSource
from ebsim.engine import Seams, Store
from ebsim.errors import (
    ErrorCode,
    InvalidInputError,
    NotFoundError,
)
from ebsim.off_site import CopyOutcome, OffSiteCopy, OffSiteReport, OffSiteRequest
from ebsim.permissions import PermissionChange
from ebsim.progress import Progress, SilentProgress
from ebsim.requests import VolumeRequest
from ebsim.results import Snapshot, SnapshotState
from ebsim.storage.locks import LockFile, named_region
from ebsim.testing.contents import HEAD, NOISE, TAIL, TEXT, ZEROS, noise_block
from ebsim.testing.damage import damage_block
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.refused import refused
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.sources import MemorySource, disk_of
from ebsim.units import BLOCK_SIZE

ALL = OffSiteRequest(all_snapshots=True)
FRIEND = "111122223333"


@pytest.fixture
def other_path(fast_path: Path) -> Path:
    return fast_path / "other"


@pytest.fixture
def there_seams(clock: ManualClock) -> Seams:
    return Seams(clock=clock, entropy=SeededEntropy(2))


@pytest.fixture
def other(other_path: Path, there_seams: Seams) -> Iterator[Store]:
    with Store.create(other_path, there_seams) as opened:
        yield opened


@pytest.fixture
def disk() -> MemorySource:
    return disk_of(NOISE, TEXT, HEAD)


def request(*snapshots: Snapshot, dry_run: bool = False) -> OffSiteRequest:
    return OffSiteRequest(snapshot_ids=[each.snapshot_id for each in snapshots], dry_run=dry_run)


def one(report: OffSiteReport) -> OffSiteCopy:
    (copy,) = report.copies
    return copy


def moved(copy: OffSiteCopy) -> tuple[int, int]:
    """Return the blocks that were read, and those that crossed."""
    return copy.read_bytes // BLOCK_SIZE, copy.crossed_bytes // BLOCK_SIZE


def blocks(shown: Snapshot) -> tuple[int, int, int]:
    sizes = (shown.full_size_bytes, shown.incremental_size_bytes, shown.charged_size_bytes)
    return sizes[0] // BLOCK_SIZE, sizes[1] // BLOCK_SIZE, sizes[2] // BLOCK_SIZE


def copies(store: Store, report: OffSiteReport) -> list[Snapshot]:
    return [store.get_snapshot(copy.copy_id or "") for copy in report.copies]


def contents(store: Store, shown: Snapshot, count: int = 3) -> list[bytes]:
    return [store.read_block(shown.snapshot_id, index) for index in range(count)]


def test_first_copy_is_full_and_the_next_reads_what_changed(
    store: Store, other: Store, disk: MemorySource
) -> None:
    first = store.create_snapshot(disk)
    disk.write(BLOCK_SIZE, TAIL)
    second = store.create_snapshot(disk)

    one_there = one(store.copy_to(other, request(first)))
    two_there = one(store.copy_to(other, request(second)))

    assert (one_there.outcome, moved(one_there)) == (CopyOutcome.COPIED, (3, 3))
    assert (two_there.parent_id, moved(two_there)) == (one_there.copy_id, (1, 1))
    shown = other.list_snapshots()
    assert [each.snapshot_id for each in shown] == [one_there.copy_id, two_there.copy_id]
    assert [blocks(each) for each in shown] == [(3, 3, 3), (3, 1, 1)]
    assert [contents(other, each) for each in shown] == [[NOISE, TEXT, HEAD], [NOISE, TAIL, HEAD]]
    assert {each.volume_id for each in shown} != {first.volume_id}
    assert len({each.volume_id for each in shown}) == 1
    assert_healthy(other, orphan_bytes_max=0)
    assert_healthy(store)


def test_all_are_copied_in_order_and_charged_as_here(
    store: Store, other: Store, disk: MemorySource, clock: ManualClock
) -> None:
    for index, block in enumerate((NOISE, TAIL, TEXT)):
        disk.write(index * BLOCK_SIZE, block)
        store.create_snapshot(disk)
        clock.advance(days=1)
    branch = disk_of(NOISE, NOISE, NOISE, name="branch")
    parent = store.list_snapshots()[1].snapshot_id
    store.create_snapshot(branch, SnapshotOptions(parent=parent))
    here = store.list_snapshots()

    report = store.copy_to(other, ALL)

    shown = copies(other, report)
    assert [each.snapshot_id for each in report.copies] == [each.snapshot_id for each in here]
    assert [blocks(each) for each in shown] == [blocks(each) for each in here]
    assert [contents(other, each) for each in shown] == [contents(store, each) for each in here]
    assert [each.start_time_us for each in shown] == [each.start_time_us for each in here]
    parents: dict[str | None, str | None] = {None: None}
    parents |= {a.snapshot_id: b.snapshot_id for a, b in zip(here, shown, strict=True)}
    assert [each.parent_id for each in shown] == [parents[each.parent_id] for each in here]
    ids = [each.snapshot_id for each in shown]
    assert other.diff_snapshots(ids[1], ids[3]) == store.diff_snapshots(
        here[1].snapshot_id, here[3].snapshot_id
    )
    assert len({each.volume_id for each in shown}) == 2
    assert_healthy(other, orphan_bytes_max=0)


def test_what_is_there_is_not_copied_again(store: Store, other: Store, disk: MemorySource) -> None:
    store.create_snapshot(disk)
    first = one(store.copy_to(other, ALL))

    again = one(store.copy_to(other, ALL))

    assert (again.outcome, again.copy_id) == (CopyOutcome.PRESENT, first.copy_id)
    assert moved(again) == (0, 0)
    assert len(other.list_snapshots()) == 1


def test_equal_blocks_do_not_cross(store: Store, other: Store, disk: MemorySource) -> None:
    store.create_snapshot(disk)
    other.create_snapshot(disk_of(TEXT, NOISE, name="another"))

    copy = one(store.copy_to(other, ALL))

    assert moved(copy) == (3, 1)
    assert other.stats().blocks == 3
    assert_healthy(other)


def test_parent_that_was_deleted_here_is_a_base_there(
    store: Store, other: Store, disk: MemorySource
) -> None:
    """Its map is not here any more, so all is read; but only what changed crosses."""
    first = store.create_snapshot(disk)
    there = one(store.copy_to(other, ALL))
    disk.write(0, TAIL)
    store.create_snapshot(disk)
    store.delete_snapshots([first.snapshot_id])

    copy = one(store.copy_to(other, ALL))

    assert (copy.parent_id, moved(copy)) == (there.copy_id, (3, 1))
    assert blocks(copies(other, store.copy_to(other, ALL))[0]) == (3, 1, 1)
    assert_healthy(other, orphan_bytes_max=0)


def test_older_snapshot_is_incremental_on_a_newer_one(store: Store, other: Store) -> None:
    disk = disk_of(NOISE, ZEROS, HEAD)
    older = store.create_snapshot(disk)
    disk.write(BLOCK_SIZE, TEXT)
    newer = store.create_snapshot(disk)
    first = one(store.copy_to(other, request(newer)))

    copy = one(store.copy_to(other, request(older)))

    assert (copy.parent_id, moved(copy)) == (first.copy_id, (1, 0))
    assert contents(other, copies(other, store.copy_to(other, request(older)))[0]) == [
        NOISE,
        ZEROS,
        HEAD,
    ]
    assert_healthy(other, orphan_bytes_max=0)


def test_copy_that_was_deleted_there_is_copied_again(
    store: Store, other: Store, disk: MemorySource
) -> None:
    store.create_snapshot(disk)
    disk.write(0, TAIL)
    store.create_snapshot(disk)
    first, second = store.copy_to(other, ALL).copies
    other.delete_snapshots([first.copy_id or ""])

    again, present = store.copy_to(other, ALL).copies

    assert (again.outcome, present.outcome) == (CopyOutcome.COPIED, CopyOutcome.PRESENT)
    assert again.parent_id == second.copy_id
    assert contents(other, other.get_snapshot(again.copy_id or ""))[0] == NOISE
    assert_healthy(other, orphan_bytes_max=0)


def test_partial_last_block_and_written_zeros(store: Store, other: Store) -> None:
    volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
    with store.volumes.open(volume) as file:
        file.pwrite(NOISE + ZEROS, 0)
        file.pwrite(ZEROS, 300 * BLOCK_SIZE)
    store.wait_snapshots([store.create_snapshot(volume).snapshot_id])
    odd = MemorySource("odd", bytearray(NOISE + TEXT[:777]))
    store.create_snapshot(odd)

    managed, scanned = copies(other, store.copy_to(other, ALL))

    assert blocks(managed) == (3, 3, 3)
    assert scanned.size_bytes == BLOCK_SIZE + 777
    assert other.read_block(scanned.snapshot_id, 1) == TEXT[:777].ljust(BLOCK_SIZE, b"\0")
    assert_healthy(other)


def test_grown_volume(store: Store, other: Store, disk: MemorySource) -> None:
    store.create_snapshot(disk)
    disk.grow(600 * BLOCK_SIZE)
    disk.put(599, TAIL)
    store.create_snapshot(disk)

    small, large = copies(other, store.copy_to(other, ALL))

    assert (small.size_bytes, large.size_bytes) == (3 * BLOCK_SIZE, 600 * BLOCK_SIZE)
    assert other.read_block(large.snapshot_id, 599) == TAIL
    assert blocks(large) == (4, 1, 1)


def test_tags_are_copied_if_asked_for(store: Store, other: Store, disk: MemorySource) -> None:
    options = SnapshotOptions(tags={"Name": "web", "a": "b"}, system_tags={"aws:x": "y"})
    store.create_snapshot(disk, options)
    disk.write(0, TAIL)
    store.create_snapshot(disk, options)
    first, second = (each.snapshot_id for each in store.list_snapshots())

    plain = OffSiteRequest(snapshot_ids=[first], description="off site", tags={"c": "d"})
    with_tags = OffSiteRequest(snapshot_ids=[second], copy_tags=True, tags={"a": "c"})
    (one_there,) = copies(other, store.copy_to(other, plain))
    (two_there,) = copies(other, store.copy_to(other, with_tags))

    assert (one_there.description, one_there.tags) == ("off site", {"c": "d"})
    assert (two_there.description, two_there.tags) == ("", {"Name": "web", "a": "c"})


def test_dry_run_says_what_would_be_read(store: Store, other: Store, disk: MemorySource) -> None:
    store.create_snapshot(disk)
    disk.write(0, TAIL)
    store.create_snapshot(disk)

    planned = store.copy_to(other, OffSiteRequest(all_snapshots=True, dry_run=True))

    assert [each.outcome for each in planned.copies] == [CopyOutcome.PLANNED] * 2
    assert [moved(each) for each in planned.copies] == [(3, 0), (1, 0)]
    assert [each.incremental for each in planned.copies] == [False, True]
    assert other.list_snapshots() == []
    done = store.copy_to(other, ALL)
    assert [each.read_bytes for each in done.copies] == [each.read_bytes for each in planned.copies]


def test_damaged_block_ends_its_copy_as_error_and_others_go_on(
    store: Store, other: Store, disk: MemorySource
) -> None:
    bad = store.create_snapshot(disk)
    good = store.create_snapshot(disk_of(TAIL, name="another"))
    damage_block(store.path, NOISE)

    report = store.copy_to(other, ALL)

    assert [each.outcome for each in report.copies] == [CopyOutcome.FAILED, CopyOutcome.COPIED]
    failed, copied = copies(other, report)
    assert (failed.state, copied.state) == (SnapshotState.ERROR, SnapshotState.COMPLETED)
    assert f"{bad.snapshot_id} at offset 0" in failed.state_message
    assert report.failed == report.copies[:1]
    assert contents(other, copied, 1) == [TAIL]
    assert good.snapshot_id == report.copies[1].snapshot_id
    assert_healthy(other, orphan_bytes_max=0)


def test_snapshots_live_there_without_the_first_store(
    store: Store, other: Store, other_path: Path, there_seams: Seams, disk: MemorySource
) -> None:
    """They are listed, checked and rebuilt like any others; and copied on from there."""
    store.create_snapshot(disk)
    disk.write(0, TAIL)
    store.create_snapshot(disk)
    report = store.copy_to(other, ALL)
    store.close()
    shown = other.list_snapshots()
    other.close()
    assert Store.rebuild(other_path, there_seams).findings == ()

    with Store.open(other_path, there_seams) as again:
        assert again.list_snapshots() == shown
        assert contents(again, copies(again, report)[1]) == [TAIL, TEXT, HEAD]
        again.delete_snapshots([shown[0].snapshot_id])
        assert contents(again, shown[1]) == [TAIL, TEXT, HEAD]
        assert_healthy(again)


def test_incremental_after_a_rebuild(
    store: Store, other: Store, other_path: Path, there_seams: Seams, disk: MemorySource
) -> None:
    store.create_snapshot(disk)
    first = one(store.copy_to(other, ALL))
    other.close()
    Store.rebuild(other_path, there_seams)
    disk.write(0, TAIL)
    store.create_snapshot(disk)

    with Store.open(other_path, there_seams) as again:
        present, copy = store.copy_to(again, ALL).copies

    assert (present.outcome, present.copy_id) == (CopyOutcome.PRESENT, first.copy_id)
    assert (copy.parent_id, moved(copy)) == (first.copy_id, (1, 1))


def test_lost_store_is_made_again_and_goes_on(
    store: Store, other: Store, fast_path: Path, clock: ManualClock, disk: MemorySource
) -> None:
    """Copies of copies know where they come from: nothing crosses twice, in either direction."""
    store.create_snapshot(disk)
    store.copy_to(other, ALL)
    store.close()
    with Store.create(fast_path / "new", Seams(clock=clock, entropy=SeededEntropy(3))) as new:
        back = one(other.copy_to(new, ALL))
        volume = new.get_snapshot(back.copy_id or "").volume_id
        disk.write(0, TAIL)
        new.create_snapshot(disk, SnapshotOptions(volume_id=volume))

        present, copy = new.copy_to(other, ALL).copies

    (first, second) = other.list_snapshots()
    assert (present.outcome, present.copy_id) == (CopyOutcome.PRESENT, first.snapshot_id)
    assert (copy.parent_id, moved(copy)) == (first.snapshot_id, (1, 1))
    assert contents(other, second) == [TAIL, TEXT, HEAD]
    assert_healthy(other, orphan_bytes_max=0)


def test_repair_heals_from_copies(
    store: Store, other: Store, other_path: Path, disk: MemorySource
) -> None:
    snapshot = store.create_snapshot(disk)
    store.copy_to(other, ALL)
    other.close()
    damage_block(store.path, NOISE)

    report = store.repair(other=other_path)

    assert [(each.remedy, each.healed) for each in report.records] == [("store", True)]
    assert contents(store, snapshot) == [NOISE, TEXT, HEAD]
    assert_healthy(store)


def test_same_store_is_refused(store: Store, disk: MemorySource) -> None:
    store.create_snapshot(disk)
    with pytest.raises(InvalidInputError):
        store.copy_to(store, ALL)
    with pytest.raises(InvalidInputError):
        store.copy_to(store.as_account(region="eu-central-1"), ALL)


def test_what_cannot_be_copied_is_refused_before_anything_is(
    store: Store, other: Store, disk: MemorySource
) -> None:
    snapshot = store.create_snapshot(disk)
    friend = store.as_account(FRIEND)
    unknown = OffSiteRequest(snapshot_ids=[snapshot.snapshot_id, "snap-00000000000000000"])

    with pytest.raises(NotFoundError):
        store.copy_to(other, unknown)
    with pytest.raises(NotFoundError):
        friend.copy_to(other, request(snapshot))
    assert refused(lambda: store.copy_to(other, OffSiteRequest())) is (
        ErrorCode.INVALID_PARAMETER_COMBINATION
    )
    both = OffSiteRequest(snapshot_ids=[snapshot.snapshot_id], all_snapshots=True)
    assert refused(lambda: store.copy_to(other, both)) is ErrorCode.INVALID_PARAMETER_COMBINATION
    assert other.list_snapshots() == []


def test_copies_belong_to_who_opened_the_other_store(
    store: Store, other: Store, disk: MemorySource
) -> None:
    snapshot = store.create_snapshot(disk)
    store.permissions.modify(snapshot.snapshot_id, PermissionChange(add=[FRIEND]))

    copy = one(store.as_account(FRIEND).copy_to(other.as_account(FRIEND), request(snapshot)))

    assert other.list_snapshots() == []
    (shown,) = other.as_account(FRIEND).list_snapshots()
    assert (shown.snapshot_id, shown.owner) == (copy.copy_id, FRIEND)
    assert one(store.copy_to(other, ALL)).outcome is CopyOutcome.COPIED


def test_copies_are_told_there(store: Store, other: Store, disk: MemorySource) -> None:
    snapshot = store.create_snapshot(disk)
    before = len(store.events())

    store.copy_to(other, ALL)

    (told,) = other.events()
    assert told.detail["event"] == "copySnapshot"
    assert snapshot.snapshot_id in told.detail["source"]
    assert len(store.events()) == before, "nothing is written to the store that is copied from"


def test_source_store_is_left_as_it_is(
    store: Store, other: Store, store_path: Path, disk: MemorySource
) -> None:
    store.create_snapshot(disk)
    files = {path: path.read_bytes() for path in (store_path / "segments").iterdir()}

    store.copy_to(other, ALL)

    assert {path: path.read_bytes() for path in (store_path / "segments").iterdir()} == files


def test_many_leaves(store: Store, other: Store) -> None:
    disk = MemorySource("wide", 3000 * BLOCK_SIZE, report_holes=True)
    for index in range(0, 3000, 100):
        disk.put(index, noise_block(index // 100))
    store.create_snapshot(disk)
    for index in (0, 1500, 2999):
        disk.put(index, TAIL)
    second = store.create_snapshot(disk)

    first_copy, second_copy = store.copy_to(other, ALL).copies

    assert (moved(first_copy), moved(second_copy)) == ((30, 30), (3, 1))
    shown = other.get_snapshot(second_copy.copy_id or "")
    assert blocks(shown) == (31, 3, 3) == blocks(second)
    assert all(
        other.read_block(shown.snapshot_id, index)
        == disk.read(index * BLOCK_SIZE, (index + 1) * BLOCK_SIZE)
        for index in (0, 100, 1500, 2900, 2999)
    )
    assert_healthy(other, orphan_bytes_max=0)


class Notes(SilentProgress):
    """Does something as soon as it is told something."""

    def __init__(self, then: Callable[[], object]) -> None:
        self.then = then
        self.told: list[str] = []

    def note(self, message: str) -> None:
        self.told.append(message)
        self.then()


def test_second_process_waits_and_then_finds_all_there(
    store: Store, other: Store, other_path: Path, disk: MemorySource
) -> None:
    store.create_snapshot(disk)
    store.copy_to(other, ALL)
    lock = LockFile(other_path / "lock").hold(named_region(f"copies of store {store.store_id}"))
    progress = Notes(lock.release)

    report = store.copy_to(other, ALL, progress)

    assert len(progress.told) == 1
    assert "waiting" in progress.told[0]
    assert one(report).outcome is CopyOutcome.PRESENT


def test_base_that_is_deleted_there_meanwhile(
    store: Store, other: Store, disk: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.create_snapshot(disk)
    there = one(store.copy_to(other, request(first)))
    disk.write(0, TAIL)
    second = store.create_snapshot(disk)
    make = OffSiteMaking.make

    def delete_then_make(self: OffSiteMaking, progress: Progress) -> object:
        monkeypatch.undo()
        other.delete_snapshots([there.copy_id or ""])
        return make(self, progress)

    monkeypatch.setattr(OffSiteMaking, "make", delete_then_make)
    copy = one(store.copy_to(other, request(second)))

    assert (copy.parent_id, moved(copy)) == (None, (3, 3))
    (shown,) = other.list_snapshots()
    assert contents(other, shown) == [TAIL, TEXT, HEAD]
    assert_healthy(other, orphan_bytes_max=0)


def test_source_that_goes_while_it_is_read(
    store: Store, other: Store, disk: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = store.create_snapshot(disk)
    store.create_snapshot(disk_of(TAIL, name="another"))
    read = OffSiteSource.read_into

    def delete_then_read(self: OffSiteSource, *args: Any) -> None:
        monkeypatch.setattr(OffSiteSource, "read_into", read)
        store.delete_snapshots([gone.snapshot_id])
        read(self, *args)

    monkeypatch.setattr(OffSiteSource, "read_into", delete_then_read)
    report = store.copy_to(other, ALL)

    assert [each.outcome for each in report.copies] == [CopyOutcome.FAILED, CopyOutcome.COPIED]
    assert "deleted" in report.copies[0].message
    assert_healthy(other, orphan_bytes_max=0)


def test_copy_that_is_deleted_while_it_is_made_goes_when_it_is_there(
    store: Store, other: Store, disk: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create_snapshot(disk)
    read = OffSiteSource.read_into

    def delete_then_read(self: OffSiteSource, *args: Any) -> None:
        monkeypatch.setattr(OffSiteSource, "read_into", read)
        other.delete_snapshots([other.list_snapshots()[0].snapshot_id])
        read(self, *args)

    monkeypatch.setattr(OffSiteSource, "read_into", delete_then_read)
    store.copy_to(other, ALL)

    assert other.list_snapshots() == []
    assert_healthy(other, orphan_bytes_max=0)


def test_too_many_tags_are_refused_before_anything_is(
    store: Store, other: Store, disk: MemorySource
) -> None:
    store.create_snapshot(disk, SnapshotOptions(tags={f"t{each}": "" for each in range(50)}))
    wanted = OffSiteRequest(all_snapshots=True, copy_tags=True, tags={"one": "more"})

    assert refused(lambda: store.copy_to(other, wanted)) is ErrorCode.TAG_LIMIT_EXCEEDED
    assert other.list_snapshots() == []


def test_clone_of_the_store_is_refused(
    store: Store, store_path: Path, fast_path: Path, there_seams: Seams, disk: MemorySource
) -> None:
    """Its ids are the same: what is in it could not be told apart."""
    store.create_snapshot(disk)
    shutil.copytree(store_path, fast_path / "clone")
    (fast_path / "clone").chmod(0o700)

    with Store.open(fast_path / "clone", there_seams) as clone:
        code = refused(lambda: store.copy_to(clone, ALL))

    assert code is ErrorCode.INVALID_PARAMETER_VALUE
