"""Snapshots of managed volumes: the point in time, pending ones, failures, parents, sets."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from ebsim.config import Compression, SnapshotOptions
from ebsim.core import ingest
from ebsim.core.making import Making
from ebsim.engine import Seams, Store
from ebsim.errors import (
    ConflictError,
    ErrorCode,
    InvalidInputError,
    NotFoundError,
)
from ebsim.requests import VolumeRequest
from ebsim.results import Snapshot, SnapshotState, VolumeState
from ebsim.testing.contents import HEAD, NOISE, TAIL, TEXT, ZEROS, palette_block
from ebsim.testing.held_copies import HeldCopies, ReleasedByWaiting
from ebsim.testing.invariants import assert_healthy, assert_holds_nothing
from ebsim.testing.observed_files import ObservedFiles
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE, GIB
from ebsim.volumes.frozen_source import FrozenSource
from ebsim.volumes.snapshot_job import SnapshotJob

LAST = GIB // BLOCK_SIZE - 1


@pytest.fixture
def copies() -> HeldCopies:
    return HeldCopies(holding=False)


@pytest.fixture
def seams(seams: Seams, copies: HeldCopies) -> Seams:
    return replace(seams, before_copy=copies)


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def store(
    request: pytest.FixtureRequest, store_path: Path, seams: Seams, copies: HeldCopies
) -> Iterator[Store]:
    """A store all of whose volumes are encrypted, or none."""
    with Store.create(store_path, seams) as opened:
        if request.param:
            opened.encryption.enable_by_default()
        yield opened
        copies.release_all()  # closing waits for what is pending


def new_volume(store: Store, snapshot_id: str | None = None, size_gib: int | None = None) -> str:
    if snapshot_id is None:
        size_gib = size_gib or 1
    request = VolumeRequest(snapshot_id=snapshot_id, size_gib=size_gib)
    return store.volumes.create(request).volume_id


def write(store: Store, volume: str, index: int, content: bytes, at: int = 0) -> None:
    with store.volumes.open(volume) as file:
        file.pwrite(content, index * BLOCK_SIZE + at)


def read(store: Store, volume: str, index: int) -> bytes:
    with store.volumes.open(volume) as file:
        return file.pread(BLOCK_SIZE, index * BLOCK_SIZE)


def begin(store: Store, volume: str) -> str:
    return store.create_snapshot(volume).snapshot_id


def ended(store: Store, snapshot_id: str) -> Snapshot:
    (shown,) = store.wait_snapshots([snapshot_id])
    return shown


def taken(store: Store, volume: str) -> Snapshot:
    shown = ended(store, begin(store, volume))
    assert shown.state is SnapshotState.COMPLETED, shown.state_message
    return shown


def blocks(shown: Snapshot) -> tuple[int, int, int]:
    """Return full, incremental and charged size in blocks."""
    sizes = (shown.full_size_bytes, shown.incremental_size_bytes, shown.charged_size_bytes)
    assert all(size % BLOCK_SIZE == 0 for size in sizes)
    return sizes[0] // BLOCK_SIZE, sizes[1] // BLOCK_SIZE, sizes[2] // BLOCK_SIZE


def close_without_waiting(store: Store, copies: HeldCopies) -> None:
    """Close a store whose snapshots are held: each is let go once it is told to stay pending."""
    stop = SnapshotJob.stop

    def stop_and_let_go(job: SnapshotJob) -> None:
        stop(job)
        copies.release(job.snapshot_id)

    with mock.patch.object(SnapshotJob, "stop", stop_and_let_go):
        store.close(wait=False)


# Writing and reading


@pytest.mark.parametrize("length", [2, 100, BLOCK_SIZE, BLOCK_SIZE + 1, 3 * BLOCK_SIZE - 5])
@pytest.mark.parametrize("border", [BLOCK_SIZE, 256 * BLOCK_SIZE])
def test_write_across_blocks_is_read_back(store: Store, length: int, border: int) -> None:
    volume = new_volume(store)
    data = (NOISE * 3)[:length]
    with store.volumes.open(volume) as file:
        assert file.pwrite(data, border - 1) == length
        assert file.pread(length, border - 1) == data
        around = file.pread(length + 20_000, border - 10_001)
    assert around == bytes(10_000) + data + bytes(10_000)
    shown = taken(store, volume)
    assert store.read_block(shown.snapshot_id, border // BLOCK_SIZE)[:1] == data[1:2]


def test_write_behind_the_end_writes_nothing(store: Store) -> None:
    volume = new_volume(store)
    with store.volumes.open(volume) as file:
        with pytest.raises(InvalidInputError):
            file.pwrite(b"xy", GIB - 1)
        with pytest.raises(InvalidInputError):
            file.discard(GIB - 1, 2)
        assert file.pwrite(b"x", GIB - 1) == 1
        assert file.pread(10, GIB - 2) == b"\0x"
        assert file.pread(10, GIB) == b""
    assert blocks(taken(store, volume)) == (1, 1, 1)


def test_zeros_that_are_written_count_and_holes_do_not(store: Store) -> None:
    volume = new_volume(store)
    write(store, volume, 3, bytes(10), at=77)
    assert blocks(taken(store, volume)) == (1, 1, 1)
    write(store, volume, 3, ZEROS)
    assert blocks(taken(store, volume)) == (1, 0, 0), "equal to the parent's: no change"


def test_discard_is_a_write_of_zeros(store: Store) -> None:
    volume = new_volume(store)
    for index in (1, 2, 3):
        write(store, volume, index, NOISE)
    first = taken(store, volume)
    with store.volumes.open(volume) as file:
        file.discard(BLOCK_SIZE + 10, 2 * BLOCK_SIZE)
    shown = taken(store, volume)
    assert blocks(shown) == (3, 3, 3)
    assert store.read_block(shown.snapshot_id, 1) == NOISE[:10].ljust(BLOCK_SIZE, b"\0")
    assert store.read_block(shown.snapshot_id, 2) == ZEROS
    assert store.read_block(shown.snapshot_id, 3) == bytes(10) + NOISE[10:]
    assert store.read_block(first.snapshot_id, 2) == NOISE


def test_discarding_what_was_never_written_writes_nothing(store: Store) -> None:
    """A tool that discards a whole new volume must not make its next snapshot that large."""
    volume = new_volume(store)
    write(store, volume, 3, NOISE)
    with store.volumes.open(volume) as file:
        file.discard(0, 3 * BLOCK_SIZE + 10)
        file.discard(4 * BLOCK_SIZE, file.size - 4 * BLOCK_SIZE)
    shown = taken(store, volume)
    assert blocks(shown) == (1, 1, 1)
    assert store.read_block(shown.snapshot_id, 3) == bytes(10) + NOISE[10:]


def test_rewriting_the_same_bytes_is_no_change(store: Store) -> None:
    volume = new_volume(store)
    write(store, volume, LAST, NOISE)
    taken(store, volume)
    write(store, volume, LAST, HEAD)
    write(store, volume, LAST, NOISE)
    assert blocks(taken(store, volume)) == (1, 0, 0)


# The point in time


def test_snapshot_is_pending_at_once_and_completes(store: Store, copies: HeldCopies) -> None:
    copies.hold_all()
    volume = new_volume(store)
    shown = store.create_snapshot(volume)
    assert shown.state is SnapshotState.PENDING
    assert store.get_snapshot(shown.snapshot_id).state is SnapshotState.PENDING
    with pytest.raises(ConflictError) as caught:
        store.read_block(shown.snapshot_id, 0)
    assert caught.value.code is ErrorCode.INCORRECT_STATE
    with pytest.raises(ConflictError) as caught:
        new_volume(store, shown.snapshot_id)
    assert caught.value.code is ErrorCode.INCORRECT_STATE
    copies.release_all()
    assert ended(store, shown.snapshot_id).state is SnapshotState.COMPLETED


def test_each_of_several_pending_snapshots_keeps_its_moment(
    store: Store, copies: HeldCopies
) -> None:
    copies.hold_all()
    volume = new_volume(store)
    pending = []
    for number in range(5):
        write(store, volume, 0, palette_block(number + 1))
        if number != 2:
            write(store, volume, 255 + number % 2, palette_block(20 + number))
        pending.append(begin(store, volume))
    write(store, volume, 0, ZEROS)
    with store.volumes.open(volume) as file:
        file.discard(255 * BLOCK_SIZE, 2 * BLOCK_SIZE)
    copies.release(*reversed(pending))
    shown = [ended(store, each) for each in pending]
    assert [each.state for each in shown] == [SnapshotState.COMPLETED] * 5
    for number, each in enumerate(pending):
        assert store.read_block(each, 0) == palette_block(number + 1)
    assert [store.read_block(each, 255)[:20] for each in pending] == [
        palette_block(20 + last)[:20] for last in (0, 0, 0, 0, 4)
    ]
    assert [store.read_block(each, 256)[:20] for each in pending] == [
        bytes(20) if last is None else palette_block(20 + last)[:20] for last in (None, 1, 1, 3, 3)
    ]
    assert [each.parent_id for each in shown] == [None, *pending[:-1]]
    assert [blocks(each)[1] for each in shown] == [2, 2, 1, 2, 2]
    assert_healthy(store)


def test_failed_snapshot_leaves_its_writes_to_the_next(store: Store, copies: HeldCopies) -> None:
    volume = new_volume(store)
    write(store, volume, 0, NOISE)
    copies.hold_all()
    failing = begin(store, volume)
    copies.fail(failing)
    assert_holds_nothing(ended(store, failing))
    copies.release_all()
    shown = taken(store, volume)
    assert store.read_block(shown.snapshot_id, 0) == NOISE
    assert blocks(shown) == (1, 1, 1)


def test_failed_snapshot_leaves_its_writes_to_a_pending_one(
    store: Store, copies: HeldCopies
) -> None:
    """Also where they are overwritten after it failed, and before the next is copied."""
    copies.hold_all()
    volume = new_volume(store)
    with store.volumes.open(volume) as file:
        file.pwrite(NOISE, 0)
        first = begin(store, volume)
        second = begin(store, volume)
        file.pwrite(HEAD, BLOCK_SIZE)  # of the same leaf, in neither
        copies.fail(first)
        assert_holds_nothing(ended(store, first))
        copies.wait_held(second)
        file.pwrite(TAIL, 0)
        copies.release_all()
        shown = ended(store, second)
    assert store.read_block(second, 0) == NOISE
    assert store.read_block(second, 1) == ZEROS
    assert blocks(shown) == (1, 1, 1)
    assert shown.parent_id is None


def test_snapshot_that_fails_for_any_reason_ends_as_error(store_path: Path, seams: Seams) -> None:
    def fail(_snapshot_id: str) -> None:
        raise RuntimeError("a hook with a bug")

    with Store.create(store_path, replace(seams, before_copy=fail)) as store:
        volume = new_volume(store)
        write(store, volume, 0, NOISE)
        snapshot_id = begin(store, volume)
        assert_holds_nothing(ended(store, snapshot_id))
        assert "a hook with a bug" in store.get_snapshot(snapshot_id).state_message


def test_block_that_cannot_be_kept_fails_the_snapshot_and_not_the_writer(
    store_path: Path, seams: Seams, copies: HeldCopies
) -> None:
    broken = threading.Event()

    def before(what: str, path: Path) -> None:
        if broken.is_set() and what == "write_at" and path.suffix == ".kept":
            raise OSError(28, "No space left on device")

    seams = replace(seams, files=ObservedFiles(seams.files, before))
    with Store.create(store_path, seams) as store:
        volume = new_volume(store)
        write(store, volume, 0, NOISE)
        copies.hold_all()
        snapshot_id = begin(store, volume)
        broken.set()
        write(store, volume, 0, HEAD)
        copies.release_all()
        shown = ended(store, snapshot_id)
        assert_holds_nothing(shown)
        assert "could not be kept" in shown.state_message
        assert blocks(taken(store, volume)) == (1, 1, 1)
        assert read(store, volume, 0) == HEAD


# Going on after closing


def test_pending_snapshots_go_on_in_the_next_process(
    store: Store, store_path: Path, seams: Seams, copies: HeldCopies
) -> None:
    copies.hold_all()
    volume = new_volume(store)
    write(store, volume, 0, NOISE)
    first = begin(store, volume)
    write(store, volume, 0, HEAD)
    write(store, volume, 300, HEAD)
    second = begin(store, volume)
    write(store, volume, 0, TAIL)
    close_without_waiting(store, copies)
    with Store.open(store_path, seams) as again:
        write(again, volume, 0, TEXT)
        write(again, volume, 300, TEXT)
        copies.release_all()
        assert [each.state for each in again.wait_snapshots([first, second])] == [
            SnapshotState.COMPLETED
        ] * 2
        assert again.read_block(first, 0) == NOISE
        assert again.read_block(first, 300) == ZEROS
        assert again.read_block(second, 0) == HEAD
        assert again.read_block(second, 300) == HEAD
        assert_healthy(again)


def test_snapshot_that_was_partly_copied_goes_on_with_its_moment(
    store_path: Path, seams: Seams, copies: HeldCopies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written behind the copying, and then copied again from the beginning."""
    monkeypatch.setattr(ingest, "BATCH_CHANGES", 1)
    let_go = threading.Event()
    holding = threading.Barrier(ingest.WORKERS + 1)  # until all workers and the test are there
    last_copied = 2

    def read_into(source: FrozenSource, offset: int, buffer: memoryview) -> None:
        if offset > last_copied * 257 * BLOCK_SIZE and not let_go.is_set():
            holding.wait(120)  # holds no lock of the volume
            let_go.wait(120)
        read_as_ever(source, offset, buffer)

    read_as_ever = FrozenSource.read_into
    stop = SnapshotJob.stop

    def stop_and_let_go(job: SnapshotJob) -> None:
        stop(job)
        let_go.set()

    monkeypatch.setattr(FrozenSource, "read_into", read_into)
    monkeypatch.setattr(SnapshotJob, "stop", stop_and_let_go)
    with Store.create(store_path, seams) as store:
        volume = new_volume(store)
        with store.volumes.open(volume) as file:
            for leaf in range(5):
                file.pwrite(palette_block(leaf + 1), leaf * 257 * BLOCK_SIZE)
            snapshot_id = begin(store, volume)
            holding.wait(120)
            file.pwrite(TAIL, 0)
        store.close(wait=False)
    with Store.open(store_path, seams) as store:
        shown = ended(store, snapshot_id)
        assert shown.state is SnapshotState.COMPLETED
        for leaf in range(5):
            assert store.read_block(snapshot_id, leaf * 257) == palette_block(leaf + 1)
        assert_healthy(store)


