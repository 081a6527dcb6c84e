"""Events: what EBS would tell EventBridge about a snapshot, a volume or an image (claim S-39).

An event is recorded in the transaction that makes it true, so it is told exactly if that committed.
The catalog keeps the newest `EVENTS_KEPT`, numbered without gaps; a subscriber in the process is
told after the commit (`ebsim.core.subscribers`), everybody else reads what is new by number.

Bodies have EBS's members. Where EBS's own bodies have the Region in the account's place of a
snapshot's ARN, so have these: programs that were written for the one must read the other.
"""

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from ebsim.caller import Caller
from ebsim.clock import format_time
from ebsim.core.context import StoreContext
from ebsim.core.counters import peek, take
from ebsim.core.subscribers import EventCallback
from ebsim.format.bin_records import RuleRecord
from ebsim.format.catalog_values import Counter, Table, number_key
from ebsim.format.fast_restore_records import FastRestoreRecord
from ebsim.format.life_records import ImageRecord, decode_life_event, encode_life_event
from ebsim.format.records import SnapshotRecord, VolumeRecord
from ebsim.ids import SnapshotId
from ebsim.recycle_bin import RULE_EVENT
from ebsim.results import Event, SnapshotState
from ebsim.storage.catalog import CatalogReader, CatalogWriter

EVENTS_KEPT = 10_000
"""Older events are forgotten: a month of 300 snapshots a day, in about 6 MiB of catalog."""

EVENTS_AT_ONCE = 1000
"""Read in one view of the catalog."""

_SNAPSHOT = "EBS Snapshot Notification"
_SNAPSHOT_SET = "EBS Multi-Volume Snapshots Completion Status"
_VOLUME = "EBS Volume Notification"
_IMAGE = "EC2 AMI State Change"
_FAST_RESTORE = "EBS Fast Snapshot Restore State-change Notification"


# Recording, within the transaction that changes the state


def snapshot_ended(context: StoreContext, writer: CatalogWriter, record: SnapshotRecord) -> None:
    """Record `createSnapshot`, or `copySnapshot`: a snapshot became completed or error.

    Members of a multi-volume set are told together (`snapshot_set_ended`), not one by one.
    """
    if record.set_id:
        return
    if record.copied_from:
        region, snapshot_id = record.copied_from.split("/")[-2:]
        source = replace(record, region=region, snapshot_id=SnapshotId(snapshot_id))
        snapshot_copied(context, writer, record, source)
        return
    detail = {
        "event": "createSnapshot",
        "result": _result([record]),
        "cause": record.state_message,
        "request-id": "",
        "snapshot_id": _snapshot_arn(record),
        "source": _source_arn(record),
        **_times([record]),
    }
    _record(context, writer, _SNAPSHOT, [_snapshot_arn(record)], detail, like=record)


def snapshot_set_ended(
    context: StoreContext, writer: CatalogWriter, records: Sequence[SnapshotRecord]
) -> None:
    """Record `createSnapshots`: the last member of a multi-volume set ended.

    Args:
        context: The store.
        writer: The transaction.
        records: The members that are still there, in their order; each completed or in error. With
            none, because all were deleted while they were pending, nothing is recorded.
    """
    if not records:
        return
    failed = [record for record in records if record.state != SnapshotState.COMPLETED]
    cause = "; ".join(f"{_snapshot_arn(record)}: {record.state_message}" for record in failed)
    members = [
        {
            "snapshot_id": _snapshot_arn(record),
            "source": _source_arn(record),
            "status": record.state,
        }
        for record in records
    ]
    detail = {
        "event": "createSnapshots",
        "result": _result(records),
        "cause": cause,
        "request-id": "",
        **_times(records),
        "snapshots": members,
    }
    resources = [_snapshot_arn(record) for record in records]
    _record(context, writer, _SNAPSHOT_SET, resources, detail, like=records[0])


def snapshot_copied(
    context: StoreContext, writer: CatalogWriter, record: SnapshotRecord, source: SnapshotRecord
) -> None:
    """Record `copySnapshot`: a copy became completed or error."""
    detail = {
        "event": "copySnapshot",
        "result": _result([record]),
        "cause": record.state_message,
        "request-id": "",
        "snapshot_id": _snapshot_arn(record),
        "source": _snapshot_arn(source),
        **_times([record]),
        "Incremental": str(record.parent_id is not None).lower(),
    }
    _record(context, writer, _SNAPSHOT, [_snapshot_arn(record)], detail, like=record)


