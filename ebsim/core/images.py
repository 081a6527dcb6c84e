"""Images: registering, changing and deregistering (S-41).

`Table.IMAGES` has the records, `Table.IMAGE_SNAPSHOTS` the links from snapshots to them
(`ebsim.core.image_links`). Both change in one transaction, with an entry of the journal.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from ebsim import bin_refusals, image_refusals, refusals
from ebsim.caller import Caller
from ebsim.core.access import own_snapshot, owns, usable_snapshot
from ebsim.core.bin_catalog import Retention
from ebsim.core.bin_stays import is_due, recycled, stay_of
from ebsim.core.changes import JournaledCommit, commit_journaled
from ebsim.core.context import StoreContext
from ebsim.core.events import image_changed
from ebsim.core.image_links import link_key
from ebsim.core.snapshots import DESCRIPTION_LENGTH_MAX, find_snapshot
from ebsim.core.tag_rules import check_tags, tag_values
from ebsim.core.volume_types import Choice, find_type, validate_new
from ebsim.core.whole_numbers import ensure_whole
from ebsim.errors import InvalidInputError
from ebsim.format.bin_records import exit_key
from ebsim.format.catalog_values import Table
from ebsim.format.life_records import ImageRecord, decode_image, encode_image
from ebsim.ids import ImageId, new_image_id, parse_snapshot_id
from ebsim.images import ImageState
from ebsim.recycle_bin import RuleResourceType
from ebsim.requests import BlockDevice, ImageOptions, VolumeRequest
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogReader, CatalogWriter
from ebsim.units import size_gib

DEVICES_MAX = 128
"""A root device and 127 others: as many volumes as an instance has."""

DEVICE_NAME_LENGTH_MAX = 255

ARCHITECTURES = ("i386", "x86_64", "arm64", "x86_64_mac", "arm64_mac")

DEPRECATION_YEARS_MAX = 10
"""EC2's limit for an image that is not public."""

_UNMADE = (ImageState.PENDING, ImageState.FAILED)

_MINUTE_US = 60_000_000
_YEAR_US = 365 * 86_400_000_000
_NAME = re.compile(r"[A-Za-z0-9()\[\] ./\-'@_]{3,128}\Z")
"""Letters, digits, parentheses, brackets, spaces, and . / - ' @ _, as RegisterImage has it."""


# Finding


def get_image(reader: CatalogReader, image_id: ImageId) -> ImageRecord:
    """Return an image's record.

    Raises:
        NotFoundError: It is not registered (EC2: InvalidAMIID.NotFound).
    """
    value = reader.get(Table.IMAGES, image_id.encode())
    if value is None:
        raise refusals.image_not_found(image_id)
    return decode_image(value)


def own_image(
    context: StoreContext, reader: CatalogReader, image_id: ImageId, *, recycled: bool = False
) -> ImageRecord:
    """Return an image of the caller's, with `recycled` also one that is in the Recycle Bin.

    Raises:
        NotFoundError: There is none, or the caller may not see it.
    """
    record = get_image(reader, image_id)
    if not owns(context.caller, record) or (record.recycled is not None and not recycled):
        raise refusals.image_not_found(image_id)
    return record


def list_images(
    reader: CatalogReader, caller: Caller | None = None, *, recycled: bool = False
) -> list[ImageRecord]:
    """Return the registered images of a caller, or all, in the order in which they came.

    With `recycled` also those that are in the Recycle Bin.
    """
    records = [decode_image(value) for _, value in reader.items(Table.IMAGES)]
    own = [
        record
        for record in records
        if owns(caller, record) and (recycled or record.recycled is None)
    ]
    return sorted(own, key=lambda record: record.number)


# Registering


@dataclass(frozen=True, slots=True, kw_only=True)
class OfInstance:
    """What is known of an image that is made of an instance.

    Attributes:
        image_id: Its id, which the descriptions of its snapshots name.
        instance_id: The instance.
        begun: The snapshots that were begun for it, which may be pending.
    """

    image_id: ImageId
    instance_id: str
    begun: frozenset[str]


