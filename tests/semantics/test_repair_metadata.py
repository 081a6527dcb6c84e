"""Repairing what segments say beside blocks: a rebuild afterwards gives the same as before."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ebsim.config import Quotas, SnapshotOptions
from ebsim.engine import Seams, Store
from ebsim.errors import CorruptionError
from ebsim.format.meta_records import decode_journal
from ebsim.format.segment import RecordKind
from ebsim.locking import LockMode, LockRequest
from ebsim.permissions import PermissionChange, PublicAccess
from ebsim.policies import CreateRule, PolicyRequest, RetainRule, Schedule
from ebsim.recycle_bin import RuleRequest, RuleResourceType
from ebsim.requests import BlockDevice, ImageOptions, ImageQuery, VolumeRequest
from ebsim.storage.files import PosixFiles
from ebsim.storage.segment_scan import scan_segment
from ebsim.testing.contents import noise_block, palette_block
from ebsim.testing.damage import flip_bit, segment_files
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.seams import ManualClock, SeededEntropy, fast_folder
from ebsim.testing.sources import MemorySource, disk_of
from ebsim.units import BLOCK_SIZE

KINDS = {RecordKind.PAGES: "pages", RecordKind.VERSIONS: "versions", RecordKind.JOURNAL: "journal"}


def new_seams() -> Seams:
    return Seams(clock=ManualClock(step_us=1_000_000), entropy=SeededEntropy())


def live_a_life(store: Store) -> None:
    """Take snapshots with branches and deletions; have volumes, images, tags, policies, quotas."""
    disk = MemorySource("memory:disk", 3 * BLOCK_SIZE)
    ids = []
    for night in range(5):
        disk.put(night % 3, palette_block(3 + night))
        options = SnapshotOptions(tags={"night": str(night)})
        ids.append(store.create_snapshot(disk, options).snapshot_id)
    for branch in range(2):
        other = MemorySource(f"memory:branch{branch}", 3 * BLOCK_SIZE)
        other.put(branch, palette_block(9))
        store.create_snapshot(other, SnapshotOptions(parent=ids[2]))
    store.delete_snapshots([ids[0], ids[2]])  # the second stays, nameless
    store.delete_snapshots(
        [store.create_snapshot(disk_of(palette_block(8), name="memory:gone")).snapshot_id]
    )
    store.tags.create([ids[1], ids[3]], {"kept": "yes", "night": "other"})
    store.tags.delete([ids[3]], {"kept": None})
    volume = store.volumes.create(VolumeRequest(size_gib=1, tags={"a": "b"})).volume_id
    with store.volumes.open(volume) as file:
        file.pwrite(palette_block(11), 0)
    (managed,) = store.create_snapshots([volume])
    store.wait_snapshots([managed.snapshot_id])
    store.volumes.delete(store.volumes.create(VolumeRequest(size_gib=1)).volume_id)
    devices = {"/dev/sda1": BlockDevice(snapshot_id=ids[4])}
    image = store.images.register("an image", devices, ImageOptions(tags={"c": "d"}))
    store.images.deregister(store.images.register("another", devices).image_id)
    store.images.disable(image.image_id)
    daily = Schedule(
        name="daily",
        create=CreateRule(interval_hours=24, time="03:00"),
        retain=RetainRule(count=3),
    )
    request = PolicyRequest(description="nightly", sources=("/disk.img",), schedules=(daily,))
    store.lifecycle.put(request)
    store.lifecycle.delete(store.lifecycle.put(request).policy_id)
    store.quotas = Quotas(modifications_per_day=7)
    store.permissions.public_access = PublicAccess.BLOCK_ALL_SHARING
    store.encryption.enable_by_default()
    store.encryption.modify_default_kms_key_id(store.keys.create().arn)
    store.as_account("111122223333").encryption.enable_by_default()
    store.encryption.disable_by_default()  # what follows is not encrypted
    share_lock_and_recycle(store, ids)


def share_lock_and_recycle(store: Store, ids: Sequence[str]) -> None:
    """Have what changes no charge: sharing, a lock, rules, and what goes to the Recycle Bin."""
    store.permissions.modify(ids[1], PermissionChange(add=["111122223333"]))
    store.locks.lock(ids[4], LockRequest(mode=LockMode.GOVERNANCE, duration_days=9))
    rules, kind = store.recycle_bin.rules, RuleResourceType.EBS_SNAPSHOT
    wanted = RuleRequest(resource_type=kind, retention_days=7, resource_tags=[("bin", "yes")])
    rules.delete(rules.create(wanted).rule_id)
    rules.create(wanted)
    disk, tags = disk_of(palette_block(12), palette_block(13), name="memory:kept"), {"bin": "yes"}
    plain = store.create_snapshot(disk).snapshot_id
    kept = []
    for number in range(3):
        disk.put(0, palette_block(14 + number))
        kept.append(store.create_snapshot(disk, SnapshotOptions(tags=tags)).snapshot_id)
    store.delete_snapshots([kept[0], plain])  # one goes to the bin, and gets a charge there
    store.delete_snapshots([kept[1]])
    store.recycle_bin.restore_snapshot(kept[1])


def told(store: Store) -> dict[str, Any]:
    """Return all that a user can ask a store and that a rebuild brings back."""
    snapshots = store.list_snapshots()
    (image,) = store.images.list(ImageQuery(include_disabled=True))
    return {
        "snapshots": snapshots,
        "contents": [
            store.read_block(each.snapshot_id, index)
            for each in snapshots
            for index in range(min(3, -(-each.size_bytes // BLOCK_SIZE)))
        ],
        "dry runs": [
            store.delete_snapshots([each.snapshot_id], dry_run=True).deleted[0].moved_to
            for each in snapshots
            if each.snapshot_id != image.devices[0].snapshot_id
        ],
        "ledger": store.ledger(),
        "volumes": store.volumes.list(),
        "images": image,
        "policies": store.lifecycle.list(),
        "tags": store.tags.list(),
        "quotas": store.quotas,
        "settings": [
            (each.permissions.public_access, each.encryption.defaults())
            for each in (store, store.as_account("111122223333"))
        ],
        "keyring": store.keys.list(),
        "rules": store.recycle_bin.rules.list(),
        "in the bin": store.recycle_bin.snapshots(),
        "locks": store.locks.list(),
        "permissions": [store.permissions.describe(each.snapshot_id) for each in snapshots],
    }


@pytest.fixture(scope="module")
def lived() -> Iterator[Path]:
    """A folder with such a store, which nobody changes."""
    folder = fast_folder()
    with Store.create(folder / "store", new_seams()) as store:
        live_a_life(store)
    yield folder / "store"
    shutil.rmtree(folder)


@pytest.fixture
def copied(lived: Path, fast_path: Path) -> Path:
    return Path(shutil.copytree(lived, fast_path / "store"))


def records(folder: Path, kind: RecordKind) -> list[tuple[Path, int, bytes]]:
    """Return file, offset and payload of every record of a kind, entries in their order."""
    found = [
        (path, record.offset, bytes(record.payload))
        for path in segment_files(folder)
        for record in scan_segment(PosixFiles(), path, bytes.fromhex(path.stem))
        if record.header is not None and record.header.kind is kind and record.payload is not None
    ]
    if kind is RecordKind.JOURNAL:
        found.sort(key=lambda each: decode_journal(each[2])["sequence"])
    return found


def open_again(folder: Path) -> Store:
    return Store.open(folder, Seams(clock=ManualClock(), entropy=SeededEntropy(7)))


def assert_repaired(folder: Path, before: dict[str, Any], *kinds: str) -> None:
    """Repair, and look that nothing changed that is told, also when the catalog is made again."""
    with open_again(folder) as store:
        report = store.repair()
        assert [record.kind for record in report.records] == list(kinds)
        assert {record.remedy for record in report.records} == {"catalog"}
        assert_healthy(store)
        assert told(store) == before
    shutil.rmtree(folder / "catalog")
    assert (
        Store.rebuild(folder, Seams(clock=ManualClock(), entropy=SeededEntropy(8))).findings == ()
    )
    with open_again(folder) as store:
        assert_healthy(store)
        assert told(store) == before


@pytest.fixture(scope="module")
def before(lived: Path) -> dict[str, Any]:
    """Return what is told of the store that nobody damaged."""
    folder = fast_folder()
    with Store.open(Path(shutil.copytree(lived, folder / "store")), new_seams()) as store:
        found = told(store)
    shutil.rmtree(folder)
    return found


@pytest.mark.parametrize("kind", [RecordKind.PAGES, RecordKind.VERSIONS])
def test_pages_and_versions_are_made_again(
    copied: Path, before: dict[str, Any], kind: RecordKind
) -> None:
    """F20: all records of a kind at once."""
    found = records(copied, kind)
    for path, offset, _ in found:
        flip_bit(path, 8 * (offset + 100))
    assert_repaired(copied, before, *[KINDS[kind]] * len(found))


@pytest.mark.parametrize("number", range(1, 43))
def test_entry_of_the_journal_is_made_again(
    copied: Path, before: dict[str, Any], number: int
) -> None:
    entries = records(copied, RecordKind.JOURNAL)
    assert len(entries) == 42, "each is a case"
    path, offset, _ = entries[number - 1]
    flip_bit(path, 8 * (offset + 100))
    assert_repaired(copied, before, "journal")


def test_the_whole_journal_is_made_again(copied: Path, before: dict[str, Any]) -> None:
    entries = records(copied, RecordKind.JOURNAL)
    for path, offset, _ in entries[7:]:
        flip_bit(path, 8 * (offset + 100))
    assert_repaired(copied, before, *["journal"] * len(entries[7:]))


def test_what_is_done_after_a_repair_follows_on_what_was_restated(
    copied: Path, before: dict[str, Any]
) -> None:
    path, offset, _ = records(copied, RecordKind.JOURNAL)[-1]
    flip_bit(path, 8 * (offset + 100))
    with open_again(copied) as store:
        store.repair()
        store.tags.create([before["snapshots"][0].snapshot_id], {"after": "it"})
        wanted = told(store)
    shutil.rmtree(copied / "catalog")
    assert Store.rebuild(copied, new_seams()).findings == ()
    with open_again(copied) as store:
        assert told(store) == wanted


def test_entry_that_would_be_another_is_noticed(
    copied: Path, before: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests above can fail: an entry that says nothing is not what was lost."""
    monkeypatch.setattr(
        "ebsim.core.restate._what_it_did",
        lambda *_: ("delete", {"time_us": 0, "steps": []}),
    )
    path, offset, _ = records(copied, RecordKind.JOURNAL)[1]
    flip_bit(path, 8 * (offset + 100))
    with pytest.raises(AssertionError):
        assert_repaired(copied, before, "journal")


