"""Burying a session: what it left pending is abandoned, what it left open is sealed.

Done by a session that ends for itself, and by `ebsim.core.recovery` for one whose process died.
What a session left is found in tables of its own, so that this costs nothing for what others made.
One transaction does all of it and forgets the session; what is to be given back is queued in it, so
that whoever is interrupted behind it is followed by another who goes on.
"""

from ebsim import failpoints
from ebsim.core.context import StoreContext
from ebsim.core.copied_part import goes_on_later
from ebsim.core.snapshots import get_snapshot, pending_snapshots
from ebsim.core.space import mark_sealed, open_segments, reclaim_pending
from ebsim.format.catalog_values import Table, number_key
from ebsim.ids import SnapshotId
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogWriter


def bury_session(
    context: StoreContext, number: int, reason: str, *, volumes_kept: bool = True
) -> None:
    """Clean up after a session that will write no more; the caller holds its lock.

    Args:
        context: The store.
        number: The session.
        reason: What its pending snapshots end as `error` with.
        volumes_kept: Whether managed volumes still have the points in time of their pending
            snapshots; then those stay pending, for whoever opens the volume next.

    Raises:
        StoreError, LimitExceededError: A write failed; it can be done again.
    """
    with context.catalog.read() as reader:
        segments = open_segments(reader, number)
        pending = pending_snapshots(reader, number)
    for _, record in segments:
        # Nobody will append to it again; what lies behind was never published.
        context.segments.truncate(record.segment_id, record.published_end)
        failpoints.reach("burial.cut-off")

    def clean(writer: CatalogWriter) -> bool:
        for snapshot_id in pending:
            _end_pending(context, writer, snapshot_id, reason, volumes_kept=volumes_kept)
        mark_sealed(writer, [segment for segment, _ in segments])
        writer.delete(Table.SESSIONS, number_key(number))
        return reclaim_pending(writer)

    wanted = context.catalog.update(clean)
    failpoints.reach("burial.committed")
    if wanted:
        finish_reclaim(context)


def _end_pending(
    context: StoreContext,
    writer: CatalogWriter,
    snapshot_id: SnapshotId,
    reason: str,
    *,
    volumes_kept: bool,
) -> None:
    from ebsim.core.abandon import abandon, leave_pending  # needs numpy, and is seldom needed

    record = get_snapshot(writer, snapshot_id)
    if record.state != SnapshotState.PENDING:
        return  # it is to be deleted: `ebsim.core.recovery` does that
    if (record.epoch and volumes_kept) or goes_on_later(record):
        leave_pending(writer, snapshot_id)
    else:
        abandon(context, writer, snapshot_id, reason)


def finish_reclaim(context: StoreContext) -> None:
    """Give back what was freed, unless another process is at it: the next opener looks again."""
    from ebsim.core.reclaim import reclaim  # likewise

    reclaim(context, wait=False)
