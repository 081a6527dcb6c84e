"""Copies of snapshots: within a Region, to others, and from other accounts (acceptance test 5)."""

from pathlib import Path

import pytest

from ebsim.config import Quotas, SnapshotOptions
from ebsim.core import copy_source
from ebsim.engine import Seams, Store
from ebsim.errors import ErrorCode, SnapshotFailedError
from ebsim.permissions import PermissionChange
from ebsim.requests import PruneOptions, VolumeRequest
from ebsim.results import Snapshot, SnapshotState
from ebsim.testing.contents import HEAD, NOISE, TAIL, TEXT, ZEROS
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.refused import refused
from ebsim.testing.sources import MemorySource, disk_of
from ebsim.units import BLOCK_SIZE

THERE = "eu-central-1"
FRIEND = "111122223333"


@pytest.fixture
def there(store: Store) -> Store:
    return store.as_account(region=THERE)


@pytest.fixture
def disk() -> MemorySource:
    return disk_of(NOISE, TEXT, HEAD)


def copied(store: Store, source: Snapshot, region: str | None = "us-east-1") -> Snapshot:
    return store.copy_snapshot(source.snapshot_id, region)


def blocks(shown: Snapshot) -> tuple[int, int, int]:
    sizes = (shown.full_size_bytes, shown.incremental_size_bytes, shown.charged_size_bytes)
    return sizes[0] // BLOCK_SIZE, sizes[1] // BLOCK_SIZE, sizes[2] // BLOCK_SIZE


def contents(store: Store, shown: Snapshot, count: int = 3) -> list[bytes]:
    return [store.read_block(shown.snapshot_id, index) for index in range(count)]


def test_copy_in_the_same_region_adds_nothing(store: Store, disk: MemorySource) -> None:
    source = store.create_snapshot(disk, SnapshotOptions(tags={"a": "b"}, description="first"))
    before = store.stats()

    copy = copied(store, source, None)

    assert copy.snapshot_id != source.snapshot_id
    assert copy.volume_id != source.volume_id
    assert copy.state is SnapshotState.COMPLETED
    assert (copy.tags, copy.description) == ({}, "")
    assert blocks(copy) == (3, 0, 0)
    assert contents(store, copy) == [NOISE, TEXT, HEAD]
    after = store.stats()
    assert (after.charged_size_bytes, after.blocks) == (before.charged_size_bytes, before.blocks)
    assert store.diff_snapshots(source.snapshot_id, copy.snapshot_id).ranges == ()
    assert_healthy(store)


def test_source_that_is_deleted_leaves_its_charge_to_the_copy(
    store: Store, disk: MemorySource
) -> None:
    source = store.create_snapshot(disk)
    copy = copied(store, source)

    report = store.delete_snapshots([source.snapshot_id])

    assert report.deleted[0].freed_size_bytes == 0
    assert blocks(store.get_snapshot(copy.snapshot_id)) == (3, 0, 3)
    assert contents(store, copy) == [NOISE, TEXT, HEAD]
    store.delete_snapshots([copy.snapshot_id])
    assert (store.stats().blocks, store.stats().charged_size_bytes) == (0, 0)
    assert_healthy(store)


def test_first_copy_to_a_region_is_full_and_the_next_incremental(
    store: Store, there: Store, disk: MemorySource
) -> None:
    first = store.create_snapshot(disk)
    disk.write(BLOCK_SIZE, TAIL)
    second = store.create_snapshot(disk)

    one = copied(there, first)
    two = copied(there, second)

    assert (one.parent_id, blocks(one)) == (None, (3, 3, 3))
    assert (two.parent_id, blocks(two)) == (one.snapshot_id, (3, 1, 1))
    assert contents(there, one) == [NOISE, TEXT, HEAD]
    assert contents(there, two) == [NOISE, TAIL, HEAD]
    assert [each.snapshot_id for each in there.list_snapshots()] == [
        one.snapshot_id,
        two.snapshot_id,
    ]
    assert len(store.list_snapshots()) == 2
    assert store.stats().blocks == 4, "equal blocks are stored once"
    assert_healthy(store)


