"""The records of managed volumes: making, finding, querying and modifying them.

What a volume holds is the business of `ebsim.volumes`; here is what it says about itself. A scanned
source has a volume record too; the operations on volumes do not see it.

A modification takes `Quotas.modification_s` seconds of the store's clock: in the first hundredth it
is `modifying`, then `optimizing`, then `completed`. With 0, as it is by default, it is completed at
once. Nothing runs in the background: the state is computed from the clock when it is asked for. The
record says from the call on what the volume will be.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from ebsim import refusals
from ebsim.caller import Caller, zone_id
from ebsim.clock import format_time
from ebsim.config import Quotas
from ebsim.core.access import owns, usable_snapshot
from ebsim.core.context import StoreContext
from ebsim.core.counters import take
from ebsim.core.filters import Filtering, flag, moment
from ebsim.core.paging import VOLUME_PAGE_MAX, Pager, page_size
from ebsim.core.quotas import quotas_here
from ebsim.core.tag_rules import check_tags, tag_values
from ebsim.core.volume_types import validate_modification, validate_new
from ebsim.format.bin_records import exit_key
from ebsim.format.catalog_values import Counter, Table
from ebsim.format.records import (
    SnapshotRecord,
    VolumeRecord,
    decode_volume,
    encode_volume,
)
from ebsim.ids import VolumeId, new_volume_id, parse_snapshot_id, parse_volume_id
from ebsim.instances import Attachment
from ebsim.requests import Filter, VolumeModificationRequest, VolumeQuery, VolumeRequest
from ebsim.results import (
    ModificationState,
    Volume,
    VolumeModification,
    VolumePage,
    VolumeShape,
    VolumeState,
)
from ebsim.storage.catalog import CatalogReader, CatalogWriter
from ebsim.units import GIB, size_gib

DAY_US = 24 * 3600 * 1_000_000
MODIFYING_SHARE = 0.01
"""How much of a modification's time it is `modifying`; the rest it is `optimizing`."""


def attachment_of(record: VolumeRecord) -> Attachment | None:
    """Return where a volume is attached, or None."""
    if record.attachment is None:
        return None
    return Attachment(volume_id=record.volume_id, **record.attachment)


def _attached(texts: Callable[[Attachment], list[str]]) -> Callable[[VolumeRecord], list[str]]:
    """Return what a filter compares of a volume's attachment: nothing without one."""

    def of_volume(record: VolumeRecord) -> list[str]:
        attachment = attachment_of(record)
        return [] if attachment is None else texts(attachment)

    return of_volume


FILTERS = Filtering[VolumeRecord](
    {
        "attachment.attach-time": _attached(lambda each: [*moment(each.attach_time_us)]),
        "attachment.delete-on-termination": _attached(
            lambda each: [*flag(value=each.delete_on_termination)]
        ),
        "attachment.device": _attached(lambda each: [each.device]),
        "attachment.instance-id": _attached(lambda each: [each.instance_id]),
        "attachment.status": _attached(lambda _each: ["attached"]),
        "availability-zone": lambda record: [record.zone],
        "availability-zone-id": lambda record: [zone_id(record.zone)],
        "create-time": lambda record: moment(record.created_us),
        "encrypted": lambda record: flag(value=bool(record.domain)),
        "fast-restored": lambda record: flag(value=record.fast_restored),
        "multi-attach-enabled": lambda _record: flag(value=False),
        "operator.managed": lambda _record: flag(value=False),  # no service manages any
        "operator.principal": lambda _record: [],
        "size": lambda record: [str(size_gib(record.size_bytes))],
        "snapshot-id": lambda record: [record.origin_id or ""],
        "status": lambda record: [record.state],
        "volume-id": lambda record: [record.volume_id],
        "volume-type": lambda record: [record.volume_type],
    },
    lambda record: record.tags,
)
"""What DescribeVolumes can filter by."""


def origin_of(
    context: StoreContext, reader: CatalogReader, request: VolumeRequest
) -> SnapshotRecord | None:
    """Return the snapshot that a new volume is made from, or None.

    Raises:
        InvalidInputError: The id is malformed.
        NotFoundError: There is no such snapshot, or the caller may not use it.
        ConflictError: It is not completed.
    """
    if not request.snapshot_id:
        return None
    return usable_snapshot(context, reader, parse_snapshot_id(request.snapshot_id))


