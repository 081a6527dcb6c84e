"""From volumes, their modifications and tags to JSON documents and to text for people."""

from collections.abc import Mapping, Sequence

from ebsim.cli.layout import count, exact, more, pairs, table
from ebsim.cli.output import Json, JsonValue, printable
from ebsim.clock import format_time
from ebsim.results import Tag, Volume, VolumeModification, VolumePage, VolumeShape, VolumeState
from ebsim.units import GIB, format_size, size_gib


def tag_set(tags: Mapping[str, str]) -> list[Json]:
    """Return tags as EC2 has them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def volume_document(record: Volume) -> Json:
    """Return the document of one volume. `Iops` and `Throughput` are null where EC2 has none."""
    return {
        "VolumeId": record.volume_id,
        "Size": size_gib(record.size_bytes),
        "State": record.state.value,
        "VolumeType": record.volume_type,
        "Iops": record.iops or None,
        "Throughput": record.throughput or None,
        "AvailabilityZone": record.zone,
        "SnapshotId": record.snapshot_id,
        "CreateTime": format_time(record.create_time_us),
        "Tags": tag_set(record.tags),
        "Encrypted": record.encrypted,
        "KmsKeyId": record.kms_key_id or None,
        "MultiAttachEnabled": record.multi_attach,
        "Attachments": _attachments(record),
        "SourceVolumeId": record.source_volume_id or None,
        "FastRestored": record.fast_restored,
        "InitializationProgress": f"{record.initialization_percent}%",
        "VolumeInitializationRate": record.initialization_rate or None,
    }


def _attachments(record: Volume) -> list[Json]:
    attachment = record.attachment
    if attachment is None:
        return []
    return [
        {
            "VolumeId": attachment.volume_id,
            "InstanceId": attachment.instance_id,
            "Device": attachment.device,
            "State": "attached",
            "AttachTime": format_time(attachment.attach_time_us),
            "DeleteOnTermination": attachment.delete_on_termination,
        }
    ]


def page_document(page: VolumePage) -> Json:
    """Return the document of `volume list`; `NextToken` is there where there is more."""
    document: dict[str, JsonValue] = {"Volumes": [volume_document(each) for each in page.volumes]}
    if page.next_token is not None:
        document["NextToken"] = page.next_token
    return document


def modification_document(record: VolumeModification) -> Json:
    """Return the document of a modification."""
    ended = record.end_time_us
    return {
        "VolumeId": record.volume_id,
        "ModificationState": record.state.value,
        "Progress": record.progress_percent,
        "StartTime": format_time(record.start_time_us),
        "EndTime": None if ended is None else format_time(ended),
        **_shape("Original", record.original),
        **_shape("Target", record.target),
    }


def _shape(prefix: str, shape: VolumeShape) -> Json:
    return {
        f"{prefix}Size": shape.size_gib,
        f"{prefix}VolumeType": shape.volume_type,
        f"{prefix}Iops": shape.iops or None,
        f"{prefix}Throughput": shape.throughput or None,
    }


def modified_document(record: VolumeModification) -> Json:
    """Return the document of `volume modify`, as EC2 answers."""
    return {"VolumeModification": modification_document(record)}


def shown_document(shown: tuple[Volume, VolumeModification | None]) -> Json:
    """Return the document of `volume show`: the volume, and its last modification or null."""
    volume, modification = shown
    last = None if modification is None else modification_document(modification)
    return {**volume_document(volume), "VolumeModification": last}


def deleted_document(volume_id: str, state: VolumeState) -> Json:
    """Return the document of `volume delete`."""
    return {"VolumeId": volume_id, "State": state.value}


def deleted_text(volume_id: str, state: VolumeState) -> str:
    """Return the text of `volume delete`."""
    if state is VolumeState.DELETED:
        return f"Deleted {volume_id}."
    if state is VolumeState.RECOVERABLE:
        return f"Moved {volume_id} to the Recycle Bin; `ebsim recycle-bin list` says until when."
    return (
        f"Deleting {volume_id}: it goes when its pending snapshots are completed (`ebsim snapshot "
        "wait` waits for one)."
    )


def transfer_document(volume_id: str, offset: int, size_bytes: int) -> Json:
    """Return the document of `volume write` and `volume discard`."""
    return {"VolumeId": volume_id, "Offset": offset, "SizeInBytes": size_bytes}


def tags_document(tags: Sequence[Tag]) -> Json:
    """Return the document of `tag list`."""
    return {
        "Tags": [
            {
                "ResourceId": tag.resource_id,
                "ResourceType": tag.resource_type.value,
                "Key": tag.key,
                "Value": tag.value,
            }
            for tag in tags
        ]
    }


def volume_text(shown: tuple[Volume, VolumeModification | None]) -> str:
    """Return the text of `volume show`."""
    record, modification = shown
    origin = record.snapshot_id or record.source_volume_id
    rate = f" at up to {record.initialization_rate} MiB/s" if record.initialization_rate else ""
    fast = ", fast restored" if record.fast_restored else ""
    return pairs(
        [
            ("Volume", record.volume_id),
            ("State", record.state.value),
            ("Type", _performance(record)),
            ("Size", exact(record.size_bytes)),
            ("Zone", record.zone),
            ("Created", format_time(record.create_time_us)),
            ("Made from", f"{origin}{fast}" if origin else "nothing: it was empty"),
            ("Loaded", f"{record.initialization_percent}%{rate}" if origin else ""),
            *([("KMS key", record.kms_key_id)] if record.encrypted else []),
            ("Modified", "" if modification is None else _modification(modification)),
            *(("Tag", f"{printable(k)}={printable(v)}") for k, v in record.tags.items()),
        ]
    )


def _performance(record: Volume | VolumeShape) -> str:
    parts = [record.volume_type]
    if record.iops:
        parts.append(f"{record.iops:,} IOPS")
    if record.throughput:
        parts.append(f"{record.throughput:,} MiB/s")
    return ", ".join(parts)


def _modification(record: VolumeModification) -> str:
    before = f"{record.original.size_gib} GiB {_performance(record.original)}"
    after = f"{record.target.size_gib} GiB {_performance(record.target)}"
    return f"{record.state.value} {record.progress_percent}%: from {before} to {after}"


def modified_text(record: VolumeModification) -> str:
    """Return the text of `volume modify`."""
    return f"Volume {record.volume_id}: {_modification(record)}."


def page_text(page: VolumePage) -> str:
    """Return the text of `volume list`."""
    if not page.volumes:
        return "No volumes."
    header = ("VOLUME", "STATE", "TYPE", "SIZE", "ZONE", "MADE FROM", "LOADED", "NAME")
    rows = [
        (
            record.volume_id,
            record.state.value,
            record.volume_type,
            format_size(record.size_bytes),
            record.zone,
            record.snapshot_id or "-",
            f"{record.initialization_percent}%" if record.snapshot_id else "-",
            printable(record.tags.get("Name", "")),
        )
        for record in page.volumes
    ]
    return table([header, *rows], right={3, 6}) + more(page.next_token)


def created_text(record: Volume, loader: int | None = None) -> str:
    """Return the text of `volume create`, `volume import` and `volume copy`.

    Args:
        record: The volume.
        loader: The process that loads it, or None.
    """
    made_from = record.snapshot_id or record.source_volume_id
    origin = f" from {made_from}" if made_from else ""
    size = record.size_bytes // GIB
    encrypted = ", encrypted" if record.encrypted else ""
    made = (
        f"Created {record.volume_id}{origin}: {size} GiB{encrypted}, {_performance(record)},"
        f" {record.zone}."
    )
    if record.fast_restored:
        return f"{made}\nAll of it is loaded: it took a credit of fast snapshot restore."
    if loader is None:
        return made
    return (
        f"{made}\nProcess {loader} loads it. To go on if it was stopped:\n"
        f"  ebsim volume initialize {record.volume_id} --rate {record.initialization_rate}"
    )


def transfer_text(verb: str, volume_id: str, offset: int, size_bytes: int) -> str:
    """Return the text of `volume write` and `volume discard`."""
    return f"{verb} {exact(size_bytes)} at offset {offset:,} of {volume_id}."


def tags_text(tags: Sequence[Tag]) -> str:
    """Return the text of `tag list`."""
    if not tags:
        return "No tags."
    rows = [(tag.resource_id, printable(tag.key), printable(tag.value)) for tag in tags]
    return table([("RESOURCE", "KEY", "VALUE"), *rows], right=set())


def tagged_text(resource_ids: Sequence[str], verb: str) -> str:
    """Return the text of `tag create` and `tag delete`."""
    return f"{verb} {count(len(resource_ids), 'resource')}."
