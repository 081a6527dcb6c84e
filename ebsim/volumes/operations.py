"""The operations on managed volumes, as `Store.volumes` offers them.

What reads or writes live data is imported when it is needed, so that listing volumes is quick.
"""

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ebsim import refusals
from ebsim.core.changes import KEPT, JournaledCommit, commit_journaled, writing
from ebsim.core.context import StoreContext
from ebsim.core.events import volume_changed
from ebsim.core.reclaim import reclaim_if_possible
from ebsim.core.volume_records import (
    describe_volumes,
    ensure_created,
    ensure_own_volumes,
    get_managed,
    list_modifications,
    list_volumes,
    modify_volume,
    own_volume,
    put_managed,
    to_volume,
)
from ebsim.core.whole_numbers import ensure_whole
from ebsim.errors import ConflictError, CorruptionError, NotFoundError
from ebsim.format.catalog_values import Table
from ebsim.format.records import VolumeRecord, decode_volume
from ebsim.ids import SnapshotId, VolumeId, parse_volume_id
from ebsim.progress import Progress, SilentProgress
from ebsim.requests import VolumeModificationRequest, VolumeQuery, VolumeRequest
from ebsim.results import (
    Volume,
    VolumeModification,
    VolumeModificationPage,
    VolumePage,
    VolumeState,
)
from ebsim.volume_status import VolumeStatusPage
from ebsim.volumes.creation import create_volume, find_made
from ebsim.volumes.file_limits import ensure_file_possible

if TYPE_CHECKING:
    from ebsim.volumes.managed import ManagedVolumes
    from ebsim.volumes.volume_file import VolumeFile


