"""Sharing snapshots with other accounts, and blocking that (acceptance test 10)."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ebsim.config import SnapshotOptions
from ebsim.engine import Seams, Store
from ebsim.errors import ErrorCode
from ebsim.permissions import PermissionChange, PublicAccess, SnapshotPermissions
from ebsim.requests import BlockDevice, SnapshotQuery, VolumeRequest
from ebsim.results import Snapshot
from ebsim.testing.contents import NOISE, TEXT
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.refused import refused
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE

FRIEND, STRANGER = "111122223333", "444455556666"
FOR_FRIEND = PermissionChange(add=[FRIEND])
FOR_ALL = PermissionChange(add_all=True)


@pytest.fixture
def friend(store: Store) -> Store:
    return store.as_account(FRIEND)


@pytest.fixture
def stranger(store: Store) -> Store:
    return store.as_account(STRANGER)


@pytest.fixture
def snapshot(store: Store) -> Snapshot:
    return store.create_snapshot(disk_of(NOISE))


def seen_by(store: Store, **query: list[str]) -> list[str]:
    wanted = SnapshotQuery(**query)  # type: ignore[arg-type]
    return [each.snapshot_id for each in store.list_snapshots(wanted)]


def assert_usable(store: Store, snapshot: Snapshot, folder: Path) -> None:
    """Prove that an account can do with a snapshot all that a recipient may do."""
    name = snapshot.snapshot_id
    assert store.get_snapshot(name) == replace(snapshot, source=""), (
        "where it was read from is the owner's"
    )
    assert seen_by(store) == [name]
    assert store.read_block(name, 0) == NOISE
    store.restore_snapshot(name, folder / store.caller.account)
    volume = store.volumes.create(VolumeRequest(snapshot_id=name))
    with store.volumes.open(volume.volume_id) as file:
        assert file.pread(BLOCK_SIZE, 0) == NOISE
        file.pwrite(TEXT, 0)
    store.volumes.delete(volume.volume_id)
    assert store.read_block(name, 0) == NOISE


def assert_unusable(store: Store, snapshot: Snapshot) -> None:
    name = snapshot.snapshot_id
    assert seen_by(store) == []
    calls: list[Callable[[], object]] = [
        lambda: store.get_snapshot(name),
        lambda: store.read_block(name, 0),
        lambda: store.volumes.create(VolumeRequest(snapshot_id=name)),
    ]
    assert {refused(call) for call in calls} == {ErrorCode.INVALID_SNAPSHOT_NOT_FOUND}


def test_recipient_may_read_and_make_volumes(
    store: Store, friend: Store, stranger: Store, snapshot: Snapshot, tmp_path: Path
) -> None:
    store.permissions.modify(snapshot.snapshot_id, FOR_FRIEND)

    assert_usable(friend, snapshot, tmp_path)
    assert_unusable(stranger, snapshot)
    assert seen_by(stranger, snapshot_ids=[snapshot.snapshot_id]) == []
    assert_healthy(store)


def test_public_snapshot_is_for_everybody(
    store: Store, friend: Store, stranger: Store, snapshot: Snapshot, tmp_path: Path
) -> None:
    store.permissions.modify(snapshot.snapshot_id, FOR_ALL)

    for each in (friend, stranger):
        assert_usable(each, snapshot, tmp_path)
    assert_unusable(friend.as_account(region="eu-central-1"), snapshot)


def test_recipient_may_change_nothing(store: Store, friend: Store, snapshot: Snapshot) -> None:
    name = snapshot.snapshot_id
    store.permissions.modify(name, FOR_FRIEND)

    calls: list[Callable[[], object]] = [
        lambda: friend.delete_snapshots([name]),
        lambda: friend.snapshot_history(name),
        lambda: friend.permissions.describe(name),
        lambda: friend.permissions.modify(name, PermissionChange(add=[STRANGER])),
        lambda: friend.permissions.reset(name),
    ]
    assert {refused(call) for call in calls} == {ErrorCode.AUTH_FAILURE}
    assert store.permissions.describe(name).accounts == (FRIEND,)
    assert store.get_snapshot(name) == snapshot


def test_sharing_is_taken_back(store: Store, friend: Store, snapshot: Snapshot) -> None:
    name = snapshot.snapshot_id
    store.permissions.modify(name, FOR_FRIEND)
    store.permissions.modify(name, FOR_ALL)

    store.permissions.modify(name, PermissionChange(remove=[FRIEND]))
    assert friend.get_snapshot(name).snapshot_id == name, "it is still public"
    store.permissions.modify(name, PermissionChange(remove_all=True))
    assert_unusable(friend, snapshot)

    store.permissions.modify(name, PermissionChange(add=[FRIEND, STRANGER], add_all=True))
    store.permissions.reset(name)
    shown = SnapshotPermissions(snapshot_id=snapshot.snapshot_id, accounts=(), public=False)
    assert store.permissions.describe(name) == shown
    assert_unusable(friend, snapshot)


def test_what_a_recipient_made_outlives_the_sharing(
    store: Store, friend: Store, snapshot: Snapshot
) -> None:
    store.permissions.modify(snapshot.snapshot_id, FOR_FRIEND)
    volume = friend.volumes.create(VolumeRequest(snapshot_id=snapshot.snapshot_id))

    store.permissions.reset(snapshot.snapshot_id)
    store.delete_snapshots([snapshot.snapshot_id])

    with friend.volumes.open(volume.volume_id) as file:
        assert file.pread(BLOCK_SIZE, 0) == NOISE
    assert_healthy(store)


def test_snapshot_of_a_volume_made_from_a_shared_one_is_full(
    store: Store, friend: Store, snapshot: Snapshot
) -> None:
    """E5: the owner's blocks stay the owner's; the recipient's first snapshot is full."""
    store.permissions.modify(snapshot.snapshot_id, FOR_FRIEND)
    volume = friend.volumes.create(VolumeRequest(snapshot_id=snapshot.snapshot_id))
    with friend.volumes.open(volume.volume_id) as file:
        file.pwrite(TEXT, BLOCK_SIZE)

    begun = friend.create_snapshot(volume.volume_id)
    (taken,) = friend.wait_snapshots([begun.snapshot_id])

    assert taken.parent_id is None
    assert taken.charged_size_bytes == taken.full_size_bytes == 2 * BLOCK_SIZE
    assert store.get_snapshot(snapshot.snapshot_id).charged_size_bytes == BLOCK_SIZE
    assert friend.read_block(taken.snapshot_id, 0) == NOISE
    assert_unusable_between_lineages(friend, snapshot, taken)
    assert_healthy(store)


