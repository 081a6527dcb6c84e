"""From images, events and prunings to JSON documents and to text for people."""

from collections.abc import Sequence

from ebsim.cli import json_views, text_views
from ebsim.cli.layout import count, more, pairs, table
from ebsim.cli.output import Json, JsonValue, printable
from ebsim.cli.volume_views import tag_set
from ebsim.clock import format_time
from ebsim.images import Deregistration, Image, ImageDevice, ImagePage
from ebsim.recycle_bin import RULE_EVENT
from ebsim.results import Event, KeptSnapshot, PruneReport


def short_time(time_us: int) -> str:
    """Return a time as tables have it: to the second."""
    return format_time(time_us)[:19].replace("T", " ")


# Images


def image_document(record: Image) -> Json:
    """Return the document of one image; `DeprecationTime` is null where there is none."""
    deprecation = record.deprecation_time_us
    return {
        "ImageId": record.image_id,
        "Name": record.name,
        "State": record.state.value,
        "Description": record.description,
        "Architecture": record.architecture,
        "ImageType": "machine",
        "RootDeviceName": record.root_device_name,
        "RootDeviceType": "ebs",
        "VirtualizationType": "hvm",
        "BlockDeviceMappings": [_mapping(device) for device in record.devices],
        "CreationDate": format_time(record.create_time_us),
        "DeprecationTime": None if deprecation is None else format_time(deprecation),
        "OwnerId": record.owner,
        "Public": False,
        "Tags": tag_set(record.tags),
    }


def _mapping(device: ImageDevice) -> Json:
    return {
        "DeviceName": device.device_name,
        "Ebs": {
            "SnapshotId": device.snapshot_id,
            "VolumeSize": device.size_gib,
            "VolumeType": device.volume_type,
            "DeleteOnTermination": device.delete_on_termination,
            "Encrypted": False,
        },
    }


def images_document(page: ImagePage) -> Json:
    """Return the document of `image list`; `NextToken` is there where there is more."""
    document: dict[str, JsonValue] = {"Images": [image_document(each) for each in page.images]}
    if page.next_token is not None:
        document["NextToken"] = page.next_token
    return document


def image_text(record: Image) -> str:
    """Return the text of `image show`."""
    deprecation = record.deprecation_time_us
    since = "deprecated since" if record.deprecated else "will be deprecated at"
    rows = [
        ("Image", record.image_id),
        ("Name", printable(record.name)),
        ("State", record.state.value),
        ("Registered", format_time(record.create_time_us)),
        ("Deprecation", "" if deprecation is None else f"{since} {format_time(deprecation)}"),
        ("Description", printable(record.description)),
        ("Architecture", record.architecture),
        *(("Tag", f"{printable(key)}={printable(value)}") for key, value in record.tags.items()),
        *(("Device", _device(record, device)) for device in record.devices),
    ]
    return pairs(rows)


def _device(record: Image, device: ImageDevice) -> str:
    root = ", root" if device.device_name == record.root_device_name else ""
    return (
        f"{printable(device.device_name)}: {device.snapshot_id}, {device.size_gib} GiB"
        f" {device.volume_type}{root}"
    )


def images_text(page: ImagePage) -> str:
    """Return the table of `image list`."""
    if not page.images:
        return "No images."
    rows = [
        (
            record.image_id,
            "deprecated" if record.deprecated else record.state.value,
            short_time(record.create_time_us),
            " ".join(dict.fromkeys(device.snapshot_id for device in record.devices)),
            printable(record.name),
        )
        for record in page.images
    ]
    header = ("IMAGE", "STATE", "REGISTERED (UTC)", "SNAPSHOTS", "NAME")
    return table([header, *rows], right=set()) + more(page.next_token)


def deregistration_document(record: Deregistration) -> Json:
    """Return the document of `image deregister`."""
    return {
        "ImageId": record.image_id,
        "Return": True,
        "DeleteSnapshotResults": [
            {"SnapshotId": snapshot_id, "ReturnCode": code.value}
            for snapshot_id, code in record.snapshots
        ],
        **json_views.bin_exit(record.recycle_bin_exit_us),
    }


def deregistration_text(record: Deregistration) -> str:
    """Return the text of `image deregister`."""
    kept = record.recycle_bin_exit_us
    stays = "" if kept is None else f" It is in the Recycle Bin until {format_time(kept)}."
    lines = [f"Deregistered {record.image_id}.{stays}"]
    lines += [f"  {snapshot_id}: {code.value}" for snapshot_id, code in record.snapshots]
    return "\n".join(lines)


# Events


def event_document(record: Event) -> Json:
    """Return an event as EventBridge delivers it, with its number in the store."""
    return {
        "version": "0",
        "id": record.event_id,
        "detail-type": record.detail_type,
        "source": "aws.rbin" if record.detail_type.startswith(RULE_EVENT) else "aws.ec2",
        "account": record.account,
        "time": format_time(record.time_us)[:19] + "Z",
        "region": record.region,
        "resources": list(record.resources),
        "detail": dict(record.detail),
        "number": record.number,
    }


def events_document(records: Sequence[Event]) -> Json:
    """Return the document of `events`."""
    return {"Events": [event_document(record) for record in records]}


# Pruning


def pruning_document(report: PruneReport) -> Json:
    """Return the document of `prune`."""
    deleted = report.deletion.deleted
    return {
        "Kept": [_kept_document(each) for each in report.kept],
        "Deleted": [
            {
                "VolumeId": snapshot.volume_id,
                "StartTime": format_time(snapshot.start_time_us),
                **json_views.deleted_snapshot(record),
            }
            for snapshot, record in zip(report.pruned, deleted, strict=True)
        ],
        "FreedSizeInBytes": sum(record.freed_size_bytes for record in deleted),
        "MovedSizeInBytes": sum(record.moved_size_bytes for record in deleted),
        "ReclaimedBytes": sum(record.reclaimed_bytes for record in deleted),
        "Postponed": report.postponed,
        "DryRun": report.dry_run,
    }


def _kept_document(kept: KeptSnapshot) -> Json:
    return {
        "SnapshotId": kept.snapshot.snapshot_id,
        "VolumeId": kept.snapshot.volume_id,
        "State": kept.snapshot.state.value,
        "StartTime": format_time(kept.snapshot.start_time_us),
        "Reasons": list(kept.reasons),
    }


def pruning_text(report: PruneReport) -> str:
    """Return the text of `prune`: what stays and why, and what the deletion does."""
    parts = []
    if report.kept:
        rows = [
            (
                each.snapshot.snapshot_id,
                short_time(each.snapshot.start_time_us),
                each.snapshot.volume_id,
                ", ".join(each.reasons),
            )
            for each in report.kept
        ]
        parts.append(table([("KEPT", "STARTED (UTC)", "VOLUME", "WHY"), *rows], right=set()))
    if report.pruned:
        parts.append(text_views.deletion(report.deletion))
    verb = "would go" if report.dry_run else "went"
    parts.append(f"{count(len(report.kept), 'snapshot')} kept, {len(report.pruned):,} {verb}.")
    if report.postponed:
        parts.append(f"{report.postponed:,} more are left for the next time: run it again.")
    return "\n".join(parts)
