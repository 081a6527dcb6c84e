"""The Recycle Bin: acceptance test 12, and each fact of it, on a clock that is moved by hand."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ebsim.config import Quotas, SnapshotOptions
from ebsim.core.bin_stays import BIN_TAG
from ebsim.core.delete import delete_snapshots
from ebsim.core.snapshots import list_snapshots
from ebsim.engine import Seams, Store
from ebsim.errors import EbsimError, ErrorCode
from ebsim.fast_restores import FastRestoreState
from ebsim.locking import LockMode, LockRequest
from ebsim.permissions import PermissionChange
from ebsim.policies import CreateRule, PolicyRequest, RetainRule, Schedule
from ebsim.recycle_bin import (
    BinQuery,
    RetentionRule,
    RuleLockState,
    RuleQuery,
    RuleRequest,
    RuleResourceType,
    RuleStatus,
    RuleUpdate,
)
from ebsim.requests import (
    BlockDevice,
    ImageOptions,
    PruneOptions,
    SnapshotQuery,
    TagQuery,
    VolumeRequest,
)
from ebsim.results import ChargeCause, Snapshot, SnapshotState
from ebsim.testing.contents import HEAD, NOISE, TEXT, ZEROS, noise_block
from ebsim.testing.held_copies import HeldCopies, ReleasedByWaiting
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.refused import refused
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.sources import MemorySource, disk_of
from ebsim.tiering import StorageTier
from ebsim.units import BLOCK_SIZE

DAY_US = 24 * 3600 * 1_000_000
FRIEND = "111122223333"
SNAPSHOTS = RuleRequest(resource_type=RuleResourceType.EBS_SNAPSHOT, retention_days=7)
IMAGES = RuleRequest(resource_type=RuleResourceType.EC2_IMAGE, retention_days=7)
GONE = ErrorCode.INVALID_SNAPSHOT_NOT_FOUND


def reason(call: Callable[[], object]) -> tuple[ErrorCode, str]:
    with pytest.raises(EbsimError) as caught:
        call()
    return caught.value.code, caught.value.reason


def rule(store: Store, request: RuleRequest = SNAPSHOTS, **changes: Any) -> RetentionRule:
    return store.recycle_bin.rules.create(replace(request, **changes))


def taken(store: Store, *blocks: bytes, **tags: str) -> str:
    """Return a snapshot of the same small disk."""
    disk = disk_of(*blocks, *[ZEROS] * (3 - len(blocks)))
    return store.create_snapshot(disk, SnapshotOptions(tags=tags)).snapshot_id


def binned(store: Store) -> list[str]:
    return [each.snapshot_id for each in store.recycle_bin.snapshots().snapshots]


def listed(store: Store) -> list[str]:
    return [each.snapshot_id for each in store.list_snapshots()]


def days_kept(store: Store, name: str) -> float | None:
    """Return for how many days a snapshot would be kept if it were deleted now."""
    (told,) = store.delete_snapshots([name], dry_run=True).deleted
    if told.recycle_bin_exit_us is None:
        return None
    (done,) = store.delete_snapshots([name]).deleted
    assert done == told
    (found,) = [
        each for each in store.recycle_bin.snapshots().snapshots if each.snapshot_id == name
    ]
    assert found.exit_time_us == told.recycle_bin_exit_us
    store.recycle_bin.restore_snapshot(name)
    return (found.exit_time_us - found.enter_time_us) / DAY_US


# acceptance test 12


def test_longest_rule_wins(store: Store) -> None:
    rule(store, retention_days=3)
    rule(store, retention_days=30, resource_tags=[("team", "db"), ("team", "web")])
    rule(store, retention_days=10, resource_tags=[("team", "db")])
    rule(store, IMAGES, retention_days=300)
    rule(store.as_account(FRIEND), retention_days=200)
    rule(store.as_account(region="eu-central-1"), retention_days=100)

    assert days_kept(store, taken(store, NOISE, team="db")) == 30
    assert days_kept(store, taken(store, NOISE, team="web", other="x")) == 30
    assert days_kept(store, taken(store, NOISE, team="other")) == 3
    assert days_kept(store, taken(store, NOISE)) == 3


def test_charge_stays_until_the_very_end(store: Store, clock: ManualClock) -> None:
    """Section 7.2: the normal rate, and billing stops exactly at expiry, however late it is."""
    rule(store)
    name = taken(store, NOISE, TEXT)
    before = store.stats()
    store.delete_snapshots([name])
    assert store.stats().charged_size_bytes == before.charged_size_bytes
    assert store.recycle_bin.snapshots().snapshots[0].charged_size_bytes == 2 * BLOCK_SIZE
    ends = store.recycle_bin.snapshots().snapshots[0].exit_time_us
    clock.advance(days=20)

    taken(store, HEAD)

    events = store.snapshot_history(name)
    freed = [(each.cause, each.time_us, each.blocks) for each in events[1:]]
    assert freed == [(ChargeCause.FREED, ends, -2)]
    assert_healthy(store)


def test_restoring_reinstates_the_sharing(store: Store) -> None:
    rule(store)
    name, friend = taken(store, NOISE), store.as_account(FRIEND)
    stranger = store.as_account("999988887777")
    store.permissions.modify(name, PermissionChange(add=[FRIEND]))
    store.permissions.modify(name, PermissionChange(add_all=True))
    assert friend.read_block(name, 0) == stranger.read_block(name, 0) == NOISE
    store.delete_snapshots([name])

    for other in (friend, stranger):
        assert refused(lambda other=other: other.read_block(name, 0)) is GONE  # type: ignore[misc]
        assert other.list_snapshots() == []
        assert other.recycle_bin.snapshots().snapshots == ()
        assert refused(lambda other=other: other.recycle_bin.restore_snapshot(name)) is GONE  # type: ignore[misc]
    store.recycle_bin.restore_snapshot(name)

    assert friend.read_block(name, 0) == stranger.read_block(name, 0) == NOISE
    shared = store.permissions.describe(name)
    assert (shared.accounts, shared.public) == ((FRIEND,), True)


def test_locked_snapshot_never_enters(store: Store, clock: ManualClock) -> None:
    rule(store)
    name = taken(store, NOISE)
    store.locks.lock(name, LockRequest(mode=LockMode.GOVERNANCE, duration_days=1))
    image = store.images.register("one", {"/dev/sda1": taken(store, NOISE)}).image_id

    assert refused(lambda: store.delete_snapshots([name])) is ErrorCode.OPERATION_NOT_PERMITTED
    assert binned(store) == []
    behind = listed(store)[1]
    assert refused(lambda: store.delete_snapshots([behind])) is ErrorCode.INVALID_SNAPSHOT_IN_USE
    store.images.disable(image)
    assert refused(lambda: store.delete_snapshots([behind])) is ErrorCode.INVALID_SNAPSHOT_IN_USE
    clock.advance(days=1)
    store.delete_snapshots([name])
    assert binned(store) == [name]
    assert refused(lambda: store.locks.unlock(name)) is GONE


# what is in the bin


def test_dry_run_says_that_it_goes_to_the_bin_and_until_when(
    store: Store, clock: ManualClock
) -> None:
    rule(store)
    name = taken(store, NOISE)

    planned = store.delete_snapshots([name], dry_run=True)

    assert listed(store) == [name]
    assert binned(store) == []
    (told,) = planned.deleted
    assert told.recycle_bin_exit_us == clock.now_us() + 7 * DAY_US
    assert (told.freed_size_bytes, told.moved_size_bytes, told.reclaimed_bytes) == (0, 0, 0)
    assert store.delete_snapshots([name]).deleted == planned.deleted


def test_what_is_in_the_bin_is_in_nothing_else(store: Store) -> None:
    """Section 1.1: only listing, restoring and retagging; it does not exist for anything else."""
    rule(store)
    name, other = taken(store, NOISE), taken(store, TEXT)
    store.delete_snapshots([name])
    operations: list[Callable[[], object]] = [
        lambda: store.get_snapshot(name),
        lambda: store.list_snapshots(SnapshotQuery(snapshot_ids=[name])),
        lambda: store.read_block(name, 0),
        lambda: store.diff_snapshots(name, other),
        lambda: store.diff_snapshots(other, name),
        lambda: store.restore_snapshot(name, "restored.img"),
        lambda: store.copy_snapshot(name),
        lambda: store.as_account(region="eu-central-1").copy_snapshot(name, "us-east-1"),
        lambda: store.volumes.create(VolumeRequest(snapshot_id=name)),
        lambda: store.images.register("one", {"/dev/sda1": name}),
        lambda: store.create_snapshot(
            disk_of(HEAD, name="memory:branch"),
            SnapshotOptions(parent=name),  # type: ignore[arg-type]
        ),
        lambda: store.permissions.describe(name),
        lambda: store.permissions.modify(name, PermissionChange(add=[FRIEND])),
        lambda: store.locks.lock(name, LockRequest(mode=LockMode.GOVERNANCE, duration_days=1)),
        lambda: store.wait_snapshots([name]),
        lambda: store.delete_snapshots([name]),
        lambda: store.delete_snapshots([name], dry_run=True),
    ]

    assert [refused(operation) for operation in operations] == [GONE] * len(operations)
    assert listed(store) == [other]
    assert store.describe_snapshots().snapshots[0].snapshot_id == other
    assert store.list_snapshots(SnapshotQuery(states=["completed"])) == store.list_snapshots()
    assert binned(store) == [name]
    assert_healthy(store)


def test_state_is_no_filter(store: Store) -> None:
    """Section 1.1: the filter `status` knows pending, completed and error."""
    query = SnapshotQuery(states=["recoverable"])
    assert refused(lambda: store.list_snapshots(query)) is ErrorCode.INVALID_PARAMETER_VALUE


def test_it_is_tagged_while_it_is_there_and_may_be_retagged(store: Store) -> None:
    rule(store)
    name = taken(store, NOISE, keep="yes")
    store.delete_snapshots([name])

    def tags() -> dict[str, str]:
        found = store.tags.list(TagQuery(resource_ids=[name]))
        return {tag.key: tag.value for tag in found}

    assert tags() == {"keep": "yes", BIN_TAG: "true"}
    store.tags.create([name], {"why": "a mistake"})
    store.tags.delete([name], None)
    assert tags() == {BIN_TAG: "true"}
    assert refused(lambda: store.tags.delete([name], {BIN_TAG: None})) is (
        ErrorCode.INVALID_TAG_KEY_MALFORMED
    )
    store.tags.create([name], {"why": "a mistake"})
    assert store.recycle_bin.restore_snapshot(name).tags == {"why": "a mistake"}


def test_restored_snapshot_is_what_it_was(store: Store) -> None:
    rule(store)
    options = SnapshotOptions(description="nightly", tags={"a": "b"})
    before = store.create_snapshot(disk_of(NOISE, ZEROS, TEXT), options)
    store.delete_snapshots([before.snapshot_id])

    restored = store.recycle_bin.restore_snapshot(before.snapshot_id)

    assert restored == before == store.get_snapshot(before.snapshot_id)
    assert restored.state is SnapshotState.COMPLETED
    assert [store.read_block(before.snapshot_id, each) for each in range(3)] == [NOISE, ZEROS, TEXT]
    assert binned(store) == []
    assert refused(lambda: store.recycle_bin.restore_snapshot(before.snapshot_id)) is GONE
    assert_healthy(store)


def test_nothing_leaves_for_good_before_its_time(store: Store, clock: ManualClock) -> None:
    """No manual purge; to empty the bin: take the rule away, restore, and delete again."""
    made = rule(store)
    name = taken(store, NOISE)
    store.delete_snapshots([name])
    assert refused(lambda: store.delete_snapshots([name])) is GONE
    assert store.recycle_bin.expire() == ()
    assert binned(store) == [name]

    store.recycle_bin.rules.delete(made.rule_id)
    store.recycle_bin.restore_snapshot(name)
    (gone,) = store.delete_snapshots([name]).deleted

    assert gone.recycle_bin_exit_us is None
    assert gone.freed_size_bytes == BLOCK_SIZE
    assert binned(store) == []


def test_it_goes_for_good_when_its_time_is_over(store: Store, clock: ManualClock) -> None:
    rule(store)
    name = taken(store, NOISE, TEXT)
    store.delete_snapshots([name])
    clock.advance(7 * 24 * 3600 - 0.000001)
    assert binned(store) == [name]
    clock.advance(0.000001)

    assert binned(store) == []
    assert refused(lambda: store.recycle_bin.restore_snapshot(name)) is GONE
    assert refused(lambda: store.recycle_bin.snapshots(BinQuery(resource_ids=[name]))) is GONE
    assert store.recycle_bin.expire() == ()  # the refused operation carried it out
    assert store.stats().charged_size_bytes == 0
    assert store.stats().stored_size_bytes < BLOCK_SIZE
    assert_healthy(store)


def test_expiry_is_carried_out_by_asking_for_it(store: Store, clock: ManualClock) -> None:
    rule(store)
    names = [taken(store, NOISE), taken(store, TEXT)]
    store.delete_snapshots(names)
    clock.advance(days=7)

    assert sorted(store.recycle_bin.expire()) == sorted(names)
    assert store.recycle_bin.expire() == ()


def test_expiry_is_carried_out_when_the_store_is_opened(
    store: Store, store_path: Path, seams: Seams, clock: ManualClock
) -> None:
    rule(store)
    name = taken(store, NOISE)
    store.delete_snapshots([name])
    store.close()
    clock.advance(days=7)

    with Store.open(store_path, seams, resume=False) as again:
        assert again.stats().charged_size_bytes == 0
        assert again.recycle_bin.expire() == ()


def test_retention_is_fixed_at_entry(store: Store, clock: ManualClock) -> None:
    made = rule(store)
    first, second = taken(store, NOISE), taken(store, TEXT)
    store.delete_snapshots([first])
    store.recycle_bin.rules.update(made.rule_id, RuleUpdate(retention_days=1))
    store.delete_snapshots([second])
    store.recycle_bin.rules.delete(made.rule_id)
    clock.advance(days=1)
    assert binned(store) == [first]
    clock.advance(days=6)
    assert binned(store) == []


def test_rule_keeps_nothing_of_what_was_deleted_before(store: Store) -> None:
    name = taken(store, NOISE)
    store.delete_snapshots([name])
    rule(store)
    assert binned(store) == []


def test_exclusion_tags(store: Store) -> None:
    rule(store, exclude_tags=[("tmp", "yes"), ("env", "test")])

    assert days_kept(store, taken(store, NOISE)) == 7
    assert days_kept(store, taken(store, NOISE, tmp="no", env="prod")) == 7
    assert days_kept(store, taken(store, NOISE, tmp="yes")) is None
    assert days_kept(store, taken(store, NOISE, env="test", other="x")) is None


def test_only_available_rules_retain(store: Store, clock: ManualClock) -> None:
    store.quotas = Quotas(rule_pending_s=1800)
    made = rule(store)
    assert made.status is RuleStatus.PENDING
    assert days_kept(store, taken(store, NOISE)) is None
    clock.advance(1800)
    assert store.recycle_bin.rules.get(made.rule_id).status is RuleStatus.AVAILABLE
    assert days_kept(store, taken(store, NOISE)) == 7


def test_events_tell(store: Store, clock: ManualClock) -> None:
    rule(store)
    name, other = taken(store, NOISE), taken(store, TEXT)
    store.delete_snapshots([name, other])
    store.recycle_bin.restore_snapshot(name)
    clock.advance(days=7)
    store.recycle_bin.expire()

    told = [
        (each.detail["event"], each.resources[0].rpartition("/")[2]) for each in store.events()[2:]
    ]
    assert told == [
        ("recycleSnapshot", name),
        ("recycleSnapshot", other),
        ("restoreSnapshotFromRecycleBin", name),
        ("recycleBinExpiry", other),
    ]


def test_bin_is_listed_in_pages(store: Store) -> None:
    rule(store)
    names = [taken(store, noise_block(number)) for number in range(7)]
    store.delete_snapshots(names[::-1])

    first = store.recycle_bin.snapshots(BinQuery(max_results=5))
    assert [each.snapshot_id for each in first.snapshots] == names[:5]
    rest = store.recycle_bin.snapshots(BinQuery(next_token=first.next_token))
    assert [each.snapshot_id for each in rest.snapshots] == names[5:]
    assert rest.next_token is None
    some = store.recycle_bin.snapshots(BinQuery(resource_ids=names[2:4]))
    assert [each.snapshot_id for each in some.snapshots] == names[2:4]
    assert refused(lambda: store.recycle_bin.snapshots(BinQuery(max_results=4))) is (
        ErrorCode.INVALID_PARAMETER_VALUE
    )
    assert refused(lambda: store.recycle_bin.snapshots(BinQuery(next_token="x"))) is (
        ErrorCode.INVALID_PAGINATION_TOKEN
    )


# lineages


def test_next_snapshot_is_incremental_on_one_in_the_bin(store: Store, clock: ManualClock) -> None:
    """Section 2.3: what is in the bin still counts and is charged; so it is shared with."""
    rule(store)
    disk = disk_of(NOISE, TEXT)
    first = store.create_snapshot(disk)
    store.delete_snapshots([first.snapshot_id])
    disk.put(1, HEAD)

    second = store.create_snapshot(disk)

    assert second.parent_id == first.snapshot_id
    assert second.charged_size_bytes == BLOCK_SIZE
    clock.advance(days=7)
    assert store.recycle_bin.expire() == (first.snapshot_id,)
    assert store.get_snapshot(second.snapshot_id).charged_size_bytes == 2 * BLOCK_SIZE
    moved = store.snapshot_history(second.snapshot_id)[-1]
    assert (moved.cause, moved.blocks) == (ChargeCause.MOVED_IN, 1)
    third = store.create_snapshot(disk)
    assert (third.parent_id, third.charged_size_bytes) == (second.snapshot_id, 0)
    assert_healthy(store)


@pytest.mark.parametrize(
    "order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
)
def test_going_through_the_bin_ends_as_deleting_at_once(
    store: Store, clock: ManualClock, order: tuple[int, int, int]
) -> None:
    """Example E1's deletions (section 2.3), in all orders, by way of the bin and without."""
    disk = MemorySource("memory:e1", 16 * BLOCK_SIZE)
    names, plain = [], []
    for number, changed in enumerate((range(10), range(4), range(10, 12))):
        for index in changed:
            disk.put(index, noise_block(20 * number + index))
        names.append(store.create_snapshot(disk).snapshot_id)
    other = store.as_account(FRIEND)  # the same again, where no rule keeps anything
    twin = MemorySource("memory:e1", 16 * BLOCK_SIZE)
    for number, changed in enumerate((range(10), range(4), range(10, 12))):
        for index in changed:
            twin.put(index, noise_block(20 * number + index))
        plain.append(other.create_snapshot(twin).snapshot_id)
    rule(store)
    for place in order[:2]:
        store.delete_snapshots([names[place]])
        other.delete_snapshots([plain[place]])
        clock.advance(days=1)
    clock.advance(days=7)
    store.recycle_bin.expire()

    (left,), (expected,) = store.list_snapshots(), other.list_snapshots()
    assert left.charged_size_bytes == expected.charged_size_bytes == expected.full_size_bytes
    assert left.snapshot_id == names[order[2]]
    assert_healthy(store)


