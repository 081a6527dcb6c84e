"""Retention rules and what is in the Recycle Bin, as JSON documents and as text for people."""

from collections.abc import Sequence

from ebsim.cli import json_views
from ebsim.cli.layout import more, pairs, table
from ebsim.cli.output import Json, JsonValue, printable
from ebsim.clock import format_time
from ebsim.images import Image
from ebsim.recycle_bin import (
    BinnedImage,
    BinnedSnapshot,
    BinnedVolume,
    RetentionRule,
    RuleLockState,
    RulePage,
    TagPair,
)
from ebsim.results import Snapshot, Volume
from ebsim.units import size_gib

Binned = Sequence[BinnedSnapshot | BinnedVolume | BinnedImage]
"""What is in the bin, or what was named of it."""

Restored = Snapshot | Volume | Image


# Rules


def rule_document(rule: RetentionRule) -> Json:
    """Return the document of one rule; members are those of rbin's GetRule."""
    document: dict[str, JsonValue] = {
        **_summary(rule),
        "ResourceTags": _tag_list(rule.resource_tags),
        "ExcludeResourceTags": _tag_list(rule.exclude_tags),
        "Status": rule.status.value,
        "Tags": [{"Key": key, "Value": value} for key, value in sorted(rule.tags.items())],
    }
    if rule.unlock_delay_days is not None:
        delay: Json = {"UnlockDelayValue": rule.unlock_delay_days, "UnlockDelayUnit": "DAYS"}
        document["LockConfiguration"] = {"UnlockDelay": delay}
    if rule.lock_end_us is not None:
        document["LockEndTime"] = format_time(rule.lock_end_us)
    return document


def _summary(rule: RetentionRule) -> dict[str, JsonValue]:
    """Return what ListRules tells of a rule, and its resource type."""
    document: dict[str, JsonValue] = {
        "Identifier": rule.rule_id,
        "RuleArn": rule.arn,
        "ResourceType": rule.resource_type.value,
        "Description": rule.description,
        "RetentionPeriod": {
            "RetentionPeriodValue": rule.retention_days,
            "RetentionPeriodUnit": "DAYS",
        },
    }
    if rule.lock_state is not None:
        document["LockState"] = rule.lock_state.value
    return document


def _tag_list(tags: Sequence[TagPair]) -> list[JsonValue]:
    return [{"ResourceTagKey": key, "ResourceTagValue": value} for key, value in tags]


def rule_text(rule: RetentionRule) -> str:
    """Return a rule for people."""
    return pairs(
        [
            ("Rule", rule.rule_id),
            ("Keeps", f"{rule.resource_type.value} for {_days(rule.retention_days)}"),
            ("Which", _which(rule)),
            ("Status", rule.status.value),
            ("Lock", _lock(rule)),
            ("Description", printable(rule.description)),
            ("Tags", _tags(sorted(rule.tags.items()))),
        ]
    )


def _days(days: int) -> str:
    return "1 day" if days == 1 else f"{days:,} days"


def _which(rule: RetentionRule) -> str:
    if rule.resource_tags:
        return f"those tagged {_tags(rule.resource_tags)}"
    return "all" + (f" but those tagged {_tags(rule.exclude_tags)}" if rule.exclude_tags else "")


def _tags(tags: Sequence[TagPair]) -> str:
    return printable(", ".join(f"{key}={value}" for key, value in tags))


def _lock(rule: RetentionRule) -> str:
    match rule.lock_state:
        case None:
            return ""
        case RuleLockState.LOCKED:
            delay = _days(rule.unlock_delay_days or 0)
            return f"locked; it can be changed {delay} after it is unlocked"
        case RuleLockState.PENDING_UNLOCK:
            return f"pending_unlock until {format_time(rule.lock_end_us or 0)}"
        case _:
            return "unlocked"


def rules_document(page: RulePage) -> Json:
    """Return the document of `recycle-bin rule list`."""
    token = {} if page.next_token is None else {"NextToken": page.next_token}
    return {"Rules": [_summary(rule) for rule in page.rules], **token}


