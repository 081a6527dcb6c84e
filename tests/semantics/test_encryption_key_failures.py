"""Keys that cannot be used: what is refused at once, what ends as `error`, what is unreadable.

Section 5.1, rule 6, and table 5.4 of the semantics: a plainly unusable key is refused with
CustomerKeyHasBeenRevoked; snapshots and copies end in `error` with a message that names the key.
"""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import ebsim
from ebsim.config import SnapshotOptions
from ebsim.core import copy_source
from ebsim.engine import Store
from ebsim.errors import ErrorCode, SnapshotFailedError
from ebsim.permissions import PermissionChange
from ebsim.requests import VolumeRequest
from ebsim.results import Snapshot, SnapshotState
from ebsim.testing.contents import HEAD, NOISE, TEXT, ZEROS
from ebsim.testing.invariants import assert_healthy, assert_holds_nothing
from ebsim.testing.refused import refused
from ebsim.testing.seams import ManualClock
from ebsim.testing.sources import MemorySource, ObservedSource, disk_of
from ebsim.units import BLOCK_SIZE

FRIEND = "111122223333"
THERE = "eu-central-1"
CONTENT = [NOISE, ZEROS, TEXT]
ALIAS = "alias/k"
NOT_ACCESSIBLE = "Given key ID is not accessible"

Break = Callable[[Store, ManualClock], None]


def disable(store: Store, _: ManualClock) -> None:
    store.keys.disable(ALIAS)


def schedule(store: Store, _: ManualClock) -> None:
    store.keys.schedule_deletion(ALIAS, 7)


def deleted(store: Store, clock: ManualClock) -> None:
    store.keys.schedule_deletion(ALIAS, 7)
    clock.advance(days=8)
    assert store.keys.destroy_deleted()


BREAKS: dict[str, tuple[Break, ErrorCode]] = {
    "disabled": (disable, ErrorCode.KEY_DISABLED),
    "pending deletion": (schedule, ErrorCode.KEY_INVALID_STATE),
    "deleted": (deleted, ErrorCode.KEY_NOT_FOUND),
}
"""How a key is broken, and what KMS answers then."""


@pytest.fixture
def disk() -> MemorySource:
    return disk_of(*CONTENT)


@pytest.fixture
def source(store: Store, disk: MemorySource) -> Snapshot:
    store.keys.create(alias=ALIAS)
    return store.create_snapshot(disk, SnapshotOptions(encrypted=True, kms_key_id=ALIAS))


def contents(store: Store, snapshot_id: str) -> list[bytes]:
    return [store.read_block(snapshot_id, index) for index in range(len(CONTENT))]


def assert_unreadable(store: Store, snapshot_id: str, target: Path, code: ErrorCode) -> None:
    for index in range(len(CONTENT)):
        assert refused(lambda at=index: store.read_block(snapshot_id, at)) is code  # type: ignore[misc]
    assert refused(lambda: store.restore_snapshot(snapshot_id, target)) is code
    assert not target.exists()


def failed(store: Store, call: Callable[[], object]) -> Snapshot:
    """Return the snapshot that a call begins, and that ends as `error`."""
    before = {each.snapshot_id for each in store.list_snapshots()}
    with pytest.raises(SnapshotFailedError) as caught:
        call()
    (ended,) = [each for each in store.list_snapshots() if each.snapshot_id not in before]
    assert caught.value.snapshot_id == ended.snapshot_id
    return ended


