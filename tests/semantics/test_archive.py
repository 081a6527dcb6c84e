"""The archive tier: acceptance test 6 and each fact of section 7.1, on a clock moved by hand."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from ebsim.config import Quotas, SnapshotOptions
from ebsim.engine import Store
from ebsim.errors import EbsimError, ErrorCode
from ebsim.locking import LockMode, LockRequest
from ebsim.permissions import PermissionChange
from ebsim.policies import CreateRule, PolicyRequest, RetainRule, Schedule
from ebsim.recycle_bin import RuleRequest, RuleResourceType
from ebsim.requests import BlockDevice, Filter, PruneOptions, SnapshotQuery, VolumeRequest
from ebsim.results import ChargeCause, SnapshotState
from ebsim.testing.contents import HEAD, NOISE, TAIL, TEXT, ZEROS, noise_block
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.refused import refused
from ebsim.testing.seams import ManualClock
from ebsim.testing.sources import MemorySource, disk_of
from ebsim.tiering import (
    StorageTier,
    TieringStatus,
    TierQuery,
    TierRestore,
    TierStatus,
)
from ebsim.units import BLOCK_SIZE

DAY_US = 24 * 3600 * 1_000_000
FRIEND = "111122223333"
FOR_GOOD = TierRestore(permanent=True)
SLOW = Quotas(archival_s=10 * 3600, tier_restore_s=72 * 3600)


def taken(store: Store, *blocks: bytes, name: str = "memory:disk") -> str:
    return store.create_snapshot(disk_of(*blocks, name=name)).snapshot_id


def charged(store: Store, *names: str) -> list[int]:
    return [store.get_snapshot(name).charged_size_bytes // BLOCK_SIZE for name in names]


def archived_blocks(store: Store, name: str) -> int:
    history = store.snapshot_history(name)
    return sum(each.blocks for each in history if each.tier is StorageTier.ARCHIVE)


def tier(store: Store, name: str) -> StorageTier:
    return store.get_snapshot(name).storage_tier


def status(store: Store, name: str) -> TierStatus:
    (found,) = store.tiers.describe(TierQuery(snapshot_ids=[name])).statuses
    return found


def contents(store: Store, name: str, count: int) -> list[bytes]:
    return [store.read_block(name, index) for index in range(count)]


def told(store: Store) -> list[tuple[str, str]]:
    """Return the events of the archive, and how they ended."""
    names = {
        "archiveSnapshot",
        "temporaryRestoreSnapshot",
        "permanentRestoreSnapshot",
        "restoreExpiry",
    }
    details = [each.detail for each in store.events()]
    return [(each["event"], each["result"]) for each in details if each.get("event") in names]


@pytest.fixture
def chain(store: Store) -> list[str]:
    """Three snapshots of ten blocks: all of them; four changed; two more changed."""
    disk = MemorySource("memory:chain", 10 * BLOCK_SIZE)
    names: list[str] = []
    for first, count, number in ((0, 10, 0), (2, 4, 10), (5, 2, 20)):
        for index in range(first, first + count):
            disk.put(index, noise_block(number + index))
        names.append(store.create_snapshot(disk).snapshot_id)
    return names


# Acceptance test 6: charges and contents


def test_archiving_a_middle_snapshot(store: Store, chain: list[str]) -> None:
    """Section 11, test 6: neighbours intact, standard bytes drop by unique blocks only."""
    first, middle, last = chain
    before = contents(store, first, 10), contents(store, last, 10)
    image = contents(store, middle, 10)
    assert charged(store, *chain) == [10, 4, 2]

    store.tiers.archive(middle)

    # B changed blocks 2 to 5; C changed 5 and 6: only block 5 of B is unique
    assert charged(store, *chain) == [10, 0, 5]
    assert archived_blocks(store, middle) == 10
    assert (contents(store, first, 10), contents(store, last, 10)) == before
    assert_healthy(store)

    store.tiers.restore(middle, FOR_GOOD)

    assert charged(store, *chain) == [10, 10, 5], "a permanent restore adds its full size"
    assert archived_blocks(store, middle) == 0
    assert contents(store, middle, 10) == image
    assert_healthy(store)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_archive_holds_all_blocks(store: Store, place: int) -> None:
    """E7, a GiB being a block: of A (10), B and C (14) the archive holds 10, 10 and 14."""
    disk = MemorySource("memory:disk", 15 * BLOCK_SIZE)
    names = []
    for first, count, number in ((0, 10, 0), (0, 4, 20), (10, 4, 20)):
        for index in range(first, first + count):
            disk.put(index, noise_block(number + index))
        names.append(store.create_snapshot(disk).snapshot_id)

    store.tiers.archive(names[place])

    assert archived_blocks(store, names[place]) == (10, 10, 14)[place]
    assert store.get_snapshot(names[place]).full_size_bytes == (10, 10, 14)[place] * BLOCK_SIZE


def test_incremental_snapshot_is_charged_in_full_in_the_archive(store: Store) -> None:
    """E8, at a scale of 5 GB a block: 100, then 5; archiving the second bills 105."""
    blocks = [noise_block(number) for number in range(21)]
    taken(store, *blocks[:20], ZEROS)
    second = taken(store, *blocks)
    assert charged(store, second) == [1]

    store.tiers.archive(second)

    assert (charged(store, second), archived_blocks(store, second)) == ([0], 21)


def test_archiving_the_first_frees_only_what_nobody_references(
    store: Store, chain: list[str]
) -> None:
    """Section 2.5: the cost of referenced blocks moves to the next snapshot of the lineage."""
    first, middle, last = chain

    store.tiers.archive(first)

    assert charged(store, *chain) == [0, 10, 2]
    causes = [each.cause for each in store.snapshot_history(first)]
    assert causes == [
        ChargeCause.CREATED,
        ChargeCause.FREED,
        ChargeCause.MOVED_OUT,
        ChargeCause.ARCHIVED,
    ]
    store.delete_snapshots([middle, last])
    assert_healthy(store)
    store.tiers.restore(first, FOR_GOOD)
    assert contents(store, first, 10) == [noise_block(index) for index in range(10)]


def test_deleting_others_leaves_the_archived_one_whole(store: Store, chain: list[str]) -> None:
    image = contents(store, chain[1], 10)
    store.tiers.archive(chain[1])

    store.delete_snapshots([chain[0], chain[2]])

    assert_healthy(store)
    store.tiers.restore(chain[1])
    assert contents(store, chain[1], 10) == image


def test_deleting_an_archived_snapshot_gives_its_bytes_back(store: Store) -> None:
    name = taken(store, NOISE, TEXT)
    store.tiers.archive(name)
    assert store.stats().blocks == 2

    (report,) = store.delete_snapshots([name]).deleted

    assert (report.freed_size_bytes, report.moved_to) == (0, ())
    assert store.stats().blocks == 0
    assert archived_blocks(store, name) == 0
    assert_healthy(store)


def test_a_restored_snapshot_is_of_no_lineage_but_its_own(store: Store, chain: list[str]) -> None:
    store.tiers.archive(chain[1])
    store.tiers.restore(chain[1], FOR_GOOD)

    with_older = lambda: store.diff_snapshots(chain[0], chain[1])  # noqa: E731 - one of a pair
    with_newer = lambda: store.diff_snapshots(chain[2], chain[1])  # noqa: E731 - one of a pair
    for compare in (with_older, with_newer):
        assert refused(compare) is ErrorCode.UNRELATED_SNAPSHOTS
    options = SnapshotOptions(parent=store.get_snapshot(chain[1]).snapshot_id)
    branch = disk_of(*contents(store, chain[1], 9), TAIL, name="memory:branch")
    child = store.create_snapshot(branch, options)
    assert child.charged_size_bytes == BLOCK_SIZE, "what is made of it is incremental on it"
    assert store.diff_snapshots(chain[1], child.snapshot_id).ranges == ((9, 10),)
    assert charged(store, chain[1]) == [10]
    store.delete_snapshots([chain[1]])
    assert charged(store, chain[0], chain[2], child.snapshot_id) == [10, 5, 10]
    assert_healthy(store)


def test_snapshot_keeps_its_id_tags_and_owner(store: Store) -> None:
    made = store.create_snapshot(
        disk_of(NOISE), SnapshotOptions(tags={"a": "b"}, description="kept")
    )
    store.tiers.archive(made.snapshot_id)
    shown = store.get_snapshot(made.snapshot_id)

    expected = replace(made, storage_tier=StorageTier.ARCHIVE, charged_size_bytes=0)
    assert shown == expected
    assert shown.state is SnapshotState.COMPLETED


# The next snapshot of the volume


def test_next_snapshot_is_incremental_on_the_newest_in_the_lineage(store: Store) -> None:
    disk = disk_of(NOISE, TEXT, HEAD)
    first = store.create_snapshot(disk).snapshot_id
    disk.put(1, TAIL)
    second = store.create_snapshot(disk).snapshot_id
    store.tiers.archive(second)

    third = store.create_snapshot(disk)

    assert third.parent_id == first
    assert third.charged_size_bytes == BLOCK_SIZE
    store.tiers.restore(second, FOR_GOOD)
    assert store.create_snapshot(disk).parent_id == third.snapshot_id
    assert_healthy(store)


def test_next_snapshot_is_full_once_the_only_one_is_archived(store: Store) -> None:
    disk = disk_of(NOISE, TEXT)
    first = store.create_snapshot(disk).snapshot_id
    store.tiers.archive(first)

    second = store.create_snapshot(disk)

    assert second.parent_id is None
    assert second.charged_size_bytes == 2 * BLOCK_SIZE
    assert store.stats().blocks == 2, "equal content is stored once"


def test_managed_volume_whose_snapshot_is_archived(store: Store) -> None:
    """What only the archived one held counts as written again."""
    volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
    names = []
    for index, content in enumerate((NOISE, TEXT, HEAD)):
        with store.volumes.open(volume) as file:
            file.pwrite(content, index * BLOCK_SIZE)
        (begun,) = store.create_snapshots([volume])
        store.wait_snapshots([begun.snapshot_id])
        names.append(begun.snapshot_id)
    store.tiers.archive(names[2])

    (begun,) = store.create_snapshots([volume])
    store.wait_snapshots([begun.snapshot_id])

    fourth = store.get_snapshot(begun.snapshot_id)
    assert (fourth.parent_id, fourth.charged_size_bytes) == (names[1], BLOCK_SIZE)
    assert contents(store, fourth.snapshot_id, 4) == [NOISE, TEXT, HEAD, ZEROS]
    assert_healthy(store)


def test_volume_made_of_a_snapshot_that_is_archived_then(store: Store) -> None:
    """The volume keeps all of it; its first snapshot is full, as if it had been deleted."""
    name = taken(store, NOISE, TEXT)
    volume = store.volumes.create(VolumeRequest(snapshot_id=name)).volume_id
    store.tiers.archive(name)
    with store.volumes.open(volume) as file:
        file.pwrite(HEAD, 0)
        assert file.pread(BLOCK_SIZE, BLOCK_SIZE) == TEXT
    (begun,) = store.create_snapshots([volume])
    store.wait_snapshots([begun.snapshot_id])

    made = store.get_snapshot(begun.snapshot_id)
    assert (made.parent_id, made.charged_size_bytes) == (None, 2 * BLOCK_SIZE)
    assert contents(store, made.snapshot_id, 2) == [HEAD, TEXT]
    store.tiers.restore(name, FOR_GOOD)
    assert charged(store, name, made.snapshot_id) == [2, 2]
    assert_healthy(store)


def test_volume_whose_origin_was_archived_and_restored(store: Store) -> None:
    """What was restored shares with nobody: the volume's first snapshot is full all the same."""
    name = taken(store, NOISE, TEXT)
    volume = store.volumes.create(VolumeRequest(snapshot_id=name)).volume_id
    store.tiers.archive(name)
    store.tiers.restore(name, FOR_GOOD)

    (begun,) = store.create_snapshots([volume])
    store.wait_snapshots([begun.snapshot_id])

    made = store.get_snapshot(begun.snapshot_id)
    assert (made.parent_id, made.charged_size_bytes) == (None, 2 * BLOCK_SIZE)
    assert contents(store, made.snapshot_id, 2) == [NOISE, TEXT]
    assert charged(store, name) == [2]
    assert_healthy(store)


