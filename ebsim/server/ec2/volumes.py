"""CreateVolume, CopyVolumes, DescribeVolumes, ModifyVolume, DeleteVolume and what tells of them."""

from ebsim.requests import VolumeModificationRequest, VolumeRequest
from ebsim.results import ModificationState, VolumeState
from ebsim.server.background import Begun
from ebsim.server.ec2 import documents
from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document

_NOT_YET = frozenset({"FastRestored", "Attachments"})
"""What is not told of a volume that was just made (semantics section 3.2)."""


@OPERATIONS.add("ec2", "CreateVolume")
def create_volume(served: Served) -> Document:
    """Make a volume, empty or from a snapshot."""
    given = served.parameters
    names, ids = given.get("AvailabilityZone"), given.get("AvailabilityZoneId")
    (zone,) = documents.zones_of(served, [names] if names else [], [ids] if ids else [])
    request = VolumeRequest(
        size_gib=given.get("Size"),
        snapshot_id=given.get("SnapshotId") or None,
        volume_type=given.get("VolumeType", "gp2"),
        iops=given.get("Iops"),
        throughput=given.get("Throughput"),
        zone=zone,
        tags=documents.tags_for(given, "volume"),
        initialization_rate=given.get("VolumeInitializationRate"),
        encrypted=given.get("Encrypted"),
        kms_key_id=given.get("KmsKeyId"),
        client_token=given.get("ClientToken", ""),
    )
    made = documents.volume(served.store.volumes.create(request), served.caller)
    told = {name: value for name, value in made.items() if name not in _NOT_YET}
    return {**told, "State": VolumeState.CREATING.value}


@OPERATIONS.add("ec2", "CopyVolumes")
def copy_volumes(served: Served) -> Document:
    """Begin a copy of a volume as it is now; it is `creating` until all of it is copied."""
    given = served.parameters
    request = VolumeRequest(
        size_gib=given.get("Size"),
        volume_type=given.get("VolumeType", "gp2"),
        iops=given.get("Iops"),
        throughput=given.get("Throughput"),
        tags=documents.tags_for(given, "volume"),
        encrypted=given.get("Encrypted"),
        kms_key_id=given.get("KmsKeyId"),
        client_token=given.get("ClientToken", ""),
    )
    source, volumes = given["SourceVolumeId"], served.store.volumes
    progress = served.background.progress

    def work(begun: Begun) -> str:
        return volumes.copy(source, request, progress, begun).volume_id

    made = volumes.get(served.background.begin(f"copy of {source}", work))
    shown = documents.volume(made, served.caller)
    told = {name: value for name, value in shown.items() if name not in _NOT_YET}
    return {"Volumes": [{**told, "State": VolumeState.CREATING.value}]}


@OPERATIONS.add("ec2", "DescribeVolumes")
def describe_volumes(served: Served) -> Document:
    """Return a page of volumes."""
    page = served.store.volumes.describe(documents.volume_query(served.parameters))
    return documents.answer(
        Volumes=[documents.volume(each, served.caller) for each in page.volumes],
        NextToken=page.next_token,
    )


@OPERATIONS.add("ec2", "ModifyVolume")
def modify_volume(served: Served) -> Document:
    """Make a volume larger, or change its type or performance; told as it begins."""
    given = served.parameters
    request = VolumeModificationRequest(
        size_gib=given.get("Size"),
        volume_type=given.get("VolumeType"),
        iops=given.get("Iops"),
        throughput=given.get("Throughput"),
    )
    changed = documents.modification(served.store.volumes.modify(given["VolumeId"], request))
    begun = {"ModificationState": ModificationState.MODIFYING.value, "Progress": 0, "EndTime": None}
    return {"VolumeModification": {**changed, **begun}}


@OPERATIONS.add("ec2", "DescribeVolumesModifications")
def describe_volumes_modifications(served: Served) -> Document:
    """Return a page of the last modifications of volumes."""
    page = served.store.volumes.describe_modifications(documents.volume_query(served.parameters))
    return {
        "VolumesModifications": [documents.modification(each) for each in page.modifications],
        "NextToken": page.next_token,
    }


@OPERATIONS.add("ec2", "DeleteVolume")
def delete_volume(served: Served) -> Document:
    """Delete a volume."""
    served.store.volumes.delete(served.parameters["VolumeId"])
    return {}
