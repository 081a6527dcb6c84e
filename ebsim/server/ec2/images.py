"""RegisterImage, CreateImage, DescribeImages, DeregisterImage; changing the state of images."""

from ebsim.clock import format_time
from ebsim.images import Image, ImageDevice
from ebsim.instances import DeviceOfImage, ImageRequest, InstanceQuery
from ebsim.requests import VOLUME_TYPE_DEFAULT, BlockDevice, ImageOptions, ImageQuery
from ebsim.server.ec2 import documents
from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document, FaultError

DONE = {"Return": True}


@OPERATIONS.add("ec2", "RegisterImage")
def register_image(served: Served) -> Document:
    """Register an image of snapshots."""
    given = served.parameters
    options = ImageOptions(
        description=given.get("Description", ""),
        architecture=given.get("Architecture", "x86_64"),
        root_device_name=given.get("RootDeviceName"),
        tags=documents.tags_for(given, "image"),
    )
    devices = _devices(given.get("BlockDeviceMappings", []))
    made = served.store.images.register(given["Name"], devices, options)
    return {"ImageId": made.image_id}


@OPERATIONS.add("ec2", "CreateImage")
def create_image(served: Served) -> Document:
    """Make an image of an instance; it is pending until its snapshots are completed."""
    given = served.parameters
    if given.get("SnapshotLocation"):
        raise documents.invalid(
            given["SnapshotLocation"], "snapshotLocation", "none outside Local Zones and Outposts"
        )
    (instance,) = served.store.instances.describe(
        InstanceQuery(instance_ids=[given["InstanceId"]])
    ).instances
    own = {each.device for each in instance.attachments}
    mappings = given.get("BlockDeviceMappings", [])
    tags = documents.tags_of_kinds(given, ("image", "snapshot"))
    request = ImageRequest(
        instance_id=given["InstanceId"],
        name=given["Name"],
        description=given.get("Description", ""),
        devices=_of_instance([each for each in mappings if each.get("DeviceName") in own]),
        more_devices={
            name: BlockDevice(device) if isinstance(device, str) else device
            for name, device in _devices(
                [each for each in mappings if each.get("DeviceName") not in own]
            ).items()
        },
        tags=tags["image"],
        snapshot_tags=tags["snapshot"],
    )
    return {"ImageId": served.store.instances.create_image(request).image_id}


@OPERATIONS.add("ec2", "DescribeImages")
def describe_images(served: Served) -> Document:
    """Return a page of images."""
    given = served.parameters
    query = ImageQuery(
        image_ids=given.get("ImageIds", ()),
        owner_ids=given.get("Owners", ()),
        executable_by=given.get("ExecutableUsers", ()),
        filters=documents.filters(given),
        include_deprecated=given.get("IncludeDeprecated", True),
        include_disabled=given.get("IncludeDisabled", False),
        max_results=given.get("MaxResults"),
        next_token=given.get("NextToken"),
    )
    page = served.store.images.describe(query)
    return {"Images": [_image(each) for each in page.images], "NextToken": page.next_token}


@OPERATIONS.add("ec2", "DeregisterImage")
def deregister_image(served: Served) -> Document:
    """Deregister an image, and delete its snapshots if that is asked."""
    given = served.parameters
    also = given.get("DeleteAssociatedSnapshots", False)
    done = served.store.images.deregister(given["ImageId"], delete_associated_snapshots=also)
    results = [
        {"SnapshotId": name, "ReturnCode": return_code.value}
        for name, return_code in done.snapshots
    ]
    return {**DONE, "DeleteSnapshotResults": results}


@OPERATIONS.add("ec2", "EnableImage")
def enable_image(served: Served) -> Document:
    """Enable a disabled image again."""
    served.store.images.enable(served.parameters["ImageId"])
    return DONE


@OPERATIONS.add("ec2", "DisableImage")
def disable_image(served: Served) -> Document:
    """Disable an image."""
    served.store.images.disable(served.parameters["ImageId"])
    return DONE


@OPERATIONS.add("ec2", "EnableImageDeprecation")
def enable_image_deprecation(served: Served) -> Document:
    """Have an image deprecated from a time on."""
    given = served.parameters
    served.store.images.deprecate(given["ImageId"], documents.micros(given["DeprecateAt"]))
    return DONE


