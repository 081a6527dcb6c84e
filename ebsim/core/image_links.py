"""Which snapshots are behind registered images, and may therefore not be deleted (S-40).

`Table.IMAGE_SNAPSHOTS` names the images on each snapshot, so that a deletion need not look at all
images.
"""

from collections.abc import Sequence

from ebsim import refusals
from ebsim.format.catalog_values import Table
from ebsim.ids import ImageId, SnapshotId
from ebsim.storage.catalog import CatalogReader


def link_key(snapshot_id: SnapshotId, image_id: ImageId) -> bytes:
    """Return the key that says that an image is on a snapshot."""
    return snapshot_id.encode() + image_id.encode()


def images_on(reader: CatalogReader, snapshot_id: SnapshotId) -> list[ImageId]:
    """Return the registered images that have a snapshot behind them, by id."""
    prefix = snapshot_id.encode()
    return [
        ImageId(key[len(prefix) :].decode())
        for key, _ in reader.items(Table.IMAGE_SNAPSHOTS, prefix=prefix)
    ]


def ensure_not_behind_image(reader: CatalogReader, snapshot_id: SnapshotId) -> None:
    """Refuse to delete a snapshot that a registered image needs, be it disabled or deprecated.

    Raises:
        ConflictError: There is one (EC2: InvalidSnapshot.InUse).
    """
    for image_id in images_on(reader, snapshot_id):
        raise refusals.snapshot_in_use(snapshot_id, image_id)


def still_needed(
    reader: CatalogReader, snapshot_ids: Sequence[SnapshotId]
) -> dict[SnapshotId, list[ImageId]]:
    """Return those of some snapshots that are behind an image, with the images."""
    found = {snapshot_id: images_on(reader, snapshot_id) for snapshot_id in snapshot_ids}
    return {snapshot_id: images for snapshot_id, images in found.items() if images}
