"""What the operations on images return."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ebsim.ids import ImageId, SnapshotId


class ImageState(StrEnum):
    """EC2's image states that ebsim has.

    One that is made of an instance is pending until its snapshots are completed, and failed if one
    of them ends otherwise.
    """

    PENDING = "pending"
    AVAILABLE = "available"
    FAILED = "failed"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDevice:
    """One block device of an image: the volume that an instance of it would get.

    Attributes:
        device_name: Such as `/dev/xvda`.
        snapshot_id: What the volume is made from.
        size_gib: The volume's size; at least that of the snapshot.
        volume_type: The volume's type.
        delete_on_termination: Whether the volume goes with its instance.
        iops: Those that the volume gets; None: what its type has.
        throughput: Likewise.
        encrypted: Whether its snapshot is encrypted, and so the volume.
    """

    device_name: str
    snapshot_id: SnapshotId
    size_gib: int
    volume_type: str
    delete_on_termination: bool
    iops: int | None = None
    throughput: int | None = None
    encrypted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A registered image (AMI).

    Attributes:
        image_id: `ami-` and 17 hex digits.
        name: Unique among the registered images of its owner.
        state: pending, available, failed or disabled.
        description: Free text.
        architecture: Such as `x86_64`.
        root_device_name: The device that an instance starts from.
        devices: Its block devices, in the order in which they were given.
        create_time_us: When it was registered.
        deprecation_time_us: From when it is deprecated, None if never.
        deprecated: Whether that time has come.
        owner: The account that registered it.
        tags: Key to value.
        source_instance_id: The instance that it was made of; empty: none.
    """

    image_id: ImageId
    name: str
    state: ImageState
    description: str
    architecture: str
    root_device_name: str
    devices: tuple[ImageDevice, ...]
    create_time_us: int
    deprecation_time_us: int | None
    deprecated: bool
    owner: str
    tags: Mapping[str, str]
    source_instance_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePage:
    """A page of images.

    Attributes:
        images: In the order in which they were registered.
        next_token: What asks for the next page; None on the last.
    """

    images: tuple[Image, ...]
    next_token: str | None


class SnapshotReturnCode(StrEnum):
    """What became of a snapshot behind an image that was deregistered: EC2's return codes."""

    SUCCESS = "success"
    SKIPPED = "skipped"
    MISSING_PERMISSIONS = "missing-permissions"
    INTERNAL_ERROR = "internal-error"
    CLIENT_ERROR = "client-error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deregistration:
    """What deregistering an image did.

    Attributes:
        image_id: The image that is gone.
        snapshots: Where its snapshots were to be deleted, what became of each.
        recycle_bin_exit_us: It went to the Recycle Bin, and goes for good at this time. None: it is
            gone.
    """

    image_id: ImageId
    snapshots: tuple[tuple[SnapshotId, SnapshotReturnCode], ...]
    recycle_bin_exit_us: int | None = None