def test_charge_of_one_that_is_really_deleted_moves_into_the_bin(store: Store) -> None:
    """Both orders in one deletion: one of two neighbours goes, the other is kept by its tag."""
    rule(store, resource_tags=[("keep", "yes")])
    for names in (
        [taken(store, NOISE, TEXT), taken(store, NOISE, HEAD, keep="yes")],
        [taken(store, NOISE, keep="yes"), taken(store, NOISE, TEXT)][::-1],
    ):
        report = store.delete_snapshots(names)
        kept = [each.snapshot_id for each in report.deleted if each.recycle_bin_exit_us]
        assert len(kept) == 1
        assert_healthy(store)
        restored = store.recycle_bin.restore_snapshot(kept[0])
        assert restored.charged_size_bytes == restored.full_size_bytes
        store.tags.delete(kept, {"keep": None})
        store.delete_snapshots(kept)
    assert store.stats().charged_size_bytes == 0


def test_volume_made_from_one_in_the_bin_goes_on(store: Store, clock: ManualClock) -> None:
    """Section 3.3: deleting the snapshot does not hurt a volume that is not all loaded."""
    rule(store)
    name = taken(store, NOISE, TEXT)
    volume = store.volumes.create(VolumeRequest(snapshot_id=name)).volume_id
    store.delete_snapshots([name])
    with store.volumes.open(volume) as file:
        assert file.pread(BLOCK_SIZE, 0) == NOISE
        file.pwrite(HEAD, 0)
    (incremental,) = store.create_snapshots([volume])
    (incremental,) = store.wait_snapshots([incremental.snapshot_id])
    assert incremental.parent_id == name
    clock.advance(days=7)
    store.recycle_bin.expire()

    with store.volumes.open(volume) as file:
        assert file.pread(BLOCK_SIZE, BLOCK_SIZE) == TEXT
    assert store.read_block(incremental.snapshot_id, 1) == TEXT
    assert_healthy(store)