def rules_text(page: RulePage) -> str:
    """Return the table of `recycle-bin rule list`."""
    if not page.rules:
        return "No rules."
    rows = [
        (
            rule.rule_id,
            rule.resource_type.value,
            _days(rule.retention_days),
            _which(rule),
            "" if rule.lock_state is None else rule.lock_state.value,
        )
        for rule in page.rules
    ]
    header = ("RULE", "KEEPS", "FOR", "WHICH", "LOCK")
    return table([header, *rows], right=set()) + more(page.next_token)


def deleted_rule_document(rule_id: str) -> Json:
    """Return the document of `recycle-bin rule delete`."""
    return {"Identifier": rule_id}


# What is in the bin


def bin_document(binned: Binned) -> Json:
    """Return the document of `recycle-bin list`; members are those of EC2's lists of the bin."""
    return {
        "Snapshots": [
            {
                "SnapshotId": each.snapshot_id,
                "VolumeId": each.volume_id,
                "Description": each.description,
                "ChargedSizeInBytes": each.charged_size_bytes,
                **_times(each),
            }
            for each in binned
            if isinstance(each, BinnedSnapshot)
        ],
        "Images": [
            {
                "ImageId": each.image_id,
                "Name": each.name,
                "Description": each.description,
                "SnapshotIds": list(each.snapshot_ids),
                **_times(each),
            }
            for each in binned
            if isinstance(each, BinnedImage)
        ],
        "Volumes": [
            {
                "VolumeId": each.volume_id,
                "VolumeType": each.volume_type,
                "State": "recoverable",
                "Size": size_gib(each.size_bytes),
                "Iops": each.iops,
                "Throughput": each.throughput,
                "AvailabilityZone": each.zone,
                "SnapshotId": each.snapshot_id,
                "CreateTime": format_time(each.create_time_us),
                **_times(each),
            }
            for each in binned
            if isinstance(each, BinnedVolume)
        ],
    }


def _times(each: BinnedSnapshot | BinnedVolume | BinnedImage) -> dict[str, JsonValue]:
    return {
        "RecycleBinEnterTime": format_time(each.enter_time_us),
        "RecycleBinExitTime": format_time(each.exit_time_us),
    }


def bin_text(binned: Binned) -> str:
    """Return the table of `recycle-bin list`."""
    if not binned:
        return "The Recycle Bin is empty."
    rows = [
        (name, _short(each.enter_time_us), _short(each.exit_time_us), printable(about))
        for each in binned
        for name, about in [_named(each)]
    ]
    header = ("RESOURCE", "DELETED (UTC)", "GOES FOR GOOD (UTC)", "WHAT IT IS")
    return table([header, *rows], right=set())


def _named(each: BinnedSnapshot | BinnedVolume | BinnedImage) -> tuple[str, str]:
    match each:
        case BinnedSnapshot():
            return each.snapshot_id, each.description
        case BinnedVolume():
            return each.volume_id, f"{size_gib(each.size_bytes):,} GiB, {each.volume_type}"
        case BinnedImage():
            return each.image_id, each.name


def _short(time_us: int) -> str:
    return format_time(time_us)[:19].replace("T", " ")


def restored_document(restored: Restored) -> Json:
    """Return the document of `recycle-bin restore`."""
    match restored:
        case Snapshot():
            return json_views.snapshot(restored)
        case Volume():
            return {"VolumeId": restored.volume_id, "Return": True}
        case Image():
            return {"ImageId": restored.image_id, "Return": True}


def restored_text(restored: Restored) -> str:
    """Return the text of `recycle-bin restore`."""
    return f"{_name(restored)} is back, {restored.state.value}."


def _name(restored: Restored) -> str:
    match restored:
        case Snapshot():
            return restored.snapshot_id
        case Volume():
            return restored.volume_id
        case Image():
            return restored.image_id
