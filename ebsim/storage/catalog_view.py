"""Looking at a catalog without using it: read-only, entry by entry, also where it is damaged.

LMDB trusts its file. A flipped bit may send it astray, so whoever looks at a catalog that nothing
has vouched for should do it in a process that may die (`ebsim.core.dump_child`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from ebsim.errors import StoreError
from ebsim.format.catalog_values import Table
from ebsim.format.checksum import CHECKSUM_SIZE
from ebsim.storage.lmdb_catalog import MAX_READERS, begin_reading, seal_value

RawEntry = tuple[bytes, bytes, bool]
"""A key, its value without the checksum, and whether the checksum is right."""


class CatalogView:
    """One consistent, read-only view of a catalog."""

    def __init__(self, env: lmdb.Environment, txn: "lmdb.Transaction[bytes]") -> None:
        self._env = env
        self._txn = txn

    def count(self, table: Table) -> int | None:
        """Return the number of entries; None if the table is missing.

        Raises:
            StoreError: LMDB cannot read it.
        """
        try:
            handle = self._env.open_db(table.value, txn=self._txn, create=False)
            return int(self._txn.stat(handle)["entries"])
        except lmdb.NotFoundError:
            return None
        except lmdb.Error as error:
            raise StoreError(f"table {table.name}: {error}") from error

    def entries(self, table: Table) -> Iterator[RawEntry]:
        """Yield a table's entries in the order of their keys, damaged ones too.

        Raises:
            StoreError: LMDB cannot read on.
        """
        try:
            handle = self._env.open_db(table.value, txn=self._txn, create=False)
            with self._txn.cursor(handle) as cursor:
                for key, sealed in cursor:
                    value, checksum = sealed[:-CHECKSUM_SIZE], sealed[-CHECKSUM_SIZE:]
                    yield key, value, seal_value(table, key, value) == checksum
        except lmdb.NotFoundError:
            return
        except lmdb.Error as error:
            raise StoreError(f"table {table.name}: {error}") from error


@contextmanager
def open_catalog_view(path: Path) -> Iterator[CatalogView]:
    """Open the catalog in a folder for looking at.

    Raises:
        StoreError: LMDB cannot open it.
    """
    try:
        env = lmdb.open(
            str(path),
            readonly=True,
            create=False,
            max_dbs=len(Table),
            max_readers=MAX_READERS,
            lib_version=1,
        )
        try:
            with begin_reading(env) as txn:
                yield CatalogView(env, txn)
        finally:
            env.close()
    except lmdb.Error as error:
        raise StoreError(f"the catalog {path} cannot be read: {error}") from error
