"""The operations on managed volumes, as `Store.volumes` offers them.

What reads or writes live data is imported when it is needed, so that listing volumes is quick.
"""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ebsim import refusals
from ebsim.core.access import same_owner
from ebsim.core.changes import KEPT, JournaledCommit, commit_journaled, writing
from ebsim.core.context import StoreContext
from ebsim.core.events import volume_changed
from ebsim.core.lineage import add_hold
from ebsim.core.reclaim import reclaim_if_possible
from ebsim.core.volume_parent import begin_lineage
from ebsim.core.volume_records import (
    describe_volumes,
    ensure_own_volumes,
    get_managed,
    list_modifications,
    list_volumes,
    modify_volume,
    new_volume_record,
    origin_of,
    own_volume,
    put_managed,
    to_volume,
)
from ebsim.core.volume_types import ensure_figures
from ebsim.core.whole_numbers import ensure_whole
from ebsim.errors import CorruptionError
from ebsim.format.catalog_values import Table, number_key
from ebsim.format.records import VolumeRecord
from ebsim.ids import VolumeId, parse_volume_id
from ebsim.progress import Progress, SilentProgress
from ebsim.requests import VolumeModificationRequest, VolumeQuery, VolumeRequest
from ebsim.results import Volume, VolumeModification, VolumePage, VolumeState
from ebsim.units import size_gib
from ebsim.volumes.file_limits import ensure_file_possible

if TYPE_CHECKING:
    from ebsim.volumes.managed import ManagedVolumes
    from ebsim.volumes.volume_file import VolumeFile


