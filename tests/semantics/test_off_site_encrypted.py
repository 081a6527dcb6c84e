"""Copies of encrypted snapshots to another store, and copies that are encrypted on the way.

The rules are those of a copy to another Region (docs/semantics.md, sections 11.4 and 11.5), with
keys of the other store (claim S-67).
"""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ebsim.config import SnapshotOptions
from ebsim.core import ingest
from ebsim.core.off_site_making import OffSiteMaking
from ebsim.core.off_site_source import OffSiteSource
from ebsim.engine import Seams, Store
from ebsim.errors import ErrorCode
from ebsim.keys.unlocking import KeyringAccess, Unlocking
from ebsim.off_site import CopyOutcome, OffSiteCopy, OffSiteReport, OffSiteRequest
from ebsim.permissions import PermissionChange
from ebsim.progress import SilentProgress
from ebsim.results import Snapshot, SnapshotState
from ebsim.storage.files import PosixFiles
from ebsim.testing.contents import HEAD, NOISE, TAIL, TEXT, ZEROS, noise_block
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.observed_files import ObservedFiles
from ebsim.testing.refused import refused
from ebsim.testing.sealed_records import data_keys, files_below, found_in, record_of, traces_of
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.sources import MemorySource, disk_of
from ebsim.units import BLOCK_SIZE

ALL = OffSiteRequest(all_snapshots=True)
ENCRYPTED = SnapshotOptions(encrypted=True)
FRIEND = "111122223333"
ALIAS = "alias/k"
NOT_ACCESSIBLE = "Given key ID is not accessible"
COPIED, PRESENT, FAILED = CopyOutcome.COPIED, CopyOutcome.PRESENT, CopyOutcome.FAILED


@pytest.fixture
def other_path(fast_path: Path) -> Path:
    return fast_path / "other"


@pytest.fixture
def there_seams(clock: ManualClock) -> Seams:
    return Seams(clock=clock, entropy=SeededEntropy(2))


@pytest.fixture
def other(other_path: Path, there_seams: Seams) -> Iterator[Store]:
    with Store.create(other_path, there_seams) as opened:
        yield opened


@pytest.fixture
def disk() -> MemorySource:
    return disk_of(NOISE, TEXT, HEAD)


def asking(key: str | None = None, **more: Any) -> OffSiteRequest:
    return OffSiteRequest(all_snapshots=True, encrypted=True, kms_key_id=key, **more)


def one(report: OffSiteReport) -> OffSiteCopy:
    (copy,) = report.copies
    return copy


def outcomes(report: OffSiteReport) -> list[CopyOutcome]:
    return [each.outcome for each in report.copies]


def shown(store: Store, copy: OffSiteCopy) -> Snapshot:
    return store.get_snapshot(copy.copy_id or "")


def moved(copy: OffSiteCopy) -> tuple[int, int]:
    """Return the blocks that were read, and those that crossed."""
    return copy.read_bytes // BLOCK_SIZE, copy.crossed_bytes // BLOCK_SIZE


def contents(store: Store, snapshot: Snapshot, count: int = 3) -> list[bytes]:
    return [store.read_block(snapshot.snapshot_id, index) for index in range(count)]


def default_key(store: Store) -> str:
    return store.encryption.get_default_kms_key_id()


# Which key


def test_copy_of_an_encrypted_snapshot_is_encrypted_with_a_key_of_the_other_store(
    store: Store, other: Store, disk: MemorySource
) -> None:
    first = store.create_snapshot(disk, ENCRYPTED)
    disk.write(BLOCK_SIZE, TAIL)
    second = store.create_snapshot(disk)

    one_there, two_there = store.copy_to(other, ALL).copies

    copies = [shown(other, one_there), shown(other, two_there)]
    assert [each.encrypted for each in copies] == [True, True]
    assert {each.kms_key_id for each in copies} == {default_key(other)}
    assert default_key(other) != default_key(store)
    assert len({each.data_encryption_key_id for each in copies}) == 1
    assert copies[0].data_encryption_key_id != first.data_encryption_key_id
    assert (moved(one_there), moved(two_there)) == ((3, 3), (1, 1))
    assert two_there.parent_id == one_there.copy_id
    assert contents(other, copies[0]) == contents(store, first) == [NOISE, TEXT, HEAD]
    assert contents(other, copies[1]) == contents(store, second) == [NOISE, TAIL, HEAD]
    assert outcomes(store.copy_to(other, ALL)) == [PRESENT, PRESENT]
    assert_healthy(other, orphan_bytes_max=0)
    assert_healthy(store)


