"""Images that are made of an instance become available, or fail, with the last of their snapshots.

That is done in the transaction in which a snapshot ends, and is said by no entry of the journal of
its own: a rebuild finds it out from the snapshots that there are (`settled`).
"""

from collections.abc import Collection
from dataclasses import replace

from ebsim.core.context import StoreContext
from ebsim.core.events import image_changed
from ebsim.core.image_links import images_on
from ebsim.core.images import get_image, put_image, state_of_snapshots
from ebsim.format.life_records import ImageRecord
from ebsim.ids import SnapshotId
from ebsim.images import ImageState
from ebsim.storage.catalog import CatalogWriter


def settle_images(context: StoreContext, writer: CatalogWriter, snapshot_id: SnapshotId) -> None:
    """Have the pending images on a snapshot that ended be what its end lets them be.

    Args:
        context: The store.
        writer: The transaction in which it ended; its record is as it is from now on, or gone.
        snapshot_id: The snapshot.
    """
    for image_id in images_on(writer, snapshot_id):
        image = get_image(writer, image_id)
        state = state_of_snapshots(writer, image)
        if image.state == ImageState.PENDING and state is not ImageState.PENDING:
            settled_image = replace(image, state=state.value)
            put_image(writer, settled_image)
            image_changed(context, writer, settled_image, state.value)


def settled(image: ImageRecord, completed: Collection[str]) -> ImageRecord:
    """Return an image as it is once nobody makes its snapshots any more.

    Args:
        image: The image as the journal has it.
        completed: The snapshots that are completed; no others are left.
    """
    if image.state != ImageState.PENDING:
        return image
    whole = all(each in completed for each in image.snapshot_ids)
    return replace(image, state=(ImageState.AVAILABLE if whole else ImageState.FAILED).value)
