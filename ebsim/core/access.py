"""Who may do what: every operation that somebody asks for passes here first.

An account sees and changes what it owns in the Region it acts in. Snapshots may be shared with
other accounts, or be public; those may then read them and make volumes and copies of them, and
nothing else (semantics section 11.1). What one may not see does not exist for it.

The store itself (`StoreContext.caller` is None), which completes, recovers and deletes what is due,
may do anything.
"""

from collections.abc import Sequence
from typing import Protocol

from ebsim import refusals
from ebsim.caller import Caller
from ebsim.core.account_settings import load_settings
from ebsim.core.context import StoreContext
from ebsim.core.snapshots import get_completed, get_snapshot, list_snapshots
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId
from ebsim.permissions import PublicAccess
from ebsim.storage.catalog import CatalogReader


class Owned(Protocol):
    """Anything that belongs to an account and lies in a Region."""

    @property
    def owner(self) -> str:
        """The account."""
        ...

    @property
    def region(self) -> str:
        """The Region."""
        ...


def same_owner(one: Owned, other: Owned) -> bool:
    """Return whether two resources are of one account and Region."""
    return (one.owner, one.region) == (other.owner, other.region)


def owns(caller: Caller | None, record: Owned) -> bool:
    """Return whether a resource is the caller's, and in its Region."""
    return caller is None or (record.owner, record.region) == (caller.account, caller.region)


def may_use(reader: CatalogReader, caller: Caller | None, record: SnapshotRecord) -> bool:
    """Return whether the caller may read a snapshot, and make volumes and copies of it."""
    if caller is None or owns(caller, record):
        return True
    if record.region != caller.region:
        return False
    if caller.account in record.shared_with:
        return True
    return is_public(reader, record)


def is_public(reader: CatalogReader, record: SnapshotRecord) -> bool:
    """Return whether every account may use a snapshot: it is public, and that is not blocked."""
    if not record.public:
        return False
    settings = load_settings(reader, Caller(record.owner, record.region))
    return settings.public_access != PublicAccess.BLOCK_ALL_SHARING


def own_snapshot(
    context: StoreContext, reader: CatalogReader, snapshot_id: SnapshotId
) -> SnapshotRecord:
    """Return a snapshot of the caller's.

    Raises:
        NotFoundError: There is none, or the caller may not see it.
        ForbiddenError: It is another account's.
    """
    record = get_snapshot(reader, snapshot_id)
    if owns(context.caller, record):
        return record
    if may_use(reader, context.caller, record):
        raise refusals.not_owner(snapshot_id)
    raise refusals.snapshot_not_found(snapshot_id)


def own_snapshots(context: StoreContext, reader: CatalogReader) -> list[SnapshotRecord]:
    """Return the caller's snapshots, in the order of `list_snapshots`."""
    return [record for record in list_snapshots(reader) if owns(context.caller, record)]


def ensure_own_snapshots(context: StoreContext, snapshot_ids: Sequence[SnapshotId]) -> None:
    """Refuse snapshots that are not the caller's.

    Raises:
        NotFoundError, ForbiddenError: As `own_snapshot`.
    """
    with context.catalog.read() as reader:
        for snapshot_id in snapshot_ids:
            own_snapshot(context, reader, snapshot_id)


def visible_snapshot(
    context: StoreContext, reader: CatalogReader, snapshot_id: SnapshotId
) -> SnapshotRecord:
    """Return a snapshot that the caller owns or that is shared with it.

    Raises:
        NotFoundError: There is none, or the caller may not see it.
    """
    record = get_snapshot(reader, snapshot_id)
    if not may_use(reader, context.caller, record):
        raise refusals.snapshot_not_found(snapshot_id)
    return record


def ensure_visible_snapshots(context: StoreContext, snapshot_ids: Sequence[SnapshotId]) -> None:
    """Refuse snapshots that the caller may not see.

    Raises:
        NotFoundError: As `visible_snapshot`.
    """
    with context.catalog.read() as reader:
        for snapshot_id in snapshot_ids:
            visible_snapshot(context, reader, snapshot_id)


def usable_snapshot(
    context: StoreContext, reader: CatalogReader, snapshot_id: SnapshotId
) -> SnapshotRecord:
    """Return a completed snapshot that the caller may read.

    Raises:
        NotFoundError: There is none, or the caller may not see it.
        ConflictError: It is not completed.
    """
    visible_snapshot(context, reader, snapshot_id)
    return get_completed(reader, snapshot_id)
