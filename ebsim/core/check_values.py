"""Checking the catalog's values, and reading on behind those that are damaged."""

from collections.abc import Iterator

from ebsim.errors import CorruptionError
from ebsim.format.catalog_values import Table
from ebsim.results import Finding
from ebsim.storage.catalog import CatalogReader


class SoundReader:
    """A view of the catalog in which damaged values are missing, so that a check can go on.

    Attributes:
        findings: The damaged values.
    """

    def __init__(self, reader: CatalogReader) -> None:
        self._reader = reader
        self._damaged = {table: frozenset(_damaged_keys(reader, table)) for table in Table}
        self.findings = [
            Finding(
                kind="corrupt-value",
                message=f"the catalog's entry {table.name.lower()}/{key.hex()} is damaged",
            )
            for table, keys in self._damaged.items()
            for key in sorted(keys)
        ]

    def get(self, table: Table, key: bytes) -> bytes | None:
        """Return a value; None where it is missing or damaged."""
        return None if key in self._damaged[table] else self._reader.get(table, key)

    def floor(self, table: Table, key: bytes) -> tuple[bytes, bytes] | None:
        """Return the entry with the greatest key that is not greater; None if it is damaged."""
        try:
            return self._reader.floor(table, key)
        except CorruptionError:
            return None

    def items(
        self, table: Table, *, start: bytes = b"", prefix: bytes = b"", reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the sound entries whose key begins with `prefix`."""
        damaged = self._damaged[table]
        if not damaged:
            yield from self._reader.items(table, start=start, prefix=prefix, reverse=reverse)
            return
        keys = sorted(self._reader.keys(table), reverse=reverse)
        for key in keys:
            if key.startswith(prefix) and key not in damaged and (reverse or key >= start):
                value = self._reader.get(table, key)
                if value is not None:
                    yield key, value

    def keys(self, table: Table) -> Iterator[bytes]:
        """Yield all keys, those of damaged values too."""
        return self._reader.keys(table)

    def count(self, table: Table) -> int:
        """Return the number of entries, damaged ones too."""
        return self._reader.count(table)


def _damaged_keys(reader: CatalogReader, table: Table) -> Iterator[bytes]:
    for key in reader.keys(table):
        try:
            reader.get(table, key)
        except CorruptionError:
            yield key
