"""Opening a volume's live data, and what has to be made good after a process that died."""

from dataclasses import replace

from ebsim import failpoints, refusals
from ebsim.caller import Caller
from ebsim.core.block_maps import LEAF_BLOCKS
from ebsim.core.context import StoreContext
from ebsim.core.domains import open_domain
from ebsim.core.pending_copies import pending_copies
from ebsim.core.point_in_time import note_lost, note_opened
from ebsim.core.rebuild_volumes import is_whole
from ebsim.core.snapshots import get_snapshot
from ebsim.core.successors import pending_of_volume
from ebsim.core.volume_records import get_managed, put_managed
from ebsim.core.written_blocks import Flags, LeafWrites, add_writes, all_flags, no_flags
from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.intent import LeftIntents
from ebsim.format.records import SnapshotRecord, VolumeRecord
from ebsim.ids import SnapshotId, VolumeId
from ebsim.results import VolumeState
from ebsim.storage.catalog import CatalogReader, CatalogWriter
from ebsim.storage.failures import read_failure
from ebsim.storage.files import forget_cached
from ebsim.storage.sealed_file import SectorCiphers
from ebsim.units import BLOCK_SIZE
from ebsim.volumes.frozen import Frozen
from ebsim.volumes.live_volume import LiveVolume
from ebsim.volumes.origin import Origin, add_local_blocks, local_blocks
from ebsim.volumes.volume_files import VolumeFiles, create_volume_files, open_volume_files

_UNKNOWN_LOCAL = "the file that tells which blocks its volume had loaded is damaged"

_USABLE = (
    VolumeState.AVAILABLE,
    VolumeState.IN_USE,
    VolumeState.DELETING,
    VolumeState.RECOVERABLE,  # by who copies its pending snapshots: nobody else finds it
    VolumeState.CREATING,  # by who loads it: nobody else is let in (`ensure_created`)
)


def open_live_volume(context: StoreContext, volume_id: VolumeId) -> LiveVolume:
    """Open a volume's live data; the caller holds the volume's lock.

    Where a process died that was writing to it, every block that it may have written to is counted
    as suspect in each epoch that is not in a completed snapshot: it will be compared by content.

    Its keys, and those of what it is still loaded from, are used by the right of its owner: whoever
    has a key of his granted no more reads no further byte under it (semantics section 11.5).

    Raises:
        NotFoundError: There is no such volume.
        ConflictError: It is in a state in which it cannot be used.
        CorruptionError: Its live data are gone, or were cut short.
        StoreError, LimitExceededError: Its files cannot be opened or made.
        EbsimError: It is encrypted, and its key cannot be had (`ebsim.core.domains.open_domain`).
    """
    context.ensure_writable()
    with context.catalog.read() as reader:
        volume = get_managed(reader, volume_id)
        pending = pending_of_volume(reader, volume_id)
        copies = pending_copies(reader, volume)
    if volume.state not in _USABLE:
        raise refusals.volume_state(volume_id, volume.state, _USABLE)
    owners = context.acting_as(Caller(volume.owner, volume.region))
    ciphers = _open_ciphers(owners, volume)
    open_files = open_volume_files if volume.has_data else create_volume_files
    files = open_files(context.files, context.volumes_folder, volume_id, context.boot_id, ciphers)
    try:
        if volume.has_data:
            _ensure_whole(volume, files)
        volume = _make_good(context, volume, files, pending)
        frozen = [_frozen(context, each.snapshot_id) for each in pending]
        frozen = sorted([*frozen, *map(frozen_for, copies)], key=lambda point: point.epoch)
        _load_kept(files, frozen)
        origin = Origin(owners, volume) if volume.origin_hold else None
        return LiveVolume(owners, volume, files, origin, frozen)
    except BaseException:
        files.close()
        raise


def _open_ciphers(context: StoreContext, volume: VolumeRecord) -> SectorCiphers | None:
    """Return what encrypts a volume's data; None: they are not encrypted."""
    data_key = open_domain(context, volume.domain).data_key
    return None if data_key is None else SectorCiphers(data_key.sector_cipher(volume.volume_id))


