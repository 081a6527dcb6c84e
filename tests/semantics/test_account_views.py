"""What belongs to each account alone: its ledger, its events, and its tags on shared snapshots."""

from pathlib import Path

import pytest

from ebsim.config import SnapshotOptions
from ebsim.engine import Seams, Store
from ebsim.errors import ErrorCode
from ebsim.permissions import PermissionChange
from ebsim.requests import Filter, SnapshotQuery, TagQuery, VolumeRequest
from ebsim.results import Event
from ebsim.testing.contents import NOISE, TEXT
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.refused import refused
from ebsim.testing.sources import disk_of

FRIEND, STRANGER = "111122223333", "444455556666"


@pytest.fixture
def friend(store: Store) -> Store:
    return store.as_account(FRIEND)


@pytest.fixture
def stranger(store: Store) -> Store:
    return store.as_account(STRANGER)


@pytest.fixture
def shared(store: Store) -> str:
    """A snapshot with tags, shared with the friend."""
    tags = {"Name": "owner", "secret": "plan"}
    name = store.create_snapshot(disk_of(NOISE), SnapshotOptions(tags=tags)).snapshot_id
    store.permissions.modify(name, PermissionChange(add=[FRIEND]))
    return name


# The ledger


def test_ledger_is_of_the_account_and_region(store: Store, friend: Store) -> None:
    mine = store.create_snapshot(disk_of(NOISE)).snapshot_id
    theirs = friend.create_snapshot(disk_of(TEXT)).snapshot_id
    there = store.as_account(region="eu-central-1")
    far = there.create_snapshot(disk_of(TEXT)).snapshot_id

    for each, name in ((store, mine), (friend, theirs), (there, far)):
        assert {entry.snapshot_id for entry in each.ledger()} == {name}
        each.delete_snapshots([name])
        assert {entry.snapshot_id for entry in each.ledger()} == {name}
        assert sum(entry.blocks for entry in each.ledger()) == 0
        assert each.snapshot_history(name) == each.ledger()
    assert refused(lambda: friend.snapshot_history(mine)) is ErrorCode.INVALID_SNAPSHOT_NOT_FOUND
    assert refused(lambda: store.snapshot_history(far)) is ErrorCode.INVALID_SNAPSHOT_NOT_FOUND


def test_moved_charges_stay_with_their_account(store: Store, friend: Store) -> None:
    for each in (store, friend):
        disk = disk_of(NOISE, TEXT)
        first = each.create_snapshot(disk).snapshot_id
        disk.write(0, TEXT)
        each.create_snapshot(disk)
        each.delete_snapshots([first])

    for each in (store, friend):
        charged = sum(entry.blocks for entry in each.ledger())
        assert charged == 2
        assert {entry.owner for entry in each.ledger()} == {each.caller.account}


def test_ledgers_outlive_the_catalog(
    store: Store, friend: Store, store_path: Path, seams: Seams
) -> None:
    for each in (store, friend):
        disk = disk_of(NOISE, TEXT)
        first = each.create_snapshot(disk).snapshot_id
        disk.write(0, TEXT)
        second = each.create_snapshot(disk).snapshot_id
        each.copy_snapshot(second)
        each.delete_snapshots([first])
    wanted = [each.ledger() for each in (store, friend)]
    store.close()

    Store.rebuild(store_path, seams)

    with Store.open(store_path, seams) as again:
        assert [each.ledger() for each in (again, again.as_account(FRIEND))] == wanted
        assert_healthy(again)


# Events


def names_of(events: list[Event]) -> list[str]:
    return [str(event.detail["event"]) for event in events]


def test_events_are_of_the_account_and_region(store: Store, friend: Store) -> None:
    store.create_snapshot(disk_of(NOISE))
    friend.volumes.create(VolumeRequest(size_gib=1))
    there = store.as_account(region="eu-central-1")
    there.create_snapshot(disk_of(TEXT))

    assert names_of(store.events()) == ["createSnapshot"]
    assert names_of(friend.events()) == ["createVolume"]
    assert [event.region for event in there.events()] == ["eu-central-1"]
    assert friend.events(friend.events()[0].number) == []


def test_recipient_is_told_of_the_sharing(
    store: Store, friend: Store, stranger: Store, shared: str
) -> None:
    """Section 1.7: shareSnapshot is sent to the recipient, and to nobody else."""
    assert names_of(friend.events()) == ["shareSnapshot"]
    assert str(friend.events()[0].detail["snapshot_id"]).endswith(shared)
    assert names_of(store.events()) == ["createSnapshot"]
    store.permissions.modify(shared, PermissionChange(add_all=True))
    assert stranger.events() == []

    friend.copy_snapshot(shared)

    assert names_of(friend.events()) == ["shareSnapshot", "copySnapshot"]
    assert names_of(store.events()) == ["createSnapshot"]


def test_subscriber_is_told_of_its_account(store: Store, friend: Store) -> None:
    mine: list[Event] = []
    theirs: list[Event] = []
    store.subscribe(mine.append)
    friend.subscribe(theirs.append)

    name = store.create_snapshot(disk_of(NOISE)).snapshot_id
    store.permissions.modify(name, PermissionChange(add=[FRIEND]))

    assert names_of(mine) == ["createSnapshot"]
    assert names_of(theirs) == ["shareSnapshot"]


