"""Checking the numbers that are counted: what was given out, and what still counts."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from ebsim.core.counters import peek
from ebsim.core.fast_restores import all_fast_restores
from ebsim.errors import CorruptionError
from ebsim.format.catalog_values import Counter, MetaRecord, Table, parse_number_key
from ebsim.format.map_page import PAGE_ENTRIES, decode_page
from ebsim.format.records import SnapshotRecord, decode_volume
from ebsim.reports import Finding
from ebsim.storage.catalog import CatalogReader

Numbers = npt.NDArray[np.uint64]


def check_counters(reader: CatalogReader, snapshots: list[SnapshotRecord]) -> Iterator[Finding]:
    """Compare each counter with the greatest number in use: none may be given out twice."""
    volumes = [decode_volume(value).number for _, value in reader.items(Table.VOLUMES)]
    used: dict[Counter, Iterable[int]] = {
        Counter.SESSION: _keys(reader, Table.SESSIONS),
        Counter.SEGMENT: _keys(reader, Table.SEGMENTS),
        Counter.VOLUME: volumes,
        Counter.NODE: [*_keys(reader, Table.NODES), *(record.begun for record in snapshots)],
        Counter.LINEAGE: [record.lineage for record in snapshots],
        Counter.LINEAGE_CHANGE: [],
        Counter.FAST_RESTORE: [each.number for each in all_fast_restores(reader)],
        Counter.PAGE: _keys(reader, Table.PAGES),
        Counter.VERSION: live_versions(reader)[-1:].tolist(),
        Counter.BLOCK: _keys(reader, Table.BLOCKS),
        Counter.FREED: _keys(reader, Table.FREED),
        Counter.SEQUENCE: _keys(reader, Table.JOURNAL),
    }
    for counter, numbers in used.items():
        name = counter.name.lower()
        try:
            following = peek(reader, counter)
        except CorruptionError as error:
            yield Finding(kind="corrupt-value", message=str(error))
            continue
        last = max(numbers, default=0)
        if last >= following:
            message = f"the counter {name} stands at {following}, but {last} is in use"
            yield Finding(kind="wrong-count", message=message)


def check_meta_records(reader: CatalogReader) -> Iterator[Finding]:
    """Compare what each record of pages or versions says is live with what is."""
    pages = np.array(_keys(reader, Table.PAGES), dtype="<u8")
    for table, numbers in (
        (Table.PAGE_RECORDS, pages),
        (Table.VERSION_RECORDS, live_versions(reader)),
    ):
        for key, value in reader.items(table):
            first, record = parse_number_key(key), MetaRecord.decode(value)
            bounds = np.searchsorted(numbers, np.array([first, first + record.items], dtype="<u8"))
            live = int(bounds[1] - bounds[0])
            if live != record.live:
                message = f"{table.name.lower()}/{first}: {record.live} live recorded, {live} found"
                yield Finding(kind="wrong-count", message=message)


def live_versions(reader: CatalogReader) -> Numbers:
    """Return every version that is not freed, ascending."""
    found = [
        np.flatnonzero(np.asarray(decode_page(value))).astype("<u8")
        + parse_number_key(key) * PAGE_ENTRIES
        for key, value in reader.items(Table.VERSIONS)
    ]
    return np.concatenate(found) if found else np.zeros(0, dtype="<u8")


def _keys(reader: CatalogReader, table: Table) -> list[int]:
    return [parse_number_key(key) for key in reader.keys(table)]
