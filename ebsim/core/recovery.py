"""Recovery: cleaning up after processes that died while they wrote.

Runs whenever a store is opened, and costs two look-ups when there is nothing to do. A session whose
kernel lock is free belongs to a dead process. Its pending snapshots end as `error`, what they had
published is freed, and its segments are cut off behind what was published: nobody will ever append
to them again. No age and no clock is looked at.
"""

from contextlib import suppress

from ebsim.core.context import StoreContext
from ebsim.core.sessions import mark_sealed
from ebsim.core.snapshots import list_snapshots
from ebsim.core.space import reclaim_pending
from ebsim.errors import LimitExceededError
from ebsim.format.catalog_values import SegmentRecord, SegmentState, Table, parse_number_key
from ebsim.format.records import decode_json
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogWriter
from ebsim.storage.locks import Region


def recover(context: StoreContext) -> None:
    """Clean up after dead sessions and go on with what they were giving back.

    Raises:
        StoreError: A write failed.
    """
    with context.catalog.read() as reader:
        sessions = [parse_number_key(key) for key, _ in reader.items(Table.SESSIONS)]
    buried = False
    for number in sessions:
        lock = context.locks.try_hold(Region.SESSION + number)
        if lock is not None:
            with lock:
                _bury(context, number)
            buried = True
    with context.catalog.read() as reader:
        wanted = buried or reclaim_pending(reader)
    if wanted:
        _finish_reclaim(context)


def _bury(context: StoreContext, number: int) -> None:
    """Clean up after one dead session, whose lock we hold."""
    from ebsim.core.abandon import abandon

    with context.catalog.read() as reader:
        segments = [
            (parse_number_key(key), record)
            for key, value in reader.items(Table.SEGMENTS)
            if (record := SegmentRecord.decode(value)).session == number
            and record.state is SegmentState.OPEN
        ]
    for _, record in segments:
        context.segments.truncate(record.segment_id, record.published_end)

    def change(writer: CatalogWriter) -> None:
        value = writer.get(Table.SESSIONS, number.to_bytes(8, "big"))
        if value is None:
            return  # another process was faster
        pid = decode_json(value)["pid"]
        for snapshot in list_snapshots(writer):
            if snapshot.state == SnapshotState.PENDING and snapshot.session == number:
                reason = f"the process that was making it (pid {pid}) died"
                abandon(context, writer, snapshot.snapshot_id, reason)
        mark_sealed(writer, [segment for segment, _ in segments])
        writer.delete(Table.SESSIONS, number.to_bytes(8, "big"))

    with context.reserve.released_if_low():
        context.catalog.update(change)


def _finish_reclaim(context: StoreContext) -> None:
    """Go on with a reclaim that a dead process left; leave it to a live one that is at it."""
    from ebsim.core.reclaim import reclaim

    lock = context.locks.try_hold(Region.RECLAIM)
    if lock is None:
        return
    lock.release()
    with suppress(LimitExceededError):
        reclaim(context)
