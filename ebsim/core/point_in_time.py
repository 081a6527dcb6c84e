"""What the catalog knows of the points in time that pending snapshots of managed volumes need.

Copies of volumes that are being made need points in time too. Of these it knows which were lost:
the rest matters only to whoever goes on after a process died, and no copy outlives its own.

A point in time lives in a volume's file and its kept blocks. While a process has the volume open,
these lie in the page cache: they survive the process, and not the machine (`boot`). Which blocks
were written before it is known for certain once it is *tracked*; until then every block that is
overwritten is kept, so that after a crash those that may have been written can be compared.
"""

from dataclasses import replace

from ebsim.core.context import StoreContext
from ebsim.core.pending_copies import note_copy_lost
from ebsim.core.snapshots import NO_SESSION, find_snapshot, pending_snapshots, put_snapshot
from ebsim.ids import SnapshotId, VolumeId
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogReader, CatalogWriter

_UNKNOWN_BOOT = "unknown"


def this_boot(context: StoreContext) -> str:
    """Return what a point in time that lives in the page cache is marked with."""
    return context.boot_id or _UNKNOWN_BOOT


def note_opened(context: StoreContext, writer: CatalogWriter, snapshot_id: SnapshotId) -> None:
    """Note that a point in time lives in the page cache, and that its writes are all tracked."""
    _change(writer, snapshot_id, boot=this_boot(context), tracked=True)


def note_tracked(writer: CatalogWriter, needed_by: SnapshotId | VolumeId) -> None:
    """Note that the catalog knows every block written before a point in time."""
    _change(writer, needed_by, tracked=True)


def note_durable(writer: CatalogWriter, needed_by: SnapshotId | VolumeId) -> None:
    """Note that all that a point in time needs is synced."""
    _change(writer, needed_by, boot="", tracked=True)


def note_lost(writer: CatalogWriter, needed_by: SnapshotId | VolumeId, reason: str) -> None:
    """Note why a point in time does not exist any more.

    Its snapshot will end as `error`, and its copy will not be made.
    """
    record = find_snapshot(writer, SnapshotId(needed_by))
    if record is not None and not record.state_message:
        _change(writer, needed_by, state_message=reason)
    note_copy_lost(writer, VolumeId(needed_by), reason)


def restarted_since(reader: CatalogReader, boot_id: str) -> list[SnapshotId]:
    """Return the pending snapshots that nobody makes and whose points in time another boot had.

    Args:
        reader: The catalog.
        boot_id: Which boot this is; empty if that is not known.
    """
    left = [find_snapshot(reader, each) for each in pending_snapshots(reader, NO_SESSION)]
    return [
        each.snapshot_id
        for each in left
        if each is not None and each.state == SnapshotState.PENDING and each.epoch
        if each.boot not in ("", boot_id)
    ]


def _change(writer: CatalogWriter, needed_by: SnapshotId | VolumeId, **changes: str | bool) -> None:
    record = find_snapshot(writer, SnapshotId(needed_by))
    if record is not None and record.state == SnapshotState.PENDING:
        put_snapshot(writer, replace(record, **changes))  # type: ignore[arg-type]