def test_pending_snapshot_enters_when_it_is_completed(store_path: Path, clock: ManualClock) -> None:
    """Section 1.3: deleting takes effect only after it completes; then the rules are asked."""
    copies = HeldCopies(holding=True)
    seams = Seams(clock=clock, entropy=SeededEntropy(), before_copy=copies)
    with Store.create(store_path, seams) as store:
        rule(store)
        volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
        (pending,) = store.create_snapshots([volume])
        (told,) = store.delete_snapshots([pending.snapshot_id]).deleted
        assert (told.when_completed, told.recycle_bin_exit_us) == (True, None)
        assert binned(store) == []
        assert store.wait_snapshots([pending.snapshot_id], progress=ReleasedByWaiting(copies)) == []

        assert binned(store) == [pending.snapshot_id]
        assert_healthy(store)
        restored = store.recycle_bin.restore_snapshot(pending.snapshot_id)
        assert (restored.state, restored.state_message) == (SnapshotState.COMPLETED, "")


def test_copy_goes_on_from_one_in_the_bin(store: Store) -> None:
    """Section 6.1: the latest copy still exists there, so the next one is incremental on it."""
    there = store.as_account(region="eu-central-1")
    rule(there)
    disk = disk_of(NOISE, TEXT)
    first = there.copy_snapshot(store.create_snapshot(disk).snapshot_id, "us-east-1")
    there.delete_snapshots([first.snapshot_id])
    disk.put(0, HEAD)

    second = there.copy_snapshot(store.create_snapshot(disk).snapshot_id, "us-east-1")

    assert second.parent_id == first.snapshot_id
    assert second.charged_size_bytes == BLOCK_SIZE