def test_copy_is_full_again_once_the_latest_is_deleted(
    store: Store, there: Store, disk: MemorySource
) -> None:
    source = store.create_snapshot(disk)
    one, two = copied(there, source), copied(there, source)
    assert blocks(two) == (3, 0, 0)

    there.delete_snapshots([two.snapshot_id])
    three = copied(there, source)
    four = copied(there, source)

    assert (three.parent_id, blocks(three)) == (None, (3, 3, 3))
    assert (four.parent_id, blocks(four)) == (three.snapshot_id, (3, 0, 0))
    assert blocks(there.get_snapshot(one.snapshot_id)) == (3, 3, 3)
    assert_healthy(store)


def test_older_copy_that_is_deleted_changes_nothing(
    store: Store, there: Store, disk: MemorySource
) -> None:
    source = store.create_snapshot(disk)
    one, two = copied(there, source), copied(there, source)

    there.delete_snapshots([one.snapshot_id])

    assert copied(there, source).parent_id == two.snapshot_id


def test_copies_live_without_their_source(store: Store, there: Store, disk: MemorySource) -> None:
    source = store.create_snapshot(disk)
    copy = copied(there, source)

    store.delete_snapshots([source.snapshot_id])

    assert contents(there, copy) == [NOISE, TEXT, HEAD]
    assert_healthy(store)


def test_written_zeros_are_copied_as_what_they_are(store: Store, there: Store) -> None:
    volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
    with store.volumes.open(volume) as file:
        file.pwrite(NOISE + ZEROS, 0)
        file.pwrite(ZEROS, 300 * BLOCK_SIZE)
    begun = store.create_snapshot(volume)
    (source,) = store.wait_snapshots([begun.snapshot_id])
    assert blocks(source) == (3, 3, 3)

    assert blocks(copied(there, source)) == (3, 3, 3)


def test_block_that_an_older_source_lacks_reads_as_zeros_in_its_copy(
    store: Store, there: Store
) -> None:
    disk = disk_of(NOISE, ZEROS, HEAD)
    older = store.create_snapshot(disk)
    disk.write(BLOCK_SIZE, TEXT)
    newer = store.create_snapshot(disk)
    copied(there, newer)

    copy = copied(there, older)

    assert contents(there, copy) == [NOISE, ZEROS, HEAD]
    assert_healthy(store)


def test_shared_snapshot_is_copied_in_full_by_its_recipient(
    store: Store, disk: MemorySource
) -> None:
    source = store.create_snapshot(disk)
    friend = store.as_account(FRIEND)
    assert refused(lambda: copied(friend, source)) is ErrorCode.INVALID_SNAPSHOT_NOT_FOUND
    store.permissions.modify(source.snapshot_id, PermissionChange(add=[FRIEND]))

    copy = copied(friend, source)

    assert (copy.owner, copy.parent_id, blocks(copy)) == (FRIEND, None, (3, 3, 3))
    assert friend.permissions.describe(copy.snapshot_id).accounts == ()
    store.delete_snapshots([source.snapshot_id])
    assert contents(friend, copy) == [NOISE, TEXT, HEAD]
    assert_healthy(store)


def test_source_is_looked_for_in_its_region(store: Store, there: Store, disk: MemorySource) -> None:
    source = store.create_snapshot(disk)

    assert refused(lambda: copied(there, source, None)) is ErrorCode.INVALID_SNAPSHOT_NOT_FOUND
    assert refused(lambda: copied(there, source, "us-west-2")) is (
        ErrorCode.INVALID_SNAPSHOT_NOT_FOUND
    )
    assert there.list_snapshots() == []


