"""Setting damaged bytes aside."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebsim.errors import LimitExceededError, StoreError
from ebsim.storage.files import PosixFiles
from ebsim.storage.set_aside import SetAside
from ebsim.testing.memory_files import MemoryFiles
from ebsim.testing.observed_files import ObservedFiles

STORE = Path("/store")
SEGMENT = bytes(range(16))


@pytest.fixture
def files() -> MemoryFiles:
    made = MemoryFiles()
    made.make_directory(STORE)
    return made


def read(files: MemoryFiles, name: str) -> bytes:
    file = files.open(STORE / name)
    return file.read_at(0, file.size())


def test_bytes_are_kept_under_the_place_they_come_from(files: MemoryFiles) -> None:
    names = SetAside(STORE, files).keep([(SEGMENT, 4096, b"rotten"), (SEGMENT, 0, b"header")])
    assert [name.rsplit("-", 1)[0] for name in names] == [
        f"set-aside/{SEGMENT.hex()}-4096",
        f"set-aside/{SEGMENT.hex()}-0",
    ]
    assert [read(files, name) for name in names] == [b"rotten", b"header"]


def test_what_is_kept_already_is_not_written_again(files: MemoryFiles) -> None:
    calls: list[str] = []
    watched = ObservedFiles(files, lambda method, _path: calls.append(method))
    (first,) = SetAside(STORE, files).keep([(SEGMENT, 4096, b"rotten")])
    assert SetAside(STORE, watched).keep([(SEGMENT, 4096, b"rotten")]) == [first]
    assert "create" not in calls
    (other,) = SetAside(STORE, watched).keep([(SEGMENT, 4096, b"rotten in another way")])
    assert other != first
    assert read(files, first) == b"rotten"


def test_nothing_leaves_nothing(files: MemoryFiles) -> None:
    assert SetAside(STORE, files).keep([(SEGMENT, 4096, b"")]) == [""]
    assert files.list(STORE) == []


def test_file_that_somebody_did_not_finish_is_begun_anew(files: MemoryFiles) -> None:
    (name,) = SetAside(STORE, files).keep([(SEGMENT, 4096, b"rotten")])
    kept = STORE / name
    files.rename(kept, kept.with_name(f".{kept.name}"))
    assert SetAside(STORE, files).keep([(SEGMENT, 4096, b"rotten")]) == [name]
    assert files.list(kept.parent) == [kept.name]


@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, LimitExceededError), (errno.EIO, StoreError)]
)
@pytest.mark.parametrize("method", ["create", "write_at", "sync", "rename", "sync_directory"])
def test_failure_is_told(
    files: MemoryFiles, method: str, number: int, error: type[Exception]
) -> None:
    def fail(called: str, path: Path) -> None:
        if called == method:
            raise OSError(number, "it failed", str(path))

    with pytest.raises(error):
        SetAside(STORE, ObservedFiles(files, fail)).keep([(SEGMENT, 4096, b"rotten")])


def test_files_are_their_owners_alone(fast_path: Path) -> None:
    def two() -> Iterator[tuple[bytes, int, bytes]]:
        yield SEGMENT, 0, b"header"
        yield SEGMENT, 4096, b"rotten"

    for name in SetAside(fast_path, PosixFiles()).keep(two()):
        assert (fast_path / name).stat().st_mode & 0o777 == 0o600
    assert (fast_path / "set-aside").stat().st_mode & 0o777 == 0o700
