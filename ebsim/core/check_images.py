"""Checking that images have their snapshots, and that each snapshot knows its images."""

from collections.abc import Iterator

from ebsim.core.image_links import link_key
from ebsim.core.images import list_images
from ebsim.format.catalog_values import Table
from ebsim.format.records import SnapshotRecord
from ebsim.images import ImageState
from ebsim.reports import Finding
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogReader


def check_images(reader: CatalogReader, snapshots: list[SnapshotRecord]) -> Iterator[Finding]:
    """Compare images with the snapshots behind them, and the links with both."""
    completed = {
        record.snapshot_id for record in snapshots if record.state == SnapshotState.COMPLETED
    }
    real: set[bytes] = set()
    for image in list_images(reader):
        for snapshot_id in image.snapshot_ids:
            real.add(link_key(snapshot_id, image.image_id))
            made = image.state not in {ImageState.PENDING, ImageState.FAILED}
            if made and snapshot_id not in completed:
                message = f"image {image.image_id} is on {snapshot_id}, which is not there"
                yield Finding(kind="wrong-reference", message=message)
    for key in sorted(real ^ set(reader.keys(Table.IMAGE_SNAPSHOTS))):
        message = f"image_snapshots and the images do not agree on {key.decode(errors='replace')}"
        yield Finding(kind="wrong-reference", message=message)
