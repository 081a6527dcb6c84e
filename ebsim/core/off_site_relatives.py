"""Which snapshots of two stores are copies of each other, and what a copy is incremental on.

A copy names its source: STORE/REGION/SNAPSHOT. So a snapshot of this store is in the other one if
that has a completed copy of it, or if it is itself a copy of one that is there still: whoever lost
a store, and made it again from its copies, can go on copying to where they came from.

A copy is incremental on the copy of its nearest living ancestor in the lineage; if none of them was
copied, on that of the snapshot it was made on, though that is deleted here; else on the newest copy
of its volume. EBS documents nothing like it; within a store, `ebsim.core.copying` does as EBS does.
What it is incremental on is under the same key, or under none as it is itself, as EBS has it
(semantics section 11.4).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ebsim.core.access import owns
from ebsim.core.context import StoreContext
from ebsim.core.lineage import Lineage
from ebsim.core.snapshots import find_snapshot, list_snapshots, snapshots_of_volume
from ebsim.core.volumes import find_volume
from ebsim.format.catalog_values import NodeKind
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogReader


@dataclass(frozen=True, slots=True)
class Base:
    """What a copy is incremental on.

    Attributes:
        copy: The snapshot in the other store.
        root: The root of the same map in this store; None where that is not here any more.
    """

    copy: SnapshotRecord
    root: int | None


def origin_of(context: StoreContext, record: SnapshotRecord) -> str:
    """Return what a copy of a snapshot says that it is a copy of."""
    return f"{context.header.store_id.hex()}/{record.region}/{record.snapshot_id}"


def volume_identity(context: StoreContext, record: SnapshotRecord) -> str:
    """Return what the volume that stands for the copies of a volume is known by."""
    return f"copies of {record.volume_id} in store {context.header.store_id.hex()}"


class Relatives:
    """What two stores have of each other's snapshots.

    Args:
        source: The store that is copied from.
        other: The store that is copied to.
    """

    def __init__(self, source: StoreContext, other: StoreContext) -> None:
        self._source = source
        self._other = other
        with other.catalog.read() as reader:
            known = [each for each in list_snapshots(reader) if _is_whole(other, each)]
        self._copies: dict[str, list[SnapshotRecord]] = {}
        for each in known:
            self.add(each)
        self._originals = {
            f"{other.header.store_id.hex()}/{each.region}/{each.snapshot_id}": each
            for each in known
        }

    def add(self, copy: SnapshotRecord) -> None:
        """Take note of a copy that was completed."""
        if copy.copied_from:
            self._copies.setdefault(copy.copied_from, []).append(copy)

    def counterpart(
        self, record: SnapshotRecord, kms_key: str | None = None
    ) -> SnapshotRecord | None:
        """Return the snapshot of the other store that is the same as one of this, or None.

        Args:
            record: The snapshot of this store.
            kms_key: The key that the other has to be under, empty for none; None: any or none.
        """
        found = reversed(self._counterparts(record))
        return next((each for each in found if kms_key in (None, each.kms_key)), None)

    def base_for(self, record: SnapshotRecord, kms_key: str) -> Base | None:
        """Return what a copy of a snapshot is incremental on, or None for a full one.

        Args:
            record: The snapshot of this store.
            kms_key: The key of its copy; empty: none.
        """
        with self._source.catalog.read() as reader:
            for ancestor in _ancestors(reader, record):
                copy = self.counterpart(ancestor, kms_key)
                if copy is not None and copy.size_bytes <= record.size_bytes:
                    return Base(copy, ancestor.root)
            copy = self._deleted_parent(record, kms_key) or self._newest(record, kms_key)
            if copy is None or copy.size_bytes > record.size_bytes:
                return None
            return self._with_map(reader, copy)

    def base_again(self, copy_id: SnapshotId | None) -> Base | None:
        """Return the base of a copy that was begun before; None if it is full, or that is gone."""
        if copy_id is None:
            return None
        with self._other.catalog.read() as reader:
            copy = find_snapshot(reader, copy_id)
        if copy is None or not _is_whole(self._other, copy):
            return None
        with self._source.catalog.read() as reader:
            return self._with_map(reader, copy)

    def _with_map(self, reader: CatalogReader, copy: SnapshotRecord) -> Base:
        """Return a snapshot of the other store with its map in this one, where that is here."""
        name = copy.copied_from.rpartition("/")[2]
        same = find_snapshot(reader, SnapshotId(name)) if name else None
        if same is None or not _is_done(same) or copy not in self._counterparts(same):
            return Base(copy, None)
        return Base(copy, same.root)

    def _counterparts(self, record: SnapshotRecord) -> list[SnapshotRecord]:
        """Return the snapshots of the other store that are the same as one of this."""
        original = self._originals.get(record.copied_from)
        copies = self._copies.get(origin_of(self._source, record), [])
        return copies if original is None else [original, *copies]

    def _deleted_parent(self, record: SnapshotRecord, kms_key: str) -> SnapshotRecord | None:
        store_id = self._source.header.store_id.hex()
        copies = self._copies.get(f"{store_id}/{record.region}/{record.parent_id}", [])
        return next((each for each in reversed(copies) if each.kms_key == kms_key), None)

    def _newest(self, record: SnapshotRecord, kms_key: str) -> SnapshotRecord | None:
        """Return the newest copy of the snapshot's volume that is under a key, or under none."""
        with self._other.catalog.read() as reader:
            volume = find_volume(self._other, reader, volume_identity(self._source, record))
            copies = [] if volume is None else snapshots_of_volume(reader, volume.volume_id)
        return next(
            (
                each
                for each in reversed(copies)
                if each.kms_key == kms_key and _is_whole(self._other, each)
            ),
            None,
        )


def _is_whole(context: StoreContext, record: SnapshotRecord) -> bool:
    """Return whether a snapshot is one that the caller has, and can be built on."""
    return _is_done(record) and not record.apart and owns(context.caller, record)


def _is_done(record: SnapshotRecord) -> bool:
    gone = record.is_archived or record.recycled is not None
    return record.state == SnapshotState.COMPLETED and not gone


def _ancestors(reader: CatalogReader, record: SnapshotRecord) -> Iterator[SnapshotRecord]:
    """Yield the living ancestors of a snapshot, the nearest first."""
    lineage = Lineage(reader)
    number = lineage.node(record.node).parent
    while number:
        node = lineage.node(number)
        if node.kind is NodeKind.SNAPSHOT:
            found = find_snapshot(reader, SnapshotId(node.snapshot_id))
            if found is not None and _is_done(found):
                yield found
        number = node.parent