def test_volume_made_of_a_restored_snapshot(store: Store, clock: ManualClock) -> None:
    """When its origin goes back to the archive, the charge moves to the volume's snapshot."""
    name = taken(store, NOISE, TEXT)
    store.tiers.archive(name)
    store.tiers.restore(name)
    volume = store.volumes.create(VolumeRequest(snapshot_id=name)).volume_id
    (begun,) = store.create_snapshots([volume])
    store.wait_snapshots([begun.snapshot_id])
    assert charged(store, name, begun.snapshot_id) == [2, 0]

    clock.advance(days=1)

    assert charged(store, name, begun.snapshot_id) == [0, 2]
    assert contents(store, begun.snapshot_id, 2) == [NOISE, TEXT]
    store.tiers.restore(name)
    assert charged(store, name, begun.snapshot_id) == [2, 2]
    assert_healthy(store)


# What is refused


def test_what_cannot_be_done_with_an_archived_snapshot(store: Store) -> None:
    """Section 7.1: it is unusable until it is restored."""
    name = taken(store, NOISE)
    other = taken(store, TEXT)
    store.tiers.archive(name)
    snapshot_id = store.get_snapshot(name).snapshot_id
    refusals: list[Callable[[], object]] = [
        lambda: store.volumes.create(VolumeRequest(snapshot_id=name)),
        lambda: store.copy_snapshot(name),
        lambda: store.as_account(region="eu-central-1").copy_snapshot(name, "us-east-1"),
        lambda: store.read_block(name, 0),
        lambda: store.restore_snapshot(name, store.path / "x"),
        lambda: store.restore_snapshot(name, store.path.parent / "x"),
        lambda: store.diff_snapshots(name, other),
        lambda: store.diff_snapshots(other, name),
        lambda: store.images.register("an image", {"/dev/sda1": BlockDevice(snapshot_id=name)}),
        lambda: store.permissions.modify(name, PermissionChange(add=[FRIEND])),
        lambda: store.permissions.modify(name, PermissionChange(add_all=True)),
        lambda: store.create_snapshot(disk_of(HEAD, name="x"), SnapshotOptions(parent=snapshot_id)),
        lambda: store.tiers.archive(name),
    ]
    refusals.pop(4)  # refused for its target first
    for call in refusals:
        assert refused(call) is ErrorCode.INCORRECT_STATE
    assert not store.fast_restores.enable([name], ["us-east-1a"]).successful
    assert not (store.path.parent / "x").exists()


