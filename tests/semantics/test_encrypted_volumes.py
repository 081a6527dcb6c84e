"""Encrypted volumes: nothing plain on disk, and nothing to be had without the key.

Sections 3.2 and 5.1 of the semantics. That they do otherwise what plain volumes do is tested where
those are: test_managed_snapshots.py, and tests/fault/test_volume_*.py.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ebsim.engine import Seams, Store
from ebsim.errors import ErrorCode
from ebsim.keys.unlocking import ScryptCost, Unlocking
from ebsim.requests import VolumeRequest
from ebsim.results import Snapshot, SnapshotState, VolumeState
from ebsim.storage.files import PosixFiles
from ebsim.testing.held_copies import HeldCopies
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.observed_files import ObservedFiles
from ebsim.testing.refused import refused
from ebsim.units import BLOCK_SIZE

ALIAS = "alias/k"
MARK = b"a secret of sixteen bytes or more"
SECRET = MARK.ljust(512, b".") * 1024
OTHER = MARK.ljust(512, b",") * 1024
PART = MARK.ljust(100, b";") * 3
NOT_ACCESSIBLE = "Given key ID is not accessible"


@pytest.fixture
def copies() -> HeldCopies:
    return HeldCopies(holding=False)


@pytest.fixture
def seams(seams: Seams, copies: HeldCopies) -> Seams:
    return replace(seams, before_copy=copies)


@pytest.fixture
def store(store_path: Path, seams: Seams, copies: HeldCopies) -> Iterator[Store]:
    with Store.create(store_path, seams) as opened:
        opened.keys.create(alias=ALIAS)
        yield opened
        copies.release_all()


def new_volume(store: Store, snapshot_id: str | None = None, key: str = ALIAS) -> str:
    size = None if snapshot_id else 1
    return store.volumes.create(
        VolumeRequest(size_gib=size, snapshot_id=snapshot_id, encrypted=True, kms_key_id=key)
    ).volume_id


def taken(store: Store, volume: str) -> Snapshot:
    (shown,) = store.wait_snapshots([store.create_snapshot(volume).snapshot_id])
    return shown


def reveals(path: Path) -> list[str]:
    """Return the files of a folder that hold some of the secret."""
    files = [each for each in path.rglob("*") if each.is_file()]
    return [each.name for each in files if MARK[:16] in each.read_bytes()]


# Nothing plain


def test_plain_bytes_are_on_the_disk_at_no_time(
    store_path: Path, seams: Seams, copies: HeldCopies
) -> None:
    """Looked at before each call to a file: the data, what is kept, segments, temporary files."""
    looked = 0
    looking = False

    def look(_what: str, _path: Path) -> None:
        nonlocal looked, looking
        if not looking and store_path.exists():
            looking = True
            assert reveals(store_path) == []
            looked += 1
            looking = False

    seams = replace(seams, files=ObservedFiles(PosixFiles(), look))
    with Store.create(store_path, seams) as store:
        store.keys.create(alias=ALIAS)
        volume = new_volume(store)
        with store.volumes.open(volume) as file:
            file.pwrite(SECRET + OTHER, 0)
            file.pwrite(PART, 3 * BLOCK_SIZE - 50)
            file.flush()
            copies.hold_all()
            held = store.create_snapshot(volume)
            file.pwrite(OTHER + SECRET, 0)
            file.pwrite(PART, 777)
            file.discard(BLOCK_SIZE, 100)
            assert (store_path / "volumes" / f"{volume}.kept").stat().st_size > 2 * BLOCK_SIZE
            copies.release_all()
            (made,) = store.wait_snapshots([held.snapshot_id])
        assert made.state is SnapshotState.COMPLETED, made.state_message
        assert store.read_block(made.snapshot_id, 0) == SECRET
        loaded = new_volume(store, made.snapshot_id, "alias/aws/ebs")
        with store.volumes.open(loaded) as file:
            file.pwrite(PART, 5)
            assert file.pread(16, BLOCK_SIZE) == MARK[:16]
        store.volumes.initialize(loaded)
        assert taken(store, loaded).state is SnapshotState.COMPLETED
    assert looked > 100
    assert reveals(store_path) == []
    with Store.open(store_path, seams) as store, store.volumes.open(loaded) as file:
        assert file.pread(2 * BLOCK_SIZE, 0) == SECRET[:5] + PART + SECRET[305:] + OTHER


def test_image_that_is_imported_is_not_on_the_disk_plain(store: Store, fast_path: Path) -> None:
    image = fast_path / "disk.img"
    image.write_bytes(SECRET + OTHER)

    volume = store.volumes.import_image(image, VolumeRequest(encrypted=True)).volume_id

    assert reveals(store.path) == []
    with store.volumes.open(volume) as file:
        assert file.pread(2 * BLOCK_SIZE, 0) == SECRET + OTHER


def test_look_for_plain_bytes_finds_them_where_they_are(store: Store) -> None:
    volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
    with store.volumes.open(volume) as file:
        file.pwrite(PART, 777)
        assert reveals(store.path) == [f"{volume}.data"]


def test_equal_volumes_have_different_bytes(store: Store) -> None:
    found = set()
    for _ in range(2):
        volume = new_volume(store)
        with store.volumes.open(volume) as file:
            file.pwrite(bytes(BLOCK_SIZE) * 2, 0)
        data = (store.path / "volumes" / f"{volume}.data").read_bytes()
        found |= {data[at : at + 512] for at in range(0, len(data), 512)}
    assert len(found) == 2 * 2 * BLOCK_SIZE // 512, "no two alike, though all are zeros"


# Without the key


def break_key(store: Store, how: str) -> ErrorCode:
    if how == "disabled":
        store.keys.disable(ALIAS)
        return ErrorCode.KEY_DISABLED
    store.keys.schedule_deletion(ALIAS, 7)
    return ErrorCode.KEY_INVALID_STATE


@pytest.mark.parametrize("how", ["disabled", "to be deleted"])
def test_open_volume_is_of_no_use_from_the_next_operation_on(store: Store, how: str) -> None:
    """Section 5.1, fact 6."""
    volume = new_volume(store)
    key = store.volumes.get(volume).kms_key_id
    with store.volumes.open(volume) as file:
        file.pwrite(SECRET, 0)
        code = break_key(store, how)

        buffer = bytearray(16)
        for request in (
            lambda: file.pread(16, 0),
            lambda: file.pread(16, 5 * BLOCK_SIZE),
            lambda: file.pread_into(buffer, 0),
            lambda: file.pwrite(b"x", 0),
            lambda: file.pwrite(OTHER, BLOCK_SIZE),
            lambda: file.discard(0, BLOCK_SIZE),
            lambda: store.volumes.open(volume),
        ):
            assert refused(request) is code
        assert refused(lambda: store.create_snapshot(volume)) is ErrorCode.CUSTOMER_KEY_REVOKED
        assert bytes(buffer) == bytes(16)
        file.flush()  # what was written before is durable all the same

        if how != "disabled":
            store.keys.cancel_deletion(key)
        store.keys.enable(key)
        assert file.pread(2 * BLOCK_SIZE, 0) == SECRET + bytes(BLOCK_SIZE)
    assert taken(store, volume).state is SnapshotState.COMPLETED
    assert_healthy(store)


@pytest.mark.parametrize("how", ["disabled", "to be deleted"])
def test_volume_is_not_opened_and_can_be_deleted(store: Store, how: str) -> None:
    volume = new_volume(store)
    with store.volumes.open(volume) as file:
        file.pwrite(SECRET, 0)
    code = break_key(store, how)

    assert refused(lambda: store.volumes.open(volume)) is code
    assert refused(lambda: store.create_snapshot(volume)) is ErrorCode.CUSTOMER_KEY_REVOKED
    assert store.volumes.get(volume).state is VolumeState.AVAILABLE
    assert store.volumes.delete(volume) is VolumeState.DELETED
    assert store.volumes.list() == []
    assert list((store.path / "volumes").iterdir()) == []


def test_snapshot_that_is_pending_when_its_key_goes_ends_as_error(
    store: Store, copies: HeldCopies
) -> None:
    """Section 5.1, fact 6: asynchronously, with the message of EBS."""
    volume = new_volume(store)
    copies.hold_all()
    with store.volumes.open(volume) as file:
        file.pwrite(SECRET, 0)
        held = store.create_snapshot(volume)
        file.pwrite(OTHER, 0)
        store.keys.disable(ALIAS)
        copies.release_all()

        (ended,) = store.wait_snapshots([held.snapshot_id])

        assert ended.state is SnapshotState.ERROR
        assert ended.state_message.startswith(NOT_ACCESSIBLE)
        store.keys.enable(ALIAS)
        assert file.pread(BLOCK_SIZE, 0) == OTHER
        again = taken(store, volume)
    assert store.read_block(again.snapshot_id, 0) == OTHER
    assert_healthy(store)


def leave_pending(store: Store, copies: HeldCopies, volume: str) -> str:
    """Take a snapshot and close the store; the snapshot stays pending."""
    copies.hold_all()
    with store.volumes.open(volume) as file:
        file.pwrite(SECRET, 0)
        held = store.create_snapshot(volume).snapshot_id
        file.pwrite(OTHER, 0)
    jobs = store._volumes_held().snapshots

    def close() -> None:
        store.close(wait=False)

    for job in jobs._all_jobs():
        job.stop()
    copies.release_all()
    close()
    return held


@pytest.mark.parametrize("deleted", [False, True])
def test_snapshot_left_pending_ends_as_error_where_the_key_has_gone(
    store: Store, copies: HeldCopies, seams: Seams, *, deleted: bool
) -> None:
    """It does not hang, and the volume's deletion does not wait for it for ever."""
    volume = new_volume(store)
    held = leave_pending(store, copies, volume)
    with Store.open(store.path, seams, resume=False) as left:
        assert left.get_snapshot(held).state is SnapshotState.PENDING
        left.keys.disable(ALIAS)
        if deleted:
            assert left.volumes.delete(volume) is VolumeState.DELETING

    with Store.open(store.path, seams) as opened:
        (ended,) = opened.wait_snapshots([held])

        assert ended.state is SnapshotState.ERROR
        assert ended.state_message.startswith(NOT_ACCESSIBLE)
        left_volumes = [] if deleted else [volume]
        assert [each.volume_id for each in opened.volumes.list()] == left_volumes
        opened.keys.enable(ALIAS)
        if not deleted:
            again = taken(opened, volume)
            assert opened.read_block(again.snapshot_id, 0) == OTHER
        assert_healthy(opened)


