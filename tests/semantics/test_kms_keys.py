"""`store.keys`: KMS's operations as the store's caller, and the keyring as a whole."""

import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from ebsim.engine import Seams, Store
from ebsim.errors import ErrorCode
from ebsim.keys.records import KeyOperation, KeyState
from ebsim.keys.unlocking import ScryptCost, Unlocking
from ebsim.testing.refused import refused
from ebsim.testing.seams import ManualClock

OTHER = "111122223333"
UNKNOWN = "1234abcd-12ab-34cd-56ef-1234567890ab"
CHEAP = ScryptCost(log2_n=14)


def test_store_without_a_keyring_has_no_keys(store: Store) -> None:
    assert store.keys.list() == []
    assert store.keys.list_aliases() == []
    assert store.keys.destroy_deleted() == []
    assert store.keys.protection() is None
    for call in (store.keys.get, store.keys.enable, store.keys.rotate, store.keys.list_grants):
        assert refused(lambda: call(UNKNOWN)) is ErrorCode.KEY_NOT_FOUND  # noqa: B023
    assert refused(lambda: store.keys.delete_alias("alias/none")) is ErrorCode.KEY_NOT_FOUND
    assert not (store.path / "keyring.json").exists()


def test_keys_belong_to_the_caller(store: Store) -> None:
    other, abroad = store.as_account(OTHER), store.as_account(region="eu-west-1")
    made = [each.keys.create(alias="alias/web") for each in (store, other, abroad)]

    for each, key in zip((store, other, abroad), made, strict=True):
        assert each.keys.list() == [key]
        assert key.owner == each.caller
        assert each.keys.get("alias/web") == key
    assert refused(lambda: other.keys.get(made[0].arn)) is ErrorCode.ACCESS_DENIED
    assert refused(lambda: other.keys.disable(made[0].arn)) is ErrorCode.ACCESS_DENIED


def test_alias_that_is_taken_makes_no_key(store: Store) -> None:
    key = store.keys.create(alias="alias/web")

    assert refused(lambda: store.keys.create(alias="alias/web")) is ErrorCode.ALIAS_EXISTS
    assert refused(lambda: store.keys.create(alias="web")) is ErrorCode.VALIDATION
    assert refused(lambda: store.keys.create(alias="alias/aws/x")) is ErrorCode.INVALID_ALIAS_NAME
    assert store.keys.list() == [key]


def test_life_of_a_key(store: Store, clock: ManualClock) -> None:
    key = store.keys.create("of the web servers")
    assert store.keys.update_description(key.arn, "of the shops").description == "of the shops"
    assert store.keys.disable(key.key_id).state is KeyState.DISABLED
    assert store.keys.enable(key.key_id).state is KeyState.ENABLED
    assert store.keys.schedule_deletion(key.key_id, 7).state is KeyState.PENDING_DELETION
    assert store.keys.cancel_deletion(key.key_id).state is KeyState.DISABLED
    assert refused(lambda: store.keys.rotate(key.key_id)) is ErrorCode.KEY_DISABLED
    store.keys.enable(key.key_id)
    assert len(store.keys.rotate(key.key_id).materials) == 2
    store.keys.schedule_deletion(key.key_id, 7)
    clock.advance(days=7)
    assert refused(lambda: store.keys.get(key.arn)) is ErrorCode.KEY_NOT_FOUND
    assert store.keys.destroy_deleted() == [key.arn]
    assert store.keys.list() == []


def test_aliases_are_moved_and_taken_away(store: Store) -> None:
    first, second = store.keys.create(), store.keys.create()
    assert store.keys.create_alias("alias/web", first.key_id).key_id == first.key_id
    assert store.keys.update_alias("alias/web", second.key_id).key_id == second.key_id
    assert [each.key_id for each in store.keys.list_aliases()] == [second.key_id]
    assert store.keys.list_aliases(first.key_id) == []
    store.keys.delete_alias("alias/web")
    assert refused(lambda: store.keys.get("alias/web")) is ErrorCode.KEY_NOT_FOUND


def test_grant_lets_another_account_see_a_key_until_it_is_retired(store: Store) -> None:
    other = store.as_account(OTHER)
    key = store.keys.create()
    grant = store.keys.create_grant(key.arn, OTHER, [KeyOperation.DESCRIBE_KEY], "to look")
    assert other.keys.get(key.arn).key_id == key.key_id
    assert store.keys.list_grants(key.arn) == [grant]
    assert refused(lambda: other.keys.list_grants(key.arn)) is ErrorCode.ACCESS_DENIED

    other.keys.retire_grant(key.arn, grant.grant_id)
    assert refused(lambda: other.keys.get(key.arn)) is ErrorCode.ACCESS_DENIED


def test_aws_managed_key_is_made_when_it_is_asked_for(store: Store) -> None:
    key = store.keys.get("alias/aws/ebs")

    assert store.keys.list() == [key]
    assert refused(lambda: store.keys.disable(key.arn)) is ErrorCode.ACCESS_DENIED


# the keyring


