"""What the files of a store with encrypted snapshots give away, and what they refuse.

F20 to F22 for encrypted records, and what reliability asks of the seal: no plain byte, no hash of
one without a key, no key in any file at any moment; a flipped byte is an error and never data; a
record that was swapped, moved or replayed is refused, by the seal alone, for whoever forges it
gives it a stored checksum that is right.
"""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ebsim.config import SnapshotOptions
from ebsim.core import compact_plan
from ebsim.core.block_places import find_place
from ebsim.core.domains import list_domains, put_domain
from ebsim.core.read import BlockLoader
from ebsim.core.snapshots import get_snapshot
from ebsim.engine import Seams, Store
from ebsim.errors import CorruptionError, EbsimError, WrongKeyError
from ebsim.format.domain_records import DomainRecord
from ebsim.format.sealing import COMMITMENT_SIZE
from ebsim.format.segment import Codec
from ebsim.ids import parse_snapshot_id
from ebsim.keys.unlocking import Unlocking
from ebsim.requests import VolumeRequest
from ebsim.storage.files import PosixFiles
from ebsim.testing.contents import HEAD, NOISE, TAIL, TEXT, noise_block, palette_block
from ebsim.testing.damage import flip_bit, segment_files
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.observed_files import ObservedFiles
from ebsim.testing.sealed_records import (
    SealedRecord,
    data_keys,
    files_below,
    flipped,
    found_in,
    record_of,
    traces_of,
)
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.sources import ObservedSource, disk_of
from ebsim.units import BLOCK_SIZE, MIB

SEED = 5
LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"
ENCRYPTED = SnapshotOptions(encrypted=True)


def seams_in(folder: Path, seed: int = 0, **more: object) -> Seams:
    """Return seams whose keyring lies outside the store, and is protected by a key file."""
    key_file = folder / "key-file"
    if not key_file.exists():
        key_file.write_bytes(random.Random(SEED).randbytes(64))
        key_file.chmod(0o600)
    return Seams(
        clock=ManualClock(),
        entropy=SeededEntropy(seed),
        keyring=folder / "keyring.json",
        unlocking=Unlocking(key_file=key_file),
        **more,  # type: ignore[arg-type]
    )


# Nothing is given away


@dataclass
class Watch:
    """Looks through every file of a store whenever one of them is about to be written."""

    folder: Path
    secrets: dict[str, bytes]
    looked: int = 0
    count: int = 0
    every: int = 60

    def __call__(self, what: str, path: Path) -> None:
        if what in ("read_at", "read_into", "size", "is_hole"):
            return
        self.count += 1
        if self.count % self.every == 0:
            self.look()

    def look(self) -> None:
        self.looked += 1
        for path, data in files_below(self.folder):
            found = found_in(data, self.secrets)
            assert not found, f"{path.name} has {found}"


def test_no_file_of_the_store_gives_anything_away_at_any_moment(fast_path: Path) -> None:
    """Every file, temporary ones included, during and after each operation on snapshots."""
    contents = [NOISE, TEXT, TAIL, noise_block(5), palette_block(9), palette_block(11)]
    path = fast_path / "store"
    watch = Watch(path, {})
    seams = seams_in(fast_path, files=ObservedFiles(PosixFiles(), watch))
    with Store.create(path, seams) as store:
        for number, content in enumerate(contents):
            for name, trace in traces_of(content, store).items():
                watch.secrets[f"block {number}: {name}"] = trace
        store.keys.create(alias="alias/other")
        disk = disk_of(*contents[:4])
        looking = ObservedSource(disk, lambda *_: watch.look())

        first = store.create_snapshot(looking, ENCRYPTED)
        watch.secrets |= {f"data key {key.hex()}": key for key in data_keys(store)}
        disk.put(1, contents[4])
        second = store.create_snapshot(looking)
        other = SnapshotOptions(encrypted=True, kms_key_id="alias/other")
        copy = store.copy_snapshot(second.snapshot_id, None, other)
        afar = store.as_account(region="eu-central-1")
        afar.copy_snapshot(second.snapshot_id, "us-east-1")
        watch.secrets |= {f"data key {key.hex()}": key for key in data_keys(store)}
        store.delete_snapshots([first.snapshot_id])
        store.compact()
        store.keys.rotate("alias/other")
        out = fast_path / "out"
        out.mkdir()
        store.restore_snapshot(copy.snapshot_id, out / "image")
        assert (out / "image").read_bytes() == b"".join([NOISE, contents[4], *contents[2:4]])
        root = _root_key(store)
        watch.secrets["root key"] = root
        for material in _materials(store):
            watch.secrets[f"KMS key {material.hex()}"] = material
        watch.look()
        assert_healthy(store)
    watch.look()
    Store.rebuild(path, seams)
    watch.look()
    keyring = (fast_path / "keyring.json").read_bytes()
    keys = {name: each for name, each in watch.secrets.items() if "key" in name.split(":")[0]}
    assert not found_in(keyring, keys)
    assert watch.looked > 10
    assert len(watch.secrets) > 60


