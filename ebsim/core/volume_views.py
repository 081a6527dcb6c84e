"""What else EC2 tells about volumes: DescribeVolumeStatus and DescribeVolumesModifications."""

from collections.abc import Callable

from ebsim import refusals
from ebsim.core.context import StoreContext
from ebsim.core.filters import Filtering, flag, moment
from ebsim.core.paging import VOLUME_PAGE_MAX, Pager, page_size
from ebsim.core.volume_records import list_volumes, modification_of
from ebsim.format.records import VolumeRecord
from ebsim.requests import VolumeQuery
from ebsim.results import Volume, VolumeModification, VolumeModificationPage, VolumeState
from ebsim.units import MIB
from ebsim.volume_status import VolumeInitialization, VolumeStatus, VolumeStatusPage

PAGE_MAX = 1000
"""Of DescribeVolumeStatus."""

_PROVISIONED = frozenset({"gp3", "io1", "io2"})
_NEVER = (
    *(f"action.{name}" for name in ("code", "description", "event-id")),
    *(f"event.{name}" for name in ("description", "event-id", "event-type")),
    *(f"event.{name}" for name in ("not-after", "not-before")),
)

_STATUS_FILTERS = Filtering[VolumeStatus](
    {
        **{name: lambda _status: [] for name in _NEVER},  # there are neither actions nor events
        "attachment-status.instance-id": lambda each: (
            [each.instance_id] if each.instance_id else []
        ),
        "attachment-status.io-performance": lambda each: (
            [each.io_performance] if each.instance_id else []
        ),
        "availability-zone": lambda status: [status.zone],
        "volume-status.details-name": lambda status: [name for name, _ in status.details],
        "volume-status.details-status": lambda status: [text for _, text in status.details],
        "volume-status.status": lambda status: [status.status],
    }
)

_MODIFICATION_FILTERS = Filtering[VolumeModification](
    {
        "modification-state": lambda each: [each.state.value],
        "original-iops": lambda each: [str(each.original.iops)],
        "original-size": lambda each: [str(each.original.size_gib)],
        "original-volume-type": lambda each: [each.original.volume_type],
        "originalMultiAttachEnabled": lambda _each: flag(value=False),
        "start-time": lambda each: moment(each.start_time_us),
        "target-iops": lambda each: [str(each.target.iops)],
        "target-size": lambda each: [str(each.target.size_gib)],
        "target-volume-type": lambda each: [each.target.volume_type],
        "targetMultiAttachEnabled": lambda _each: flag(value=False),
        "volume-id": lambda each: [each.volume_id],
    }
)


def describe_status(
    context: StoreContext, query: VolumeQuery, show: Callable[[VolumeRecord], Volume]
) -> VolumeStatusPage:
    """Return a page of the status of volumes, oldest first.

    Args:
        context: The store.
        query: Which volumes; filters are those of DescribeVolumeStatus.
        show: From a record to what the user sees of the volume.

    Raises:
        InvalidInputError: An id, filter, page size or token is none, or ids and a page size are
            given.
        NotFoundError: A volume that the query names does not exist.
        LimitExceededError: The filters have too many values.
    """
    if query.volume_ids and query.max_results is not None:
        raise refusals.invalid_combination(
            "The parameter volumeIdSet cannot be used with the parameter maxResults"
        )
    passes = _STATUS_FILTERS.predicate(query.filters)
    size = page_size(query.max_results, PAGE_MAX)
    found = [(record.number, _status(show(record))) for record in _named(context, query)]
    chosen = [each for each in found if passes(each[1])]
    pager = _pager(context, "volume status", query)
    page, token = pager.page(chosen, lambda each: each[0], size, query.next_token)
    return VolumeStatusPage(statuses=tuple(status for _, status in page), next_token=token)


def describe_modifications(context: StoreContext, query: VolumeQuery) -> VolumeModificationPage:
    """Return a page of the last modification of each volume that has one, oldest volume first.

    Args:
        context: The store.
        query: Of which volumes; filters are those of DescribeVolumesModifications.

    Raises:
        InvalidInputError: An id, filter, page size or token is none.
        NotFoundError: A volume that the query names does not exist, or was never modified.
        LimitExceededError: The filters have too many values.
    """
    passes = _MODIFICATION_FILTERS.predicate(query.filters)
    size = page_size(query.max_results, VOLUME_PAGE_MAX)
    now_us = context.clock.now_us()
    found: list[tuple[int, VolumeModification]] = []
    for record in _named(context, query):
        last = modification_of(record, now_us)
        if last is not None:
            found.append((record.number, last))
        elif query.volume_ids:
            raise refusals.modification_not_found(record.volume_id)
    chosen = [each for each in found if passes(each[1])]
    pager = _pager(context, "volume modifications", query)
    page, token = pager.page(chosen, lambda each: each[0], size, query.next_token)
    return VolumeModificationPage(modifications=tuple(each for _, each in page), next_token=token)


def _named(context: StoreContext, query: VolumeQuery) -> list[VolumeRecord]:
    with context.catalog.read() as reader:
        return list_volumes(reader, VolumeQuery(volume_ids=query.volume_ids), context.caller)


def _pager(context: StoreContext, what: str, query: VolumeQuery) -> Pager:
    filters = [[each.name, sorted(each.values)] for each in query.filters]
    return Pager(context.hash_key, [what, sorted(query.volume_ids), filters])


def _status(volume: Volume) -> VolumeStatus:
    """Return a volume's status (semantics section 3.3; the words of the states are assumed)."""
    initialization = _initialization(volume)
    loaded = initialization is not None and initialization.progress_percent == 100
    state = "completed" if loaded else "initializing"
    performance = "normal" if volume.volume_type in _PROVISIONED else "not-applicable"
    return VolumeStatus(
        volume_id=volume.volume_id,
        zone=volume.zone,
        status="ok",
        details=(
            ("io-enabled", "passed"),
            ("io-performance", performance),
            ("initialization-state", state if initialization else "not-applicable"),
        ),
        initialization=initialization,
        instance_id="" if volume.attachment is None else volume.attachment.instance_id,
    )


def _initialization(volume: Volume) -> VolumeInitialization | None:
    if volume.source_volume_id:  # copied as a whole before it is available
        copied = 100 if volume.state is not VolumeState.CREATING else 0
        return VolumeInitialization(kind="volume-copy", progress_percent=copied, remaining_s=None)
    if not volume.snapshot_id:
        return None
    rate, percent = volume.initialization_rate, volume.initialization_percent
    remaining_mib = volume.size_bytes // MIB * (100 - percent) // 100
    return VolumeInitialization(
        kind="provisioned-rate" if rate else "default",
        progress_percent=percent,
        remaining_s=-(-remaining_mib // rate) if rate else None,
    )
