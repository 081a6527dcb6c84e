"""Recovery: cleaning up after processes that died while they wrote.

Runs whenever a store is opened, and costs four look-ups when there is nothing to do. A session
whose kernel lock is free belongs to a dead process. Its pending snapshots end as `error`, what they
had published is freed (those of managed volumes stay pending, if the machine was not restarted),
and its segments are cut off behind what was published: nobody will ever append to them again. No
age and no clock is looked at. What is due in the Recycle Bin goes for good; that is the clock's.
"""

import logging
from contextlib import suppress

from ebsim import failpoints
from ebsim.core.bin_stays import anything_due
from ebsim.core.burial import bury_session, finish_reclaim
from ebsim.core.context import StoreContext
from ebsim.core.copied_part import is_unmade
from ebsim.core.point_in_time import restarted_since
from ebsim.core.snapshots import (
    NO_SESSION,
    deletions_wanted,
    get_snapshot,
    pending_snapshots,
)
from ebsim.core.space import reclaim_pending
from ebsim.errors import EbsimError, NotFoundError, StoreError
from ebsim.format.catalog_values import Table, number_key, parse_number_key
from ebsim.format.records import decode_json
from ebsim.ids import SnapshotId
from ebsim.storage.catalog import CatalogWriter
from ebsim.storage.locks import Region
from ebsim.storage.reserve import DELETION_PART

_log = logging.getLogger(__name__)


def recover(context: StoreContext) -> None:
    """Clean up after dead sessions and go on with what they were giving back.

    What cannot be done, on a full or failing disk, is logged and left to the next opener: reading
    must go on to work.
    """
    if context.catalog.read_only:
        return
    try:
        _recover(context)
    except EbsimError as error:
        if isinstance(error, StoreError):
            context.poison = str(error)
        _log.warning("could not clean up after a process that died: %s", error)


def _recover(context: StoreContext) -> None:
    with context.catalog.read() as reader:
        sessions = [parse_number_key(key) for key, _ in reader.items(Table.SESSIONS)]
    for number in sessions:
        lock = context.locks.try_hold(Region.SESSION + number)
        if lock is not None:
            with lock:
                failpoints.reach("recovery.found")
                _bury(context, number)
    failpoints.reach("recovery.buried")
    _end_lost(context)
    _finish_deletions(context)
    with context.catalog.read() as reader:
        wanted = reclaim_pending(reader)
    if wanted:
        with context.reserve.released_if_low():
            finish_reclaim(context)
    if anything_due(context):
        from ebsim.core.bin_expiry import expire_due  # needs numpy, and is seldom needed

        expire_due(context)


def _bury(context: StoreContext, number: int) -> None:
    """Clean up after one dead session, whose lock we hold."""
    with context.catalog.read() as reader:
        value = reader.get(Table.SESSIONS, number_key(number))
    if value is None:
        return  # another process was faster
    facts = decode_json(value)
    same_boot = bool(context.boot_id) and facts.get("boot") == context.boot_id
    what = "died" if same_boot else "died, or the machine was restarted"
    reason = f"the process that was making it (pid {facts['pid']}) {what}"
    with context.reserve.released_if_low(keep=DELETION_PART):
        bury_session(context, number, reason, volumes_kept=same_boot)


def _end_lost(context: StoreContext) -> None:
    """End the snapshots that were left pending and whose points in time a restart destroyed."""
    with context.catalog.read() as reader:
        lost = restarted_since(reader, context.boot_id)
    for snapshot_id in lost:
        from ebsim.core.abandon import abandon  # needs numpy, and is seldom needed

        def end(writer: CatalogWriter, snapshot_id: SnapshotId = snapshot_id) -> None:
            abandon(context, writer, snapshot_id, "the machine was restarted while it was pending")

        room = context.reserve.released_if_low(keep=DELETION_PART)
        with room, suppress(NotFoundError):  # as below
            context.catalog.update(end)


def _finish_deletions(context: StoreContext) -> None:
    """Delete the snapshots that were deleted while pending, and are completed now."""
    with context.catalog.read() as reader:
        wanted = deletions_wanted(reader)
    for snapshot_id in wanted:
        from ebsim.core.delete import delete_snapshots

        with suppress(NotFoundError):  # another process was faster
            delete_snapshots(context, [snapshot_id], dry_run=False)
    _drop_unmade(context)


def _drop_unmade(context: StoreContext) -> None:
    """Forget the copies from another store that were deleted when nobody was making them."""
    with context.catalog.read() as reader:
        left = [get_snapshot(reader, each) for each in pending_snapshots(reader, NO_SESSION)]
    wanted = [each.snapshot_id for each in left if each.deletion_wanted and is_unmade(each)]
    if wanted:
        from ebsim.core.abandon import drop_unmade

        drop_unmade(context, wanted)
