"""F28, F29, F42 to F44 in whole stores: records and files that look right, and are not."""

import resource
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from ebsim.engine import Seams, Store
from ebsim.errors import CorruptionError
from ebsim.format.checksum import CHECKSUM_SIZE, stored_checksum
from ebsim.format.segment import (
    RECORD_HEADER,
    RECORD_HEADER_SIZE,
    Codec,
    RecordHeader,
    encode_record,
)
from ebsim.testing.contents import NOISE, TEXT, noise_block
from ebsim.testing.damage import place_of_block, segment_files
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE, MIB

OTHER = noise_block(1)
MEMORY_MAX = 24 * MIB


@pytest.fixture
def folder(fast_path: Path, seams: Seams) -> Path:
    """A closed store with one snapshot of four blocks; the first and the last are records alike."""
    path = fast_path / "store"
    with Store.create(path, seams) as store:
        store.create_snapshot(disk_of(NOISE, TEXT, bytes(BLOCK_SIZE), OTHER))
    return path


def put(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def assert_only_these_are_damaged(folder: Path, seams: Seams, damaged: set[int]) -> None:
    """Each block is what it was, or an error that a check names; after a rebuild too."""
    contents = [NOISE, TEXT, bytes(BLOCK_SIZE), OTHER]
    for rebuilt in (False, True):
        if rebuilt:
            shutil.rmtree(folder / "catalog")
            report = Store.rebuild(folder, seams)  # compares stored checksums, not block hashes
            assert {finding.kind for finding in report.findings} <= {"lost-block"}
        with Store.open(folder, seams) as store:
            (shown,) = store.list_snapshots()
            for index, content in enumerate(contents):
                if index not in damaged:
                    assert store.read_block(shown.snapshot_id, index) == content
                    continue
                with pytest.raises(CorruptionError):
                    store.read_block(shown.snapshot_id, index)
            findings = store.check(data=True).findings
            ranges = {span for finding in findings for span in finding.ranges}
            assert ranges == {(index * BLOCK_SIZE, (index + 1) * BLOCK_SIZE) for index in damaged}


def test_records_that_changed_places_are_found(folder: Path, seams: Seams) -> None:
    """F28: each is genuine, and lies where the other was written."""
    one, other = place_of_block(folder, NOISE), place_of_block(folder, OTHER)
    assert one.header.extent == other.header.extent
    data = one.path.read_bytes()
    for there, here in ((one, other), (other, one)):
        start = here.header.offset
        put(one.path, there.header.offset, data[start : start + here.header.extent])

    assert_only_these_are_damaged(folder, seams, {0, 3})


def frame_that_claims(size: int) -> bytes:
    """Return the header of a zstd frame that says how much it unpacks to, and no more."""
    return b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", size)


def small(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(content)


def without_size(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1, write_content_size=False).compress(content)


PAYLOADS = {
    "claims 4 GiB": frame_that_claims(1 << 32),
    "claims 2^46": frame_that_claims(1 << 46),
    "unpacks to 1 GiB": small(bytes(1 << 30)),
    "unpacks to 1 GiB, and does not say so": without_size(bytes(1 << 30)),
    "unpacks to a byte more": small(TEXT + b"."),
    "unpacks to a byte less": small(TEXT[:-1]),
    "two frames": small(TEXT[:1000]) + small(TEXT[1000:]),
    "a byte behind": small(TEXT) + b"\0",
    "skippable frame before": b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd" + small(TEXT),
    "skippable frame behind": small(TEXT) + b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd",
    "another block": small(NOISE[:1000].ljust(BLOCK_SIZE, b"\0")),
    "nothing": b"",
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_forged_payload_is_damage_and_takes_no_memory(
    folder: Path, seams: Seams, name: str
) -> None:
    """F42, F43: with the stored checksum that belongs to it."""
    forged = PAYLOADS[name]
    target = place_of_block(folder, NOISE)
    header = replace(target.header, codec=Codec.ZSTD, payload_size=len(forged))
    record = b"".join(encode_record(header, forged)).ljust(target.header.extent, b"\0")
    put(target.path, target.header.offset, record)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    assert_only_these_are_damaged(folder, seams, {0})

    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) * 1024 < MEMORY_MAX


def whole_record(header: RecordHeader, data: bytes, **changes: int) -> bytes:
    """Return a record with fields of its header changed, and the checksum that belongs to it."""
    fields = list(RECORD_HEADER.unpack_from(data))
    for name, value in changes.items():
        fields[{"payload": 4, "plain": 5, "offset": 7}[name]] = value
    head = RECORD_HEADER.pack(*fields)
    rest = data[RECORD_HEADER_SIZE : header.extent]
    checksum = stored_checksum((head, rest))
    assert len(checksum) == CHECKSUM_SIZE
    return head + checksum + rest


@pytest.mark.parametrize(
    "changes",
    [
        {"payload": 2**32 - 1},
        {"payload": 2**32 - 4096},
        {"payload": 4 * MIB + 1},
        {"plain": 2**32 - 1},
        {"plain": 0},
        {"plain": BLOCK_SIZE + 1},
        {"offset": 2**63},
    ],
)
def test_forged_length_is_damage_and_takes_no_memory(
    folder: Path, seams: Seams, changes: dict[str, int]
) -> None:
    """F44."""
    place = place_of_block(folder, NOISE)
    start = place.header.offset
    data = place.path.read_bytes()[start : start + place.header.extent]
    put(place.path, start, whole_record(place.header, data, **changes))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    assert_only_these_are_damaged(folder, seams, {0})

    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) * 1024 < MEMORY_MAX


def remove(path: Path) -> None:
    path.unlink()


def fill_with_garbage(path: Path) -> None:
    path.write_bytes(NOISE[: path.stat().st_size])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [remove, fill_with_garbage, empty])
