"""Snapshots that are written block by block: the EBS direct APIs (semantics section 4)."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ebsim.config import Quotas, SnapshotOptions
from ebsim.core.dump import dump
from ebsim.encryption import EncryptionRequest
from ebsim.engine import Seams, Store
from ebsim.errors import ConflictError, EbsimError, ErrorCode, InvalidInputError, NotFoundError
from ebsim.requests import VolumeRequest
from ebsim.results import Snapshot, SnapshotState
from ebsim.started import StartRequest
from ebsim.testing.contents import HEAD, NOISE, TEXT, noise_block
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.seams import ManualClock
from ebsim.units import BLOCK_SIZE, GIB

ZEROS = bytes(BLOCK_SIZE)
LAST = GIB // BLOCK_SIZE - 1

Blocks = Mapping[int, bytes]


def digest(block: bytes) -> bytes:
    return hashlib.sha256(block).digest()


def linear(blocks: Blocks) -> bytes:
    """Section 4.2: SHA-256 of the raw digests, ascending by index."""
    return hashlib.sha256(b"".join(digest(blocks[index]) for index in sorted(blocks))).digest()


def start(store: Store, parent: str | None = None, **more: object) -> str:
    request = StartRequest(volume_size_gib=1, parent_id=parent)
    return store.started.start(replace(request, **more)).snapshot_id  # type: ignore[arg-type]


def put(store: Store, snapshot: str, blocks: Blocks) -> None:
    for index, block in blocks.items():
        store.started.put(snapshot, index, block, digest(block))


def ended(store: Store, snapshot: str) -> Snapshot:
    (shown,) = store.wait_snapshots([snapshot])
    return shown


def written(store: Store, blocks: Blocks, parent: str | None = None) -> str:
    snapshot = start(store, parent)
    put(store, snapshot, blocks)
    state = store.started.complete(snapshot, len(blocks), linear(blocks))
    assert state is SnapshotState.PENDING
    shown = ended(store, snapshot)
    assert shown.state is SnapshotState.COMPLETED, shown.state_message
    return snapshot


def content(store: Store, snapshot: str) -> dict[int, bytes]:
    page = store.blocks.list(snapshot)
    assert page.next_index is None
    return {index: bytes(store.blocks.read(snapshot, index)) for index in page.indices}


def reason(caught: pytest.ExceptionInfo[EbsimError]) -> tuple[str, str]:
    return str(caught.value.code), caught.value.reason


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def store(request: pytest.FixtureRequest, store_path: Path, seams: Seams) -> Iterator[Store]:
    """A store all of whose snapshots are encrypted, or none."""
    with Store.create(store_path, seams) as opened:
        if request.param:
            opened.encryption.enable_by_default()
        yield opened


# Writing and reading


def test_snapshot_has_what_was_put(store: Store) -> None:
    """Section 4.4: holes stay unwritten, zeros that are put count, the last put of a block wins."""
    snapshot = start(store)
    put(store, snapshot, {0: TEXT, 300: NOISE, LAST: TEXT, 7: ZEROS})
    put(store, snapshot, {300: TEXT})
    blocks = {0: TEXT, 300: TEXT, LAST: TEXT, 7: ZEROS}

    store.started.complete(snapshot, 4, linear(blocks))

    shown = ended(store, snapshot)
    assert (shown.state, shown.full_size_bytes) == (SnapshotState.COMPLETED, 4 * BLOCK_SIZE)
    assert content(store, snapshot) == blocks
    assert not list((store.path / "started").iterdir())
    assert_healthy(store)


def test_child_is_incremental(store: Store) -> None:
    """Section 4.4: with a parent, blocks that are not written are the parent's."""
    one = written(store, {0: TEXT, 5: NOISE, 9: noise_block(1)})
    two = written(store, {5: TEXT, 9: ZEROS, 10: NOISE}, one)

    assert content(store, two) == {0: TEXT, 5: TEXT, 9: ZEROS, 10: NOISE}
    shown = store.get_snapshot(two)
    assert (shown.parent_id, shown.incremental_size_bytes) == (one, 3 * BLOCK_SIZE)
    changed = store.blocks.list_changed(one, two)
    assert [each.index for each in changed.blocks] == [5, 9, 10]
    store.delete_snapshots([one])
    assert content(store, two) == {0: TEXT, 5: TEXT, 9: ZEROS, 10: NOISE}
    assert_healthy(store)


