"""Recovery: cleaning up after processes that died while they wrote.

Runs whenever a store is opened, and costs three look-ups when there is nothing to do. A session
whose kernel lock is free belongs to a dead process. Its pending snapshots end as `error`, what they
had published is freed, and its segments are cut off behind what was published: nobody will ever
append to them again. No age and no clock is looked at.
"""

import logging

from ebsim.core.burial import bury_session
from ebsim.core.context import StoreContext
from ebsim.core.space import reclaim_pending
from ebsim.errors import EbsimError, StoreError
from ebsim.format.catalog_values import Table, number_key, parse_number_key
from ebsim.format.records import decode_json
from ebsim.storage.locks import Region

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
                _bury(context, number)
    with context.catalog.read() as reader:
        wanted = reclaim_pending(reader)
    if wanted:
        _finish_reclaim(context)


def _bury(context: StoreContext, number: int) -> None:
    """Clean up after one dead session, whose lock we hold."""
    with context.catalog.read() as reader:
        value = reader.get(Table.SESSIONS, number_key(number))
    if value is None:
        return  # another process was faster
    reason = f"the process that was making it (pid {decode_json(value)['pid']}) died"
    with context.reserve.released_if_low():
        bury_session(context, number, reason)


def _finish_reclaim(context: StoreContext) -> None:
    """Go on with a reclaim that a dead process left; leave it to a live one that is at it."""
    from ebsim.core.reclaim import reclaim

    reclaim(context, wait=False)