class VolumeOperations:
    """Volumes that ebsim keeps: made, written to, made from snapshots, modified, deleted.

    A volume is open in one process at a time. Another one's operations on its data wait for it
    (`Store.patience`); copying and loading behind the scenes give way to them.
    """

    def __init__(self, context: StoreContext, held: "Callable[[], ManagedVolumes]") -> None:
        self._context = context
        self._held = held

    def create(self, request: VolumeRequest, progress: Progress | None = None) -> Volume:
        """Make a volume, empty or from a snapshot; it can be used at once, whatever its size.

        With an initialization rate, the blocks of the snapshot are loaded behind the scenes while
        the store is open; else when they are needed, or by `initialize`. With a credit of fast
        snapshot restore all of them are loaded before this returns (semantics section 11.7).

        Args:
            request: What the volume is to be.
            progress: Told how far the loading is, if it is fast restored.

        Raises:
            InvalidInputError, NotFoundError, ConflictError, LimitExceededError: EC2 would refuse it
                (semantics section 3.2).
            CorruptionError, StoreError: It is fast restored, and could not be loaded. No volume is
                left; the credit is gone.
        """
        known = find_made(self._context, request)
        if known is not None:
            return self._show(known)
        with writing(self._context):
            record = create_volume(self._context, request)
        if record.fast_restored:
            return self._load_now(record.volume_id, progress or SilentProgress())
        if record.origin_hold and record.initialization_rate:
            self._held().background.start(record.volume_id, record.initialization_rate)
        return to_volume(record)

    def copy(
        self,
        volume_id: str,
        request: VolumeRequest | None = None,
        progress: Progress | None = None,
        begun: Callable[[str], None] | None = None,
    ) -> Volume:
        """Copy a volume as it is at this moment, within its Availability Zone; wait for it.

        Writes to the volume go on meanwhile. The copy has no snapshots in common with it: its first
        one is full.

        Args:
            volume_id: The volume.
            request: What the copy is to be: size, at least that of the volume; type, IOPS,
                throughput, tags, encryption, client token. An encrypted volume's is encrypted.
            progress: Told how far it is.
            begun: Called with the copy's id when the point in time is fixed: it is `creating` then.

        Raises:
            InvalidInputError, NotFoundError, ConflictError, LimitExceededError: EC2 would refuse
                it.
            EbsimError: The volume cannot be read, or the copy not written. No copy is left.
        """
        from ebsim.volumes.copying import copy_volume

        wanted = replace(request or VolumeRequest(), source_volume_id=self._own(volume_id))
        known = find_made(self._context, wanted)
        if known is not None:
            return self._show(known)
        live, told = self._held().live, progress or SilentProgress()
        with writing(self._context, KEPT):
            copy_id = copy_volume(self._context, live, wanted, told, begun)
        return self.get(copy_id)

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

    def describe_modifications(self, query: VolumeQuery | None = None) -> VolumeModificationPage:
        """Return a page of the last modification of each volume that has one.

        Args:
            query: Of which volumes. Filters: modification-state, original-iops, original-size,
                original-volume-type, originalMultiAttachEnabled, start-time, target-iops,
                target-size, target-volume-type, targetMultiAttachEnabled, volume-id.

        Raises:
            InvalidInputError, NotFoundError, LimitExceededError: As `describe`.
        """
        from ebsim.core.volume_views import describe_modifications

        return describe_modifications(self._context, query or VolumeQuery())

    def describe_status(self, query: VolumeQuery | None = None) -> VolumeStatusPage:
        """Return a page of the status of volumes, oldest first.

        Args:
            query: Of which volumes. Filters: availability-zone, volume-status.status,
                volume-status.details-name, volume-status.details-status; and those about actions
                and events, of which there are none.

        Raises:
            InvalidInputError, NotFoundError, LimitExceededError: As `describe`.
        """
        from ebsim.core.volume_views import describe_status

        return describe_status(self._context, query or VolumeQuery(), self._show)

    def set_auto_enable_io(self, volume_id: str, *, enabled: bool) -> None:
        """Keep EC2's attribute autoEnableIO of a volume, which changes nothing else.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: There is no such volume.
        """
        wanted = self._own(volume_id)

        def change(commit: JournaledCommit) -> None:
            record = own_volume(self._context, commit.writer, wanted)
            changed = replace(record, auto_enable_io=enabled)
            put_managed(commit.writer, changed)
            commit.journal("modify-volume", {"volume": asdict(changed)})

        with writing(self._context):
            commit_journaled(self._context, change)

    def delete(self, volume_id: str) -> VolumeState:
        """Delete a volume; its snapshots stay, and pending ones are completed first.

        Returns:
            `deleted`; `deleting` while pending snapshots still need its data; `recoverable` if it
            went to the Recycle Bin.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: There is no such volume.
            ConflictError: It is open, or in a wrong state.
        """
        wanted = self._own(volume_id)
        self._remove(wanted)
        with self._context.catalog.read() as reader:
            left = reader.get(Table.VOLUMES, wanted.encode())
        if left is not None and decode_volume(left).state == VolumeState.RECOVERABLE:
            return VolumeState.RECOVERABLE
        return VolumeState.DELETED if left is None else VolumeState.DELETING

    def _remove(self, volume_id: VolumeId, *, never_had: bool = False) -> None:
        self._held().background.stop(volume_id)
        with writing(self._context, KEPT):
            self._held().live.delete(volume_id, never_had=never_had)
            reclaim_if_possible(self._context)

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
        from ebsim.volumes.importing import copy_source, opened_image

        request = request or VolumeRequest()
        with opened_image(Path(image), request, self._context.path) as (source, sized):
            volume = self.create(sized)
            try:
                with (
                    writing(self._context, KEPT),
                    self._held().live.using(volume.volume_id) as live,
                ):
                    copy_source(source, live, progress or SilentProgress())
            except BaseException:
                if not self._context.poison:
                    self._remove(volume.volume_id, never_had=True)
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
        with self._context.catalog.read() as reader:
            ensure_created(get_managed(reader, wanted))
        with writing(self._context, KEPT):
            live = registry.acquire(wanted, as_file=True)
        return VolumeFile(live, lambda: registry.release(live, as_file=True))

    def resume(self, *, everything: bool = True) -> None:
        """Go on with what other processes left since this store was opened, as opening it does.

        For programs that have it open for long; what was left pending by one that died, or
        that did not wait, is copied here.

        Args:
            everything: Look after deletions and loading too, and not only after snapshots.

        Raises:
            StoreError, LimitExceededError: It could not be; the next call goes on.
        """
        from ebsim.core.leftovers import has_started
        from ebsim.core.recovery import recover
        from ebsim.core.started_clock import resume_started

        context, held = self._context.acting_as(None), self._held()
        context.ensure_writable()
        recover(context)
        held.snapshots.resume()
        if everything:
            held.resume()
            if has_started(context):
                resume_started(context)

    def unfinished_snapshots(self) -> Sequence[SnapshotId]:
        """Return the snapshots that this handle copies now, or when their turn comes.

        Those that are written block by block count once they are sealed.
        """
        started = self._context.state.started
        found = self._held().snapshots.unfinished()
        return found if started is None else [*found, *started.unfinished()]

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

    def _load_now(self, volume_id: VolumeId, progress: Progress) -> Volume:
        """Load all of a volume that is `creating`, so that it is available, and return it."""
        from ebsim.volumes.loading import load_new

        try:
            with writing(self._context, KEPT):
                load_new(self._context, self._held().live, volume_id, progress)
        except BaseException:
            if not self._context.poison:
                # where another process loads it, that one goes on
                with suppress(ConflictError, NotFoundError):
                    self.delete(volume_id)
            raise
        return self.get(volume_id)

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
