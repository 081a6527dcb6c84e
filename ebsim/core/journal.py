"""The journal: what happened to snapshots, written into segments before it is committed.

One entry belongs to one commit. Only the members of a set, which one commit completes, have one
each; all but the last of those say that more follow (`MORE`). Entries are numbered and chained:
each names the checksum of the one before it. An entry is written and synced inside the catalog's
writing transaction, so their order is the order of commits; if that transaction does not commit,
the entry is given back.
"""

from typing import Any

from ebsim import failpoints
from ebsim.core.context import StoreContext
from ebsim.core.counters import take
from ebsim.core.sessions import OpenSegment
from ebsim.core.space import SpaceChange
from ebsim.format.catalog_values import Counter, MetaRecord, Table, number_key
from ebsim.format.checksum import CHECKSUM_SIZE, stored_checksum
from ebsim.format.meta_records import encode_journal
from ebsim.format.segment import RecordKind
from ebsim.storage.catalog import CatalogWriter

_LAST = b"journal"

MORE = "more"
"""The fact that says that the commit has another entry behind this one."""


def append_entry(
    context: StoreContext,
    writer: CatalogWriter,
    space: SpaceChange,
    segment: OpenSegment,
    operation: str,
    facts: dict[str, Any],
) -> int:
    """Append the entry of this commit to a segment and sync it.

    Returns:
        The commit's sequence number.

    Raises:
        LimitExceededError, StoreError: As `SegmentWriter.append`.
    """
    sequence = take(writer, Counter.SEQUENCE)
    previous = writer.get(Table.META, _LAST) or bytes(CHECKSUM_SIZE)
    payload = encode_journal(sequence, previous, operation, facts)
    offset, extent = segment.writer.append(RecordKind.JOURNAL, payload)
    place = [(offset, extent)]
    writer.on_abort(lambda: context.segments.free(segment.writer.segment_id, place))
    failpoints.reach("journal.appended")
    segment.writer.sync()
    failpoints.reach("journal.synced")
    space.use(segment.number, extent)
    record = MetaRecord(segment.number, offset, extent, 1, 1)
    writer.put(Table.JOURNAL, number_key(sequence), record.encode())
    writer.put(Table.META, _LAST, stored_checksum((payload,)))
    return sequence