def test_child_of_a_volume_s_snapshot_is_of_its_lineage(store: Store) -> None:
    volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
    with store.volumes.open(volume) as file:
        file.pwrite(NOISE, 0)
    parent = store.create_snapshot(volume).snapshot_id
    ended(store, parent)

    child = written(store, {1: TEXT}, parent)

    assert content(store, child) == {0: NOISE, 1: TEXT}
    key = store.get_snapshot(parent).data_encryption_key_id
    assert store.get_snapshot(child).data_encryption_key_id == key
    with store.volumes.open(volume) as file:
        file.pwrite(TEXT, 2 * BLOCK_SIZE)
    after = ended(store, store.create_snapshot(volume).snapshot_id)
    assert after.parent_id == parent  # the volume's own, not what was written beside it
    made = store.volumes.create(VolumeRequest(snapshot_id=child)).volume_id
    with store.volumes.open(made) as file:
        assert file.pread(BLOCK_SIZE, BLOCK_SIZE) == TEXT
    assert_healthy(store)


def test_empty_snapshot_can_be_completed(store: Store) -> None:
    """Section 4.2: the count may be 0."""
    assert content(store, written(store, {})) == {}


def test_larger_than_parent(store: Store) -> None:
    parent = written(store, {0: TEXT})
    snapshot = start(store, parent, volume_size_gib=2)
    put(store, snapshot, {LAST + 1: NOISE})
    store.started.complete(snapshot, 1)

    assert ended(store, snapshot).size_bytes == 2 * GIB
    assert content(store, snapshot) == {0: TEXT, LAST + 1: NOISE}


def test_pending_one_is_listed(store: Store) -> None:
    snapshot = start(store, description="import", tags={"Name": "one"})

    (shown,) = store.list_snapshots()

    assert (shown.snapshot_id, shown.state) == (snapshot, SnapshotState.PENDING)
    assert (shown.description, shown.tags) == ("import", {"Name": "one"})
    assert store.volumes.list() == []
    with pytest.raises(ConflictError):
        store.blocks.list(snapshot)
    with pytest.raises(ConflictError):
        store.wait_snapshots([snapshot])


# Restarts, deletion, rebuild


def test_pending_one_survives_a_restart(store: Store, seams: Seams, store_path: Path) -> None:
    parent = written(store, {0: TEXT, 1: TEXT})
    snapshot = start(store, parent)
    put(store, snapshot, {1: NOISE, 3: TEXT})
    store.close()
    with Store.open(store_path, seams) as again:
        put(again, snapshot, {2: NOISE, 3: NOISE})
        again.started.complete(snapshot, 3, linear({1: NOISE, 2: NOISE, 3: NOISE}))
        assert ended(again, snapshot).state is SnapshotState.COMPLETED
        assert content(again, snapshot) == {0: TEXT, 1: NOISE, 2: NOISE, 3: NOISE}
        assert_healthy(again)


def test_sealed_one_is_made_by_the_next_opener(seams: Seams, store_path: Path) -> None:
    store = Store.create(store_path, seams)
    snapshot = start(store)
    put(store, snapshot, {1: NOISE})
    state = store._context.state
    writes = state.started
    assert writes is not None
    state.before_copy = lambda _: writes._stopped.set()
    store.started.complete(snapshot, 1)
    store.close(wait=False)
    with Store.open(store_path, seams) as again:
        assert ended(again, snapshot).state is SnapshotState.COMPLETED
        assert content(again, snapshot) == {1: NOISE}
        assert_healthy(again)