def test_pending_snapshot_of_a_volume_whose_data_are_gone_ends_as_error(
    store: Store, store_path: Path, seams: Seams, copies: HeldCopies
) -> None:
    copies.hold_all()
    volume, other = new_volume(store), new_volume(store)
    write(store, volume, 0, NOISE)
    alone = begin(store, volume)
    members = [each.snapshot_id for each in store.create_snapshots([other, volume])]
    close_without_waiting(store, copies)
    (store_path / "volumes" / f"{volume}.data").unlink()
    copies.release_all()
    with Store.open(store_path, seams) as again:
        for shown in again.wait_snapshots([alone, *members]):
            assert_holds_nothing(shown)
        assert {finding.kind for finding in again.check(data=True).findings} == {"missing-volume"}
        assert taken(again, other).state is SnapshotState.COMPLETED


# Parents and deletion


def test_deleting_the_newest_makes_what_only_it_held_dirty_again(store: Store) -> None:
    volume = new_volume(store)
    write(store, volume, 0, NOISE)
    first = taken(store, volume)
    write(store, volume, 0, HEAD)
    write(store, volume, LAST, ZEROS)
    newest = taken(store, volume)
    write(store, volume, 255, TEXT)
    (report,) = store.delete_snapshots([newest.snapshot_id]).deleted
    assert report.freed_size_bytes == 2 * BLOCK_SIZE
    shown = taken(store, volume)
    assert shown.parent_id == first.snapshot_id
    assert blocks(shown) == (3, 3, 3)
    assert [store.read_block(shown.snapshot_id, i) for i in (0, 255, LAST)] == [HEAD, TEXT, ZEROS]


