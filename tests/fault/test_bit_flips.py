"""F20 to F23: flipped bits in the files of a whole store are found, or refused, and never data.

A sample of fixed seed by default; with EBSIM_TEST_PROFILE=long every bit of the segments, of
`store.json` and of every byte of the catalog that is not zero.
"""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ebsim.config import SnapshotOptions
from ebsim.engine import Seams, Store
from ebsim.errors import CorruptionError, EbsimError
from ebsim.format.intent import decode_intents, encode_boot, encode_intent, encode_local
from ebsim.format.kept_block import (
    KEPT_HEADER,
    KEPT_HEADER_SIZE,
    SLOT_SIZE,
    decode_kept_slot,
    encode_kept_header,
)
from ebsim.format.segment import (
    RECORD_HEADER_SIZE,
    RecordHeader,
    decode_record,
    decode_record_header,
)
from ebsim.format.store_header import StoreHeader
from ebsim.storage import lmdb_catalog, segments, store_folder
from ebsim.storage.catalog_watch import CatalogWatch
from ebsim.testing.bit_flips import (
    StoreAnswers,
    Verdict,
    judge,
    judge_flips,
    open_for_flips,
    tally,
)
from ebsim.testing.contents import HEAD, NOISE, TAIL, TEXT, noise_block
from ebsim.testing.damage import records_of, segment_files
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE

SEED = 4
LONG = os.environ.get("EBSIM_TEST_PROFILE") == "long"
CATALOG = "catalog/data.mdb"


@pytest.fixture(scope="module")
def flippable(fast_module_path: Path) -> Path:
    """A closed store with a segment of about 1 MiB, three snapshots, one of them deleted."""
    path = fast_module_path / "store"
    with Store.create(path, Seams(clock=ManualClock(), entropy=SeededEntropy())) as store:
        disk = disk_of(NOISE, TEXT, HEAD[:1000])
        first = store.create_snapshot(disk, SnapshotOptions(tags={"Name": "first"}))
        disk.put(1, TAIL)
        store.create_snapshot(disk, SnapshotOptions(tags={"Name": "second"}))
        disk.put(0, noise_block(1))
        store.create_snapshot(disk)
        store.delete_snapshots([first.snapshot_id])
    return path


@pytest.fixture(scope="module")
def expected(flippable: Path) -> StoreAnswers:
    with open_for_flips(flippable) as store:
        return StoreAnswers(store)


def some_bits(path: Path, count: int, *, used: bool = False) -> list[int]:
    """Return which bits of a file to flip; with `used`, only of bytes that are not zero."""
    data = path.read_bytes()
    bytes_there = [at for at, byte in enumerate(data) if byte or not used]
    bits = [8 * at + bit for at in bytes_there for bit in range(8)] if LONG else []
    chosen = random.Random(SEED)
    return bits or sorted(
        {8 * chosen.choice(bytes_there) + chosen.randrange(8) for _ in range(count)}
    )


def live_bits(path: Path, count: int) -> list[int]:
    """Return bits of a segment's header and of its records; what was given back holds nothing."""
    spans = [(0, 4096)]
    spans += [
        (place.header.offset, place.header.offset + place.header.extent)
        for place in records_of(path)
    ]
    chosen = random.Random(SEED)
    weights = [end - start for start, end in spans]
    picked = chosen.choices(spans, weights, k=count)
    return sorted({8 * chosen.randrange(*span) + chosen.randrange(8) for span in picked})


@pytest.mark.slow
def test_flipped_bit_of_a_segment_is_found_in_the_store(
    flippable: Path, expected: StoreAnswers
) -> None:
    (path,) = segment_files(flippable)

    verdicts = judge_flips(flippable, f"segments/{path.name}", live_bits(path, 400), expected)

    assert set(verdicts.values()) == {Verdict.FOUND}, tally(verdicts.values())