def test_snapshot_left_pending_waits_for_whoever_has_the_keyring(
    store: Store, copies: HeldCopies, seams: Seams
) -> None:
    """Who opens the store without it does not end what another process can complete."""
    held = leave_pending(store, copies, new_volume(store))
    keyring = store.path / "keyring.json"
    keyring.rename(keyring.with_suffix(".away"))
    with Store.open(store.path, seams) as opened:
        assert refused(lambda: opened.wait_snapshots([held])) is ErrorCode.KEYRING_NOT_FOUND
        assert opened.get_snapshot(held).state is SnapshotState.PENDING
    keyring.with_suffix(".away").rename(keyring)

    with Store.open(store.path, seams) as opened:
        (ended,) = opened.wait_snapshots([held])
        assert ended.state is SnapshotState.COMPLETED
        assert opened.read_block(held, 0) == SECRET
        assert_healthy(opened)


def test_snapshot_that_nobody_wants_does_not_wait_for_a_lost_keyring(
    store: Store, copies: HeldCopies, seams: Seams
) -> None:
    """A store whose keyring is lost can be emptied."""
    volume = new_volume(store)
    held = leave_pending(store, copies, volume)
    (store.path / "keyring.json").unlink()
    with Store.open(store.path, seams, resume=False) as left:
        left.delete_snapshots([held])
        left.volumes.delete(volume)

    with Store.open(store.path, seams) as opened:
        assert opened.list_snapshots() == []
        assert opened.volumes.list() == []


