"""What one of several processes does with encryption, accounts, copies, the archive and the bin.

The processes use the store for two accounts, which have two keys of their own each and may use each
other's. What is shared with another account is read by it as well, but only what is one's own
counts for the promises: the owner may take away what he shared at any time.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from ebsim.config import Quotas, SnapshotOptions
from ebsim.engine import Store
from ebsim.errors import ConflictError, EbsimError, NotFoundError, SnapshotFailedError
from ebsim.permissions import PermissionChange
from ebsim.recycle_bin import RuleRequest, RuleResourceType
from ebsim.results import Snapshot, SnapshotState
from ebsim.testing.torture.process_history import (
    ACCOUNTS,
    BLOCKS,
    account_of,
    describe,
    parse_description,
)
from ebsim.testing.worker import disk_of_numbers
from ebsim.tiering import StorageTier, TierRestore

PLACE_TAG = "place"
KEPT = ("kept", "yes")
"""The tag of what goes to the Recycle Bin when it is deleted."""

KEYS = ("alias/first", "alias/second")
"""Which each account has."""


def no_quotas() -> Quotas:
    """Return quotas under which snapshots need not wait for each other."""
    return Quotas(snapshot_spacing_s=0, archived_per_volume=10_000, pending_tier_restores=10_000)


def prepare_store(store: Store, places: int) -> None:
    """Make the keys, their grants and the rules of the bin, and a sealed disk for each place."""
    store.quotas = no_quotas()
    for account, other in zip(ACCOUNTS, reversed(ACCOUNTS), strict=True):
        acting = store.as_account(account)
        for alias in KEYS:
            acting.keys.create_grant(acting.keys.create(alias=alias).arn, other)
        kept = RuleRequest(
            resource_type=RuleResourceType.EBS_SNAPSHOT, retention_days=1, resource_tags=[KEPT]
        )
        acting.recycle_bin.rules.create(kept)
    for place in range(places):
        acting = store.as_account(account_of(place))
        options = SnapshotOptions(encrypted=True, kms_key_id=KEYS[0])
        made = acting.create_snapshot(disk_of_numbers(sealed_disk(place), (0,) * BLOCKS), options)
        acting.delete_snapshots([made.snapshot_id])


def sealed_disk(place: int) -> str:
    """Return the name of the disk whose snapshots are encrypted."""
    return f"memory:sealed{place}"


def empty_bin(store: Store) -> None:
    """Take the rules of an account away, and bring back what they kept."""
    for rule in store.recycle_bin.rules.list().rules:
        store.recycle_bin.rules.delete(rule.rule_id)
    for each in store.recycle_bin.snapshots().snapshots:
        store.recycle_bin.restore_snapshot(each.snapshot_id)


def leave_archive(store: Store) -> None:
    """Restore all that an account has in the archive."""
    for each in store.list_snapshots():
        if each.owner == store.caller.account and each.storage_tier is StorageTier.ARCHIVE:
            store.tiers.restore(each.snapshot_id, TierRestore(permanent=True))


class Features(ABC):
    """The operations of a process on these features; what it needs of the process is abstract."""

    _random: random.Random
    _store: Store

    @abstractmethod
    def _do(
        self, kind: str, action: Callable[[], Mapping[str, Any] | None], **given: object
    ) -> Mapping[str, Any]:
        """Do something, and write down that it begins and how it ends."""

    @abstractmethod
    def _name(self) -> str:
        """Return the name of the operation that comes next."""

    @abstractmethod
    def _tags(self) -> dict[str, str]:
        """Return the tags that say whose something is."""

    @property
    def _account(self) -> str:
        return self._store.caller.account

    def _all_shown(self) -> list[Snapshot]:
        """Return what this account may use; only what the processes made has a description."""
        return [each for each in self._store.list_snapshots() if each.description]

    def _own(self) -> list[Snapshot]:
        return [each for each in self._all_shown() if each.owner == self._account]

    def _own_completed(self) -> Snapshot | None:
        shown = [each for each in self._own() if each.state is SnapshotState.COMPLETED]
        return self._random.choice(shown) if shown else None

    def _some_key(self) -> str | None:
        """Draw a key to encrypt with, or none."""
        return self._random.choice((None, *KEYS))

    def _copy(self) -> None:
        """Copy a snapshot, one's own or one that is shared, maybe under another key."""
        shown, key = self._all_shown(), self._some_key()
        if not shown:
            return
        source = self._random.choice(shown)
        description = describe(self._name(), parse_description(source.description)[1])
        options = SnapshotOptions(
            description=description,
            tags=self._tags(),
            encrypted=True if key else None,
            kms_key_id=key,
        )

        def copy() -> Mapping[str, Any]:
            try:
                made = self._store.copy_snapshot(source.snapshot_id, None, options)
            except SnapshotFailedError as error:
                self._ensure_gone(source, error)
                raise NotFoundError(str(error)) from error
            assert made.state is SnapshotState.COMPLETED, f"{made}"
            assert made.encrypted is bool(key or source.encrypted), f"{made} of {source}"
            return {"id": made.snapshot_id}

        self._do("copy", copy, description=description, source=source.snapshot_id)

    def _ensure_gone(self, source: Snapshot, error: EbsimError) -> None:
        """A copy fails only of a source that can be used no more.

        Raises:
            AssertionError: It can.
        """
        try:
            self._store.read_block(source.snapshot_id, 0)
        except (NotFoundError, ConflictError):
            return
        may_come_back = KEPT in source.tags.items() or source.owner != self._account
        if may_come_back and "was deleted while it was copied" in str(error):
            return  # and another process took it out of the Recycle Bin before it was looked for
        raise AssertionError(f"a copy of {source} failed, which is there: {error}") from error

    def _share(self) -> None:
        """Share a snapshot with the other account, or no more; not under the default key."""
        shown, own = self._own_completed(), {each.arn for each in self._store.keys.list()}
        customer = own - {each.arn for each in self._store.keys.list() if each.is_default}
        if shown is None or (shown.encrypted and shown.kms_key_id not in customer):
            return
        (other,) = set(ACCOUNTS) - {self._account}
        if self._random.random() < 0.2:
            change = PermissionChange(remove=[other])
        else:
            change = PermissionChange(add=[other])

        def share() -> None:
            self._store.permissions.modify(shown.snapshot_id, change)

        self._do("share", share, ids=[shown.snapshot_id])

    def _archive(self) -> None:
        """Move a snapshot to the archive."""
        shown = self._own_completed()
        if shown is not None:

            def archive() -> None:
                self._store.tiers.archive(shown.snapshot_id)

            self._do("archive", archive, ids=[shown.snapshot_id])

    def _unarchive(self) -> None:
        """Restore a snapshot from the archive, for good or for a day."""
        archived = [each for each in self._own() if each.storage_tier is StorageTier.ARCHIVE]
        if archived:
            wanted = self._random.choice(archived).snapshot_id
            how = TierRestore(permanent=self._random.random() < 0.7)

            def restore() -> None:
                self._store.tiers.restore(wanted, how)

            self._do("unarchive", restore, ids=[wanted])

    def _bin_restore(self) -> None:
        """Bring a deleted snapshot back."""
        binned = self._store.recycle_bin.snapshots().snapshots
        if binned:
            wanted = self._random.choice(binned).snapshot_id

            def restore() -> Mapping[str, Any]:
                self._store.recycle_bin.restore_snapshot(wanted)
                return {"ids": [wanted]}

            self._do("bin_restore", restore, ids=[wanted])

    def _key_rotate(self) -> None:
        """Rotate a key: the store's data keys are wrapped anew."""
        alias = self._random.choice(KEYS)

        def rotate() -> None:
            self._store.keys.rotate(alias)

        self._do("key_rotate", rotate, key=alias)
