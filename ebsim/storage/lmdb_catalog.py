"""The catalog in LMDB.

What binds us (docs/durability.md has the sources): LMDB detects no damage, so each value carries a
checksum over table, key and value; it dies on a full disk with a writable map, so the map is
read-only and pages are written; a killed reader keeps old pages alive, so readers are checked when
the catalog is opened; a fork must not use the parent's environment, so the process id is compared.
The engine is LMDB 1.0, which answers a truncated file with an error where 0.9 dies of SIGBUS.
"""

import errno
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import lmdb

from ebsim import failpoints
from ebsim.errors import (
    CorruptionError,
    EbsimError,
    ErrorCode,
    LimitExceededError,
    OutcomeUnknownError,
    StoreError,
)
from ebsim.format.catalog_values import Table
from ebsim.format.checksum import CHECKSUM_SIZE, stored_checksum_of
from ebsim.storage.catalog import CatalogReader, CatalogWriter
from ebsim.storage.failures import is_no_space, is_quota_full, write_failure

if TYPE_CHECKING:
    from ebsim.storage.catalog_watch import CatalogWatch

T = TypeVar("T")
_log = logging.getLogger(__name__)
_Handles = dict[Table, "lmdb._Database"]

MAP_SIZE = 1 << 40
"""1 TiB of address space, not of memory or disk: room for 4 * 10^9 blocks. It grows if need be."""

MAX_READERS = 1022
_STILL_ATTEMPTS = 100
"""How often a reader tries to begin while nobody commits; each attempt takes microseconds."""

LOCK_FILE_SIZE = 65536
"""How long LMDB makes its table for so many readers."""

_SHORT_OF_SPACE = ("MDB_SHORT_WRITE", os.strerror(errno.ENOSPC))
"""What LMDB says when a new catalog cannot be begun on a full disk."""

FREE_BYTES_MIN = 1 << 20
"""Below this LMDB's generic "Input/output error" on a short write is reported as no space."""