def _root_key(store: Store) -> bytes:
    keyring = store._context.keyring()
    keyring.unlock()
    root = keyring._ring._root
    assert root is not None
    return root


def _materials(store: Store) -> list[bytes]:
    """Return the materials of all KMS keys."""
    present = store._context.keyring()._ring.present()
    return [
        secret
        for key in present.contents.keys.values()
        for secret in present.materials.opened(key).secrets
    ]


def test_plain_snapshots_are_what_this_would_find(fast_path: Path) -> None:
    """The search finds what is not encrypted: or it would prove nothing."""
    seams = seams_in(fast_path)
    with Store.create(fast_path / "store", seams) as store:
        secrets = traces_of(NOISE, store)
        store.create_snapshot(disk_of(NOISE))
        found = {
            name
            for path, data in files_below(fast_path / "store")
            for name in found_in(data, secrets)
        }
    assert {"bytes at 0", "bytes at 1000", "BLAKE3 under the store's key"} <= found


def test_equal_blocks_share_nothing_across_domains_places_and_stores(fast_path: Path) -> None:
    """No 16 bytes of a sealed payload are found in another: not for the same block in another
    domain, in another segment, at another offset, or in another store with the same keyring."""
    payloads: list[bytes] = []
    hashes: list[bytes] = []
    for number in range(2):
        seams = seams_in(fast_path, seed=number)
        with Store.create(fast_path / f"store-{number}", seams) as store:
            for name in "abc":
                disk = disk_of(NOISE, TEXT, name=f"memory:{name}")
                snapshot = store.create_snapshot(disk, ENCRYPTED)
                for index in range(2):
                    record = record_of(store, snapshot.snapshot_id, index)
                    payloads.append(record.payload)
                    hashes.append(record.header.block_hash)
    assert len(payloads) == len(set(hashes)) == 12
    seen: set[bytes] = set()
    for payload in payloads:
        sealed = payload[COMMITMENT_SIZE:]  # that is the same for a domain and a segment
        parts = {sealed[at : at + 16] for at in range(0, len(sealed) - 16, 16)}
        assert not seen & parts
        seen |= parts


# A flipped byte is an error


@dataclass
class Scene:
    """A store with three snapshots: two of one volume, and one of another with the same blocks."""

    path: Path
    seams: Seams
    store: Store
    snapshot: str
    other: str

    def record(self, index: int, snapshot: str | None = None) -> SealedRecord:
        return record_of(self.store, snapshot or self.snapshot, index)

    def refused(self, index: int = 0) -> EbsimError:
        """Return why a block is not read, whatever reads it; nothing of it may come out."""
        with pytest.raises((CorruptionError, WrongKeyError)) as caught:
            self.store.read_block(self.snapshot, index)
        target = self.path.parent / "target"
        with pytest.raises((CorruptionError, WrongKeyError)):
            self.store.restore_snapshot(self.snapshot, target)
        assert not target.exists()
        report = self.store.check(data=True)
        assert not report.healthy
        return caught.value


@pytest.fixture
def scene(fast_path: Path) -> Iterator[Scene]:
    path, seams = fast_path / "store", seams_in(fast_path)
    with Store.create(path, seams) as store:
        disk = disk_of(NOISE, TEXT, noise_block(3), TAIL)
        snapshot = store.create_snapshot(disk, ENCRYPTED).snapshot_id
        twin = disk_of(NOISE, TEXT, name="memory:twin")
        other = store.create_snapshot(twin, ENCRYPTED).snapshot_id
        yield Scene(path, seams, store, snapshot, other)


