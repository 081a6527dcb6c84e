"""What is in the Recycle Bin, and its way back: snapshots, volumes, images."""

from collections.abc import Sequence

from ebsim.caller import zone_id
from ebsim.recycle_bin import BinnedImage, BinnedSnapshot, BinnedVolume, BinQuery
from ebsim.server.ec2 import documents
from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document
from ebsim.units import size_gib


@OPERATIONS.add("ec2", "ListSnapshotsInRecycleBin")
def list_snapshots_in_recycle_bin(served: Served) -> Document:
    """Return a page of the snapshots in the bin."""
    query = _page(served, served.parameters.get("SnapshotIds", ()))
    page = served.store.recycle_bin.snapshots(query)
    return {"Snapshots": [_snapshot(each) for each in page.snapshots], "NextToken": page.next_token}


@OPERATIONS.add("ec2", "ListVolumesInRecycleBin")
def list_volumes_in_recycle_bin(served: Served) -> Document:
    """Return a page of the volumes in the bin."""
    query = _page(served, served.parameters.get("VolumeIds", ()))
    page = served.store.recycle_bin.volumes(query)
    return {"Volumes": [_volume(each) for each in page.volumes], "NextToken": page.next_token}


@OPERATIONS.add("ec2", "ListImagesInRecycleBin")
def list_images_in_recycle_bin(served: Served) -> Document:
    """Return a page of the images in the bin."""
    query = _page(served, served.parameters.get("ImageIds", ()))
    page = served.store.recycle_bin.images(query)
    return {"Images": [_image(each) for each in page.images], "NextToken": page.next_token}


@OPERATIONS.add("ec2", "RestoreSnapshotFromRecycleBin")
def restore_snapshot_from_recycle_bin(served: Served) -> Document:
    """Bring a snapshot back."""
    back = documents.snapshot(
        served.store.recycle_bin.restore_snapshot(served.parameters["SnapshotId"])
    )
    told = ("SnapshotId", "Description", "Encrypted", "OwnerId", "Progress", "StartTime")
    return {name: back[name] for name in (*told, "State", "VolumeId", "VolumeSize")}


@OPERATIONS.add("ec2", "RestoreVolumeFromRecycleBin")
def restore_volume_from_recycle_bin(served: Served) -> Document:
    """Bring a volume back."""
    served.store.recycle_bin.restore_volume(served.parameters["VolumeId"])
    return {"Return": True}


@OPERATIONS.add("ec2", "RestoreImageFromRecycleBin")
def restore_image_from_recycle_bin(served: Served) -> Document:
    """Bring an image back."""
    served.store.recycle_bin.restore_image(served.parameters["ImageId"])
    return {"Return": True}


def _page(served: Served, resource_ids: Sequence[str]) -> BinQuery:
    given = served.parameters
    return BinQuery(
        resource_ids=resource_ids,
        max_results=given.get("MaxResults"),
        next_token=given.get("NextToken"),
    )


def _stay(resource: BinnedSnapshot | BinnedVolume | BinnedImage) -> Document:
    return {
        "RecycleBinEnterTime": documents.moment(resource.enter_time_us),
        "RecycleBinExitTime": documents.moment(resource.exit_time_us),
    }


def _snapshot(binned: BinnedSnapshot) -> Document:
    return {
        "SnapshotId": binned.snapshot_id,
        "VolumeId": binned.volume_id,
        "Description": binned.description,
        **_stay(binned),
    }


def _volume(binned: BinnedVolume) -> Document:
    return {
        "VolumeId": binned.volume_id,
        "VolumeType": binned.volume_type,
        "State": "available",  # the only one that can go to the bin; EC2's model has no other word
        "Size": size_gib(binned.size_bytes),
        "Iops": binned.iops or None,
        "Throughput": binned.throughput or None,
        "AvailabilityZone": binned.zone,
        "AvailabilityZoneId": zone_id(binned.zone),
        "SnapshotId": binned.snapshot_id,
        "CreateTime": documents.moment(binned.create_time_us),
        **_stay(binned),
    }


def _image(binned: BinnedImage) -> Document:
    return {
        "ImageId": binned.image_id,
        "Name": binned.name,
        "Description": binned.description,
        **_stay(binned),
    }
