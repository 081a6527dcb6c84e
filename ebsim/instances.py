"""Pretended instances: what volumes are attached to. They have ids and zones, and run nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from ebsim.ids import InstanceId, VolumeId

if TYPE_CHECKING:
    from ebsim.requests import BlockDevice, Filter, VolumeRequest

ROOT_DEVICE_DEFAULT = "/dev/xvda"
INSTANCE_TYPE_DEFAULT = "m5.large"


class InstanceState(StrEnum):
    """EC2's states that ebsim has. A terminated one is told of for an hour."""

    RUNNING = "running"
    TERMINATED = "terminated"

    @property
    def code(self) -> int:
        """EC2's number of it."""
        return {InstanceState.RUNNING: 16, InstanceState.TERMINATED: 48}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A volume on an instance.

    Attributes:
        volume_id: The volume.
        instance_id: The instance.
        device: Such as `/dev/sdf`; another of the instance has another one.
        attach_time_us: Since when.
        delete_on_termination: Whether the volume goes with the instance.
    """

    volume_id: VolumeId
    instance_id: InstanceId
    device: str
    attach_time_us: int
    delete_on_termination: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A pretended instance, as a user sees it.

    Attributes:
        instance_id: `i-` and 17 hex digits.
        owner: The account that made it.
        state: running or terminated.
        zone: Its Availability Zone: that of the volumes that can be attached to it.
        image_id: The image that it was made from, empty if none.
        instance_type: Any name.
        root_device_name: The volume on this device is its boot volume.
        launch_time_us: When it was made.
        attachments: Its volumes: the boot volume first, then by device.
        reservation_id: `r-` and 17 hex digits; instances that one request has made share it.
        launch_index: Its place among those, from 0.
        tags: Key to value.
    """

    instance_id: InstanceId
    owner: str
    state: InstanceState
    zone: str
    image_id: str
    instance_type: str
    root_device_name: str
    launch_time_us: int
    attachments: tuple[Attachment, ...]
    reservation_id: str = ""
    launch_index: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InstanceDevice:
    """A volume that an instance is made with.

    Attributes:
        volume: What is to be made; its zone is the instance's.
        delete_on_termination: Whether it goes with the instance.
    """

    volume: "VolumeRequest"
    delete_on_termination: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRequest:
    """An instance to be made.

    Attributes:
        zone: Its Availability Zone; None: the first of the Region.
        image_id: A registered image: volumes are made as it says. None: without one.
        instance_type: Any name.
        devices: More volumes by device, or others than the image has; None: none on that device.
        client_token: At most 64 characters, which make the request idempotent: while its instances
            are told of, the same request with the same token returns them. Empty: each makes some.
        tags: Of each instance.
        volume_tags: Of each volume that is made with them.
    """

    zone: str | None = None
    image_id: str | None = None
    instance_type: str = INSTANCE_TYPE_DEFAULT
    devices: "Mapping[str, InstanceDevice | None]" = field(default_factory=dict)
    client_token: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    volume_tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSnapshots:
    """Which volumes of an instance to take snapshots of: EC2's InstanceSpecification.

    Attributes:
        instance_id: The instance.
        exclude_boot_volume: Leave the boot volume out.
        exclude_volume_ids: Leave these out, at most 40; not the boot volume.
        copy_tags: Give each snapshot the tags of its volume too.
    """

    instance_id: str
    exclude_boot_volume: bool = False
    exclude_volume_ids: Sequence[str] = ()
    copy_tags: bool = False


@dataclass(frozen=True, slots=True)
class DeviceOfImage:
    """What is said of a device of an instance that an image is made of.

    Attributes:
        keep: Whether the image has it; without it, no snapshot of its volume is taken.
        delete_on_termination: Whether the volume goes with an instance of the image; None: as now.
    """

    keep: bool = True
    delete_on_termination: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """An image to be made of an instance: EC2's CreateImage.

    Attributes:
        instance_id: The instance.
        name: The image's, as that of one that is registered.
        description: Free text, at most 255 characters.
        devices: What is said of devices of the instance, by name.
        more_devices: Devices that the instance does not have, by name.
        tags: Of the image.
        snapshot_tags: Of each of its snapshots.
    """

    instance_id: str
    name: str
    description: str = ""
    devices: Mapping[str, DeviceOfImage] = field(default_factory=dict)
    more_devices: "Mapping[str, BlockDevice]" = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    snapshot_tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceQuery:
    """Which instances to return, as EC2's DescribeInstances has it; all that is given must hold.

    Attributes:
        instance_ids: These; one that does not exist refuses the whole query.
        filters: availability-zone, availability-zone-id, block-device-mapping.MEMBER (attach-time,
            delete-on-termination, device-name, status or volume-id), hypervisor, image-id,
            instance-id, instance-state-code, instance-state-name, instance-type, launch-index,
            launch-time, owner-id, reservation-id, root-device-name, root-device-type, tag:KEY,
            tag-key, tenancy, virtualization-type.
        max_results: At most this many on a page, 5 to 1,000; more is cut to 1,000.
        next_token: What the page before answered with; the rest of the query must be the same.
    """

    instance_ids: Sequence[str] = ()
    filters: "Sequence[Filter]" = ()
    max_results: int | None = None
    next_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstancePage:
    """A page of instances, in the order in which they were made; a token, or None."""

    instances: tuple[Instance, ...]
    next_token: str | None
