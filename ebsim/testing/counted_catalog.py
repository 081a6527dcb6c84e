"""A catalog that counts what is looked at: so that costs are proved without a watch."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from ebsim.format.catalog_values import Table
from ebsim.storage.catalog import Catalog, CatalogReader, CatalogWriter

T = TypeVar("T")


class CountedReader:
    """A view that counts each look-up, and each entry that is walked over.

    Args:
        reader: What does the work.
        touch: Told the table for each of them, from any thread.
    """

    def __init__(self, reader: CatalogReader, touch: Callable[[Table], None]) -> None:
        self._reader = reader
        self._touch = touch

    @property
    def commit(self) -> int:
        """The number of the last commit that it shows."""
        return self._reader.commit

    def get(self, table: Table, key: bytes) -> bytes | None:
        """Return a value, or None; one look-up."""
        self._touch(table)
        return self._reader.get(table, key)

    def floor(self, table: Table, key: bytes) -> tuple[bytes, bytes] | None:
        """Return the entry with the greatest key that is not greater, or None; one look-up."""
        self._touch(table)
        return self._reader.floor(table, key)

    def items(
        self, table: Table, *, start: bytes = b"", prefix: bytes = b"", reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield entries; one look-up, and one for each entry."""
        self._touch(table)
        for item in self._reader.items(table, start=start, prefix=prefix, reverse=reverse):
            self._touch(table)
            yield item

    def count(self, table: Table) -> int:
        """Return the number of entries in a table; one look-up."""
        self._touch(table)
        return self._reader.count(table)

    def keys(self, table: Table) -> Iterator[bytes]:
        """Yield all keys; one look-up, and one for each key."""
        self._touch(table)
        for key in self._reader.keys(table):
            self._touch(table)
            yield key


class CountedWriter(CountedReader):
    """A writing transaction that counts each change too."""

    def __init__(self, writer: CatalogWriter, touch: Callable[[Table], None]) -> None:
        super().__init__(writer, touch)
        self._writer = writer

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Set a value."""
        self._touch(table)
        self._writer.put(table, key, value)

    def delete(self, table: Table, key: bytes) -> bool:
        """Remove an entry; return whether it was there."""
        self._touch(table)
        return self._writer.delete(table, key)

    def on_abort(self, action: Callable[[], None]) -> None:
        """Have `action` called if the transaction does not commit."""
        self._writer.on_abort(action)


class CountedCatalog:
    """A catalog that counts what is looked at and changed in it.

    Args:
        catalog: What does the work.

    Attributes:
        touched: By table, the look-ups, the entries that were walked over, and the changes.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._mutex = threading.Lock()
        self.touched: Counter[Table] = Counter()

    @property
    def read_only(self) -> bool:
        """Whether nothing can be changed."""
        return self._catalog.read_only

    @contextmanager
    def read(self) -> Iterator[CatalogReader]:
        """Give one consistent view."""
        with self._catalog.read() as reader:
            yield CountedReader(reader, self._touch)

    def update(self, change: Callable[[CatalogWriter], T]) -> T:
        """Run `change` in the writing transaction."""
        return self._catalog.update(lambda writer: change(CountedWriter(writer, self._touch)))

    def last_commit(self) -> int:
        """Return the number of the last commit."""
        return self._catalog.last_commit()

    def size_bytes(self) -> int:
        """Return the bytes the catalog occupies."""
        return self._catalog.size_bytes()

    def close(self) -> None:
        """Close the catalog."""
        self._catalog.close()

    def _touch(self, table: Table) -> None:
        with self._mutex:
            self.touched[table] += 1