@pytest.mark.parametrize("how", BREAKS)
def test_request_that_names_an_unusable_key_is_refused(
    store: Store, clock: ManualClock, source: Snapshot, how: str
) -> None:
    key = source.kms_key_id
    BREAKS[how][0](store, clock)
    named = SnapshotOptions(encrypted=True, kms_key_id=key)

    for call in (
        lambda: store.volumes.create(VolumeRequest(size_gib=1, encrypted=True, kms_key_id=key)),
        lambda: store.volumes.create(VolumeRequest(snapshot_id=source.snapshot_id)),
        lambda: store.volumes.create(
            VolumeRequest(
                snapshot_id=source.snapshot_id, encrypted=True, kms_key_id="alias/aws/ebs"
            )
        ),
        lambda: store.create_snapshot(disk_of(NOISE, name="memory:new"), named),
        lambda: store.encryption.modify_default_kms_key_id(key),
    ):
        assert refused(call) is ErrorCode.CUSTOMER_KEY_REVOKED
    assert [each.snapshot_id for each in store.list_snapshots()] == [source.snapshot_id]
    assert store.volumes.list() == []


def test_key_that_is_none_or_elsewhere_is_refused(store: Store, source: Snapshot) -> None:
    afar = store.as_account(region=THERE)
    theirs = store.as_account(FRIEND).keys.create(alias="alias/theirs").arn
    names = [
        "alias/none",
        "12345678-1234-1234-1234-123456789012",
        source.kms_key_id.replace("us-east-1", THERE),
        afar.keys.create(alias="alias/afar").arn,
        theirs,
    ]
    for name in names:
        request = VolumeRequest(size_gib=1, encrypted=True, kms_key_id=name)
        assert refused(lambda asked=request: store.volumes.create(asked)) is (  # type: ignore[misc]
            ErrorCode.CUSTOMER_KEY_REVOKED
        )
    assert store.volumes.list() == []


@pytest.mark.parametrize("how", BREAKS)
def test_everything_under_a_broken_key_is_unreadable_with_the_next_block(
    store: Store, clock: ManualClock, source: Snapshot, fast_path: Path, how: str
) -> None:
    assert contents(store, source.snapshot_id) == CONTENT
    key = source.kms_key_id

    BREAKS[how][0](store, clock)

    target = fast_path / "target"
    assert_unreadable(store, source.snapshot_id, target, BREAKS[how][1])
    if how == "deleted":
        assert refused(lambda: store.keys.enable(key)) is ErrorCode.KEY_NOT_FOUND
        return
    if how == "pending deletion":
        store.keys.cancel_deletion(key)
        assert_unreadable(store, source.snapshot_id, target, ErrorCode.KEY_DISABLED)
    store.keys.enable(key)
    assert contents(store, source.snapshot_id) == CONTENT
    store.restore_snapshot(source.snapshot_id, target)
    assert target.read_bytes() == b"".join(CONTENT)
    assert_healthy(store)


@pytest.mark.parametrize("how", BREAKS)
def test_snapshot_and_copy_under_a_broken_key_end_as_error(
    store: Store, clock: ManualClock, disk: MemorySource, source: Snapshot, how: str
) -> None:
    BREAKS[how][0](store, clock)
    afar = store.as_account(region=THERE)
    disk.put(0, HEAD)

    ended = [
        (store, failed(store, lambda: store.create_snapshot(disk))),
        (store, failed(store, lambda: store.copy_snapshot(source.snapshot_id, None))),
        (afar, failed(afar, lambda: afar.copy_snapshot(source.snapshot_id, "us-east-1"))),
    ]

    for at, snapshot in ended:
        assert snapshot.state is SnapshotState.ERROR
        assert snapshot.state_message.startswith(NOT_ACCESSIBLE)
        assert_holds_nothing(snapshot)
        at.delete_snapshots([snapshot.snapshot_id])
    assert store.stats().blocks == 2
    assert store.check(data=True).healthy


def test_copy_to_a_key_that_cannot_be_used_ends_as_error(store: Store) -> None:
    source = store.create_snapshot(disk_of(*CONTENT))
    afar = store.as_account(region=THERE)
    elsewhere = store.keys.create(alias=ALIAS).arn
    afar.keys.create(alias=ALIAS)
    afar.keys.disable(ALIAS)

    for key in (ALIAS, "alias/none", elsewhere):
        options = SnapshotOptions(encrypted=True, kms_key_id=key)
        copy = partial(afar.copy_snapshot, source.snapshot_id, "us-east-1", options)
        ended = failed(afar, copy)
        assert ended.state is SnapshotState.ERROR
        assert ended.state_message.startswith(NOT_ACCESSIBLE)
        assert ended.encrypted, "it was to be, and is not shown as less"
        assert ended.data_encryption_key_id == ""
        if key != ALIAS:
            assert ended.kms_key_id.endswith(key)
        else:
            assert ended.kms_key_id == afar.keys.get(ALIAS).arn


