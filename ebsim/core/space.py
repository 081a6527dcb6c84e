"""Which bytes of segments are live, and which are to be given back.

A record is live while something refers to it. When nothing does any more, the same transaction that
forgets it adds its extent to the table PUNCH; giving the bytes back is a step of its own, later
(`ebsim.core.reclaim`), never in the same one.

A segment's record is written by `put_segment` alone, which keeps beside it which segments are open,
for each session, and which are empty: so nobody has to look at all segments to find those few.
"""

from collections import defaultdict
from dataclasses import replace

from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.catalog_values import (
    MetaRecord,
    SegmentRecord,
    SegmentState,
    Table,
    number_key,
    pair_key,
    parse_number_key,
    parse_pair_key,
    punch_key,
)
from ebsim.format.proofs import proof_key
from ebsim.storage.catalog import CatalogReader, CatalogWriter


def get_segment(reader: CatalogReader, number: int) -> SegmentRecord:
    """Return a segment's record.

    Raises:
        CorruptionError: The catalog does not know it.
    """
    value = reader.get(Table.SEGMENTS, number_key(number))
    if value is None:
        raise CorruptionError(f"segment {number} is not in the catalog", ErrorCode.CORRUPT_CATALOG)
    return SegmentRecord.decode(value)


def put_segment(writer: CatalogWriter, number: int, record: SegmentRecord) -> None:
    """Keep a segment's record, and whether it is open and whether it is empty."""
    writer.put(Table.SEGMENTS, number_key(number), record.encode())
    own_key = pair_key(record.session, number)
    _list_if(writer, Table.OPEN_SEGMENTS, own_key, wanted=record.is_open)
    _list_if(writer, Table.EMPTY_SEGMENTS, number_key(number), wanted=record.is_empty)


def _list_if(writer: CatalogWriter, table: Table, key: bytes, *, wanted: bool) -> None:
    """Have a key in a table or not; a page of the catalog is written only where that changes."""
    if not wanted:
        writer.delete(table, key)
    elif writer.get(table, key) is None:
        writer.put(table, key, b"")


def forget_segment(writer: CatalogWriter, number: int) -> None:
    """Forget a segment whose file is gone, or never was."""
    record = get_segment(writer, number)
    writer.delete(Table.SEGMENTS, number_key(number))
    writer.delete(Table.OPEN_SEGMENTS, pair_key(record.session, number))
    writer.delete(Table.EMPTY_SEGMENTS, number_key(number))
    writer.delete(Table.META, proof_key(number))


def open_segments(reader: CatalogReader, session: int) -> list[tuple[int, SegmentRecord]]:
    """Return number and record of the segments that a session has not sealed."""
    keys = reader.items(Table.OPEN_SEGMENTS, prefix=number_key(session))
    numbers = [parse_pair_key(key)[1] for key, _ in keys]
    return [(number, get_segment(reader, number)) for number in numbers]


def mark_sealed(writer: CatalogWriter, numbers: list[int]) -> None:
    """Record that segments will never be appended to again."""
    for number in numbers:
        put_segment(writer, number, replace(get_segment(writer, number), state=SegmentState.SEALED))


class SpaceChange:
    """The changes of one transaction to live bytes; `save` writes them."""

    def __init__(self, writer: CatalogWriter) -> None:
        self._writer = writer
        self._live: defaultdict[int, int] = defaultdict(int)
        self.freed_bytes = 0

    def use(self, segment: int, extent: int) -> None:
        """Count a record that is referred to from now on."""
        self._live[segment] += extent

    def vacate(self, segment: int, extent: int) -> None:
        """Count records less whose segment goes as a whole."""
        self._live[segment] -= extent

    def free(self, segment: int, offset: int, extent: int) -> None:
        """Have a record given back that nothing refers to any more."""
        self._live[segment] -= extent
        self.discard(segment, offset, extent)

    def discard(self, segment: int, offset: int, extent: int) -> None:
        """Have bytes given back that were never referred to."""
        self.freed_bytes += extent
        self._writer.put(Table.PUNCH, punch_key(segment, offset), extent.to_bytes(8, "little"))

    def save(self) -> None:
        """Write the changed live bytes."""
        for number, change in self._live.items():
            if change:
                record = get_segment(self._writer, number)
                changed = replace(record, live_bytes=record.live_bytes + change)
                put_segment(self._writer, number, changed)
        self._live.clear()


def release_items(
    writer: CatalogWriter, space: SpaceChange, table: Table, numbers: list[int]
) -> None:
    """Count down the segment records that describe these pages or versions.

    Args:
        writer: The transaction.
        space: Where a record nobody needs any more is freed.
        table: PAGE_RECORDS or VERSION_RECORDS; keyed by the first number a record describes.
        numbers: Page ids or version ids that are forgotten.
    """
    for first, count in count_items(writer, table, numbers).items():
        key = number_key(first)
        record = meta_record(writer, table, key)
        left = replace(record, live=record.live - count)
        if left.live > 0:
            writer.put(table, key, left.encode())
        else:
            writer.delete(table, key)
            space.free(record.segment, record.offset, record.extent)


def meta_record(reader: CatalogReader, table: Table, key: bytes) -> MetaRecord:
    """Return the segment record whose first number is `key`.

    Raises:
        CorruptionError: The catalog does not know it.
    """
    value = reader.get(table, key)
    if value is None:
        raise CorruptionError(
            f"{table.name.lower()}/{key.hex()} is not in the catalog", ErrorCode.CORRUPT_CATALOG
        )
    return MetaRecord.decode(value)


def count_items(reader: CatalogReader, table: Table, numbers: list[int]) -> dict[int, int]:
    """Return, by first number, how many of `numbers` each segment record describes.

    Raises:
        CorruptionError: A number is described by none.
    """
    counts: dict[int, int] = {}
    first, end = 0, 0
    for number in sorted(numbers):
        if not first <= number < end:
            found = reader.floor(table, number_key(number))
            if found is not None:
                first = parse_number_key(found[0])
                end = first + MetaRecord.decode(found[1]).items
            if not first <= number < end:
                raise CorruptionError(
                    f"{table.name.lower()} does not know {number}", ErrorCode.CORRUPT_CATALOG
                )
        counts[first] = counts.get(first, 0) + 1
    return counts


def reclaim_pending(reader: CatalogReader) -> bool:
    """Return whether something freed, or an empty segment, is not yet given back."""
    return any(reader.count(table) for table in (Table.FREED, Table.PUNCH, Table.EMPTY_SEGMENTS))