def test_two_stores_with_one_keyring_share_no_data_key(
    fast_path: Path, clock: ManualClock, disk: MemorySource
) -> None:
    keyring = fast_path / "keyring.json"
    seams = [Seams(clock=clock, entropy=SeededEntropy(n), keyring=keyring) for n in (1, 2)]
    with (
        Store.create(fast_path / "a", seams[0]) as here,
        Store.create(fast_path / "b", seams[1]) as there,
    ):
        first = here.create_snapshot(disk, ENCRYPTED)

        copy = shown(there, one(here.copy_to(there, ALL)))

        assert copy.kms_key_id == first.kms_key_id
        assert not set(data_keys(here)) & set(data_keys(there))
        pairs = [
            (record_of(here, first.snapshot_id, n), record_of(there, copy.snapshot_id, n))
            for n in range(3)
        ]
        assert all(a.header.block_hash != b.header.block_hash for a, b in pairs)
        assert all(a.payload != b.payload for a, b in pairs)
        assert contents(there, copy) == [NOISE, TEXT, HEAD]
        assert_healthy(there)


def test_named_key_and_what_is_incremental_under_it(
    store: Store, other: Store, disk: MemorySource
) -> None:
    """Section 11.4: a copy under another key is full; what is under one key is incremental."""
    key = other.keys.create(alias=ALIAS).arn
    store.create_snapshot(disk, ENCRYPTED)
    store.copy_to(other, ALL)
    disk.write(0, TAIL)
    second = store.create_snapshot(disk)
    named = OffSiteRequest(snapshot_ids=[second.snapshot_id], encrypted=True, kms_key_id=ALIAS)

    under_key = one(store.copy_to(other, named))
    disk.write(0, noise_block(7))
    third = store.create_snapshot(disk)
    by_default = one(store.copy_to(other, OffSiteRequest(snapshot_ids=[third.snapshot_id])))

    assert (under_key.parent_id, moved(under_key)) == (None, (3, 3))
    assert shown(other, under_key).kms_key_id == key
    oldest = other.list_snapshots()[0]
    assert (by_default.parent_id, moved(by_default)) == (oldest.snapshot_id, (1, 1))
    assert contents(other, shown(other, by_default)) == [noise_block(7), TEXT, HEAD]
    assert contents(other, shown(other, under_key)) == [TAIL, TEXT, HEAD]
    assert_healthy(other, orphan_bytes_max=0)


def test_unencrypted_snapshots_are_encrypted_on_the_way(
    store: Store, other: Store, disk: MemorySource
) -> None:
    """What lies there in the clear is not taken for what was asked for."""
    store.create_snapshot(disk)
    plain = one(store.copy_to(other, ALL))

    sealed = one(store.copy_to(other, asking()))
    again = one(store.copy_to(other, asking()))
    unasked = one(store.copy_to(other, ALL))

    assert not shown(other, plain).encrypted
    assert (sealed.outcome, sealed.parent_id, moved(sealed)) == (COPIED, None, (3, 3))
    assert shown(other, sealed).kms_key_id == default_key(other)
    assert contents(other, shown(other, sealed)) == [NOISE, TEXT, HEAD]
    assert (again.outcome, again.copy_id) == (PRESENT, sealed.copy_id)
    assert unasked.outcome is PRESENT
    disk.write(0, TAIL)
    store.create_snapshot(disk)
    _, following = store.copy_to(other, asking()).copies
    assert (following.parent_id, moved(following)) == (sealed.copy_id, (1, 1))
    assert_healthy(other, orphan_bytes_max=0)


