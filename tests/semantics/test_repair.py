"""Repairing damaged blocks: what heals them, and what must not be taken for what was lost."""

import errno
import hashlib
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ebsim.core.check_values import SoundReader
from ebsim.core.remedies import Remedies
from ebsim.engine import Seams, Store
from ebsim.errors import (
    CorruptionError,
    InvalidInputError,
    LimitExceededError,
    NotFoundError,
    StoreError,
)
from ebsim.format.kept_block import encode_kept_header
from ebsim.format.segment import RecordHeader, encode_record
from ebsim.progress import SilentProgress
from ebsim.reports import Finding, RepairReport
from ebsim.requests import VolumeRequest
from ebsim.storage.files import PosixFile
from ebsim.storage.locks import Region
from ebsim.testing.contents import NOISE, TEXT, noise_block
from ebsim.testing.damage import (
    RecordPlace,
    flip_bit,
    place_of_block,
    records_of,
    segment_files,
)
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.lost_block import (
    DAMAGES,
    LOST,
    Scene,
    flip_header,
    flip_payload,
    of_lost,
    overwrite,
    remove,
)
from ebsim.testing.sealed_records import record_of
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE


@pytest.fixture
def scene(fast_path: Path) -> Scene:
    return Scene(fast_path)


def hashes(folder: Path) -> dict[str, str]:
    """Return the digest of every file of a store, but LMDB's table of readers."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock.mdb"
    }


# What heals


def from_source(_scene: Scene) -> Path | None:
    return None


def from_copy(scene: Scene) -> Path | None:
    """Another record of the content, which nothing refers to, in another segment."""
    plant_copy(scene, LOST)
    scene.forget_image()
    return None


def plant_copy(scene: Scene, content: bytes) -> None:
    """Append a record that claims to be of `LOST` to a segment that has it not."""
    known = scene.place()
    (path,) = [path for path in segment_files(scene.path) if path != known.path]
    header = RecordHeader(
        kind=known.header.kind,
        codec=known.header.codec,
        payload_size=BLOCK_SIZE,
        plain_size=BLOCK_SIZE,
        segment_id=bytes.fromhex(path.stem),
        offset=path.stat().st_size,
        block_hash=known.header.block_hash,
    )
    with path.open("ab") as file:
        for part in encode_record(header, content):
            file.write(part)


REMEDIES = {
    "source": from_source,
    "copy": from_copy,
    "store": Scene.copied_store,
    "store with another key": Scene.other_store,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("remedy", REMEDIES)
def test_damaged_block_is_healed(
    scene: Scene, damage: Callable[[RecordPlace], None], remedy: str
) -> None:
    """F20 to F22, F26: whatever the damage is and wherever the bytes are."""
    place = scene.place()
    other = REMEDIES[remedy](scene)
    damage(place)
    with scene.open() as store:
        before = hashes(scene.path)
        planned = store.repair(dry_run=True, other=other)
        assert hashes(scene.path) == before
        made = store.repair(other=other)

        assert planned.dry_run
        assert not made.dry_run
        assert [record.message for record in made.records] == [
            record.message for record in planned.records
        ]
        expected = "record" if damage is flip_header else remedy.split(maxsplit=1)[0]
        assert of_lost(planned).remedy == of_lost(made).remedy == expected
        assert of_lost(made).snapshots == (scene.snapshot,)
        if remedy != "copy" or damage is not remove:  # the rest of the segment is in no copy
            assert not made.unhealed
            assert_healthy(store)
        assert store.read_block(scene.snapshot, 1) == LOST
    with scene.open() as store:
        assert store.read_block(scene.snapshot, 1) == LOST


@pytest.mark.parametrize("damage", [flip_payload, remove])
@pytest.mark.parametrize("where", ["live data", "kept", "made from it"])
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_block_of_a_managed_volume_is_healed_from_its_own_file(
    fast_path: Path, damage: Callable[[RecordPlace], None], where: str, *, encrypted: bool
) -> None:
    """Where it is encrypted, its file and what it keeps are decrypted for that."""
    seams = Seams(clock=ManualClock(), entropy=SeededEntropy())
    path = fast_path / "store"
    with Store.create(path, seams) as store:
        request = VolumeRequest(size_gib=1, encrypted=encrypted or None)
        volume = store.volumes.create(request).volume_id
        with store.volumes.open(volume) as file:
            file.pwrite(LOST, BLOCK_SIZE)
        snapshot = store.create_snapshot(volume).snapshot_id
        store.wait_snapshots([snapshot])
        record = record_of(store, snapshot, 1)
        stored = (path / "volumes" / f"{volume}.data").read_bytes()[BLOCK_SIZE:]
        if where == "made from it":
            other = store.volumes.create(VolumeRequest(snapshot_id=snapshot)).volume_id
            store.volumes.initialize(other)
        if where != "live data":
            with store.volumes.open(volume) as file:
                file.pwrite(b"x" * BLOCK_SIZE, BLOCK_SIZE)
    if where == "kept":
        header = encode_kept_header(volume, 1, 1, memoryview(stored))
        (path / "volumes" / f"{volume}.kept").write_bytes(header + stored)
    assert (stored == LOST) is not encrypted
    damage(record)

    with Store.open(path, seams, resume=False) as store:
        report = store.repair()

        assert of_lost(report).remedy == "volume"
        assert_healthy(store)
        assert store.read_block(snapshot, 1) == LOST


def test_compressed_block_is_healed_from_its_own_record(scene: Scene) -> None:
    scene.forget_image()
    place = place_of_block(scene.path, TEXT)
    scene.image.unlink()
    flip_header(place)
    flip_bit(place.path, 8 * (place.header.offset + 8))  # what it says of its length
    with scene.open() as store:
        assert [record.remedy for record in store.repair().records] == ["record"]
        assert_healthy(store)
        assert store.read_block(scene.snapshot, 2) == TEXT


def test_missing_segment_that_comes_back_is_taken_as_it_is(scene: Scene) -> None:
    scene.forget_image()
    place = scene.place()
    away = place.path.rename(scene.folder / "away")
    with scene.open() as store:
        assert of_lost(store.repair()).remedy == ""
        assert {finding.kind for finding in store.check().findings} >= {"unhealed-block"}
    away.rename(place.path)
    with scene.open() as store:
        assert of_lost(store.repair()).remedy == "sound"
        assert_healthy(store)
        assert store.read_block(scene.snapshot, 1) == LOST


# What does not


def wrong_source(scene: Scene) -> Path | None:
    scene.forget_image()
    return None


def wrong_copy(scene: Scene) -> Path | None:
    """A record whose checksum is right, and whose block hash is a lie."""
    plant_copy(scene, noise_block(8))
    scene.forget_image()
    return None


def wrong_store(scene: Scene) -> Path | None:
    other = scene.folder / "other"
    shutil.copytree(scene.path, other)
    flip_payload(place_of_block(other, LOST))
    scene.forget_image()
    return other


def wrong_other_store(scene: Scene) -> Path | None:
    other = scene.folder / "other"
    with Store.create(other, Seams(clock=ManualClock(), entropy=SeededEntropy(9))) as store:
        store.create_snapshot(disk_of(NOISE, noise_block(8), TEXT))
    scene.forget_image()
    return other


WRONG = [wrong_source, wrong_copy, wrong_store, wrong_other_store]


@pytest.mark.parametrize("candidate", WRONG)
def test_wrong_bytes_are_never_taken(
    scene: Scene, candidate: Callable[[Scene], Path | None]
) -> None:
    place = scene.place()
    other = candidate(scene)
    overwrite(place)
    with scene.open() as store:
        report = store.repair(other=other)

        assert [record.healed for record in report.records] == [False]
        with pytest.raises(CorruptionError):
            store.read_block(scene.snapshot, 1)
        (finding,) = store.check(data=True).findings
        assert (finding.kind, finding.snapshots) == ("unhealed-block", (scene.snapshot,))
        assert finding.ranges == ((BLOCK_SIZE, 2 * BLOCK_SIZE),)
        assert [each.kind for each in store.check().findings] == ["unhealed-block"]


@pytest.mark.parametrize("candidate", [wrong_source, wrong_other_store])
def test_candidate_that_is_not_hashed_is_noticed(
    scene: Scene, candidate: Callable[[Scene], Path | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail: without the block hash, wrong bytes are taken."""
    place = scene.place()
    other = candidate(scene)
    overwrite(place)
    monkeypatch.setattr(Remedies, "proved", lambda _self, remedy, _wanted: remedy.load())
    with scene.open() as store:
        assert store.repair(other=other).unhealed == ()
        with pytest.raises(AssertionError):
            assert_healthy(store)