def test_preconditions_of_archiving(store: Store) -> None:
    """Section 7.1: completed, owned by the caller, behind no registered image."""
    name = taken(store, NOISE)
    image = store.images.register("an image", {"/dev/sda1": BlockDevice(snapshot_id=name)})
    assert refused(lambda: store.tiers.archive(name)) is ErrorCode.INVALID_SNAPSHOT_IN_USE
    store.images.disable(image.image_id)
    assert refused(lambda: store.tiers.archive(name)) is ErrorCode.INVALID_SNAPSHOT_IN_USE
    store.images.deregister(image.image_id)
    friend = store.as_account(FRIEND)
    assert refused(lambda: friend.tiers.archive(name)) is ErrorCode.INVALID_SNAPSHOT_NOT_FOUND
    store.permissions.modify(name, PermissionChange(add=[FRIEND]))
    assert refused(lambda: friend.tiers.archive(name)) is ErrorCode.AUTH_FAILURE
    missing = "snap-00000000000000000"
    assert refused(lambda: store.tiers.archive(missing)) is ErrorCode.INVALID_SNAPSHOT_NOT_FOUND
    malformed = lambda: store.tiers.archive("snap-x")  # noqa: E731 - one of a row
    assert refused(malformed) is ErrorCode.INVALID_SNAPSHOT_ID_MALFORMED

    store.tiers.archive(name)

    assert refused(lambda: friend.tiers.restore(name)) is ErrorCode.INVALID_SNAPSHOT_NOT_FOUND


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (TierRestore(permanent=True, days=3), ErrorCode.INVALID_PARAMETER_COMBINATION),
        (TierRestore(days=0), ErrorCode.INVALID_PARAMETER_VALUE),
        (TierRestore(days=181), ErrorCode.INVALID_PARAMETER_VALUE),
        (TierRestore(days=1.5), ErrorCode.INVALID_PARAMETER_VALUE),  # type: ignore[arg-type]
    ],
)
def test_requests_that_are_none(store: Store, request_: TierRestore, code: ErrorCode) -> None:
    """Section 7.1: permanent, or 1 to 180 days."""
    name = taken(store, NOISE)
    assert refused(lambda: store.tiers.restore(name, request_)) is code
    store.tiers.archive(name)
    assert refused(lambda: store.tiers.restore(name, request_)) is code
    store.tiers.restore(name)
    assert refused(lambda: store.tiers.restore(name, request_)) is code


