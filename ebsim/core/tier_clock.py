"""What happens to archived snapshots by itself, once its time has come.

An archival or a restore takes as long as the store's quotas say, and a temporary restore ends. No
process waits for that: whoever uses the store next carries out what fell due meanwhile, in the
order in which it did and with the times at which it did, before it does what it came for
(`ebsim.core.due`).
"""

import logging
from typing import TYPE_CHECKING

from ebsim.core.context import StoreContext
from ebsim.core.snapshots import TIER_DUE, find_snapshot, tier_due_us
from ebsim.errors import EbsimError
from ebsim.format.catalog_values import Table, parse_number_key
from ebsim.ids import SnapshotId
from ebsim.storage.catalog import CatalogReader

if TYPE_CHECKING:
    from ebsim.core.changes import JournaledCommit

_log = logging.getLogger(__name__)


def settle(context: StoreContext) -> None:
    """Carry out what fell due; what cannot be, on a failing disk, is logged and left to the next.

    Reading must go on to work: a store that is open for reading only is left as it is.
    """
    if context.catalog.read_only or context.poison:
        return
    try:
        carry_out_due(context)
    except EbsimError as error:
        _log.warning("could not move a snapshot between the tiers: %s", error)


def carry_out_due(context: StoreContext) -> None:
    """Carry out what fell due.

    Raises:
        StoreError, LimitExceededError: A write failed.
    """
    while True:
        now = context.clock.now_us()
        with context.catalog.read() as reader:
            found = _earliest_due(reader, now)
        if found is None:
            return
        _carry_out(context, found, now)


def _carry_out(context: StoreContext, name: SnapshotId, now_us: int) -> None:
    from ebsim.core.changes import commit_journaled, writing  # seldom needed, like the next
    from ebsim.core.tier_changes import carry_out_step

    def run(commit: "JournaledCommit") -> None:
        record = find_snapshot(commit.writer, name)
        due = None if record is None else tier_due_us(record)
        if due is not None and due <= now_us:  # else another process was faster
            carry_out_step(context, commit, name)

    with writing(context, expire=False):  # the Recycle Bin waits for this: what goes is settled
        commit_journaled(context, run)


def _earliest_due(reader: CatalogReader, now_us: int) -> SnapshotId | None:
    due = []
    for key, value in reader.items(Table.META, prefix=TIER_DUE):
        at_us = parse_number_key(value)
        if at_us <= now_us and not _gone_by(reader, key, at_us):
            due.append((at_us, key))
    return SnapshotId(min(due)[1].removeprefix(TIER_DUE).decode()) if due else None


def _gone_by(reader: CatalogReader, key: bytes, at_us: int) -> bool:
    """Return whether a snapshot's time in the Recycle Bin was over when something fell due."""
    record = find_snapshot(reader, SnapshotId(key.removeprefix(TIER_DUE).decode()))
    if record is None or record.recycled is None:
        return False
    return int(record.recycled["exits_us"]) <= at_us