def test_any_flipped_byte_of_a_small_record_is_an_error(scene: Scene) -> None:
    """Each byte of the record of one block, with its stored checksum left or made to fit."""
    record, context = scene.record(1), scene.store._context
    size, end = record.header.extent, len(record.whole.rstrip(b"\0"))
    assert size == 4096
    loader = BlockLoader(context)
    with context.catalog.read() as reader:
        root = get_snapshot(reader, parse_snapshot_id(scene.snapshot)).root
        place = find_place(reader, root, 1)
    assert place is not None
    wrong: set[type[EbsimError]] = set()
    for at in range(size):
        torn = bytearray(record.whole)
        torn[at] ^= 1 << at % 8
        for data in (bytes(torn), flipped(record, at, 1 << at % 8)):
            record.write(data)
            try:
                found = loader._load(place)
            except (CorruptionError, WrongKeyError) as error:
                wrong.add(type(error))
                continue
            assert (at >= end, data != torn) == (True, True), "padding that its writer vouches for"
            assert found == TEXT
    record.write(record.whole)
    assert wrong == {CorruptionError, WrongKeyError}
    assert_healthy(scene.store)


def test_any_flipped_bit_of_an_encrypted_store_is_no_data(scene: Scene) -> None:
    """Bits at random over the segments of a store, while it is open: the block, or an error."""
    expected = {
        snapshot: [scene.store.read_block(snapshot, index) for index in range(count)]
        for snapshot, count in ((scene.snapshot, 4), (scene.other, 2))
    }
    chosen = random.Random(SEED)
    errors = 0
    for _ in range(3000 if LONG else 300):
        path = chosen.choice(segment_files(scene.path))
        bit = chosen.randrange(8 * path.stat().st_size)
        flip_bit(path, bit)
        for snapshot, blocks in expected.items():
            for index, block in enumerate(blocks):
                try:
                    assert scene.store.read_block(snapshot, index) == block
                except (CorruptionError, WrongKeyError):
                    errors += 1
        flip_bit(path, bit)
    assert errors > 100
    assert_healthy(scene.store)


# A record is what it is only in its place


def in_place_of(record: SealedRecord, other: SealedRecord) -> bytes:
    """Return one record made to look as if it lay in the place of another."""
    return record.forged(
        segment_id=other.header.segment_id,
        offset=other.header.offset,
        block_hash=other.header.block_hash,
        domain=other.header.domain,
    )


def moved_within_the_segment(scene: Scene) -> None:
    record, other = scene.record(2), scene.record(0)
    other.write(in_place_of(record, other))


def moved_from_another_domain(scene: Scene) -> None:
    """The very same plain bytes, sealed under another data key of the same KMS key."""
    record, other = scene.record(0, scene.other), scene.record(0)
    other.write(in_place_of(record, other))


def named_another_domain(scene: Scene) -> None:
    record, other = scene.record(0, scene.other), scene.record(0)
    forged = record.forged(
        segment_id=other.header.segment_id,
        offset=other.header.offset,
        block_hash=other.header.block_hash,
    )
    other.write(forged)


def swapped(scene: Scene) -> None:
    one, two = scene.record(0), scene.record(2)
    one.write(in_place_of(two, one))
    two.write(in_place_of(one, two))


def in_the_clear(scene: Scene) -> None:
    """A record that says it is not encrypted at all."""
    record = scene.record(0)
    content = noise_block(9)
    extent = record.header.extent
    forged = SealedRecord(record.path, record.header, content).forged(
        domain=0, payload_size=BLOCK_SIZE, codec=Codec.PLAIN
    )
    record.write(forged.ljust(extent, b"\0")[:extent])


def said_to_be_plain(scene: Scene) -> None:
    record = scene.record(0)
    record.write(record.forged(domain=0))


def said_to_be_of_an_unknown_domain(scene: Scene) -> None:
    record = scene.record(0)
    record.write(record.forged(domain=77))


def said_to_be_coded_otherwise(scene: Scene) -> None:
    record = scene.record(0)
    codec = Codec.ZSTD if record.header.codec is Codec.PLAIN else Codec.PLAIN
    record.write(record.forged(codec=codec))


FORGERIES = [
    moved_within_the_segment,
    moved_from_another_domain,
    named_another_domain,
    swapped,
    in_the_clear,
    said_to_be_plain,
    said_to_be_of_an_unknown_domain,
    said_to_be_coded_otherwise,
]


