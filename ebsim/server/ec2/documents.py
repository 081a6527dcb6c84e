"""From the engine's records to EC2's structures, and from its parameters to requests."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar

from ebsim.caller import Caller, zone_id
from ebsim.instances import Attachment
from ebsim.requests import Filter, VolumeQuery
from ebsim.results import Snapshot, Volume, VolumeModification
from ebsim.server.operations import Served
from ebsim.server.protocol.wire import Document, FaultError
from ebsim.units import MIB, size_gib

Words = TypeVar("Words", bound=StrEnum)


@lru_cache(maxsize=4096)  # those who wait ask for the same again and again
def moment(time_us: int) -> datetime:
    """Return a time of the engine."""
    return datetime.fromtimestamp(time_us / 1_000_000, UTC)


def optional_moment(time_us: int | None) -> datetime | None:
    """Return a time of the engine, if there is one."""
    return None if time_us is None else moment(time_us)


def micros(time: datetime) -> int:
    """Return a time as the engine has it."""
    return (time - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def optional_micros(time: datetime | None) -> int | None:
    """Return a time as the engine has it, if there is one."""
    return None if time is None else micros(time)


def missing(parameter: str) -> FaultError:
    """Return the fault of a request that leaves out what it needs."""
    return FaultError("MissingParameter", f"The request must contain the parameter {parameter}")


def invalid(value: object, parameter: str, expected: str) -> FaultError:
    """Return the fault of a request with a value that is none of those there are."""
    return FaultError(
        "InvalidParameterValue",
        f"Value ({str(value)[:80]}) for parameter {parameter} is invalid. Expected: {expected}.",
    )


def choice(words: type[Words], text: str, parameter: str) -> Words:
    """Return one of several words.

    Raises:
        FaultError: InvalidParameterValue: it is none of them.
    """
    try:
        return words(text)
    except ValueError:
        raise invalid(text, parameter, ", ".join(words)) from None


def zones_of(served: Served, names: Sequence[str], ids: Sequence[str]) -> list[str]:
    """Return Availability Zones that are named, either by their names or by their ids.

    Raises:
        FaultError: MissingParameter or InvalidParameterCombination: neither, or both;
            InvalidParameterValue: an id is none of this Region's.
    """
    if names and ids:
        raise FaultError(
            "InvalidParameterCombination",
            "Availability Zones are given by name or by id, not by both.",
        )
    if not names and not ids:
        raise missing("availabilityZone")
    known = {zone_id(zone): zone for zone in served.caller.zones}
    for each in ids:
        if each not in known:
            raise invalid(each, "availabilityZoneId", ", ".join(known))
    return [*names, *(known[each] for each in ids)]


def tag_list(tags: Mapping[str, str]) -> list[Document]:
    """Return tags as EC2 has them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def snapshot(record: Snapshot) -> Document:
    """Return EC2's Snapshot."""
    completed = record.completion_time_us
    return {
        "SnapshotId": record.snapshot_id,
        "VolumeId": record.volume_id,
        "State": record.state,
        "StateMessage": record.state_message or None,
        "Progress": f"{record.progress_percent}%",
        "StartTime": moment(record.start_time_us),
        "CompletionTime": None if completed is None else moment(completed),
        "Description": record.description,
        "OwnerId": record.owner,
        "VolumeSize": size_gib(record.size_bytes),
        "FullSnapshotSizeInBytes": record.full_size_bytes,
        "Encrypted": record.encrypted,
        "KmsKeyId": record.kms_key_id or None,
        "DataEncryptionKeyId": record.data_encryption_key_id or None,
        "StorageTier": record.storage_tier,
        "TransferType": "standard" if record.copied_from else None,
        "RestoreExpiryTime": (
            None if record.restore_expiry_time_us is None else moment(record.restore_expiry_time_us)
        ),
        "Tags": tag_list(record.tags),
    }


def begun_snapshot(record: Snapshot) -> Document:
    """Return a snapshot as CreateSnapshot answers: without what is known only later."""
    left_out = {"CompletionTime", "DataEncryptionKeyId", "FullSnapshotSizeInBytes"}
    left_out |= {"RestoreExpiryTime", "StateMessage", "StorageTier", "TransferType"}
    whole = snapshot(record)
    left = {name: value for name, value in whole.items() if name not in left_out}
    return {**left, "Progress": ""}  # semantics section 1.4