def register_image(
    context: StoreContext,
    name: str,
    devices: Mapping[str, BlockDevice],
    options: ImageOptions,
    made: OfInstance | None = None,
) -> ImageRecord:
    """Register an image of completed snapshots, or of those that were begun for it.

    Raises:
        InvalidInputError: The name, a device, the description or a tag is not as EC2 has it.
        NotFoundError: A snapshot does not exist.
        ConflictError: A snapshot is not completed, or the name is taken.
    """
    check_image(name, devices, options)
    made = made or OfInstance(
        image_id=new_image_id(context.entropy), instance_id="", begun=frozenset()
    )
    image_id = made.image_id

    def change(commit: JournaledCommit) -> ImageRecord:
        record = _build(context, commit.writer, made, name, devices, options)
        number = commit.journal("image", {"image": _facts(record)})
        record = replace(record, number=number)
        put_image(commit.writer, record)
        for snapshot_id in record.snapshot_ids:
            commit.writer.put(Table.IMAGE_SNAPSHOTS, link_key(snapshot_id, image_id), b"")
        if record.state != ImageState.PENDING:
            image_changed(context, commit.writer, record, record.state)
        return record

    with context.catalog.read() as reader:  # refused before anything is written
        _build(context, reader, made, name, devices, options)
    return commit_journaled(context, change)


def check_image(name: str, devices: Mapping[str, BlockDevice], options: ImageOptions) -> None:
    """Check what a user says of a new image, as far as that needs no store.

    Raises:
        InvalidInputError: The name, a device, the description or a tag is not as EC2 has it.
    """
    if not _NAME.match(name):
        raise refusals.image_name_malformed(name)
    if not devices:
        raise refusals.missing_parameter("blockDeviceMapping")
    if len(devices) > DEVICES_MAX:
        raise refusals.block_device_mapping(f"An image has at most {DEVICES_MAX} block devices.")
    for device_name, device in devices.items():
        if not 1 <= len(device_name) <= DEVICE_NAME_LENGTH_MAX:
            raise refusals.block_device_mapping(f"The device name '{device_name}' is invalid.")
        ensure_whole(device.size_gib, "size")
        find_type(device.volume_type)
    if options.architecture not in ARCHITECTURES:
        raise refusals.invalid_value(
            options.architecture, "architecture", f"Expected one of {', '.join(ARCHITECTURES)}"
        )
    if len(options.description) > DESCRIPTION_LENGTH_MAX:
        raise InvalidInputError(
            f"The description has {len(options.description)} characters; "
            f"at most {DESCRIPTION_LENGTH_MAX} are allowed."
        )
    check_tags(options.tags)


def _build(
    context: StoreContext,
    reader: CatalogReader,
    made: OfInstance,
    name: str,
    devices: Mapping[str, BlockDevice],
    options: ImageOptions,
) -> ImageRecord:
    """Return the record of an image that may be registered now, without its number."""
    ensure_name_free(context, reader, name)
    root = options.root_device_name or next(iter(devices))
    if root not in devices:
        raise refusals.block_device_mapping(
            f"The root device '{root}' is not among the block devices."
        )
    record = ImageRecord(
        image_id=made.image_id,
        name=name,
        number=0,
        description=options.description,
        architecture=options.architecture,
        root_device_name=root,
        devices=[
            _device(context, reader, made, each, device, is_root=each == root)
            for each, device in devices.items()
        ],
        created_us=context.clock.now_us(),
        owner=context.acting.account,
        region=context.acting.region,
        tags=tag_values(options.tags),
        source_instance=made.instance_id,
    )
    return replace(record, state=state_of_snapshots(reader, record).value)