def test_only_what_is_in_the_archive_can_be_restored(store: Store, clock: ManualClock) -> None:
    store.quotas = SLOW
    name = taken(store, NOISE)
    assert refused(lambda: store.tiers.restore(name)) is ErrorCode.INCORRECT_STATE
    store.tiers.archive(name)
    assert refused(lambda: store.tiers.archive(name)) is ErrorCode.INCORRECT_STATE
    assert refused(lambda: store.tiers.restore(name)) is ErrorCode.INCORRECT_STATE
    clock.advance(hours=10)
    store.tiers.restore(name)
    assert refused(lambda: store.tiers.restore(name)) is ErrorCode.INCORRECT_STATE
    assert refused(lambda: store.tiers.restore(name, FOR_GOOD)) is ErrorCode.INCORRECT_STATE
    clock.advance(hours=72)
    assert refused(lambda: store.tiers.archive(name)) is ErrorCode.INCORRECT_STATE
    store.tiers.restore(name, FOR_GOOD)
    assert refused(lambda: store.tiers.restore(name)) is ErrorCode.INCORRECT_STATE
    store.tiers.archive(name)


# What is allowed


def test_archived_snapshot_can_be_tagged_locked_and_deleted(store: Store) -> None:
    """Section 7.1: it may be locked and deleted; 7.3: a locked one may be archived."""
    name = taken(store, NOISE)
    lock = LockRequest(mode=LockMode.GOVERNANCE, duration_days=5)
    store.tiers.archive(name)
    store.tags.create([name], {"a": "b"})
    store.locks.lock(name, lock)
    assert refused(lambda: store.delete_snapshots([name])) is ErrorCode.OPERATION_NOT_PERMITTED
    store.tiers.restore(name, FOR_GOOD)
    store.tiers.archive(name)
    assert store.locks.list()
    store.locks.unlock(name)

    store.delete_snapshots([name])

    assert store.list_snapshots() == []