def test_what_is_in_the_bin_counts_for_the_quota(store: Store) -> None:
    store.quotas = Quotas(snapshots_per_region=1)
    rule(store)
    volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
    store.delete_snapshots([taken(store, NOISE)])

    assert refused(lambda: store.create_snapshot(volume)) is ErrorCode.SNAPSHOT_LIMIT_EXCEEDED


# whoever deletes


def test_pruning_obeys(store: Store) -> None:
    rule(store)
    names = [taken(store, noise_block(number)) for number in range(3)]

    planned = store.prune(PruneOptions(keep_last=1), dry_run=True)
    report = store.prune(PruneOptions(keep_last=1))

    assert report.deletion.deleted == planned.deletion.deleted
    assert all(each.recycle_bin_exit_us for each in report.deletion.deleted)
    assert (binned(store), listed(store)) == (names[:2], names[2:])
    again = store.prune(PruneOptions(keep_last=1))
    assert (again.pruned, [each.snapshot.snapshot_id for each in again.kept]) == ((), names[2:])


POLICY = PolicyRequest(
    description="daily",
    target_tags=(("Backup", "yes"),),
    schedules=(
        Schedule(
            name="daily",
            create=CreateRule(interval_hours=24, time="00:00"),
            retain=RetainRule(count=1),
        ),
    ),
)