def state_of_snapshots(reader: CatalogReader, image: ImageRecord) -> ImageState:
    """Return what the snapshots of an image that is being made let it be."""
    found = [find_snapshot(reader, each) for each in image.snapshot_ids]
    states = {SnapshotState.ERROR if each is None else each.state for each in found}
    if states <= {SnapshotState.COMPLETED}:
        return ImageState.AVAILABLE
    failed = states - {SnapshotState.COMPLETED, SnapshotState.PENDING}
    return ImageState.FAILED if failed else ImageState.PENDING


def ensure_name_free(context: StoreContext, reader: CatalogReader, name: str) -> None:
    """Refuse a name that a registered image of the caller's has; one in the bin has none (assumed).

    Raises:
        ConflictError: There is one (EC2: InvalidAMIName.Duplicate).
    """
    for other in list_images(reader, context.acting):
        if other.name == name:
            raise refusals.image_name_taken(name, other.image_id)


def _device(
    context: StoreContext,
    reader: CatalogReader,
    made: OfInstance,
    device_name: str,
    device: BlockDevice,
    *,
    is_root: bool,
) -> dict[str, object]:
    """Return a device as an image's record has it; its volume must be one that can be made."""
    find = own_snapshot if device.snapshot_id in made.begun else usable_snapshot
    snapshot = find(context, reader, parse_snapshot_id(device.snapshot_id))
    smallest = size_gib(snapshot.size_bytes)
    size = smallest if device.size_gib is None else device.size_gib
    if size < smallest:
        raise refusals.block_device_mapping(
            f"Volume of size {size}GB is smaller than snapshot '{snapshot.snapshot_id}', "
            f"expect size >= {smallest}GB"
        )
    _check_volume(device_name, device, size, is_root=is_root)
    return {
        "device_name": device_name,
        "snapshot_id": snapshot.snapshot_id,
        "size_gib": size,
        "volume_type": device.volume_type,
        "delete_on_termination": device.delete_on_termination,
        "iops": device.iops,
        "throughput": device.throughput,
        "encrypted": bool(snapshot.domain),
    }


def _check_volume(device_name: str, device: BlockDevice, size: int, *, is_root: bool) -> None:
    """Check that a device's volume could be created (section 3.1; the wordings are assumed)."""
    volume_type = device.volume_type
    kind = find_type(volume_type)
    if is_root and not kind.can_boot:
        raise refusals.block_device_mapping(
            f"The root device '{device_name}' cannot be a volume of type {volume_type}."
        )
    if kind.iops_choice is Choice.REQUIRED and device.iops is None:
        raise refusals.block_device_mapping(
            f"The device '{device_name}' cannot be a volume of type {volume_type}: it needs iops."
        )
    if not kind.size_min <= size <= kind.size_max:
        raise refusals.block_device_mapping(
            f"The device '{device_name}' of {size}GiB cannot be a volume of type {volume_type}, "
            f"which has {kind.size_min} to {kind.size_max}GiB."
        )
    validate_new(
        VolumeRequest(
            size_gib=size,
            volume_type=volume_type,
            iops=device.iops,
            throughput=device.throughput,
        )
    )


# Changing


def set_state(context: StoreContext, image_id: ImageId, state: ImageState) -> ImageRecord:
    """Disable or enable an image; one that is in that state already stays as it is.

    Raises:
        NotFoundError: It is not registered.
        ConflictError: It is pending, or failed.
    """
    with context.catalog.read() as reader:
        known = own_image(context, reader, image_id)
    _ensure_made(known)
    if known.state == state:
        return known

    def change(commit: JournaledCommit) -> ImageRecord:
        record = replace(own_image(context, commit.writer, image_id), state=state.value)
        commit.journal("image", {"image": _facts(record)})
        put_image(commit.writer, record)
        image_changed(context, commit.writer, record, record.state)
        return record

    return commit_journaled(context, change)