def snapshot_shared(
    context: StoreContext, writer: CatalogWriter, record: SnapshotRecord, account: str
) -> None:
    """Record `shareSnapshot`, an event of the account that may use a snapshot from now on."""
    detail = {
        "event": "shareSnapshot",
        "result": "succeeded",
        "cause": "",
        "request-id": "",
        "snapshot_id": _snapshot_arn(record),
        "source": _source_arn(record),
        **_times([record]),
    }
    told = replace(record, owner=account)
    _record(context, writer, _SNAPSHOT, [_snapshot_arn(record)], detail, like=told)


def snapshot_tiered(
    context: StoreContext,
    writer: CatalogWriter,
    record: SnapshotRecord,
    event: str,
    times_us: tuple[int, int],
    cause: str = "",
) -> None:
    """Record an event of the archive tier.

    Args:
        context: The store.
        writer: The transaction.
        record: The snapshot.
        event: `archiveSnapshot`, `temporaryRestoreSnapshot`, `permanentRestoreSnapshot` or
            `restoreExpiry`.
        times_us: When it began and when it was over.
        cause: Why it failed, else empty.
    """
    detail = {
        "event": event,
        "result": "failed" if cause else "succeeded",
        "cause": cause,
        "request-id": "",
        "snapshot_id": _snapshot_arn(record),
        "startTime": _seconds(times_us[0]),
        "endTime": _seconds(times_us[1]),
    }
    _record(context, writer, _SNAPSHOT, [_snapshot_arn(record)], detail, like=record)


def volume_changed(
    context: StoreContext,
    writer: CatalogWriter,
    record: VolumeRecord,
    event: str,
    result: str,
    cause: str = "",
) -> None:
    """Record an event of a managed volume.

    Args:
        context: The store.
        writer: The transaction.
        record: The volume.
        event: `createVolume`, `deleteVolume` or `modifyVolume`.
        result: `available` or `failed`; `deleted`; `optimizing`, `completed` or `failed`.
        cause: Why it failed, else empty.
    """
    detail = {"event": event, "result": result, "cause": cause, "request-id": ""}
    arn = f"arn:aws:ec2:{record.region}:{record.owner}:volume/{record.volume_id}"
    _record(context, writer, _VOLUME, [arn], detail, like=record)


def image_changed(
    context: StoreContext, writer: CatalogWriter, record: ImageRecord, state: str
) -> None:
    """Record that an image became `available`, `disabled` or `deregistered`."""
    detail = {"RequestId": "", "ImageId": record.image_id, "State": state, "ErrorMessage": ""}
    arn = f"arn:aws:ec2:{record.region}::image/{record.image_id}"
    _record(context, writer, _IMAGE, [arn], detail, like=record)


def fast_restore_changed(
    context: StoreContext,
    writer: CatalogWriter,
    record: FastRestoreRecord,
    state: str,
    message: str,
) -> None:
    """Record that fast restore of a snapshot in a zone was begun or ended.

    What the clock does to it afterwards is not told, as nothing happens then.
    """
    detail = {
        "snapshot-id": record.snapshot_id,
        "state": state,
        "zone": record.zone,
        "message": message,
    }
    arn = f"arn:aws:ec2:{record.region}::snapshot/{record.snapshot_id}"
    _record(context, writer, _FAST_RESTORE, [arn], detail, like=record)


def snapshot_recycled(
    context: StoreContext, writer: CatalogWriter, record: SnapshotRecord, event: str
) -> None:
    """Record that a snapshot went to the Recycle Bin, came back, or went for good.

    EBS documents no such events; these have the form of its others, and assumed names:
    `recycleSnapshot`, `restoreSnapshotFromRecycleBin` and, like `restoreExpiry`,
    `recycleBinExpiry`.
    """
    detail = {
        "event": event,
        "result": "succeeded",
        "cause": "",
        "request-id": "",
        "snapshot_id": _snapshot_arn(record),
        "source": _source_arn(record),
        **_times([record]),
    }
    _record(context, writer, _SNAPSHOT, [_snapshot_arn(record)], detail, like=record)


