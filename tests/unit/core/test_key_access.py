"""Where a store's keyring is, when it is made, and that no other is taken for it."""

import os
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from ebsim.core.context import StoreContext
from ebsim.core.key_access import load_keyring_settings, set_keyring_place
from ebsim.engine import Seams, Store
from ebsim.errors import (
    CorruptionError,
    EbsimError,
    ErrorCode,
    InvalidInputError,
    NotFoundError,
    StoreError,
    WrongKeyError,
)
from ebsim.format.catalog_values import Table
from ebsim.keys.keyring import Keyring
from ebsim.keys.open_keyring import KeyringSeams
from ebsim.keys.unlocking import ScryptCost, Unlocking
from ebsim.testing.memory_store import MemoryStore
from ebsim.testing.seams import ManualClock, SeededEntropy

CHEAP = ScryptCost(log2_n=14)


def context_of(store: Store) -> StoreContext:
    return store._context


def noted(store: Store) -> str:
    with context_of(store).catalog.read() as reader:
        return load_keyring_settings(reader).keyring_id


def other_keyring(path: Path) -> Keyring:
    return Keyring.create(path, seams=KeyringSeams(entropy=SeededEntropy(99)))


def test_looking_makes_no_keyring_and_says_how_to_make_one(store: Store) -> None:
    with pytest.raises(NotFoundError, match="ebsim key create") as caught:
        context_of(store).keyring()

    assert caught.value.code is ErrorCode.KEYRING_NOT_FOUND
    assert not (store.path / "keyring.json").exists()


def test_first_need_makes_it_in_the_store_for_its_owner_alone(store: Store) -> None:
    keyring = context_of(store).keyring(create=True)

    assert keyring.path == store.path / "keyring.json"
    assert stat.S_IMODE(keyring.path.stat().st_mode) == 0o600
    assert keyring.protection() == "none"
    assert noted(store) == keyring.keyring_id


def test_all_who_act_through_a_handle_have_the_same_keyring(store: Store) -> None:
    made = context_of(store).keyring(create=True)

    other = store.as_account("111122223333", "eu-central-1")
    assert context_of(other).keyring() is made
    assert context_of(store).acting_as(None).keyring(create=True) is made


