"""What happens to started snapshots by itself: they time out, and those that are sealed are made.

As for the archive and the Recycle Bin, no process waits for that: whoever uses the store next
carries it out (`ebsim.core.due`).
"""

import logging

from ebsim.core.context import StoreContext
from ebsim.core.leftovers import has_started
from ebsim.core.snapshots import NO_SESSION, find_snapshot, get_snapshot, pending_snapshots
from ebsim.core.started_files import last_put_us
from ebsim.core.started_making import StartedWrites
from ebsim.core.started_rules import MINUTE_US, Started, is_being_written
from ebsim.errors import EbsimError
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId
from ebsim.storage.catalog import CatalogWriter
from ebsim.storage.reserve import DELETION_PART

_log = logging.getLogger(__name__)


def started_writes(context: StoreContext) -> StartedWrites:
    """Return what this handle holds of started snapshots, made when first needed."""
    state = context.state
    with state.started_mutex:
        if state.started is None:
            state.started = StartedWrites(context.acting_as(None))
        return state.started


def resume_started(context: StoreContext) -> None:
    """Go on with what a process left.

    Raises:
        EbsimError: The folder cannot be read.
    """
    if has_started(context):
        started_writes(context).resume()


def settle_started(context: StoreContext) -> None:
    """End what timed out; what cannot be, on a failing disk, is logged and left to the next."""
    if context.catalog.read_only or context.poison:
        return
    try:
        _settle(context)
    except EbsimError as error:
        _log.warning("could not end a snapshot that timed out: %s", error)


def _settle(context: StoreContext) -> None:
    now_us = context.clock.now_us()
    with context.catalog.read() as reader:
        pending = [get_snapshot(reader, each) for each in pending_snapshots(reader, NO_SESSION)]
    due = [each for each in pending if deadline_us(context, each, now_us) <= now_us]
    for record in due:
        end_timed_out(context, record.snapshot_id)


def deadline_us(context: StoreContext, record: SnapshotRecord, now_us: int) -> int:
    """Return when a snapshot times out; behind `now_us` if it does not."""
    started = Started.of(record)
    if started is None or not is_being_written(record):
        return now_us + 1
    if record.start_us + started.timeout_us > now_us:
        return now_us + 1
    writes = context.state.started
    last = None if writes is None else writes.last_put_us(record.snapshot_id)
    if last is None:
        last = last_put_us(context, record.snapshot_id)
    return max(record.start_us, last) + started.timeout_us


def end_timed_out(context: StoreContext, snapshot_id: SnapshotId) -> None:
    """End a started snapshot as `error` (semantics section 11.9).

    Raises:
        StoreError, LimitExceededError: A write failed.
    """
    from ebsim.core.abandon import abandon
    from ebsim.core.changes import writing

    def end(writer: CatalogWriter) -> None:
        record = find_snapshot(writer, snapshot_id)
        started = None if record is None else Started.of(record)
        if record is not None and started is not None and is_being_written(record):
            minutes = started.timeout_us // MINUTE_US
            abandon(context, writer, snapshot_id, f"no block was written for {minutes} minutes")

    with writing(context, expire=False), context.reserve.released_if_low(keep=DELETION_PART):
        context.catalog.update(end)
    started_writes(context).remove_leftovers()