def assert_unusable_between_lineages(store: Store, first: Snapshot, second: Snapshot) -> None:
    code = refused(lambda: store.diff_snapshots(first.snapshot_id, second.snapshot_id))
    assert code is ErrorCode.UNRELATED_SNAPSHOTS


def test_only_the_owner_branches_off_a_snapshot(
    store: Store, friend: Store, snapshot: Snapshot
) -> None:
    store.permissions.modify(snapshot.snapshot_id, FOR_FRIEND)

    options = SnapshotOptions(parent=snapshot.snapshot_id)
    code = refused(lambda: friend.create_snapshot(disk_of(NOISE, name="branch"), options))

    assert code is ErrorCode.AUTH_FAILURE


@pytest.mark.parametrize(
    ("query", "owner", "recipient"),
    [
        ({"owner_ids": ["self"]}, True, False),
        ({"restorable_by": ["self"]}, True, True),
        ({"restorable_by": ["all"]}, False, False),
        ({"restorable_by": [FRIEND]}, True, False),
        ({"restorable_by": [STRANGER]}, False, False),
        ({"restorable_by": [STRANGER, FRIEND]}, True, False),
    ],
)
def test_views_of_shared_snapshots(
    store: Store,
    friend: Store,
    snapshot: Snapshot,
    query: dict[str, list[str]],
    owner: bool,
    recipient: bool,
) -> None:
    store.permissions.modify(snapshot.snapshot_id, FOR_FRIEND)

    assert bool(seen_by(store, **query)) == owner
    assert bool(seen_by(friend, **query)) == recipient


def test_public_snapshots_are_restorable_by_all(
    store: Store, stranger: Store, snapshot: Snapshot
) -> None:
    store.permissions.modify(snapshot.snapshot_id, FOR_ALL)

    assert seen_by(store, restorable_by=["all"]) == [snapshot.snapshot_id]
    assert seen_by(stranger, restorable_by=["all"]) == [snapshot.snapshot_id]
    assert seen_by(stranger, restorable_by=["self"]) == []
    code = refused(lambda: seen_by(store, restorable_by=["everybody"]))
    assert code is ErrorCode.INVALID_USER_ID_MALFORMED


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (PermissionChange(), ErrorCode.MISSING_PARAMETER),
        (PermissionChange(add=["self"]), ErrorCode.INVALID_USER_ID_MALFORMED),
        (PermissionChange(remove=["1"]), ErrorCode.INVALID_USER_ID_MALFORMED),
        (
            PermissionChange(add=[FRIEND], remove=[STRANGER]),
            ErrorCode.INVALID_PARAMETER_COMBINATION,
        ),
        (PermissionChange(add_all=True, remove_all=True), ErrorCode.INVALID_PARAMETER_COMBINATION),
        (
            PermissionChange(add=[f"{n:012}" for n in range(501)]),
            ErrorCode.INVALID_PARAMETER_VALUE,
        ),
    ],
)
def test_bad_changes_are_refused(
    store: Store, snapshot: Snapshot, change: PermissionChange, code: ErrorCode
) -> None:
    assert refused(lambda: store.permissions.modify(snapshot.snapshot_id, change)) is code
    assert store.permissions.describe(snapshot.snapshot_id).accounts == ()