def test_deleting_a_pending_one_cancels_it(store: Store) -> None:
    parent = written(store, {0: TEXT})
    snapshot = start(store, parent)
    put(store, snapshot, {1: NOISE})

    store.delete_snapshots([snapshot])

    with pytest.raises(NotFoundError):
        store.get_snapshot(snapshot)
    with pytest.raises(NotFoundError):
        store.started.put(snapshot, 1, NOISE, digest(NOISE))
    assert not list((store.path / "started").iterdir())
    assert_healthy(store)


def test_rebuild_forgets_what_is_not_complete(seams: Seams, store_path: Path) -> None:
    with Store.create(store_path, seams) as store:
        done = written(store, {0: TEXT, 7: ZEROS})
        before = store.get_snapshot(done)
        put(store, start(store, done), {1: NOISE})
    Store.rebuild(store_path, seams)

    with Store.open(store_path, seams) as store:
        assert store.list_snapshots() == [before]
        assert content(store, done) == {0: TEXT, 7: ZEROS}
        assert not list((store_path / "started").iterdir())
        assert_healthy(store)


def test_damaged_block_is_no_snapshot(seams: Seams, store_path: Path) -> None:
    """What a machine that died lost of a put is found by its digest."""
    with Store.create(store_path, seams) as store:
        snapshot = start(store)
        put(store, snapshot, {3: NOISE})
        with (store_path / "started" / f"{snapshot}.data").open("r+b") as file:
            file.seek(3 * BLOCK_SIZE + 100)
            file.write(b"other")
        store.started.complete(snapshot, 1)
        shown = ended(store, snapshot)
        assert shown.state is SnapshotState.ERROR
        assert "block 3" in shown.state_message
        assert_healthy(store)


def test_blocks_that_were_put_are_proved_and_shown(seams: Seams, store_path: Path) -> None:
    for encrypted in (None, True):
        with Store.open(store_path, seams, create=True) as store:
            snapshot = start(store, encryption=EncryptionRequest(encrypted=encrypted))
            put(store, snapshot, {1: TEXT, 3: NOISE})
            put(store, snapshot, {3: HEAD})
            assert store.check(data=True).findings == ()
            with (store_path / "started" / f"{snapshot}.data").open("r+b") as file:
                file.seek(3 * BLOCK_SIZE + 100)
                file.write(b"other")
            (finding,) = store.check(data=True).findings
            assert finding.kind == "damaged-started"
            assert f"block 3 of {snapshot}" in finding.message
            assert store.check().findings == (), "that looks at no data"
            puts = [each for each in dump(store_path, "started", None, 0) if each["Kind"] == "put"]
            assert [each["Block"] for each in puts] == [1, 3, 3]
            plain = hashlib.sha256(HEAD).hexdigest()
            assert (puts[2]["StoredDigest"] == plain) is (not encrypted)
            put(store, snapshot, {3: NOISE})
            assert store.check(data=True).findings == ()
        with (store_path / "started" / f"{snapshot}.puts").open("r+b") as file:
            file.seek(70)
            file.write(b"other")
        assert "Damaged" in [*dump(store_path, "started", None, 0)][-3]
        with Store.open(store_path, seams) as store:
            (finding,) = store.check(data=True).findings
            assert finding.kind == "damaged-started"
            assert "list" in finding.message
            store.delete_snapshots([snapshot])


# What is refused