def test_lifecycle_obeys_and_leaves_what_was_restored_after_the_threshold(
    store: Store, clock: ManualClock
) -> None:
    """Section 7.6: a deletion into the bin ends the management of what is restored after it."""
    rule(store)
    store.volumes.create(VolumeRequest(size_gib=1, tags={"Backup": "yes"}))
    store.lifecycle.put(POLICY)
    made = []
    for _ in range(2):
        clock.advance(days=1)
        made.append(store.lifecycle.run().created[0].snapshot_id)
    assert (binned(store), listed(store)) == ([made[0]], [made[1]])

    restored = store.recycle_bin.restore_snapshot(str(made[0]))

    assert not [key for key in restored.tags if key.startswith("aws:")]
    assert store.lifecycle.run().deletion.deleted == ()
    assert listed(store) == made


def test_what_is_restored_before_the_threshold_stays_the_policys(
    store: Store, clock: ManualClock
) -> None:
    rule(store)
    store.volumes.create(VolumeRequest(size_gib=1, tags={"Backup": "yes"}))
    store.lifecycle.put(POLICY)
    clock.advance(days=1)
    (name,) = [each.snapshot_id for each in store.lifecycle.run().created]
    store.delete_snapshots([str(name)])

    restored = store.recycle_bin.restore_snapshot(str(name))

    assert restored.tags["aws:dlm:managed"] == "true"
    clock.advance(days=1)
    store.lifecycle.run()
    assert binned(store) == [name]


# images


@pytest.fixture
def image(store: Store) -> str:
    options = ImageOptions(tags={"app": "web"})
    return store.images.register("web", {"/dev/sda1": taken(store, NOISE)}, options).image_id