def new_volume_record(
    context: StoreContext,
    writer: CatalogWriter,
    request: VolumeRequest,
    origin: SnapshotRecord | None,
) -> VolumeRecord:
    """Return the record of a new volume, which the caller keeps with `put_managed`.

    Args:
        context: The store.
        writer: The transaction: the volume's number is taken in it.
        request: What is asked for.
        origin: The snapshot it is made from.

    Raises:
        InvalidInputError, NotFoundError, LimitExceededError: EC2 would refuse it.
    """
    if origin is None:
        shape = validate_new(request)
    else:
        shape = validate_new(request, origin.snapshot_id, size_gib(origin.size_bytes))
    caller = context.acting
    zone = caller.zones[0] if request.zone is None else request.zone
    if zone not in caller.zones:
        raise refusals.zone_not_found(zone)
    check_tags(request.tags)
    record = VolumeRecord(
        volume_id=new_volume_id(context.entropy),
        number=take(writer, Counter.VOLUME),
        managed=True,
        source="",
        size_bytes=shape.size_gib * GIB,
        created_us=context.clock.now_us(),
        owner=caller.account,
        region=caller.region,
        zone=zone,
        state=VolumeState.AVAILABLE,
        volume_type=shape.volume_type,
        iops=shape.iops,
        throughput=shape.throughput,
        tags=tag_values(request.tags),
        origin_id=None if origin is None else origin.snapshot_id,
        initialization_rate=request.initialization_rate or 0,
    )
    _check_quotas(writer, quotas_here(context, writer), request, record)
    return record


def _check_quotas(
    reader: CatalogReader, quotas: Quotas, request: VolumeRequest, volume: VolumeRecord
) -> None:
    check_storage(reader, quotas, volume, volume.volume_type, size_gib(volume.size_bytes))
    if request.initialization_rate is not None:
        rates = [
            each.initialization_rate for each in _volumes_beside(reader, volume) if each.origin_hold
        ]
        if sum(rates) + request.initialization_rate > quotas.initialization_mib_s:
            raise refusals.initialization_rate_limit(quotas.initialization_mib_s)


def check_storage(
    reader: CatalogReader, quotas: Quotas, volume: VolumeRecord, volume_type: str, added_gib: int
) -> None:
    """Check the quota of a volume type before a volume's account takes `added_gib` more of it.

    Raises:
        LimitExceededError: VolumeLimitExceeded.
    """
    limit = quotas.storage_gib_per_type
    if limit is None:
        return
    taken = sum(
        size_gib(each.size_bytes)
        for each in _volumes_beside(reader, volume)
        if each.volume_type == volume_type
    )
    if taken + added_gib > limit:
        raise refusals.volume_limit(volume_type, limit)


def _volumes_beside(reader: CatalogReader, volume: VolumeRecord) -> list[VolumeRecord]:
    """Return the managed volumes of a volume's account and Region: quotas are theirs."""
    return managed_volumes(reader, Caller(volume.owner, volume.region))


def get_managed(reader: CatalogReader, volume_id: VolumeId) -> VolumeRecord:
    """Return a managed volume's record.

    Raises:
        NotFoundError: There is none: no such volume, or it is a scanned source's.
    """
    record = find_managed(reader, volume_id)
    if record is None:
        raise refusals.volume_not_found(volume_id)
    return record


def find_managed(reader: CatalogReader, volume_id: VolumeId) -> VolumeRecord | None:
    """Return a managed volume's record, or None: there is none."""
    value = reader.get(Table.VOLUMES, volume_id.encode())
    record = None if value is None else decode_volume(value)
    return None if record is None or not record.managed else record


def note_data_bytes(writer: CatalogWriter, volume_id: VolumeId, size: int) -> None:
    """Remember that a volume's file of live data is, durably, so long at least."""
    record = get_managed(writer, volume_id)
    if record.data_bytes < size:
        put_managed(writer, replace(record, data_bytes=size))


def put_managed(writer: CatalogWriter, record: VolumeRecord) -> None:
    """Keep a managed volume's record."""
    assert record.managed, "a scanned source is also kept by its name"
    writer.put(Table.VOLUMES, record.volume_id.encode(), encode_volume(record))
    if record.recycled is not None and record.state == VolumeState.RECOVERABLE:
        writer.put(Table.BIN_EXITS, exit_key(record.recycled["exits_us"], record.volume_id), b"")


def own_volume(
    context: StoreContext, reader: CatalogReader, volume_id: VolumeId, *, recycled: bool = False
) -> VolumeRecord:
    """Return a managed volume of the caller's, with `recycled` also one in the Recycle Bin.

    Raises:
        NotFoundError: There is none, or the caller may not see it.
    """
    record = get_managed(reader, volume_id)
    if not owns(context.caller, record) or (record.recycled is not None and not recycled):
        raise refusals.volume_not_found(volume_id)
    return record