@pytest.mark.parametrize("forge", FORGERIES)
def test_forged_record_is_refused(scene: Scene, forge: Callable[[Scene], None]) -> None:
    forge(scene)

    error = scene.refused()

    assert isinstance(error, (CorruptionError, WrongKeyError))
    assert scene.store.read_block(scene.snapshot, 1) == TEXT


def test_record_of_another_segment_is_refused(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same block of the same domain, sealed once more in another segment."""
    old = scene.record(0)
    scene.store.close()
    with Store.open(scene.path, scene.seams) as store:
        store.create_snapshot(disk_of(HEAD, name="memory:small"), ENCRYPTED)
    monkeypatch.setattr(compact_plan, "MERGED_ALWAYS", 64 * MIB)
    with Store.open(scene.path, scene.seams) as store:
        scene.store = store
        store.compact()
        new = scene.record(0)
        assert new.header.segment_id != old.header.segment_id
        assert new.header.block_hash == old.header.block_hash
        assert new.payload != old.payload
        new.write(in_place_of(old, new))
        scene.refused()


def test_record_of_another_store_is_refused(scene: Scene) -> None:
    """Two stores under one keyring: the data keys differ, and keys are derived for each store."""
    with Store.create(scene.path.parent / "second", seams_in(scene.path.parent, 3)) as second:
        disk = disk_of(NOISE, TEXT)
        snapshot = second.create_snapshot(disk, ENCRYPTED)
        theirs = record_of(second, snapshot.snapshot_id, 0)
    other = scene.record(0)
    other.write(in_place_of(theirs, other))
    scene.refused()


def test_wrapped_data_key_of_another_store_or_domain_is_refused(scene: Scene) -> None:
    """A wrapped data key opens only as what it was wrapped as."""
    with Store.create(scene.path.parent / "second", seams_in(scene.path.parent, 3)) as second:
        second.create_snapshot(disk_of(NOISE), ENCRYPTED)
        with second._context.catalog.read() as reader:
            (theirs,) = list_domains(reader)
    with scene.store._context.catalog.read() as reader:
        mine, twin = list_domains(reader)
    scene.store.close()
    for wrapped in (theirs.wrapped, twin.wrapped, mine.wrapped[:-2] + "00"):
        with Store.open(scene.path, scene.seams) as store:
            _put(store, replace(mine, wrapped=wrapped))
        with Store.open(scene.path, scene.seams) as store:
            with pytest.raises(CorruptionError):
                store.read_block(scene.snapshot, 0)
            report = store.check(data=True)
            assert {each.kind for each in report.findings} == {"corrupt-data-key"}
            assert scene.snapshot in str(report.findings[0])
            assert store.read_block(scene.other, 0) == NOISE
    Store.rebuild(scene.path, scene.seams)
    with Store.open(scene.path, scene.seams) as store:
        assert store.read_block(scene.snapshot, 0) == NOISE
        assert_healthy(store)


def _put(store: Store, record: DomainRecord) -> None:
    store._context.catalog.update(lambda writer: put_domain(writer, record))


def test_segment_of_another_store_is_not_taken_by_a_rebuild(scene: Scene) -> None:
    with Store.create(scene.path.parent / "second", seams_in(scene.path.parent, 3)) as second:
        second.create_snapshot(disk_of(HEAD), ENCRYPTED)
    foreign = segment_files(scene.path.parent / "second")[0]
    scene.store.close()
    shutil.copy(foreign, scene.path / "segments" / foreign.name)

    report = Store.rebuild(scene.path, scene.seams)

    assert [each.kind for each in report.findings] == ["unknown-segment"]
    with Store.open(scene.path, scene.seams) as store:
        assert store.read_block(scene.snapshot, 0) == NOISE


def test_volume_that_was_never_written_says_nothing_without_the_key(scene: Scene) -> None:
    """A snapshot of nothing but holes is encrypted too."""
    empty = scene.store.create_snapshot(disk_of(bytes(BLOCK_SIZE), name="memory:0"), ENCRYPTED)
    assert scene.store.volumes.create(VolumeRequest(snapshot_id=empty.snapshot_id)).encrypted
    scene.store.keys.create(alias="alias/k")
    options = SnapshotOptions(encrypted=True, kms_key_id="alias/k")
    copy = scene.store.copy_snapshot(empty.snapshot_id, None, options)
    scene.store.keys.disable("alias/k")
    with pytest.raises(EbsimError):
        scene.store.read_block(copy.snapshot_id, 0)
