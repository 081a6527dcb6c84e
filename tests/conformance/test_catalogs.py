"""What every catalog does: the one in LMDB, and the fake that tests use.

The suite is `CatalogTests`; a further catalog passes it as a subclass that makes one.
"""

import os
import signal
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ebsim
from ebsim.errors import CorruptionError, ErrorCode, StoreError
from ebsim.format.catalog_values import Table
from ebsim.format.checksum import stored_checksum
from ebsim.storage.catalog import Catalog, CatalogReader, CatalogWriter
from ebsim.storage.lmdb_catalog import LmdbCatalog
from ebsim.testing.memory_catalog import MemoryCatalog, MemoryTables

ITEMS = {key: key * 2 for key in (b"a", b"ab", b"abc", b"b", b"b\xff", b"b\xff\xff", b"c", b"\xff")}
KEYS = sorted(ITEMS)

Entries = list[tuple[bytes, bytes]]


class UnrelatedError(Exception):
    """Raised by a change that is to be undone."""


def put_all(writer: CatalogWriter) -> None:
    for key, value in ITEMS.items():
        writer.put(Table.NODES, key, value)


def all_items(catalog: Catalog, table: Table = Table.NODES) -> Entries:
    with catalog.read() as reader:
        return list(reader.items(table))


class CatalogTests(ABC):
    """The suite: `catalog` is empty."""

    @pytest.fixture
    @abstractmethod
    def catalog(self, fast_path: Path) -> Iterator[Catalog]: ...

    @pytest.fixture
    def filled(self, catalog: Catalog) -> Catalog:
        """The catalog with `ITEMS` in the table NODES."""
        catalog.update(put_all)
        return catalog

    # reading

    def test_new_catalog_is_empty(self, catalog: Catalog) -> None:
        with catalog.read() as reader:
            for table in Table:
                assert reader.count(table) == 0
                assert reader.get(table, b"a") is None
                assert reader.floor(table, b"a") is None
                assert list(reader.items(table)) == list(reader.items(table, reverse=True)) == []

    def test_values_are_found_by_their_whole_key(self, filled: Catalog) -> None:
        with filled.read() as reader:
            assert {key: reader.get(Table.NODES, key) for key in KEYS} == ITEMS
            assert [reader.get(Table.NODES, key) for key in (b"abcd", b"d", b"\0")] == [None] * 3

    def test_tables_are_apart(self, filled: Catalog) -> None:
        filled.update(lambda writer: writer.put(Table.PAGES, b"a", b"other"))

        with filled.read() as reader:
            assert reader.get(Table.NODES, b"a") == b"aa"
            assert reader.get(Table.PAGES, b"a") == b"other"
            assert reader.count(Table.PAGES) == 1
            assert reader.count(Table.NODES) == len(ITEMS)

    @pytest.mark.parametrize("value", [b"", b"\0", b"x" * 100_000])
    def test_value_of_any_length_comes_back(self, catalog: Catalog, value: bytes) -> None:
        catalog.update(lambda writer: writer.put(Table.PAGES, b"key", value))

        with catalog.read() as reader:
            assert reader.get(Table.PAGES, b"key") == value
            assert reader.floor(Table.PAGES, b"z") == (b"key", value)
            assert list(reader.items(Table.PAGES)) == [(b"key", value)]

    @pytest.mark.parametrize("key", [b"\0", b"k" * 511, bytes(range(256))])
    def test_key_of_any_length_up_to_511_comes_back(self, catalog: Catalog, key: bytes) -> None:
        catalog.update(lambda writer: writer.put(Table.PAGES, key, b"value"))

        assert all_items(catalog, Table.PAGES) == [(key, b"value")]

    # items

    def test_items_are_in_the_order_of_their_bytes(self, filled: Catalog) -> None:
        assert all_items(filled) == sorted(ITEMS.items())

    @pytest.mark.parametrize("start", [*KEYS, b"\0", b"aa", b"abb", b"b\xfe", b"d", b"\xff\xff"])
    def test_items_begin_at_the_first_key_that_is_not_less(
        self, filled: Catalog, start: bytes
    ) -> None:
        with filled.read() as reader:
            found = [key for key, _ in reader.items(Table.NODES, start=start)]

        assert found == [key for key in KEYS if key >= start]

    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize(
        "prefix", [b"", *KEYS, b"\0", b"aa", b"d", b"\xff\xff", b"b\xff\xff\xff"]
    )
    def test_items_of_a_prefix(self, filled: Catalog, prefix: bytes, *, reverse: bool) -> None:
        with filled.read() as reader:
            found = list(reader.items(Table.NODES, prefix=prefix, reverse=reverse))

        expected = [(key, ITEMS[key]) for key in KEYS if key.startswith(prefix)]
        assert found == (expected[::-1] if reverse else expected)

    @pytest.mark.parametrize(
        ("start", "expected"),
        [(b"a", [b"b", b"b\xff", b"b\xff\xff"]), (b"b\xff\0", [b"b\xff\xff"])],
    )
    def test_start_within_a_prefix(
        self, filled: Catalog, start: bytes, expected: list[bytes]
    ) -> None:
        with filled.read() as reader:
            found = [key for key, _ in reader.items(Table.NODES, start=start, prefix=b"b")]

        assert found == expected

    def test_items_can_be_left_early(self, filled: Catalog) -> None:
        with filled.read() as reader:
            assert next(reader.items(Table.NODES)) == (b"a", b"aa")
            assert next(reader.items(Table.NODES, reverse=True)) == (b"\xff", b"\xff\xff")
        filled.update(lambda writer: writer.delete(Table.NODES, b"a"))

        assert next(iter(all_items(filled))) == (b"ab", b"abab")

    def test_keys_are_in_the_order_of_their_bytes(self, filled: Catalog) -> None:
        with filled.read() as reader:
            assert list(reader.keys(Table.NODES)) == KEYS
            assert list(reader.keys(Table.PAGES)) == []

    # floor

    @pytest.mark.parametrize("key", [*KEYS, b"\0", b"aa", b"abb", b"b\xfe", b"d", b"\xff\xff"])
    def test_floor_is_the_greatest_key_that_is_not_greater(
        self, filled: Catalog, key: bytes
    ) -> None:
        expected = max((other for other in KEYS if other <= key), default=None)

        with filled.read() as reader:
            found = reader.floor(Table.NODES, key)

        assert found == (None if expected is None else (expected, ITEMS[expected]))

    # writing

    def test_writer_sees_its_own_changes(self, filled: Catalog) -> None:
        def change(writer: CatalogWriter) -> Entries:
            writer.put(Table.NODES, b"ab", b"new")
            writer.put(Table.NODES, b"aaa", b"added")
            assert writer.delete(Table.NODES, b"abc")
            assert writer.get(Table.NODES, b"ab") == b"new"
            assert writer.get(Table.NODES, b"abc") is None
            assert writer.floor(Table.NODES, b"ab") == (b"ab", b"new")
            assert writer.count(Table.NODES) == len(ITEMS)
            return list(writer.items(Table.NODES, prefix=b"a"))

        expected = [(b"a", b"aa"), (b"aaa", b"added"), (b"ab", b"new")]
        assert filled.update(change) == expected
        assert all_items(filled)[:3] == expected

    def test_put_replaces(self, filled: Catalog) -> None:
        filled.update(lambda writer: writer.put(Table.NODES, b"c", b""))

        with filled.read() as reader:
            assert reader.get(Table.NODES, b"c") == b""
            assert reader.count(Table.NODES) == len(ITEMS)

    def test_delete_tells_whether_it_was_there(self, filled: Catalog) -> None:
        keys = (b"c", b"c", b"d")

        found = filled.update(lambda writer: [writer.delete(Table.NODES, key) for key in keys])

        assert found == [True, False, False]
        assert b"c" not in dict(all_items(filled))

    def test_update_returns_what_the_change_returns(self, catalog: Catalog) -> None:
        assert catalog.update(lambda writer: writer.count(Table.NODES)) == 0

    def test_items_that_were_listed_may_be_deleted(self, filled: Catalog) -> None:
        def clear(writer: CatalogWriter) -> None:
            for key, _ in list(writer.items(Table.NODES, prefix=b"b")):
                writer.delete(Table.NODES, key)

        filled.update(clear)

        assert [key for key, _ in all_items(filled)] == [b"a", b"ab", b"abc", b"c", b"\xff"]

    def test_writes_of_several_threads_all_count(self, catalog: Catalog) -> None:
        def count(writer: CatalogWriter) -> None:
            value = int(writer.get(Table.META, b"count") or b"0")
            writer.put(Table.META, b"count", str(value + 1).encode())

        def count_often() -> None:
            for _ in range(25):
                catalog.update(count)

        threads = [threading.Thread(target=count_often) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert all_items(catalog, Table.META) == [(b"count", b"100")]

    # isolation

    def test_reader_keeps_its_view(self, filled: Catalog) -> None:
        def change(writer: CatalogWriter) -> None:
            writer.put(Table.NODES, b"a", b"new")
            writer.delete(Table.NODES, b"b")
            writer.put(Table.PAGES, b"p", b"page")

        with filled.read() as reader:
            filled.update(change)

            assert list(reader.items(Table.NODES)) == sorted(ITEMS.items())
            assert reader.get(Table.NODES, b"a") == b"aa"
            assert reader.floor(Table.NODES, b"b") == (b"b", b"bb")
            assert reader.count(Table.PAGES) == 0
        with filled.read() as reader:
            assert reader.get(Table.NODES, b"a") == b"new"
            assert reader.floor(Table.NODES, b"b") == (b"abc", b"abcabc")
            assert reader.count(Table.PAGES) == 1

    def test_nobody_sees_a_change_before_it_is_committed(self, filled: Catalog) -> None:
        seen: list[bytes | None] = []

        def look() -> None:
            with filled.read() as reader:
                seen.append(reader.get(Table.NODES, b"a"))

        def change(writer: CatalogWriter) -> None:
            writer.put(Table.NODES, b"a", b"new")
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()

        filled.update(change)
        look()

        assert seen == [b"aa", b"new"]

    # aborting

    @pytest.mark.parametrize("error", [UnrelatedError, KeyboardInterrupt])
    def test_change_that_raises_is_undone(
        self, filled: Catalog, error: type[BaseException]
    ) -> None:
        undone: list[int] = []

        def change(writer: CatalogWriter) -> None:
            writer.on_abort(lambda: undone.append(1))
            writer.put(Table.NODES, b"new", b"new")
            writer.delete(Table.NODES, b"a")
            writer.on_abort(lambda: undone.append(2))
            raise error

        with pytest.raises(error):
            filled.update(change)

        assert undone == [2, 1]
        assert all_items(filled) == sorted(ITEMS.items())

    def test_catalog_goes_on_after_an_aborted_change(self, filled: Catalog) -> None:
        def fail(writer: CatalogWriter) -> None:
            writer.put(Table.NODES, b"a", b"never")
            raise UnrelatedError

        with pytest.raises(UnrelatedError):
            filled.update(fail)
        filled.update(lambda writer: writer.put(Table.NODES, b"z", b"z"))

        assert dict(all_items(filled)) == {**ITEMS, b"z": b"z"}

    def test_committed_change_is_not_undone(self, catalog: Catalog) -> None:
        undone: list[int] = []

        catalog.update(lambda writer: writer.on_abort(lambda: undone.append(1)))
        with pytest.raises(UnrelatedError):
            catalog.update(self._fail)

        assert undone == []

    @staticmethod
    def _fail(_writer: CatalogWriter) -> None:
        raise UnrelatedError

    def test_each_commit_has_a_greater_number(self, catalog: Catalog) -> None:
        before = catalog.last_commit()
        with catalog.read(), pytest.raises(UnrelatedError):
            catalog.update(self._fail)
        assert catalog.last_commit() == before

        catalog.update(lambda writer: writer.put(Table.PAGES, b"p", b"1"))

        assert catalog.last_commit() > before

    def test_view_tells_which_commit_it_shows(self, catalog: Catalog) -> None:
        with catalog.read() as reader:
            before = catalog.last_commit()
            catalog.update(lambda writer: writer.put(Table.PAGES, b"p", b"1"))
            assert reader.commit == before
        with catalog.read() as reader:
            assert reader.commit == catalog.last_commit() > before

    # size

    def test_size_grows_with_what_is_in_it(self, catalog: Catalog) -> None:
        before = catalog.size_bytes()

        catalog.update(lambda writer: writer.put(Table.PAGES, b"p", b"x" * 100_000))

        assert catalog.size_bytes() >= before + 100_000


class TestMemoryCatalog(CatalogTests):
    @pytest.fixture
    def catalog(self) -> Iterator[Catalog]:
        catalog = MemoryCatalog()
        yield catalog
        catalog.close()


ROOT_FOLDER = Path(ebsim.__file__).parents[1]
"""Where another interpreter finds ebsim."""

RAW_READER = """
import lmdb, sys
catalog = lmdb.open(sys.argv[1], max_dbs=32, create=False)
with catalog.begin():
    print("ready", flush=True)
    sys.stdin.readline()
print(catalog.readers().encode().hex(), flush=True)
"""


class RawReader:
    """Another process that holds a view of a catalog, without the code under test."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", RAW_READER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    @property
    def pid(self) -> int:
        return self._process.pid

    def list_readers(self) -> set[int]:
        """Have it end its view and name the processes that LMDB knows as readers."""
        answer, _ = self._process.communicate("\n")
        lines = bytes.fromhex(answer).decode().splitlines()
        return {int(line.split()[0]) for line in lines if line.split()[0].isdigit()}

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


class TestLmdbCatalog(CatalogTests):
    @pytest.fixture
    def path(self, fast_path: Path) -> Path:
        path = fast_path / "catalog"
        path.mkdir()
        return path

    @pytest.fixture
    def catalog(self, path: Path) -> Iterator[Catalog]:
        catalog = LmdbCatalog(path)
        yield catalog
        catalog.close()

    # keeping

    def test_what_was_committed_is_there_when_it_is_opened_again(
        self, path: Path, filled: Catalog
    ) -> None:
        filled.close()

        reopened = LmdbCatalog(path)

        assert all_items(reopened) == sorted(ITEMS.items())
        reopened.close()

    def test_values_lie_in_lmdb_behind_their_checksum(self, path: Path, filled: Catalog) -> None:
        """The layout that docs/format.md describes, read without the code under test."""
        filled.close()

        with lmdb.open(str(path), max_dbs=len(Table)) as raw, raw.begin() as txn:
            nodes = raw.open_db(b"nodes", txn, create=False)
            found = dict(txn.cursor(nodes))

        assert found == {
            key: value + stored_checksum((b"nodes", b"\0", key, b"\0", value))
            for key, value in ITEMS.items()
        }

    def test_only_the_owner_can_read_it(self, path: Path, filled: Catalog) -> None:
        assert filled.size_bytes() > 0
        assert {entry.stat().st_mode & 0o077 for entry in path.iterdir()} == {0}

    # misuse

    def test_second_open_in_one_process_is_refused(self, path: Path, filled: Catalog) -> None:
        with pytest.raises(StoreError, match="open") as caught:
            LmdbCatalog(path)

        assert caught.value.code is ErrorCode.STORE_FAILED
        assert "already open" in str(caught.value)
        assert str(path) in str(caught.value)
        assert all_items(filled) == sorted(ITEMS.items())

    def test_closed_catalog_is_refused(self, filled: Catalog) -> None:
        filled.close()
        filled.close()

        with pytest.raises(StoreError), filled.read():
            pass
        with pytest.raises(StoreError):
            filled.update(put_all)

    def test_use_after_a_fork_is_refused(self, filled: Catalog) -> None:
        def attempt() -> Iterator[ErrorCode | None]:
            for use in (lambda: all_items(filled), lambda: filled.update(put_all)):
                try:
                    use()
                    yield None
                except StoreError as error:
                    yield error.code

        receiver, sender = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(sender, " ".join(str(code) for code in attempt()).encode())
            os._exit(0)
        os.waitpid(child, 0)
        os.close(sender)
        with os.fdopen(receiver) as answers:
            assert answers.read() == "StoreForked StoreForked"

        assert all_items(filled) == sorted(ITEMS.items())

    # failing

    def test_change_that_lmdb_refuses_is_undone(self, filled: Catalog) -> None:
        undone: list[int] = []

        def change(writer: CatalogWriter) -> None:
            writer.on_abort(lambda: undone.append(1))
            writer.put(Table.NODES, b"a", b"never")
            writer.put(Table.NODES, b"k" * 3000, b"a key that is too long")

        with pytest.raises(StoreError) as caught:
            filled.update(change)

        assert caught.value.code is ErrorCode.STORE_FAILED
        assert undone == [1]
        assert all_items(filled) == sorted(ITEMS.items())

    def test_commit_that_failed_is_told_and_what_was_there_stays(
        self, path: Path, filled: Catalog
    ) -> None:
        """In a process that may write only so many bytes to a file: the commit's write fails."""
        filled.close()
        limit = (path / "data.mdb").stat().st_size + 4096
        write = (
            "import resource, signal, sys; from pathlib import Path\n"
            "from ebsim.errors import EbsimError\n"
            "from ebsim.storage.lmdb_catalog import LmdbCatalog, Table\n"
            "catalog = LmdbCatalog(Path(sys.argv[1]))\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
            "try:\n"
            "    catalog.update(lambda writer: writer.put(Table.PAGES, b'p', b'x' * (1 << 22)))\n"
            "except EbsimError as error:\n"
            "    print(error.code)"
        )

        done = subprocess.run(
            [sys.executable, "-c", write, str(path), str(limit)],
            cwd=ROOT_FOLDER,
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.stdout.strip() in ("OutcomeUnknown", "NoSpace"), done.stderr
        reopened = LmdbCatalog(path)
        assert all_items(reopened) == sorted(ITEMS.items())
        assert all_items(reopened, Table.PAGES) == []
        reopened.close()

    # growing

    def test_map_that_is_full_grows_and_the_change_runs_again(self, path: Path) -> None:
        catalog = LmdbCatalog(path, map_size=1 << 18)
        values = {number.to_bytes(4, "big"): bytes([number]) * 20_000 for number in range(60)}
        runs: list[list[str]] = []

        def change(writer: CatalogWriter) -> int:
            runs.append([])
            writer.on_abort(lambda: runs[-1].append("undone"))
            for key, value in values.items():
                writer.put(Table.PAGES, key, value)
            return writer.count(Table.PAGES)

        assert catalog.update(change) == 60
        assert dict(all_items(catalog, Table.PAGES)) == values
        assert len(runs) > 1
        assert runs[:-1] == [["undone"]] * (len(runs) - 1)
        assert runs[-1] == []
        catalog.close()

    def test_map_grows_under_a_reader(self, path: Path) -> None:
        """A view that is open then may fail, but it never shows anything else than it did."""
        catalog = LmdbCatalog(path, map_size=1 << 18)
        catalog.update(put_all)
        seen: Entries | None = None

        with suppress(StoreError), catalog.read() as reader:
            catalog.update(lambda writer: writer.put(Table.PAGES, b"p", b"x" * (1 << 20)))
            seen = list(reader.items(Table.NODES))

        assert seen in (None, sorted(ITEMS.items()))
        assert all_items(catalog) == sorted(ITEMS.items())
        assert all_items(catalog, Table.PAGES) == [(b"p", b"x" * (1 << 20))]
        catalog.close()

    def test_map_that_another_process_let_grow_is_followed(self, path: Path) -> None:
        catalog = LmdbCatalog(path, map_size=1 << 18)
        catalog.update(put_all)
        grow = (
            "import sys; from pathlib import Path\n"
            "from ebsim.storage.lmdb_catalog import LmdbCatalog, Table\n"
            "other = LmdbCatalog(Path(sys.argv[1]), map_size=1 << 18)\n"
            "other.update(lambda writer: writer.put(Table.PAGES, b'p', b'x' * (1 << 20)))\n"
            "other.close()"
        )
        subprocess.run([sys.executable, "-c", grow, str(path)], cwd=ROOT_FOLDER, check=True)

        assert all_items(catalog, Table.PAGES) == [(b"p", b"x" * (1 << 20))]
        catalog.update(lambda writer: writer.put(Table.PAGES, b"q", b"y" * (1 << 20)))
        assert len(all_items(catalog, Table.PAGES)) == 2
        catalog.close()

    # damage

    @pytest.fixture
    def put_raw(self, path: Path, filled: Catalog) -> Callable[[Callable[[bytes], bytes]], Catalog]:
        """Change, by raw LMDB, what lies under the key `b` in NODES; return the catalog again."""

        def put(change: Callable[[bytes], bytes]) -> Catalog:
            filled.close()
            with lmdb.open(str(path), max_dbs=len(Table)) as raw, raw.begin(write=True) as txn:
                nodes = raw.open_db(b"nodes", txn, create=False)
                sealed = txn.get(b"b", db=nodes)
                assert sealed is not None
                txn.put(b"b", change(sealed), db=nodes)
            return LmdbCatalog(path)

        return put

    @pytest.mark.parametrize(
        "damage",
        [
            lambda sealed: b"garbage",
            lambda sealed: b"x" * 40,
            lambda sealed: bytes(len(sealed)),
            lambda sealed: sealed[:-1],
            lambda sealed: sealed + b"\0",
            lambda sealed: sealed[:16],
            lambda sealed: bytes([sealed[0] ^ 1]) + sealed[1:],
            lambda sealed: sealed[:-1] + bytes([sealed[-1] ^ 0x80]),
            lambda sealed: b"x" + stored_checksum((b"x",)),
            lambda sealed: b"cc" + stored_checksum((b"nodes\0c\0cc",)),  # another key's
            lambda sealed: b"bb" + stored_checksum((b"pages\0b\0bb",)),  # another table's
        ],
    )
    def test_damaged_value_is_never_returned(
        self,
        put_raw: Callable[[Callable[[bytes], bytes]], Catalog],
        damage: Callable[[bytes], bytes],
    ) -> None:
        """F23: LMDB itself detects nothing."""
        catalog = put_raw(damage)
        uses: list[Callable[[CatalogReader], object]] = [
            lambda reader: reader.get(Table.NODES, b"b"),
            lambda reader: reader.floor(Table.NODES, b"b\0"),
            lambda reader: list(reader.items(Table.NODES)),
            lambda reader: list(reader.items(Table.NODES, prefix=b"b", reverse=True)),
        ]

        for use in uses:
            damaged = pytest.raises(CorruptionError, match="nodes/62 is damaged")
            with damaged as caught, catalog.read() as reader:
                use(reader)
            assert caught.value.code is ErrorCode.CORRUPT_CATALOG
            with pytest.raises(CorruptionError):
                catalog.update(use)
        catalog.close()

    def test_values_beside_a_damaged_one_can_be_read(
        self, put_raw: Callable[[Callable[[bytes], bytes]], Catalog]
    ) -> None:
        catalog = put_raw(lambda sealed: sealed[::-1])

        with catalog.read() as reader:
            assert {key: reader.get(Table.NODES, key) for key in KEYS if key != b"b"} == {
                key: value for key, value in ITEMS.items() if key != b"b"
            }
            assert reader.count(Table.NODES) == len(ITEMS)
            assert list(reader.keys(Table.NODES)) == KEYS
        catalog.close()

    def test_damaged_value_can_be_replaced(
        self, put_raw: Callable[[Callable[[bytes], bytes]], Catalog]
    ) -> None:
        catalog = put_raw(lambda sealed: sealed[::-1])

        catalog.update(lambda writer: writer.put(Table.NODES, b"b", b"healed"))

        assert dict(all_items(catalog)) == {**ITEMS, b"b": b"healed"}
        catalog.close()

    @pytest.mark.parametrize("size", [1, 4096, 20_000])
    def test_file_that_was_cut_off_is_an_error(
        self, path: Path, filled: Catalog, size: int
    ) -> None:
        """F24: in a process of its own, because an engine may die of it."""
        filled.update(lambda writer: writer.put(Table.PAGES, b"p", b"x" * 100_000))
        filled.close()
        os.truncate(path / "data.mdb", size)
        read = (
            "import sys; from pathlib import Path\n"
            "from ebsim.errors import EbsimError\n"
            "from ebsim.storage.lmdb_catalog import LmdbCatalog, Table\n"
            "try:\n"
            "    with LmdbCatalog(Path(sys.argv[1])).read() as reader:\n"
            "        print([len(list(reader.items(table))) for table in Table])\n"
            "except EbsimError as error:\n"
            "    print(type(error).__name__)"
        )

        done = subprocess.run(
            [sys.executable, "-c", read, str(path)],
            cwd=ROOT_FOLDER,
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 0, (
            f"signal {signal.Signals(-done.returncode).name}: {done.stderr}"
        )
        assert done.stdout.strip() in ("StoreError", "CorruptionError")

    # readers that died

    def test_killed_reader_is_cleared_when_the_catalog_is_opened(
        self, path: Path, filled: Catalog
    ) -> None:
        """Its slot would keep old pages alive for as long as any process has the catalog open."""
        filled.close()
        witness, victim = RawReader(path), RawReader(path)
        victim.kill()

        opened = LmdbCatalog(path)

        assert victim.pid not in witness.list_readers()
        opened.close()

    def test_live_reader_is_not_cleared(self, path: Path, filled: Catalog) -> None:
        filled.close()
        witness, other = RawReader(path), RawReader(path)

        opened = LmdbCatalog(path)

        assert other.pid in witness.list_readers()
        opened.close()
        other.kill()


Operation = tuple[str, bytes, bytes]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "delete"]),
            st.binary(min_size=1, max_size=2),
            st.binary(max_size=3),
        ),
        max_size=20,
    ),
    st.binary(max_size=2),
)
def test_fake_of_a_writer_equals_a_dict(operations: list[Operation], probe: bytes) -> None:
    tables, model = MemoryTables(), dict[bytes, bytes]()
    for operation, key, value in operations:
        if operation == "put":
            tables.put(Table.NODES, key, value)
            model[key] = value
        else:
            assert tables.delete(Table.NODES, key) == (key in model)
            model.pop(key, None)

    under = sorted(key for key in model if key.startswith(probe))
    assert [key for key, _ in tables.items(Table.NODES, prefix=probe)] == under
    assert [key for key, _ in tables.items(Table.NODES, prefix=probe, reverse=True)] == under[::-1]
    assert [key for key, _ in tables.items(Table.NODES, start=probe)] == sorted(
        key for key in model if key >= probe
    )
