"""A catalog in memory: a verified fake of `ebsim.storage.lmdb_catalog.LmdbCatalog`.

It passes the suite that every catalog passes (`tests/conformance/test_catalogs.py`). Nothing is
kept when it is closed, and values carry no checksum.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from ebsim.format.catalog_values import Counter, Table, number_key
from ebsim.storage.catalog import CatalogReader, CatalogWriter

T = TypeVar("T")


class MemoryTables:
    """Tables that can be read and written: a `CatalogReader`, and a `CatalogWriter`.

    Args:
        tables: What all of them hold at first. Not changed: a table is copied when it is first
            written.
        commit: The number of the last commit that they show.
    """

    def __init__(
        self, tables: Mapping[Table, dict[bytes, bytes]] | None = None, commit: int = 0
    ) -> None:
        self.tables = {table: {} for table in Table} if tables is None else dict(tables)
        self.commit = commit
        self._written: set[Table] = set()
        self._undo: list[Callable[[], None]] = []

    def get(self, table: Table, key: bytes) -> bytes | None:
        """Return a value, or None."""
        return self.tables[table].get(key)

    def floor(self, table: Table, key: bytes) -> tuple[bytes, bytes] | None:
        """Return the entry with the greatest key that is not greater, or None."""
        found = max((other for other in self.tables[table] if other <= key), default=None)
        return None if found is None else (found, self.tables[table][found])

    def items(
        self, table: Table, *, start: bytes = b"", prefix: bytes = b"", reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the entries whose key begins with `prefix`, in key order."""
        entries = self.tables[table]
        keys = [key for key in entries if key.startswith(prefix) and (reverse or key >= start)]
        for key in sorted(keys, reverse=reverse):
            yield key, entries[key]

    def count(self, table: Table) -> int:
        """Return the number of entries in a table."""
        return len(self.tables[table])

    def keys(self, table: Table) -> Iterator[bytes]:
        """Yield all keys in order."""
        yield from sorted(self.tables[table])

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Set a value."""
        self._own(table)[key] = value

    def delete(self, table: Table, key: bytes) -> bool:
        """Remove an entry; return whether it was there."""
        return self._own(table).pop(key, None) is not None

    def on_abort(self, action: Callable[[], None]) -> None:
        """Have `action` called by `undo`."""
        self._undo.append(action)

    def undo(self) -> None:
        """Call what was registered, last first."""
        while self._undo:
            self._undo.pop()()

    def _own(self, table: Table) -> dict[bytes, bytes]:
        if table not in self._written:
            self._written.add(table)
            self.tables[table] = dict(self.tables[table])
        return self.tables[table]


def new_tables() -> MemoryTables:
    """Return the tables of a new store, in which nothing has been counted yet."""
    tables = MemoryTables()
    for counter in Counter:
        tables.put(Table.META, counter.key, number_key(counter.first))
    return tables


class MemoryCatalog:
    """A catalog for one process.

    Args:
        tables: What it holds at first; None: nothing.

    Attributes:
        read_only: Whether nothing can be changed: never.
        before_update: Called with a view before each transaction; what it raises comes out of
            `update`, as if the transaction had failed.
    """

    read_only = False

    def __init__(self, tables: MemoryTables | None = None) -> None:
        self._tables = (tables or MemoryTables()).tables
        self._commits = 0
        self._writing = threading.Lock()
        self.before_update: Callable[[MemoryTables], None] = lambda _view: None

    def view(self) -> MemoryTables:
        """Return what it holds now."""
        commit = self._commits  # before the tables, which may be newer then, and never older
        return MemoryTables(self._tables, commit)

    @contextmanager
    def read(self) -> Iterator[CatalogReader]:
        """Give one consistent view."""
        yield self.view()

    def update(self, change: Callable[[CatalogWriter], T]) -> T:
        """Run `change` and keep what it wrote, unless it raises."""
        with self._writing:
            self.before_update(self.view())
            writer = self.view()
            try:
                result = change(writer)
            except BaseException:
                writer.undo()
                raise
            self._tables = writer.tables
            self._commits += 1
        return result

    def last_commit(self) -> int:
        """Return how many commits there were."""
        return self._commits

    def size_bytes(self) -> int:
        """Return the bytes of all keys and values."""
        tables = self._tables.values()
        return sum(len(key) + len(value) for entries in tables for key, value in entries.items())

    def close(self) -> None:
        """Do nothing."""