def test_source_that_changes_before_it_is_used_is_not_taken(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = Remedies.find

    def find_and_change(self: Remedies, damaged: object) -> object:
        found = find(self, damaged)  # type: ignore[arg-type]
        scene.forget_image()
        return found

    monkeypatch.setattr(Remedies, "find", find_and_change)
    overwrite(scene.place())
    with scene.open() as store:
        (record,) = store.repair().records
        assert (record.healed, record.remedy) == (False, "")
        assert [finding.kind for finding in store.check().findings] == ["unhealed-block"]


def test_file_that_cannot_be_opened_is_not_taken_for_damage(scene: Scene) -> None:
    """A symbolic link is refused as ever; nothing is noted as damaged, nothing set aside."""
    place = scene.place()
    place.path.rename(scene.folder / "moved")
    place.path.symlink_to(scene.folder / "moved")
    with scene.open() as store, pytest.raises(StoreError, match="symbolic link"):
        store.repair()
    assert not (scene.path / "set-aside").exists()


def test_bad_sector_is_damage_and_what_can_be_read_is_set_aside(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = scene.place()
    offset, extent = place.header.offset, place.header.extent
    record = place.path.read_bytes()[offset : offset + extent]
    bad = offset + 3 * 4096
    read_at = PosixFile.read_at

    def fail(self: PosixFile, start: int, length: int) -> bytes:
        if start <= bad < start + length:
            raise OSError(errno.EIO, "Input/output error")
        return read_at(self, start, length)

    with scene.open() as store:
        with monkeypatch.context() as patch:
            patch.setattr(PosixFile, "read_at", fail)
            (record_told,) = store.repair().records
        assert (record_told.remedy, record_told.healed) == ("source", True)
        assert_healthy(store)
        assert store.read_block(scene.snapshot, 1) == LOST
    kept = (scene.path / record_told.set_aside).read_bytes()
    assert kept == record[: 3 * 4096] + bytes(4096) + record[4 * 4096 :]


# The next identical block


def damage_for_good(scene: Scene) -> None:
    scene.forget_image()
    overwrite(scene.place())
    with scene.open() as store:
        assert of_lost(store.repair()).healed is False


def test_next_identical_block_heals_every_snapshot_that_has_it(scene: Scene) -> None:
    with scene.open() as store:
        twin = store.create_snapshot(disk_of(LOST, name="memory:twin")).snapshot_id
    damage_for_good(scene)
    with scene.open() as store:
        arrived = store.create_snapshot(disk_of(LOST, LOST, name="memory:new"))

        assert arrived.charged_size_bytes == 2 * BLOCK_SIZE
        assert store.stats().blocks == 4
        assert_healthy(store)
        for snapshot_id, index in ((scene.snapshot, 1), (twin, 0), (arrived.snapshot_id, 1)):
            assert store.read_block(snapshot_id, index) == LOST


def test_unchanged_block_of_the_same_source_heals_and_is_not_charged(scene: Scene) -> None:
    damage_for_good(scene)
    scene.image.write_bytes(NOISE + LOST + TEXT)
    with scene.open() as store:
        arrived = store.create_snapshot(scene.image)

        assert (arrived.incremental_size_bytes, arrived.charged_size_bytes) == (0, 0)
        assert_healthy(store)
        assert store.read_block(scene.snapshot, 1) == LOST
        assert store.read_block(arrived.snapshot_id, 1) == LOST


def test_block_that_heals_and_is_written_elsewhere_is_stored_once(scene: Scene) -> None:
    damage_for_good(scene)
    scene.image.write_bytes(LOST + LOST + TEXT)
    with scene.open() as store:
        arrived = store.create_snapshot(scene.image)

        assert arrived.incremental_size_bytes == BLOCK_SIZE
        assert_healthy(store)
        assert store.read_block(arrived.snapshot_id, 0) == LOST
    found = [
        place
        for path in segment_files(scene.path)
        for place in records_of(path)
        if place.header.block_hash == scene.place().header.block_hash
    ]
    assert len(found) == 1


def test_damage_that_nobody_has_any_more_is_forgotten(scene: Scene) -> None:
    damage_for_good(scene)
    with scene.open() as store:
        store.delete_snapshots([scene.snapshot])
        assert_healthy(store)
        assert store.repair().records == ()
    assert len(list((scene.path / "set-aside").iterdir())) == 1


def test_rebuild_after_a_repair_knows_the_same_damage(scene: Scene) -> None:
    damage_for_good(scene)
    shutil.rmtree(scene.path / "catalog")
    assert Store.rebuild(scene.path, scene.seams).findings
    with scene.open() as store:
        kinds = {finding.kind for finding in store.check(data=True).findings}
        assert kinds == {"unhealed-block", "missing-segment"}  # nothing of the record can be read
        store.create_snapshot(disk_of(LOST, name="memory:new"))
        assert_healthy(store)
        assert store.read_block(scene.snapshot, 1) == LOST


@pytest.mark.parametrize("damage", [flip_payload, remove])
def test_repair_after_a_rebuild_heals_what_that_found(
    scene: Scene, damage: Callable[[RecordPlace], None]
) -> None:
    with scene.open() as store:  # what a segment says beside blocks is not to be lost with it
        store.create_snapshot(disk_of(LOST, noise_block(9), name="memory:other"))
    place = scene.place()
    if damage is remove:
        overwrite(place)
    else:
        damage(place)
    shutil.rmtree(scene.path / "catalog")
    Store.rebuild(scene.path, scene.seams)
    with scene.open() as store:
        assert of_lost(store.repair()).remedy == "source"
        assert_healthy(store)
        assert store.read_block(scene.snapshot, 1) == LOST
    shutil.rmtree(scene.path / "catalog")
    assert Store.rebuild(scene.path, scene.seams).findings == ()


# What it leaves alone


def test_healthy_store_is_left_byte_for_byte(scene: Scene) -> None:
    """F64."""
    with scene.open() as store:
        before = hashes(scene.path)
        for dry_run in (True, False):
            report = store.repair(dry_run=dry_run)
            assert (report.records, report.dry_run) == ((), dry_run)
            assert report.read_bytes > BLOCK_SIZE
        assert hashes(scene.path) == before
    assert not (scene.path / "set-aside").exists()


def test_known_damage_is_not_set_aside_twice(scene: Scene) -> None:
    damage_for_good(scene)
    with scene.open() as store:
        before = hashes(scene.path)
        assert [record.healed for record in store.repair().records] == [False]
        assert hashes(scene.path) == before


def test_damaged_bytes_are_set_aside_and_outlive_their_segment(scene: Scene) -> None:
    place = scene.place()
    flip_payload(place)
    damaged = place.path.read_bytes()[place.header.offset :][: place.header.extent]
    with scene.open() as store:
        (record,) = store.repair().records
        store.delete_snapshots([each.snapshot_id for each in store.list_snapshots()])
        store.compact()
    kept = scene.path / record.set_aside
    assert kept.read_bytes() == damaged
    assert kept.name.startswith(f"{place.path.stem}-{place.header.offset}-")
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_damaged_record_that_is_deleted_meanwhile_is_none(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    overwrite(scene.place())
    with scene.open() as store:
        find = Remedies.find

        def find_and_delete(self: Remedies, damaged: object) -> object:
            found = find(self, damaged)  # type: ignore[arg-type]
            Store.delete_snapshots(store, [scene.snapshot])
            return found

        monkeypatch.setattr(Remedies, "find", find_and_delete)
        assert store.repair().records == ()
        assert_healthy(store)


def test_block_that_is_healed_by_somebody_else_meanwhile_is_left(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage_for_good(scene)
    scene.image.write_bytes(NOISE + LOST + TEXT)
    find = Remedies.find

    with scene.open() as store:

        def find_and_heal(self: Remedies, damaged: object) -> object:
            found = find(self, damaged)  # type: ignore[arg-type]
            store.create_snapshot(disk_of(LOST, name="memory:new"))
            return found

        monkeypatch.setattr(Remedies, "find", find_and_heal)
        assert store.repair().records == ()
        assert_healthy(store, orphan_bytes_max=0)
        assert store.read_block(scene.snapshot, 1) == LOST


def test_compaction_leaves_what_is_known_to_be_damaged(scene: Scene) -> None:
    for number in (1, 2):
        with scene.open() as store:
            store.create_snapshot(disk_of(noise_block(number), name=f"memory:{number}"))
    damage_for_good(scene)
    with scene.open() as store:
        assert len(store.compact().damaged) == 1
        assert [each.kind for each in store.check(data=True).findings] == ["unhealed-block"]
        store.create_snapshot(disk_of(LOST, name="memory:new"))
        assert store.compact().damaged == ()
        assert_healthy(store)
        assert store.read_block(scene.snapshot, 1) == LOST


def test_repair_waits_for_a_compaction_or_another_repair(scene: Scene) -> None:
    told: list[str] = []
    waiting = threading.Event()
    reports: list[RepairReport] = []

    class Telling(SilentProgress):
        def note(self, message: str) -> None:
            told.append(message)
            waiting.set()

    flip_payload(scene.place())
    with scene.open() as store:
        held = store._context.locks.hold(Region.COMPACT)
        thread = threading.Thread(target=lambda: reports.append(store.repair(progress=Telling())))
        thread.start()
        assert waiting.wait(120)
        assert not (scene.path / "set-aside").exists()
        assert len(store.repair(dry_run=True).records) == 1  # a plan waits for nobody
        held.release()
        thread.join(120)
        assert_healthy(store)
    assert [report.unhealed for report in reports] == [()]
    assert told == ["a compaction or repair of this store is under way; waiting for it"]


def test_store_itself_or_none_is_refused_as_the_other(scene: Scene) -> None:
    with scene.open() as store:
        with pytest.raises(InvalidInputError, match="name another"):
            store.repair(other=scene.path)
        with pytest.raises(NotFoundError):
            store.repair(other=scene.folder / "nowhere")


def test_damaged_catalog_is_rebuilt_first(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    overwrite(scene.place())
    with scene.open() as store:
        damaged = Finding(kind="corrupt-value", message="an entry is damaged")
        monkeypatch.setattr(SoundReader, "findings", lambda _self: iter([damaged]))
        with pytest.raises(CorruptionError, match="ebsim rebuild"):
            store.repair()


def test_too_little_space_is_told_before_anything_is_changed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip_payload(scene.place())
    with scene.open() as store:
        before = hashes(scene.path)
        monkeypatch.setattr(type(store._context.files), "free_bytes", lambda _self, _path: 31 << 20)
        with pytest.raises(LimitExceededError, match="free space"):
            store.repair()
        assert hashes(scene.path) == before
        monkeypatch.undo()
        assert not store.repair().unhealed
        assert_healthy(store)