def volume(record: Volume, caller: Caller) -> Document:
    """Return EC2's Volume, of its owner."""
    return {
        "VolumeId": record.volume_id,
        "Size": size_gib(record.size_bytes),
        "State": record.state.value,
        "VolumeType": record.volume_type,
        "Iops": record.iops or None,
        "Throughput": record.throughput or None,
        "AvailabilityZone": record.zone,
        "AvailabilityZoneId": zone_id(record.zone),
        "OwnerId": caller.account,
        "VolumeArn": f"arn:aws:ec2:{caller.region}:{caller.account}:volume/{record.volume_id}",
        "SnapshotId": record.snapshot_id,
        "CreateTime": moment(record.create_time_us),
        "Encrypted": record.encrypted,
        "KmsKeyId": record.kms_key_id or None,
        "MultiAttachEnabled": record.multi_attach,
        "SourceVolumeId": record.source_volume_id or None,
        "FastRestored": record.fast_restored,
        "Attachments": (
            [] if record.attachment is None else [attachment(record.attachment, "attached")]
        ),
        "VolumeInitializationRate": record.initialization_rate or None,
        "Tags": tag_list(record.tags),
    }


def attachment(record: Attachment, state: str) -> Document:
    """Return EC2's VolumeAttachment."""
    return {
        "VolumeId": record.volume_id,
        "InstanceId": record.instance_id,
        "Device": record.device,
        "State": state,
        "AttachTime": moment(record.attach_time_us),
        "DeleteOnTermination": record.delete_on_termination,
    }


def modification(record: VolumeModification) -> Document:
    """Return EC2's VolumeModification."""
    shapes = {"Original": record.original, "Target": record.target}
    members: Document = {
        "VolumeId": record.volume_id,
        "ModificationState": record.state.value,
        "Progress": record.progress_percent,
        "StartTime": moment(record.start_time_us),
        "EndTime": None if record.end_time_us is None else moment(record.end_time_us),
    }
    for prefix, shape in shapes.items():
        members |= {
            f"{prefix}Size": shape.size_gib,
            f"{prefix}Iops": shape.iops or None,
            f"{prefix}VolumeType": shape.volume_type,
            f"{prefix}Throughput": shape.throughput or None,
            f"{prefix}MultiAttachEnabled": False,
        }
    return members


def filters(parameters: Document) -> list[Filter]:
    """Return the filters of a query.

    Raises:
        FaultError: One has no name.
    """
    found = []
    for each in parameters.get("Filters", ()):
        name = each.get("Name", "")
        if not name:
            raise missing("Filter.Name")
        found.append(Filter(name, tuple(each.get("Values", ()))))
    return found


def volume_query(parameters: Document) -> VolumeQuery:
    """Return what a request asks about volumes.

    Raises:
        FaultError: A filter has no name.
    """
    return VolumeQuery(
        volume_ids=parameters.get("VolumeIds", ()),
        filters=filters(parameters),
        max_results=parameters.get("MaxResults"),
        next_token=parameters.get("NextToken"),
    )


def tags_for(parameters: Document, kind: str) -> dict[str, str]:
    """Return the tags that a request gives what it makes.

    Args:
        parameters: The request's.
        kind: EC2's word for what is made: `snapshot`, `volume`.

    Raises:
        FaultError: InvalidParameterValue: tags for something else; or a key is given twice.
    """
    return tags_of_kinds(parameters, (kind,))[kind]


def tags_of_kinds(parameters: Document, kinds: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return, for each kind of what a request makes, the tags that it gives those.

    Raises:
        FaultError: As `tags_for`.
    """
    all_found: dict[str, dict[str, str]] = {kind: {} for kind in kinds}
    for specification in parameters.get("TagSpecifications", ()):
        named = specification.get("ResourceType", "")
        found = all_found.get(named)
        if found is None:
            raise FaultError(
                "InvalidParameterValue",
                f"'{named}' is not a valid taggable resource type for this operation.",
            )
        all_found[named] = tags_once(specification.get("Tags", ()), found)
    return all_found


def tags_once(tags: Sequence[Document], more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return tags of a request, with more that it gives.

    Raises:
        FaultError: InvalidParameterValue: a key is given twice.
    """
    found = dict(more or {})
    for tag in tags:
        key = tag.get("Key", "")
        if key in found:
            raise FaultError("InvalidParameterValue", f"Duplicate tag key '{key}' specified.")
        found[key] = tag.get("Value", "")
    return found


def ignore(_parameters: Document, _names: Sequence[str]) -> None:
    """Say that parameters are known, and change nothing here (listed in docs/aws-api.md)."""


def whole_gib(size_bytes: int) -> int:
    """Return a size in whole GiB, rounded up."""
    return -(-size_bytes // (1024 * MIB))


def answer(**members: Any) -> Document:  # noqa: ANN401 - any member
    """Return a result without the members that are None."""
    return {name: value for name, value in members.items() if value is not None}
