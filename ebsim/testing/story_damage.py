"""Damage in stories: done to an open store on purpose, so that a line `repair` has something to do.

What kinds there are, and what heals them:

- `heads`: the headers of two block records; their own payloads.
- `payloads`: the payloads of blocks with given contents; a volume that has them, or another store.
- `metadata`: a record of pages, one of versions, an entry of the journal, and the header of a
  segment; the catalog.

All of it is durable when the line is done. Only live records are damaged, so that a repair must
find each, and set aside the bytes as they were found.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from ebsim.core.context import StoreContext
from ebsim.engine import Store
from ebsim.format.block_hash import hash_block
from ebsim.format.catalog_values import BlockRecord, MetaRecord, SegmentRecord, Table, number_key
from ebsim.format.checksum import stored_checksum
from ebsim.format.segment import ALIGNMENT, RECORD_HEADER_SIZE
from ebsim.storage.catalog import CatalogReader
from ebsim.storage.segment_scan import segment_path
from ebsim.storage.set_aside import FOLDER

_IN_HEADER, _IN_RECORD_HEADER, _IN_PAYLOAD = 20, 48, RECORD_HEADER_SIZE + 100
_HEADS = 2

Hit = tuple[bytes, int, int, int]
"""Segment, offset and size of what must be set aside, and which byte of it is damaged."""


def damage(store: Store, kind: str, contents: Iterable[bytes] = ()) -> list[str]:
    """Flip a bit in each of some live records.

    Args:
        store: The store; no snapshot of it is pending.
        kind: `heads`, `payloads` or `metadata`.
        contents: For `payloads`, of which blocks, as far as they are stored.

    Returns:
        The names of the files in which a repair sets aside what was damaged.
    """
    context = store._context
    with context.catalog.read() as reader:
        match kind:
            case "heads":
                hits = list(_blocks(reader, _IN_RECORD_HEADER))[:_HEADS]
            case "payloads":
                wanted = {hash_block(memoryview(each), context.hash_key) for each in contents}
                hits = list(_blocks(reader, _IN_PAYLOAD, wanted))
            case _:
                hits = list(_metadata(reader))
    return [_flip(context, *hit) for hit in hits]


def _blocks(reader: CatalogReader, at: int, wanted: Iterable[bytes] | None = None) -> Iterator[Hit]:
    for _, value in reader.items(Table.BLOCKS):
        record = BlockRecord.decode(value)
        if wanted is None or record.block_hash in wanted:
            yield _segment(reader, record.segment), record.offset, record.extent, at


def _metadata(reader: CatalogReader) -> Iterator[Hit]:
    """Yield the last record of each kind, and the header of the segment with the last entry."""
    for table in (Table.PAGE_RECORDS, Table.VERSION_RECORDS, Table.JOURNAL):
        values = [value for _, value in reader.items(table)]
        for value in values[-1:]:
            record = MetaRecord.decode(value)
            segment_id = _segment(reader, record.segment)
            yield segment_id, record.offset, record.extent, _IN_PAYLOAD
            if table is Table.JOURNAL:
                yield segment_id, 0, ALIGNMENT, _IN_HEADER


def _segment(reader: CatalogReader, number: int) -> bytes:
    value = reader.get(Table.SEGMENTS, number_key(number))
    assert value is not None
    return SegmentRecord.decode(value).segment_id


def _flip(context: StoreContext, segment_id: bytes, offset: int, size: int, at: int) -> str:
    """Flip a bit; return the name of the file in which the bytes are to be set aside."""
    path = segment_path(context.path, segment_id)
    file = context.files.open(path, writable=True)
    try:
        file.write_at(offset + at, [bytes([file.read_at(offset + at, 1)[0] ^ 1])])
        file.sync()
        return _name(segment_id, offset, file.read_at(offset, size))
    finally:
        file.close()


def _name(segment_id: bytes, offset: int, data: bytes) -> str:
    return f"{segment_id.hex()}-{offset}-{stored_checksum((data,)).hex()[:16]}.raw"


def missing_of(store: Store, names: Iterable[str]) -> list[str]:
    """Return which of these files do not hold what a repair had to set aside."""
    context = store._context
    return [name for name in names if not _is_kept(context, context.path / FOLDER / name)]


def _is_kept(context: StoreContext, path: Path) -> bool:
    try:
        file = context.files.open(path)
    except OSError:
        return False
    try:
        checksum = stored_checksum((file.read_at(0, file.size()),))
        return path.name.endswith(f"-{checksum.hex()[:16]}.raw")
    finally:
        file.close()