def test_checksums_and_counts(store: Store) -> None:
    """Section 11, point 7."""
    snapshot = start(store)
    with pytest.raises(InvalidInputError) as caught:
        store.started.put(snapshot, 0, TEXT, digest(NOISE))
    assert reason(caught) == ("ValidationException", "INVALID_BLOCK")
    put(store, snapshot, {2: TEXT, 1: NOISE})
    one = linear({1: NOISE, 2: TEXT})
    for count, checksum in ((1, one), (3, one), (2, digest(digest(TEXT) + digest(NOISE)))):
        with pytest.raises(InvalidInputError) as caught:
            store.started.complete(snapshot, count, checksum)
        assert reason(caught) == ("ValidationException", "INVALID_PARAMETER_VALUE")
    put(store, snapshot, {3: TEXT})  # it is open still
    store.started.complete(snapshot, 3)
    with pytest.raises(InvalidInputError) as caught:
        put(store, snapshot, {4: TEXT})
    assert reason(caught) == ("ValidationException", "INVALID_SNAPSHOT_ID")
    ended(store, snapshot)
    assert store.started.complete(snapshot, 3) is SnapshotState.COMPLETED
    assert content(store, snapshot) == {1: NOISE, 2: TEXT, 3: TEXT}


def test_blocks_that_are_none(store: Store) -> None:
    snapshot = start(store)
    for index, block in ((LAST + 1, TEXT), (-1, TEXT), (0, TEXT[:-1])):
        with pytest.raises(InvalidInputError) as caught:
            store.started.put(snapshot, index, block, digest(block))
        assert reason(caught) == ("ValidationException", "INVALID_BLOCK")


def test_requests_that_are_none(store: Store) -> None:
    parent = start(store, volume_size_gib=2)
    with pytest.raises(ConflictError) as pending:
        start(store, parent)
    assert pending.value.code == ErrorCode.INCORRECT_STATE
    store.started.complete(parent, 0)
    ended(store, parent)
    for wanted, more in (
        ("INVALID_VOLUME_SIZE", {"volume_size_gib": 0}),
        ("INVALID_VOLUME_SIZE", {"volume_size_gib": 65_537}),
        ("INVALID_VOLUME_SIZE", {"parent_id": parent}),
        ("INVALID_PARAMETER_VALUE", {"timeout_minutes": 9}),
        ("INVALID_PARAMETER_VALUE", {"timeout_minutes": 4321}),
        ("INVALID_PARAMETER_VALUE", {"client_token": "a b"}),
        ("INVALID_TAG", {"tags": {"aws:x": ""}}),
    ):
        with pytest.raises(InvalidInputError) as caught:
            start(store, **more)
        assert caught.value.reason == wanted
    with pytest.raises(NotFoundError):
        start(store, "snap-0123456789abcdef0")
    assert len(store.list_snapshots()) == 1


def test_other_snapshots_cannot_be_written(store: Store) -> None:
    volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
    other = store.create_snapshot(volume, SnapshotOptions()).snapshot_id
    with pytest.raises(InvalidInputError) as caught:
        put(store, other, {0: TEXT})
    assert reason(caught) == ("ValidationException", "INVALID_SNAPSHOT_ID")
    stranger = store.as_account("111122223333")
    with pytest.raises(NotFoundError):
        put(stranger, start(store), {0: TEXT})


def test_too_many_at_once(store: Store) -> None:
    assert Quotas().pending_started == 100  # section 4.6
    store.quotas = Quotas(pending_started=2)
    one, _ = start(store), start(store)
    with pytest.raises(EbsimError) as caught:
        start(store)
    assert str(caught.value.code) == "ConcurrentLimitExceededException"
    store.delete_snapshots([one])
    start(store)


def test_client_token_makes_it_idempotent(store: Store) -> None:
    """Section 4.4."""
    one = start(store, client_token="token-1")
    assert start(store, client_token="token-1") == one
    assert start(store, client_token="token-2") != one
    with pytest.raises(ConflictError) as caught:
        start(store, client_token="token-1", description="another")
    assert str(caught.value.code) == "ConflictException"
    store.started.complete(one, 0)
    ended(store, one)
    assert start(store, client_token="token-1") == one