def test_image_goes_to_the_bin_and_comes_back(store: Store, clock: ManualClock, image: str) -> None:
    rule(store, IMAGES)
    before = store.images.get(image)

    gone = store.images.deregister(image)

    assert gone.recycle_bin_exit_us == clock.now_us() + 7 * DAY_US
    assert store.images.list() == ()
    assert refused(lambda: store.images.get(image)) is ErrorCode.INVALID_IMAGE_NOT_FOUND
    assert refused(lambda: store.images.deregister(image)) is ErrorCode.INVALID_IMAGE_NOT_FOUND
    (shown,) = store.recycle_bin.images().images
    assert (shown.image_id, shown.name) == (image, "web")
    assert shown.exit_time_us == gone.recycle_bin_exit_us
    tags = {tag.key: tag.value for tag in store.tags.list(TagQuery(resource_ids=[image]))}
    assert tags == {"app": "web", BIN_TAG: "true"}
    assert store.as_account(FRIEND).recycle_bin.images().images == ()
    assert store.recycle_bin.restore_image(image) == before == store.images.get(image)
    behind = before.devices[0].snapshot_id
    assert refused(lambda: store.delete_snapshots([behind])) is ErrorCode.INVALID_SNAPSHOT_IN_USE
    states = [each.detail["State"] for each in store.events() if "State" in each.detail]
    assert states == ["available", "deregistered", "available"]
    assert_healthy(store)


def test_image_in_the_bin_holds_its_snapshots_no_more(store: Store, image: str) -> None:
    """Section 7.5: to be restored it needs its snapshots back first."""
    rule(store, IMAGES)
    rule(store)
    (device,) = store.images.get(image).devices
    done = store.images.deregister(image, delete_associated_snapshots=True)
    assert [code.value for _, code in done.snapshots] == ["success"]
    assert binned(store) == [device.snapshot_id]
    assert_healthy(store)

    assert refused(lambda: store.recycle_bin.restore_image(image)) is GONE
    store.recycle_bin.restore_snapshot(device.snapshot_id)
    assert store.recycle_bin.restore_image(image).image_id == image
    assert_healthy(store)


def test_image_leaves_its_name_to_others(store: Store, image: str) -> None:
    rule(store, IMAGES)
    (device,) = store.images.get(image).devices
    store.images.deregister(image)
    devices = {"/dev/sda1": BlockDevice(device.snapshot_id)}
    other = store.images.register("web", devices).image_id

    taken_name = refused(lambda: store.recycle_bin.restore_image(image))
    assert taken_name is ErrorCode.INVALID_IMAGE_NAME_DUPLICATE
    store.recycle_bin.rules.delete(store.recycle_bin.rules.list().rules[0].rule_id)
    store.images.deregister(other)
    assert store.recycle_bin.restore_image(image).name == "web"


def test_image_expires(store: Store, clock: ManualClock, image: str) -> None:
    rule(store, IMAGES)
    store.images.deregister(image)
    clock.advance(days=7)

    assert store.recycle_bin.images().images == ()
    assert store.recycle_bin.expire() == (image,)
    assert refused(lambda: store.recycle_bin.restore_image(image)) is (
        ErrorCode.INVALID_IMAGE_NOT_FOUND
    )
    assert len(listed(store)) == 1
    assert_healthy(store)


def test_rules_for_images_look_at_their_tags(store: Store, image: str) -> None:
    rule(store, IMAGES, resource_tags=[("app", "db")])
    assert store.images.deregister(image).recycle_bin_exit_us is None
    assert store.recycle_bin.images().images == ()


# rules


def test_rule_is_made_listed_changed_and_deleted(store: Store) -> None:
    rules = store.recycle_bin.rules
    first = rule(store, description="all", tags={"owner": "ops"})
    second = rule(store, resource_tags=[("b", "2"), ("a", "1"), ("b", "2")], retention_days=1)
    third = rule(store, IMAGES)

    assert len(first.rule_id) == 11
    assert first.rule_id.isalnum()
    assert first.arn == f"arn:aws:rbin:us-east-1:123456789012:rule/{first.rule_id}"
    assert (first.description, first.tags, first.lock_state) == ("all", {"owner": "ops"}, None)
    assert second.resource_tags == (("a", "1"), ("b", "2"))
    assert rules.list().rules == (first, second, third)
    of_snapshots = RuleQuery(resource_type=RuleResourceType.EBS_SNAPSHOT)
    assert rules.list(of_snapshots).rules == (first, second)
    assert rules.list(RuleQuery(resource_tags=[("a", "1")])).rules == (second,)
    assert rules.list(RuleQuery(exclude_tags=[("a", "1")])).rules == ()
    page = rules.list(RuleQuery(max_results=2))
    assert page.rules == (first, second)
    assert rules.list(RuleQuery(next_token=page.next_token)).rules == (third,)
    changed = rules.update(second.rule_id, RuleUpdate(resource_tags=[("c", "3")]))
    assert changed == rules.get(second.rule_id) == replace(second, resource_tags=(("c", "3"),))
    rules.delete(second.rule_id)
    assert rules.list().rules == (first, third)
    not_found = (ErrorCode.POLICY_NOT_FOUND, "RULE_NOT_FOUND")
    assert reason(lambda: rules.get(second.rule_id)) == not_found
    friends = store.as_account(FRIEND).recycle_bin.rules
    assert friends.list().rules == ()
    assert reason(lambda: friends.get(first.rule_id)) == not_found
    assert reason(lambda: friends.delete(first.rule_id)) == not_found


INVALID = (ErrorCode.VALIDATION, "INVALID_PARAMETER_VALUE")
PAIRS = [(f"key{number}", "") for number in range(51)]


