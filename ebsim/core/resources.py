"""What belongs to a store and has operations of its own, as attributes of `Store`.

Each is imported when first used, so that listing snapshots needs none of them.
"""

from typing import TYPE_CHECKING

from ebsim.config import Quotas
from ebsim.core.context import StoreContext

if TYPE_CHECKING:
    from ebsim.core.image_operations import ImageOperations
    from ebsim.core.lock_operations import LockOperations
    from ebsim.core.permissions import PermissionOperations
    from ebsim.core.tag_operations import TagOperations


class Resources:
    """The part of `Store` that leads to the operations on one kind of resource."""

    _context: StoreContext

    @property
    def tags(self) -> "TagOperations":
        """The operations on the tags of snapshots, volumes and images."""
        from ebsim.core.tag_operations import TagOperations

        return TagOperations(self._context)

    @property
    def images(self) -> "ImageOperations":
        """The operations on images: registering, listing, deregistering."""
        from ebsim.core.image_operations import ImageOperations

        return ImageOperations(self._context)

    @property
    def permissions(self) -> "PermissionOperations":
        """The operations on sharing: with accounts, with all, and blocking that."""
        from ebsim.core.permissions import PermissionOperations

        return PermissionOperations(self._context)

    @property
    def locks(self) -> "LockOperations":
        """The operations on locks, which keep snapshots from being deleted."""
        from ebsim.core.lock_operations import LockOperations

        return LockOperations(self._context)

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