def test_keyring_that_goes_while_a_snapshot_is_copied_leaves_it_pending(
    store: Store, copies: HeldCopies, seams: Seams
) -> None:
    volume = new_volume(store)
    keyring = store.path / "keyring.json"
    copies.hold_all()
    with store.volumes.open(volume) as file:
        file.pwrite(SECRET + OTHER, 0)
    held = store.create_snapshot(volume).snapshot_id
    keyring.rename(keyring.with_suffix(".away"))
    copies.release_all()
    assert refused(lambda: store.wait_snapshots([held])) is ErrorCode.KEYRING_NOT_FOUND
    assert store.get_snapshot(held).state is SnapshotState.PENDING

    keyring.with_suffix(".away").rename(keyring)

    (ended,) = store.wait_snapshots([held])
    assert ended.state is SnapshotState.COMPLETED, ended.state_message
    assert store.read_block(held, 1) == OTHER
    assert_healthy(store)


def unlocked_by(seams: Seams, passphrase: str) -> Seams:
    cheap = ScryptCost(log2_n=14)
    return replace(seams, unlocking=Unlocking(passphrase=lambda: passphrase, cost=cheap))


def test_wrong_passphrase_opens_no_volume(store_path: Path, seams: Seams) -> None:
    right = unlocked_by(seams, "a passphrase that is right")
    wrong = unlocked_by(seams, "a passphrase that is wrong")
    with Store.create(store_path, right) as store:
        store.keys.create(alias=ALIAS)
        volume = new_volume(store)
        with store.volumes.open(volume) as file:
            file.pwrite(SECRET, 0)
    for given, code in ((wrong, ErrorCode.WRONG_KEY), (seams, ErrorCode.KEYRING_LOCKED)):
        with Store.open(store_path, given) as store:
            assert refused(lambda at=store: at.volumes.open(volume)) is code  # type: ignore[misc]
            assert store.volumes.get(volume).encrypted
    with Store.open(store_path, right) as store, store.volumes.open(volume) as file:
        assert file.pread(BLOCK_SIZE, 0) == SECRET


