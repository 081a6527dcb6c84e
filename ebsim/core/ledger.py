"""The ledger: every change of a charge, from the first day on.

A later bill is the sum, over time, of what each snapshot was charged; it needs nothing else.
Entries are never changed or removed, and outlive their snapshots.
"""

from collections.abc import Iterator, Sequence

from ebsim.core.access import own_snapshot, owns
from ebsim.core.context import StoreContext
from ebsim.core.snapshots import find_snapshot
from ebsim.format.catalog_values import Table, ledger_key
from ebsim.format.records import decode_event, encode_event
from ebsim.ids import SnapshotId
from ebsim.results import ChargeEvent
from ebsim.storage.catalog import CatalogReader, CatalogWriter


def record_events(writer: CatalogWriter, events: Sequence[ChargeEvent]) -> None:
    """Add the entries of one commit; all have its sequence number."""
    for position, event in enumerate(events):
        key = ledger_key(event.sequence, position)
        writer.put(Table.LEDGER, key, encode_event(event))
        writer.put(Table.LEDGER_BY_SNAPSHOT, event.snapshot_id.encode() + key, b"")


def read_ledger(reader: CatalogReader) -> Iterator[ChargeEvent]:
    """Yield every entry in the order of commits."""
    for _, value in reader.items(Table.LEDGER):
        yield decode_event(value)


def snapshot_events(reader: CatalogReader, snapshot_id: SnapshotId) -> list[ChargeEvent]:
    """Return one snapshot's entries in the order of commits; empty for an unknown snapshot."""
    prefix = snapshot_id.encode()
    events = []
    for key, _ in reader.items(Table.LEDGER_BY_SNAPSHOT, prefix=prefix):
        value = reader.get(Table.LEDGER, key[len(prefix) :])
        if value is not None:
            events.append(decode_event(value))
    return events


def own_ledger(context: StoreContext, reader: CatalogReader) -> list[ChargeEvent]:
    """Return the entries of the caller's account and Region, in the order of commits."""
    return [event for event in read_ledger(reader) if owns(context.caller, event)]


def own_history(
    context: StoreContext, reader: CatalogReader, snapshot_id: SnapshotId
) -> list[ChargeEvent]:
    """Return the entries of a snapshot of the caller's, which may be deleted.

    Raises:
        NotFoundError: There never was one, or the caller may not see it.
        ForbiddenError: It is another account's, and shared.
    """
    events = [
        event for event in snapshot_events(reader, snapshot_id) if owns(context.caller, event)
    ]
    if not events or find_snapshot(reader, snapshot_id) is not None:
        own_snapshot(context, reader, snapshot_id, recycled=True)
    return events
