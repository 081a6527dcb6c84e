"""Checking the data: every live record of every segment is read and proved.

Records are read in the order of their bytes. What was proved is written down as the check goes, so
that one that was broken off need not begin anew: `older_than_s` leaves out what was proved since.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ebsim.core.block_maps import LEAF_BLOCKS, load_page, walk_leaves
from ebsim.core.block_places import BlockPlace
from ebsim.core.check_space import META_TABLES
from ebsim.core.check_values import Damage, SoundReader
from ebsim.core.context import StoreContext
from ebsim.core.damaged_blocks import list_damaged
from ebsim.core.parallel import run_in_order
from ebsim.core.proofs import ProofKeeper, load_proofs
from ebsim.core.read import BlockLoader
from ebsim.core.snapshots import list_snapshots
from ebsim.core.version_table import known_version_blocks
from ebsim.errors import CorruptionError, EbsimError
from ebsim.format.catalog_values import (
    BlockRecord,
    MetaRecord,
    SegmentRecord,
    Table,
    number_key,
    parse_number_key,
)
from ebsim.format.records import SnapshotRecord
from ebsim.format.segment import ALIGNMENT
from ebsim.progress import Progress
from ebsim.reports import DataCoverage, Finding
from ebsim.requests import DataCheck
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogReader
from ebsim.units import BLOCK_SIZE, MIB

RECORDS_AT_ONCE = 4096
"""Records looked up in one view of the catalog."""

SAVE_EVERY_BYTES = 256 * MIB
"""How much is proved before it is written down: what a check that is killed must read again."""

_TABLES = (Table.BLOCKS, *META_TABLES)

_PLACE = np.dtype(
    [("segment", "<u4"), ("page", "<u4"), ("pages", "<u4"), ("table", "u1"), ("number", "<u8")]
)
"""Where a record lies: segment, offset / 4096, extent / 4096; and which entry of which table."""

Places = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class DataTask:
    """A live record that is to be read and proved.

    Attributes:
        table: Where the catalog names it.
        number: Under which number.
        segment_id: Its segment.
        record: What the catalog says about it.
        since: Where the live record before it ends, which is where what is proved with it begins.
    """

    table: Table
    number: int
    segment_id: bytes
    record: BlockRecord | MetaRecord
    since: int


@dataclass(frozen=True, slots=True)
class _Proof:
    """What reading a record showed.

    Attributes:
        wrong: What is wrong with it, or empty.
        sealed: Whether it is a block whose key could not be had, so that only its stored checksum
            was compared.
    """

    wrong: str = ""
    sealed: bool = False


class DataCheckRun:
    """One check of the data.

    Args:
        context: The store.
        damage: The entries of the catalog that cannot be read.
        segments: The segments that the catalog knows, by number.
        wanted: How much is to be read.
        keep: Whether to write down what is proved; not into a catalog that is damaged.
    """

    def __init__(
        self,
        context: StoreContext,
        damage: Damage,
        segments: dict[int, SegmentRecord],
        wanted: DataCheck,
        *,
        keep: bool,
    ) -> None:
        self._context = context
        self._damage = damage
        self._segments = segments
        self._wanted = wanted
        self._now_us = context.clock.now_us()
        self._keeper = ProofKeeper(context, self._now_us) if keep else None
        self._loader = BlockLoader(context)
        self.read_bytes = 0
        self.damaged: list[tuple[DataTask, str]] = []

    def run(self, progress: Progress) -> tuple[DataCoverage, list[Finding]]:
        """Read and prove; return how much of the store that was, and what is damaged."""
        coverage = self.read(progress)
        findings = [
            Finding(kind="corrupt-record", message=wrong)
            for task, wrong in self.damaged
            if task.table is not Table.BLOCKS
        ]
        blocks = {task.number: wrong for task, wrong in self.damaged if task.table is Table.BLOCKS}
        findings.extend(blame_blocks(self._context, self._damage, blocks))
        return coverage, findings

    def read(self, progress: Progress) -> DataCoverage:
        """Read and prove; `damaged` then has what is wrong."""
        places = sorted_places(self._context, self._damage)
        old = self._not_proved_since(places)
        chosen = self._sample(np.flatnonzero(old))
        total = int(places["pages"][chosen].sum(dtype=np.int64)) * ALIGNMENT
        sealed_blocks = 0
        progress.start("check", total)
        try:
            tasks = self._tasks(places, chosen)
            with closing(run_in_order(lambda task: (task, self._prove(task)), tasks)) as proved:
                for task, proof in proved:
                    progress.advance(task.record.extent)
                    sealed_blocks += proof.sealed
                    if not self._sound(task, proof.wrong):
                        self.damaged.append((task, proof.wrong))
        finally:
            progress.finish()
            self._save()
        live = int(places["pages"].sum(dtype=np.int64)) * ALIGNMENT
        unread = int(places["pages"][~old].sum(dtype=np.int64)) * ALIGNMENT
        return DataCoverage(
            live_bytes=live,
            proved_before_bytes=unread,
            sample_percent=self._wanted.sample_percent,
            older_than_s=self._wanted.older_than_s,
            sealed_blocks=sealed_blocks,
        )

    def _not_proved_since(self, places: Places) -> NDArray[np.bool_]:
        """Return which records have no proof that is new enough.

        A proof from the future is none: the clock was wrong when it was made, or is now.
        """
        old = np.ones(len(places), dtype=bool)
        if self._wanted.older_than_s is None:
            return old
        since = self._now_us - self._wanted.older_than_s * 1_000_000
        with self._context.catalog.read() as reader:
            proofs = load_proofs(reader)
        for segment, spans in proofs.items():
            low, high = np.searchsorted(places["segment"], [segment, segment + 1])
            starts = places["page"][low:high].astype(np.int64) * ALIGNMENT
            ends = starts + places["pages"][low:high].astype(np.int64) * ALIGNMENT
            for start, end, time_us in spans:
                if since <= time_us <= self._now_us:
                    old[low:high] &= ~((starts >= start) & (ends <= end))
        return old

    def _sample(self, candidates: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the records to read, in order: all, or as many at random as were asked for."""
        percent = self._wanted.sample_percent
        if percent is None:
            return candidates
        wanted = min(len(candidates), math.ceil(len(candidates) * percent / 100))
        seed = int.from_bytes(self._context.entropy.token_bytes(16), "little")
        chosen = np.random.default_rng(seed).choice(candidates, size=wanted, replace=False)
        return np.sort(chosen)

    def _tasks(self, places: Places, chosen: NDArray[np.intp]) -> Iterator[DataTask]:
        """Yield what to read; the catalog is looked at for a short time at once."""
        for first in range(0, len(chosen), RECORDS_AT_ONCE):
            part = chosen[first : first + RECORDS_AT_ONCE].tolist()
            with self._context.catalog.read() as reader:
                tasks = [self._task(reader, places, index) for index in part]
            yield from (task for task in tasks if task is not None)

    def _task(self, reader: CatalogReader, places: Places, index: int) -> DataTask | None:
        """Return what to read for a place; None if it was freed since the check began."""
        segment, page, _, table, number = places[index].item()
        record = _find(reader, _TABLES[table], number)
        known = self._segments.get(segment)
        if record is None or known is None or record.segment != segment:
            return None
        since = page * ALIGNMENT
        if index and places["segment"][index - 1] == segment:
            before = places[index - 1]
            since = (int(before["page"]) + int(before["pages"])) * ALIGNMENT
        return DataTask(_TABLES[table], number, known.segment_id, record, since)

    def _prove(self, task: DataTask) -> _Proof:
        """Read a record, and look whether it is as it should be."""
        try:
            if isinstance(task.record, BlockRecord):
                if not self._loader.prove(BlockPlace(task.segment_id, task.record)):
                    return _Proof(sealed=True)
            else:
                place = task.record
                self._context.segments.read_record(task.segment_id, place.offset, place.extent)
        except EbsimError as error:
            return _Proof(str(error))
        return _Proof()

    def _sound(self, task: DataTask, wrong: str) -> bool:
        """Take note of a record that was read; return whether it is as it should be."""
        record, keeper = task.record, self._keeper
        self.read_bytes += record.extent
        if wrong:
            if not self._still_there(task):
                return True
            if keeper is not None:
                keeper.damaged(record.segment, record.offset, record.offset + record.extent)
            return False
        if keeper is not None and self._wanted.sample_percent is None:
            keeper.proved(record.segment, task.since, record.offset + record.extent)
        if self.read_bytes % SAVE_EVERY_BYTES < record.extent:
            self._save()
        return True

    def _save(self) -> None:
        if self._keeper is not None:
            self._keeper.save()

    def _still_there(self, task: DataTask) -> bool:
        """Tell damage from a record that was freed, or moved, while the check was running."""
        with self._context.catalog.read() as reader:
            now = _find(reader, task.table, task.number)
        return now is not None and (now.segment, now.offset) == (
            task.record.segment,
            task.record.offset,
        )