def test_threads_that_need_it_at_once_make_one(store: Store) -> None:
    found: list[Keyring] = []
    threads = [
        threading.Thread(target=lambda: found.append(context_of(store).keyring(create=True)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len({id(keyring) for keyring in found}) == 1


def test_keyring_is_protected_by_what_the_handle_opens_it_with(
    store_path: Path, seams: Seams
) -> None:
    locked = replace(seams, unlocking=Unlocking(passphrase=lambda: "correct horse", cost=CHEAP))
    with Store.create(store_path, locked) as store:
        assert context_of(store).keyring(create=True).protection() == "scrypt"

    with Store.open(store_path, seams) as store:
        keyring = context_of(store).keyring()  # looking needs no passphrase
        with pytest.raises(InvalidInputError, match="--passphrase-command") as caught:
            keyring.unlock()
    assert caught.value.code is ErrorCode.KEYRING_LOCKED


# where it is


def test_place_that_the_store_keeps_is_used_and_survives_a_rebuild(
    fast_path: Path, store_path: Path, seams: Seams
) -> None:
    place = fast_path / "elsewhere.json"
    with Store.create(store_path, seams) as store:
        set_keyring_place(context_of(store), place)
        made = context_of(store).keyring(create=True).keyring_id
    assert place.exists()

    Store.rebuild(store_path, seams)
    with Store.open(store_path, seams) as store:
        assert context_of(store).keyring().path == place
        assert noted(store) == made


def test_place_that_the_handle_was_told_wins(
    fast_path: Path, store_path: Path, seams: Seams
) -> None:
    with Store.create(store_path, seams) as store:
        set_keyring_place(context_of(store), fast_path / "elsewhere.json")

    told = replace(seams, keyring=fast_path / "told.json")
    with Store.open(store_path, told) as store:
        assert context_of(store).keyring(create=True).path == fast_path / "told.json"


def test_store_can_be_told_that_its_keyring_lies_in_it_again(
    fast_path: Path, store_path: Path, seams: Seams
) -> None:
    with Store.create(store_path, seams) as store:
        set_keyring_place(context_of(store), fast_path / "elsewhere.json")
        set_keyring_place(context_of(store), store_path / "keyring.json")
        assert context_of(store).keyring(create=True).path == store_path / "keyring.json"


@pytest.mark.parametrize("name", ["catalog/keyring.json", "other.json", "segments"])
def test_place_in_the_store_under_another_name_is_refused(
    store: Store, seams: Seams, name: str
) -> None:
    with pytest.raises(InvalidInputError, match="within the store"):
        set_keyring_place(context_of(store), store.path / name)

    context_of(store).state.keyring_path = store.path / name
    with pytest.raises(InvalidInputError, match="within the store"):
        context_of(store).keyring(create=True)


# which one it is


def test_keyring_that_is_lost_is_never_made_anew(
    fast_path: Path, store_path: Path, seams: Seams
) -> None:
    with Store.create(store_path, seams) as store:
        context_of(store).keyring(create=True)
    (store_path / "keyring.json").rename(fast_path / "moved.json")

    with Store.open(store_path, seams) as store:
        for create in (False, True):
            with pytest.raises(NotFoundError, match="ebsim key recover") as caught:
                context_of(store).keyring(create=create)
            assert caught.value.code is ErrorCode.KEYRING_NOT_FOUND
    assert not (store_path / "keyring.json").exists()

    with Store.open(store_path, replace(seams, keyring=fast_path / "moved.json")) as store:
        context_of(store).keyring()


def test_another_keyring_is_not_taken_for_the_stores(
    fast_path: Path, store_path: Path, seams: Seams
) -> None:
    with Store.create(store_path, seams) as store:
        wanted = context_of(store).keyring(create=True).keyring_id
    other = other_keyring(fast_path / "other.json")

    with (
        Store.open(store_path, replace(seams, keyring=other.path)) as store,
        pytest.raises(WrongKeyError, match=wanted),
    ):
        context_of(store).keyring()


def test_recovered_keyring_is_the_stores(store_path: Path, seams: Seams) -> None:
    with Store.create(store_path, seams) as store:
        keyring = context_of(store).keyring(create=True)
        key = keyring.create_key(store.caller)
        text = keyring.recovery_text()
    keyring.path.unlink()
    Keyring.recover(keyring.path, text)

    with Store.open(store_path, seams) as store:
        found = context_of(store).keyring().describe_key(store.caller, key.key_id)
        assert found.key_id == key.key_id


def test_keyring_that_a_dying_process_made_is_noted_at_the_next_need(
    store_path: Path, seams: Seams
) -> None:
    with Store.create(store_path, seams) as store:
        made = Keyring.create(store_path / "keyring.json")
        assert context_of(store).keyring().keyring_id == made.keyring_id
        assert noted(store) == ""
        context_of(store).keyring(create=True)
        assert noted(store) == made.keyring_id


def test_damaged_settings_are_damage(store: Store) -> None:
    context_of(store).catalog.update(
        lambda writer: writer.put(Table.META, b"keyring", b'{"colour":1}')
    )
    with pytest.raises(CorruptionError):
        context_of(store).keyring()


# who else can read it


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_keyring_that_others_can_read_is_refused(store_path: Path, seams: Seams, mode: int) -> None:
    with Store.create(store_path, seams) as store:
        path = context_of(store).keyring(create=True).path
    path.chmod(mode)

    with Store.open(store_path, seams) as store, pytest.raises(StoreError) as caught:
        context_of(store).keyring()
    assert caught.value.code is ErrorCode.KEYRING_EXPOSED


@pytest.mark.parametrize("name", ["keyring.json", ".keyring.json.lock", ".keyring.json.new"])
def test_store_with_a_link_in_place_of_its_keyring_is_refused(
    fast_path: Path, store_path: Path, seams: Seams, name: str
) -> None:
    with Store.create(store_path, seams) as store:
        context_of(store).keyring(create=True)
    (store_path / name).unlink(missing_ok=True)
    os.symlink(fast_path / "target", store_path / name)

    with pytest.raises(StoreError) as caught:
        Store.open(store_path, seams)
    assert caught.value.code is ErrorCode.STORE_UNSAFE


def test_no_store_is_made_around_a_keyring(store_path: Path, seams: Seams) -> None:
    store_path.mkdir()
    other_keyring(store_path / "keyring.json")

    with pytest.raises(InvalidInputError, match="holds a keyring"):
        Store.create(store_path, seams)


# handles in memory


def test_handles_in_memory_share_a_keyring(fast_path: Path) -> None:
    memory = MemoryStore(fast_path)
    made = memory.context().keyring(create=True)
    key = made.create_key(memory.context().acting)

    found = memory.context().keyring()
    assert found.keyring_id == made.keyring_id
    assert found.list_keys(memory.context().acting) == [key]


def test_write_that_failed_before_makes_no_keyring(store: Store, clock: ManualClock) -> None:
    context = context_of(store)
    context.poison = "a test"

    with pytest.raises(EbsimError):
        context.keyring(create=True)
    assert not (store.path / "keyring.json").exists()
    context.poison = ""