def test_sharing_with_oneself_or_twice_changes_nothing(store: Store, snapshot: Snapshot) -> None:
    name = snapshot.snapshot_id
    store.permissions.modify(name, FOR_FRIEND)
    before = store.stats()
    events = store.events()

    store.permissions.modify(name, FOR_FRIEND)
    shown = store.permissions.modify(name, PermissionChange(add=[store.caller.account]))

    assert shown.accounts == (FRIEND,)
    assert (store.stats(), store.events()) == (before, events)


def test_recipient_is_told_and_public_sharing_is_not(
    store: Store, friend: Store, stranger: Store, snapshot: Snapshot
) -> None:
    name = snapshot.snapshot_id
    before = store.events()

    store.permissions.modify(name, PermissionChange(add=[FRIEND, STRANGER]))
    store.permissions.modify(name, FOR_ALL)

    for each in (friend, stranger):
        assert [event.detail["event"] for event in each.events()] == ["shareSnapshot"]
        assert [event.account for event in each.events()] == [each.caller.account]
    assert store.events() == before


@pytest.mark.parametrize("state", list(PublicAccess))
def test_block_public_access(
    store: Store, stranger: Store, snapshot: Snapshot, state: PublicAccess
) -> None:
    """Acceptance test 10: each state, with a share that was there and with a new one."""
    name = snapshot.snapshot_id
    other = store.create_snapshot(disk_of(TEXT, name="other")).snapshot_id
    assert store.permissions.public_access is PublicAccess.UNBLOCKED
    store.permissions.modify(name, FOR_ALL)

    store.permissions.public_access = state

    assert store.permissions.public_access is state
    assert stranger.permissions.public_access is PublicAccess.UNBLOCKED
    hidden = state is PublicAccess.BLOCK_ALL_SHARING
    assert seen_by(stranger) == ([] if hidden else [name])
    if hidden:
        assert_unusable(stranger, snapshot)
    assert store.permissions.describe(name).public, "what it is shared with stays as it is"
    if state is PublicAccess.UNBLOCKED:
        store.permissions.modify(other, FOR_ALL)
    else:
        code = refused(lambda: store.permissions.modify(other, FOR_ALL))
        assert code is ErrorCode.OPERATION_NOT_PERMITTED
    store.permissions.modify(other, PermissionChange(add=[STRANGER]))
    assert other in seen_by(stranger), "sharing with single accounts is not affected"
    store.permissions.public_access = PublicAccess.UNBLOCKED
    assert name in seen_by(stranger)
    region = store.as_account(region="eu-central-1")
    assert region.permissions.public_access is PublicAccess.UNBLOCKED


def test_sharing_outlives_the_catalog(store: Store, store_path: Path, seams: Seams) -> None:
    name = store.create_snapshot(disk_of(NOISE)).snapshot_id
    store.permissions.modify(name, FOR_FRIEND)
    store.permissions.modify(name, FOR_ALL)
    store.permissions.public_access = PublicAccess.BLOCK_ALL_SHARING
    shown = store.permissions.describe(name)
    store.close()
    Store.rebuild(store_path, seams)

    with Store.open(store_path, seams) as again:
        assert again.permissions.describe(name) == shown
        assert again.permissions.public_access is PublicAccess.BLOCK_ALL_SHARING
        assert seen_by(again.as_account(FRIEND)) == [name]
        assert seen_by(again.as_account(STRANGER)) == []
        assert_healthy(again)


def test_image_on_a_shared_snapshot_holds_it(
    store: Store, friend: Store, snapshot: Snapshot
) -> None:
    store.permissions.modify(snapshot.snapshot_id, FOR_FRIEND)
    device = {"/dev/sda": BlockDevice(snapshot_id=snapshot.snapshot_id)}

    image = friend.images.register("image", device)

    assert friend.images.get(image.image_id).owner == FRIEND
    assert refused(lambda: store.delete_snapshots([snapshot.snapshot_id])) is (
        ErrorCode.INVALID_SNAPSHOT_IN_USE
    )
