"""Locks on snapshots: the state machine of acceptance test 11, on a clock that is moved by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from ebsim.engine import Seams, Store
from ebsim.errors import ErrorCode, ForbiddenError, SnapshotFailedError, SourceError
from ebsim.locking import LockMode, LockQuery, LockRequest, LockState, SnapshotLock
from ebsim.permissions import PermissionChange
from ebsim.requests import BlockDevice, PruneOptions, VolumeRequest
from ebsim.testing.contents import NOISE, TEXT
from ebsim.testing.held_copies import HeldCopies
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.refused import refused
from ebsim.testing.seams import ManualClock
from ebsim.testing.sources import ObservedSource, disk_of

HOUR_US = 3600 * 1_000_000
DAY_US = 24 * HOUR_US
GOVERNANCE = LockRequest(mode=LockMode.GOVERNANCE, duration_days=10)
COMPLIANCE = LockRequest(mode=LockMode.COMPLIANCE, duration_days=10)
COOLING = replace(COMPLIANCE, cool_off_hours=5)


@pytest.fixture
def name(store: Store) -> str:
    return store.create_snapshot(disk_of(NOISE)).snapshot_id


def pass_time(clock: ManualClock, us: int) -> None:
    clock.advance(us / 1_000_000)


def state_of(store: Store, name: str) -> LockState | None:
    locks = store.locks.list(LockQuery(snapshot_ids=[name]))
    return locks[0].state if locks else None


def may_delete(store: Store, name: str) -> bool:
    try:
        store.delete_snapshots([name], dry_run=True)
    except ForbiddenError:
        code = refused(lambda: store.delete_snapshots([name]))
        return code is not ErrorCode.OPERATION_NOT_PERMITTED
    return True


def may_unlock(store: Store, name: str) -> bool:
    """Try to take the lock off."""
    try:
        store.locks.unlock(name)
    except ForbiddenError:
        return False
    return True


@pytest.mark.parametrize(
    ("request_", "passed_us", "state", "unlock", "shorten", "to_governance"),
    [
        (GOVERNANCE, 0, LockState.GOVERNANCE, True, True, True),
        (COOLING, 0, LockState.COMPLIANCE_COOLOFF, True, True, True),
        (COOLING, 5 * HOUR_US - 1_000_000, LockState.COMPLIANCE_COOLOFF, True, True, True),
        (COOLING, 5 * HOUR_US, LockState.COMPLIANCE, False, False, False),
        (COMPLIANCE, 0, LockState.COMPLIANCE, False, False, False),
    ],
)
def test_what_each_state_allows(
    store: Store,
    clock: ManualClock,
    name: str,
    request_: LockRequest,
    passed_us: int,
    state: LockState,
    unlock: bool,
    shorten: bool,
    to_governance: bool,
) -> None:
    """Section 7.3: delete, unlock, shorten, extend, change mode."""

    def locked() -> None:
        assert state_of(store, name) is state
        assert not may_delete(store, name)

    store.locks.lock(name, request_)
    pass_time(clock, passed_us)
    locked()
    shorter = replace(request_, duration_days=8, cool_off_hours=None)
    longer = replace(request_, duration_days=20, cool_off_hours=None)
    governance = LockRequest(mode=LockMode.GOVERNANCE, duration_days=20)
    if not shorten:
        assert refused(lambda: store.locks.lock(name, shorter)) is (
            ErrorCode.OPERATION_NOT_PERMITTED
        )
        locked()
    if not to_governance:
        assert refused(lambda: store.locks.lock(name, governance)) is (
            ErrorCode.OPERATION_NOT_PERMITTED
        )
        locked()
    if unlock:
        assert may_unlock(store, name)
        assert state_of(store, name) is None
        assert may_delete(store, name)
        store.locks.lock(name, shorter)
        return
    assert not may_unlock(store, name)
    shown = store.locks.lock(name, longer)
    assert shown.duration_days == 20
    assert not may_delete(store, name)


@pytest.mark.parametrize("wanted", [GOVERNANCE, COMPLIANCE, COOLING])
def test_lock_expires_and_the_snapshot_can_go(
    store: Store, clock: ManualClock, name: str, wanted: LockRequest
) -> None:
    shown = store.locks.lock(name, wanted)
    assert shown.expires_us == clock.now_us() + 10 * DAY_US

    pass_time(clock, 10 * DAY_US - 1_000_000)
    assert not may_delete(store, name)
    pass_time(clock, 1_000_000)

    assert state_of(store, name) is LockState.EXPIRED
    assert refused(lambda: store.locks.unlock(name)) is ErrorCode.INCORRECT_STATE
    store.delete_snapshots([name])
    assert store.locks.list() == []


def test_lock_until_a_time(store: Store, clock: ManualClock, name: str) -> None:
    until = clock.now_us() + 3 * DAY_US
    wanted = LockRequest(mode=LockMode.COMPLIANCE, expiration_us=until)

    shown = store.locks.lock(name, wanted)

    assert (shown.expires_us, shown.duration_days) == (until, 3)
    later = LockRequest(mode=LockMode.COMPLIANCE, expiration_us=until + DAY_US)
    assert store.locks.lock(name, later).expires_us == until + DAY_US
    assert refused(lambda: store.locks.lock(name, wanted)) is ErrorCode.OPERATION_NOT_PERMITTED


def test_expired_lock_can_be_put_on_anew(store: Store, clock: ManualClock, name: str) -> None:
    store.locks.lock(name, COMPLIANCE)
    pass_time(clock, 11 * DAY_US)

    store.locks.lock(name, GOVERNANCE)

    assert state_of(store, name) is LockState.GOVERNANCE


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (LockRequest(mode=LockMode.GOVERNANCE), ErrorCode.INVALID_PARAMETER_COMBINATION),
        (
            replace(GOVERNANCE, expiration_us=9 * 10**15),
            ErrorCode.INVALID_PARAMETER_COMBINATION,
        ),
        (replace(GOVERNANCE, duration_days=0), ErrorCode.INVALID_PARAMETER_VALUE),
        (replace(GOVERNANCE, duration_days=36_501), ErrorCode.INVALID_PARAMETER_VALUE),
        (replace(GOVERNANCE, cool_off_hours=1), ErrorCode.INVALID_PARAMETER_COMBINATION),
        (replace(COMPLIANCE, cool_off_hours=0), ErrorCode.INVALID_PARAMETER_VALUE),
        (replace(COMPLIANCE, cool_off_hours=73), ErrorCode.INVALID_PARAMETER_VALUE),
        (
            LockRequest(mode=LockMode.GOVERNANCE, expiration_us=1),
            ErrorCode.INVALID_PARAMETER_VALUE,
        ),
    ],
)
def test_bad_locks_are_refused(
    store: Store, name: str, wanted: LockRequest, code: ErrorCode
) -> None:
    assert refused(lambda: store.locks.lock(name, wanted)) is code
    assert store.locks.list() == []


def test_compliance_gets_no_second_cooling_off(store: Store, clock: ManualClock, name: str) -> None:
    store.locks.lock(name, COOLING)
    pass_time(clock, 6 * HOUR_US)
    again = replace(COOLING, duration_days=30)

    assert refused(lambda: store.locks.lock(name, again)) is ErrorCode.OPERATION_NOT_PERMITTED


def test_unlocked_snapshot_has_nothing_to_take_off(store: Store, name: str) -> None:
    assert refused(lambda: store.locks.unlock(name)) is ErrorCode.INCORRECT_STATE


@pytest.fixture
def copies() -> HeldCopies:
    return HeldCopies(holding=True)


def test_lock_on_a_pending_snapshot_begins_with_its_completion(
    store_path: Path, seams: Seams, clock: ManualClock, copies: HeldCopies
) -> None:
    with Store.create(store_path, replace(seams, before_copy=copies)) as store:
        volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
        with store.volumes.open(volume) as file:
            file.pwrite(TEXT, 0)
        name = store.create_snapshot(volume).snapshot_id

        shown = store.locks.lock(name, GOVERNANCE)
        assert shown.expires_us is None
        assert not may_delete(store, name)
        pass_time(clock, 20 * DAY_US)
        assert state_of(store, name) is LockState.GOVERNANCE
        copies.release_all()
        store.wait_snapshots([name])

        (lock,) = store.locks.list()
        assert lock.duration_start_us == store.get_snapshot(name).completion_time_us
        assert lock.expires_us == lock.duration_start_us + 10 * DAY_US
        assert not may_delete(store, name)


def test_snapshot_that_is_to_go_cannot_be_locked(
    store_path: Path, seams: Seams, copies: HeldCopies
) -> None:
    with Store.create(store_path, replace(seams, before_copy=copies)) as store:
        volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
        name = store.create_snapshot(volume).snapshot_id
        store.delete_snapshots([name])

        assert refused(lambda: store.locks.lock(name, GOVERNANCE)) is ErrorCode.INCORRECT_STATE
        copies.release_all()


def test_lock_of_a_snapshot_that_fails_is_gone(store: Store) -> None:
    def fail(_offset: int, _length: int) -> None:
        (pending,) = store.list_snapshots()
        store.locks.lock(pending.snapshot_id, COMPLIANCE)
        raise SourceError("it cannot be read")

    with pytest.raises(SnapshotFailedError) as caught:
        store.create_snapshot(ObservedSource(disk_of(NOISE), fail))

    failed = str(caught.value.snapshot_id)
    assert state_of(store, failed) is None
    assert refused(lambda: store.locks.lock(failed, GOVERNANCE)) is ErrorCode.INCORRECT_STATE
    store.delete_snapshots([failed])


def test_pruning_leaves_locked_snapshots(store: Store, clock: ManualClock) -> None:
    disk = disk_of(NOISE)
    names = []
    for _ in range(3):
        names.append(store.create_snapshot(disk).snapshot_id)
        pass_time(clock, HOUR_US)
    store.locks.lock(names[0], GOVERNANCE)

    report = store.prune(PruneOptions(keep_last=1))

    assert [each.snapshot_id for each in report.pruned] == [names[1]]
    reasons = {each.snapshot.snapshot_id: each.reasons for each in report.kept}
    assert reasons[names[0]][0].startswith("locked until ")
    assert_healthy(store)


def test_locked_snapshot_of_a_set_keeps_the_others_of_the_request(store: Store, name: str) -> None:
    other = store.create_snapshot(disk_of(TEXT, name="other")).snapshot_id
    store.locks.lock(name, GOVERNANCE)

    assert refused(lambda: store.delete_snapshots([other, name])) is (
        ErrorCode.OPERATION_NOT_PERMITTED
    )
    assert len(store.list_snapshots()) == 2


def test_image_leaves_its_locked_snapshot(store: Store, name: str) -> None:
    image = store.images.register("image", {"/dev/sda": BlockDevice(snapshot_id=name)})
    store.locks.lock(name, GOVERNANCE)

    store.images.deregister(image.image_id, delete_associated_snapshots=True)

    assert [each.snapshot_id for each in store.list_snapshots()] == [name]


def test_only_the_owner_locks(store: Store, name: str) -> None:
    other = store.as_account("111122223333")
    store.permissions.modify(name, PermissionChange(add=["111122223333"]))

    assert refused(lambda: other.locks.lock(name, GOVERNANCE)) is ErrorCode.AUTH_FAILURE
    store.locks.lock(name, GOVERNANCE)
    assert refused(lambda: other.locks.unlock(name)) is ErrorCode.AUTH_FAILURE
    assert other.locks.list() == []


def test_locks_are_found_by_state_and_snapshot(store: Store, clock: ManualClock, name: str) -> None:
    second = store.create_snapshot(disk_of(TEXT, name="other")).snapshot_id
    store.locks.lock(name, GOVERNANCE)
    store.locks.lock(second, COOLING)

    def found(query: LockQuery) -> list[str]:
        return [each.snapshot_id for each in store.locks.list(query)]

    assert found(LockQuery()) == [name, second]
    assert found(LockQuery(states=[LockState.COMPLIANCE_COOLOFF])) == [second]
    assert found(LockQuery(snapshot_ids=[name])) == [name]
    pass_time(clock, 6 * HOUR_US)
    assert found(LockQuery(states=[LockState.COMPLIANCE_COOLOFF])) == []
    assert found(LockQuery(states=[LockState.COMPLIANCE, LockState.GOVERNANCE])) == [name, second]


def test_locks_outlive_the_catalog(store: Store, store_path: Path, seams: Seams, name: str) -> None:
    shown: SnapshotLock = store.locks.lock(name, COMPLIANCE)
    store.close()
    Store.rebuild(store_path, seams)

    with Store.open(store_path, seams) as again:
        assert again.locks.list() == [shown]
        assert not may_delete(again, name)
        assert_healthy(again)
