"""What leaves the Recycle Bin for good when its time is over.

The catalog decides: from the moment that was fixed at the deletion on, nobody finds the resource
any more (`ebsim.core.bin_stays.own_recycled`). It is carried out when a store is opened for writing
and before whatever is done with it, so that nobody sees a charge that has ended
(`ebsim.core.bin_clock`). The ledger says that the charge ended at that moment, however late the
bytes go (semantics section 11.8).

Each step is one transaction, and finds out for itself what is due: whoever is interrupted is
followed by the next one who looks, and two who look at once do it once.
"""

from dataclasses import asdict, replace

from ebsim import bin_refusals
from ebsim.core.bin_stays import Recyclable, all_recycled, find_recycled, is_due, stay_of
from ebsim.core.changes import JournaledCommit, commit_journaled
from ebsim.core.context import StoreContext
from ebsim.core.delete import SNAPSHOTS_MAX, delete_snapshots
from ebsim.core.events import volume_changed
from ebsim.core.images import drop_image
from ebsim.core.tier_clock import carry_out_due
from ebsim.core.volume_records import put_managed
from ebsim.errors import NotFoundError
from ebsim.format.bin_records import exit_key
from ebsim.format.catalog_values import Table
from ebsim.format.life_records import ImageRecord
from ebsim.format.records import SnapshotRecord, VolumeRecord
from ebsim.ids import VolumeId
from ebsim.results import VolumeState


def expire_due(context: StoreContext) -> tuple[str, ...]:
    """Delete for good what is due in the bin, of all accounts; return its ids.

    Raises:
        StoreError, LimitExceededError: A write failed; it can be done again.
        CorruptionError: A map is damaged.
    """
    carry_out_due(context)  # what happened to archived snapshots before they go
    gone: list[str] = []
    while due := _due(context):
        snapshots = [each.snapshot_id for each in due if isinstance(each, SnapshotRecord)]
        volumes = [each.volume_id for each in due if isinstance(each, VolumeRecord)]
        images = [each.image_id for each in due if isinstance(each, ImageRecord)]
        try:
            for image_id in images:
                drop_image(context, image_id)
                gone.append(image_id)
            for volume_id in volumes:
                _end_volume(context, volume_id)
                gone.append(volume_id)
            if snapshots:
                delete_snapshots(context, snapshots, dry_run=False, expired=True)
                gone.extend(snapshots)
        except NotFoundError:
            continue  # another process was faster
    return tuple(gone)


def _end_volume(context: StoreContext, volume_id: VolumeId) -> None:
    """Have a volume go that nobody finds any more.

    Its files are removed by whoever opens the store next and goes on with what was left
    (`ebsim.volumes.deletion`).

    Raises:
        NotFoundError: It was restored, or another process was faster.
    """

    def change(commit: JournaledCommit) -> None:
        record = find_recycled(commit.writer, volume_id)
        if not isinstance(record, VolumeRecord) or not is_due(record, context.clock.now_us()):
            raise bin_refusals.not_recycled(volume_id)
        stay = stay_of(record)
        assert stay is not None, "it is due"
        ended = replace(record, state=VolumeState.DELETING)
        commit.writer.delete(Table.BIN_EXITS, exit_key(stay.exits_us, volume_id))
        put_managed(commit.writer, ended)
        volume_changed(context, commit.writer, ended, "recycleBinExpiry", "deleting")
        commit.journal("modify-volume", {"volume": asdict(ended)})

    with context.reserve.released_if_low():
        commit_journaled(context, change)


def _due(context: StoreContext) -> list[Recyclable]:
    """Return what is due, in the order of leaving, as much as is deleted at once."""
    now = context.clock.now_us()
    found: list[Recyclable] = []
    with context.catalog.read() as reader:
        for record in all_recycled(reader):
            if not is_due(record, now) or len(found) == SNAPSHOTS_MAX:
                break
            found.append(record)
    return found
