"""Burying a session: what it left pending is abandoned, what it left open is sealed.

Done by a session that ends for itself, and by `ebsim.core.recovery` for one whose process died. The
session's row goes last, so that whoever is interrupted here is followed by another who goes on.
"""

from ebsim.core.context import StoreContext
from ebsim.core.snapshots import list_snapshots
from ebsim.core.space import mark_sealed
from ebsim.format.catalog_values import (
    SegmentRecord,
    SegmentState,
    Table,
    number_key,
    parse_number_key,
)
from ebsim.ids import SnapshotId
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogReader, CatalogWriter


def bury_session(context: StoreContext, number: int, reason: str) -> None:
    """Clean up after a session that will write no more; the caller holds its lock.

    Args:
        context: The store.
        number: The session.
        reason: What its pending snapshots end as `error` with.

    Raises:
        StoreError, LimitExceededError: A write failed; it can be done again.
    """
    with context.catalog.read() as reader:
        own = _own_segments(reader, number)
        pending = _pending_snapshots(reader, number)
    segments = [item for item in own if item[1].state is SegmentState.OPEN]
    for _, record in segments:
        # Nobody will append to it again; what lies behind was never published.
        context.segments.truncate(record.segment_id, record.published_end)
    wasted = bool(pending) or any(record.live_bytes == 0 for _, record in own)

    def clean(writer: CatalogWriter) -> None:
        for snapshot_id in pending:
            _abandon(context, writer, snapshot_id, reason)
        mark_sealed(writer, [segment for segment, _ in segments])
        if not wasted:
            writer.delete(Table.SESSIONS, number_key(number))

    context.catalog.update(clean)
    if wasted and _reclaim(context):
        context.catalog.update(lambda writer: writer.delete(Table.SESSIONS, number_key(number)))


def _own_segments(reader: CatalogReader, session: int) -> list[tuple[int, SegmentRecord]]:
    segments = (
        (parse_number_key(key), SegmentRecord.decode(value))
        for key, value in reader.items(Table.SEGMENTS)
    )
    return [(number, record) for number, record in segments if record.session == session]


def _pending_snapshots(reader: CatalogReader, session: int) -> list[SnapshotId]:
    return [
        record.snapshot_id
        for record in list_snapshots(reader)
        if record.state == SnapshotState.PENDING and record.session == session
    ]


def _abandon(
    context: StoreContext, writer: CatalogWriter, snapshot_id: SnapshotId, reason: str
) -> None:
    from ebsim.core.abandon import abandon  # needs numpy, and is seldom needed

    abandon(context, writer, snapshot_id, reason)


def _reclaim(context: StoreContext) -> bool:
    """Give back what was freed; False if another process is at it: the next opener looks again."""
    from ebsim.core.reclaim import reclaim  # likewise

    return reclaim(context, wait=False)