def ensure_own_volumes(context: StoreContext, volume_ids: Sequence[VolumeId]) -> None:
    """Refuse volumes that are not the caller's.

    Raises:
        NotFoundError: As `own_volume`.
    """
    with context.catalog.read() as reader:
        for volume_id in volume_ids:
            own_volume(context, reader, volume_id)


def ensure_created(record: VolumeRecord) -> None:
    """Refuse to use a volume that is still being made.

    Raises:
        ConflictError: It is `creating`.
    """
    if record.state == VolumeState.CREATING:
        usable = (VolumeState.AVAILABLE, VolumeState.IN_USE)
        raise refusals.volume_state(record.volume_id, record.state, usable)


def all_volumes(reader: CatalogReader) -> list[VolumeRecord]:
    """Return all volumes, those of scanned sources and copies too."""
    return [decode_volume(value) for _, value in reader.items(Table.VOLUMES)]


def managed_volumes(reader: CatalogReader, caller: Caller | None = None) -> list[VolumeRecord]:
    """Return the managed volumes of a caller, or all, oldest first."""
    own = (each for each in all_volumes(reader) if each.managed and owns(caller, each))
    return sorted(own, key=lambda record: record.number)


def list_volumes(
    reader: CatalogReader, query: VolumeQuery | None = None, caller: Caller | None = None
) -> list[VolumeRecord]:
    """Return the volumes that a query asks for, of all pages, oldest first.

    Raises:
        InvalidInputError: An id, state or filter is none.
        NotFoundError: A volume that the query names does not exist.
        LimitExceededError: The filters have too many values.
    """
    query = query or VolumeQuery()
    passes = FILTERS.predicate(_all_filters(query))
    if query.volume_ids:
        wanted = {parse_volume_id(text) for text in query.volume_ids}
        found = [get_managed(reader, volume_id) for volume_id in wanted]
        for record in found:
            if not owns(caller, record) or record.recycled is not None:
                raise refusals.volume_not_found(record.volume_id)
        found.sort(key=lambda record: record.number)
    else:
        found = [each for each in managed_volumes(reader, caller) if each.recycled is None]
    return [record for record in found if passes(record)]


def describe_volumes(
    context: StoreContext,
    query: VolumeQuery,
    show: Callable[[VolumeRecord], Volume] | None = None,
) -> VolumePage:
    """Return a page of volumes, oldest first.

    Args:
        context: The store.
        query: Which volumes, and how many on a page.
        show: From a record to what the user sees; None: `to_volume`.

    Raises:
        InvalidInputError: As `list_volumes`; or a page size together with ids, a page that is too
            small, a token that is none or another query's.
        NotFoundError, LimitExceededError: As `list_volumes`.
    """
    if query.volume_ids and query.max_results is not None:
        raise refusals.invalid_combination(
            "The parameter volumeIdSet cannot be used with the parameter maxResults"
        )
    size = page_size(query.max_results, VOLUME_PAGE_MAX)
    with context.catalog.read() as reader:
        found = list_volumes(reader, query, context.caller)
    facts = [
        "volumes",
        sorted(query.volume_ids),
        sorted(query.states),
        [[each.name, sorted(each.values)] for each in query.filters],
    ]
    pager = Pager(context.hash_key, facts)
    page, token = pager.page(found, lambda record: record.number, size, query.next_token)
    return VolumePage(volumes=tuple(map(show or to_volume, page)), next_token=token)


def _all_filters(query: VolumeQuery) -> list[Filter]:
    known = [state.value for state in VolumeState if state is not VolumeState.RECOVERABLE]
    for state in query.states:
        if state not in known:
            raise refusals.invalid_value(state, "status", f"Expected one of: {', '.join(known)}")
    return [*query.filters, *([Filter("status", query.states)] if query.states else [])]