def test_volume_whose_origin_has_another_key_needs_it_until_it_is_loaded(store: Store) -> None:
    first = new_volume(store)
    with store.volumes.open(first) as file:
        file.pwrite(SECRET + OTHER + SECRET, 0)
    made = taken(store, first)
    second = new_volume(store, made.snapshot_id, "alias/aws/ebs")
    with store.volumes.open(second) as file:
        assert file.pread(16, 0) == MARK[:16]
        store.keys.disable(ALIAS)

        assert refused(lambda: file.pread(16, BLOCK_SIZE)) is ErrorCode.KEY_DISABLED
        assert refused(lambda: file.pwrite(b"x", BLOCK_SIZE)) is ErrorCode.KEY_DISABLED
        assert file.pread(16, 0) == MARK[:16]
        file.pwrite(OTHER, 2 * BLOCK_SIZE)  # whole: nothing is loaded for it
        assert file.pread(BLOCK_SIZE, 2 * BLOCK_SIZE) == OTHER
        store.keys.enable(ALIAS)
    store.volumes.initialize(second)
    store.keys.disable(ALIAS)
    with store.volumes.open(second) as file:
        assert file.pread(3 * BLOCK_SIZE, 0) == SECRET + OTHER + OTHER


def test_volume_that_is_half_loaded_is_rebuilt(store: Store, seams: Seams) -> None:
    """Zeros that were loaded or written are no holes, so that they are not loaded again."""
    first = new_volume(store)
    with store.volumes.open(first) as file:
        file.pwrite(SECRET + SECRET, 0)
    volume = new_volume(store, taken(store, first).snapshot_id)
    with store.volumes.open(volume) as file:
        file.pwrite(bytes(BLOCK_SIZE), 0)
    store.close()

    Store.rebuild(store.path, seams)

    with Store.open(store.path, seams) as opened:
        with opened.volumes.open(volume) as file:
            assert file.pread(2 * BLOCK_SIZE, 0) == bytes(BLOCK_SIZE) + SECRET
        made = taken(opened, volume)
        assert opened.read_block(made.snapshot_id, 0) == bytes(BLOCK_SIZE)
        assert_healthy(opened)