@pytest.mark.parametrize(
    "changes",
    [
        {"retention_days": 0},
        {"retention_days": 366},
        {"retention_days": True},
        {"resource_type": RuleResourceType.EC2_IMAGE, "retention_days": 366},
        {"resource_tags": PAIRS},
        {"exclude_tags": PAIRS[:6]},
        {"resource_tags": PAIRS[:1], "exclude_tags": PAIRS[:1]},
        {"resource_tags": [("", "x")]},
        {"resource_tags": [("k" * 128, "")]},
        {"resource_tags": [("k", "v" * 257)]},
        {"description": "x" * 256},
        {"description": "two\nlines"},
        {"tags": {"aws:x": "y"}},
        {"unlock_delay_days": 6},
        {"unlock_delay_days": 31},
        {"unlock_delay_days": 7, "resource_tags": PAIRS[:1]},
        {"unlock_delay_days": 7, "exclude_tags": PAIRS[:1]},
    ],
)
def test_bad_rules_are_refused(store: Store, changes: dict[str, Any]) -> None:
    assert reason(lambda: rule(store, **changes)) == INVALID
    assert store.recycle_bin.rules.list().rules == ()


def test_limits_of_rules(store: Store) -> None:
    assert rule(store, retention_days=365).retention_days == 365
    assert len(rule(store, resource_tags=PAIRS[:50]).resource_tags) == 50
    assert len(rule(store, exclude_tags=PAIRS[:5]).exclude_tags) == 5
    for _ in range(4):
        rule(store, IMAGES, resource_tags=PAIRS[:1])
    sixth = reason(lambda: rule(store, resource_tags=PAIRS[:1]))
    assert sixth == (ErrorCode.RULE_LIMIT_EXCEEDED, "SERVICE_QUOTA_EXCEEDED")
    for _ in range(250 - 7):
        rule(store)
    assert reason(lambda: rule(store)) == (
        ErrorCode.RULE_LIMIT_EXCEEDED,
        "SERVICE_QUOTA_EXCEEDED",
    )
    rule(store.as_account(FRIEND))


@pytest.mark.parametrize(
    ("changes", "update"),
    [
        ({}, RuleUpdate(resource_tags=[("a", "b")])),
        ({"resource_tags": [("a", "b")]}, RuleUpdate(resource_tags=[])),
        ({"resource_tags": [("a", "b")]}, RuleUpdate(exclude_tags=[("c", "d")])),
        ({}, RuleUpdate(retention_days=366)),
        ({}, RuleUpdate(description="x" * 256)),
    ],
)
def test_bad_updates_are_refused(store: Store, changes: dict[str, Any], update: RuleUpdate) -> None:
    made = rule(store, **changes)
    assert reason(lambda: store.recycle_bin.rules.update(made.rule_id, update)) == INVALID
    assert store.recycle_bin.rules.get(made.rule_id) == made


def test_pages_of_rules_are_refused_as_rbin_does(store: Store) -> None:
    rules = store.recycle_bin.rules
    assert reason(lambda: rules.list(RuleQuery(max_results=0))) == INVALID
    assert reason(lambda: rules.list(RuleQuery(max_results=1001))) == INVALID
    bad = reason(lambda: rules.list(RuleQuery(next_token="no token")))
    assert bad == (ErrorCode.VALIDATION, "INVALID_PAGE_TOKEN")
    assert refused(lambda: rules.get("too-short")) is ErrorCode.VALIDATION


def test_lock_of_a_rule(store: Store, clock: ManualClock) -> None:
    """Section 7.2: null, locked, pending_unlock, unlocked, and never null again."""
    rules, conflict = store.recycle_bin.rules, (ErrorCode.RULE_STATE, "INVALID_RULE_STATE")
    name = rule(store).rule_id

    def fixed() -> None:
        update = RuleUpdate(retention_days=1)
        assert reason(lambda: rules.update(name, update)) == conflict
        assert reason(lambda: rules.delete(name)) == conflict

    assert reason(lambda: rules.unlock(name)) == conflict
    locked = rules.lock(name, 7)
    assert (locked.lock_state, locked.unlock_delay_days) == (RuleLockState.LOCKED, 7)
    assert locked.lock_end_us is None
    fixed()
    assert reason(lambda: rules.lock(name, 8)) == conflict
    clock.advance(days=100)
    fixed()
    unlocked = rules.unlock(name)
    assert unlocked.lock_state is RuleLockState.PENDING_UNLOCK
    assert unlocked.lock_end_us == clock.now_us() + 7 * DAY_US
    fixed()
    assert reason(lambda: rules.unlock(name)) == conflict
    clock.advance(7 * 24 * 3600 - 1)
    fixed()
    assert days_kept(store, taken(store, NOISE)) == 7
    clock.advance(1)
    ended = rules.get(name)
    assert (ended.lock_state, ended.lock_end_us) == (RuleLockState.UNLOCKED, None)
    assert rules.update(name, RuleUpdate(retention_days=1)).lock_state is RuleLockState.UNLOCKED
    assert rules.lock(name, 30).lock_state is RuleLockState.LOCKED
    rules.unlock(name)
    assert rules.lock(name, 7).lock_state is RuleLockState.LOCKED  # while it was to be unlocked
    assert rules.list(RuleQuery(lock_state=RuleLockState.LOCKED)).rules[0].rule_id == name
    assert rules.list(RuleQuery(lock_state=RuleLockState.UNLOCKED)).rules == ()


def test_only_region_level_rules_without_exclusions_can_be_locked(store: Store) -> None:
    pairs = [("a", "b")]
    for made in (rule(store, resource_tags=pairs), rule(store, exclude_tags=pairs)):
        assert reason(lambda made=made: store.recycle_bin.rules.lock(made.rule_id, 7)) == INVALID  # type: ignore[misc]


