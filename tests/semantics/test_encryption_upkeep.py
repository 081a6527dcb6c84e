"""Everything that handles blocks works over encrypted stores: with their keys, and without.

Restores, checks, repairs with each remedy, rebuilds, compaction, deletion and dumps; a rotated KMS
key; a keyring that was lost.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ebsim.config import SnapshotOptions
from ebsim.core import compact_plan
from ebsim.core.domains import list_domains, open_domain
from ebsim.core.dump import dump
from ebsim.engine import Seams, Store
from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.domain_records import DomainRecord
from ebsim.format.sealing import sealed_size
from ebsim.format.segment import Codec, RecordKind, encode_record
from ebsim.permissions import PermissionChange
from ebsim.reports import CheckReport
from ebsim.requests import VolumeModificationRequest, VolumeRequest
from ebsim.results import Snapshot
from ebsim.testing.contents import HEAD, NOISE, TEXT, noise_block
from ebsim.testing.damage import flip_bit, records_of, segment_files
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.lost_block import (
    ALIAS,
    DAMAGES,
    LOST,
    Scene,
    flip_header,
    flip_payload,
    of_lost,
    overwrite,
)
from ebsim.testing.refused import refused
from ebsim.testing.sealed_records import SealedRecord, data_keys, record_of
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE, MIB


class SealedScene(Scene):
    """Its snapshots are encrypted."""

    def without_keys(self) -> Store:
        """Open the store where its keyring is missing."""
        return self.open(keyring=self.folder / "nowhere.json")

    def record(self, index: int = 1) -> SealedRecord:
        with self.open() as store:
            return record_of(store, self.snapshot, index)

    def assert_whole(self, store: Store) -> None:
        found = [store.read_block(self.snapshot, index) for index in range(3)]
        assert found == [NOISE, LOST, TEXT]


@pytest.fixture
def scene(fast_path: Path) -> SealedScene:
    return SealedScene(fast_path, encrypted=True)


def kinds(report: CheckReport) -> set[str]:
    return {finding.kind for finding in report.findings}


# Checks and restores


def test_check_proves_every_block_with_the_keys(scene: SealedScene) -> None:
    with scene.open() as store:
        report = store.check(data=True)
        assert report.healthy
        assert report.coverage is not None
        assert report.coverage.sealed_blocks == 0


def test_check_without_the_keys_proves_what_was_stored(scene: SealedScene) -> None:
    with scene.without_keys() as store:
        report = store.check(data=True)
    assert report.coverage is not None
    assert report.coverage.sealed_blocks == 4
    assert kinds(report) <= {"missing-keyring"}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_without_the_keys(
    scene: SealedScene, damage: Callable[[SealedRecord], None]
) -> None:
    damage(scene.record())
    with scene.without_keys() as store:
        report = store.check(data=True)
    (found,) = [
        each
        for each in report.findings
        if each.kind == "corrupt-block" and (BLOCK_SIZE, 2 * BLOCK_SIZE) in each.ranges
    ]
    assert found.snapshots == (scene.snapshot,)


@pytest.mark.parametrize("way", ["new", "in place", "in place, other bytes"])
def test_restore_of_what_is_encrypted(scene: SealedScene, way: str) -> None:
    target = scene.folder / "target"
    wanted = NOISE + LOST + TEXT
    if way != "new":
        target.write_bytes(wanted if way == "in place" else HEAD + LOST + TEXT)
    with scene.open() as store:
        report = store.restore_snapshot(scene.snapshot, target, in_place=way != "new")
    assert target.read_bytes() == wanted
    written = {"new": 3, "in place": 0, "in place, other bytes": 1}[way]
    assert report.written_bytes == written * BLOCK_SIZE


@pytest.mark.parametrize("in_place", [False, True])
def test_restore_with_zeros_for_what_is_damaged(scene: SealedScene, *, in_place: bool) -> None:
    flip_payload(scene.record())
    target = scene.folder / "target"
    if in_place:
        target.write_bytes(bytes(3 * BLOCK_SIZE))
    with scene.open() as store:
        with pytest.raises(CorruptionError):
            store.restore_snapshot(scene.snapshot, target, in_place=in_place)
        target.unlink(missing_ok=True)
        if in_place:
            target.write_bytes(bytes(3 * BLOCK_SIZE))
        report = store.restore_snapshot(
            scene.snapshot, target, in_place=in_place, zero_damaged=True
        )
    assert report.damaged_ranges == ((BLOCK_SIZE, 2 * BLOCK_SIZE),)
    assert target.read_bytes() == NOISE + bytes(BLOCK_SIZE) + TEXT


# Repair


def from_source(_scene: Scene) -> Path | None:
    return None


def from_other_encrypted_store(scene: SealedScene) -> Path | None:
    """A store with other keys in a keyring of its own."""
    return scene.other_store(SnapshotOptions(encrypted=True))


REMEDIES = {
    "source": from_source,
    "store, copied": Scene.copied_store,
    "store, unencrypted": Scene.other_store,
    "store, encrypted otherwise": from_other_encrypted_store,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("remedy", REMEDIES)
def test_damaged_block_is_healed(
    scene: SealedScene, damage: Callable[[SealedRecord], None], remedy: str
) -> None:
    """F20 to F22, F26: whatever the damage is and wherever the bytes are."""
    record = scene.record()
    other = REMEDIES[remedy](scene)
    damage(record)
    with scene.open() as store:
        made = store.repair(other=other)
        expected = "record" if damage is flip_header else remedy.split(",", maxsplit=1)[0]
        assert of_lost(made).remedy == expected
        assert not made.unhealed
        assert_healthy(store)
        scene.assert_whole(store)
        healed = record_of(store, scene.snapshot, 1)
        assert healed.header.domain == record.header.domain
        assert healed.payload != record.payload, "it is sealed for its place"


def test_block_is_healed_from_another_record_of_its_domain(scene: SealedScene) -> None:
    """A record that nothing refers to: what a snapshot left that lost a race, or died."""
    record = scene.record()
    (path,) = [each for each in segment_files(scene.path) if each != record.path]
    with scene.open() as store:
        cipher = open_domain(store._context, record.header.domain).cipher(bytes.fromhex(path.stem))
    assert cipher is not None
    header = replace(
        record.header,
        segment_id=bytes.fromhex(path.stem),
        offset=path.stat().st_size,
        codec=Codec.PLAIN,
        payload_size=sealed_size(BLOCK_SIZE),
    )
    with path.open("ab") as file:
        for part in encode_record(header, cipher.seal(header, LOST)):
            file.write(part)
    scene.forget_image()
    flip_payload(record)

    with scene.open() as store:
        assert of_lost(store.repair()).remedy == "copy"
        assert_healthy(store)
        scene.assert_whole(store)


def test_block_is_healed_by_the_next_snapshot_that_has_it(scene: SealedScene) -> None:
    record = scene.record()
    scene.forget_image()
    overwrite(record)
    with scene.open() as store:
        assert of_lost(store.repair()).remedy == ""
        assert kinds(store.check()) == {"unhealed-block"}
        scene.image.write_bytes(NOISE + HEAD + LOST)
        plain = store.create_snapshot(disk_of(LOST, name="memory:plain"))
        assert kinds(store.check()) == {"unhealed-block"}, "another domain heals nothing"
        store.create_snapshot(scene.image)
        assert_healthy(store)
        scene.assert_whole(store)
        assert store.read_block(plain.snapshot_id, 0) == LOST


def test_repair_without_the_keys_heals_nothing_and_loses_nothing(scene: SealedScene) -> None:
    """What is damaged is set aside and told; with the keys it is healed later."""
    overwrite(scene.record())
    with scene.without_keys() as store:
        report = store.repair()
        assert of_lost(report).remedy == ""
        assert len(report.records) == 1
        assert kinds(store.check(data=True)) - {"missing-keyring"} == {"unhealed-block"}
    with scene.open() as store:
        assert of_lost(store.repair()).remedy == "source"
        assert_healthy(store)
        scene.assert_whole(store)


def test_repair_leaves_blocks_alone_whose_data_key_is_damaged(scene: SealedScene) -> None:
    """The key is damaged then, and not the blocks: they must not be given up."""
    from ebsim.core.domains import put_domain

    with scene.open() as store, store._context.catalog.read() as reader:
        first, second = list_domains(reader)
    damaged = replace(second, wrapped=second.wrapped[:-2] + "00")
    with scene.open() as store:
        store._context.catalog.update(lambda writer: put_domain(writer, damaged))
    with scene.open() as store:
        with pytest.raises(CorruptionError, match="ebsim rebuild"):
            store.repair()
        assert kinds(store.check(data=True)) == {"corrupt-data-key"}
        assert store.read_block(store.list_snapshots()[0].snapshot_id, 0) == HEAD
    Store.rebuild(scene.path, scene.seams)
    with scene.open() as store:
        scene.assert_whole(store)
        assert_healthy(store)
    assert first.data_key_id != second.data_key_id


# Rebuilding


def shown(store: Store) -> tuple[list[Snapshot], object, object, list[bytes]]:
    with store._context.catalog.read() as reader:
        domains = list_domains(reader)
    return store.list_snapshots(), store.volumes.list(), domains, data_keys(store)


@pytest.mark.parametrize("with_keys", [True, False])
def test_rebuild_brings_the_data_keys_back(scene: SealedScene, *, with_keys: bool) -> None:
    with scene.open() as store:
        store.volumes.create(VolumeRequest(size_gib=1, encrypted=True))
        store.volumes.create(VolumeRequest(snapshot_id=scene.snapshot))
        afar = store.as_account(region="eu-central-1")
        afar.copy_snapshot(scene.snapshot, "us-east-1")
        store.copy_snapshot(scene.snapshot, None, SnapshotOptions(encrypted=True))
        before = shown(store)
    away = scene.folder / "away.json"
    if not with_keys:
        (scene.path / "keyring.json").rename(away)

    report = Store.rebuild(scene.path, scene.seams)

    assert not report.findings
    if not with_keys:
        away.rename(scene.path / "keyring.json")
    with scene.open() as store:
        assert shown(store) == before
        scene.assert_whole(store)
        assert_healthy(store)
        again = store.create_snapshot(
            disk_of(NOISE, name="memory:new"), SnapshotOptions(encrypted=True)
        )
        keys = {each.data_encryption_key_id for each in before[0]}
        assert again.data_encryption_key_id not in keys, "no number is given out twice"


def test_data_key_survives_the_entry_that_made_it(scene: SealedScene) -> None:
    """Each later entry of the lineage has the wrapped key too."""
    with scene.open() as store:
        scene.image.write_bytes(NOISE + LOST + HEAD)
        second = store.create_snapshot(scene.image).snapshot_id
    first_entry = journal_entry_of(scene, scene.snapshot)
    flip_bit(first_entry[0], 8 * (first_entry[1] + 200))

    report = Store.rebuild(scene.path, scene.seams)

    assert report.findings
    with scene.open() as store:
        assert [store.read_block(second, index) for index in range(3)] == [NOISE, LOST, HEAD]


def test_data_key_of_a_volume_survives_in_what_is_done_to_it(scene: SealedScene) -> None:
    """A volume that was made, and changed: the entry that made it is damaged."""
    with scene.open() as store:
        volume = store.volumes.create(VolumeRequest(size_gib=1, encrypted=True)).volume_id
        store.volumes.modify(volume, VolumeModificationRequest(size_gib=2))
        before = data_keys(store)
    path, offset = journal_entry_of(scene, volume)
    flip_bit(path, 8 * (offset + 200))

    Store.rebuild(scene.path, scene.seams)

    with scene.open() as store:
        assert store.volumes.get(volume).encrypted
        assert data_keys(store) == before


def test_data_key_survives_in_what_is_changed_about_a_snapshot(scene: SealedScene) -> None:
    """Sharing, locking, tiers: of a snapshot whose completion is damaged, its key is still told."""
    with scene.open() as store:
        key = store.keys.get(ALIAS)
        store.permissions.modify(scene.snapshot, PermissionChange(add=["111122223333"]))
        wanted = [each.data_key_id for each in _domains(store) if each.kms_key == key.arn]
    path, offset = journal_entry_of(scene, scene.snapshot)
    flip_bit(path, 8 * (offset + 200))

    Store.rebuild(scene.path, scene.seams)

    with scene.open() as store:
        assert set(wanted) <= {each.data_key_id for each in _domains(store)}


def _domains(store: Store) -> list[DomainRecord]:
    with store._context.catalog.read() as reader:
        return list_domains(reader)


def test_data_key_survives_a_repair_of_the_journal(scene: SealedScene) -> None:
    """What is damaged in the journal is told again from the catalog, keys included."""
    with scene.open() as store:
        before = shown(store)
    path, offset = journal_entry_of(scene, scene.snapshot)
    flip_bit(path, 8 * (offset + 200))
    with scene.open() as store:
        assert [each.kind for each in store.repair().records if each.healed] == ["journal"]

    assert not Store.rebuild(scene.path, scene.seams).findings

    with scene.open() as store:
        assert shown(store) == before
        scene.assert_whole(store)
        assert_healthy(store)


def journal_entry_of(scene: SealedScene, name: str) -> tuple[Path, int]:
    """Return segment and offset of the first entry of the journal that names something."""
    for item in dump(scene.path, "journal", None, 0):
        if name in json.dumps(item):
            return _place(scene, item)
    raise AssertionError(name)


def _place(scene: SealedScene, item: dict[str, Any]) -> tuple[Path, int]:
    for path in segment_files(scene.path):
        for record in records_of(path):
            if record.header.kind is not RecordKind.JOURNAL:
                continue
            if item["File"] == path.name and item["Offset"] == record.header.offset:
                return path, record.header.offset
    raise AssertionError(item)


# Compaction, deletion, dumps


@pytest.fixture
def fragments(scene: SealedScene, monkeypatch: pytest.MonkeyPatch) -> SealedScene:
    """A store of several small segments that are all worth merging."""
    with scene.open() as store:
        store.create_snapshot(disk_of(noise_block(20), name="memory:plain"))
    monkeypatch.setattr(compact_plan, "MERGED_ALWAYS", 64 * MIB)
    return scene


def test_compaction_seals_blocks_for_their_new_place(fragments: SealedScene) -> None:
    old = fragments.record()
    with fragments.open() as store:
        report = store.compact()
        assert (len(report.compacted), report.damaged, report.sealed_blocks) == (3, (), 0)
        new = record_of(store, fragments.snapshot, 1)
        assert new.header.segment_id != old.header.segment_id
        assert new.header.block_hash == old.header.block_hash
        assert new.payload[:32] != old.payload[:32], "the key is another segment's"
        assert new.payload[32:] != old.payload[32:]
        fragments.assert_whole(store)
        assert_healthy(store)
    assert len(segment_files(fragments.path)) == 1
    Store.rebuild(fragments.path, fragments.seams)
    with fragments.open() as store:
        fragments.assert_whole(store)


def test_compaction_without_the_keys_leaves_encrypted_blocks_in_place(
    fragments: SealedScene,
) -> None:
    """It is no damage that they cannot be opened: the rest is moved, and the keys may come."""
    old = fragments.record()
    with fragments.without_keys() as store:
        report = store.compact()
        assert report.damaged == ()
        assert report.sealed_blocks == 4
        assert [each.reclaimed_bytes > 0 for each in report.compacted].count(True) == 1
    with fragments.open() as store:
        assert record_of(store, fragments.snapshot, 1) == old
        fragments.assert_whole(store)
        assert store.compact().sealed_blocks == 0
        fragments.assert_whole(store)
        assert_healthy(store)


def test_compaction_tells_damage_from_missing_keys(fragments: SealedScene) -> None:
    flip_payload(fragments.record())
    with fragments.without_keys() as store:
        report = store.compact()
        assert len(report.damaged) == 1
        assert report.sealed_blocks == 3


def test_deletion_needs_no_key_and_gives_everything_back(scene: SealedScene) -> None:
    with scene.without_keys() as store:
        report = store.delete_snapshots([each.snapshot_id for each in store.list_snapshots()])
        assert [each.freed_size_bytes // BLOCK_SIZE for each in report.deleted] == [1, 3]
        assert (store.stats().blocks, store.stats().charged_size_bytes) == (0, 0)
    with scene.open() as store:
        assert_healthy(store, orphan_bytes_max=64 * 4096)


def test_charges_move_to_the_next_snapshot_as_they_do_unencrypted(scene: SealedScene) -> None:
    """Section 2.5: what the heir refers to stays, and is charged to it."""
    with scene.open() as store:
        scene.image.write_bytes(NOISE + LOST + HEAD)
        second = store.create_snapshot(scene.image).snapshot_id
        report = store.delete_snapshots([scene.snapshot])
        assert report.deleted[0].freed_size_bytes == BLOCK_SIZE
        assert store.get_snapshot(second).charged_size_bytes == 3 * BLOCK_SIZE
        assert [store.read_block(second, index) for index in range(3)] == [NOISE, LOST, HEAD]
        assert_healthy(store)


def test_dump_shows_no_wrapped_data_key(scene: SealedScene) -> None:
    with scene.open() as store, store._context.catalog.read() as reader:
        wrapped = [each.wrapped for each in list_domains(reader)]
    texts = [
        json.dumps(item)
        for kind, name in (("catalog", "DOMAINS"), ("journal", None))
        for item in dump(scene.path, kind, name, 0)
    ]
    assert any("data_key_id" in text for text in texts)
    assert not any(each in text for each in wrapped for text in texts)


# Keys that are rotated, and keyrings that are lost


def test_rotation_wraps_data_keys_anew_and_touches_no_data(scene: SealedScene) -> None:
    with scene.open() as store:
        before = shown(store)
        files = {path: path.read_bytes() for path in segment_files(scene.path)}
        store.keys.rotate(ALIAS)
        after = shown(store)
        assert after[0] == before[0]
        assert after[3] == before[3], "a data key stays what it is"
        with store._context.catalog.read() as reader:
            found = {each.kms_key: each.wrapped for each in list_domains(reader)}
        old = {each.kms_key: each.wrapped for each in before[2]}  # type: ignore[attr-defined]
        changed = {key for key in found if found[key] != old[key]}
        assert changed == {store.keys.get(ALIAS).arn}
        for path, data in files.items():
            assert path.read_bytes()[: len(data)] == data
        scene.assert_whole(store)
    Store.rebuild(scene.path, scene.seams)
    with scene.open() as store:
        assert shown(store) == after
        assert_healthy(store)


def test_keyring_that_was_lost_is_recovered_from_its_printed_copy(scene: SealedScene) -> None:
    copy = scene.folder / "recovery.txt"
    with scene.open() as store:
        store.keys.export(copy)
    (scene.path / "keyring.json").unlink()

    with scene.open() as store:
        assert refused(lambda: store.read_block(scene.snapshot, 0)) is ErrorCode.KEYRING_NOT_FOUND
        assert refused(
            lambda: store.create_snapshot(
                disk_of(NOISE, name="memory:n"), SnapshotOptions(encrypted=True)
            )
        ) is (ErrorCode.KEYRING_NOT_FOUND), "a new one would be of no use"
        assert store.create_snapshot(disk_of(NOISE, name="memory:p")).encrypted is False
        assert store.keys.recover(copy.read_text()) == 2
        scene.assert_whole(store)
        assert_healthy(store)
    with scene.open() as store:
        scene.assert_whole(store)


def test_another_keyring_in_its_place_opens_nothing(scene: SealedScene) -> None:
    other = scene.folder / "other"
    with Store.create(other, Seams(clock=ManualClock(), entropy=SeededEntropy(9))) as store:
        store.create_snapshot(disk_of(NOISE), SnapshotOptions(encrypted=True))
    shutil.copy(other / "keyring.json", scene.path / "keyring.json")

    with scene.open() as store:
        assert refused(lambda: store.read_block(scene.snapshot, 0)) is ErrorCode.WRONG_KEY
    assert not Store.rebuild(scene.path, scene.seams).findings
