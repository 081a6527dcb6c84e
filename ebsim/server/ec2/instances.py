"""Pretended instances, and what is attached to them: no machine runs."""

from collections.abc import Sequence
from itertools import groupby

from ebsim.caller import zone_id
from ebsim.config import SnapshotOptions
from ebsim.instances import (
    INSTANCE_TYPE_DEFAULT,
    Attachment,
    Instance,
    InstanceDevice,
    InstanceQuery,
    InstanceRequest,
    InstanceSnapshots,
    InstanceState,
)
from ebsim.requests import VOLUME_TYPE_DEFAULT, VolumeRequest
from ebsim.server.ec2 import documents
from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document, FaultError

COUNT_MAX = 20
"""Instances of one request."""

_TAGGED = ("instance", "volume", "network-interface", "spot-instances-request")
"""What RunInstances gives tags to in EC2; the last two are not there, and have none."""


@OPERATIONS.add("ec2", "RunInstances")
def run_instances(served: Served) -> Document:
    """Make pretended instances, with the volumes of their image."""
    given = served.parameters
    count = given["MaxCount"]
    if not 1 <= given["MinCount"] <= count <= COUNT_MAX:
        raise documents.invalid(count, "maxCount", f"minCount to {COUNT_MAX}")
    place = given.get("Placement", {})
    named, ids = place.get("AvailabilityZone"), place.get("AvailabilityZoneId")
    zones: list[str | None] = [None]
    if named or ids:
        zones = [*documents.zones_of(served, [named] if named else [], [ids] if ids else [])]
    tags = documents.tags_of_kinds(given, _TAGGED)
    request = InstanceRequest(
        zone=zones[0],
        image_id=given.get("ImageId"),
        instance_type=given.get("InstanceType", INSTANCE_TYPE_DEFAULT),
        devices=_devices(given.get("BlockDeviceMappings", [])),
        client_token=given.get("ClientToken", ""),
        tags=tags["instance"],
        volume_tags=tags["volume"],
    )
    return _reservation(served.store.instances.run_several(request, count))


@OPERATIONS.add("ec2", "DescribeInstances")
def describe_instances(served: Served) -> Document:
    """Return a page of instances; those that one request has made are one reservation."""
    given = served.parameters
    query = InstanceQuery(
        instance_ids=given.get("InstanceIds", ()),
        filters=documents.filters(given),
        max_results=given.get("MaxResults"),
        next_token=given.get("NextToken"),
    )
    page = served.store.instances.describe(query)
    together = groupby(page.instances, key=lambda each: each.reservation_id)
    return {
        "Reservations": [_reservation([*each]) for _, each in together],
        "NextToken": page.next_token,
    }


@OPERATIONS.add("ec2", "TerminateInstances")
def terminate_instances(served: Served) -> Document:
    """Terminate instances; volumes go or stay as was said of each."""
    before = served.store.instances.terminate(served.parameters["InstanceIds"])
    return {
        "TerminatingInstances": [
            {
                "InstanceId": each.instance_id,
                "CurrentState": _state(InstanceState.TERMINATED),
                "PreviousState": _state(each.state),
            }
            for each in before
        ]
    }


@OPERATIONS.add("ec2", "AttachVolume")
def attach_volume(served: Served) -> Document:
    """Attach a volume to an instance."""
    given = served.parameters
    done = served.store.instances.attach(given["VolumeId"], given["InstanceId"], given["Device"])
    return documents.attachment(done, "attaching")


@OPERATIONS.add("ec2", "DetachVolume")
def detach_volume(served: Served) -> Document:
    """Detach a volume."""
    given = served.parameters
    was = served.store.instances.detach(
        given["VolumeId"], given.get("InstanceId"), given.get("Device")
    )
    return documents.attachment(was, "detaching")