def _find(reader: CatalogReader, table: Table, number: int) -> BlockRecord | MetaRecord | None:
    value = reader.get(table, number_key(number))
    if value is None:
        return None
    return BlockRecord.decode(value) if table is Table.BLOCKS else MetaRecord.decode(value)


def sorted_places(context: StoreContext, damage: Damage) -> Places:
    """Return where all live records lie, in the order of their bytes: 21 bytes each."""
    places: Places = np.fromiter(_places(context, damage), dtype=_PLACE)
    return places[np.lexsort((places["page"], places["segment"]))]


def _places(context: StoreContext, damage: Damage) -> Iterator[tuple[int, int, int, int, int]]:
    for at, table in enumerate(_TABLES):
        start = b""
        while part := _some_records(context, damage, table, start):
            for number, record in part:
                page, pages = record.offset // ALIGNMENT, record.extent // ALIGNMENT
                yield record.segment, page, pages, at, number
            start = number_key(part[-1][0] + 1)


def _some_records(
    context: StoreContext, damage: Damage, table: Table, start: bytes
) -> list[tuple[int, BlockRecord | MetaRecord]]:
    decode = BlockRecord.decode if table is Table.BLOCKS else MetaRecord.decode
    with context.catalog.read() as reader:
        items = islice(SoundReader(reader, damage).items(table, start=start), RECORDS_AT_ONCE)
        return [(parse_number_key(key), decode(value)) for key, value in items]


