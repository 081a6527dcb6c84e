"""Deleting a managed volume: marked first, then its files, then its record.

A volume with pending snapshots is only marked: they need its data, and do not depend on it
otherwise (semantics section 1.2); so is one of which a copy is being made. Whoever lets go of it
last goes on; after a crash, the next opener.
"""

from dataclasses import asdict, replace

from ebsim import failpoints, refusals
from ebsim.core.bin_catalog import stay_of_volume
from ebsim.core.bin_stays import recycled
from ebsim.core.changes import JournaledCommit, commit_journaled
from ebsim.core.context import StoreContext
from ebsim.core.events import volume_changed
from ebsim.core.pending_copies import note_copy_ended, pending_copies
from ebsim.core.successors import pending_of_volume
from ebsim.core.volume_parent import release_origin
from ebsim.core.volume_records import get_managed, put_managed
from ebsim.core.written_blocks import forget_writes
from ebsim.errors import OutcomeUnknownError
from ebsim.format.catalog_values import Table, number_key
from ebsim.format.records import VolumeRecord, decode_volume
from ebsim.ids import VolumeId
from ebsim.results import VolumeState
from ebsim.storage.catalog import CatalogReader, CatalogWriter
from ebsim.storage.failures import write_failure
from ebsim.volumes.volume_files import remove_volume_files

_DELETABLE = (VolumeState.AVAILABLE, VolumeState.CREATING)
"""EC2 deletes available ones only; one that cannot be made to the end must be able to go."""


def is_deleting(volume: VolumeRecord) -> bool:
    """Return whether a volume is to go."""
    return volume.state == VolumeState.DELETING


def ensure_deletable(context: StoreContext, volume_id: VolumeId) -> None:
    """Look whether a volume may be deleted, before anybody is waited for.

    Raises:
        NotFoundError: There is no such volume.
        ConflictError: It is in a wrong state.
    """
    with context.catalog.read() as reader:
        _deletable(reader, volume_id)


def mark_deleting(context: StoreContext, volume_id: VolumeId, *, never_had: bool = False) -> None:
    """Have a volume go as soon as nobody needs it; or to the Recycle Bin, if a rule keeps it.

    Args:
        context: The store.
        volume_id: The volume.
        never_had: Its making failed: no rule keeps it.

    Raises:
        NotFoundError: There is no such volume.
        ConflictError: It is in a wrong state.
    """
    with context.catalog.read() as reader:
        volume = _deletable(reader, volume_id)
        kept = stay_of_volume(reader, volume, context.clock.now_us())
    never_had = never_had or volume.state == VolumeState.CREATING
    if kept is not None and not never_had:
        put_volume_into_bin(context, volume_id)
        return

    def change(writer: CatalogWriter) -> None:
        context.ensure_writable()
        volume = _deletable(writer, volume_id)
        put_managed(writer, replace(volume, state=VolumeState.DELETING))

    with context.reserve.released_if_low():
        context.catalog.update(change)
    failpoints.reach("volume.marked")


def put_volume_into_bin(context: StoreContext, volume_id: VolumeId) -> None:
    """Move a volume to the Recycle Bin, with its data: nothing else changes about it.

    Raises:
        NotFoundError: There is no such volume.
        ConflictError: It is in a wrong state.
    """

    def change(commit: JournaledCommit) -> None:
        volume = _deletable(commit.writer, volume_id)
        stay = stay_of_volume(commit.writer, volume, context.clock.now_us())
        if stay is None:  # the rule was deleted just now
            volume = replace(volume, state=VolumeState.DELETING)
        else:
            volume = replace(recycled(volume, stay), state=VolumeState.RECOVERABLE)
            volume_changed(context, commit.writer, volume, "recycleVolume", "recoverable")
        put_managed(commit.writer, volume)
        commit.journal("modify-volume", {"volume": asdict(volume)})

    with context.reserve.released_if_low():
        commit_journaled(context, change)


def _deletable(reader: CatalogReader, volume_id: VolumeId) -> VolumeRecord:
    volume = get_managed(reader, volume_id)
    if volume.recycled is not None:
        raise refusals.volume_not_found(volume_id)
    if volume.attachment is not None:
        raise refusals.volume_in_use(volume_id, volume.attachment["instance_id"])
    if volume.state not in _DELETABLE:
        raise refusals.volume_state(volume_id, volume.state, [VolumeState.AVAILABLE])
    return volume


def finish_deletion(context: StoreContext, volume_id: VolumeId) -> None:
    """Remove a volume that is marked and that nobody needs any more; the caller has its lock.

    Pending snapshots need it, and copies of it that are being made.

    Raises:
        StoreError, LimitExceededError: It failed half-way; it can be done again.
    """
    with context.catalog.read() as reader:
        value = reader.get(Table.VOLUMES, volume_id.encode())
        volume = None if value is None else decode_volume(value)
        if volume is None or not is_deleting(volume):
            return
        if pending_of_volume(reader, volume_id) or pending_copies(reader, volume):
            return
    try:
        if context.volumes_folder.name in context.files.list(context.path):
            remove_volume_files(context.files, context.volumes_folder, volume_id)
            failpoints.reach("volume.files-removed")
            context.files.sync_directory(context.volumes_folder)  # or they might come back
    except OSError as error:
        raise write_failure(error, context.volumes_folder / volume_id) from error
    with context.reserve.released_if_low():  # as deleting a snapshot: it must work on a full disk
        try:
            commit_journaled(context, lambda commit: _forget(commit, volume_id))
        except OutcomeUnknownError as error:  # it is marked: whoever opens the store goes on
            happened, tables = True, error.tables | {Table.VOLUMES.name}
            raise OutcomeUnknownError(str(error), error.code, happened, tables) from error


def _forget(commit: JournaledCommit, volume_id: VolumeId) -> None:
    writer = commit.writer
    volume = get_managed(writer, volume_id)
    if volume.origin_id is not None:
        key = volume.origin_id.encode() + number_key(volume.number)
        writer.delete(Table.VOLUME_ORIGINS, key)
    volume = release_origin(writer, commit.space, volume)
    note_copy_ended(writer, volume)
    forget_writes(writer, volume.number)
    writer.delete(Table.VOLUMES, volume_id.encode())
    volume_changed(commit.context, writer, volume, "deleteVolume", "deleted")
    commit.journal("delete-volume", {"volume": asdict(volume)})
