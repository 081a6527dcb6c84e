"""Abandoning a snapshot that will not be completed: what it published is freed again.

Used where the making fails, and for the pending snapshots of a process that died.
"""

import struct
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ebsim.core.context import StoreContext
from ebsim.core.copied_part import CopiedPart, holds_of, is_unmade
from ebsim.core.events import snapshot_ended
from ebsim.core.image_settling import settle_images
from ebsim.core.lineage import Lineage
from ebsim.core.point_in_time import note_lost
from ebsim.core.reclaim import queue_freed, queue_freed_range
from ebsim.core.sharing import unshared_by
from ebsim.core.snapshots import (
    NO_SESSION,
    drop_snapshot,
    find_snapshot,
    get_pending,
    get_snapshot,
    put_snapshot,
)
from ebsim.core.space import SpaceChange, release_items
from ebsim.core.successors import take_over
from ebsim.format.catalog_values import Table, number_key
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogReader, CatalogWriter

if TYPE_CHECKING:  # a deletion needs this module, and not those
    from ebsim.core.ingest import Batch
    from ebsim.core.publish import Prepared

_RANGES = struct.Struct("<QQQQ")
"""A published batch of a pending snapshot: first version, versions, first page, pages."""


def note_published(
    writer: CatalogWriter, snapshot_id: SnapshotId, batch: "Batch", prepared: "Prepared"
) -> None:
    """Record what a pending snapshot holds already, and how far it is."""
    record = get_pending(writer, snapshot_id)
    put_snapshot(writer, replace(record, scanned_bytes=batch.scanned_end))
    if prepared.changes:
        ranges = _RANGES.pack(
            prepared.first_version,
            len(prepared.changes),
            prepared.first_page,
            len(prepared.pages),
        )
        writer.put(Table.PENDING_RANGES, snapshot_id.encode() + number_key(batch.number), ranges)


def published_ranges(
    reader: CatalogReader, snapshot_id: SnapshotId
) -> list[tuple[int, int, int, int]]:
    """Return first version, versions, first page and pages of each batch of a pending snapshot."""
    entries = reader.items(Table.PENDING_RANGES, prefix=snapshot_id.encode())
    ranges = []
    for _, value in entries:
        first_version, versions, first_page, pages = _RANGES.unpack(value)
        ranges.append((first_version, versions, first_page, pages))
    return ranges


def forget_published(writer: CatalogWriter, snapshot_id: SnapshotId) -> None:
    """Clear what `note_published` recorded."""
    for key, _ in list(writer.items(Table.PENDING_RANGES, prefix=snapshot_id.encode())):
        writer.delete(Table.PENDING_RANGES, key)


def abandon(
    context: StoreContext, writer: CatalogWriter, snapshot_id: SnapshotId, reason: str | None
) -> bool:
    """Free what a pending snapshot published and release its hold on its parent.

    Args:
        context: The store.
        writer: The transaction.
        snapshot_id: The snapshot.
        reason: It becomes `error` with this message; None forgets it altogether.

    Returns:
        False, and nothing is changed, if it is completed already: the failure came after that.
    """
    pending = get_snapshot(writer, snapshot_id)
    if pending.state != SnapshotState.PENDING:
        return False
    space = SpaceChange(writer)
    _free_published(writer, space, pending.snapshot_id)
    if not take_over(writer, pending) and holds_of(pending):
        lineage = Lineage(writer)
        for hold in holds_of(pending):
            release_hold(writer, space, lineage, hold)
        lineage.save(writer)
    space.save()
    if pending.set_id:
        _note_failure_of_set(writer, pending, reason or "its making was broken off")
    if reason is None or pending.deletion_wanted:
        drop_snapshot(writer, pending)
        settle_images(context, writer, snapshot_id)
        return True
    failed = replace(
        pending,
        state=SnapshotState.ERROR,
        state_message=reason,
        completion_us=context.clock.now_us(),
        session=0,
        hold=0,
        copied_part=None,
        root=0,
        full_blocks=0,
        scanned_bytes=0,
        boot="",
        tracked=False,
        compression="",
    )
    put_snapshot(writer, failed)
    snapshot_ended(context, writer, failed)
    settle_images(context, writer, snapshot_id)
    return True


def _note_failure_of_set(writer: CatalogWriter, failed: SnapshotRecord, reason: str) -> None:
    """Have the other members fail too, also when they are only looked at by another process."""
    for key, _ in list(writer.items(Table.PENDING_SNAPSHOTS)):
        other = get_snapshot(writer, SnapshotId(key.decode()))
        if other.set_id == failed.set_id and other.snapshot_id != failed.snapshot_id:
            reason_of_set = f"{failed.snapshot_id} of the same set failed: {reason}"
            note_lost(writer, other.snapshot_id, reason_of_set)


def leave_pending(writer: CatalogWriter, snapshot_id: SnapshotId) -> None:
    """Free what a pending snapshot published, and leave it to be made by somebody else.

    Of a managed volume: whoever opens the volume next makes it, from the point in time that the
    volume still has. A copy from another store: whoever copies that snapshot again goes on with it,
    behind what it keeps.
    """
    pending = get_snapshot(writer, snapshot_id)
    space = SpaceChange(writer)
    _free_published(writer, space, snapshot_id)
    space.save()
    scanned = CopiedPart.of(pending).end
    put_snapshot(writer, replace(pending, session=NO_SESSION, scanned_bytes=scanned))


def drop_unmade(context: StoreContext, snapshot_ids: Sequence[SnapshotId]) -> None:
    """Forget pending copies that were deleted, and that nobody is making, with all they keep."""

    def drop(writer: CatalogWriter, snapshot_id: SnapshotId) -> None:
        record = find_snapshot(writer, snapshot_id)
        if record is not None and is_unmade(record) and record.deletion_wanted:
            abandon(context, writer, snapshot_id, None)

    for snapshot_id in snapshot_ids:
        context.catalog.update(partial(drop, snapshot_id=snapshot_id))


def _free_published(writer: CatalogWriter, space: SpaceChange, snapshot_id: SnapshotId) -> None:
    for first_version, versions, first_page, pages in published_ranges(writer, snapshot_id):
        queue_freed_range(writer, first_version, versions)
        delete_pages(writer, space, list(range(first_page, first_page + pages)))
    forget_published(writer, snapshot_id)


def release_hold(writer: CatalogWriter, space: SpaceChange, lineage: Lineage, hold: int) -> None:
    """Take a hold out of the lineage and free what only it kept."""
    unshared = unshared_by(writer, lineage, hold)
    lineage.remove(hold)
    for versions in unshared.freed_versions:
        queue_freed(writer, versions)
    delete_pages(writer, space, unshared.freed_pages)


def delete_pages(writer: CatalogWriter, space: SpaceChange, page_ids: list[int]) -> None:
    """Forget pages that are in no map any more."""
    for page_id in page_ids:
        writer.delete(Table.PAGES, number_key(page_id))
    release_items(writer, space, Table.PAGE_RECORDS, page_ids)