@OPERATIONS.add("ec2", "CreateSnapshots")
def create_snapshots(served: Served) -> Document:
    """Begin snapshots of the volumes of an instance, all at one point in time."""
    given = served.parameters
    named = given["InstanceSpecification"]
    copied = given.get("CopyTagsFromSource")
    if copied not in {None, "volume"}:
        raise documents.invalid(copied, "copyTagsFromSource", "volume")
    request = InstanceSnapshots(
        instance_id=named["InstanceId"],
        exclude_boot_volume=named.get("ExcludeBootVolume", False),
        exclude_volume_ids=named.get("ExcludeDataVolumeIds", ()),
        copy_tags=copied is not None,
    )
    options = SnapshotOptions(
        description=given.get("Description", ""), tags=documents.tags_for(given, "snapshot")
    )
    made = served.store.instances.snapshot(request, options)
    told = ("Description", "Encrypted", "VolumeId", "State", "VolumeSize", "StartTime", "Progress")
    whole = (documents.begun_snapshot(each) for each in made)
    return {
        "Snapshots": [
            {name: each[name] for name in (*told, "OwnerId", "SnapshotId", "Tags")}
            for each in whole
        ]
    }


def _devices(mappings: list[Document]) -> dict[str, InstanceDevice | None]:
    """Return the volumes of block device mappings, by device; None for NoDevice."""
    found: dict[str, InstanceDevice | None] = {}
    for mapping in mappings:
        name, ebs = mapping.get("DeviceName", ""), mapping.get("Ebs", {})
        if name in found:
            raise FaultError(
                "InvalidBlockDeviceMapping", f"The device name '{name}' is given twice."
            )
        found[name] = None
        if "NoDevice" not in mapping:
            volume = VolumeRequest(
                size_gib=ebs.get("VolumeSize"),
                snapshot_id=ebs.get("SnapshotId"),
                volume_type=ebs.get("VolumeType", VOLUME_TYPE_DEFAULT),
                iops=ebs.get("Iops"),
                throughput=ebs.get("Throughput"),
                encrypted=ebs.get("Encrypted"),
                kms_key_id=ebs.get("KmsKeyId"),
            )
            found[name] = InstanceDevice(volume, ebs.get("DeleteOnTermination", True))
    return found


def _reservation(instances: Sequence[Instance]) -> Document:
    return {
        "ReservationId": instances[0].reservation_id,
        "OwnerId": instances[0].owner,
        "Groups": [],
        "Instances": [_instance(each) for each in instances],
    }


def _instance(instance: Instance) -> Document:
    return {
        "InstanceId": instance.instance_id,
        "ImageId": instance.image_id or None,
        "State": _state(instance.state),
        "InstanceType": instance.instance_type,
        "LaunchTime": documents.moment(instance.launch_time_us),
        "AmiLaunchIndex": instance.launch_index,
        "Placement": {
            "AvailabilityZone": instance.zone,
            "AvailabilityZoneId": zone_id(instance.zone),
            "Tenancy": "default",
        },
        "RootDeviceName": instance.root_device_name,
        "RootDeviceType": "ebs",
        "Hypervisor": "xen",
        "VirtualizationType": "hvm",
        "PlatformDetails": "Linux/UNIX",
        "EbsOptimized": False,
        "Monitoring": {"State": "disabled"},
        "StateTransitionReason": "",
        "ProductCodes": [],
        "SecurityGroups": [],
        "NetworkInterfaces": [],
        "BlockDeviceMappings": [_mapping(each) for each in instance.attachments],
        "Tags": documents.tag_list(instance.tags),
    }


def _mapping(attachment: Attachment) -> Document:
    return {
        "DeviceName": attachment.device,
        "Ebs": {
            "VolumeId": attachment.volume_id,
            "Status": "attached",
            "AttachTime": documents.moment(attachment.attach_time_us),
            "DeleteOnTermination": attachment.delete_on_termination,
        },
    }


def _state(state: InstanceState) -> Document:
    return {"Code": state.code, "Name": state.value}
