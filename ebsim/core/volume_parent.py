"""What the next snapshot of a managed volume is incremental on, and what changes that.

It is the most recent live snapshot of the volume; with none, the snapshot the volume was made from,
while that is live; with none, nothing: the snapshot is full (semantics sections 2.1 and 2.4,
docs/semantics.md). A full one starts from the map that the volume is still loaded from, if there is
one, so that nothing is stored twice; it is incremental on nobody all the same.

When the parent goes, what only it held counts as written again, so that the next snapshot is whole.
"""

from dataclasses import dataclass, replace

from ebsim.core.lineage import Lineage
from ebsim.core.snapshots import find_snapshot, newest_of_volume
from ebsim.core.space import SpaceChange
from ebsim.format.catalog_values import Table, number_key
from ebsim.format.records import (
    SnapshotRecord,
    VolumeRecord,
    decode_volume,
    encode_volume,
)
from ebsim.ids import SnapshotId
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogReader, CatalogWriter

ORIGIN_EPOCH = 0
"""The epoch of what a volume was made from: before its first write."""

NO_PARENT_EPOCH = -1
"""The epoch of a parent that is none."""


@dataclass(frozen=True, slots=True)
class VolumeParent:
    """What a snapshot of a managed volume starts from.

    Attributes:
        snapshot_id: The parent; None for a full snapshot, which may have a map to start from.
        node: Its node in the lineage, or the hold that keeps its map; 0 for none.
        root: The root page of its map.
        lineage: Its lineage; 0 for none.
        full_blocks: Blocks in its map.
        epoch: The last epoch of the volume's writes that it contains.
    """

    snapshot_id: SnapshotId | None = None
    node: int = 0
    root: int = 0
    lineage: int = 0
    full_blocks: int = 0
    epoch: int = NO_PARENT_EPOCH


def volume_parent(reader: CatalogReader, volume: VolumeRecord) -> VolumeParent:
    """Return what the next snapshot of a managed volume is incremental on."""
    own = newest_of_volume(reader, volume.volume_id)
    if own is not None:
        return _as_parent(own, own.epoch)
    if not volume.lineage:  # it begins a lineage of its own, whatever it was made from
        return VolumeParent()
    origin = _origin(reader, volume)
    if origin is not None:
        return _as_parent(origin, ORIGIN_EPOCH)
    if volume.origin_hold:
        return VolumeParent(
            node=volume.origin_hold,
            root=volume.origin_root,
            lineage=volume.lineage,
            full_blocks=volume.origin_blocks,
            epoch=ORIGIN_EPOCH,
        )
    return VolumeParent()


def begin_lineage(writer: CatalogWriter, volume: VolumeRecord) -> None:
    """Count all of what a new volume is made from as written: its first snapshot is full.

    For what is made from another account's snapshot (semantics section 11.2). Costs as much as that
    snapshot's map has leaves.
    """
    assert not volume.lineage
    _note_difference(writer, volume, ORIGIN_EPOCH, volume.origin_root, 0)


def parent_deleted(writer: CatalogWriter, gone: SnapshotRecord) -> None:
    """Count what only a deleted snapshot held as written again, where it was a volume's parent.

    Called after the snapshot's record is dropped, while its pages are still there.
    """
    if not gone.node:
        return  # it never was a parent
    volume = _find_volume(writer, gone.volume_id.encode())
    if volume is not None and gone.epoch:
        left = volume_parent(writer, volume)
        if left.epoch < gone.epoch:
            _note_difference(writer, volume, gone.epoch, gone.root, left.root)
    for made in _made_from(writer, gone.snapshot_id):
        if newest_of_volume(writer, made.volume_id) is None:
            left = volume_parent(writer, made)
            _note_difference(writer, made, ORIGIN_EPOCH, gone.root, left.root)


def forget_covered_writes(writer: CatalogWriter, completed: SnapshotRecord) -> None:
    """Forget the writes that a completed snapshot of a managed volume contains."""
    volume = _find_volume(writer, completed.volume_id.encode())
    if volume is not None:  # else it is deleted
        from ebsim.core.written_blocks import forget_writes  # needs numpy

        forget_writes(writer, volume.number, completed.epoch)


def release_origin(writer: CatalogWriter, space: SpaceChange, volume: VolumeRecord) -> VolumeRecord:
    """Let go of the map that a volume was loaded from, and return the volume's new record.

    Called when all of it is loaded, or the volume is deleted.
    """
    from ebsim.core.abandon import release_hold

    if not volume.origin_hold:
        return volume
    before = volume_parent(writer, volume)
    loaded = replace(volume, origin_hold=0, origin_root=0)
    if before.node == volume.origin_hold:
        _note_difference(writer, volume, ORIGIN_EPOCH, volume.origin_root, 0)
    lineage = Lineage(writer)
    release_hold(writer, space, lineage, volume.origin_hold)
    lineage.save(writer)
    prefix = number_key(volume.number)
    for key in [key for key, _ in writer.items(Table.VOLUME_LOADED, prefix=prefix)]:
        writer.delete(Table.VOLUME_LOADED, key)
    writer.put(Table.VOLUMES, volume.volume_id.encode(), encode_volume(loaded))
    return loaded


def _as_parent(record: SnapshotRecord, epoch: int) -> VolumeParent:
    return VolumeParent(
        record.snapshot_id, record.node, record.root, record.lineage, record.full_blocks, epoch
    )


def _origin(reader: CatalogReader, volume: VolumeRecord) -> SnapshotRecord | None:
    """Return the snapshot a volume was made from, if it is still live.

    One that was archived since shares nothing with the volume any more, also once it is restored:
    it is of another lineage number then.
    """
    if volume.origin_id is None:
        return None
    record = find_snapshot(reader, volume.origin_id)
    if record is None or record.state != SnapshotState.COMPLETED or record.is_archived:
        return None
    return record if record.lineage == volume.lineage else None


def _made_from(reader: CatalogReader, snapshot_id: SnapshotId) -> list[VolumeRecord]:
    entries = reader.items(Table.VOLUME_ORIGINS, prefix=snapshot_id.encode())
    volumes = [_find_volume(reader, volume_id) for _, volume_id in entries]
    return [volume for volume in volumes if volume is not None]


def _find_volume(reader: CatalogReader, volume_id: bytes) -> VolumeRecord | None:
    value = reader.get(Table.VOLUMES, volume_id)
    return None if value is None else decode_volume(value)


def _note_difference(
    writer: CatalogWriter, volume: VolumeRecord, epoch: int, gone_root: int, left_root: int
) -> None:
    from ebsim.core.written_blocks import note_difference  # needs numpy; most deletions do not

    note_difference(writer, volume.number, epoch, gone_root, left_root)