def test_deleting_all_makes_the_next_snapshot_full(store: Store) -> None:
    volume = new_volume(store)
    for index, content in enumerate([NOISE, HEAD, ZEROS]):
        write(store, volume, index, content)
        taken(store, volume)
    store.delete_snapshots([shown.snapshot_id for shown in store.list_snapshots()])
    shown = taken(store, volume)
    assert (shown.parent_id, blocks(shown)) == (None, (3, 3, 3))
    assert store.read_block(shown.snapshot_id, 1) == HEAD


def test_parent_that_is_deleted_while_its_child_is_pending_stays_the_parent(
    store: Store, copies: HeldCopies
) -> None:
    volume = new_volume(store)
    write(store, volume, 0, NOISE)
    write(store, volume, 1, HEAD)
    parent = taken(store, volume)
    copies.hold_all()
    write(store, volume, 1, TAIL)
    pending = begin(store, volume)
    (report,) = store.delete_snapshots([parent.snapshot_id]).deleted
    assert report.freed_size_bytes == 2 * BLOCK_SIZE, "kept for the pending one, charged to nobody"
    copies.release_all()
    shown = ended(store, pending)
    assert shown.parent_id == parent.snapshot_id
    assert blocks(shown) == (2, 1, 2)
    assert store.read_block(pending, 0) == NOISE
    assert_healthy(store, orphan_bytes_max=0)