def rule_changed(
    context: StoreContext, writer: CatalogWriter, record: RuleRecord, what: str, api: str
) -> None:
    """Record what the Recycle Bin tells about a rule: `Locked`, or `Unlock Scheduled`.

    Args:
        context: The store.
        writer: The transaction.
        record: The rule.
        what: The end of the detail type.
        api: The operation that caused it: CreateRule, LockRule or UnlockRule.
    """
    detail = {
        "detail-version": "1.0.0",
        "rule-id": record.rule_id,
        "rule-description": record.description,
        "unlock-delay-period": f"{record.unlock_delay_days} days",
        "api-name": api,
    }
    arn = f"arn:aws:rbin:{record.region}:{record.owner}:rule/{record.rule_id}"
    _record(context, writer, f"{RULE_EVENT} {what}", [arn], detail, like=record)


def _record(
    context: StoreContext,
    writer: CatalogWriter,
    detail_type: str,
    resources: Sequence[str],
    detail: dict[str, Any],
    *,
    like: SnapshotRecord | VolumeRecord | ImageRecord | FastRestoreRecord | RuleRecord,
) -> None:
    """Add an event of the owner and Region of `like`, and forget the one that is too old."""
    number = take(writer, Counter.EVENT)
    event = Event(
        number=number,
        event_id=_event_id(context, number),
        time_us=context.clock.now_us(),
        detail_type=detail_type,
        account=like.owner,
        region=like.region,
        resources=tuple(resources),
        detail=detail,
    )
    writer.put(Table.EVENTS, number_key(number), encode_life_event(event))
    if writer.count(Table.EVENTS) > EVENTS_KEPT:
        writer.delete(Table.EVENTS, next(iter(writer.keys(Table.EVENTS))))


def _event_id(context: StoreContext, number: int) -> str:
    """Return an id that is the same however often the transaction is run."""
    digest = hashlib.sha256(context.header.store_id + number_key(number)).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def _result(records: Sequence[SnapshotRecord]) -> str:
    whole = all(record.state == SnapshotState.COMPLETED for record in records)
    return "succeeded" if whole else "failed"


def _times(records: Sequence[SnapshotRecord]) -> dict[str, str]:
    starts = [record.start_us for record in records]
    ends = [record.completion_us or record.start_us for record in records]
    return {"startTime": _seconds(min(starts)), "endTime": _seconds(max(ends))}


def _seconds(time_us: int) -> str:
    """Return a time as events have it: without milliseconds."""
    return format_time(time_us)[:19] + "Z"


def _snapshot_arn(record: SnapshotRecord) -> str:
    return f"arn:aws:ec2::{record.region}:snapshot/{record.snapshot_id}"


def _source_arn(record: SnapshotRecord) -> str:
    return f"arn:aws:ec2::{record.region}:volume/{record.volume_id}"


# Reading and telling


def list_events(reader: CatalogReader, after: int, count_max: int | None = None) -> list[Event]:
    """Return the events that are kept and have a greater number, oldest first."""
    items = reader.items(Table.EVENTS, start=number_key(max(0, after) + 1))
    return [decode_life_event(value) for _, value in islice(items, count_max)]


def own_events(context: StoreContext, reader: CatalogReader, after: int) -> list[Event]:
    """Return those of the caller's account and Region that have a greater number, oldest first."""
    return [event for event in list_events(reader, after) if is_told(context.caller, event)]


def is_told(caller: Caller | None, event: Event) -> bool:
    """Return whether an event is for a caller: of its account, and of its Region."""
    return caller is None or (event.account, event.region) == (caller.account, caller.region)


def subscribe(context: StoreContext, callback: EventCallback) -> Callable[[], None]:
    """Have `callback` called with the caller's events from now on; return what ends that."""
    with context.catalog.read() as reader:
        newest = peek(reader, Counter.EVENT) - 1

    def tell(event: Event) -> None:
        if is_told(context.caller, event):
            callback(event)

    return context.subscribers.add(tell, newest)


def deliver_events(context: StoreContext) -> None:
    """Tell the subscribers in this process what was committed; what they raise is logged.

    To be called with no lock held and no transaction open: a subscriber may use the store.
    """

    def read(after: int) -> list[Event]:
        with context.catalog.read() as reader:
            return list_events(reader, after, EVENTS_AT_ONCE)

    context.subscribers.deliver(read)
