"""DescribeVolumeStatus, EnableVolumeIO, and the attributes of volumes."""

from ebsim.caller import zone_id
from ebsim.server.ec2 import documents
from ebsim.server.operations import OPERATIONS, Served
from ebsim.server.protocol.wire import Document
from ebsim.volume_status import VolumeStatus

AUTO_ENABLE_IO = "autoEnableIO"
PRODUCT_CODES = "productCodes"


@OPERATIONS.add("ec2", "DescribeVolumeStatus")
def describe_volume_status(served: Served) -> Document:
    """Return a page of the status of volumes."""
    page = served.store.volumes.describe_status(documents.volume_query(served.parameters))
    return {
        "VolumeStatuses": [_status(each) for each in page.statuses],
        "NextToken": page.next_token,
    }


@OPERATIONS.add("ec2", "EnableVolumeIO")
def enable_volume_io(served: Served) -> Document:
    """Enable what ebsim never disables: a volume's reads and writes."""
    served.store.volumes.get(served.parameters["VolumeId"])
    return {}


@OPERATIONS.add("ec2", "DescribeVolumeAttribute")
def describe_volume_attribute(served: Served) -> Document:
    """Return one attribute of a volume; product codes it has none."""
    given = served.parameters
    found = served.store.volumes.get(given["VolumeId"])
    if given["Attribute"] == PRODUCT_CODES:
        return {"VolumeId": found.volume_id, "ProductCodes": []}
    if given["Attribute"] != AUTO_ENABLE_IO:
        raise documents.invalid(
            given["Attribute"], "attribute", f"{AUTO_ENABLE_IO} or {PRODUCT_CODES}"
        )
    return {"VolumeId": found.volume_id, "AutoEnableIO": {"Value": found.auto_enable_io}}


@OPERATIONS.add("ec2", "ModifyVolumeAttribute")
def modify_volume_attribute(served: Served) -> Document:
    """Say whether reads and writes go on where data may be inconsistent: kept, and told."""
    given = served.parameters
    wanted = given.get("AutoEnableIO", {})
    if "Value" not in wanted:
        raise documents.missing("AutoEnableIO.Value")
    served.store.volumes.set_auto_enable_io(given["VolumeId"], enabled=wanted["Value"])
    return {}


def _status(status: VolumeStatus) -> Document:
    """Return EC2's VolumeStatusItem."""
    initialization = status.initialization
    return {
        "VolumeId": status.volume_id,
        "AvailabilityZone": status.zone,
        "AvailabilityZoneId": zone_id(status.zone),
        "Actions": [],
        "Events": [],
        "AttachmentStatuses": (
            [{"InstanceId": status.instance_id, "IoPerformance": status.io_performance}]
            if status.instance_id
            else []
        ),
        "VolumeStatus": {
            "Status": status.status,
            "Details": [{"Name": name, "Status": text} for name, text in status.details],
        },
        "InitializationStatusDetails": None
        if initialization is None
        else {
            "InitializationType": initialization.kind,
            "Progress": initialization.progress_percent,
            "EstimatedTimeToCompleteInSeconds": initialization.remaining_s,
        },
    }