def test_timeout(store: Store, clock: ManualClock) -> None:
    """Section 4.4: the clock restarts at each write; then it is `error`, and late calls fail."""
    parent = written(store, {0: TEXT})
    snapshot, idle = start(store, parent, timeout_minutes=10), start(store, timeout_minutes=10)
    clock.advance(seconds=60 * 9)
    put(store, snapshot, {0: NOISE})
    clock.advance(seconds=60 * 2)
    assert store.get_snapshot(idle).state is SnapshotState.ERROR
    put(store, snapshot, {1: NOISE})
    clock.advance(seconds=60 * 10)
    for late in (
        lambda: put(store, snapshot, {2: NOISE}),
        lambda: store.started.complete(snapshot, 2),
    ):
        with pytest.raises(InvalidInputError) as caught:
            late()
        assert reason(caught) == ("ValidationException", "WRITE_REQUEST_TIMEOUT")
    shown = store.get_snapshot(snapshot)
    assert (shown.state, shown.state_message) == (
        SnapshotState.ERROR,
        "no block was written for 10 minutes",
    )
    assert not list((store.path / "started").iterdir())
    store.delete_snapshots([snapshot, idle])
    assert_healthy(store)


def test_timeout_is_seen_after_a_restart(
    store: Store, seams: Seams, store_path: Path, clock: ManualClock
) -> None:
    snapshot = start(store, timeout_minutes=10)
    clock.advance(seconds=60 * 9)
    put(store, snapshot, {0: NOISE})
    store.close()
    clock.advance(seconds=60 * 9)
    with Store.open(store_path, seams) as again:
        assert again.get_snapshot(snapshot).state is SnapshotState.PENDING
        clock.advance(seconds=60 * 1)
        assert again.get_snapshot(snapshot).state is SnapshotState.ERROR


# Encryption: table 4.5, row by row


@pytest.mark.parametrize("by_default", [False, True], ids=["off", "on"])
@pytest.mark.parametrize(
    ("encrypted", "given", "off", "on"),
    [
        (True, False, "default", "default"),
        (True, True, "given", "given"),
        (False, False, "plain", "refused"),
        (False, True, "refused", "refused"),
        (None, False, "plain", "default"),
        (None, True, "given", "given"),
    ],
)
@pytest.mark.parametrize("parent", [None, "plain", "encrypted"])
def test_encryption(
    store_path: Path,
    seams: Seams,
    parent: str | None,
    encrypted: bool | None,
    given: bool,
    off: str,
    on: str,
    by_default: bool,
) -> None:
    with Store.create(store_path, seams) as store:
        key = store.keys.create().arn
        made = None
        if parent is not None:
            wanted = EncryptionRequest(encrypted=parent == "encrypted" or None)
            made = start(store, encryption=wanted)
            store.started.complete(made, 0)
            assert ended(store, made).encrypted is (parent == "encrypted")
        if by_default:
            store.encryption.enable_by_default()
        outcome = on if by_default else off
        if parent is not None:
            outcome = "refused"
            if encrypted is None and not given and (parent == "encrypted" or not by_default):
                outcome = "parent"
        asked = EncryptionRequest(encrypted=encrypted, kms_key_id=key if given else None)
        if outcome == "refused":
            with pytest.raises(InvalidInputError) as caught:
                start(store, made, encryption=asked)
            assert str(caught.value.code) == "ValidationException"
            return
        snapshot = start(store, made, encryption=asked)
        put(store, snapshot, {0: TEXT})
        stored = (store_path / "started" / f"{snapshot}.data").read_bytes()
        store.started.complete(snapshot, 1)
        shown = ended(store, snapshot)
        assert content(store, snapshot) == {0: TEXT}
        assert (TEXT in stored) is not shown.encrypted
        expected = {
            "plain": "",
            "given": key,
            "parent": "" if made is None else store.get_snapshot(made).kms_key_id,
        }
        if outcome == "default":
            assert shown.encrypted
            assert shown.kms_key_id not in ("", key)
        else:
            assert shown.kms_key_id == expected[outcome]