def test_encryption_by_default_of_the_other_store_counts(
    store: Store, other: Store, disk: MemorySource
) -> None:
    store.create_snapshot(disk)
    store.encryption.enable_by_default()
    plain = one(store.copy_to(other, ALL))
    other.delete_snapshots([plain.copy_id or ""])
    other.encryption.enable_by_default()
    key = other.encryption.modify_default_kms_key_id(other.keys.create().arn)

    copy = one(store.copy_to(other, ALL))

    assert shown(other, copy).kms_key_id == key


def test_what_cannot_be_asked_for_is_refused(
    store: Store, other: Store, disk: MemorySource
) -> None:
    store.create_snapshot(disk, ENCRYPTED)
    wrong = [
        (replace(ALL, encrypted=False), ErrorCode.INVALID_PARAMETER_VALUE),
        (replace(ALL, kms_key_id=ALIAS), ErrorCode.INVALID_PARAMETER_DEPENDENCY),
        (asking("alias/typo"), ErrorCode.CUSTOMER_KEY_REVOKED),
        (asking(default_key(store)), ErrorCode.CUSTOMER_KEY_REVOKED),
    ]
    for request, code in wrong:
        for dry_run in (True, False):
            wanted = replace(request, dry_run=dry_run)
            assert refused(lambda wanted=wanted: store.copy_to(other, wanted)) is code  # type: ignore[misc]
    assert other.list_snapshots() == []


def test_branch_shares_the_data_key_of_what_it_is_incremental_on(
    store: Store, other: Store, disk: MemorySource
) -> None:
    root = store.create_snapshot(disk, ENCRYPTED)
    branch = disk_of(NOISE, TAIL, HEAD, name="memory:branch")
    store.create_snapshot(branch, SnapshotOptions(parent=root.snapshot_id))

    first, second = store.copy_to(other, ALL).copies

    assert (second.parent_id, moved(second)) == (first.copy_id, (1, 1))
    keys = {shown(other, each).data_encryption_key_id for each in (first, second)}
    assert len(keys) == 1
    assert contents(other, shown(other, second)) == [NOISE, TAIL, HEAD]
    assert_healthy(other, orphan_bytes_max=0)


def test_shared_snapshot_is_copied_by_whom_its_key_is_granted_to(
    store: Store, other: Store, disk: MemorySource
) -> None:
    key = store.keys.create(alias=ALIAS)
    options = SnapshotOptions(encrypted=True, kms_key_id=ALIAS)
    snapshot = store.create_snapshot(disk, options)
    store.permissions.modify(snapshot.snapshot_id, PermissionChange(add=[FRIEND]))
    here, there = store.as_account(FRIEND), other.as_account(FRIEND)
    request = OffSiteRequest(snapshot_ids=[snapshot.snapshot_id])

    without = one(here.copy_to(there, request))
    store.keys.create_grant(key.arn, FRIEND)
    copy = one(here.copy_to(there, request))

    assert (without.outcome, copy.outcome) == (FAILED, COPIED)
    assert shown(there, without).state_message == NOT_ACCESSIBLE
    assert shown(there, copy).kms_key_id == default_key(there)
    assert contents(there, shown(there, copy)) == [NOISE, TEXT, HEAD]


def test_dry_run_makes_no_keyring(
    store: Store, other: Store, other_path: Path, disk: MemorySource
) -> None:
    store.create_snapshot(disk, ENCRYPTED)
    disk.write(0, TAIL)
    store.create_snapshot(disk)

    planned = store.copy_to(other, replace(ALL, dry_run=True))
    asked = store.copy_to(other, asking(dry_run=True))

    assert not (other_path / "keyring.json").exists()
    for report in (planned, asked):
        assert [moved(each) for each in report.copies] == [(3, 0), (1, 0)]
        assert [each.incremental for each in report.copies] == [False, True]
    done = store.copy_to(other, ALL)
    assert [each.read_bytes for each in done.copies] == [each.read_bytes for each in asked.copies]