def test_failed_snapshot_whose_parent_was_deleted_meanwhile(
    store: Store, copies: HeldCopies
) -> None:
    volume = new_volume(store)
    write(store, volume, 0, NOISE)
    parent = taken(store, volume)
    copies.hold_all()
    pending = begin(store, volume)
    store.delete_snapshots([parent.snapshot_id])
    copies.fail(pending)
    assert_holds_nothing(ended(store, pending))
    copies.release_all()
    shown = taken(store, volume)
    assert (shown.parent_id, blocks(shown)) == (None, (1, 1, 1))
    assert store.read_block(shown.snapshot_id, 0) == NOISE
    assert_healthy(store, orphan_bytes_max=0)


# Volumes made from snapshots


def test_volume_outlives_its_snapshot_while_it_is_loaded(store: Store) -> None:
    volume = new_volume(store)
    for index in (0, 255, 256, LAST):
        write(store, volume, index, NOISE)
    origin = taken(store, volume)
    copy = new_volume(store, origin.snapshot_id)
    assert read(store, copy, 0) == NOISE
    write(store, copy, 255, b"part", at=100)
    (report,) = store.delete_snapshots([origin.snapshot_id]).deleted
    assert (report.freed_size_bytes, report.reclaimed_bytes) == (4 * BLOCK_SIZE, 0)
    assert read(store, copy, 255) == NOISE[:100] + b"part" + NOISE[104:]
    assert read(store, copy, LAST) == NOISE
    shown = taken(store, copy)
    assert (shown.parent_id, blocks(shown)) == (None, (4, 4, 4)), "no snapshot is left"
    store.volumes.initialize(copy)
    store.delete_snapshots([shown.snapshot_id])
    again = taken(store, copy)
    assert (again.parent_id, blocks(again)) == (None, (4, 4, 4))
    store.delete_snapshots([again.snapshot_id])
    assert store.stats().blocks == 0
    assert read(store, copy, 256) == NOISE
    assert_healthy(store, orphan_bytes_max=0)


