"""The operations on tags, as `Store.tags` offers them."""

import hashlib
from collections.abc import Mapping, Sequence

from ebsim.core.changes import writing
from ebsim.core.context import StoreContext
from ebsim.core.paging import Pager, page_size
from ebsim.core.tags import create_tags, delete_tags, list_tags
from ebsim.requests import TagQuery
from ebsim.results import Tag, TagPage


class TagOperations:
    """Tags on the caller's snapshots, volumes, images and instances."""

    def __init__(self, context: StoreContext) -> None:
        self._context = context

    def create(self, resource_ids: Sequence[str], tags: Mapping[str, str | None]) -> None:
        """Put tags on resources; on all that are named, or on none.

        Args:
            resource_ids: At least one.
            tags: At least one; a key that is there already gets the new value.

        Raises:
            InvalidInputError: An id or tag is malformed, or a resource would have too many.
            NotFoundError: A resource does not exist.
        """
        with writing(self._context):
            create_tags(self._context, resource_ids, tags)

    def delete(
        self, resource_ids: Sequence[str], tags: Mapping[str, str | None] | None = None
    ) -> None:
        """Remove tags from resources; from all that are named, or from none.

        Args:
            resource_ids: At least one.
            tags: A key with None goes whatever its value is, one with a text only if that is its
                value. None instead of all: every tag of the user's.

        Raises:
            InvalidInputError: An id or key is malformed.
            NotFoundError: A resource does not exist.
        """
        with writing(self._context):
            delete_tags(self._context, resource_ids, tags)

    def describe(self, query: TagQuery | None = None) -> TagPage:
        """Return a page of the tags that a query asks for.

        Raises:
            InvalidInputError, NotFoundError, LimitExceededError: As `list`; or a page size or token
                is none.
        """
        query = query or TagQuery()
        size = page_size(query.max_results)
        found = self.list(query)
        if size is None and not query.next_token:
            return TagPage(tags=tuple(found), next_token=None)
        filters = [[each.name, sorted(each.values)] for each in query.filters]
        pager = Pager(self._context.hash_key, ["tags", sorted(query.resource_ids), filters])
        found.sort(key=_position)
        page, token = pager.page(found, _position, size, query.next_token)
        return TagPage(tags=tuple(page), next_token=token)

    def list(self, query: TagQuery | None = None) -> list[Tag]:
        """Return the tags that a query asks for; without one, those of all resources.

        Raises:
            InvalidInputError: An id or filter is none.
            NotFoundError: A resource that the query names does not exist.
            LimitExceededError: The filters have too many values.
        """
        with self._context.catalog.read() as reader:
            return list_tags(self._context, reader, query or TagQuery())


def _position(tag: Tag) -> int:
    """Return a number that a tag keeps, whatever becomes of others: pages are in its order."""
    name = f"{tag.resource_id} {tag.key}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big")