def test_archived_snapshot_in_the_recycle_bin(store: Store, clock: ManualClock) -> None:
    """Section 7.2: it keeps the archive's rate there, and goes from it when its time is over."""
    store.recycle_bin.rules.create(
        RuleRequest(resource_type=RuleResourceType.EBS_SNAPSHOT, retention_days=7)
    )
    clock.advance(days=1)
    one, two = taken(store, NOISE), taken(store, TEXT, name="memory:two")
    for name in (one, two):
        store.tiers.archive(name)
        store.delete_snapshots([name])
    assert [each.snapshot_id for each in store.tiers.describe().statuses] == []
    assert archived_blocks(store, one) == 1
    assert_healthy(store)
    assert refused(lambda: store.tiers.restore(one)) is ErrorCode.INVALID_SNAPSHOT_NOT_FOUND

    store.recycle_bin.restore_snapshot(one)
    assert tier(store, one) is StorageTier.ARCHIVE
    left = clock.now_us() + 7 * DAY_US
    clock.advance(days=8)
    store.recycle_bin.expire()

    assert [each.snapshot_id for each in store.list_snapshots()] == [one]
    gone = store.ledger()[-1]
    assert (gone.snapshot_id, gone.tier, gone.blocks) == (two, StorageTier.ARCHIVE, -1)
    assert gone.time_us == left
    store.tiers.restore(one)
    assert contents(store, one, 1) == [NOISE]
    assert_healthy(store)


def test_sharing_and_fast_restores_are_dropped(store: Store) -> None:
    """Section 7.1, and 7.4: archiving disables fast restores."""
    name = taken(store, NOISE)
    store.permissions.modify(name, PermissionChange(add=[FRIEND]))
    store.permissions.modify(name, PermissionChange(add_all=True))
    store.fast_restores.enable([name], ["us-east-1a"])

    store.tiers.archive(name)
    store.tiers.restore(name, FOR_GOOD)

    shown = store.permissions.describe(name)
    assert (shown.accounts, shown.public) == ((), False)
    states = [each.state.value for each in store.fast_restores.describe().fast_restores]
    assert states in ([], ["disabling"], ["disabled"])
    assert refused(lambda: store.as_account(FRIEND).get_snapshot(name)) is (
        ErrorCode.INVALID_SNAPSHOT_NOT_FOUND
    )


# States, on the clock


def test_archiving_takes_its_time(store: Store, clock: ManualClock) -> None:
    """Section 7.1: usable while it is archived; state `completed` throughout."""
    store.quotas = SLOW
    name, begun = taken(store, NOISE, TEXT), clock.now_us()
    answer = store.tiers.archive(name)
    assert (answer.status, answer.started_us) == (TieringStatus.ARCHIVAL_IN_PROGRESS, begun)

    clock.advance(hours=4)

    shown = status(store, name)
    assert (shown.status, shown.progress_percent) == (TieringStatus.ARCHIVAL_IN_PROGRESS, 40)
    assert (shown.tier, shown.state, shown.archived_us) == (
        StorageTier.STANDARD,
        "completed",
        None,
    )
    assert contents(store, name, 2) == [NOISE, TEXT]
    assert charged(store, name) == [2]
    assert refused(lambda: store.permissions.modify(name, PermissionChange(add=[FRIEND]))) is (
        ErrorCode.INCORRECT_STATE
    )
    assert told(store) == []

    clock.advance(hours=20)  # nobody looks for a while

    shown = status(store, name)
    done = begun + 10 * 3600 * 1_000_000
    assert (shown.status, shown.progress_percent) == (TieringStatus.ARCHIVAL_COMPLETED, 100)
    assert (shown.tier, shown.state, shown.archived_us) == (StorageTier.ARCHIVE, "completed", done)
    assert charged(store, name) == [0]
    assert {each.time_us for each in store.snapshot_history(name)[1:]} == {done}
    assert told(store) == [("archiveSnapshot", "succeeded")]
    detail = store.events()[-1].detail
    assert detail["startTime"] == "2026-01-01T00:00:00Z"
    assert detail["endTime"] == "2026-01-01T10:00:00Z"