def test_recovery_copy_brings_the_keys_back(
    fast_path: Path, store_path: Path, seams: Seams
) -> None:
    copy = fast_path / "recovery.txt"
    with Store.create(store_path, seams) as store:
        key = store.keys.create(alias="alias/web")
        store.keys.export(copy)
    (store_path / "keyring.json").unlink()

    with Store.open(store_path, seams) as store:
        assert refused(store.keys.list) is ErrorCode.KEYRING_NOT_FOUND
        assert store.keys.recover(copy.read_text()) == 1
        assert store.keys.get("alias/web").arn == key.arn
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_recovered_keyring_is_protected_as_the_handle_says(
    fast_path: Path, store_path: Path, seams: Seams
) -> None:
    with Store.create(store_path, seams) as store:
        store.keys.create()
        store.keys.export(fast_path / "copy")
    (store_path / "keyring.json").unlink()

    locked = replace(seams, unlocking=Unlocking(passphrase=lambda: "a long one", cost=CHEAP))
    with Store.open(store_path, locked) as store:
        store.keys.recover((fast_path / "copy").read_text())
        assert store.keys.protection() == "scrypt"


def test_keyring_that_is_there_is_not_replaced_by_a_recovery(fast_path: Path, store: Store) -> None:
    store.keys.create()
    store.keys.export(fast_path / "copy")
    text = (fast_path / "copy").read_text()

    assert refused(lambda: store.keys.recover(text)) is ErrorCode.KEYRING_EXISTS


def test_recovery_copy_of_another_store_is_refused(fast_path: Path, seams: Seams) -> None:
    with Store.create(fast_path / "other", seams) as other:
        other.keys.create()
        other.keys.export(fast_path / "copy")
    with Store.create(fast_path / "own", seams) as store:
        store.keys.create()
        (store.path / "keyring.json").unlink()
        text = (fast_path / "copy").read_text()
        assert refused(lambda: store.keys.recover(text)) is ErrorCode.WRONG_KEY
        assert not (store.path / "keyring.json").exists()


def test_mistyped_recovery_copy_is_refused(fast_path: Path, store: Store) -> None:
    store.keys.create()
    store.keys.export(fast_path / "copy")
    (store.path / "keyring.json").unlink()
    text = (fast_path / "copy").read_text().replace("001 ring", "001 rung")

    assert refused(lambda: store.keys.recover(text)) is ErrorCode.INVALID_RECOVERY_COPY


def test_recovery_copy_is_not_written_into_the_store(fast_path: Path, store: Store) -> None:
    store.keys.create()

    assert refused(lambda: store.keys.export(store.path / "copy")) is (
        ErrorCode.INVALID_PARAMETER_VALUE
    )
    (fast_path / "taken").write_text("something")
    assert refused(lambda: store.keys.export(fast_path / "taken")) is ErrorCode.KEYRING_EXISTS
    assert (fast_path / "taken").read_text() == "something"


def test_protection_is_changed_for_all_handles_from_the_next_one_on(
    store_path: Path, seams: Seams
) -> None:
    locked = replace(seams, unlocking=Unlocking(passphrase=lambda: "a long one", cost=CHEAP))
    with Store.create(store_path, seams) as store:
        store.keys.create()
        store.keys.protect(Unlocking(passphrase=lambda: "a long one", cost=CHEAP))
        store.keys.create()  # this handle goes on
    with Store.open(store_path, seams) as store:
        assert len(store.keys.list()) == 2
        assert refused(store.keys.create) is ErrorCode.KEYRING_LOCKED
    with Store.open(store_path, locked) as store:
        store.keys.create()
    wrong = replace(seams, unlocking=Unlocking(passphrase=lambda: "another", cost=CHEAP))
    with Store.open(store_path, wrong) as store:
        assert refused(store.keys.create) is ErrorCode.WRONG_KEY


def test_stores_can_share_a_keyring(fast_path: Path, seams: Seams) -> None:
    """One keyring for all stores of a machine is looked after once."""
    shared = replace(seams, keyring=fast_path / "keyring.json")
    with Store.create(fast_path / "first", shared) as first:
        key = first.keys.create()
    with Store.create(fast_path / "second", shared) as second:
        assert second.keys.list() == [key]


# check


def kinds(store: Store) -> list[str]:
    return [finding.kind for finding in store.check().findings]


@pytest.fixture
def keyed(store: Store) -> Store:
    store.keys.create()
    return store


def test_store_without_a_keyring_is_healthy(store: Store) -> None:
    assert kinds(store) == []


def test_check_tells_that_the_keyring_is_missing(keyed: Store) -> None:
    assert kinds(keyed) == []
    (keyed.path / "keyring.json").unlink()
    assert kinds(keyed) == ["missing-keyring"]


def test_check_tells_damage_of_the_keyring(keyed: Store) -> None:
    path = keyed.path / "keyring.json"
    path.write_bytes(path.read_bytes().replace(b"Enabled", b"Enabler"))
    assert kinds(keyed) == ["corrupt-keyring"]
    path.write_bytes(b"")
    assert kinds(keyed) == ["corrupt-keyring"]


def test_check_tells_that_others_can_read_the_keyring(keyed: Store) -> None:
    (keyed.path / "keyring.json").chmod(0o640)
    assert kinds(keyed) == ["exposed-keyring"]


def test_check_needs_no_passphrase(store_path: Path, seams: Seams) -> None:
    locked = replace(seams, unlocking=Unlocking(passphrase=lambda: "a long one", cost=CHEAP))
    with Store.create(store_path, locked) as store:
        store.keys.create()
        assert kinds(store) == []
    with Store.open(store_path, seams) as store:
        assert kinds(store) == []


def test_copy_of_a_store_needs_the_keyring_too(
    fast_path: Path, store_path: Path, seams: Seams
) -> None:
    with Store.create(store_path, replace(seams, keyring=fast_path / "ring.json")) as store:
        store.keys.create()
    shutil.copytree(store_path, fast_path / "copy")

    with Store.open(fast_path / "copy", seams) as store:
        assert kinds(store) == ["missing-keyring"]
