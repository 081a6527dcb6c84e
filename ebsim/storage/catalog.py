"""The catalog's seam: an ordered, transactional map for each table.

Core code is written against these protocols. `ebsim.storage.lmdb_catalog` is the one a store uses;
another may lie in memory, or in a database that several hosts share.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from ebsim.format.catalog_values import Table

T = TypeVar("T")


class CatalogReader(Protocol):
    """One consistent view of the catalog. Keep it short: an open view keeps old pages alive."""

    @property
    def commit(self) -> int:
        """The number of the last commit that it shows.

        `Catalog.last_commit` may tell of a later one already: a commit has its number before views
        begin to show it.
        """
        ...

    def get(self, table: Table, key: bytes) -> bytes | None:
        """Return a value, or None.

        Raises:
            CorruptionError: The value is not what was put there.
        """
        ...

    def floor(self, table: Table, key: bytes) -> tuple[bytes, bytes] | None:
        """Return the entry with the greatest key that is not greater, or None.

        Raises:
            CorruptionError: The value is not what was put there.
        """
        ...

    def items(
        self, table: Table, *, start: bytes = b"", prefix: bytes = b"", reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the entries whose key begins with `prefix`, in key order.

        Args:
            table: The table.
            start: Begin at the first key that is not less; ignored where it sorts before `prefix`.
            prefix: Only keys that begin so.
            reverse: From the last key of the prefix downwards; `start` must then be empty.

        Raises:
            CorruptionError: A value is not what was put there.
        """
        ...

    def count(self, table: Table) -> int:
        """Return the number of entries in a table."""
        ...

    def keys(self, table: Table) -> Iterator[bytes]:
        """Yield all keys in order, without looking at the values: they may be damaged."""
        ...


class CatalogWriter(CatalogReader, Protocol):
    """The one writing transaction. It sees its own changes."""

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Set a value."""
        ...

    def delete(self, table: Table, key: bytes) -> bool:
        """Remove an entry; return whether it was there."""
        ...

    def on_abort(self, action: Callable[[], None]) -> None:
        """Have `action` called if this transaction does not commit."""
        ...


class Catalog(Protocol):
    """The catalog of an open store. Safe for several threads and processes."""

    @property
    def read_only(self) -> bool:
        """Whether it lies on a read-only file system, so that `update` is refused."""
        ...

    def read(self) -> AbstractContextManager[CatalogReader]:
        """Return a context that gives one consistent view."""
        ...

    def update(self, change: Callable[[CatalogWriter], T]) -> T:
        """Run `change` in the writing transaction and commit it durably.

        `change` may be run a second time (after the catalog had to grow), so it must have no other
        effect than on the writer, or undo it through `on_abort`.

        Raises:
            StoreError: The commit failed. With code OutcomeUnknown it is not known whether it took
                effect; nothing may be written before the store is reopened.
            LimitExceededError: No space.
        """
        ...

    def last_commit(self) -> int:
        """Return a number that grows whenever something is committed, by whichever process."""
        ...

    def size_bytes(self) -> int:
        """Return the bytes the catalog occupies on disk."""
        ...

    def close(self) -> None:
        """Close the catalog."""
        ...