def test_copy_that_failed_leaves_the_next_one_incremental(store: Store) -> None:
    """Table 6.1 counts copies that there are; one that failed is none."""
    source = store.create_snapshot(disk_of(*CONTENT))
    afar = store.as_account(region=THERE)
    key = afar.keys.create(alias=ALIAS).arn
    options = SnapshotOptions(encrypted=True, kms_key_id=key)
    first = afar.copy_snapshot(source.snapshot_id, "us-east-1", options)
    afar.keys.disable(key)
    failed(afar, lambda: afar.copy_snapshot(source.snapshot_id, "us-east-1", options))
    afar.keys.enable(key)

    again = afar.copy_snapshot(source.snapshot_id, "us-east-1", options)

    assert again.parent_id == first.snapshot_id
    assert again.incremental_size_bytes == 0
    assert again.data_encryption_key_id == first.data_encryption_key_id


def test_event_of_a_failed_copy_says_why(store: Store, source: Snapshot) -> None:
    store.keys.disable(ALIAS)
    before = len(store.events())

    failed(store, lambda: store.copy_snapshot(source.snapshot_id, None))

    (event,) = store.events()[before:]
    assert (event.detail["event"], event.detail["result"]) == ("copySnapshot", "failed")
    assert NOT_ACCESSIBLE in event.detail["cause"]


