"""The operations on the Recycle Bin, as `Store.recycle_bin` offers them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TypeVar

from ebsim import bin_refusals
from ebsim.core.access import owns, usable_snapshot
from ebsim.core.bin_expiry import expire_due
from ebsim.core.bin_rule_operations import RuleOperations
from ebsim.core.bin_stays import Recyclable, find_recycled, is_due, own_recycled, restored, stay_of
from ebsim.core.changes import JournaledCommit, commit_journaled, writing
from ebsim.core.context import StoreContext
from ebsim.core.events import image_changed, snapshot_recycled, volume_changed
from ebsim.core.image_links import link_key
from ebsim.core.images import ensure_name_free, put_image
from ebsim.core.lifecycle_release import released
from ebsim.core.paging import PAGE_MAX, PAGE_MIN, VOLUME_PAGE_MAX, Pager, page_size
from ebsim.core.snapshots import put_snapshot
from ebsim.core.volume_records import put_managed, to_volume
from ebsim.errors import ConflictError, NotFoundError
from ebsim.format.bin_records import exit_key
from ebsim.format.catalog_values import Table
from ebsim.format.life_records import ImageRecord
from ebsim.format.records import SnapshotRecord, VolumeRecord
from ebsim.ids import parse_image_id, parse_snapshot_id, parse_volume_id
from ebsim.images import Image
from ebsim.recycle_bin import (
    BinnedImage,
    BinnedImagePage,
    BinnedSnapshot,
    BinnedSnapshotPage,
    BinnedVolume,
    BinnedVolumePage,
    BinQuery,
)
from ebsim.results import Snapshot, Volume, VolumeState
from ebsim.storage.catalog import CatalogReader

Record = TypeVar("Record", SnapshotRecord, ImageRecord, VolumeRecord)

_PAGES: dict[type, tuple[int, int]] = {
    SnapshotRecord: (PAGE_MAX, PAGE_MIN),
    ImageRecord: (PAGE_MAX, 1),
    VolumeRecord: (VOLUME_PAGE_MAX, PAGE_MIN),
}
"""How many records a page has, at most and at least (EC2's model)."""


class RecycleBinOperations:
    """What the caller deleted and can still have back, and the rules that say so.

    Nothing can be taken out of the bin for good before its time: it is restored, or it expires.
    """

    def __init__(self, context: StoreContext) -> None:
        self._context = context

    @property
    def rules(self) -> RuleOperations:
        """The operations on retention rules."""
        return RuleOperations(self._context)

    def snapshots(self, query: BinQuery | None = None) -> BinnedSnapshotPage:
        """Return a page of the snapshots in the bin.

        Raises:
            InvalidInputError: An id, page size or token is none.
            NotFoundError: A snapshot that the query names is not in the bin.
        """
        page, token = self._page(query, SnapshotRecord, parse_snapshot_id, lambda each: each.begun)
        return BinnedSnapshotPage(
            snapshots=tuple(_snapshot(each) for each in page), next_token=token
        )

    def images(self, query: BinQuery | None = None) -> BinnedImagePage:
        """Return a page of the images in the bin.

        Raises:
            InvalidInputError: An id, page size or token is none.
            NotFoundError: An image that the query names is not in the bin.
        """
        page, token = self._page(query, ImageRecord, parse_image_id, lambda each: each.number)
        return BinnedImagePage(images=tuple(_image(each) for each in page), next_token=token)

    def volumes(self, query: BinQuery | None = None) -> BinnedVolumePage:
        """Return a page of the volumes in the bin.

        Raises:
            InvalidInputError: An id, page size or token is none.
            NotFoundError: A volume that the query names is not in the bin.
        """
        page, token = self._page(query, VolumeRecord, parse_volume_id, lambda each: each.number)
        return BinnedVolumePage(volumes=tuple(_volume(each) for each in page), next_token=token)

    def restore_snapshot(self, snapshot_id: str) -> Snapshot:
        """Bring a snapshot back from the bin as it was, shared as it was; it is completed at once.

        One that a lifecycle policy deleted, and would delete again, is the policy's no more
        (semantics section 11.8): it has to be deleted by hand.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: It is not in the bin, or not any more.
            ConflictError: It was not deleted.
        """
        wanted = parse_snapshot_id(snapshot_id)

        def change(commit: JournaledCommit) -> SnapshotRecord:
            context, writer = self._context, commit.writer
            before = self._binned(writer, wanted)
            assert isinstance(before, SnapshotRecord), "it has a snapshot's id"
            after = released(context, writer, restored(before))
            writer.delete(Table.BIN_EXITS, _exit_key(before, wanted))
            put_snapshot(writer, after)
            snapshot_recycled(context, writer, after, "restoreSnapshotFromRecycleBin")
            members = {"recycled": None, "tags": after.tags}
            commit.journal("change-snapshot", {"snapshot_id": wanted, "members": members})
            return after

        # Restoring frees nothing, but is a step to it where a full disk has to be emptied.
        with writing(self._context), self._context.reserve.released_if_low():
            with self._context.catalog.read() as reader:  # refused before anything is written
                self._binned(reader, wanted)
            return commit_journaled(self._context, change).to_result()

    def restore_image(self, image_id: str) -> Image:
        """Bring an image back from the bin; its snapshots have to be there, or back, before it.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: It is not in the bin, or not any more; or a snapshot is missing.
            ConflictError: It was not deregistered, or another image has its name meanwhile.
        """
        wanted = parse_image_id(image_id)

        def change(commit: JournaledCommit) -> ImageRecord:
            context, writer = self._context, commit.writer
            before = self._restorable_image(writer, wanted)
            after = restored(before)
            writer.delete(Table.BIN_EXITS, _exit_key(before, wanted))
            put_image(writer, after)
            for snapshot_id in after.snapshot_ids:
                writer.put(Table.IMAGE_SNAPSHOTS, link_key(snapshot_id, wanted), b"")
            image_changed(context, writer, after, after.state)
            commit.journal("image", {"image": asdict(after)})
            return after

        with writing(self._context), self._context.reserve.released_if_low():
            with self._context.catalog.read() as reader:
                self._restorable_image(reader, wanted)
            record = commit_journaled(self._context, change)
        return record.to_result(self._context.clock.now_us())

    def restore_volume(self, volume_id: str) -> Volume:
        """Bring a volume back from the bin with its data; it is available at once.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: It is not in the bin, or not any more.
        """
        wanted = parse_volume_id(volume_id)

        def change(commit: JournaledCommit) -> VolumeRecord:
            context, writer = self._context, commit.writer
            before = self._binned(writer, wanted)
            assert isinstance(before, VolumeRecord), "it has a volume's id"
            after = replace(restored(before), state=VolumeState.AVAILABLE)
            writer.delete(Table.BIN_EXITS, _exit_key(before, wanted))
            put_managed(writer, after)
            volume_changed(context, writer, after, "restoreVolumeFromRecycleBin", "available")
            commit.journal("modify-volume", {"volume": asdict(after)})
            return after

        with writing(self._context), self._context.reserve.released_if_low():
            with self._context.catalog.read() as reader:
                self._binned(reader, wanted)
            return to_volume(commit_journaled(self._context, change))

    def expire(self) -> tuple[str, ...]:
        """Delete for good what is due, of all accounts; return the ids of what went.

        Opening a store and every operation that writes do it too.

        Raises:
            StoreError, LimitExceededError: A write failed; it can be done again.
            CorruptionError: A map is damaged.
        """
        with writing(self._context, expire=False):
            return expire_due(self._context)

    def _page(
        self,
        query: BinQuery | None,
        kind: type[Record],
        parse: Callable[[str], str],
        position: Callable[[Record], int],
    ) -> tuple[list[Record], str | None]:
        """Return a page of what is in the bin of one kind, and the token of the next one."""
        query = query or BinQuery()
        wanted = [parse(text) for text in query.resource_ids]
        with self._context.catalog.read() as reader:
            found = [each for each in own_recycled(self._context, reader) if isinstance(each, kind)]
        chosen = sorted(_chosen(found, wanted), key=position)
        pager = Pager(self._context.hash_key, ["bin", kind.__name__, sorted(wanted)])
        size = page_size(query.max_results, *_PAGES[kind])
        return pager.page(chosen, position, size, query.next_token)

    def _binned(self, reader: CatalogReader, resource_id: str) -> Recyclable:
        """Return what the caller has in the bin and is not due."""
        record = find_recycled(reader, resource_id)
        if (
            record is None
            or not owns(self._context.caller, record)
            or is_due(record, self._context.clock.now_us())
        ):
            raise bin_refusals.not_recycled(resource_id)
        return record

    def _restorable_image(self, reader: CatalogReader, image_id: str) -> ImageRecord:
        record = self._binned(reader, image_id)
        assert isinstance(record, ImageRecord), "it has an image's id"
        ensure_name_free(self._context, reader, record.name)
        for snapshot_id in record.snapshot_ids:
            try:
                usable_snapshot(self._context, reader, snapshot_id)
            except (NotFoundError, ConflictError):
                raise bin_refusals.image_without_snapshot(image_id, snapshot_id) from None
        return record


def _chosen(found: Sequence[Record], wanted: Sequence[str]) -> list[Record]:
    """Return those that are named; all, if none is."""
    by_id = {_id_of(each): each for each in found}
    for name in wanted:
        if name not in by_id:
            raise bin_refusals.not_recycled(name)
    return [record for name, record in by_id.items() if not wanted or name in wanted]


def _id_of(record: Recyclable) -> str:
    if isinstance(record, SnapshotRecord):
        return record.snapshot_id
    return record.image_id if isinstance(record, ImageRecord) else record.volume_id


def _exit_key(record: Recyclable, resource_id: str) -> bytes:
    stay = stay_of(record)
    assert stay is not None, "it is in the bin"
    return exit_key(stay.exits_us, resource_id)


def _snapshot(record: SnapshotRecord) -> BinnedSnapshot:
    stay = stay_of(record)
    assert stay is not None, "it is in the bin"
    return BinnedSnapshot(
        snapshot_id=record.snapshot_id,
        volume_id=record.volume_id,
        description=record.description,
        enter_time_us=stay.entered_us,
        exit_time_us=stay.exits_us,
        charged_size_bytes=record.to_result().charged_size_bytes,
    )


def _volume(record: VolumeRecord) -> BinnedVolume:
    stay = stay_of(record)
    assert stay is not None, "it is in the bin"
    return BinnedVolume(
        volume_id=record.volume_id,
        size_bytes=record.size_bytes,
        volume_type=record.volume_type,
        iops=record.iops,
        throughput=record.throughput,
        zone=record.zone,
        snapshot_id=record.origin_id or "",
        create_time_us=record.created_us,
        enter_time_us=stay.entered_us,
        exit_time_us=stay.exits_us,
    )


def _image(record: ImageRecord) -> BinnedImage:
    stay = stay_of(record)
    assert stay is not None, "it is in the bin"
    return BinnedImage(
        image_id=record.image_id,
        name=record.name,
        description=record.description,
        snapshot_ids=tuple(record.snapshot_ids),
        enter_time_us=stay.entered_us,
        exit_time_us=stay.exits_us,
    )
