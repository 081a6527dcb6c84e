"""A view of the catalog that may have begun in the middle of a commit is begun again."""

import errno
from pathlib import Path
from typing import cast

import lmdb
import pytest

from ebsim.errors import StoreError
from ebsim.storage import lmdb_catalog
from ebsim.storage.lmdb_catalog import LmdbCatalog, begin_reading


class Transaction:
    def __init__(self, number: int) -> None:
        self.number = number
        self.aborted = False

    def id(self) -> int:
        return self.number

    def abort(self) -> None:
        self.aborted = True


class Environment:
    """Each beginning sees a commit, and so many others are made before it is looked at again."""

    def __init__(self, meanwhile: list[int]) -> None:
        self._meanwhile = meanwhile
        self._last = 10
        self.begun: list[Transaction] = []

    def begin(self) -> Transaction:
        self.begun.append(Transaction(self._last))
        self._last += self._meanwhile.pop(0) if self._meanwhile else 0
        return self.begun[-1]

    def info(self) -> dict[str, int]:
        return {"last_txnid": self._last}


def begin(environment: Environment) -> Transaction:
    found = begin_reading(cast("lmdb.Environment", environment))
    return cast("Transaction", found)


def test_view_of_the_last_commit_is_taken() -> None:
    environment = Environment([])

    assert begin(environment) is environment.begun[0]
    assert not environment.begun[0].aborted


@pytest.mark.parametrize("commits", [1, 2, 5])
def test_view_beside_a_commit_is_begun_again(commits: int) -> None:
    environment = Environment([commits, commits])

    taken = begin(environment)

    assert [each.aborted for each in environment.begun] == [True, True, False]
    assert taken is environment.begun[-1]
    assert taken.id() == 10 + 2 * commits


def test_view_beside_commits_without_end_is_taken_where_only_one_was_made() -> None:
    environment = Environment([1] * 1000)

    taken = begin(environment)

    assert not taken.aborted
    assert sum(each.aborted for each in environment.begun) == lmdb_catalog._STILL_ATTEMPTS


def test_view_is_never_taken_where_two_commits_were_made() -> None:
    environment = Environment([2] * 1000)

    taken = begin(environment)

    assert len(environment.begun) == 1001
    assert taken is environment.begun[-1]


def test_tables_are_looked_at_in_such_a_view(
    store_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening a catalog beside two writers failed with MDB_CORRUPTED once in 40,000 operations."""
    from ebsim.engine import Store

    Store.create(str(store_path)).close()

    def refuse(_env: object) -> object:
        raise lmdb.CorruptedError("began in the middle of a commit")

    monkeypatch.setattr(lmdb_catalog, "begin_reading", refuse)

    with pytest.raises(StoreError):
        Store.open(str(store_path))


def test_file_that_cannot_be_looked_at_is_an_error_of_the_store(
    fast_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that has shut itself down answers so; found by the campaign failed-syncs."""
    catalog = LmdbCatalog(fast_path)

    def fail(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("ebsim.storage.lmdb_catalog.os.stat", fail)
        with pytest.raises(StoreError, match="cannot be looked at: Input/output error"):
            catalog.update(lambda _writer: None)
    catalog.close()