class VolumeOperations:
    """Volumes that ebsim keeps: made, written to, made from snapshots, modified, deleted.

    A volume is open in one process at a time; another one's operations on its data are refused.
    """

    def __init__(self, context: StoreContext, held: "Callable[[], ManagedVolumes]") -> None:
        self._context = context
        self._held = held

    def create(self, request: VolumeRequest) -> Volume:
        """Make a volume, empty or from a snapshot; it can be used at once, whatever its size.

        With an initialization rate, the blocks of the snapshot are loaded behind the scenes while
        the store is open; else when they are needed, or by `initialize`.

        Raises:
            InvalidInputError, NotFoundError, ConflictError, LimitExceededError: EC2 would refuse it
                (semantics section 3.2).
        """
        with writing(self._context):
            record = commit_journaled(self._context, lambda commit: _create(commit, request))
        if record.origin_hold and record.initialization_rate:
            self._held().background.start(record.volume_id, record.initialization_rate)
        return to_volume(record)

    def get(self, volume_id: str) -> Volume:
        """Return one volume.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: There is no such volume.
        """
        with self._context.catalog.read() as reader:
            return self._show(own_volume(self._context, reader, parse_volume_id(volume_id)))

    def list(self, query: VolumeQuery | None = None) -> list[Volume]:
        """Return the volumes that a query asks for, oldest first; without one, all there are.

        Raises:
            InvalidInputError, NotFoundError, LimitExceededError: As `describe`.
        """
        with self._context.catalog.read() as reader:
            found = list_volumes(reader, query, self._context.caller)
        return [self._show(record) for record in found]

    def describe(self, query: VolumeQuery | None = None) -> VolumePage:
        """Return a page of the volumes that a query asks for, oldest first.

        Raises:
            InvalidInputError: An id, state, filter, page size or token is none.
            NotFoundError: A volume that the query names does not exist.
            LimitExceededError: The filters have too many values.
        """
        return describe_volumes(self._context, query or VolumeQuery(), self._show)

    def modify(self, volume_id: str, request: VolumeModificationRequest) -> VolumeModification:
        """Make a volume larger, or change its type, IOPS or throughput.

        Raises:
            InvalidInputError, NotFoundError, ConflictError, LimitExceededError: EC2 would refuse it
                (semantics section 3.4).
        """

        def change(commit: JournaledCommit) -> tuple[VolumeRecord, VolumeModification]:
            changed, modification = modify_volume(self._context, commit.writer, volume_id, request)
            ensure_file_possible(self._context, changed)
            volume_changed(
                self._context, commit.writer, changed, "modifyVolume", modification.state
            )
            commit.journal("modify-volume", {"volume": asdict(changed)})
            return changed, modification

        self._own(volume_id)
        with writing(self._context):
            record, modification = commit_journaled(self._context, change)
        live = self._held().live.find(record.volume_id)
        if live is not None:
            live.resize(record.size_bytes)
        return modification

    def modifications(self, volume_ids: Sequence[str] = ()) -> Sequence[VolumeModification]:
        """Return the last modification of each of these volumes, or of all; some have none.

        Raises:
            InvalidInputError: An id is malformed.
            NotFoundError: There is no such volume.
        """
        with self._context.catalog.read() as reader:
            return list_modifications(self._context, reader, volume_ids)

    def delete(self, volume_id: str) -> VolumeState:
        """Delete a volume; its snapshots stay, and pending ones are completed first.

        Returns:
            `deleted`, or `deleting` while pending snapshots still need its data.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: There is no such volume.
            ConflictError: It is open, or in a wrong state.
        """
        wanted = self._own(volume_id)
        self._held().background.stop(wanted)
        with writing(self._context, KEPT):
            self._held().live.delete(wanted)
            reclaim_if_possible(self._context)
        with self._context.catalog.read() as reader:
            left = reader.get(Table.VOLUMES, wanted.encode())
        return VolumeState.DELETED if left is None else VolumeState.DELETING

    def import_image(
        self,
        image: str | os.PathLike[str],
        request: VolumeRequest | None = None,
        progress: Progress | None = None,
    ) -> Volume:
        """Make a volume with the content of an image file or block device.

        Args:
            image: The path.
            request: What the volume is to be; without a size, the image's, in whole GiB.
            progress: Told how far it is.

        Raises:
            NotFoundError, SourceError: The image is not there, or cannot be read.
            InvalidInputError: It does not fit, or EC2 would refuse the volume.
            LimitExceededError, StoreError: The volume cannot be written. No volume is left.
        """
        from ebsim.storage.freeze import open_point_in_time
        from ebsim.volumes.importing import copy_source

        request = request or VolumeRequest()
        ensure_figures(request)
        if request.snapshot_id:
            raise refusals.invalid_combination(
                "A volume is made of an image or of a snapshot, not of both."
            )
        with open_point_in_time(Path(image), None, self._context.path) as source:
            wanted = size_gib(source.size_bytes)
            if request.size_gib is not None and request.size_gib < wanted:
                raise refusals.invalid_value(
                    request.size_gib, "size", f"{source.identity} needs at least {wanted} GiB"
                )
            volume = self.create(replace(request, size_gib=request.size_gib or wanted))
            try:
                with (
                    writing(self._context, KEPT),
                    self._held().live.using(volume.volume_id) as live,
                ):
                    copy_source(source, live, progress or SilentProgress())
            except BaseException:
                if not self._context.poison:
                    self.delete(volume.volume_id)
                raise
        return self.get(volume.volume_id)

    def open(self, volume_id: str) -> "VolumeFile":
        """Open a volume as a file object, for reading and writing.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: There is no such volume.
            ConflictError: Another process has it open.
            CorruptionError: Its live data are gone.
        """
        from ebsim.volumes.volume_file import VolumeFile

        registry, wanted = self._held().live, self._own(volume_id)
        with writing(self._context, KEPT):
            live = registry.acquire(wanted, as_file=True)
        return VolumeFile(live, lambda: registry.release(live, as_file=True))

    def initialize(
        self, volume_id: str, rate: int | None = None, progress: Progress | None = None
    ) -> None:
        """Load all of a volume that was made from a snapshot, and wait for it.

        Args:
            volume_id: The volume.
            rate: MiB a second; None: as fast as it goes.
            progress: Told how far it is.

        Raises:
            InvalidInputError: The id is malformed, or the rate not positive.
            NotFoundError: There is no such volume.
            CorruptionError: A block is damaged in the store; what is loaded stays.
            ConflictError: Another process has it open.
        """
        from ebsim.volumes.loading import Pace, load_all

        ensure_whole(rate, "rate")
        if rate is not None and rate < 1:
            raise refusals.invalid_value(rate, "rate", "It is in MiB a second, at least 1")
        wanted = self._own(volume_id)
        self._held().background.stop(wanted)
        pace = Pace(rate or 0, threading.Event().wait)
        with writing(self._context, KEPT):
            load_all(self._context, self._held().live, wanted, pace, progress or SilentProgress())

    def _own(self, volume_id: str) -> VolumeId:
        """Return the id of a volume of the caller's."""
        wanted = parse_volume_id(volume_id)
        ensure_own_volumes(self._context, [wanted])
        return wanted

    def _show(self, record: VolumeRecord) -> Volume:
        """Return a volume as a user sees it, with how much of it is loaded."""
        if not record.origin_hold or not record.origin_blocks:
            return to_volume(record)
        from ebsim.volumes.origin import Origin

        live = self._held().live.find(record.volume_id)
        origin = (live.origin if live else None) or Origin(self._context, record)
        try:
            missing = origin.count_missing()
        except CorruptionError:
            with self._context.catalog.read() as reader:
                again = get_managed(reader, record.volume_id)
            if again.origin_hold:
                raise
            return to_volume(again)  # its loading ended just now, and the map is let go of
        loaded = record.origin_blocks - missing
        return to_volume(record, 100 * loaded // record.origin_blocks)


def _create(commit: JournaledCommit, request: VolumeRequest) -> VolumeRecord:
    context, writer = commit.context, commit.writer
    origin = origin_of(context, writer, request)
    record = new_volume_record(context, writer, request, origin)
    ensure_file_possible(context, record)
    if origin is not None:
        record = replace(
            record,
            origin_hold=add_hold(writer, origin.node, origin.root),
            origin_root=origin.root,
            origin_blocks=origin.full_blocks,
            lineage=origin.lineage if same_owner(origin, record) else 0,
        )
        if not record.lineage:
            begin_lineage(writer, record)
        key = origin.snapshot_id.encode() + number_key(record.number)
        writer.put(Table.VOLUME_ORIGINS, key, record.volume_id.encode())
    put_managed(writer, record)
    volume_changed(context, writer, record, "createVolume", "available")
    commit.journal("create-volume", {"volume": asdict(record)})
    return record