class _Reader:
    """A view of the catalog, over a transaction."""

    def __init__(
        self, txn: "lmdb.Transaction[bytes]", handles: "dict[Table, lmdb._Database]"
    ) -> None:
        self._txn = txn
        self._handles = handles

    @property
    def commit(self) -> int:
        """The number of the last commit that it shows."""
        return int(self._txn.id())

    def get(self, table: Table, key: bytes) -> bytes | None:
        """Return a value, or None."""
        sealed = self._txn.get(key, db=self._handles[table])
        return None if sealed is None else _unseal(table, key, sealed)

    def floor(self, table: Table, key: bytes) -> tuple[bytes, bytes] | None:
        """Return the entry with the greatest key that is not greater, or None."""
        with self._txn.cursor(self._handles[table]) as cursor:
            if cursor.set_range(key):
                if cursor.key() != key and not cursor.prev():
                    return None
            elif not cursor.last():
                return None
            found, sealed = cursor.item()
            return found, _unseal(table, found, sealed)

    def items(
        self, table: Table, *, start: bytes = b"", prefix: bytes = b"", reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the entries whose key begins with `prefix`, in key order."""
        with self._txn.cursor(self._handles[table]) as cursor:
            if reverse:
                found = _seek_last(cursor, prefix)
            else:
                first = max(start, prefix)
                found = cursor.set_range(first) if first else cursor.first()
            while found:
                key, sealed = cursor.item()
                if not key.startswith(prefix):
                    return
                yield key, _unseal(table, key, sealed)
                found = cursor.prev() if reverse else cursor.next()

    def keys(self, table: Table) -> Iterator[bytes]:
        """Yield all keys in order, without looking at the values: they may be damaged."""
        with self._txn.cursor(self._handles[table]) as cursor:
            yield from cursor.iternext(keys=True, values=False)

    def count(self, table: Table) -> int:
        """Return the number of entries in a table."""
        return int(self._txn.stat(self._handles[table])["entries"])


class _Writer(_Reader):
    """The writing transaction."""

    def __init__(
        self, txn: "lmdb.Transaction[bytes]", handles: "dict[Table, lmdb._Database]"
    ) -> None:
        super().__init__(txn, handles)
        self._undo: list[Callable[[], None]] = []
        self.tables: set[Table] = set()

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Set a value."""
        self.tables.add(table)
        self._txn.put(key, value + seal_value(table, key, value), db=self._handles[table])

    def delete(self, table: Table, key: bytes) -> bool:
        """Remove an entry; return whether it was there."""
        self.tables.add(table)
        return bool(self._txn.delete(key, db=self._handles[table]))

    def on_abort(self, action: Callable[[], None]) -> None:
        """Have `action` called if this transaction does not commit."""
        self._undo.append(action)

    def undo(self) -> None:
        """Call what was registered, last first."""
        while self._undo:
            self._undo.pop()()


class LmdbCatalog:
    """The catalog of a store, in the folder `STORE/catalog`."""

    def __init__(
        self, path: Path, *, map_size: int = MAP_SIZE, watch: "CatalogWatch | None" = None
    ) -> None:
        """Open the catalog, making it if the folder is empty.

        Args:
            path: The folder.
            map_size: The address space, in bytes.
            watch: Told when it is written to, and how it is left; None for a catalog that is not
                yet a store's.

        Raises:
            StoreError: LMDB cannot open it (it is open already in this process, or damaged).
            CorruptionError: It has a table that ebsim did not make.
        """
        self._path = path
        self._pid = os.getpid()
        self._growing = threading.Lock()
        self._watch = watch
        self._failed = False
        self._closed = False
        self._read_only = self.lies_read_only(path)
        if not self._read_only:
            _allocate_lock_file(path / "lock.mdb")
        try:
            self._env = lmdb.open(
                str(path),
                map_size=map_size,
                subdir=True,
                mode=0o600,
                max_dbs=len(Table),
                max_readers=MAX_READERS,
                readonly=self._read_only,
                writemap=False,
                sync=True,
                metasync=True,
                meminit=True,
                readahead=False,
                lib_version=1,
            )
            self._handles = self._open_tables(self._env)
        except lmdb.Error as error:
            if any(sign in str(error) for sign in _SHORT_OF_SPACE):
                raise self._failure(error, ErrorCode.STORE_FAILED) from error
            raise StoreError(
                f"the catalog {path} cannot be opened: {error}", ErrorCode.STORE_FAILED
            ) from error
        self._file = self._file_in_place()

    def _open_tables(self, env: lmdb.Environment) -> "dict[Table, lmdb._Database]":
        """Open the tables, making those that are missing; close the environment if that fails."""
        try:
            if not self._read_only:
                env.reader_check()
            _ensure_known_tables(env, self._path)
            create = not self._read_only
            return {table: env.open_db(table.value, create=create) for table in Table}
        except BaseException:
            env.close()
            raise

    @property
    def read_only(self) -> bool:
        """Whether it lies on a read-only file system, so that `update` is refused."""
        return self._read_only

    @staticmethod
    def lies_read_only(path: Path) -> bool:
        """Return whether a folder lies on a read-only file system."""
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)

    def close(self) -> None:
        """Close the catalog; a second call does nothing."""
        closed, self._closed = self._closed, True
        if self._watch is not None and not closed and os.getpid() == self._pid:
            self._watch.end_writing(self._last_commit, good=not self._failed)
        self._env.close()

    def last_commit(self) -> int:
        """Return the number of the last commit, by whichever process."""
        self._ensure_open()
        self._ensure_not_forked()
        return self._last_commit()

    def _last_commit(self) -> int:
        return int(self._env.info()["last_txnid"])

    def size_bytes(self) -> int:
        """Return the bytes the catalog occupies on disk."""
        try:
            return sum(entry.lstat().st_blocks * 512 for entry in self._path.iterdir())
        except OSError as error:
            raise StoreError(f"cannot look at {self._path}: {error.strerror}") from error

    @contextmanager
    def read(self) -> Iterator[CatalogReader]:
        """Give one consistent view."""
        txn = self._begin(write=False)
        try:
            yield _Reader(txn, self._handles)
        except lmdb.Error as error:
            raise StoreError(f"the catalog {self._path} cannot be read: {error}") from error
        finally:
            txn.abort()

    def update(self, change: Callable[[CatalogWriter], T]) -> T:
        """Run `change` in the writing transaction and commit it durably."""
        self._ensure_open()
        if self._read_only:
            raise StoreError(f"{self._path} is read-only: nothing can be changed in this store")
        self._ensure_in_place()
        if self._watch is not None and not self._closed:
            self._watch.begin_writing()
        with self._committing():
            self._ensure_in_place()  # another's commit may have failed meanwhile
            while True:
                try:
                    return self._update_once(change)
                except lmdb.MapFullError:
                    self._grow()

    def _committing(self) -> AbstractContextManager[object]:
        return nullcontext() if self._watch is None else self._watch.committing()

    def _update_once(self, change: Callable[[CatalogWriter], T]) -> T:
        txn = self._begin(write=True)
        writer = _Writer(txn, self._handles)
        try:
            result = change(writer)
            failpoints.reach("catalog.before-commit")
        except lmdb.MapFullError:
            txn.abort()
            writer.undo()
            raise
        except lmdb.Error as error:
            txn.abort()
            writer.undo()
            raise self._failure(error, ErrorCode.STORE_FAILED) from error
        except BaseException:
            txn.abort()
            writer.undo()
            raise
        number = txn.id()
        try:
            self._commit(txn)
        except lmdb.MapFullError:
            writer.undo()
            raise
        except lmdb.Error as error:
            raise self._outcome(error, number, writer) from error
        failpoints.reach("catalog.committed")
        return result

    @staticmethod
    def _commit(txn: "lmdb.Transaction[bytes]") -> None:
        """Commit; a test puts another in its place."""
        txn.commit()

    def _outcome(
        self, error: lmdb.Error, number: int, writer: _Writer
    ) -> StoreError | LimitExceededError:
        """Look how a commit that failed ended, in a new process, and return what to raise.

        A transaction that failed before its meta page was written did not happen. If writing that
        page failed, LMDB refuses everything until it is opened again (`mdb_env_write_meta`), and
        the page may be in the kernel's memory, or on the disk, or not.
        """
        from ebsim.storage.catalog_proof import look_for_commit
        from ebsim.storage.catalog_renewal import renew_catalog

        self._failed = True
        failure = self._failure(error, ErrorCode.STORE_FAILED)
        in_doubt = self._refuses_everything()
        if isinstance(failure, LimitExceededError) and not in_doubt:
            self._failed = False
            writer.undo()
            return failure
        renew_catalog(self._path)
        happened = look_for_commit(self._path, number)
        if happened is None and not in_doubt:
            happened = False
        if happened is False:
            _undo_if_possible(writer)
        what = {True: "it did happen", False: "it did not happen", None: "it is still not known"}
        return OutcomeUnknownError(
            f"a commit failed ({error}) and its outcome was unknown, so the catalog {self._path} "
            f"was opened again to look: {what[happened]}",
            happened=happened,
            tables=frozenset(table.name for table in writer.tables),
        )

    def _refuses_everything(self) -> bool:
        try:
            self._env.begin().abort()
        except lmdb.Error:  # PanicError
            return True
        return False

    def _ensure_in_place(self) -> None:
        if self._file_in_place() != self._file:
            raise StoreError(f"the catalog {self._path} was made anew: open the store again")

    def _file_in_place(self) -> tuple[int, int] | None:
        """Return which file is the catalog's by name; None where there is none."""
        try:
            facts = os.stat(self._path / "data.mdb")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(
                f"the catalog {self._path} cannot be looked at: {error.strerror}",
                ErrorCode.STORE_FAILED,
            ) from error
        return facts.st_dev, facts.st_ino

    def _ensure_open(self) -> None:
        if self._closed:
            raise StoreError(
                f"the store {self._path.parent} is closed: open it again", ErrorCode.STORE_CLOSED
            )

    def _ensure_not_forked(self) -> None:
        if os.getpid() != self._pid:
            raise StoreError(
                "this process was forked while the store was open: open the store again in it",
                ErrorCode.STORE_FORKED,
            )

    def _begin(self, *, write: bool) -> "lmdb.Transaction[bytes]":
        self._ensure_open()
        self._ensure_not_forked()
        try:
            try:
                return self._begin_whole(write=write)
            except lmdb.MapResizedError:
                self._env.set_mapsize(0)  # another process has let the map grow: follow it
                return self._begin_whole(write=write)
        except lmdb.Error as error:
            raise self._failure(error, ErrorCode.STORE_FAILED) from error

    def _begin_whole(self, *, write: bool) -> "lmdb.Transaction[bytes]":
        return self._env.begin(write=True) if write else begin_reading(self._env)

    def _grow(self) -> None:
        with self._growing:
            self._env.set_mapsize(self._env.info()["map_size"] * 2)

    def _failure(self, error: lmdb.Error, code: ErrorCode) -> StoreError | LimitExceededError:
        facts = os.statvfs(self._path)
        is_full = facts.f_bavail * facts.f_frsize < FREE_BYTES_MIN
        if is_full or str(errno.ENOSPC) in str(error) or is_quota_full(self._path, FREE_BYTES_MIN):
            return LimitExceededError(
                f"no space left on the file system of {self._path}: delete snapshots, or free "
                "space otherwise, and try again",
                ErrorCode.NO_SPACE,
            )
        return StoreError(f"the catalog {self._path} failed: {error}; open the store again", code)