def test_snapshot_is_full_when_no_predecessor_is_left(store: Store) -> None:
    """Sections 2.1 and 2.4: deleting moves data to a successor, and here there is none."""
    origin = store.create_snapshot(disk_of(NOISE, HEAD, TEXT))
    copy = new_volume(store, origin.snapshot_id)
    write(store, copy, 0, TAIL)
    own = taken(store, copy)
    assert (own.parent_id, blocks(own)) == (origin.snapshot_id, (3, 1, 1))
    store.delete_snapshots([origin.snapshot_id, own.snapshot_id])

    shown = taken(store, copy)

    assert (shown.parent_id, blocks(shown)) == (None, (3, 3, 3))
    assert shown.incremental_size_bytes == shown.charged_size_bytes
    assert store.stats().blocks == 4, "what the volume is loaded from is not stored again"
    following = taken(store, copy)
    assert (following.parent_id, blocks(following)) == (shown.snapshot_id, (3, 0, 0))
    assert_healthy(store)


def test_last_user_of_a_deleted_snapshot_gives_its_space_back(store: Store) -> None:
    """A volume that is deleted, and one that is all loaded."""
    disk = disk_of(NOISE, HEAD)
    for let_go in (store.volumes.delete, store.volumes.initialize):
        origin = store.create_snapshot(disk).snapshot_id
        copy = new_volume(store, origin)
        store.delete_snapshots([origin])
        assert store.stats().blocks == 2
        let_go(copy)
        assert store.stats().blocks == 0
    assert_healthy(store, orphan_bytes_max=0)


