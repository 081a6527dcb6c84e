"""Several pending snapshots of one managed volume: they complete in the order they were begun.

The oldest holds its parent's map from its beginning on. A later one gets its parent when the one
before it ends: that one, if it is completed; else what that one would have started from.
"""

from dataclasses import replace

from ebsim.core.lineage import Lineage, add_hold_to
from ebsim.core.snapshots import get_snapshot, put_snapshot
from ebsim.core.volume_parent import VolumeParent
from ebsim.format.catalog_values import Table, number_key
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId, VolumeId
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogReader, CatalogWriter


def pending_of_volume(reader: CatalogReader, volume_id: VolumeId) -> list[SnapshotRecord]:
    """Return the pending snapshots of a managed volume, in the order they were begun."""
    entries = reader.items(Table.VOLUME_UNFINISHED, prefix=volume_id.encode())
    found = [get_snapshot(reader, SnapshotId(value.decode())) for _, value in entries]
    return [each for each in found if each.state == SnapshotState.PENDING and each.epoch]


def start_from(
    writer: CatalogWriter, lineage: Lineage, pending: SnapshotRecord, parent: VolumeParent
) -> SnapshotRecord:
    """Return a pending snapshot's record with a parent whose map it holds; saves neither."""
    hold = add_hold_to(writer, lineage, parent.node, parent.root) if parent.node else 0
    return replace(
        pending,
        hold=hold,
        root=parent.root,
        parent_id=parent.snapshot_id,
        full_blocks=parent.full_blocks,
        lineage=parent.lineage or pending.lineage,
        base_epoch=parent.epoch,
    )


def follow_completed(writer: CatalogWriter, lineage: Lineage, done: SnapshotRecord) -> None:
    """Have the next pending snapshot of the volume start from one that is completed."""
    heir = _next(writer, done)
    if heir is not None:
        parent = VolumeParent(
            done.snapshot_id, done.node, done.root, done.lineage, done.full_blocks, done.epoch
        )
        put_snapshot(writer, start_from(writer, lineage, heir, parent))


def take_over(writer: CatalogWriter, failed: SnapshotRecord) -> bool:
    """Give what a pending snapshot that fails would have started from to the next one.

    Returns:
        Whether there is a next one: then the hold on the parent's map is its own now.
    """
    heir = _next(writer, failed)
    if heir is None:
        return False
    put_snapshot(
        writer,
        replace(
            heir,
            hold=failed.hold,
            root=failed.root,
            parent_id=failed.parent_id,
            full_blocks=failed.full_blocks,
            lineage=failed.lineage,
            base_epoch=failed.base_epoch,
        ),
    )
    return True


def _next(reader: CatalogReader, record: SnapshotRecord) -> SnapshotRecord | None:
    if not record.epoch:
        return None
    later = number_key(record.begun + 1)
    prefix = record.volume_id.encode()
    for _, value in reader.items(Table.VOLUME_UNFINISHED, start=prefix + later, prefix=prefix):
        other = get_snapshot(reader, SnapshotId(value.decode()))
        if other.state == SnapshotState.PENDING and other.epoch:
            return other
    return None