def test_temporary_restore_takes_its_time_and_expires(store: Store, clock: ManualClock) -> None:
    """Section 7.1: both copies exist and are charged; at the end the standard one disappears."""
    store.quotas = replace(SLOW, archival_s=0)
    name = taken(store, NOISE, TEXT)
    store.tiers.archive(name)

    answer = store.tiers.restore(name, TierRestore(days=5))

    assert (answer.permanent, answer.days, answer.started_us) == (False, 5, clock.now_us())
    clock.advance(hours=36)
    shown = status(store, name)
    assert shown.status is TieringStatus.TEMPORARY_RESTORE_IN_PROGRESS
    assert (shown.progress_percent, shown.tier) == (50, StorageTier.ARCHIVE)
    assert refused(lambda: store.read_block(name, 0)) is ErrorCode.INCORRECT_STATE

    clock.advance(hours=36)
    expires = clock.now_us() + 5 * DAY_US
    shown = status(store, name)
    assert shown.status is TieringStatus.TEMPORARY_RESTORE_COMPLETED
    assert (shown.tier, shown.expires_us) == (StorageTier.STANDARD, expires)
    listed = store.get_snapshot(name)
    assert (listed.storage_tier, listed.restore_expiry_time_us) == (StorageTier.STANDARD, expires)
    assert contents(store, name, 2) == [NOISE, TEXT]
    assert (charged(store, name), archived_blocks(store, name)) == ([2], 2)

    clock.advance(5 * 24 * 3600 - 1)
    assert contents(store, name, 2) == [NOISE, TEXT]
    clock.advance(1)
    assert refused(lambda: store.read_block(name, 0)) is ErrorCode.INCORRECT_STATE
    shown = status(store, name)
    assert shown.status is TieringStatus.TEMPORARY_RESTORE_COMPLETED
    assert (shown.tier, shown.expires_us) == (StorageTier.ARCHIVE, None)
    assert (charged(store, name), archived_blocks(store, name)) == ([0], 2)
    assert told(store) == [
        ("archiveSnapshot", "succeeded"),
        ("temporaryRestoreSnapshot", "succeeded"),
        ("restoreExpiry", "succeeded"),
    ]
    assert_healthy(store)


def test_the_period_is_counted_from_now(store: Store, clock: ManualClock) -> None:
    """Section 7.1: a re-call changes it; one day ends it early; default one day."""
    name = taken(store, NOISE)
    store.tiers.archive(name)
    store.tiers.restore(name, TierRestore(days=30))
    clock.advance(days=10)

    store.tiers.restore(name, TierRestore(days=30))
    clock.advance(days=29)
    assert tier(store, name) is StorageTier.STANDARD

    assert store.tiers.restore(name).days == 1
    clock.advance(hours=24)
    assert tier(store, name) is StorageTier.ARCHIVE
    retrieved = [each for each in store.ledger() if each.cause is ChargeCause.RETRIEVED]
    assert [each.retrieved_blocks for each in retrieved] == [1], "it is read once"


def test_temporary_restore_becomes_permanent(store: Store, clock: ManualClock) -> None:
    store.quotas = replace(SLOW, archival_s=0)
    name = taken(store, NOISE)
    store.tiers.archive(name)
    store.tiers.restore(name)
    clock.advance(hours=72)

    answer = store.tiers.restore(name, FOR_GOOD)

    assert answer.permanent
    assert answer.status.status is TieringStatus.PERMANENT_RESTORE_COMPLETED
    assert (answer.status.archived_us, answer.status.expires_us) == (None, None)
    clock.advance(days=400)
    assert tier(store, name) is StorageTier.STANDARD
    assert (charged(store, name), archived_blocks(store, name)) == ([1], 0)
    assert told(store)[-1] == ("permanentRestoreSnapshot", "succeeded")
    assert_healthy(store)


def test_permanent_restore_takes_its_time(store: Store, clock: ManualClock) -> None:
    store.quotas = replace(SLOW, archival_s=0)
    name = taken(store, NOISE)
    store.tiers.archive(name)
    store.tiers.restore(name, FOR_GOOD)
    assert status(store, name).status is TieringStatus.PERMANENT_RESTORE_IN_PROGRESS
    assert (tier(store, name), archived_blocks(store, name)) == (StorageTier.ARCHIVE, 1)

    clock.advance(hours=72)

    assert status(store, name).status is TieringStatus.PERMANENT_RESTORE_COMPLETED
    assert (tier(store, name), archived_blocks(store, name)) == (StorageTier.STANDARD, 0)
    assert told(store)[-1] == ("permanentRestoreSnapshot", "succeeded")


def test_image_that_is_registered_meanwhile_fails_the_archival(
    store: Store, clock: ManualClock
) -> None:
    """It can be used while it is archived; behind an image it must not go (assumed)."""
    store.quotas = SLOW
    name = taken(store, NOISE)
    store.tiers.archive(name)
    image = store.images.register("an image", {"/dev/sda1": BlockDevice(snapshot_id=name)})

    clock.advance(hours=10)

    shown = status(store, name)
    assert shown.status is TieringStatus.ARCHIVAL_FAILED
    assert image.image_id in shown.detail
    assert (shown.tier, charged(store, name)) == (StorageTier.STANDARD, [1])
    assert told(store) == [("archiveSnapshot", "failed")]
    store.images.deregister(image.image_id)
    store.tiers.archive(name)