@pytest.mark.parametrize("same", [True, False])
def test_what_the_user_says_is_kept(
    store: Store, there: Store, disk: MemorySource, *, same: bool
) -> None:
    source = store.create_snapshot(disk)
    options = SnapshotOptions(description="copy", tags={"c": "d"})
    copy = (store if same else there).copy_snapshot(source.snapshot_id, "us-east-1", options)

    assert (copy.description, copy.tags) == ("copy", {"c": "d"})
    branch = SnapshotOptions(new_volume=True)
    code = refused(lambda: store.copy_snapshot(source.snapshot_id, None, branch))
    assert code is ErrorCode.INVALID_PARAMETER_COMBINATION


def test_copies_are_told(store: Store, there: Store, disk: MemorySource) -> None:
    source = store.create_snapshot(disk)
    before = len(store.events())

    copied(store, source)
    copied(there, source)
    copied(there, source)

    told = [*store.events()[before:], *there.events()]
    assert [event.detail["event"] for event in told] == ["copySnapshot"] * 3
    assert [event.detail["Incremental"] for event in told] == ["true", "false", "true"]
    assert [event.region for event in told] == ["us-east-1", THERE, THERE]
    assert all(source.snapshot_id in event.detail["source"] for event in told)


def test_twenty_copies_may_be_pending(store: Store, there: Store, disk: MemorySource) -> None:
    source = store.create_snapshot(disk)
    store.quotas = Quotas(pending_copies=0)

    assert refused(lambda: copied(there, source)) is ErrorCode.RESOURCE_LIMIT_EXCEEDED
    assert there.list_snapshots() == []
    assert Quotas().pending_copies == 20


def test_source_that_goes_while_it_is_read_ends_the_copy_as_error(
    store: Store, there: Store, disk: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = store.create_snapshot(disk)
    work = copy_source.CopyPlan.work

    def delete_then_work(self: copy_source.CopyPlan, *args: object) -> object:
        planned = list(work(self, *args))  # type: ignore[arg-type]
        store.delete_snapshots([source.snapshot_id])
        return iter(planned)

    monkeypatch.setattr(copy_source.CopyPlan, "work", delete_then_work)
    with pytest.raises(SnapshotFailedError):
        copied(there, source)

    (failed,) = there.list_snapshots()
    assert failed.state is SnapshotState.ERROR
    assert source.snapshot_id in failed.state_message
    assert_healthy(store)


def test_failed_copy_leaves_the_next_one_incremental(
    store: Store, there: Store, disk: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = store.create_snapshot(disk)
    one = copied(there, source)

    def fail(*_: object) -> None:
        raise OSError(5, "broken")

    monkeypatch.setattr(copy_source.SnapshotSource, "read_into", fail)
    with pytest.raises((SnapshotFailedError, OSError)):
        copied(there, source)
    monkeypatch.undo()

    assert copied(there, source).parent_id == one.snapshot_id


def test_pruning_keeps_copies_of_each_lineage_apart(store: Store, there: Store) -> None:
    sources = [store.create_snapshot(disk_of(each, name=f"d{each[0]}")) for each in (NOISE, TEXT)]
    copies = [copied(there, source) for source in sources]

    report = there.prune(PruneOptions(keep_last=1))

    assert not report.pruned
    assert len({copy.volume_id for copy in copies}) == 2


def test_copies_outlive_the_catalog(
    store: Store, store_path: Path, seams: Seams, disk: MemorySource
) -> None:
    there = store.as_account(region=THERE)
    source = store.create_snapshot(disk)
    kept = [copied(store, source), copied(there, source), copied(there, source)]
    shown = [store.list_snapshots(), there.list_snapshots()]
    store.close()
    Store.rebuild(store_path, seams)

    with Store.open(store_path, seams) as again:
        afar = again.as_account(region=THERE)
        assert [again.list_snapshots(), afar.list_snapshots()] == shown
        assert contents(again, kept[0]) == contents(afar, kept[1]) == [NOISE, TEXT, HEAD]
        assert copied(afar, source).parent_id == kept[2].snapshot_id
        assert_healthy(again)
