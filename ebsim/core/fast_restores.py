"""The records of fast restores: finding them, taking their credits, and ending them.

Whatever takes a snapshot away from an account ends its fast restores of that snapshot, in the same
transaction: deleting, archiving and sharing it no more. The journal's entry of that commit carries
the records that changed, as the member `FACT`, whatever the operation is.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from ebsim.caller import Caller
from ebsim.core.access import may_use, owns
from ebsim.core.context import StoreContext
from ebsim.core.events import fast_restore_changed
from ebsim.core.fast_restore_rules import (
    credit_size,
    has_credit,
    is_on,
    state_at,
    transition_reason,
    units_at,
)
from ebsim.format.catalog_values import Table
from ebsim.format.fast_restore_records import (
    FastRestoreRecord,
    decode_fast_restore,
    encode_fast_restore,
)
from ebsim.format.records import SnapshotRecord, VolumeRecord
from ebsim.ids import SnapshotId
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogReader, CatalogWriter

FACT = "fast_restores"
"""The member of a journal entry that has the records which its commit changed."""


def all_fast_restores(
    reader: CatalogReader, caller: Caller | None = None
) -> list[FastRestoreRecord]:
    """Return those of a caller, or of everybody, in the order of their beginning."""
    records = (decode_fast_restore(value) for _, value in reader.items(Table.FAST_RESTORES))
    return sorted((each for each in records if owns(caller, each)), key=lambda each: each.number)


def find_active(
    reader: CatalogReader, caller: Caller, snapshot_id: SnapshotId, zone: str
) -> FastRestoreRecord | None:
    """Return the fast restore of a snapshot in a zone that was not ended, or None."""
    prefix = f"{snapshot_id}/{caller.account}/{zone}/".encode("ascii")
    for _, value in reader.items(Table.FAST_RESTORES, prefix=prefix):
        record = decode_fast_restore(value)
        if is_on(record):
            return record
    return None


def put_fast_restore(writer: CatalogWriter, record: FastRestoreRecord) -> None:
    """Keep a record."""
    writer.put(Table.FAST_RESTORES, record.key, encode_fast_restore(record))


def restorable(record: SnapshotRecord) -> bool:
    """Return whether volumes can be made of a snapshot: it is completed, and not archived."""
    return record.state == SnapshotState.COMPLETED and not record.is_archived


def facts_of(records: list[FastRestoreRecord]) -> dict[str, Any]:
    """Return what the journal's entry of a commit says of the records that it changed."""
    return {FACT: [asdict(record) for record in records]} if records else {}


# Credits


def take_credit(
    writer: CatalogWriter, volume: VolumeRecord, snapshot: SnapshotRecord, now_us: int
) -> FastRestoreRecord | None:
    """Take a credit for a new volume, where its account has one for its snapshot and zone.

    Returns:
        The record without the credit; None: there was none to take.
    """
    caller = Caller(volume.owner, volume.region)
    record = find_active(writer, caller, snapshot.snapshot_id, volume.zone)
    if record is None or not has_credit(record, now_us):
        return None
    left = units_at(record, now_us) - credit_size(record)
    taken = replace(record, credit_units=left, credit_us=max(record.credit_us, now_us))
    put_fast_restore(writer, taken)
    return taken


# Ending


def end_unusable(
    context: StoreContext, writer: CatalogWriter, snapshot: SnapshotRecord
) -> list[FastRestoreRecord]:
    """End the fast restores of a snapshot by accounts that can make no volumes of it any more.

    Blocking public access is none of that: it can be taken back, and ends nothing (assumed).

    Args:
        context: The store.
        writer: The transaction.
        snapshot: The snapshot as it is from now on.

    Returns:
        Those that were ended, for the journal.
    """

    def lost(record: FastRestoreRecord) -> bool:
        caller = Caller(record.owner, record.region)
        usable = snapshot.public or may_use(writer, caller, snapshot)
        return not usable or not restorable(snapshot)

    return _end(context, writer, snapshot.snapshot_id, lost)


def end_deleted(
    context: StoreContext, writer: CatalogWriter, snapshot_ids: Sequence[SnapshotId]
) -> list[FastRestoreRecord]:
    """End all fast restores of snapshots that are deleted; return them, for the journal."""
    return [
        ended
        for snapshot_id in snapshot_ids
        for ended in _end(context, writer, snapshot_id, lambda _record: True)
    ]


def _end(
    context: StoreContext,
    writer: CatalogWriter,
    snapshot_id: SnapshotId,
    wanted: Callable[[FastRestoreRecord], bool],
) -> list[FastRestoreRecord]:
    ended = []
    now_us = context.clock.now_us()
    for record in list(_active(writer, snapshot_id)):
        if wanted(record):
            ended.append(end_one(writer, record, now_us, by_user=False))
            tell(context, writer, ended[-1], now_us)
    return ended


def end_one(
    writer: CatalogWriter, record: FastRestoreRecord, now_us: int, *, by_user: bool
) -> FastRestoreRecord:
    """End a fast restore and return its record; the caller tells it."""
    ended = replace(record, disabling_us=max(record.enabling_us, now_us), by_user=by_user)
    put_fast_restore(writer, ended)
    return ended


def tell(
    context: StoreContext, writer: CatalogWriter, record: FastRestoreRecord, now_us: int
) -> None:
    """Record the event that a fast restore was begun or ended."""
    state = state_at(record, now_us)
    fast_restore_changed(context, writer, record, state, transition_reason(record, state))


def _active(reader: CatalogReader, snapshot_id: SnapshotId) -> Iterator[FastRestoreRecord]:
    prefix = f"{snapshot_id}/".encode("ascii")
    for _, value in reader.items(Table.FAST_RESTORES, prefix=prefix):
        record = decode_fast_restore(value)
        if is_on(record):
            yield record