def test_several_things_fall_due_while_nobody_looks(store: Store, clock: ManualClock) -> None:
    """They happen in their order, at their times."""
    store.quotas = SLOW
    one, two = taken(store, NOISE), taken(store, TEXT, name="memory:two")
    store.tiers.archive(one)
    clock.advance(hours=10)
    store.tiers.restore(one)  # until hour 82, and for a day
    clock.advance(hours=90)  # hour 100
    store.tiers.archive(two)  # at hour 110
    clock.advance(days=365)

    entries = [each for each in store.ledger() if each.cause is not ChargeCause.CREATED]
    hours = [(each.time_us - entries[0].time_us) // 3_600_000_000 + 10 for each in entries]

    assert hours == sorted(hours)
    assert {10, 82, 106, 110} == set(hours)
    assert (tier(store, one), tier(store, two)) == (StorageTier.ARCHIVE,) * 2
    assert_healthy(store)


# Quotas, and what is asked


def test_quotas_are_those_of_ebs() -> None:
    """Section 7.1: 25 archived per volume, 25 archives and 5 restores in progress."""
    quotas = Quotas()
    assert quotas.archived_per_volume == 25
    assert quotas.pending_archivals == 25
    assert quotas.pending_tier_restores == 5


def test_archived_snapshots_per_volume_are_limited(store: Store) -> None:
    store.quotas = Quotas(archived_per_volume=2)
    names = [taken(store, noise_block(number)) for number in range(3)]
    for name in names[:2]:
        store.tiers.archive(name)

    assert refused(lambda: store.tiers.archive(names[2])) is ErrorCode.RESOURCE_LIMIT_EXCEEDED

    store.tiers.archive(taken(store, NOISE, name="memory:another"))
    store.tiers.restore(names[0])  # its copy in the archive still counts
    assert refused(lambda: store.tiers.archive(names[2])) is ErrorCode.RESOURCE_LIMIT_EXCEEDED
    store.tiers.restore(names[0], FOR_GOOD)
    store.tiers.archive(names[2])


def test_what_is_in_progress_is_limited(store: Store, clock: ManualClock) -> None:
    store.quotas = replace(SLOW, pending_archivals=2, pending_tier_restores=1)
    names = [taken(store, noise_block(number), name=f"memory:{number}") for number in range(3)]
    for name in names[:2]:
        store.tiers.archive(name)
    assert refused(lambda: store.tiers.archive(names[2])) is ErrorCode.RESOURCE_LIMIT_EXCEEDED
    there = store.as_account(FRIEND)
    there.tiers.archive(taken(there, NOISE))

    clock.advance(hours=10)

    store.tiers.archive(names[2])
    store.tiers.restore(names[0])
    assert refused(lambda: store.tiers.restore(names[1])) is ErrorCode.RESOURCE_LIMIT_EXCEEDED
    clock.advance(hours=72)
    store.tiers.restore(names[1])


def test_status_filters_and_pages(store: Store, clock: ManualClock) -> None:
    """Section 7.1: filters snapshot-id, volume-id and last-tiering-operation."""
    store.quotas = replace(SLOW, tier_restore_s=0)
    names = [taken(store, noise_block(number), name=f"memory:{number}") for number in range(7)]
    for name in names[:6]:
        store.tiers.archive(name)
    clock.advance(hours=10)
    store.tiers.restore(names[0])
    store.tiers.archive(names[6])

    def found(**query: object) -> list[str]:
        page = store.tiers.describe(TierQuery(**query))  # type: ignore[arg-type]
        return [each.snapshot_id for each in page.statuses]

    assert found() == names
    assert found(snapshot_ids=[names[3], "snap-00000000000000000"]) == [names[3]]
    volume = store.get_snapshot(names[2]).volume_id
    assert found(filters=[Filter("volume-id", [volume])]) == [names[2]]
    assert found(filters=[Filter("snapshot-id", names[4:6])]) == names[4:6]
    operation = "last-tiering-operation"
    assert found(filters=[Filter(operation, ["archival-completed"])]) == names[1:6]
    others = ["archival-in-progress", "temporary-restore-*"]
    assert found(filters=[Filter(operation, others)]) == [names[0], names[6]]
    page = store.tiers.describe(TierQuery(max_results=5))
    assert [each.snapshot_id for each in page.statuses] == names[:5]
    rest = store.tiers.describe(TierQuery(max_results=5, next_token=page.next_token))
    assert ([each.snapshot_id for each in rest.statuses], rest.next_token) == (names[5:], None)
    for bad in (
        {"filters": [Filter("status", ["completed"])]},
        {"snapshot_ids": ["x"]},
        {"max_results": 4},
    ):
        with pytest.raises(EbsimError):
            found(**bad)
    assert store.as_account(FRIEND).tiers.describe().statuses == ()
    taken(store, TAIL, name="memory:never")
    assert len(found()) == 7, "what was never archived has no status"
    in_archive = SnapshotQuery(filters=[Filter("storage-tier", ["archive"])])
    assert [each.snapshot_id for each in store.list_snapshots(in_archive)] == names[1:6]


# What works around it


def test_copies_after_the_latest_copy_is_archived_are_full(store: Store) -> None:
    """Section 6.1: a later copy is incremental unless the latest copy is archived."""
    there = store.as_account(region="eu-central-1")
    disk = disk_of(NOISE, TEXT)
    first = there.copy_snapshot(store.create_snapshot(disk).snapshot_id, "us-east-1")
    disk.put(1, HEAD)
    second = there.copy_snapshot(store.create_snapshot(disk).snapshot_id, "us-east-1")
    assert second.charged_size_bytes == BLOCK_SIZE
    there.tiers.archive(second.snapshot_id)
    disk.put(1, TAIL)

    third = there.copy_snapshot(store.create_snapshot(disk).snapshot_id, "us-east-1")

    assert third.charged_size_bytes == 2 * BLOCK_SIZE
    assert charged(there, first.snapshot_id) == [2]
    assert_healthy(store)


def test_prune_neither_counts_nor_deletes_what_is_archived(store: Store) -> None:
    """The youngest that is kept must be one that can be used."""
    names = [taken(store, noise_block(number)) for number in range(4)]
    store.tiers.archive(names[0])
    store.tiers.archive(names[3])

    report = store.prune(PruneOptions(keep_last=1))

    assert [each.snapshot_id for each in report.pruned] == [names[1]]
    reasons = {each.snapshot.snapshot_id: each.reasons for each in report.kept}
    assert reasons == {
        names[0]: ("in the archive tier",),
        names[2]: ("last",),
        names[3]: ("in the archive tier",),
    }


def test_policies_neither_count_nor_delete_what_is_archived(
    store: Store, clock: ManualClock, fast_path: object
) -> None:
    disk = store.path.parent / "disk.img"
    disk.write_bytes(NOISE)
    schedule = Schedule(
        name="hourly", create=CreateRule(interval_hours=1, time="00:00"), retain=RetainRule(count=2)
    )
    request = PolicyRequest(description="x", sources=(str(disk),), schedules=(schedule,))
    store.lifecycle.put(request)
    names = []
    for _ in range(4):
        clock.advance(hours=1)
        run = store.lifecycle.run()
        names += [each.snapshot_id for each in run.created]
        if len(names) == 1:
            store.tiers.archive(str(names[0]))

    kept = [each.snapshot_id for each in store.list_snapshots()]
    assert kept == [names[0], names[2], names[3]]


def test_totals_count_what_the_archive_is_charged(store: Store) -> None:
    name = taken(store, NOISE, TEXT)
    store.tiers.archive(name)

    stats = store.stats()

    assert (stats.charged_size_bytes, stats.archived_size_bytes) == (0, 2 * BLOCK_SIZE)


def test_encrypted_snapshot_keeps_its_key(store: Store, clock: ManualClock) -> None:
    """Section 7.1: id, tags, key and owner stay; so what it says can be read again."""
    plain = taken(store, NOISE, TEXT)
    made = store.copy_snapshot(plain, options=SnapshotOptions(encrypted=True))
    store.delete_snapshots([plain])

    store.tiers.archive(made.snapshot_id)
    assert_healthy(store)
    store.tiers.restore(made.snapshot_id, TierRestore(days=2))

    shown = store.get_snapshot(made.snapshot_id)
    kept = (made.encrypted, made.kms_key_id, made.data_encryption_key_id)
    assert (shown.encrypted, shown.kms_key_id, shown.data_encryption_key_id) == kept
    assert contents(store, made.snapshot_id, 2) == [NOISE, TEXT]
    volume = store.volumes.create(VolumeRequest(snapshot_id=made.snapshot_id)).volume_id
    clock.advance(days=2)
    with store.volumes.open(volume) as file:
        file.pwrite(HEAD, 0)
    (begun,) = store.create_snapshots([volume])
    store.wait_snapshots([begun.snapshot_id])
    assert contents(store, begun.snapshot_id, 2) == [HEAD, TEXT]
    assert tier(store, made.snapshot_id) is StorageTier.ARCHIVE
    assert_healthy(store)