def test_locks_of_rules_are_told(store: Store) -> None:
    made = rule(store, unlock_delay_days=14, description="keep")
    assert made.lock_state is RuleLockState.LOCKED
    store.recycle_bin.rules.unlock(made.rule_id)

    told = [(each.detail_type, dict(each.detail)) for each in store.events()]
    detail = {
        "detail-version": "1.0.0",
        "rule-id": made.rule_id,
        "rule-description": "keep",
        "unlock-delay-period": "14 days",
    }
    assert told == [
        ("Recycle Bin Rule Locked", {**detail, "api-name": "CreateRule"}),
        ("Recycle Bin Rule Unlock Scheduled", {**detail, "api-name": "UnlockRule"}),
    ]
    assert store.events()[0].resources == (made.arn,)


# what outlives the catalog


def everything(store: Store) -> dict[str, Any]:
    return {
        "rules": store.recycle_bin.rules.list(),
        "snapshots": store.list_snapshots(),
        "in the bin": store.recycle_bin.snapshots(),
        "images": store.images.list(),
        "images in the bin": store.recycle_bin.images(),
        "tags": store.tags.list(),
        "ledger": store.ledger(),
        "charged": store.stats().charged_size_bytes,
    }


def test_bin_outlives_the_catalog(
    store: Store, store_path: Path, seams: Seams, clock: ManualClock, image: str
) -> None:
    for request in (SNAPSHOTS, IMAGES):
        rule(store, request)
    store.recycle_bin.rules.delete(rule(store).rule_id)
    store.recycle_bin.rules.lock(rule(store, retention_days=1).rule_id, 9)
    names = [taken(store, NOISE, noise_block(number)) for number in range(5)]
    store.permissions.modify(names[1], PermissionChange(add=[FRIEND]))
    store.delete_snapshots(names[:3])
    store.tags.create([names[1]], {"a": "b"})
    store.recycle_bin.restore_snapshot(names[2])
    store.images.deregister(image)
    clock.advance(days=3)
    store.delete_snapshots([names[3]])
    before = everything(store)
    store.close()
    shutil.rmtree(store_path / "catalog")
    Store.rebuild(store_path, seams)

    with Store.open(store_path, seams) as again:
        assert everything(again) == before
        assert_healthy(again)
        clock.advance(days=4)
        assert sorted(again.recycle_bin.expire()) == sorted([names[0], names[1], image])
        after = everything(again)
        assert_healthy(again)
    shutil.rmtree(store_path / "catalog")
    Store.rebuild(store_path, seams)
    with Store.open(store_path, seams) as again:
        assert everything(again) == after
        assert_healthy(again)


def test_two_handles_expire_it_once(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who finds out that another was faster, or restored it, looks again and goes on."""
    rule(store)
    names = [taken(store, NOISE), taken(store, TEXT)]
    store.delete_snapshots(names)
    clock.advance(days=7)
    calls: list[int] = []

    def raced(*arguments: Any, **options: Any) -> object:
        if not calls:
            calls.append(1)
            store.recycle_bin.expire()
        return delete_snapshots(*arguments, **options)

    monkeypatch.setattr("ebsim.core.bin_expiry.delete_snapshots", raced)
    assert store.recycle_bin.expire() == ()
    assert len([each for each in store.ledger() if each.cause is ChargeCause.FREED]) == 2


def test_snapshot_type_says_that_it_is_recoverable(store: Store) -> None:
    rule(store)
    store.delete_snapshots([taken(store, NOISE)])
    with store._context.catalog.read() as reader:
        (record,) = list_snapshots(reader)
    shown: Snapshot = record.to_result()
    assert shown.state is SnapshotState.RECOVERABLE


# other features of a snapshot


def test_archived_snapshot_keeps_its_tier_in_the_bin(store: Store, clock: ManualClock) -> None:
    """Section 7.2: the archive rate, until the very end; what is below 90 days is charged then."""
    rule(store)
    name = taken(store, NOISE, TEXT)
    store.tiers.archive(name)
    store.delete_snapshots([name])
    assert binned(store) == [name]
    assert store.recycle_bin.restore_snapshot(name).storage_tier is StorageTier.ARCHIVE
    assert refused(lambda: store.read_block(name, 0)) is not GONE
    store.delete_snapshots([name])
    ends = store.recycle_bin.snapshots().snapshots[0].exit_time_us
    clock.advance(days=30)
    assert_healthy(store)

    ended = [each for each in store.snapshot_history(name) if each.time_us == ends]
    assert sum(each.blocks for each in ended if each.tier is StorageTier.ARCHIVE) < 0
    assert sum(each.blocks for each in store.snapshot_history(name)) == 0
    assert store.stats().charged_size_bytes == 0


def test_fast_restore_is_disabled_when_it_enters(store: Store) -> None:
    """Section 7.2: shortly after; and it is not enabled again when it comes back."""
    rule(store)
    name = taken(store, NOISE)
    store.fast_restores.enable([name], ["us-east-1a"])
    store.delete_snapshots([name])

    states = {each.state for each in store.fast_restores.describe().fast_restores}
    assert states <= {FastRestoreState.DISABLING, FastRestoreState.DISABLED}
    store.recycle_bin.restore_snapshot(name)
    after = {each.state for each in store.fast_restores.describe().fast_restores}
    assert after <= {FastRestoreState.DISABLING, FastRestoreState.DISABLED}
    assert_healthy(store)
