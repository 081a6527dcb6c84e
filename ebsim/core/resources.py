"""What belongs to a store and has operations of its own, as attributes of `Store`.

Each is imported when first used, so that listing snapshots needs none of them.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Self

from ebsim.config import Quotas
from ebsim.core.context import StoreContext
from ebsim.progress import Progress, SilentProgress

if TYPE_CHECKING:
    from ebsim.core.bin_operations import RecycleBinOperations
    from ebsim.core.block_operations import BlockOperations
    from ebsim.core.encryption_operations import EncryptionOperations
    from ebsim.core.fast_restore_operations import FastRestoreOperations
    from ebsim.core.image_operations import ImageOperations
    from ebsim.core.key_operations import KeyOperations
    from ebsim.core.lock_operations import LockOperations
    from ebsim.core.permissions import PermissionOperations
    from ebsim.core.started_operations import StartedOperations
    from ebsim.core.tag_operations import TagOperations
    from ebsim.core.tier_operations import TierOperations
    from ebsim.off_site import OffSiteReport, OffSiteRequest


@lru_cache(maxsize=16)
def _secret(key: bytes, store_id: bytes, purpose: str) -> bytes:
    from ebsim.format.sealing import derive_key

    return derive_key(key, store_id, b"secret " + purpose.encode("ascii"))


class Resources:
    """The part of `Store` that leads to the operations on one kind of resource."""

    _context: StoreContext

    @property
    def _current(self) -> StoreContext:
        """The open store as it is now: what fell due by the clock is carried out first."""
        from ebsim.core.due import settle_all

        settle_all(self._context)
        return self._context

    @property
    def is_anything_due(self) -> bool:
        """Whether the next operation may have to carry out first what fell due by the clock."""
        from ebsim.core.due import is_anything_due

        return is_anything_due(self._context)

    @property
    def tags(self) -> "TagOperations":
        """The operations on the tags of snapshots, volumes and images."""
        from ebsim.core.tag_operations import TagOperations

        return TagOperations(self._context)

    @property
    def blocks(self) -> "BlockOperations":
        """Reading snapshots block by block, as the EBS direct APIs do."""
        from ebsim.core.block_operations import BlockOperations

        return BlockOperations(self._current)

    @property
    def started(self) -> "StartedOperations":
        """Writing snapshots block by block, as the EBS direct APIs do."""
        from ebsim.core.started_operations import StartedOperations

        return StartedOperations(self._context)

    def secret(self, purpose: str) -> bytes:
        """Return 32 bytes that only this store has, other ones for each purpose."""
        header = self._context.header
        return _secret(header.hash_key, header.store_id, purpose)

    @property
    def now_us(self) -> int:
        """The store's time, in microseconds since 1970."""
        return self._context.clock.now_us()

    @property
    def images(self) -> "ImageOperations":
        """The operations on images: registering, listing, deregistering."""
        from ebsim.core.image_operations import ImageOperations

        return ImageOperations(self._current)

    @property
    def permissions(self) -> "PermissionOperations":
        """The operations on sharing: with accounts, with all, and blocking that."""
        from ebsim.core.permissions import PermissionOperations

        return PermissionOperations(self._current)

    @property
    def locks(self) -> "LockOperations":
        """The operations on locks, which keep snapshots from being deleted."""
        from ebsim.core.lock_operations import LockOperations

        return LockOperations(self._current)

    @property
    def fast_restores(self) -> "FastRestoreOperations":
        """The operations on fast restores: volumes of a snapshot that are loaded at once."""
        from ebsim.core.fast_restore_operations import FastRestoreOperations

        return FastRestoreOperations(self._context)

    @property
    def recycle_bin(self) -> "RecycleBinOperations":
        """The Recycle Bin: what was deleted and can come back, and the rules that keep it."""
        from ebsim.core.bin_operations import RecycleBinOperations

        return RecycleBinOperations(self._context)

    @property
    def tiers(self) -> "TierOperations":
        """The operations on the archive tier: archiving, restoring, how far they are."""
        from ebsim.core.tier_operations import TierOperations

        return TierOperations(self._current)

    @property
    def keys(self) -> "KeyOperations":
        """The operations on KMS keys, and on the keyring that keeps them."""
        from ebsim.core.key_operations import KeyOperations

        return KeyOperations(self._context)

    @property
    def encryption(self) -> "EncryptionOperations":
        """The operations on encryption by default, and on the default key."""
        from ebsim.core.encryption_operations import EncryptionOperations

        return EncryptionOperations(self._context)

    def copy_to(
        self,
        other: Self,
        request: "OffSiteRequest",
        progress: Progress | None = None,
    ) -> "OffSiteReport":
        """Copy snapshots to another open store: a backup of this one, on another disk.

        Only what the other store does not have goes there, proved when it is read and when it is
        written. What an interrupted copy had done is not done again. Copies of encrypted snapshots
        are encrypted with keys of the other store.

        Args:
            other: The other store, as the account that the copies are to belong to.
            request: Which snapshots, and what is said of their copies.
            progress: Told how far the reading of each is.

        Raises:
            InvalidInputError: It is the same store, or the request does not fit.
            NotFoundError, ConflictError: A snapshot is not there, or cannot be read.
            SnapshotFailedError: A copy ended as `error` for a reason in the other store.
            StoreError, LimitExceededError: The other store failed, or is full.
        """
        from ebsim.core.off_site import copy_to_store

        progress = progress or SilentProgress()
        return copy_to_store(self._current, other._current, request, progress)

    @property
    def quotas(self) -> Quotas:
        """How much this store allows; setting it changes that for all who use the store."""
        from ebsim.core.quotas import load_quotas

        with self._context.catalog.read() as reader:
            return load_quotas(reader)

    @quotas.setter
    def quotas(self, quotas: Quotas) -> None:
        """Keep these quotas in the store."""
        from ebsim.core.changes import writing
        from ebsim.core.quotas import set_quotas

        with writing(self._context):
            set_quotas(self._context, quotas)

    def watch_making(
        self, before_copy: Callable[[str], None], before_snapshot_copy: Callable[[str], None]
    ) -> None:
        """Have this be called before each snapshot of this handle is made, as by `Seams`.

        It counts where the seams have nothing of that kind.

        Args:
            before_copy: For snapshots of volumes, and those that are written block by block.
            before_snapshot_copy: For copies of snapshots.
        """
        self._context.state.before_copy = before_copy
        self._context.state.before_snapshot_copy = before_snapshot_copy

    def tighten_quotas(self, tighten: Callable[[Quotas], Quotas] | None) -> None:
        """Have quotas of snapshots being made and of volumes be tighter for this handle alone.

        Args:
            tighten: From the store's quotas to those that are to hold; None: the store's do.
        """
        self._context.state.tighten = tighten