def test_own_snapshots_go_before_the_origin(store: Store) -> None:
    origin = store.create_snapshot(disk_of(NOISE, HEAD))
    copy = new_volume(store, origin.snapshot_id)
    first = taken(store, copy)
    assert (first.parent_id, blocks(first)) == (origin.snapshot_id, (2, 0, 0))
    write(store, copy, 1, TAIL)
    second = taken(store, copy)
    assert (second.parent_id, blocks(second)) == (first.snapshot_id, (2, 1, 1))
    store.delete_snapshots([first.snapshot_id, second.snapshot_id])
    third = taken(store, copy)
    assert (third.parent_id, blocks(third)) == (origin.snapshot_id, (2, 1, 1))


def test_zeros_written_over_what_is_not_loaded_yet(store: Store) -> None:
    origin = store.create_snapshot(disk_of(NOISE, HEAD, TEXT))
    copy = new_volume(store, origin.snapshot_id)
    write(store, copy, 0, ZEROS)
    with store.volumes.open(copy) as file:
        file.discard(BLOCK_SIZE, BLOCK_SIZE)
    shown = taken(store, copy)
    assert blocks(shown) == (3, 2, 2)
    assert [store.read_block(shown.snapshot_id, i) for i in range(3)] == [ZEROS, ZEROS, TEXT]
    assert read(store, copy, 1) == ZEROS


# Deleting volumes


def test_volume_that_is_deleted_completes_its_pending_snapshots(
    store: Store, store_path: Path, copies: HeldCopies
) -> None:
    copies.hold_all()
    volume = new_volume(store)
    write(store, volume, 0, NOISE)
    first = begin(store, volume)
    write(store, volume, 0, HEAD)
    second = begin(store, volume)
    store.volumes.delete(volume)
    assert store.volumes.get(volume).state is VolumeState.DELETING
    with pytest.raises(ConflictError) as caught:
        store.create_snapshot(volume)
    assert caught.value.code is ErrorCode.INCORRECT_STATE
    copies.release_all()
    shown = store.wait_snapshots([first, second])
    assert [blocks(each) for each in shown] == [(1, 1, 1), (1, 1, 1)]
    assert [store.read_block(each, 0) for each in (first, second)] == [NOISE, HEAD]
    store.close()
    assert [path.name for path in (store_path / "volumes").iterdir()] == []


