"""Who may do what: every operation that somebody asks for passes here first.

An account sees and changes what it owns in the Region it acts in. Snapshots may be shared with
other accounts, or be public; those may then read them, make volumes and copies of them, put tags of
their own on them, and nothing else (semantics section 11.1). What one may not see does not exist.

The store itself (`StoreContext.caller` is None), which completes, recovers and deletes what is due,
may do anything.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from ebsim import refusals
from ebsim.caller import Caller
from ebsim.core.account_settings import load_settings
from ebsim.core.context import StoreContext
from ebsim.core.snapshots import ensure_present, get_completed, get_snapshot, list_snapshots
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
    """Return whether the caller may read a snapshot, and make volumes and copies of it.

    While it is in the Recycle Bin its sharing is suspended, and in force again once it is restored.
    """
    if caller is None or owns(caller, record):
        return True
    if record.region != caller.region or record.recycled is not None:
        return False
    if caller.account in record.shared_with:
        return True
    return is_public(reader, record)


def as_seen(caller: Caller | None, record: SnapshotRecord) -> SnapshotRecord:
    """Return a snapshot's record as the caller sees it: with the tags that it put there.

    Where the owner read it from is the owner's business. For showing only: what is kept is the
    record itself.
    """
    if owns(caller, record):
        return record
    assert caller is not None, "the store itself owns everything"
    return replace(record, tags=record.tags_of_others.get(caller.account, {}), source="")


def is_public(reader: CatalogReader, record: SnapshotRecord) -> bool:
    """Return whether every account may use a snapshot: it is public, and that is not blocked."""
    if not record.public:
        return False
    settings = load_settings(reader, Caller(record.owner, record.region))
    return settings.public_access != PublicAccess.BLOCK_ALL_SHARING


def own_snapshot(
    context: StoreContext,
    reader: CatalogReader,
    snapshot_id: SnapshotId,
    *,
    recycled: bool = False,
) -> SnapshotRecord:
    """Return a snapshot of the caller's.

    Args:
        context: The store.
        reader: The catalog.
        snapshot_id: The snapshot.
        recycled: Also one that is in the Recycle Bin: its owner may retag it and see its charge.

    Raises:
        NotFoundError: There is none, it is in the Recycle Bin, or the caller may not see it.
        ForbiddenError: It is another account's.
    """
    record = get_snapshot(reader, snapshot_id)
    if owns(context.caller, record):
        return record if recycled else ensure_present(record)
    if may_use(reader, context.caller, record):
        raise refusals.not_owner(snapshot_id)
    raise refusals.snapshot_not_found(snapshot_id)


def own_snapshots(
    context: StoreContext, reader: CatalogReader, *, recycled: bool = False
) -> list[SnapshotRecord]:
    """Return the caller's snapshots, in the order of `list_snapshots`.

    Args:
        context: The store.
        reader: The catalog.
        recycled: Also those in the Recycle Bin.
    """
    return [
        record
        for record in list_snapshots(reader)
        if owns(context.caller, record) and (recycled or record.recycled is None)
    ]


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
    return ensure_present(record)


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
        ConflictError: It is not completed, or in the archive.
    """
    visible_snapshot(context, reader, snapshot_id)
    record = get_completed(reader, snapshot_id)
    if record.is_archived:
        raise refusals.snapshot_archived(snapshot_id)
    return record