def _ensure_whole(volume: VolumeRecord, files: VolumeFiles) -> None:
    """Look that what was flushed is not cut off; a file may well end before its volume does.

    Raises:
        CorruptionError: It is: what is gone must not read as zeros.
        StoreError: It cannot be looked at.
    """
    try:
        size = files.data.size()
    except OSError as error:
        raise read_failure(error, files.data_path) from error
    if size < volume.data_bytes:
        raise CorruptionError(
            f"the live data of volume {volume.volume_id} were cut short: {files.data_path} has "
            f"{size:,} bytes, and {volume.data_bytes:,} were flushed; put the whole file back, or "
            "make another volume from its newest snapshot",
            ErrorCode.CORRUPT_VOLUME,
        )


def _make_good(
    context: StoreContext,
    volume: VolumeRecord,
    files: VolumeFiles,
    pending: list[SnapshotRecord],
) -> VolumeRecord:
    """Count what a process that died may have written to as suspect; note that there are data.

    In an epoch whose writes are tracked, nothing is suspect.
    """
    left = _left_behind(files)
    if left is None:
        size = volume.size_bytes // BLOCK_SIZE
        leaves = set(range(-(-size // LEAF_BLOCKS)))
    else:
        leaves = set(left.leaves)
    if leaves or pending or not volume.has_data:

        def change(writer: CatalogWriter) -> VolumeRecord:
            current = get_managed(writer, volume.volume_id)
            known = current.data_bytes if volume.has_data else 0  # a new file is empty
            current = replace(current, has_data=True, data_bytes=known)
            put_managed(writer, current)
            if current.origin_hold and left is not None:
                add_local_blocks(writer, current.number, left.local)
            untracked = [each.epoch for each in pending if not each.tracked]
            for leaf in leaves:
                suspect = LeafWrites(no_flags(), _maybe_written(writer, current, leaf))
                for epoch in (*untracked, current.epoch):
                    add_writes(writer, current.number, epoch, leaf, suspect)
            for each in pending:
                if current.origin_hold and left is None:
                    note_lost(writer, each.snapshot_id, _UNKNOWN_LOCAL)
                note_opened(context, writer, each.snapshot_id)
            return current

        volume = context.catalog.update(change)
    failpoints.reach("open.made-good")
    try:
        files.intents.clear()
    except OSError as error:
        raise read_failure(error, files.data_path) from error
    return volume


def _left_behind(files: VolumeFiles) -> LeftIntents | None:
    """Return what a process that died may have written to, once what it loaded is durable.

    It may have died of a failed sync: then the kernel remembers blocks that the disk lacks. What
    the file lacks once these are forgotten is not local, and is loaded again.
    """
    try:
        left = files.intents.left_behind()
        if left is None or left.leaves:
            forget_cached(files.data_path)
        if left is not None and left.local:
            files.data.sync()
            size = files.data.size()
            local = [block for block in left.local if is_whole(files.data, size, block)]
            left = replace(left, local=local)
    except OSError as error:
        raise read_failure(error, files.data_path) from error
    return left


def _frozen(context: StoreContext, snapshot_id: SnapshotId) -> Frozen:
    with context.catalog.read() as reader:
        record = get_snapshot(reader, snapshot_id)
    return Frozen(
        snapshot_id,
        record.epoch,
        record.base_epoch,
        tracked=True,
        failure=record.state_message,
    )


def frozen_for(copy: VolumeRecord) -> Frozen:
    """Return the point in time that a copy needs of its source, whose writes are tracked."""
    epoch = copy.source_epoch
    return Frozen(
        copy.volume_id, epoch, epoch, whole=True, tracked=True, failure=copy.source_failure
    )


def _maybe_written(reader: CatalogReader, volume: VolumeRecord, leaf: int) -> Flags:
    """Return the blocks of a leaf that a process can have written to without saying so.

    A block that is not known to be local will be loaded again, so it is as it was.
    """
    if not volume.origin_hold:
        return all_flags()
    return local_blocks(reader, volume.number, volume.origin_root, leaf)


def _load_kept(files: VolumeFiles, frozen: list[Frozen]) -> None:
    """Find the blocks kept for points in time; where they are damaged, these are lost."""
    try:
        if frozen:
            files.kept.load()
        else:
            files.kept.clear()
    except CorruptionError as error:
        for point in frozen:
            point.failure = point.failure or f"a block kept for it is damaged: {error}"
    except OSError as error:
        raise read_failure(error, files.data_path) from error
