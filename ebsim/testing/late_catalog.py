"""A catalog whose commits have a number before views show them, as LMDB's have.

LMDB writes the page that says which commit is the last, which others see at once, has it synced,
and only then lets views begin with that commit. On a disk that takes milliseconds.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from ebsim.storage.catalog import Catalog, CatalogReader, CatalogWriter
from ebsim.testing.memory_catalog import MemoryCatalog, MemoryTables

T = TypeVar("T")


class LateCatalog(Catalog):
    """A handle on a catalog, which may stay behind it for a while.

    Args:
        catalog: The catalog.
    """

    def __init__(self, catalog: MemoryCatalog) -> None:
        self._catalog = catalog
        self._shown: MemoryTables | None = None

    @contextmanager
    def syncing(self) -> Iterator[None]:
        """Return a context in which commits are not shown yet."""
        self._shown = self._catalog.view()
        try:
            yield
        finally:
            self._shown = None

    @property
    def read_only(self) -> bool:
        """Whether nothing can be changed."""
        return self._catalog.read_only

    @contextmanager
    def read(self) -> Iterator[CatalogReader]:
        """Give one consistent view."""
        yield self._catalog.view() if self._shown is None else self._shown

    def update(self, change: Callable[[CatalogWriter], T]) -> T:
        """Run `change` in the writing transaction."""
        return self._catalog.update(change)

    def last_commit(self) -> int:
        """Return the number of the last commit, shown or not."""
        return self._catalog.last_commit()

    def size_bytes(self) -> int:
        """Return the bytes the catalog occupies."""
        return self._catalog.size_bytes()

    def close(self) -> None:
        """Close the catalog."""
        self._catalog.close()
