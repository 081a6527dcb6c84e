"""The operations on pretended instances, as `Store.instances` offers them."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from ebsim import image_refusals, refusals
from ebsim.config import SnapshotOptions
from ebsim.core import instances
from ebsim.core.context import StoreContext
from ebsim.core.image_operations import ImageOperations
from ebsim.core.tag_operations import TagOperations
from ebsim.core.tag_rules import check_tags, tag_values
from ebsim.ids import new_instance_id, parse_instance_id, parse_volume_id
from ebsim.images import Image, ImageState
from ebsim.instances import (
    ROOT_DEVICE_DEFAULT,
    Attachment,
    ImageRequest,
    Instance,
    InstanceDevice,
    InstancePage,
    InstanceQuery,
    InstanceRequest,
    InstanceSnapshots,
    InstanceState,
)
from ebsim.requests import VolumeRequest
from ebsim.results import Snapshot, Volume
from ebsim.volumes.imaging import make_image
from ebsim.volumes.operations import VolumeOperations

EXCLUDED_MAX = 40
"""Volumes that CreateSnapshots can be told to leave out (semantics section 3.6)."""

TakeSnapshots = Callable[[Sequence[str], SnapshotOptions], tuple[Snapshot, ...]]


class InstanceOperations:
    """Instances that are only pretended: what volumes are attached to, and taken snapshots of."""

    def __init__(
        self, context: StoreContext, volumes: VolumeOperations, take_snapshots: TakeSnapshots
    ) -> None:
        self._context = context
        self._volumes = volumes
        self._take_snapshots = take_snapshots

    def run(self, request: InstanceRequest | None = None) -> Instance:
        """Make an instance, with the volumes of its image and those that are asked for.

        Raises:
            InvalidInputError, NotFoundError, ConflictError, LimitExceededError: The zone, the
                image or a volume is refused. Volumes that were made already are deleted.
        """
        return self.run_several(request or InstanceRequest(), 1)[0]

    def run_several(self, request: InstanceRequest, count: int) -> tuple[Instance, ...]:
        """Make instances; or return those that the same request with its client token has made.

        Raises:
            InvalidInputError, NotFoundError, ConflictError, LimitExceededError: As `run`; or the
                token was used by another request. Instances that were made already stay.
        """
        digest = _digest(request, count)
        if request.client_token:
            known = instances.made_by(self._context, request.client_token, digest)
            if known:
                return tuple(self.get(each) for each in known)
        check_tags(request.tags)
        check_tags(request.volume_tags)
        made: list[Instance] = []
        for _ in range(count):
            made.append(self._run(request, digest, made))
        return tuple(made)

    def _run(self, request: InstanceRequest, digest: str, before: Sequence[Instance]) -> Instance:
        """Make an instance of the reservation of those that the request has made before it."""
        zone = self._zone(request)
        root, devices = self._devices(request)
        made: dict[str, str] = {}
        try:
            for name, device in devices.items():
                tags = {**device.volume.tags, **request.volume_tags}
                wanted = replace(device.volume, zone=zone, tags=tags)
                made[name] = self._volumes.create(wanted).volume_id
        except BaseException:
            for volume_id in made.values():
                self._volumes.delete(volume_id)
            raise
        instance_id = new_instance_id(self._context.entropy)
        own = f"r-{instance_id.removeprefix('i-')}"
        instance = Instance(
            instance_id=instance_id,
            owner=self._context.acting.account,
            state=InstanceState.RUNNING,
            zone=zone,
            image_id=request.image_id or "",
            instance_type=request.instance_type,
            root_device_name=root,
            launch_time_us=self._context.clock.now_us(),
            attachments=(),
            reservation_id=before[0].reservation_id if before else own,
            launch_index=len(before),
            tags=tag_values(request.tags),
        )
        instances.add_instance(self._context, instance, request.client_token, digest)
        for name, volume_id in made.items():
            self._attach(volume_id, instance.instance_id, name, devices[name].delete_on_termination)
        return self.get(instance.instance_id)

    def get(self, instance_id: str) -> Instance:
        """Return an instance.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: There is no such instance.
        """
        return self.describe(InstanceQuery(instance_ids=[instance_id])).instances[0]

    def describe(self, query: InstanceQuery | None = None) -> InstancePage:
        """Return a page of instances, in the order in which they were made.

        Raises:
            InvalidInputError: An id, filter, page size or token is none.
            NotFoundError: One that the query names is not there.
            LimitExceededError: The filters have too many values.
        """
        return instances.describe_instances(self._context, query or InstanceQuery())

    def terminate(self, instance_ids: Sequence[str]) -> tuple[Instance, ...]:
        """Terminate instances: their volumes are detached, and deleted where that was said.

        Returns:
            The instances as they were.

        Raises:
            InvalidInputError: An id is malformed, or none is given.
            NotFoundError: One is not there; nothing was changed.
            ConflictError: A volume that goes too is open; it is detached, the instance terminated.
        """
        if not instance_ids:
            raise refusals.missing_parameter("instanceIdSet")
        wanted = [parse_instance_id(text) for text in instance_ids]
        before = tuple(self.get(each) for each in wanted)
        instances.mark_terminated(self._context, wanted)
        attached = [each for instance in before for each in instance.attachments]
        for each in attached:
            instances.detach(self._context, each.volume_id, each.instance_id, each.device)
        for each in attached:
            if each.delete_on_termination:
                self._volumes.delete(each.volume_id)
        return before

    def attach(self, volume_id: str, instance_id: str, device: str) -> Attachment:
        """Attach a volume to an instance; it is `in-use` from then on.

        Raises:
            InvalidInputError: An id is malformed, or the device is taken.
            NotFoundError: There is no such volume or instance.
            ConflictError: The volume is attached, in a wrong state or in another zone.
        """
        return self._attach(volume_id, instance_id, device, delete_on_termination=False)

    def detach(
        self, volume_id: str, instance_id: str | None = None, device: str | None = None
    ) -> Attachment:
        """Detach a volume, and return how it was attached; it is `available` from then on.

        Args:
            volume_id: The volume.
            instance_id: The instance that it must be attached to; None: any.
            device: The device that it must be attached as; None: any.

        Raises:
            InvalidInputError: An id is malformed.
            NotFoundError: There is no such volume; or it is attached elsewhere.
            ConflictError: It is not attached.
        """
        wanted = None if instance_id is None else parse_instance_id(instance_id)
        return instances.detach(self._context, parse_volume_id(volume_id), wanted, device)

    def snapshot(
        self, request: InstanceSnapshots, options: SnapshotOptions | None = None
    ) -> tuple[Snapshot, ...]:
        """Begin snapshots of the volumes of an instance, all at one point in time.

        Raises:
            InvalidInputError: An id is malformed; the boot volume is among those that are left out;
                too many are; or nothing is left.
            NotFoundError, ConflictError, LimitExceededError: There is no such instance; or as
                `Store.create_snapshots`.
        """
        options = options or SnapshotOptions()
        chosen = self._chosen(request)
        made = self._take_snapshots(chosen, options)
        if request.copy_tags:
            tags = TagOperations(self._context)
            for snapshot in made:
                of_volume = self._volumes.get(snapshot.volume_id).tags
                more = {
                    key: value
                    for key, value in of_volume.items()
                    if key not in options.all_tags and not key.startswith("aws:")
                }
                if more:
                    tags.create([snapshot.snapshot_id], more)
        return made

    def create_image(self, request: ImageRequest) -> Image:
        """Make an image of an instance, of snapshots of its volumes at one point in time.

        The image is `pending` until they are completed, and `failed` if one is not. No machine
        runs, so that none has to be rebooted for what it would not have written yet.

        Raises:
            InvalidInputError: The id, the name, a device, a tag or the description is malformed; or
                the instance has no boot volume.
            NotFoundError, ConflictError, LimitExceededError: There is no such instance, or it is
                terminated; the name is taken; or as `Store.create_snapshots`.
        """
        return make_image(self._context, self.get(request.instance_id), request, self._begin)

    def _begin(
        self, volume_ids: Sequence[str], options: SnapshotOptions
    ) -> list[tuple[Snapshot, Volume]]:
        """Begin snapshots of volumes; return each with its volume."""
        volumes = [self._volumes.get(each) for each in volume_ids]
        return list(zip(self._take_snapshots(volume_ids, options), volumes, strict=True))

    def _chosen(self, request: InstanceSnapshots) -> list[str]:
        instance = self.get(request.instance_id)
        excluded = {parse_volume_id(text) for text in request.exclude_volume_ids}
        if len(excluded) > EXCLUDED_MAX:
            count, most = f"{len(excluded)} ids", f"Expected at most {EXCLUDED_MAX}"
            raise refusals.invalid_value(count, "excludeDataVolumeIds", most)
        left = []
        for each in instance.attachments:
            boots = each.device == instance.root_device_name
            if boots and each.volume_id in excluded:
                raise refusals.invalid_value(
                    each.volume_id, "excludeDataVolumeIds", "Expected no boot volume"
                )
            if each.volume_id not in excluded and not (boots and request.exclude_boot_volume):
                left.append(each.volume_id)
        if not left:
            raise refusals.invalid_value(
                instance.instance_id, "instanceId", "Expected an instance with a volume to be taken"
            )
        return [*left]

    def _attach(
        self, volume_id: str, instance_id: str, device: str, delete_on_termination: bool
    ) -> Attachment:
        wanted = Attachment(
            volume_id=parse_volume_id(volume_id),
            instance_id=parse_instance_id(instance_id),
            device=device,
            attach_time_us=self._context.clock.now_us(),
            delete_on_termination=delete_on_termination,
        )
        return instances.attach(self._context, wanted)

    def _zone(self, request: InstanceRequest) -> str:
        zones = self._context.acting.zones
        zone = zones[0] if request.zone is None else request.zone
        if zone not in zones:
            raise refusals.zone_not_found(zone)
        return zone

    def _devices(self, request: InstanceRequest) -> tuple[str, dict[str, InstanceDevice]]:
        """Return the name of the root device, and the volumes to be made, by device."""
        root, found = ROOT_DEVICE_DEFAULT, dict[str, InstanceDevice]()
        if request.image_id is not None:
            image = ImageOperations(self._context).get(request.image_id)
            if image.state is not ImageState.AVAILABLE:
                raise image_refusals.image_unavailable(image.image_id, image.state)
            root = image.root_device_name
            for device in image.devices:
                volume = VolumeRequest(
                    size_gib=device.size_gib,
                    snapshot_id=device.snapshot_id,
                    volume_type=device.volume_type,
                    iops=device.iops,
                    throughput=device.throughput,
                )
                found[device.device_name] = InstanceDevice(volume, device.delete_on_termination)
        for name, wanted in request.devices.items():
            if wanted is None:
                found.pop(name, None)
            else:
                found[name] = wanted
        return root, found


def _digest(request: InstanceRequest, count: int) -> str:
    """Return a hash of what a request asks for."""
    devices = {name: device and asdict(device) for name, device in request.devices.items()}
    facts: list[object] = [request.zone, request.image_id, request.instance_type, devices, count]
    tags = [dict(request.tags), dict(request.volume_tags)]
    if any(tags):
        facts.append(tags)
    asked = json.dumps(facts, sort_keys=True, default=dict)
    return hashlib.blake2b(asked.encode("ascii"), digest_size=16).hexdigest()
