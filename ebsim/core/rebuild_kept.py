"""Rebuilding a catalog that is whole, and only not the newest: what it alone knows is kept.

The journal tells nothing of events, nor of snapshots that were pending or in error. A catalog that
was proved whole does, as of its last commit. So events stay, with their numbers; a snapshot in
error stays; and one that was pending is in error from now on: what is known of its point in time is
not in the segments.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ebsim.caller import Caller
from ebsim.core.context import StoreContext
from ebsim.core.counters import peek
from ebsim.core.events import snapshot_ended, snapshot_set_ended
from ebsim.core.rebuild_catalog import EVENTS_PER_COMMIT
from ebsim.core.rebuild_journal import History
from ebsim.core.snapshots import put_snapshot
from ebsim.core.volumes import put_volume, source_key
from ebsim.format.catalog_values import Counter, Table, number_key
from ebsim.format.records import SnapshotRecord, VolumeRecord, decode_snapshot, decode_volume
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogReader, CatalogWriter
from ebsim.storage.lmdb_catalog import LmdbCatalog

_REASON = (
    "the machine was restarted while it was made, and its catalog was made again: take another"
)
_COUNTERS = (Counter.NODE, Counter.VOLUME, Counter.LINEAGE, Counter.EVENT)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a catalog knows beside the journal.

    Attributes:
        events: The rows of the events.
        snapshots: Those that are not completed.
        volumes: The volumes of scanned sources.
        counters: Which numbers it would have given out next.
    """

    events: list[tuple[bytes, bytes]]
    snapshots: list[SnapshotRecord]
    volumes: dict[str, VolumeRecord]
    counters: dict[Counter, int]


def read_kept(folder: Path) -> Kept:
    """Read what is to be kept.

    Args:
        folder: Of a catalog that was proved, in another process, to be whole.

    Raises:
        StoreError, CorruptionError: It cannot be read.
    """
    catalog = LmdbCatalog(folder)
    try:
        with catalog.read() as reader:
            volumes = (decode_volume(value) for _, value in reader.items(Table.VOLUMES))
            return Kept(
                events=[(bytes(key), bytes(value)) for key, value in reader.items(Table.EVENTS)],
                snapshots=list(_unfinished(reader)),
                volumes={each.volume_id: each for each in volumes if not each.managed},
                counters={counter: peek(reader, counter) for counter in _COUNTERS},
            )
    finally:
        catalog.close()


def _unfinished(reader: CatalogReader) -> Iterator[SnapshotRecord]:
    for _, name in reader.items(Table.VOLUME_UNFINISHED):
        value = reader.get(Table.SNAPSHOTS, bytes(name))
        record = None if value is None else decode_snapshot(value)
        if record is None or record.deletion_wanted or record.copied_part:
            continue  # it is to be deleted, or whoever copies it again begins anew
        if record.state != SnapshotState.COMPLETED:
            yield record


def put_kept(context: StoreContext, writer: CatalogWriter, kept: Kept, history: History) -> None:
    """Add what was kept to a new catalog, but for what the journal knows better."""
    for counter, given in kept.counters.items():
        # Events of the commits that it does not know may have been told.
        number = given + EVENTS_PER_COMMIT if counter is Counter.EVENT else given
        if peek(writer, counter) < number:
            writer.put(Table.META, counter.key, number_key(number))
    for key, value in kept.events:
        writer.put(Table.EVENTS, key, value)
    ended: list[SnapshotRecord] = []
    for record in kept.snapshots:
        if record.snapshot_id in history.volume_of:  # it was completed since, or deleted
            continue
        if _has_volume(writer, kept, record):
            failed = record if record.state == SnapshotState.ERROR else _failed(context, record)
            put_snapshot(writer, failed)
            if failed is not record:
                ended.append(failed)
    for failed in ended:
        snapshot_ended(context, writer, failed)
    for name in dict.fromkeys(each.set_id for each in ended if each.set_id):
        members = [each for each in ended if each.set_id == name]
        members += [e for e in history.snapshots.values() if e.set_id == name]
        snapshot_set_ended(context, writer, sorted(members, key=lambda each: each.begun))


def _has_volume(writer: CatalogWriter, kept: Kept, record: SnapshotRecord) -> bool:
    """Return whether a snapshot's volume is there; one without any other snapshot is kept too."""
    if writer.get(Table.VOLUMES, record.volume_id.encode()) is not None:
        return True
    volume = kept.volumes.get(record.volume_id)
    if volume is None:
        return False
    owner = Caller(volume.owner, volume.region)
    if writer.get(Table.SOURCES, source_key(owner, volume.source)) is not None:
        return False  # the source is another volume's by now
    put_volume(writer, volume)
    return True


def _failed(context: StoreContext, pending: SnapshotRecord) -> SnapshotRecord:
    return replace(
        pending,
        state=SnapshotState.ERROR,
        state_message=pending.state_message or _REASON,
        completion_us=context.clock.now_us(),
        session=0,
        hold=0,
        root=0,
        full_blocks=0,
        scanned_bytes=0,
        boot="",
        tracked=False,
        compression="",
    )
