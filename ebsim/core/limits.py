"""How many snapshots may be pending, and how soon after one another (semantics section 1.3)."""

from collections.abc import Sequence

from ebsim import refusals
from ebsim.config import Quotas
from ebsim.core.access import same_owner
from ebsim.core.snapshots import get_snapshot, list_snapshots
from ebsim.core.volume_types import VOLUME_TYPES
from ebsim.format.catalog_values import Table
from ebsim.format.records import VolumeRecord
from ebsim.ids import SnapshotId, VolumeId
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogReader

US_PER_S = 1_000_000


def check_snapshot_limits(
    reader: CatalogReader, volumes: Sequence[VolumeRecord], quotas: Quotas, now_us: int
) -> None:
    """Check that a snapshot of each of these volumes may begin now.

    Args:
        reader: The transaction in which they begin.
        volumes: The volumes of one request: a single one, or the members of a set.
        quotas: What is allowed.
        now_us: The time.

    Raises:
        LimitExceededError: ConcurrentSnapshotLimitExceeded,
            SnapshotCreationPerVolumeRateExceeded, PendingSnapshotLimitExceeded or
            SnapshotLimitExceeded.
    """
    for volume in volumes:
        _check_volume(reader, volume, quotas, now_us)
    _check_account(reader, volumes, quotas)


def _check_account(reader: CatalogReader, volumes: Sequence[VolumeRecord], quotas: Quotas) -> None:
    """Check the quotas of the volumes' account and Region; exactly only if the store is near."""
    added, pending_max = len(volumes), quotas.pending_per_account
    pending_near = (
        pending_max is not None and reader.count(Table.PENDING_SNAPSHOTS) + added > pending_max
    )
    all_near = reader.count(Table.SNAPSHOTS) + added > quotas.snapshots_per_region
    if not pending_near and not all_near:
        return
    own = [each for each in list_snapshots(reader) if same_owner(volumes[0], each)]
    pending = [each for each in own if each.state == SnapshotState.PENDING or each.deletion_wanted]
    if pending_max is not None and len(pending) + added > pending_max:
        raise refusals.pending_snapshot_limit(pending_max)
    if len(own) + added > quotas.snapshots_per_region:
        raise refusals.snapshot_limit(quotas.snapshots_per_region)


def unfinished_snapshots(reader: CatalogReader, volume_id: VolumeId) -> list[SnapshotId]:
    """Return the pending and failed snapshots of a volume, oldest first: what fills its slots."""
    entries = reader.items(Table.VOLUME_UNFINISHED, prefix=volume_id.encode())
    return [SnapshotId(value.decode()) for _, value in entries]


def _check_volume(reader: CatalogReader, volume: VolumeRecord, quotas: Quotas, now_us: int) -> None:
    kind = VOLUME_TYPES[volume.volume_type]
    limit = quotas.pending_per_hdd_volume if kind.has_single_limit else quotas.pending_per_volume
    unfinished = unfinished_snapshots(reader, volume.volume_id)
    if len(unfinished) >= limit:
        records = [get_snapshot(reader, each) for each in unfinished]
        pending = [each.snapshot_id for each in records if each.state == SnapshotState.PENDING]
        failed = [each.snapshot_id for each in records if each.state != SnapshotState.PENDING]
        raise refusals.concurrent_snapshot_limit(pending, failed)
    if not quotas.snapshot_spacing_s:
        return
    for snapshot_id in unfinished:
        record = get_snapshot(reader, snapshot_id)
        age_us = now_us - record.start_us
        soon = 0 <= age_us < quotas.snapshot_spacing_s * US_PER_S
        if soon and record.state == SnapshotState.PENDING:
            raise refusals.snapshot_rate(volume.volume_id, quotas.snapshot_spacing_s)