def test_table_of_readers_is_made_again(
    folder: Path, seams: Seams, damage: Callable[[Path], None]
) -> None:
    """F29: `lock.mdb` is worth nothing while nobody has the store open."""
    damage(folder / "catalog" / "lock.mdb")

    with Store.open(folder, seams) as store:
        store.create_snapshot(disk_of(OTHER, name="memory:more"))
        assert len(store.list_snapshots()) == 2
        assert store.check(data=True).findings == ()


def test_old_copy_of_a_segment_resurrects_nothing(folder: Path, seams: Seams) -> None:
    """F27: a segment as it was before what it holds was deleted and punched out."""
    (path,) = segment_files(folder)
    old = path.read_bytes()
    with Store.open(folder, seams) as store:
        kept = store.create_snapshot(disk_of(OTHER, TEXT, name="memory:kept"))
        gone = store.list_snapshots()[0].snapshot_id
        store.delete_snapshots([gone])
        ledger = store.ledger()
    assert path.read_bytes() != old
    path.write_bytes(old)

    for rebuilt in (False, True):
        if rebuilt:
            shutil.rmtree(folder / "catalog")
            assert Store.rebuild(folder, seams).findings == ()
        with Store.open(folder, seams) as store:
            assert [each.snapshot_id for each in store.list_snapshots()] == [kept.snapshot_id]
            assert store.read_block(kept.snapshot_id, 0) == OTHER
            assert store.read_block(kept.snapshot_id, 1) == TEXT
            assert store.ledger() == ledger
            assert store.check(data=True).findings == ()


@pytest.mark.parametrize("renamed", [False, True])
def test_segment_under_another_name_is_told_by_a_rebuild(
    folder: Path, seams: Seams, renamed: bool
) -> None:
    """F27: a copy changes nothing; a segment that was renamed is missing, until it is named so."""
    (path,) = segment_files(folder)
    with Store.open(folder, seams) as store:
        told = store.list_snapshots()
    other = path.with_name(f"{'ab' * 16}.seg")
    if renamed:
        path.rename(other)
    else:
        shutil.copy(path, other)
    shutil.rmtree(folder / "catalog")

    report = Store.rebuild(folder, seams)

    (finding,) = report.findings
    assert path.stem in finding.message
    with Store.open(folder, seams) as store:
        assert store.list_snapshots() == ([] if renamed else told)
    if renamed:
        other.rename(path)
        assert Store.rebuild(folder, seams).findings == ()
    with Store.open(folder, seams) as store:
        assert store.list_snapshots() == told
        assert store.read_block(told[0].snapshot_id, 0) == NOISE
    assert path.exists()