def test_volume_that_is_open_is_not_deleted(store: Store) -> None:
    volume = new_volume(store)
    with store.volumes.open(volume), pytest.raises(ConflictError) as caught:
        store.volumes.delete(volume)
    assert caught.value.code is ErrorCode.VOLUME_IN_USE
    store.volumes.delete(volume)
    with pytest.raises(NotFoundError):
        store.volumes.delete(volume)


# Sets


def test_set_has_one_start_time_and_completes_together(store: Store, copies: HeldCopies) -> None:
    copies.hold_all()
    volumes = [new_volume(store) for _ in range(3)]
    for number, volume in enumerate(volumes):
        write(store, volume, number, palette_block(number + 1))
    members = store.create_snapshots(volumes)
    ids = [each.snapshot_id for each in members]
    assert len({each.start_time_us for each in members}) == 1
    for volume in volumes:
        write(store, volume, 0, TAIL)
    copies.release(*ids[:2])
    copies.wait_held(ids[2])
    assert {each.state for each in store.list_snapshots()} == {SnapshotState.PENDING}
    copies.release_all()
    for number, shown in enumerate(store.wait_snapshots(ids)):
        assert shown.state is SnapshotState.COMPLETED
        assert store.read_block(shown.snapshot_id, number) == palette_block(number + 1)


@pytest.mark.parametrize("failing", [0, 1])
def test_one_failure_fails_the_set(store: Store, copies: HeldCopies, failing: int) -> None:
    volumes = [new_volume(store) for _ in range(2)]
    for volume in volumes:
        write(store, volume, 0, NOISE)
    copies.hold_all()
    ids = [each.snapshot_id for each in store.create_snapshots(volumes)]
    copies.fail(ids[failing])
    copies.release(ids[1 - failing])
    for shown in store.wait_snapshots(ids):
        assert_holds_nothing(shown)
    copies.release_all()
    assert [blocks(taken(store, volume)) for volume in volumes] == [(1, 1, 1)] * 2


@pytest.mark.parametrize("deleted", ["not", "before", "after"])
def test_one_failure_fails_the_set_also_in_the_next_process(
    store: Store, store_path: Path, seams: Seams, copies: HeldCopies, deleted: str
) -> None:
    """Also where the member that failed was deleted, and is gone."""
    volumes = [new_volume(store) for _ in range(2)]
    copies.hold_all()
    ids = [each.snapshot_id for each in store.create_snapshots(volumes)]
    copies.wait_held(ids[0])
    if deleted == "before":
        store.delete_snapshots([ids[0]])
    copies.fail(ids[0])
    store._volumes_held().snapshots.wait([ids[0]])
    if deleted == "after":
        store.delete_snapshots([ids[0]])
    close_without_waiting(store, copies)
    copies.release_all()
    with Store.open(store_path, seams) as again:
        left = ids if deleted == "not" else ids[1:]
        for shown in again.wait_snapshots(left):
            assert_holds_nothing(shown)
        assert {each.snapshot_id for each in again.list_snapshots()} == set(left)


def test_member_that_is_deleted_while_pending_goes_alone(store: Store, copies: HeldCopies) -> None:
    volumes = [new_volume(store) for _ in range(2)]
    copies.hold_all()
    ids = [each.snapshot_id for each in store.create_snapshots(volumes)]
    store.delete_snapshots([ids[0]])
    copies.release_all()
    (left,) = store.wait_snapshots(ids)
    assert (left.snapshot_id, left.state) == (ids[1], SnapshotState.COMPLETED)
    assert [each.snapshot_id for each in store.list_snapshots()] == [ids[1]]


def test_set_names_each_volume_once(store: Store) -> None:
    volume = new_volume(store)
    with pytest.raises(InvalidInputError):
        store.create_snapshots([volume, volume])
    with pytest.raises(InvalidInputError):
        store.create_snapshots([])
    assert store.list_snapshots() == []