@pytest.mark.parametrize("byte", [3, 9, 20, 40, 60, 84, 1000, 4090])
def test_header_of_a_segment_is_written_anew(
    copied: Path, before: dict[str, Any], byte: int
) -> None:
    """F22."""
    for path in segment_files(copied):
        flip_bit(path, 8 * byte)
    assert_repaired(copied, before, *["header"] * len(segment_files(copied)))
    assert len(list((copied / "set-aside").iterdir())) == len(segment_files(copied))


def test_pages_of_deleted_snapshots_are_left_out(copied: Path, before: dict[str, Any]) -> None:
    """A record is made again in as many parts as there are rows of pages that still count."""
    with open_again(copied) as store:
        disk = disk_of(*(noise_block(number) for number in range(3)), name="memory:long")
        made = [store.create_snapshot(disk).snapshot_id]
        disk.put(1, palette_block(5))
        made.append(store.create_snapshot(disk).snapshot_id)
        store.delete_snapshots(made[:1])
        wanted = told(store)
    assert wanted != before
    for kind in (RecordKind.PAGES, RecordKind.VERSIONS):
        for path, offset, _ in records(copied, kind):
            flip_bit(path, 8 * (offset + 100))
    with open_again(copied) as store:
        assert not store.repair().unhealed
        assert_healthy(store)
    shutil.rmtree(copied / "catalog")
    assert Store.rebuild(copied, new_seams()).findings == ()
    with open_again(copied) as store:
        assert told(store) == wanted


