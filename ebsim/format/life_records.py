"""The catalog's records of images, policies and events, as JSON like those of snapshots."""

from dataclasses import asdict, dataclass, field
from typing import Any

from ebsim.caller import OWNER_DEFAULT, REGION_DEFAULT
from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.records import decode_json, encode_json
from ebsim.ids import ImageId, PolicyId, SnapshotId
from ebsim.images import Image, ImageDevice, ImageState
from ebsim.results import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """A registered image as the catalog keeps it.

    Attributes:
        image_id: `ami-` and 17 hex digits.
        name: Unique among the images of its owner.
        number: Its sequence number in the journal; orders images.
        state: An `ImageState` value.
        description: Free text.
        architecture: Such as `x86_64`.
        root_device_name: One of its devices.
        devices: Objects with the members of `ImageDevice`.
        created_us: When it was registered.
        deprecation_us: From when it is deprecated.
        tags: Key to value.
        owner: The account it belongs to.
        region: The Region it lies in.
        recycled: While it is in the Recycle Bin: for how long (`ebsim.format.bin_records.Stay`).
        source_instance: The instance that it was made of; empty: none.
    """

    image_id: ImageId
    name: str
    number: int
    state: str = ImageState.AVAILABLE
    description: str = ""
    architecture: str
    root_device_name: str
    devices: list[dict[str, Any]]
    created_us: int
    deprecation_us: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    owner: str = OWNER_DEFAULT
    region: str = REGION_DEFAULT
    recycled: dict[str, Any] | None = None
    source_instance: str = ""

    @property
    def snapshot_ids(self) -> list[SnapshotId]:
        """The snapshots behind it, each once, in the order of its devices."""
        return list(dict.fromkeys(device["snapshot_id"] for device in self.devices))

    def to_result(self, now_us: int) -> Image:
        """Return the image as a user sees it at a moment."""
        deprecation = self.deprecation_us
        return Image(
            image_id=self.image_id,
            name=self.name,
            state=ImageState(self.state),
            description=self.description,
            architecture=self.architecture,
            root_device_name=self.root_device_name,
            devices=tuple(ImageDevice(**device) for device in self.devices),
            create_time_us=self.created_us,
            deprecation_time_us=deprecation,
            deprecated=deprecation is not None and deprecation <= now_us,
            owner=self.owner,
            tags=dict(self.tags),
            source_instance_id=self.source_instance,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRecord:
    """A lifecycle policy as the catalog keeps it.

    Attributes:
        policy_id: `policy-` and 17 hex digits.
        number: Its sequence number in the journal; orders policies.
        created_us: When it was made.
        modified_us: When it was changed last; times before that are not due any more.
        document: The policy in the form of Data Lifecycle Manager: Description, State,
            PolicyDetails and, if one was given, ExecutionRoleArn.
        owner: The account it belongs to.
        region: The Region it applies to.
        tags: Its own tags, which mean nothing to it.
    """

    policy_id: PolicyId
    number: int
    created_us: int
    modified_us: int
    document: dict[str, Any]
    owner: str = OWNER_DEFAULT
    region: str = REGION_DEFAULT
    tags: dict[str, str] = field(default_factory=dict)


def encode_image(record: ImageRecord) -> bytes:
    """Return an image record as stored."""
    return encode_json(asdict(record))


def decode_image(data: bytes) -> ImageRecord:
    """Return the image record that `data` holds.

    Raises:
        CorruptionError: It is none.
    """
    try:
        return ImageRecord(**decode_json(data))
    except TypeError as error:
        raise CorruptionError(f"no image: {error}", ErrorCode.CORRUPT_CATALOG) from None


def encode_policy(record: PolicyRecord) -> bytes:
    """Return a policy record as stored."""
    return encode_json(asdict(record))


def decode_policy(data: bytes) -> PolicyRecord:
    """Return the policy record that `data` holds.

    Raises:
        CorruptionError: It is none.
    """
    try:
        return PolicyRecord(**decode_json(data))
    except TypeError as error:
        raise CorruptionError(f"no policy: {error}", ErrorCode.CORRUPT_CATALOG) from None


def encode_life_event(event: Event) -> bytes:
    """Return an event as stored."""
    return encode_json(asdict(event))


def decode_life_event(data: bytes) -> Event:
    """Return the event that `data` holds.

    Raises:
        CorruptionError: It is none.
    """
    try:
        fields = decode_json(data)
        return Event(**{**fields, "resources": tuple(fields["resources"])})
    except (KeyError, TypeError) as error:
        raise CorruptionError(f"no event: {error}", ErrorCode.CORRUPT_CATALOG) from None