def _ensure_made(image: ImageRecord) -> None:
    if image.state in _UNMADE:
        raise image_refusals.image_unavailable(image.image_id, image.state)


def set_deprecation(
    context: StoreContext, image_id: ImageId, deprecation_us: int | None
) -> ImageRecord:
    """Have an image deprecated from a time on, in whole minutes; None cancels that.

    Raises:
        NotFoundError: It is not registered.
        InvalidInputError: The time is past, or more than ten years away.
    """
    if deprecation_us is not None:
        now = context.clock.now_us()
        deprecation_us = -(-deprecation_us // _MINUTE_US) * _MINUTE_US
        if deprecation_us < now:
            raise image_refusals.deprecation_time("The deprecation time must not be in the past.")
        if deprecation_us > now + DEPRECATION_YEARS_MAX * _YEAR_US:
            raise image_refusals.deprecation_time(
                f"The deprecation time must be within {DEPRECATION_YEARS_MAX} years."
            )
    with context.catalog.read() as reader:
        own_image(context, reader, image_id)

    def change(commit: JournaledCommit) -> ImageRecord:
        known = own_image(context, commit.writer, image_id)
        record = replace(known, deprecation_us=deprecation_us)
        commit.journal("image", {"image": _facts(record)})
        put_image(commit.writer, record)
        return record

    return commit_journaled(context, change)


def deregister_image(context: StoreContext, image_id: ImageId) -> ImageRecord:
    """Forget an image; its snapshots stay, and may be deleted from now on. Return what it was.

    One that a rule of the Recycle Bin keeps goes there, and is returned as it is there: it holds
    its snapshots no more, and needs them to be restored (semantics section 11.8). One that is not
    made is not kept (assumed).

    Raises:
        NotFoundError: It is not registered.
    """
    with context.catalog.read() as reader:
        own_image(context, reader, image_id)

    def change(commit: JournaledCommit) -> ImageRecord:
        record = own_image(context, commit.writer, image_id)
        retention = Retention(commit.writer, context.clock.now_us())
        owner = Caller(record.owner, record.region)
        stay = retention.of(RuleResourceType.EC2_IMAGE, owner, record.tags)
        if stay is None or record.state in _UNMADE:
            commit.journal("deregister", {"image_id": image_id})
            commit.writer.delete(Table.IMAGES, image_id.encode())
        else:
            record = recycled(record, stay)
            commit.journal("image", {"image": _facts(record)})
            put_image(commit.writer, record)
        for snapshot_id in record.snapshot_ids:
            commit.writer.delete(Table.IMAGE_SNAPSHOTS, link_key(snapshot_id, image_id))
        image_changed(context, commit.writer, record, "deregistered")
        return record

    return commit_journaled(context, change)


def drop_image(context: StoreContext, image_id: ImageId) -> None:
    """Forget an image whose time in the Recycle Bin is over.

    Raises:
        NotFoundError: It was forgotten or restored just now.
    """

    def change(commit: JournaledCommit) -> None:
        record = get_image(commit.writer, image_id)
        stay = stay_of(record)
        if stay is None or not is_due(record, context.clock.now_us()):
            raise bin_refusals.not_recycled(image_id)
        commit.journal("deregister", {"image_id": image_id})
        commit.writer.delete(Table.IMAGES, image_id.encode())
        commit.writer.delete(Table.BIN_EXITS, exit_key(stay.exits_us, image_id))

    with context.reserve.released_if_low():
        commit_journaled(context, change)


def put_image(writer: CatalogWriter, record: ImageRecord) -> None:
    """Keep an image's record."""
    writer.put(Table.IMAGES, record.image_id.encode(), encode_image(record))
    if record.recycled is not None:
        writer.put(Table.BIN_EXITS, exit_key(record.recycled["exits_us"], record.image_id), b"")


def _facts(record: ImageRecord) -> dict[str, object]:
    """Return what the journal says about an image; its number is that of its first entry."""
    return asdict(record)