def to_volume(record: VolumeRecord, initialization_percent: int | None = None) -> Volume:
    """Return a volume as a user sees it.

    Args:
        record: Its record.
        initialization_percent: How much of its snapshot is loaded; None: 100 unless the record
            still holds the snapshot, else 0.
    """
    if initialization_percent is None:
        initialization_percent = 0 if record.origin_hold else 100
    return Volume(
        volume_id=record.volume_id,
        size_bytes=record.size_bytes,
        state=VolumeState(record.state),
        volume_type=record.volume_type,
        iops=record.iops,
        throughput=record.throughput,
        zone=record.zone,
        snapshot_id=record.origin_id or "",
        create_time_us=record.created_us,
        tags=dict(record.tags),
        initialization_percent=initialization_percent,
        initialization_rate=record.initialization_rate,
        encrypted=bool(record.domain),
        kms_key_id=record.kms_key,
        fast_restored=record.fast_restored,
        source_volume_id=record.source_volume,
        auto_enable_io=record.auto_enable_io,
        attachment=attachment_of(record),
    )


def shape_of(record: VolumeRecord) -> VolumeShape:
    """Return what can be modified about a volume, as it is."""
    return VolumeShape(
        size_gib=size_gib(record.size_bytes),
        volume_type=record.volume_type,
        iops=record.iops,
        throughput=record.throughput,
    )


def modify_volume(
    context: StoreContext, writer: CatalogWriter, volume_id: str, request: VolumeModificationRequest
) -> tuple[VolumeRecord, VolumeModification]:
    """Modify a volume's record; the caller makes the live data larger before it commits.

    Returns:
        The record that was kept, and the modification as it is now.

    Raises:
        InvalidInputError: EC2 would refuse the request.
        NotFoundError: There is no such volume.
        ConflictError: It is in a wrong state, or an earlier modification is running.
        LimitExceededError: There were too many modifications within 24 hours, or too much storage.
    """
    record = get_managed(writer, parse_volume_id(volume_id))
    quotas, now_us = quotas_here(context, writer), context.clock.now_us()
    allowed = (VolumeState.AVAILABLE, VolumeState.IN_USE)
    if record.state not in allowed:
        raise refusals.volume_state(record.volume_id, record.state, allowed)
    last = modification_of(record, now_us)
    if last is not None and last.state is not ModificationState.COMPLETED:
        raise refusals.modification_running(record.volume_id, last.state)
    original = shape_of(record)
    target = validate_modification(original, request)
    recent = [time_us for time_us in record.modifications if time_us > now_us - DAY_US]
    if target == original:
        raise refusals.modification_without_change(record.volume_id)
    limit = quotas.modifications_per_day
    if len(recent) >= limit:
        free_us = recent[-limit] + DAY_US if limit else now_us + DAY_US
        raise refusals.modification_rate(record.volume_id, limit, format_time(free_us))
    same = target.volume_type == original.volume_type
    added_gib = target.size_gib - (original.size_gib if same else 0)
    check_storage(writer, quotas, record, target.volume_type, added_gib)
    modified = replace(
        record,
        size_bytes=target.size_gib * GIB,
        volume_type=target.volume_type,
        iops=target.iops,
        throughput=target.throughput,
        modifications=[*recent, now_us],
        modification={
            "original": asdict(original),
            "target": asdict(target),
            "start_us": now_us,
            "duration_us": round(quotas.modification_s * 1_000_000),
        },
    )
    put_managed(writer, modified)
    modification = modification_of(modified, now_us)
    assert modification is not None, "it was begun just now"
    return modified, modification


def list_modifications(
    context: StoreContext, reader: CatalogReader, volume_ids: Sequence[str]
) -> list[VolumeModification]:
    """Return the last modification of each of these volumes, or of all; some have none.

    Raises:
        InvalidInputError: An id is malformed.
        NotFoundError: There is no such volume.
    """
    records = list_volumes(reader, VolumeQuery(volume_ids=volume_ids), context.caller)
    now_us = context.clock.now_us()
    found = (modification_of(record, now_us) for record in records)
    return [each for each in found if each is not None]


def modification_of(record: VolumeRecord, now_us: int) -> VolumeModification | None:
    """Return a volume's last modification as it is at a time, or None."""
    kept = record.modification
    if kept is None:
        return None
    start_us, duration_us = int(kept["start_us"]), int(kept["duration_us"])
    elapsed_us = max(0, now_us - start_us)
    done = elapsed_us >= duration_us
    if done:
        state = ModificationState.COMPLETED
    elif elapsed_us < duration_us * MODIFYING_SHARE:
        state = ModificationState.MODIFYING
    else:
        state = ModificationState.OPTIMIZING
    return VolumeModification(
        volume_id=record.volume_id,
        state=state,
        original=VolumeShape(**kept["original"]),
        target=VolumeShape(**kept["target"]),
        progress_percent=100 if done else 100 * elapsed_us // duration_us,
        start_time_us=start_us,
        end_time_us=start_us + duration_us if done else None,
    )