def _allocate_lock_file(path: Path) -> None:
    """Give LMDB's table of readers its space.

    LMDB maps it and writes to the map: where a page of it has no space and none is free, the kernel
    ends the process (SIGBUS; seen on ext4). A table that is there is not made longer: others may
    have mapped it as it is.

    Raises:
        LimitExceededError: There is no table yet, and no space for one.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return  # LMDB says what is wrong
    try:
        size = os.fstat(fd).st_size
        try:
            os.posix_fallocate(fd, 0, size or LOCK_FILE_SIZE)
        except OSError as error:
            os.ftruncate(fd, size)
            if not size and is_no_space(error):
                raise write_failure(error, path) from error
    finally:
        os.close(fd)


def _undo_if_possible(writer: _Writer) -> None:
    """Take back what a transaction did beside the catalog; else whoever opens the store does."""
    try:
        writer.undo()
    except EbsimError as error:
        _log.warning("could not take back what a failed commit had written: %s", error)


def begin_reading(env: lmdb.Environment) -> "lmdb.Transaction[bytes]":
    """Begin a reading transaction, again if it may have begun in the middle of a commit.

    LMDB 1.0 copies the meta page of the last commit, N, without looking twice. A reader that is put
    to sleep there until commit N + 2 overwrites that page may get a mixture of both, and fails with
    MDB_BAD_TXN or MDB_CORRUPTED (seen 17 times in 11 million beginnings beside two writers). If N
    is still the last commit afterwards, nobody had begun to write N + 2. That nearly always holds;
    where commits are too quick for it, two more having been made is what tells.
    """
    for _ in range(_STILL_ATTEMPTS):
        txn = env.begin()
        if env.info()["last_txnid"] == txn.id():
            return txn
        txn.abort()
    txn = env.begin()
    while env.info()["last_txnid"] - txn.id() > 1:
        txn.abort()
        txn = env.begin()
    return txn


def _ensure_known_tables(env: lmdb.Environment, path: Path) -> None:
    """Look that every table is one of ours, before those that are missing are made.

    A damaged name would have its table be made anew, and empty.

    Raises:
        CorruptionError: There is a table that nobody made.
    """
    known = {table.value + b"\0" for table in Table}  # LMDB 1.0 keeps the end of a C string
    with begin_reading(env) as txn, txn.cursor() as cursor:
        names = set(cursor.iternext(keys=True, values=False))
    if names - known:
        raise CorruptionError(
            f"the catalog {path} has a table {min(names - known)!r} that is not ebsim's",
            ErrorCode.CORRUPT_CATALOG,
        )


_NAMED = {table: table.value + b"\0" for table in Table}


def seal_value(table: Table, key: bytes, value: bytes) -> bytes:
    """Return the checksum that stands behind a value."""
    return stored_checksum_of(b"".join((_NAMED[table], key, b"\0", value)))


def _unseal(table: Table, key: bytes, sealed: bytes) -> bytes:
    value, checksum = sealed[:-CHECKSUM_SIZE], sealed[-CHECKSUM_SIZE:]
    if seal_value(table, key, value) != checksum:
        raise CorruptionError(
            f"the catalog's entry {table.name.lower()}/{key.hex()} is damaged",
            ErrorCode.CORRUPT_CATALOG,
        )
    return value


def _seek_last(cursor: "lmdb.Cursor[bytes]", prefix: bytes) -> bool:
    """Move to the last key that begins with `prefix`; False if there is none."""
    beyond = _successor(prefix)
    if beyond is None:
        return cursor.last()
    return cursor.prev() if cursor.set_range(beyond) else cursor.last()


def _successor(prefix: bytes) -> bytes | None:
    """Return the least key beyond every key with this prefix, None if there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else None