# Keys that cannot be used


def test_key_here_that_cannot_be_used_ends_its_copies_as_error(
    store: Store, other: Store, disk: MemorySource
) -> None:
    key = store.keys.create(alias=ALIAS).arn
    store.create_snapshot(disk, SnapshotOptions(encrypted=True, kms_key_id=ALIAS))
    store.create_snapshot(disk_of(TAIL, name="memory:plain"))
    store.keys.disable(ALIAS)

    planned = store.copy_to(other, replace(ALL, dry_run=True))
    report = store.copy_to(other, ALL)
    next_night = store.copy_to(other, ALL)

    assert outcomes(planned) == [FAILED, CopyOutcome.PLANNED]
    assert outcomes(report) == [FAILED, COPIED]
    assert key in report.copies[0].message
    failed, _ = other.list_snapshots()
    assert (failed.state, failed.state_message) == (SnapshotState.ERROR, NOT_ACCESSIBLE)
    assert outcomes(next_night) == [FAILED, PRESENT]
    assert next_night.copies[0].copy_id == failed.snapshot_id, "one record of it is enough"
    assert_healthy(other, orphan_bytes_max=0)
    store.keys.enable(ALIAS)
    assert outcomes(store.copy_to(other, ALL)) == [COPIED, PRESENT]
    store.keys.disable(ALIAS)
    assert outcomes(store.copy_to(other, ALL)) == [PRESENT, PRESENT], "no key is needed for that"
    assert_healthy(other, orphan_bytes_max=0)


def test_key_there_that_cannot_be_used_ends_its_copies_as_error(
    store: Store, other: Store, disk: MemorySource
) -> None:
    store.create_snapshot(disk, ENCRYPTED)
    store.create_snapshot(disk_of(TAIL, name="memory:plain"))
    other.keys.create(alias=ALIAS)
    other.encryption.modify_default_kms_key_id(ALIAS)
    other.keys.disable(ALIAS)

    report = store.copy_to(other, ALL)

    assert outcomes(report) == [FAILED, COPIED]
    assert shown(other, report.copies[0]).state_message == NOT_ACCESSIBLE
    assert refused(lambda: store.copy_to(other, asking(ALIAS))) is ErrorCode.CUSTOMER_KEY_REVOKED
    assert len(other.list_snapshots()) == 2
    assert_healthy(other, orphan_bytes_max=0)