def blame_blocks(
    context: StoreContext, damage: Damage, damaged: Mapping[int, str]
) -> Iterator[Finding]:
    """Yield a finding for each damaged block, with the snapshots and byte ranges that it hits.

    Args:
        context: The store.
        damage: The entries of the catalog that cannot be read.
        damaged: By block id, what is wrong with it.
    """
    try:
        found = block_hits(context, damage, damaged.keys())
        with context.catalog.read() as reader:
            known = {block for block, _ in list_damaged(SoundReader(reader, damage))}
    except CorruptionError as error:
        yield Finding(kind="corrupt-value", message=str(error))
        return
    for block, message in damaged.items():
        hit = tuple(record.snapshot_id for record, _ in found[block])
        ranges = tuple(_span(record, index) for record, index in found[block])
        if block not in known:
            yield Finding(kind="corrupt-block", message=message, snapshots=hit, ranges=ranges)
            continue
        told = f"{message}; it is known, and not healed yet"
        yield Finding(kind="unhealed-block", message=told, snapshots=hit, ranges=ranges)


def known_damage(
    context: StoreContext, damage: Damage, already: Collection[int]
) -> Iterator[Finding]:
    """Yield a finding for each block that is known to be damaged, but for those told already."""
    with context.catalog.read() as raw:
        reader = SoundReader(raw, damage)
        damaged = {
            block: f"block {block} is damaged"
            for block, _ in list_damaged(reader)
            if block not in already
        }
    yield from blame_blocks(context, damage, damaged)


def _span(record: SnapshotRecord, index: int) -> tuple[int, int]:
    start = index * BLOCK_SIZE
    return start, min(start + BLOCK_SIZE, record.size_bytes)


def block_hits(
    context: StoreContext, damage: Damage, blocks: Collection[int]
) -> dict[int, list[tuple[SnapshotRecord, int]]]:
    """Return, by block id, each completed snapshot and block index that has it.

    Raises:
        CorruptionError: A page of a map is damaged.
    """
    hits: dict[int, list[tuple[SnapshotRecord, int]]] = {block: [] for block in blocks}
    if not hits:
        return hits
    wanted = np.array(sorted(hits), dtype="<u8")
    with context.catalog.read() as raw:
        reader = SoundReader(raw, damage)
        for record in list_snapshots(reader):
            if record.state != SnapshotState.COMPLETED:
                continue
            for leaf, page_id in walk_leaves(reader, record.root):
                found = known_version_blocks(reader, load_page(reader, page_id))
                for place in np.flatnonzero(np.isin(found, wanted)).tolist():
                    hits[int(found[place])].append((record, leaf * LEAF_BLOCKS + place))
    return hits