# Tags


def tags_of(store: Store, name: str) -> dict[str, str]:
    """Return an account's tags on a snapshot, which every way of asking must agree on."""
    shown = dict(store.get_snapshot(name).tags)
    (listed,) = store.list_snapshots(SnapshotQuery(snapshot_ids=[name]))
    (waited,) = store.wait_snapshots([name])
    told = {each.key: each.value for each in store.tags.list(TagQuery(resource_ids=[name]))}
    assert shown == dict(listed.tags) == dict(waited.tags) == told
    return shown


def test_tags_of_the_owner_are_not_shown(store: Store, friend: Store, shared: str) -> None:
    """Section 1.5: tags on a shared snapshot are private to the account that put them there."""
    assert tags_of(friend, shared) == {}
    assert friend.tags.list() == []
    by_tag = SnapshotQuery(filters=[Filter("tag:secret", ["plan"])])
    assert friend.list_snapshots(by_tag) == []
    assert [each.snapshot_id for each in store.list_snapshots(by_tag)] == [shared]


def test_recipient_has_tags_of_its_own(
    store: Store, friend: Store, stranger: Store, shared: str
) -> None:
    store.permissions.modify(shared, PermissionChange(add=[STRANGER]))

    friend.tags.create([shared], {"Name": "friend", "mine": None})

    assert tags_of(friend, shared) == {"Name": "friend", "mine": ""}
    assert tags_of(store, shared) == {"Name": "owner", "secret": "plan"}
    assert tags_of(stranger, shared) == {}
    by_tag = SnapshotQuery(filters=[Filter("tag:Name", ["friend"])])
    assert [each.snapshot_id for each in friend.list_snapshots(by_tag)] == [shared]
    assert store.list_snapshots(by_tag) == []
    friend.tags.delete([shared], {"Name": None})
    assert tags_of(friend, shared) == {"mine": ""}
    friend.tags.delete([shared])
    assert tags_of(friend, shared) == {}
    assert tags_of(store, shared) == {"Name": "owner", "secret": "plan"}


def test_public_snapshot_can_be_tagged_by_everybody(
    store: Store, stranger: Store, shared: str
) -> None:
    store.permissions.modify(shared, PermissionChange(add_all=True))

    stranger.tags.create([shared], {"found": "it"})

    assert tags_of(stranger, shared) == {"found": "it"}
    assert tags_of(store, shared) == {"Name": "owner", "secret": "plan"}


def test_only_what_is_shared_can_be_tagged(store: Store, stranger: Store, shared: str) -> None:
    code = refused(lambda: stranger.tags.create([shared], {"a": "b"}))
    assert code is ErrorCode.INVALID_SNAPSHOT_NOT_FOUND
    code = refused(lambda: stranger.tags.delete([shared]))
    assert code is ErrorCode.INVALID_SNAPSHOT_NOT_FOUND


def test_each_account_has_fifty_tags(friend: Store, shared: str) -> None:
    friend.tags.create([shared], {f"key{n}": "" for n in range(50)})

    code = refused(lambda: friend.tags.create([shared], {"one more": ""}))

    assert code is ErrorCode.TAG_LIMIT_EXCEEDED


def test_a_hundred_others_can_tag_a_snapshot(store: Store, shared: str) -> None:
    store.permissions.modify(shared, PermissionChange(add_all=True))
    for number in range(100):
        store.as_account(f"{number:012}").tags.create([shared], {"a": "b"})

    code = refused(lambda: store.as_account(f"{100:012}").tags.create([shared], {"a": "b"}))

    assert code is ErrorCode.INVALID_PARAMETER_VALUE
    store.as_account(f"{7:012}").tags.delete([shared])
    store.as_account(f"{100:012}").tags.create([shared], {"a": "b"})


def test_tags_of_recipients_are_hidden_while_it_is_not_shared(
    store: Store, friend: Store, shared: str
) -> None:
    friend.tags.create([shared], {"mine": "1"})

    store.permissions.reset(shared)

    assert friend.tags.list() == []
    store.permissions.modify(shared, PermissionChange(add=[FRIEND]))
    assert tags_of(friend, shared) == {"mine": "1"}


def test_copy_has_nobodys_tags(friend: Store, shared: str) -> None:
    friend.tags.create([shared], {"mine": "1"})

    assert friend.copy_snapshot(shared).tags == {}


def test_tags_of_recipients_outlive_the_catalog(
    store: Store, friend: Store, shared: str, store_path: Path, seams: Seams
) -> None:
    friend.tags.create([shared], {"mine": "1", "gone": "2"})
    friend.tags.delete([shared], {"gone": "2"})
    store.tags.create([shared], {"more": "3"})
    wanted = [tags_of(each, shared) for each in (store, friend)]
    store.close()

    Store.rebuild(store_path, seams)

    with Store.open(store_path, seams) as again:
        assert [tags_of(each, shared) for each in (again, again.as_account(FRIEND))] == wanted
        assert_healthy(again)