def test_flipped_bit_of_a_record_is_found_wherever_it_is(flippable: Path) -> None:
    """Each record as check and restore read it: every bit in the long run, else every 4,999th."""
    (path,) = segment_files(flippable)
    data = path.read_bytes()
    for place in records_of(path):
        header = place.header
        record = bytearray(data[header.offset : header.offset + header.extent])
        for bit in range(0, 8 * len(record), 1 if LONG else 4999):
            record[bit // 8] ^= 1 << bit % 8
            with pytest.raises(CorruptionError):
                decode_record(record, header.segment_id, header.offset)  # type: ignore[arg-type]
            record[bit // 8] ^= 1 << bit % 8
        decode_record(bytes(record), header.segment_id, header.offset)


@pytest.mark.slow
def test_every_flipped_bit_of_store_json_is_refused(
    flippable: Path, expected: StoreAnswers
) -> None:
    bits = range(8 * (flippable / "store.json").stat().st_size)

    verdicts = judge_flips(flippable, "store.json", bits, expected)

    assert set(verdicts.values()) == {Verdict.REFUSED}, tally(verdicts.values())


@pytest.mark.slow
@pytest.mark.parametrize(("count", "used"), [(20, False), (100, True)])
def test_flipped_bit_of_the_catalog_is_found_or_harmless(
    flippable: Path, expected: StoreAnswers, count: int, *, used: bool
) -> None:
    """LMDB has pages that are free or half empty: a bit there is nobody's.

    The campaign `catalog-flips` does far more of them.
    """
    bits = some_bits(flippable / CATALOG, count, used=used)

    verdicts = judge_flips(flippable, CATALOG, bits, expected)

    assert set(verdicts.values()) <= {Verdict.REBUILT, Verdict.HARMLESS}, tally(verdicts.values())
    assert not used or Verdict.REBUILT in verdicts.values()


def test_flipped_bit_of_a_kept_block_is_found() -> None:
    """But for the rest of the header's page, which is zeros and nobody reads."""
    data = memoryview(NOISE)
    slot = bytearray(encode_kept_header("vol-1", 7, 3, data) + NOISE)
    header = range(8 * KEPT_HEADER.size)
    rest = range(8 * KEPT_HEADER_SIZE, 8 * SLOT_SIZE, 1 if LONG else 4999)
    for bit in [*header, *rest]:
        slot[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptionError):
            decode_kept_slot("vol-1", memoryview(slot))
        slot[bit // 8] ^= 1 << bit % 8
    assert decode_kept_slot("vol-1", memoryview(slot)) == (7, 3)


def test_every_flipped_bit_of_a_file_of_intents_is_found() -> None:
    whole = encode_boot("vol-1", "boot") + encode_intent("vol-1", 5) + encode_local("vol-1", 9)
    data = bytearray(whole)
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        assert decode_intents("vol-1", "boot", bytes(data)) is None, bit
        data[bit // 8] ^= 1 << bit % 8
    assert decode_intents("vol-1", "boot", whole) is not None


# files that are swapped, doubled, cut off, or something else


@pytest.fixture
def copied(flippable: Path, fast_path: Path) -> Path:
    """A copy of the store to be damaged, with a second segment."""
    path = fast_path / "store"
    shutil.copytree(flippable, path)
    with open_for_flips(path) as store:
        store.create_snapshot(disk_of(noise_block(3), name="memory:second"))
    return path


def swap(first: Path, second: Path) -> None:
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def double(first: Path, second: Path) -> None:
    second.write_bytes(first.read_bytes())


def cut_off(first: Path, _second: Path) -> None:
    os.truncate(first, first.stat().st_size - 4096)


def empty(first: Path, _second: Path) -> None:
    os.truncate(first, 0)


def make_folder(first: Path, _second: Path) -> None:
    first.unlink()
    first.mkdir()


def link(first: Path, _second: Path) -> None:
    """F58: even to the true bytes: whoever can place a link could place another."""
    moved = first.rename(first.parent.parent.parent / "elsewhere")
    first.symlink_to(moved)


@pytest.mark.parametrize("damage", [swap, double, cut_off, empty, make_folder, link])
def test_segment_file_that_is_another_is_found(
    copied: Path, damage: Callable[[Path, Path], None]
) -> None:
    """F19, F27, F58."""
    with open_for_flips(copied) as store:
        before = StoreAnswers(store)
    damage(*segment_files(copied))

    assert judge(copied, before) is Verdict.FOUND


def test_store_json_that_is_a_link_is_refused(copied: Path) -> None:
    """F58."""
    moved = (copied / "store.json").rename(copied.parent / "elsewhere")
    (copied / "store.json").symlink_to(moved)

    with pytest.raises(EbsimError):
        open_for_flips(copied)


# These tests can fail: a check that is left out lets flips through.


def lenient_record(
    data: bytes, _segment_id: bytes, _offset: int
) -> tuple[RecordHeader, memoryview]:
    header = decode_record_header(data)
    view = memoryview(data)
    return header, view[RECORD_HEADER_SIZE : RECORD_HEADER_SIZE + header.payload_size]


def test_without_checksums_of_records_flips_are_missed(
    flippable: Path, expected: StoreAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = segment_files(flippable)
    journal = list(records_of(path))[-1].header
    bits = [8 * (journal.offset + RECORD_HEADER_SIZE + at) for at in range(0, 400, 40)]
    monkeypatch.setattr(segments, "decode_record", lenient_record)

    verdicts = judge_flips(flippable, f"segments/{path.name}", bits, expected)

    assert set(verdicts.values()) == {Verdict.HARMLESS}  # nobody looked


def test_without_checksums_of_values_flips_are_missed(
    flippable: Path, expected: StoreAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = (flippable / CATALOG).read_bytes()
    places = [at for at in range(len(data)) if data.startswith(b'"Name":"second"', at)]
    bits = [8 * (at + len('"Name":"s')) for at in places]
    whole = judge_flips(flippable, CATALOG, bits, expected)
    monkeypatch.setattr(lmdb_catalog, "_unseal", lambda _table, _key, sealed: sealed[:-16])
    monkeypatch.setattr(CatalogWatch, "doubt", lambda *_, **__: "")

    verdicts = judge_flips(flippable, CATALOG, bits, expected)

    assert set(whole.values()) <= {Verdict.REBUILT, Verdict.HARMLESS}
    assert Verdict.SILENT in verdicts.values()


def test_without_a_proof_flips_are_found_later_or_kill(
    flippable: Path, expected: StoreAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What opening does not prove is not rebuilt: checksums find what LMDB lives to return."""
    monkeypatch.setattr(CatalogWatch, "doubt", lambda *_, **__: "")

    verdicts = judge_flips(
        flippable, CATALOG, some_bits(flippable / CATALOG, 40, used=True), expected
    )

    assert Verdict.REBUILT not in verdicts.values()
    assert {Verdict.FOUND, Verdict.REFUSED} & set(verdicts.values())


def test_without_the_checksum_of_store_json_flips_are_missed(
    flippable: Path, expected: StoreAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_for_flips(flippable) as store:
        header = store._context.header
    lenient: Callable[[bytes], StoreHeader] = lambda _data: header  # noqa: E731
    monkeypatch.setattr(store_folder, "decode_store_header", lenient)

    verdicts = judge_flips(flippable, "store.json", range(8, 80, 8), expected)

    assert set(verdicts.values()) == {Verdict.HARMLESS}


def test_process_that_dies_is_a_verdict(
    flippable: Path, expected: StoreAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "open", lambda *_, **__: os.abort())

    verdicts = judge_flips(flippable, "store.json", [0, 8], expected)

    assert set(verdicts.values()) == {Verdict.DIED}


def test_wrong_bytes_are_a_verdict(
    flippable: Path, expected: StoreAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "read_block", lambda *_: bytes(BLOCK_SIZE))

    assert judge(flippable, expected) is Verdict.WRONG
