"""Sharing snapshots: who else may read them and make volumes and copies of them.

EC2 calls it the attribute createVolumePermission (semantics section 11.2).
"""

from collections.abc import Sequence
from dataclasses import replace

from ebsim import refusals
from ebsim.caller import Caller
from ebsim.core.access import own_snapshot
from ebsim.core.account_changes import change_settings
from ebsim.core.account_settings import load_settings
from ebsim.core.context import StoreContext
from ebsim.core.events import snapshot_shared
from ebsim.core.snapshot_changes import change_snapshot
from ebsim.core.tier_rules import in_archive, is_restored_for_a_time
from ebsim.format.records import SnapshotRecord
from ebsim.ids import parse_account, parse_snapshot_id
from ebsim.keys.names import parse_reference
from ebsim.keys.records import KeyManager
from ebsim.permissions import PermissionChange, PublicAccess, SnapshotPermissions
from ebsim.storage.catalog import CatalogReader, CatalogWriter

CHANGES_MAX = 500
"""Modifications of one request."""


class PermissionOperations:
    """Sharing the caller's snapshots with other accounts, or with all."""

    def __init__(self, context: StoreContext) -> None:
        self._context = context

    def describe(self, snapshot_id: str) -> SnapshotPermissions:
        """Return whom a snapshot is shared with.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: There is no such snapshot.
            ForbiddenError: It is another account's.
        """
        wanted = parse_snapshot_id(snapshot_id)
        with self._context.catalog.read() as reader:
            return _permissions(own_snapshot(self._context, reader, wanted))

    def modify(self, snapshot_id: str, change: PermissionChange) -> SnapshotPermissions:
        """Share a snapshot, or take that back.

        What is added twice is there once; what is removed and was not there is no error. Sharing
        with oneself changes nothing.

        Raises:
            InvalidInputError: The id or an account is malformed, nothing is asked for, or both
                adding and removing; or more than 500 accounts.
            NotFoundError: There is no such snapshot.
            ForbiddenError: It is another account's; public snapshots are blocked; it is encrypted,
                and would be public; or it is encrypted under the AWS managed key.
            ConflictError: It is in the archive or on its way, and would be shared.
            EbsimError: It is encrypted, and the keyring is missing or damaged.
        """
        _check(change)
        wanted = parse_snapshot_id(snapshot_id)
        added: list[str] = []

        def changed(reader: CatalogReader, record: SnapshotRecord) -> SnapshotRecord:
            if change.add_all and not record.public:
                _ensure_public_allowed(reader, record)
            if change.add:
                _ensure_shareable(self._context, record)
            if change.add or change.add_all:
                _ensure_not_archived(record)
            accounts = set(record.shared_with) | set(change.add) - {record.owner}
            accounts -= set(change.remove)
            added[:] = sorted(accounts - set(record.shared_with))
            public = (record.public or change.add_all) and not change.remove_all
            return replace(record, shared_with=sorted(accounts), public=public)

        def told(writer: CatalogWriter, record: SnapshotRecord) -> None:
            for account in added:
                snapshot_shared(self._context, writer, record, account)

        return _permissions(change_snapshot(self._context, wanted, changed, told))

    def reset(self, snapshot_id: str) -> None:
        """Take all sharing of a snapshot back.

        Raises:
            InvalidInputError, NotFoundError, ForbiddenError: As `describe`.
        """

        def changed(_reader: CatalogReader, record: SnapshotRecord) -> SnapshotRecord:
            return replace(record, shared_with=[], public=False)

        change_snapshot(self._context, parse_snapshot_id(snapshot_id), changed)

    @property
    def public_access(self) -> PublicAccess:
        """Whether the caller's snapshots in its Region may be public."""
        with self._context.catalog.read() as reader:
            return PublicAccess(load_settings(reader, self._context.acting).public_access)

    @public_access.setter
    def public_access(self, wanted: PublicAccess) -> None:
        """Allow or block public snapshots. What was public is so again once it is allowed."""
        state = PublicAccess(wanted)
        change_settings(self._context, lambda now: replace(now, public_access=state.value))


def _check(change: PermissionChange) -> None:
    adds = [*change.add, *(["all"] if change.add_all else [])]
    removes = [*change.remove, *(["all"] if change.remove_all else [])]
    if not adds and not removes:
        raise refusals.missing_parameter("CreateVolumePermission")
    if adds and removes:
        raise refusals.invalid_combination(
            "Permissions are added and removed by separate requests, not by one."
        )
    if len(adds) + len(removes) > CHANGES_MAX:
        raise refusals.invalid_value(
            f"{len(adds) + len(removes)} accounts",
            "CreateVolumePermission",
            f"Expected at most {CHANGES_MAX}",
        )
    _check_accounts([*change.add, *change.remove])


def _check_accounts(accounts: Sequence[str]) -> None:
    for account in accounts:
        parse_account(account)


def _ensure_public_allowed(reader: CatalogReader, record: SnapshotRecord) -> None:
    settings = load_settings(reader, Caller(record.owner, record.region))
    if record.domain:
        raise refusals.encrypted_not_public(record.snapshot_id)
    if settings.public_access != PublicAccess.UNBLOCKED:
        raise refusals.public_access_blocked(record.snapshot_id, settings.public_access)


def _ensure_shareable(context: StoreContext, record: SnapshotRecord) -> None:
    """Refuse to share what is encrypted under the AWS managed key, which is granted to nobody.

    Under any other it is shared whether or not that can be used, or is still there: who cannot use
    it reads nothing.
    """
    if not record.domain:
        return
    owner = parse_reference(record.kms_key, Caller(record.owner, record.region)).caller
    keys = context.keyring().list_keys(owner)
    if any(key.arn == record.kms_key and key.manager is KeyManager.AWS for key in keys):
        raise refusals.default_key_not_shareable(record.snapshot_id)


def _ensure_not_archived(record: SnapshotRecord) -> None:
    where = in_archive([record]).get(record.snapshot_id)
    if where is not None and not is_restored_for_a_time(record):
        raise refusals.tier_forbids(record.snapshot_id, where, "shared")


def _permissions(record: SnapshotRecord) -> SnapshotPermissions:
    return SnapshotPermissions(
        snapshot_id=record.snapshot_id,
        accounts=tuple(record.shared_with),
        public=record.public,
    )
