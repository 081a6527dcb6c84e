"""Check: each kind of damage is made, one at a time, and must be named. Nothing else may be."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import lmdb
import pytest

from ebsim.config import SnapshotOptions
from ebsim.core.ledger import read_ledger, record_events
from ebsim.engine import Seams, Store
from ebsim.errors import CorruptionError, ErrorCode, SnapshotFailedError, SourceError
from ebsim.format.block_hash import BlockHash
from ebsim.format.catalog_values import (
    BlockRecord,
    Counter,
    MetaRecord,
    NodeKind,
    NodeRecord,
    SegmentRecord,
    SegmentState,
    Table,
    number_key,
    pair_key,
    parse_number_key,
    punch_key,
)
from ebsim.format.map_page import decode_page, empty_page, encode_numbers, encode_page
from ebsim.format.records import decode_snapshot, encode_snapshot
from ebsim.format.segment import ALIGNMENT
from ebsim.permissions import PublicAccess
from ebsim.progress import SilentProgress
from ebsim.recycle_bin import RuleRequest, RuleResourceType
from ebsim.reports import CheckReport, DataCoverage, Finding
from ebsim.requests import VolumeRequest
from ebsim.storage.catalog import CatalogWriter
from ebsim.testing.contents import HEAD, NOISE, TAIL, TEXT, noise_block
from ebsim.testing.damage import vouch_for_catalog
from ebsim.testing.maps import pages_of
from ebsim.testing.seams import SeededEntropy
from ebsim.testing.sources import ObservedSource, disk_of
from ebsim.units import BLOCK_SIZE

LAST_SIZE = 1000
SIZE = 2 * BLOCK_SIZE + LAST_SIZE
"""The exact size of the disk: its third block is partial."""


@dataclass
class Example:
    """A small store: `first` and `second` of one disk, and `other` of another disk.

    Block 0 of the disk is noise, and so is block 1 of the other disk: stored once. Block 1 differs
    between first and second, block 2 does not. The other disk's snapshot lies in a segment of its
    own, but for its noise. Then `second` was made again from the same parent as a branch.
    """

    path: Path
    seams: Seams
    store: Store
    first: str
    second: str
    other: str
    branch: str

    def tamper(self, change: Callable[[CatalogWriter], object]) -> None:
        """Change the catalog as a wrong program would: with checksums that are right."""
        self.store._context.catalog.update(change)

    def block_of(self, snapshot_id: str, index: int) -> tuple[int, BlockRecord]:
        """Return id and record of the stored block that a snapshot has at an index."""
        content = self.store.read_block(snapshot_id, index)
        with self.store._context.catalog.read() as reader:
            for key, value in reader.items(Table.BLOCKS):
                record = BlockRecord.decode(value)
                if self.content(record) == content:
                    return parse_number_key(key), record
        raise AssertionError("every block that is not zeros is stored")

    def content(self, record: BlockRecord) -> bytes:
        from ebsim.core.block_places import BlockPlace
        from ebsim.core.read import BlockLoader

        place = BlockPlace(self.segment(record.segment).segment_id, record)
        return bytes(BlockLoader(self.store._context).load(place))

    def segment(self, number: int) -> SegmentRecord:
        with self.store._context.catalog.read() as reader:
            value = reader.get(Table.SEGMENTS, number_key(number))
        assert value is not None
        return SegmentRecord.decode(value)

    def segment_path(self, number: int) -> Path:
        return self.path / "segments" / f"{self.segment(number).segment_id.hex()}.seg"

    def flip(self, number: int, offset: int) -> None:
        """Flip a bit of a segment file."""
        path = self.segment_path(number)
        data = bytearray(path.read_bytes())
        data[offset] ^= 0x10
        path.write_bytes(data)

    def reopen(self) -> None:
        """Close the store and open it again, so that each session fills a segment of its own."""
        self.store.close()
        self.store = Store.open(self.path, self.seams)

    def root(self, snapshot_id: str) -> int:
        with self.store._context.catalog.read() as reader:
            value = reader.get(Table.SNAPSHOTS, snapshot_id.encode())
        assert value is not None
        return decode_snapshot(value).root


@pytest.fixture
def example(store_path: Path, seams: Seams) -> Iterator[Example]:
    store = Store.create(store_path, seams)
    disk = disk_of(NOISE, TEXT, HEAD[:LAST_SIZE])
    first = store.create_snapshot(disk)
    disk.put(1, noise_block(1))
    second = store.create_snapshot(disk)
    made = Example(store_path, seams, store, first.snapshot_id, second.snapshot_id, "", "")
    made.reopen()
    other = disk_of(TAIL, NOISE, name="memory:other")
    made.other = made.store.create_snapshot(other).snapshot_id
    options = SnapshotOptions(parent=first.snapshot_id)
    branch = disk_of(NOISE, noise_block(2), HEAD[:LAST_SIZE], name="memory:branch")
    made.branch = made.store.create_snapshot(branch, options).snapshot_id
    made.reopen()
    yield made
    made.store.close()


def findings_of(example: Example, *, data: bool = False) -> list[Finding]:
    return list(example.store.check(data=data).findings)


def kinds(found: list[Finding]) -> set[str]:
    return {finding.kind for finding in found}


# a healthy store


@pytest.mark.parametrize("data", [False, True])
def test_healthy_store_has_no_findings(example: Example, *, data: bool) -> None:
    report = example.store.check(data=data)

    stats = example.store.stats()
    assert report == CheckReport(
        level="data" if data else "structure",
        snapshots=4,
        blocks=stats.blocks,
        read_bytes=stats.live_size_bytes if data else 0,
        orphan_bytes=0,
        findings=(),
        coverage=DataCoverage(live_bytes=stats.live_size_bytes) if data else None,
    )
    assert report.healthy


def test_store_without_anything_is_healthy(store: Store) -> None:
    assert store.check(data=True) == CheckReport(
        level="data",
        snapshots=0,
        blocks=0,
        read_bytes=0,
        orphan_bytes=0,
        findings=(),
        coverage=DataCoverage(live_bytes=0),
    )


def test_bytes_that_nobody_refers_to_are_counted_and_harmless(example: Example) -> None:
    with example.segment_path(1).open("ab") as file:
        file.write(b"x" * 3 * ALIGNMENT)

    report = example.store.check(data=True)

    assert report.healthy
    assert report.orphan_bytes == 3 * ALIGNMENT


def test_files_that_are_no_segments_are_not_looked_at(example: Example) -> None:
    (example.path / "segments" / "README").write_text("a note\n")

    assert example.store.check(data=True).healthy


def test_progress_reaches_what_was_announced(example: Example) -> None:
    class Recorder(SilentProgress):
        def __init__(self) -> None:
            self.told: list[tuple[str, int]] = []

        def start(self, label: str, total_bytes: int) -> None:
            self.told.append((label, total_bytes))

        def advance(self, done_bytes: int) -> None:
            self.told.append(("advance", done_bytes))

        def finish(self) -> None:
            self.told.append(("finish", 0))

    progress = Recorder()
    report = example.store.check(data=True, progress=progress)

    assert progress.told[0][1] == report.read_bytes
    assert sum(size for what, size in progress.told if what == "advance") == report.read_bytes
    assert progress.told[-1] == ("finish", 0)


# damaged bytes in segments


@pytest.mark.parametrize("position", ["magic", "header", "checksum", "payload", "end"])
def test_damaged_block_is_named_with_the_snapshots_and_ranges_it_hits(
    example: Example, position: str
) -> None:
    """F20, F21: the noise, which two volumes have at different places."""
    _, record = example.block_of(example.first, 0)
    at = {"magic": 0, "header": 40, "checksum": 90, "payload": 5000, "end": record.extent - 1}
    example.flip(record.segment, record.offset + at[position])

    (finding,) = findings_of(example, data=True)

    assert finding.kind == "corrupt-block"
    assert finding.snapshots == (example.first, example.second, example.other, example.branch)
    start = (0, BLOCK_SIZE)
    assert finding.ranges == (start, start, (BLOCK_SIZE, 2 * BLOCK_SIZE), start)
    assert str(example.segment_path(record.segment)) in finding.message
    assert str(record.offset) in finding.message
    assert findings_of(example) == []  # the structure is sound


def test_range_of_a_partial_last_block_ends_with_the_image(example: Example) -> None:
    _, record = example.block_of(example.second, 2)
    example.flip(record.segment, record.offset + 200)

    (finding,) = findings_of(example, data=True)

    assert finding.snapshots == (example.first, example.second, example.branch)
    assert set(finding.ranges) == {(2 * BLOCK_SIZE, SIZE)}


def test_block_of_one_snapshot_hits_only_that(example: Example) -> None:
    _, record = example.block_of(example.second, 1)
    example.flip(record.segment, record.offset + 200)

    (finding,) = findings_of(example, data=True)

    assert finding.snapshots == (example.second,)
    assert finding.ranges == ((BLOCK_SIZE, 2 * BLOCK_SIZE),)


def test_each_damaged_block_is_a_finding_of_its_own(example: Example) -> None:
    """One damaged record must not hide the next."""
    places = ((example.first, 1), (example.second, 1), (example.other, 0))
    for record in [example.block_of(*place)[1] for place in places]:
        example.flip(record.segment, record.offset + 50)

    found = findings_of(example, data=True)

    assert kinds(found) == {"corrupt-block"}
    assert sorted(finding.snapshots for finding in found) == sorted(
        [(example.first,), (example.second,), (example.other,)]
    )


def test_damaged_block_is_never_read_or_restored(example: Example, fast_path: Path) -> None:
    _, record = example.block_of(example.first, 1)
    example.flip(record.segment, record.offset + 200)
    target = fast_path / "restored.img"

    with pytest.raises(CorruptionError, match=str(record.offset)):
        example.store.read_block(example.first, 1)
    with pytest.raises(CorruptionError, match=str(record.offset)):
        example.store.restore_snapshot(example.first, target)

    assert [entry.name for entry in fast_path.iterdir()] == ["store"]
    assert example.store.read_block(example.first, 0) == NOISE
    example.store.restore_snapshot(example.second, target)
    assert target.read_bytes() == NOISE + noise_block(1) + HEAD[:LAST_SIZE]


def test_damaged_block_leaves_an_old_target_as_it_was(example: Example, fast_path: Path) -> None:
    _, record = example.block_of(example.first, 1)
    example.flip(record.segment, record.offset + 200)
    target = fast_path / "restored.img"
    target.write_bytes(b"precious")

    with pytest.raises(CorruptionError):
        example.store.restore_snapshot(example.first, target, force=True)

    assert target.read_bytes() == b"precious"
    assert sorted(entry.name for entry in fast_path.iterdir()) == ["restored.img", "store"]


@pytest.mark.parametrize("table", [Table.PAGE_RECORDS, Table.VERSION_RECORDS, Table.JOURNAL])
def test_damaged_record_that_a_rebuild_needs_is_named(example: Example, table: Table) -> None:
    with example.store._context.catalog.read() as reader:
        record = MetaRecord.decode(next(reader.items(table))[1])
    example.flip(record.segment, record.offset + 100)

    (finding,) = findings_of(example, data=True)

    assert finding.kind == "corrupt-record"
    assert f"{example.segment_path(record.segment)} at {record.offset}" in finding.message
    assert findings_of(example) == []


@pytest.mark.parametrize("offset", [0, 20, 60, 2000, ALIGNMENT - 1])
@pytest.mark.parametrize("data", [False, True])
def test_damaged_header_of_a_segment_is_named(example: Example, offset: int, *, data: bool) -> None:
    """F22: its records can be read all the same."""
    example.flip(1, offset)

    found = findings_of(example, data=data)

    assert [finding.kind for finding in found] == ["corrupt-segment"]
    assert example.store.read_block(example.first, 0) == NOISE


def test_missing_segment_is_named_and_what_it_held(example: Example) -> None:
    """F26: the snapshots that lie elsewhere are fully usable."""
    number = example.block_of(example.other, 0)[1].segment
    name = example.segment(number).segment_id.hex()
    example.segment_path(number).unlink()
    example.reopen()

    (structure,) = findings_of(example)
    found = findings_of(example, data=True)

    assert structure.kind == "missing-segment"
    assert name in structure.message
    assert structure in found
    hit = {
        finding.snapshots: finding.ranges for finding in found if finding.kind == "corrupt-block"
    }
    assert hit == {
        (example.other,): ((0, BLOCK_SIZE),),
        (example.branch,): ((BLOCK_SIZE, 2 * BLOCK_SIZE),),
    }
    assert kinds(found) == {"missing-segment", "corrupt-block", "corrupt-record"}
    assert example.store.read_block(example.second, 1) == noise_block(1)


def test_segment_that_was_cut_off_is_named_by_its_blocks(example: Example) -> None:
    """F19"""
    _, record = example.block_of(example.second, 1)
    path = example.segment_path(record.segment)
    path.write_bytes(path.read_bytes()[: record.offset + record.extent - 1])

    found = findings_of(example, data=True)

    assert (example.second,) in [finding.snapshots for finding in found]
    assert kinds(found) == {"corrupt-block", "corrupt-record"}


def test_segment_that_nobody_knows_is_named(example: Example) -> None:
    """F27: a copy under another name, or a file from elsewhere."""
    foreign = example.path / "segments" / f"{'ab' * 16}.seg"
    shutil.copy(example.segment_path(1), foreign)

    (finding,) = findings_of(example)

    assert finding.kind == "unknown-segment"
    assert "ab" * 16 in finding.message


def test_segments_that_changed_their_names_are_named(example: Example) -> None:
    """F27"""
    one, two = example.segment_path(1), example.segment_path(2)
    aside = one.with_suffix(".aside")
    one.rename(aside)
    two.rename(one)
    aside.rename(two)
    example.reopen()

    found = findings_of(example)

    assert [finding.kind for finding in found] == ["corrupt-segment"] * 2
    with pytest.raises(CorruptionError):
        example.store.read_block(example.first, 0)


def test_segment_of_another_store_is_named(example: Example, fast_path: Path) -> None:
    with Store.create(fast_path / "another", Seams(entropy=SeededEntropy(5))) as another:
        another.create_snapshot(disk_of(TEXT))
        (segment,) = (fast_path / "another" / "segments").iterdir()
        shutil.copy(segment, example.segment_path(2))
    example.reopen()

    assert "corrupt-segment" in kinds(findings_of(example))


def test_records_that_changed_places_are_named(example: Example) -> None:
    """F28"""
    records = [example.block_of(example.first, 1)[1], example.block_of(example.first, 2)[1]]
    path = example.segment_path(1)
    data = bytearray(path.read_bytes())
    (one, two) = (slice(r.offset, r.offset + r.extent) for r in records)
    assert records[0].extent == records[1].extent
    data[one], data[two] = data[two], data[one]
    path.write_bytes(data)

    found = findings_of(example, data=True)

    assert [finding.kind for finding in found] == ["corrupt-block"] * 2


# a catalog that a wrong program wrote


Tampering = Callable[[Example, CatalogWriter], object]


def change_snapshot(example: Example, writer: CatalogWriter, **facts: object) -> None:
    key = example.second.encode()
    value = writer.get(Table.SNAPSHOTS, key)
    assert value is not None
    record = decode_snapshot(value)
    writer.put(Table.SNAPSHOTS, key, encode_snapshot(replace(record, **facts)))  # type: ignore[arg-type]


def change_block(
    example: Example, writer: CatalogWriter, change: Callable[[BlockRecord], BlockRecord]
) -> None:
    block_id, record = example.block_of(example.second, 1)
    writer.put(Table.BLOCKS, number_key(block_id), change(record).encode())


def change_segment(writer: CatalogWriter, **facts: object) -> None:
    key = number_key(1)
    value = writer.get(Table.SEGMENTS, key)
    assert value is not None
    record = replace(SegmentRecord.decode(value), **facts)  # type: ignore[arg-type]
    writer.put(Table.SEGMENTS, key, record.encode())


def drop_one(writer: CatalogWriter, table: Table) -> None:
    """Delete the last entry of a table."""
    *_, key = writer.keys(table)
    assert writer.delete(table, key)


def change_version(writer: CatalogWriter, version: int, block: int) -> None:
    value = writer.get(Table.VERSIONS, number_key(0))
    assert value is not None
    page = decode_page(value)
    page[version] = block
    writer.put(Table.VERSIONS, number_key(0), encode_page(page))


def change_live_items(writer: CatalogWriter, table: Table, change: int) -> None:
    key, value = next(writer.items(table))
    record = MetaRecord.decode(value)
    writer.put(table, key, replace(record, live=record.live + change).encode())


def change_node(example: Example, writer: CatalogWriter, **facts: object) -> None:
    for key, value in writer.items(Table.NODES):
        record = NodeRecord.decode(value)
        if record.snapshot_id == example.second:
            writer.put(Table.NODES, key, replace(record, **facts).encode())  # type: ignore[arg-type]
            return
    raise AssertionError("a completed snapshot has a node")


def queue_a_live_version(writer: CatalogWriter) -> None:
    writer.put(Table.FREED, number_key(1), encode_numbers([1]))


def queue_a_live_record(example: Example, writer: CatalogWriter) -> None:
    _, record = example.block_of(example.second, 1)
    key = punch_key(record.segment, record.offset)
    writer.put(Table.PUNCH, key, record.extent.to_bytes(8, "little"))


def add_ledger_entry(writer: CatalogWriter) -> None:
    event = next(read_ledger(writer))
    record_events(writer, [replace(event, sequence=999, blocks=1)])


def rewind(writer: CatalogWriter, counter: Counter) -> None:
    """Let a counter give numbers out again that are in use."""
    writer.put(Table.META, counter.key, number_key(counter.first))


def forget(writer: CatalogWriter, counter: Counter) -> None:
    assert writer.delete(Table.META, counter.key)


@pytest.mark.parametrize(
    ("tamper", "kind", "word"),
    [
        # snapshots
        (lambda e, w: change_snapshot(e, w, charged_blocks=7), "wrong-count", "7 charged"),
        (lambda e, w: change_snapshot(e, w, charged_blocks=0), "wrong-count", "ledger"),
        (lambda e, w: change_snapshot(e, w, full_blocks=9), "wrong-count", "9 full"),
        (lambda e, w: change_snapshot(e, w, root=e.root(e.first)), "wrong-lineage", "not its own"),
        (lambda e, w: w.delete(Table.SNAPSHOTS, e.second.encode()), "wrong-reference", "version"),
        (lambda e, w: drop_one(w, Table.VOLUMES), "wrong-reference", "volume"),
        (lambda e, w: drop_one(w, Table.VOLUME_SNAPSHOTS), "wrong-reference", "volume's snapshot"),
        (lambda e, w: drop_one(w, Table.SOURCES), "wrong-reference", "no source"),
        # maps
        (
            lambda e, w: w.delete(Table.PAGES, number_key(e.root(e.second))),
            "corrupt-value",
            "page",
        ),
        (
            lambda e, w: w.put(Table.PAGES, number_key(888), encode_page(empty_page())),
            "wrong-reference",
            "page 888 is in no map",
        ),
        # versions
        (lambda e, w: change_version(w, 4, 0), "wrong-reference", "version 4"),
        (lambda e, w: change_version(w, 99, 2), "wrong-reference", "version 99 is in no map"),
        (lambda e, w: drop_one(w, Table.VERSIONS), "wrong-reference", "in a map but freed"),
        (lambda e, w: queue_a_live_version(w), "wrong-reference", "version 1"),
        # blocks
        (
            lambda e, w: change_block(e, w, lambda r: replace(r, references=5)),
            "wrong-count",
            "references",
        ),
        (
            lambda e, w: change_block(e, w, lambda r: replace(r, block_hash=BlockHash(b"h" * 32))),
            "wrong-reference",
            "hash",
        ),
        (lambda e, w: drop_one(w, Table.BLOCKS), "wrong-reference", "missing"),
        (lambda e, w: drop_one(w, Table.HASHES), "wrong-reference", "hash"),
        (lambda e, w: w.put(Table.HASHES, b"x" * 20, number_key(2)), "wrong-count", "hashes"),
        (
            lambda e, w: w.put(
                Table.BLOCKS,
                number_key(777),
                BlockRecord(1, ALIGNMENT, ALIGNMENT, 1, BlockHash(b"x" * 32)).encode(),
            ),
            "wrong-count",
            "block 777",
        ),
        # segments
        (lambda e, w: change_segment(w, live_bytes=5 * ALIGNMENT), "wrong-count", "live bytes"),
        (lambda e, w: change_segment(w, published_end=ALIGNMENT), "wrong-reference", "misplaced"),
        (
            lambda e, w: change_block(e, w, lambda r: replace(r, offset=r.offset + ALIGNMENT)),
            "wrong-reference",
            "misplaced",
        ),
        (
            lambda e, w: change_block(e, w, lambda r: replace(r, offset=0)),
            "wrong-reference",
            "misplaced",
        ),
        (
            lambda e, w: change_block(e, w, lambda r: replace(r, extent=r.extent * 2)),
            "wrong-count",
            "live bytes",
        ),
        (lambda e, w: w.delete(Table.SEGMENTS, number_key(1)), "wrong-reference", "segment 1"),
        (lambda e, w: drop_one(w, Table.PAGE_RECORDS), "wrong-count", "live bytes"),
        (lambda e, w: drop_one(w, Table.VERSION_RECORDS), "wrong-count", "live bytes"),
        (lambda e, w: drop_one(w, Table.JOURNAL), "wrong-count", "live bytes"),
        (lambda e, w: change_live_items(w, Table.PAGE_RECORDS, 1), "wrong-count", "page"),
        (lambda e, w: change_live_items(w, Table.PAGE_RECORDS, -1), "wrong-count", "page"),
        (lambda e, w: change_live_items(w, Table.VERSION_RECORDS, 1), "wrong-count", "version"),
        (lambda e, w: change_live_items(w, Table.VERSION_RECORDS, -1), "wrong-count", "version"),
        (queue_a_live_record, "wrong-reference", "given back"),
        # what is named as pending, open or empty
        (
            lambda e, w: w.put(Table.PENDING_SNAPSHOTS, e.second.encode(), number_key(1)),
            "wrong-reference",
            "pending_snapshots",
        ),
        (
            lambda e, w: change_snapshot(e, w, state="pending"),
            "wrong-reference",
            "pending_snapshots",
        ),
        (
            lambda e, w: w.put(Table.OPEN_SEGMENTS, pair_key(1, 1), b""),
            "wrong-reference",
            "open_segments",
        ),
        (
            lambda e, w: change_segment(w, state=SegmentState.OPEN),
            "wrong-reference",
            "open_segments",
        ),
        (
            lambda e, w: w.put(Table.EMPTY_SEGMENTS, number_key(1), b""),
            "wrong-reference",
            "empty_segments",
        ),
        (lambda e, w: change_segment(w, live_bytes=0), "wrong-reference", "empty_segments"),
        # ledger
        (lambda e, w: add_ledger_entry(w), "wrong-count", "ledger"),
        (lambda e, w: drop_one(w, Table.LEDGER), "wrong-count", "ledger"),
        (lambda e, w: drop_one(w, Table.LEDGER_BY_SNAPSHOT), "wrong-count", "ledger"),
        # lineage
        (lambda e, w: drop_one(w, Table.CHILDREN), "wrong-lineage", "tie"),
        (lambda e, w: w.put(Table.CHILDREN, pair_key(1, 555), b""), "wrong-lineage", "555"),
        (lambda e, w: change_node(e, w, parent=555), "wrong-lineage", "parent"),
        (lambda e, w: change_node(e, w, root=e.root(e.first)), "wrong-lineage", "not its own"),
        (lambda e, w: change_node(e, w, kind=NodeKind.NAMELESS), "wrong-lineage", "no use"),
        (lambda e, w: drop_one(w, Table.NODES), "wrong-lineage", "not its own"),
    ],
)
def test_wrong_entry_of_the_catalog_is_named(
    example: Example, tamper: Tampering, kind: str, word: str
) -> None:
    example.tamper(lambda writer: tamper(example, writer))

    found = findings_of(example)

    told = [f"{finding.kind}: {finding.message}" for finding in found]
    assert [line for line in told if line.startswith(kind) and word in line], told


@pytest.mark.parametrize(
    "counter",
    [
        Counter.VERSION,
        Counter.PAGE,
        Counter.BLOCK,
        Counter.NODE,
        Counter.SEGMENT,
        Counter.SEQUENCE,
        Counter.LINEAGE,
        Counter.VOLUME,
    ],
    ids=lambda counter: counter.name,
)
@pytest.mark.parametrize("change", [rewind, forget], ids=lambda change: change.__name__)
def test_counter_that_would_give_numbers_out_again_is_named(
    example: Example, counter: Counter, change: Callable[[CatalogWriter, Counter], None]
) -> None:
    """The next snapshot would overwrite pages and versions that others have."""
    example.tamper(lambda writer: change(writer, counter))

    found = findings_of(example)

    assert [finding for finding in found if counter.key.decode() in finding.message], found


def test_wrong_charge_names_its_snapshot(example: Example) -> None:
    example.tamper(lambda writer: change_snapshot(example, writer, full_blocks=9))

    (finding,) = findings_of(example)

    assert finding.snapshots == (example.second,)
    assert finding.ranges == ((0, SIZE),)


def test_missing_page_names_the_snapshots_that_need_it(example: Example) -> None:
    """And those that do not need it are looked at all the same."""
    with example.store._context.catalog.read() as reader:
        leaf = pages_of(reader, example.root(example.second))[0, 0]
    example.tamper(lambda writer: writer.delete(Table.PAGES, number_key(leaf)))

    found = findings_of(example)

    about_it = [finding for finding in found if f"page {leaf}" in finding.message]
    assert (example.second,) in [finding.snapshots for finding in about_it]
    assert not any(example.other in finding.snapshots for finding in found)
    with pytest.raises(CorruptionError) as caught:
        example.store.read_block(example.second, 0)
    assert caught.value.code is ErrorCode.CORRUPT_CATALOG


# values that are damaged, and values of another layout

WITH_VALUES = [
    table
    for table in Table
    if table
    not in (
        Table.CHILDREN,  # their keys say everything
        Table.LEDGER_BY_SNAPSHOT,
        Table.FREED,  # empty in a store at rest
        Table.PUNCH,
        Table.PENDING_SNAPSHOTS,
        Table.PENDING_RANGES,
        Table.OPEN_SEGMENTS,
        Table.EMPTY_SEGMENTS,
        Table.IMAGES,  # test_check_images.py
        Table.IMAGE_SNAPSHOTS,
        Table.BIN_EXITS,
        Table.POLICIES,
        Table.SESSIONS,
    )
]


def test_snapshots_that_share_and_do_not_hang_together_are_told(example: Example) -> None:
    """I-4: deleting one of them would take from the other what both have."""

    def cut_off(writer: CatalogWriter) -> None:
        nodes = {
            parse_number_key(key): NodeRecord.decode(value)
            for key, value in writer.items(Table.NODES)
        }
        (number,) = (each for each, node in nodes.items() if node.snapshot_id == example.second)
        parent = nodes[number].parent
        assert parent
        writer.put(Table.NODES, number_key(number), replace(nodes[number], parent=0).encode())
        writer.delete(Table.CHILDREN, pair_key(parent, number))

    example.tamper(cut_off)

    findings = example.store.check().findings
    assert {finding.kind for finding in findings} == {"wrong-lineage"}
    assert any("versions (the first is " in finding.message for finding in findings)


def test_what_is_in_the_recycle_bin_and_when_it_goes_are_compared(example: Example) -> None:
    have_values_of_volumes(example, Table.BIN_RULES)
    example.store.delete_snapshots([example.second])
    assert example.store.check().healthy
    example.tamper(
        lambda writer: [writer.delete(Table.BIN_EXITS, key) for key in writer.keys(Table.BIN_EXITS)]
    )

    (finding,) = example.store.check().findings
    assert finding.kind == "wrong-reference"
    assert "bin_exits" in finding.message


def have_values_of_volumes(example: Example, table: Table) -> None:
    """Have the tables of managed volumes hold something, where one of them is looked at."""
    if table is Table.VOLUME_UNFINISHED:
        with pytest.raises(SnapshotFailedError):
            example.store.create_snapshot(ObservedSource(disk_of(NOISE, name="bad"), fail_to_read))
    elif table is Table.BIN_RULES:
        kind = RuleResourceType.EBS_SNAPSHOT
        example.store.recycle_bin.rules.create(RuleRequest(resource_type=kind, retention_days=1))
    elif table is Table.FAST_RESTORES:
        example.store.fast_restores.enable([example.second], ["us-east-1a"])
    elif table is Table.ACCOUNTS:
        example.store.permissions.public_access = PublicAccess.BLOCK_NEW_SHARING
    elif table is Table.DOMAINS:
        example.store.volumes.create(VolumeRequest(size_gib=1, encrypted=True))
    elif table.name.startswith("VOLUME_"):
        request = VolumeRequest(size_gib=1, snapshot_id=example.second)
        volume = example.store.volumes.create(request).volume_id
        with example.store.volumes.open(volume) as file:
            file.pwrite(b"changed", 0)


def fail_to_read(_offset: int, _length: int) -> None:
    raise SourceError("it cannot be read")


@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize("table", WITH_VALUES, ids=lambda table: table.name)
def test_damaged_value_is_named_and_the_check_goes_on(
    example: Example, table: Table, *, data: bool
) -> None:
    """F23: a flipped bit in LMDB's file, found by the value's own checksum."""
    have_values_of_volumes(example, table)
    example.store.close()
    with lmdb.open(str(example.path / "catalog"), max_dbs=len(Table)) as raw:
        handle = raw.open_db(table.value, create=False)
        with raw.begin(write=True) as txn, txn.cursor(handle) as cursor:
            assert cursor.last()
            key, value = cursor.item()
            cursor.put(key, bytes([value[0] ^ 0x01]) + value[1:])
    vouch_for_catalog(example.path)
    example.store = Store.open(example.path, example.seams)

    found = findings_of(example, data=data)

    name = f"{table.name.lower()}/{key.hex()}"
    assert [finding.kind for finding in found if name in finding.message] == ["corrupt-value"]


@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize("table", WITH_VALUES, ids=lambda table: table.name)
def test_value_of_another_layout_is_named_and_the_check_goes_on(
    example: Example, table: Table, *, data: bool
) -> None:
    """Its checksum is right: another version wrote it, or a wrong one of ours."""
    have_values_of_volumes(example, table)

    def change(writer: CatalogWriter) -> None:
        *_, key = writer.keys(table)
        writer.put(table, key, b"?")

    example.tamper(change)

    assert not example.store.check(data=data).healthy
