"""Finding snapshots as EC2's DescribeSnapshots does (semantics section 1.6)."""

from collections.abc import Callable, Sequence
from typing import Any

from ebsim import refusals
from ebsim.caller import Caller
from ebsim.core.access import as_seen, is_public, may_use
from ebsim.core.context import StoreContext
from ebsim.core.filters import Filtering, flag, moment
from ebsim.core.paging import Pager, page_size
from ebsim.core.snapshots import get_present, list_snapshots
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId, is_account, parse_snapshot_id
from ebsim.requests import Filter, SnapshotQuery
from ebsim.results import Snapshot, SnapshotPage, SnapshotState
from ebsim.storage.catalog import CatalogReader
from ebsim.units import size_gib

_ALIASES = ("self", "amazon")
_USERS = ("self", "all")

FILTERS = Filtering[SnapshotRecord](
    {
        "description": lambda record: [record.description],
        "encrypted": lambda record: flag(value=bool(record.domain)),
        "owner-alias": lambda _record: [],  # only Amazon's own snapshots have one
        "owner-id": lambda record: [record.owner],
        "progress": lambda record: [f"{record.to_result().progress_percent}%"],
        "snapshot-id": lambda record: [record.snapshot_id],
        "start-time": lambda record: moment(record.start_us),
        "status": lambda record: [record.state],
        "storage-tier": lambda record: [record.tier],
        "transfer-type": lambda record: ["standard"] if record.copied_from else [],
        "volume-id": lambda record: [record.volume_id],
        "volume-size": lambda record: [str(size_gib(record.size_bytes))],
    },
    lambda record: record.tags,
)
"""What DescribeSnapshots can filter by."""


def find_snapshots(
    reader: CatalogReader, query: SnapshotQuery, caller: Caller | None = None
) -> list[SnapshotRecord]:
    """Return the snapshots that a query asks for, of all pages, in the order of `list_snapshots`.

    Those that the caller may not make volumes of are left out, also where their ids are given.

    Raises:
        InvalidInputError: An id, owner, state or filter is none.
        NotFoundError: A snapshot that the query names does not exist.
        LimitExceededError: The filters have too many values.
    """
    passes = FILTERS.predicate(_all_filters(query))
    owned = _ownership(query.owner_ids, caller)
    restorable = _restorable(reader, query.restorable_by, caller)
    if query.snapshot_ids:
        wanted = {parse_snapshot_id(text) for text in query.snapshot_ids}
        records = [_get_here(reader, snapshot_id, caller) for snapshot_id in wanted]
        records.sort(key=lambda record: record.node or record.begun)
    else:
        records = [record for record in list_snapshots(reader) if record.recycled is None]
    seen = (as_seen(caller, record) for record in records if may_use(reader, caller, record))
    return [record for record in seen if owned(record) and restorable(record) and passes(record)]


def _get_here(
    reader: CatalogReader, snapshot_id: SnapshotId, caller: Caller | None
) -> SnapshotRecord:
    """Return a snapshot that is in the caller's Region: in the others there may be anything.

    Raises:
        NotFoundError: There is none.
    """
    record = get_present(reader, snapshot_id)
    if caller is not None and record.region != caller.region:
        raise refusals.snapshot_not_found(snapshot_id)
    return record


def list_all(context: StoreContext, query: SnapshotQuery) -> list[Snapshot]:
    """Return all snapshots that a query asks for, in the order of completion.

    Raises:
        InvalidInputError: As `find_snapshots`; or the query asks for a page.
        NotFoundError, LimitExceededError: As `find_snapshots`.
    """
    if query.max_results is not None or query.next_token:
        raise refusals.invalid_combination("Pages are had from describe_snapshots.")
    with context.catalog.read() as reader:
        return [record.to_result() for record in find_snapshots(reader, query, context.caller)]


def describe_snapshots(context: StoreContext, query: SnapshotQuery) -> SnapshotPage:
    """Return a page of snapshots, in the order in which they were begun.

    Raises:
        InvalidInputError: As `find_snapshots`; or a page size together with ids, a page that is too
            small, a token that is none or another query's.
        NotFoundError, LimitExceededError: As `find_snapshots`.
    """
    if query.snapshot_ids and query.max_results is not None:
        raise refusals.invalid_combination(
            "The parameter snapshotIdSet cannot be used with the parameter maxResults"
        )
    size = page_size(query.max_results)
    with context.catalog.read() as reader:
        found = find_snapshots(reader, query, context.caller)
        found.sort(key=lambda record: record.begun)
    pager = Pager(context.hash_key, _asked(query))
    page, token = pager.page(found, lambda record: record.begun, size, query.next_token)
    return SnapshotPage(snapshots=tuple(each.to_result() for each in page), next_token=token)


def _asked(query: SnapshotQuery) -> list[Any]:
    return [
        "snapshots",
        sorted(query.snapshot_ids),
        sorted(query.owner_ids),
        sorted(query.restorable_by),
        sorted(query.states),
        [[each.name, sorted(each.values)] for each in query.filters],
    ]


def _all_filters(query: SnapshotQuery) -> Sequence[Filter]:
    if not query.states:
        return query.filters
    known = [state.value for state in SnapshotState if state is not SnapshotState.RECOVERABLE]
    for state in query.states:
        if state not in known:
            raise refusals.invalid_value(state, "status", f"Expected one of: {', '.join(known)}")
    return [*query.filters, Filter("status", query.states)]


def _ownership(owner_ids: Sequence[str], caller: Caller | None) -> Callable[[SnapshotRecord], bool]:
    for owner in owner_ids:
        if owner not in _ALIASES and not is_account(owner):
            raise refusals.user_id_malformed(owner)
    own = (caller or Caller()).account
    owners = {own if owner == "self" else owner for owner in owner_ids}
    return lambda record: not owners or record.owner in owners


def _restorable(
    reader: CatalogReader, users: Sequence[str], caller: Caller | None
) -> Callable[[SnapshotRecord], bool]:
    """Return what passes those that one of these may make volumes of (RestorableByUserIds)."""
    for user in users:
        if user not in _USERS and not is_account(user):
            raise refusals.user_id_malformed(user)
    own = (caller or Caller()).account

    def by(user: str, record: SnapshotRecord) -> bool:
        if user == "all":
            return is_public(reader, record)
        if user == "self":
            return record.owner == own or own in record.shared_with
        return record.owner == own and (user == own or user in record.shared_with)

    return lambda record: not users or any(by(user, record) for user in users)