@pytest.mark.parametrize("side", ["here", "there"])
def test_key_that_is_disabled_while_it_is_copied(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    monkeypatch.setattr(ingest, "BATCH_CHANGES", 1)
    store.keys.create(alias=ALIAS)
    other.keys.create(alias=ALIAS)
    wide = MemorySource("memory:wide", 1200 * BLOCK_SIZE, report_holes=True)
    for index in range(0, 1200, 100):
        wide.put(index, noise_block(index))
    store.create_snapshot(wide, SnapshotOptions(encrypted=True, kms_key_id=ALIAS))
    store.create_snapshot(disk_of(TAIL, name="memory:plain"))
    read = OffSiteSource.read_into
    reads = []

    def disable_then_read(self: OffSiteSource, *args: Any) -> None:
        reads.append(args)
        if len(reads) == 700:
            (store if side == "here" else other).keys.disable(ALIAS)
        read(self, *args)

    monkeypatch.setattr(OffSiteSource, "read_into", disable_then_read)
    reads += [()] * 694
    first, second = store.copy_to(other, asking(ALIAS)).copies

    if side == "here":
        assert (first.outcome, second.outcome) == (FAILED, COPIED)
        failed = shown(other, first)
        assert (failed.state, failed.state_message) == (SnapshotState.ERROR, NOT_ACCESSIBLE)
    else:
        assert first.outcome is COPIED, "what is open stays so until the snapshot is made"
        assert second.outcome is FAILED
    assert_healthy(other, orphan_bytes_max=0)


# Keyrings that cannot be used


def protected(folder: Path, number: int, phrase: str, clock: ManualClock) -> Seams:
    return Seams(
        clock=clock,
        entropy=SeededEntropy(number),
        keyring=folder / f"keyring-{number}.json",
        unlocking=Unlocking(passphrase=lambda: phrase),
    )


@pytest.mark.parametrize("side", [1, 2])
def test_keyring_that_is_not_opened_fails_what_needs_it_and_no_more(
    fast_path: Path, clock: ManualClock, disk: MemorySource, side: int
) -> None:
    seams = {n: protected(fast_path, n, f"phrase {n}", clock) for n in (1, 2)}
    paths = {n: fast_path / f"store-{n}" for n in (1, 2)}
    with Store.create(paths[1], seams[1]) as here, Store.create(paths[2], seams[2]) as there:
        here.create_snapshot(disk, ENCRYPTED)
        disk.write(0, TAIL)
        here.create_snapshot(disk)
        here.create_snapshot(disk_of(TAIL, name="memory:plain"))
        there.keys.create(alias=ALIAS)
    asked: list[int] = []

    def wrong() -> str:
        asked.append(side)
        return "wrong"

    opened = dict(seams)
    opened[side] = replace(seams[side], unlocking=Unlocking(passphrase=wrong))
    with Store.open(paths[1], opened[1]) as here, Store.open(paths[2], opened[2]) as there:
        report = here.copy_to(there, ALL)

        assert outcomes(report) == [FAILED, FAILED, COPIED]
        assert report.copies[0].copy_id is None, "nothing was begun"
        assert "passphrase" in report.copies[0].message
        assert ("other store" in report.copies[0].message) is (side == 2)
        assert len(asked) == 1, "a wrong passphrase is not tried for each snapshot"
        assert len(there.list_snapshots()) == 1
    with Store.open(paths[1], seams[1]) as here, Store.open(paths[2], seams[2]) as there:
        assert outcomes(here.copy_to(there, ALL)) == [COPIED, COPIED, PRESENT]
        assert_healthy(there, orphan_bytes_max=0)


def test_store_whose_keyring_is_lost_is_told(
    store: Store, other: Store, other_path: Path, there_seams: Seams, disk: MemorySource
) -> None:
    store.create_snapshot(disk, ENCRYPTED)
    store.copy_to(other, ALL)
    disk.write(0, TAIL)
    store.create_snapshot(disk)
    other.close()
    (other_path / "keyring.json").unlink()

    with Store.open(other_path, there_seams) as again:
        report = store.copy_to(again, ALL)

        assert outcomes(report) == [PRESENT, FAILED]
        assert str(other_path) in report.copies[1].message
        assert not (other_path / "keyring.json").exists(), "a lost keyring is not made anew"
        assert refused(lambda: store.copy_to(again, asking())) is ErrorCode.KEYRING_NOT_FOUND


# What is kept, and what is given away


def test_first_store_is_lost_with_its_keyring(
    store: Store, other: Store, other_path: Path, there_seams: Seams, disk: MemorySource
) -> None:
    """The other store and its own keyring are all that is needed, also without its catalog."""
    store.create_snapshot(disk, ENCRYPTED)
    disk.write(0, TAIL)
    store.create_snapshot(disk)
    store.copy_to(other, ALL)
    kept = other.list_snapshots()
    folder = store.path
    store.close()
    other.close()
    shutil.rmtree(folder)

    assert Store.rebuild(other_path, there_seams).findings == ()

    with Store.open(other_path, there_seams) as again:
        assert again.list_snapshots() == kept
        assert contents(again, kept[1]) == [TAIL, TEXT, HEAD]
        assert_healthy(again)


def test_lost_store_is_made_again_and_goes_on(
    store: Store, other: Store, fast_path: Path, clock: ManualClock, disk: MemorySource
) -> None:
    store.create_snapshot(disk, ENCRYPTED)
    store.copy_to(other, ALL)
    with Store.create(fast_path / "new", Seams(clock=clock, entropy=SeededEntropy(3))) as new:
        back = one(other.copy_to(new, ALL))
        volume = new.get_snapshot(back.copy_id or "").volume_id
        disk.write(0, noise_block(6))
        following = new.create_snapshot(disk, SnapshotOptions(volume_id=volume))
        assert following.encrypted, "what follows encrypted copies is encrypted as they are"
        assert not found_in(_all_bytes(new.path), {"plain": noise_block(6)[:48]})

        present, copy = new.copy_to(other, ALL).copies

    assert (present.outcome, moved(copy)) == (PRESENT, (1, 1))
    assert copy.parent_id == present.copy_id
    assert contents(other, shown(other, copy)) == [noise_block(6), TEXT, HEAD]
    assert_healthy(other, orphan_bytes_max=0)


def _all_bytes(folder: Path) -> bytes:
    return b"".join(data for _, data in files_below(folder))


def test_no_plain_byte_is_on_either_disk_at_any_time(fast_path: Path, clock: ManualClock) -> None:
    """During the copy, after it, and after a rebuild; an unencrypted source is on its own disk."""
    here_path, there_path = fast_path / "here", fast_path / "there"
    blocks = [NOISE, TEXT, TAIL, noise_block(5)]
    secrets: dict[str, bytes] = {}
    looked = []

    def look(*folders: Path) -> None:
        for path, data in files_below(*folders):
            found = found_in(data, secrets)
            assert not found, f"{path} has {found}"
        looked.append(folders)

    def seams(number: int, **more: Any) -> Seams:
        keyring = fast_path / f"keyring-{number}.json"
        return Seams(clock=clock, entropy=SeededEntropy(number), keyring=keyring, **more)

    def watch(what: str, _path: Path) -> None:
        if what not in ("read_at", "read_into", "size", "is_hole"):
            look(there_path)

    files = ObservedFiles(PosixFiles(), watch)
    with Store.create(here_path, seams(1)) as here:
        disk = disk_of(*blocks)
        here.create_snapshot(disk, ENCRYPTED)
        disk.write(0, HEAD)
        here.create_snapshot(disk)
        with Store.create(there_path, seams(2, files=files)) as there:
            for number, block in enumerate([*blocks, HEAD]):
                for name, trace in {**traces_of(block, here), **traces_of(block, there)}.items():
                    secrets[f"block {number}: {name}"] = trace
            secrets.update((f"data key {n}", key) for n, key in enumerate(data_keys(here)))
            here.copy_to(there, ALL)
            secrets.update((f"data key there {n}", key) for n, key in enumerate(data_keys(there)))
            look(here_path, there_path)
            plain_disk = disk_of(noise_block(9), TEXT, name="memory:plain")
            here.create_snapshot(plain_disk)
            secrets.update(traces_of(noise_block(9), there))
            assert outcomes(here.copy_to(there, asking())) == [PRESENT, PRESENT, COPIED]
            look(there_path)
    Store.rebuild(there_path, seams(2))
    look(there_path)
    assert len(looked) > 20
    assert len(secrets) > 50


def test_written_zeros_and_partial_blocks(store: Store, other: Store) -> None:
    odd = MemorySource("memory:odd", bytearray(NOISE + ZEROS + TEXT[:777]))
    store.create_snapshot(odd, ENCRYPTED)
    odd.write(0, ZEROS)
    store.create_snapshot(odd)

    first, second = store.copy_to(other, ALL).copies

    tail = TEXT[:777].ljust(BLOCK_SIZE, b"\0")
    assert contents(other, shown(other, first)) == [NOISE, ZEROS, tail]
    assert contents(other, shown(other, second)) == [ZEROS, ZEROS, tail]
    assert_healthy(other, orphan_bytes_max=0)


# Interrupted


def interrupted(
    monkeypatch: pytest.MonkeyPatch, store: Store, other: Store, request: OffSiteRequest
) -> Snapshot:
    """Return the pending copy that is left when the first batch was stored."""
    keep = OffSiteMaking._keep

    def interrupt(self: OffSiteMaking, batch: ingest.Batch) -> None:
        keep(self, batch)
        raise KeyboardInterrupt

    monkeypatch.setattr(ingest, "BATCH_CHANGES", 1)
    monkeypatch.setattr(ingest, "RUNS_AHEAD", 1)
    with monkeypatch.context() as patch:
        patch.setattr(OffSiteMaking, "_keep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.copy_to(other, request)
    (left,) = [each for each in other.list_snapshots() if each.state is SnapshotState.PENDING]
    return left


def test_interrupted_copy_goes_on_under_its_key(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under another key it is begun anew; what was begun stays until it is gone on with."""
    wide = MemorySource("memory:wide", 1200 * BLOCK_SIZE, report_holes=True)
    for index in range(0, 1200, 100):
        wide.put(index, noise_block(index))
    source = store.create_snapshot(wide, ENCRYPTED)
    other.keys.create(alias=ALIAS)
    left = interrupted(monkeypatch, store, other, ALL)

    planned = one(store.copy_to(other, replace(ALL, dry_run=True)))
    elsewhere = one(store.copy_to(other, asking(ALIAS)))
    other.delete_snapshots([elsewhere.copy_id or ""])
    copy = one(store.copy_to(other, ALL))

    assert (planned.copy_id, elsewhere.resumed_bytes) == (left.snapshot_id, 0)
    assert copy.copy_id == left.snapshot_id
    assert copy.resumed_bytes == planned.resumed_bytes > 0
    assert copy.read_bytes < 12 * BLOCK_SIZE
    for index in range(0, 1200, 50):
        assert other.read_block(left.snapshot_id, index) == store.read_block(
            source.snapshot_id, index
        )
    assert_healthy(other, orphan_bytes_max=0)


# Repair


class Notes(SilentProgress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, message: str) -> None:
        self.told.append(message)


def test_repair_heals_encrypted_blocks_from_copies_and_back(
    fast_path: Path, clock: ManualClock, disk: MemorySource
) -> None:
    seams = {n: protected(fast_path, n, f"phrase {n}", clock) for n in (1, 2)}
    paths = {n: fast_path / f"store-{n}" for n in (1, 2)}
    with Store.create(paths[1], seams[1]) as here, Store.create(paths[2], seams[2]) as there:
        snapshot = here.create_snapshot(disk, ENCRYPTED)
        copy = shown(there, one(here.copy_to(there, ALL)))
    ids = {1: snapshot, 2: copy}
    for damaged, whole in ((1, 2), (2, 1)):
        with Store.open(paths[damaged], seams[damaged]) as hurt:
            record = record_of(hurt, ids[damaged].snapshot_id, 0)
            torn = bytearray(record.whole)
            torn[5000] ^= 255
            record.write(bytes(torn))
            notes = Notes()
            without = hurt.repair(other=paths[whole], dry_run=True, progress=notes)
            keys = KeyringAccess(keyring=seams[whole].keyring, unlocking=seams[whole].unlocking)
            report = hurt.repair(other=paths[whole], other_keys=keys)

            assert [each.healed for each in without.records] == [False]
            assert any("left out" in each for each in notes.told)
            assert [(each.remedy, each.healed) for each in report.records] == [("store", True)]
            assert contents(hurt, ids[damaged]) == [NOISE, TEXT, HEAD]
            assert_healthy(hurt)


def test_repair_opens_the_other_keyring_as_this_one_by_default(
    store: Store, other: Store, other_path: Path, disk: MemorySource
) -> None:
    snapshot = store.create_snapshot(disk, ENCRYPTED)
    store.copy_to(other, ALL)
    other.close()
    record = record_of(store, snapshot.snapshot_id, 2)
    torn = bytearray(record.whole)
    torn[-4000] ^= 255
    record.write(bytes(torn))

    report = store.repair(other=other_path)

    assert [(each.remedy, each.healed) for each in report.records] == [("store", True)]
    assert contents(store, snapshot) == [NOISE, TEXT, HEAD]
