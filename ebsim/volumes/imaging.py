"""Making an image of a pretended instance: EC2's CreateImage (S-74).

Snapshots of its volumes are begun as one set, at one point in time; the image is registered pending
on them, and they cannot be deleted from then on. A process that dies in between leaves snapshots,
as any user could have taken them, and no image.
"""

from collections.abc import Callable, Mapping, Sequence

from ebsim import image_refusals, instance_refusals, refusals
from ebsim.config import SnapshotOptions
from ebsim.core.changes import writing
from ebsim.core.context import StoreContext
from ebsim.core.delete import delete_snapshots
from ebsim.core.image_operations import ImageOperations
from ebsim.core.images import OfInstance
from ebsim.core.tag_rules import check_tags
from ebsim.core.volume_types import VOLUME_TYPES, Choice
from ebsim.errors import EbsimError
from ebsim.ids import new_image_id
from ebsim.images import Image
from ebsim.instances import Attachment, DeviceOfImage, ImageRequest, Instance, InstanceState
from ebsim.requests import BlockDevice, ImageOptions
from ebsim.results import Snapshot, Volume
from ebsim.units import size_gib

Begin = Callable[[Sequence[str], SnapshotOptions], list[tuple[Snapshot, Volume]]]

_NOT_YET = "snap-00000000000000000"
"""Stands for a snapshot that is still to be taken."""


def make_image(
    context: StoreContext, instance: Instance, request: ImageRequest, begin: Begin
) -> Image:
    """Make an image of an instance; see `InstanceOperations.create_image`.

    Args:
        context: The store.
        instance: The instance.
        request: What is asked for.
        begin: Begins snapshots of volumes, and returns each with its volume.
    """
    if instance.state is not InstanceState.RUNNING:
        raise instance_refusals.instance_terminated(instance.instance_id)
    kept = _kept(instance, request.devices)
    images, options = ImageOperations(context), _options(instance, request)
    names = {each.device: BlockDevice(_NOT_YET) for each in kept} | {**request.more_devices}
    images.ensure_possible(request.name, names, options)
    check_tags(request.snapshot_tags)
    image_id = new_image_id(context.entropy)
    described = f"Created by CreateImage({instance.instance_id}) for {image_id}"
    wanted = SnapshotOptions(description=described, tags=request.snapshot_tags)
    begun = begin([each.volume_id for each in kept], wanted)
    snapshot_ids = [str(snapshot.snapshot_id) for snapshot, _ in begun]
    devices = {
        each.device: _device(request, each, snapshot, volume)
        for each, (snapshot, volume) in zip(kept, begun, strict=True)
    }
    made = OfInstance(
        image_id=image_id, instance_id=instance.instance_id, begun=frozenset(snapshot_ids)
    )
    try:
        return images.register_made(
            request.name, {**devices, **request.more_devices}, options, made
        )
    except EbsimError:
        if not context.poison:
            with writing(context):
                delete_snapshots(context, [s.snapshot_id for s, _ in begun], dry_run=False)
        raise


def _kept(instance: Instance, said: Mapping[str, DeviceOfImage]) -> list[Attachment]:
    """Return the attachments whose volumes the image has, the boot volume first.

    Raises:
        InvalidInputError: The boot volume is not there, or is to be left out; or a device that is
            spoken of is none.
    """
    root = instance.root_device_name
    known = {each.device for each in instance.attachments}
    if root not in known:
        raise image_refusals.no_root_volume(instance.instance_id, root)
    for name, each in said.items():
        if name not in known:
            raise refusals.block_device_mapping(f"The instance has no device '{name}'.")
        if name == root and not each.keep:
            raise refusals.block_device_mapping(f"The root device '{name}' cannot be left out.")
    return [each for each in instance.attachments if said.get(each.device, DeviceOfImage()).keep]


def _options(instance: Instance, request: ImageRequest) -> ImageOptions:
    for name in request.more_devices:
        if name in {each.device for each in instance.attachments}:
            raise refusals.block_device_mapping(f"The device name '{name}' is given twice.")
    return ImageOptions(
        description=request.description,
        root_device_name=instance.root_device_name,
        tags=request.tags,
    )


def _device(
    request: ImageRequest, attachment: Attachment, snapshot: Snapshot, volume: Volume
) -> BlockDevice:
    """Return what an instance of the image gets for a volume: one like it."""
    kind = VOLUME_TYPES[volume.volume_type]
    said = request.devices.get(attachment.device, DeviceOfImage()).delete_on_termination
    return BlockDevice(
        snapshot.snapshot_id,
        size_gib=size_gib(volume.size_bytes),
        volume_type=volume.volume_type,
        delete_on_termination=attachment.delete_on_termination if said is None else said,
        iops=None if kind.iops_choice is Choice.FORBIDDEN else volume.iops,
        throughput=volume.throughput if kind.throughput_min else None,
    )