@OPERATIONS.add("ec2", "DisableImageDeprecation")
def disable_image_deprecation(served: Served) -> Document:
    """Have an image not be deprecated."""
    served.store.images.deprecate(served.parameters["ImageId"], None)
    return DONE


def _devices(mappings: list[Document]) -> dict[str, str | BlockDevice]:
    """Return the devices of block device mappings; those that say NoDevice are none.

    Raises:
        FaultError: InvalidBlockDeviceMapping: one has no snapshot, or no name of its own; or it
            says how it is encrypted, which its snapshot does.
    """
    found: dict[str, str | BlockDevice] = {}
    for mapping in mappings:
        if "NoDevice" in mapping:
            continue
        name, ebs = mapping.get("DeviceName", ""), mapping.get("Ebs", {})
        if name in found:
            raise _bad_mapping(f"The device name '{name}' is given twice.")
        if not ebs.get("SnapshotId"):
            raise _bad_mapping(f"The device '{name}' has no snapshot: ebsim registers no others.")
        if "Encrypted" in ebs or "KmsKeyId" in ebs:
            raise _bad_mapping(
                f"The encrypted flag cannot be specified since device {name} has a snapshot "
                "specified."
            )
        found[name] = BlockDevice(
            ebs["SnapshotId"],
            size_gib=ebs.get("VolumeSize"),
            volume_type=ebs.get("VolumeType", VOLUME_TYPE_DEFAULT),
            delete_on_termination=ebs.get("DeleteOnTermination", True),
            iops=ebs.get("Iops"),
            throughput=ebs.get("Throughput"),
        )
    return found


def _of_instance(mappings: list[Document]) -> dict[str, DeviceOfImage]:
    """Return what CreateImage says of devices that the instance has.

    Raises:
        FaultError: InvalidBlockDeviceMapping: anything but DeleteOnTermination or NoDevice.
    """
    found: dict[str, DeviceOfImage] = {}
    for mapping in mappings:
        name, ebs = mapping["DeviceName"], mapping.get("Ebs", {})
        if name in found:
            raise _bad_mapping(f"The device name '{name}' is given twice.")
        if set(ebs) - {"DeleteOnTermination"}:
            raise _bad_mapping(
                f"Of the device '{name}', which the instance has, only DeleteOnTermination can be "
                "changed."
            )
        said = ebs.get("DeleteOnTermination")
        found[name] = DeviceOfImage(keep="NoDevice" not in mapping, delete_on_termination=said)
    return found


def _bad_mapping(message: str) -> FaultError:
    return FaultError("InvalidBlockDeviceMapping", message)


def _image(image: Image) -> Document:
    """Return EC2's Image: of a machine that starts from a volume, which only its owner sees."""
    deprecation = image.deprecation_time_us
    return {
        "ImageId": image.image_id,
        "Name": image.name,
        "ImageLocation": f"{image.owner}/{image.name}",
        "State": image.state.value,
        "OwnerId": image.owner,
        "CreationDate": format_time(image.create_time_us),
        "DeprecationTime": None if deprecation is None else format_time(deprecation),
        "Description": image.description,
        "Architecture": image.architecture,
        "Public": False,
        "ImageType": "machine",
        "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances",
        "Hypervisor": "xen",
        "VirtualizationType": "hvm",
        "RootDeviceType": "ebs",
        "RootDeviceName": image.root_device_name,
        "BlockDeviceMappings": [_mapping(each) for each in image.devices],
        "SourceInstanceId": image.source_instance_id or None,
        "Tags": documents.tag_list(image.tags),
    }


def _mapping(device: ImageDevice) -> Document:
    return {
        "DeviceName": device.device_name,
        "Ebs": {
            "SnapshotId": device.snapshot_id,
            "VolumeSize": device.size_gib,
            "VolumeType": device.volume_type,
            "Iops": device.iops,
            "Throughput": device.throughput,
            "DeleteOnTermination": device.delete_on_termination,
            "Encrypted": device.encrypted,
        },
    }