def test_version_that_a_rebuild_lost_stays_lost(copied: Path) -> None:
    """What neither the segments nor the catalog know cannot be made again, and is told."""
    for path, offset, _ in records(copied, RecordKind.VERSIONS):
        flip_bit(path, 8 * (offset + 100))
    shutil.rmtree(copied / "catalog")
    assert Store.rebuild(copied, new_seams()).findings
    with open_again(copied) as store:
        report = store.repair()
        assert report.unhealed
        assert all("cannot be made again" in record.message for record in report.unhealed)
        with pytest.raises(CorruptionError):
            store.read_block(store.list_snapshots()[0].snapshot_id, 0)


def test_lost_entry_of_what_a_volume_is_still_loaded_from(fast_path: Path) -> None:
    """What a full snapshot of the volume began with hangs below the snapshot that is gone."""
    folder = fast_path / "store"
    with Store.create(folder, new_seams()) as store:
        disk = disk_of(*(palette_block(number) for number in (1, 2, 4, 5)))
        origin = store.create_snapshot(disk).snapshot_id
        volume = store.volumes.create(VolumeRequest(snapshot_id=origin)).volume_id
        store.delete_snapshots([origin])
        with store.volumes.open(volume) as file:
            file.pwrite(b"changed", 0)
        begun = store.create_snapshot(volume).snapshot_id
        (taken,) = store.wait_snapshots([begun])
        assert taken.parent_id is None
        wanted = [store.read_block(begun, index) for index in range(4)]
    path, offset, _ = records(folder, RecordKind.JOURNAL)[0]
    flip_bit(path, 8 * (offset + 100))

    with open_again(folder) as store:
        assert [record.remedy for record in store.repair().records] == ["catalog"]
    shutil.rmtree(folder / "catalog")
    assert Store.rebuild(folder, new_seams()).findings == ()

    with Store.open(folder, Seams(clock=ManualClock(), entropy=SeededEntropy(9))) as store:
        store.volumes.delete(volume)
        assert [store.read_block(begun, index) for index in range(4)] == wanted
        assert_healthy(store)