def test_progress_is_of_what_is_read(store: Store) -> None:
    """A volume that is mostly unwritten is not at 0 % until it is at 100 %."""
    volume = new_volume(store)
    for leaf in range(4):
        write(store, volume, leaf * 256, NOISE)
    told: list[int] = []
    publish = Making._publish

    def publish_and_look(making: Making, batch: ingest.Batch) -> None:
        publish(making, batch)
        told.append(store.get_snapshot(making.snapshot_id).progress_percent)

    with (
        mock.patch.object(ingest, "BATCH_CHANGES", 1),
        mock.patch.object(ingest, "RUNS_AHEAD", 1),
        mock.patch.object(Making, "_publish", publish_and_look),
    ):
        assert taken(store, volume).progress_percent == 100
    assert told == sorted(told)
    assert told[0] == 50, "two of the four blocks, and not two of eight leaves"


@pytest.mark.parametrize("compression", ["none", "zstd:19"])
def test_next_process_stores_as_was_asked_for(
    store: Store, store_path: Path, seams: Seams, copies: HeldCopies, compression: str
) -> None:
    copies.hold_all()
    volume = new_volume(store)
    write(store, volume, 0, TEXT)
    chosen = Compression.parse(compression)
    pending = store.create_snapshot(volume, SnapshotOptions(compression=chosen)).snapshot_id
    close_without_waiting(store, copies)
    used: list[Compression] = []
    begin_job = SnapshotJob.__init__

    def note(job: SnapshotJob, *arguments: object, **named: object) -> None:
        begin_job(job, *arguments, **named)  # type: ignore[arg-type]
        used.append(job.compression)

    with mock.patch.object(SnapshotJob, "__init__", note), Store.open(store_path, seams) as again:
        copies.release_all()
        again.wait_snapshots([pending])
        stored = again.stats().stored_size_bytes
    assert used == [chosen]
    assert (stored >= BLOCK_SIZE) == (compression == "none")


def test_pending_snapshot_that_is_deleted_says_so(store: Store, copies: HeldCopies) -> None:
    """EC2 deletes it after its completion; until then everybody is told."""
    copies.hold_all()
    volume = new_volume(store)
    write(store, volume, 0, NOISE)
    pending = begin(store, volume)
    (planned,) = store.delete_snapshots([pending], dry_run=True).deleted
    assert planned.when_completed
    assert store.get_snapshot(pending).state_message == ""
    (report,) = store.delete_snapshots([pending]).deleted
    assert report.when_completed
    assert report.freed_size_bytes == 0
    assert "as soon as it is completed" in store.get_snapshot(pending).state_message
    assert store.wait_snapshots([pending], progress=ReleasedByWaiting(copies)) == []
    completed = taken(store, volume).snapshot_id
    assert not store.delete_snapshots([completed]).deleted[0].when_completed


def test_volume_that_is_wholly_read_is_wholly_loaded(store: Store) -> None:
    origin = store.create_snapshot(disk_of(NOISE, HEAD, TEXT))
    copy = new_volume(store, origin.snapshot_id)
    assert store.volumes.get(copy).initialization_percent == 0
    read(store, copy, 0)
    assert store.volumes.get(copy).initialization_percent == 33
    for index in (1, 2):
        read(store, copy, index)
    assert store.volumes.get(copy).initialization_percent == 100


@pytest.mark.parametrize("made_from_snapshot", [False, True])
def test_initialized_volume_is_durable(
    store_path: Path, seams: Seams, *, made_from_snapshot: bool
) -> None:
    """Also what was written before, and where nothing had to be loaded (durability.md)."""
    synced: list[str] = []

    def before(what: str, path: Path) -> None:
        if what == "sync" and path.suffix == ".data":
            synced.append(path.stem)

    seams = replace(seams, files=ObservedFiles(seams.files, before))
    with Store.create(store_path, seams) as store:
        snapshot_id = None
        if made_from_snapshot:
            snapshot_id = store.create_snapshot(disk_of(NOISE)).snapshot_id
        volume = new_volume(store, snapshot_id)
        with store.volumes.open(volume) as file:
            file.pwrite(TEXT, BLOCK_SIZE)
            synced.clear()

            store.volumes.initialize(volume)

            assert volume in synced
