"""Reclaim: giving the bytes of forgotten versions back to the file system.

Freeing is the reverse of writing: first a transaction forgets, then (never in the same step) the
bytes go. It happens in steps of bounded size, each a transaction of its own, so that it works on a
full disk and whatever the size of what was deleted:

    1. The deletion itself puts the versions nobody has any more into the table FREED.
    2. `_forget_some` takes a few thousand of them, counts their blocks down, and puts the records
       of blocks that nothing refers to any more into the table PUNCH.
    3. `_give_back` punches those out of their segments and clears them from PUNCH.
    4. `_drop_empty_segments` removes the segments that the table EMPTY_SEGMENTS names.

Nobody waits for a reclaim or is waited for, but another reclaim: a block that is forgotten is not
found by its hash any more, and a snapshot in the making that had found it before stores it again
(`ebsim.core.publish`). Bytes are never reused, so that giving them back twice does no harm.

If the process dies, the next one to open the store goes on where it stopped.
"""

import logging
from collections import Counter as Multiset
from itertools import islice

from ebsim import failpoints
from ebsim.core.block_table import release_block
from ebsim.core.context import StoreContext
from ebsim.core.counters import take
from ebsim.core.space import (
    SpaceChange,
    forget_segment,
    get_segment,
    reclaim_pending,
    release_items,
)
from ebsim.core.version_table import clear_versions
from ebsim.errors import CorruptionError, EbsimError, StoreError
from ebsim.format.catalog_values import (
    FIRST_BLOCK,
    Counter,
    SegmentRecord,
    Table,
    number_key,
    parse_number_key,
    parse_punch_key,
    punch_key,
)
from ebsim.format.map_page import Page, decode_numbers, encode_numbers, numbers_of
from ebsim.storage.catalog import CatalogReader, CatalogWriter
from ebsim.storage.locks import Region
from ebsim.storage.reserve import Room

_log = logging.getLogger(__name__)

VERSIONS_PER_STEP = 4096
"""Versions forgotten in one transaction: even if each of them lies in a page of its own, and each
block's hash too, it writes some 8,000 catalog pages, and few where they are neighbours."""

PUNCHES_PER_STEP = 16384
FREED_ENTRY_MAX = 1024


def queue_freed_range(writer: CatalogWriter, first: int, count: int) -> None:
    """Queue consecutive versions that nobody has any more."""
    queue_freed(writer, numbers_of(range(first, first + count)))


def queue_freed(writer: CatalogWriter, versions: Page) -> None:
    """Queue versions that nobody has any more."""
    parts = range(0, len(versions), FREED_ENTRY_MAX)
    first = take(writer, Counter.FREED, len(parts))
    for number, start in enumerate(parts, first):
        encoded = encode_numbers(versions[start : start + FREED_ENTRY_MAX])
        writer.put(Table.FREED, number_key(number), encoded)


def reclaim_if_needed(context: StoreContext) -> None:
    """Give back what a commit freed, if it freed anything."""
    with context.catalog.read() as reader:
        wanted = reclaim_pending(reader)
    if wanted:
        reclaim(context)


def reclaim_if_possible(context: StoreContext, room: Room | None = None) -> None:
    """Give back what a commit freed; a failure is logged, because the commit itself is done.

    Whoever opens the store next goes on.

    Args:
        context: The store.
        room: What may be given up for it.
    """
    try:
        if room is None:
            reclaim_if_needed(context)
        else:
            room.give(lambda: reclaim_if_needed(context))
    except EbsimError as error:
        if isinstance(error, StoreError):
            context.poison = context.poison or str(error)
        _log.warning("freed bytes are not given back yet: %s", error)


def reclaim(context: StoreContext, *, wait: bool = True) -> bool:
    """Give back everything that was freed; returns when it is back with the file system.

    Args:
        context: The store.
        wait: Whether to wait for another process that is at it.

    Returns:
        False if another process is at it and was not waited for.

    Raises:
        StoreError, LimitExceededError: A write failed; the next reclaim goes on.
    """
    lock = (context.locks.hold if wait else context.locks.try_hold)(Region.RECLAIM)
    if lock is None:
        return False
    with lock:
        failpoints.reach("reclaim.begun")
        while context.catalog.update(_forget_some):
            failpoints.reach("reclaim.forgot")
        while _give_back(context):
            pass
        _drop_empty_segments(context)
    return True


def _forget_some(writer: CatalogWriter) -> bool:
    """Forget some queued versions; return whether there were any."""
    entries = list(islice(writer.items(Table.FREED), VERSIONS_PER_STEP // FREED_ENTRY_MAX))
    if not entries:
        return False
    space = SpaceChange(writer)
    versions = numbers_of(())
    for _, value in entries:
        versions.extend(decode_numbers(value, FREED_ENTRY_MAX))
    blocks = Multiset(clear_versions(writer, versions))
    for block_id, count in blocks.items():
        if block_id >= FIRST_BLOCK:
            release_block(writer, space, block_id, count)
    release_items(writer, space, Table.VERSION_RECORDS, versions.tolist())
    for key, _ in entries:
        writer.delete(Table.FREED, key)
    space.save()
    return True


def _give_back(context: StoreContext) -> bool:
    """Punch some freed records out of their segments; return whether there were any."""
    by_segment: dict[int, list[tuple[int, int]]] = {}
    with context.catalog.read() as reader:
        for key, value in islice(reader.items(Table.PUNCH), PUNCHES_PER_STEP):
            number, offset = parse_punch_key(key)
            by_segment.setdefault(number, []).append((offset, int.from_bytes(value, "little")))
        records = {number: _segment_or_none(reader, number) for number in by_segment}
    if not by_segment:
        return False
    for number, ranges in by_segment.items():
        record = records[number]
        if record is not None:
            context.segments.free(record.segment_id, ranges)
            failpoints.reach("reclaim.punched")

    def clear(writer: CatalogWriter) -> None:
        for number, ranges in by_segment.items():
            for offset, _ in ranges:
                writer.delete(Table.PUNCH, punch_key(number, offset))

    context.catalog.update(clear)
    failpoints.reach("reclaim.cleared")
    return True


def _segment_or_none(reader: CatalogReader, number: int) -> SegmentRecord | None:
    try:
        return get_segment(reader, number)
    except CorruptionError:
        return None


def _drop_empty_segments(context: StoreContext) -> None:
    """Remove sealed segments in which nothing is live any more.

    Here the file goes first: a segment that is missing and empty is forgotten the next time, but a
    file that nobody knows would stay for ever.
    """
    with context.catalog.read() as reader:
        empty = _empty_segments(reader)
    if not empty:
        return
    for _, segment_id in empty:
        context.segments.drop(segment_id)
        failpoints.reach("reclaim.dropped")

    def forget(writer: CatalogWriter) -> None:
        for number, _ in empty:
            forget_segment(writer, number)

    context.catalog.update(forget)
    failpoints.reach("reclaim.forgot-segments")


def _empty_segments(reader: CatalogReader) -> list[tuple[int, bytes]]:
    """Return number and id of each sealed segment in which nothing is live or to be given back."""
    found = []
    for key, _ in reader.items(Table.EMPTY_SEGMENTS):
        number = parse_number_key(key)
        if next(reader.items(Table.PUNCH, prefix=punch_key(number, 0)[:4]), None) is None:
            found.append((number, get_segment(reader, number).segment_id))
    return found
