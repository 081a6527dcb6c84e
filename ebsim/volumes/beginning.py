"""Beginning snapshots of managed volumes: one transaction, whatever their size."""

from collections.abc import Sequence
from dataclasses import replace

from ebsim import refusals
from ebsim.config import SnapshotOptions
from ebsim.core.context import StoreContext
from ebsim.core.counters import take
from ebsim.core.domains import encryption_members
from ebsim.core.limits import check_snapshot_limits
from ebsim.core.lineage import Lineage
from ebsim.core.point_in_time import this_boot
from ebsim.core.quotas import quotas_here
from ebsim.core.snapshots import check_options, put_snapshot
from ebsim.core.successors import pending_of_volume, start_from
from ebsim.core.volume_parent import volume_parent
from ebsim.core.volume_records import get_managed, put_managed
from ebsim.encryption import EncryptionRequest
from ebsim.format.catalog_values import Counter
from ebsim.format.records import SnapshotRecord, VolumeRecord
from ebsim.ids import VolumeId, new_snapshot_id
from ebsim.results import SnapshotState, VolumeState
from ebsim.storage.catalog import CatalogWriter

_SNAPSHOTTABLE = (VolumeState.AVAILABLE, VolumeState.IN_USE)


def check_request(volume_ids: Sequence[VolumeId], options: SnapshotOptions) -> None:
    """Check what a user asks for, before anything is opened.

    Raises:
        InvalidInputError: The options do not fit, or no volume is named, or one twice.
    """
    check_options(options)
    if not volume_ids:
        raise refusals.missing_parameter("volumeId")
    if len(set(volume_ids)) != len(volume_ids):
        raise refusals.invalid_combination("A volume is named twice.")
    unfit = {
        "a parent": options.parent is not None,
        "a volume to continue": options.volume_id is not None or options.new_volume,
        "a mount point to freeze": options.freeze is not None,
        "whether it is encrypted": options.encryption != EncryptionRequest(),
    }
    for what, given in unfit.items():
        if given:
            raise refusals.invalid_combination(
                f"A snapshot of a managed volume is not told {what}: it knows."
            )


def begin_snapshots(
    context: StoreContext,
    writer: CatalogWriter,
    volume_ids: Sequence[VolumeId],
    options: SnapshotOptions,
    session: int,
) -> list[SnapshotRecord]:
    """Record a pending snapshot of each volume and begin a new epoch of its writes.

    Args:
        context: The store.
        writer: The transaction.
        volume_ids: The volumes, each once; several make a set.
        options: Description, tags.
        session: The session that will copy them.

    Raises:
        NotFoundError: There is no such volume.
        ConflictError: A volume is in a wrong state.
        LimitExceededError: EC2 would refuse it (semantics section 1.3).
    """
    context.ensure_writable()
    now_us = context.clock.now_us()
    volumes = [get_managed(writer, volume_id) for volume_id in volume_ids]
    for volume in volumes:
        if volume.state not in _SNAPSHOTTABLE:
            raise refusals.volume_state(volume.volume_id, volume.state, _SNAPSHOTTABLE)
    check_snapshot_limits(writer, volumes, quotas_here(context, writer), now_us)
    set_id = context.entropy.token_bytes(8).hex() if len(volumes) > 1 else ""
    lineage = Lineage(writer)
    records = []
    for volume in volumes:
        record = SnapshotRecord(
            snapshot_id=new_snapshot_id(context.entropy),
            volume_id=volume.volume_id,
            state=SnapshotState.PENDING,
            session=session,
            begun=take(writer, Counter.NODE),
            start_us=now_us,
            description=options.description,
            tags=options.all_tags,
            size_bytes=volume.size_bytes,
            owner=volume.owner,
            region=volume.region,
            source="",
            epoch=volume.epoch,
            set_id=set_id,
            boot=this_boot(context),
            compression=str(options.compression),
            **encryption_members(writer, volume.domain),
        )
        record = _with_parent(writer, lineage, volume, record)
        put_snapshot(writer, record)
        put_managed(writer, replace(volume, epoch=volume.epoch + 1))
        records.append(record)
    lineage.save(writer)
    return records


def _with_parent(
    writer: CatalogWriter, lineage: Lineage, volume: VolumeRecord, record: SnapshotRecord
) -> SnapshotRecord:
    """Return the record with its parent; while others are pending, that is not known yet."""
    earlier = pending_of_volume(writer, volume.volume_id)
    if earlier:
        return replace(record, base_epoch=earlier[0].base_epoch)
    parent = volume_parent(writer, volume)
    if not parent.lineage:
        record = replace(record, lineage=take(writer, Counter.LINEAGE))
    return start_from(writer, lineage, record, parent)
