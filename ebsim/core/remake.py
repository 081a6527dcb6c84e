"""Making records again that say nothing but what the catalog knows: pages, versions, the journal.

A record of pages or versions is made again for those of its items that still count, in as many
records as there are rows of them. An entry of the journal cannot be made again byte for byte, and
the next entry names its checksum; so what takes its place says which checksum it *stands for*, and
what the catalog knows of what the lost entry did (`ebsim.core.restate`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ebsim.core.block_table import get_block
from ebsim.core.context import StoreContext
from ebsim.core.restate import restate_entry
from ebsim.core.version_table import known_version_blocks
from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.catalog_values import ZERO_BLOCK, MetaRecord, Table, number_key, parse_number_key
from ebsim.format.meta_records import ZERO_HASH, encode_pages, encode_versions
from ebsim.format.segment import PAYLOAD_SIZE_MAX, RecordKind
from ebsim.storage.catalog import CatalogReader


@dataclass(frozen=True, slots=True)
class Remade:
    """A record made again, or a part of one.

    Attributes:
        kind: What it holds.
        first: The first page or version, or the number of the journal's entry.
        items: How many pages or versions; 1 for an entry.
        payload: What to write.
    """

    kind: RecordKind
    first: int
    items: int
    payload: bytes


def remake(context: StoreContext, table: Table, number: int, record: MetaRecord) -> list[Remade]:
    """Return what takes the place of a damaged record; never nothing.

    Args:
        context: The store.
        table: PAGE_RECORDS, VERSION_RECORDS or JOURNAL.
        number: The record's key.
        record: What the catalog says about it.

    Raises:
        CorruptionError: The catalog does not know enough.
    """
    if table is Table.JOURNAL:
        made = [Remade(RecordKind.JOURNAL, number, 1, restate_entry(context, number))]
    else:
        with context.catalog.read() as reader:
            parts = _pages if table is Table.PAGE_RECORDS else _versions
            made = list(parts(reader, number, record))
    if not made or any(len(part.payload) > PAYLOAD_SIZE_MAX for part in made):
        message = "the catalog does not know what it said" if not made else "it would be too large"
        raise CorruptionError(message, ErrorCode.CORRUPT_SEGMENT)
    return made


def live_items(reader: CatalogReader, table: Table, first: int, items: int) -> list[int]:
    """Return which of consecutive pages or versions still count; an entry of the journal does."""
    numbers = range(first, first + items)
    if table is Table.PAGE_RECORDS:
        return [each for each in numbers if reader.get(Table.PAGES, number_key(each)) is not None]
    if table is Table.VERSION_RECORDS:
        blocks = known_version_blocks(reader, numbers)
        return [each for each, block in zip(numbers, blocks, strict=True) if block]
    return list(numbers)


def _pages(reader: CatalogReader, first: int, record: MetaRecord) -> Iterator[Remade]:
    pages: dict[int, bytes] = {}
    for key, value in reader.items(Table.PAGES, start=number_key(first)):
        if parse_number_key(key) >= first + record.items:
            break
        pages[parse_number_key(key)] = value
    for row in _rows(pages):
        payload = encode_pages(row[0], [pages[number] for number in row])
        yield Remade(RecordKind.PAGES, row[0], len(row), payload)


def _versions(reader: CatalogReader, first: int, record: MetaRecord) -> Iterator[Remade]:
    numbers = range(first, first + record.items)
    blocks = dict(zip(numbers, known_version_blocks(reader, numbers), strict=True))
    for row in _rows(number for number, block in blocks.items() if block):
        hashes = [
            ZERO_HASH if block == ZERO_BLOCK else get_block(reader, block).block_hash
            for block in (blocks[number] for number in row)
        ]
        yield Remade(RecordKind.VERSIONS, row[0], len(row), encode_versions(row[0], hashes))


def _rows(numbers: Iterable[int]) -> list[list[int]]:
    """Return ascending numbers in rows without gaps."""
    rows: list[list[int]] = []
    for number in numbers:
        if rows and rows[-1][-1] == number - 1:
            rows[-1].append(number)
        else:
            rows.append([number])
    return rows