def test_copy_whose_key_is_disabled_while_it_reads_ends_as_error(
    store: Store, source: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very next block is not read any more: not even one that is copied meanwhile."""
    read = copy_source.SnapshotSource.read_into
    seen: list[int] = []

    def disable_at_the_second(
        self: copy_source.SnapshotSource, offset: int, buffer: memoryview
    ) -> None:
        seen.append(offset)
        if len(seen) == 2:
            store.keys.disable(ALIAS)
        read(self, offset, buffer)

    monkeypatch.setattr(copy_source.SnapshotSource, "read_into", disable_at_the_second)
    ended = failed(store, lambda: store.copy_snapshot(source.snapshot_id, None))

    assert ended.state_message.startswith(NOT_ACCESSIBLE)
    assert_holds_nothing(ended)


def test_restore_whose_key_is_disabled_ends_and_leaves_nothing(
    store: Store, source: Snapshot, fast_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = disk_of(*[NOISE, TEXT, HEAD] * 8, name="memory:long")
    snapshot = store.create_snapshot(
        long, SnapshotOptions(encrypted=True, kms_key_id=source.kms_key_id)
    )
    from ebsim.core.read import BlockLoader

    load = BlockLoader.load
    count = 0

    def disable_after_three(self: BlockLoader, place: object) -> memoryview:
        nonlocal count
        count += 1
        if count == 3:
            store.keys.disable(ALIAS)
        return load(self, place)  # type: ignore[arg-type]

    monkeypatch.setattr(BlockLoader, "load", disable_after_three)
    for choices in ({}, {"zero_damaged": True}):
        store.keys.enable(ALIAS)
        count = 0
        code = refused(
            lambda more=choices: store.restore_snapshot(  # type: ignore[misc]
                snapshot.snapshot_id, fast_path / "out", **more
            )
        )
        assert code is ErrorCode.KEY_DISABLED, "an unusable key is no damage"
        assert sorted(each.name for each in fast_path.iterdir()) == ["store"]


def test_another_process_sees_a_disabled_key_at_once(
    store: Store, store_path: Path, source: Snapshot
) -> None:
    """Section 5.1, rule 6: one process has the store open and reads, another disables the key."""
    program = """
import sys
import ebsim
from ebsim.errors import EbsimError
with ebsim.Store.open(sys.argv[1]) as store:
    for _ in sys.stdin:
        try:
            store.read_block(sys.argv[2], 0)
            print("read", flush=True)
        except EbsimError as error:
            print(error.code.value, flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(store_path), source.snapshot_id],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(ebsim.__file__).parent.parent,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None

        def asked() -> str:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write("\n")
            child.stdin.flush()
            return child.stdout.readline().strip()

        found = [asked()]
        store.keys.disable(ALIAS)
        found.append(asked())
        store.keys.enable(ALIAS)
        found.append(asked())
        child.stdin.close()
    assert found == ["read", "DisabledException", "read"]


def test_key_that_goes_while_its_snapshot_is_made_lets_that_end(
    store: Store, disk: MemorySource, source: Snapshot
) -> None:
    """The key was asked for when it began; what comes of it is whole, and unreadable."""
    disk.put(0, HEAD)
    observed = ObservedSource(disk, lambda offset, _: _disable_at(store, offset))

    snapshot = store.create_snapshot(observed)

    assert snapshot.state is SnapshotState.COMPLETED
    assert refused(lambda: store.read_block(snapshot.snapshot_id, 0)) is ErrorCode.KEY_DISABLED
    store.keys.enable(ALIAS)
    assert contents(store, snapshot.snapshot_id) == [HEAD, ZEROS, TEXT]
    assert_healthy(store)


def _disable_at(store: Store, offset: int) -> None:
    if offset == BLOCK_SIZE:
        store.keys.disable(ALIAS)


def test_key_of_another_account_that_is_not_granted_any_more(store: Store) -> None:
    """A snapshot under a friend's key is unreadable for its own owner without the grant."""
    friend = store.as_account(FRIEND)
    key = friend.keys.create(alias="alias/theirs").arn
    grant = friend.keys.create_grant(key, store.caller.account)
    disk = disk_of(*CONTENT)
    snapshot = store.create_snapshot(disk, SnapshotOptions(encrypted=True, kms_key_id=key))
    assert contents(store, snapshot.snapshot_id) == CONTENT

    friend.keys.retire_grant(key, grant.grant_id)

    assert refused(lambda: store.read_block(snapshot.snapshot_id, 0)) is ErrorCode.ACCESS_DENIED
    assert refused(lambda: friend.read_block(snapshot.snapshot_id, 0)) is (
        ErrorCode.INVALID_SNAPSHOT_NOT_FOUND
    ), "who owns the key owns no snapshot"
    ended = failed(store, lambda: store.create_snapshot(disk))
    assert ended.state_message.startswith(NOT_ACCESSIBLE)
    friend.keys.create_grant(key, store.caller.account)
    assert contents(store, snapshot.snapshot_id) == CONTENT


def test_copy_by_a_recipient_without_the_grant_ends_as_error(
    store: Store, source: Snapshot
) -> None:
    friend = store.as_account(FRIEND)
    store.permissions.modify(source.snapshot_id, PermissionChange(add=[FRIEND]))

    ended = failed(friend, lambda: friend.copy_snapshot(source.snapshot_id, None))

    assert ended.state_message.startswith(NOT_ACCESSIBLE)
    assert_holds_nothing(ended)
    store.keys.create_grant(source.kms_key_id, FRIEND)
    copy = friend.copy_snapshot(source.snapshot_id, None)
    assert contents(friend, copy.snapshot_id) == CONTENT


def test_what_needs_no_key_goes_on_without_it(store: Store, source: Snapshot) -> None:
    """The owner sees, tags, shares, compares, checks and deletes what nobody can read."""
    store.keys.disable(ALIAS)

    store.permissions.modify(source.snapshot_id, PermissionChange(add=[FRIEND]))
    same = store.list_snapshots()[0]
    report = store.check(data=True)
    store.delete_snapshots([source.snapshot_id])

    assert (same.snapshot_id, same.encrypted) == (source.snapshot_id, True)
    assert report.healthy
    assert report.coverage is not None
    assert report.coverage.sealed_blocks == 2
    assert (store.stats().blocks, store.stats().charged_size_bytes) == (0, 0)


def test_volume_is_loaded_by_the_right_of_its_owner(store: Store, source: Snapshot) -> None:
    """Table 5.4: the recipient needs the key's grant for each byte; what is loaded, is its own."""
    friend = store.as_account(FRIEND)
    store.permissions.modify(source.snapshot_id, PermissionChange(add=[FRIEND]))
    grant = store.keys.create_grant(source.kms_key_id, FRIEND)
    volume = friend.volumes.create(VolumeRequest(snapshot_id=source.snapshot_id)).volume_id
    with friend.volumes.open(volume) as file:
        assert file.pread(BLOCK_SIZE, 0) == NOISE
        store.keys.retire_grant(source.kms_key_id, grant.grant_id)

        assert refused(lambda: file.pread(1, 2 * BLOCK_SIZE)) is ErrorCode.ACCESS_DENIED
        assert file.pread(BLOCK_SIZE, 0) == NOISE
        (ended,) = friend.wait_snapshots([friend.create_snapshot(volume).snapshot_id])
        assert ended.state_message.startswith(NOT_ACCESSIBLE), "it would hold all of the volume"
        store.keys.create_grant(source.kms_key_id, FRIEND)
        assert file.pread(BLOCK_SIZE, 2 * BLOCK_SIZE) == TEXT
    assert_healthy(store)


def test_shared_data_key_does_not_depend_on_who_made_it(store: Store) -> None:
    """A copy under the same key has its source's data key, and needs no right of who made that."""
    friend, other = store.as_account(FRIEND), store.as_account("444455556666")
    key = store.keys.create(alias=ALIAS).arn
    grants = [store.keys.create_grant(key, each) for each in (FRIEND, "444455556666")]
    named = SnapshotOptions(encrypted=True, kms_key_id=key)
    first = friend.create_snapshot(disk_of(*CONTENT), named)
    friend.permissions.modify(first.snapshot_id, PermissionChange(add=["444455556666"]))
    copy = other.copy_snapshot(first.snapshot_id, None, named)
    assert copy.data_encryption_key_id == first.data_encryption_key_id
    request = VolumeRequest(snapshot_id=copy.snapshot_id)
    volume = other.volumes.create(request).volume_id

    store.keys.retire_grant(key, grants[0].grant_id)

    assert refused(lambda: friend.read_block(first.snapshot_id, 0)) is ErrorCode.ACCESS_DENIED
    with other.volumes.open(volume) as file:
        assert file.pread(BLOCK_SIZE, 0) == NOISE
        file.pwrite(HEAD, BLOCK_SIZE)
    (made,) = other.wait_snapshots([other.create_snapshot(volume).snapshot_id])
    assert contents(other, made.snapshot_id) == [NOISE, HEAD, TEXT]
    assert_healthy(store)


def test_sharing_needs_no_right_to_the_key(store: Store) -> None:
    """Table 5.4 refuses only the AWS managed key: whoever cannot use another one reads nothing."""
    friend = store.as_account(FRIEND)
    key = friend.keys.create(alias="alias/theirs").arn
    grant = friend.keys.create_grant(key, store.caller.account)
    named = SnapshotOptions(encrypted=True, kms_key_id=key)
    snapshot = store.create_snapshot(disk_of(*CONTENT), named)
    friend.keys.retire_grant(key, grant.grant_id)

    store.permissions.modify(snapshot.snapshot_id, PermissionChange(add=[FRIEND]))

    assert contents(friend, snapshot.snapshot_id) == CONTENT
    assert refused(lambda: store.read_block(snapshot.snapshot_id, 0)) is ErrorCode.ACCESS_DENIED
