"""The facade: making, opening and closing a store, and what is refused."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import lmdb
import pytest

from ebsim.engine import Seams, Store
from ebsim.errors import (
    ConflictError,
    CorruptionError,
    EbsimError,
    ErrorCode,
    FormatVersionError,
    InvalidInputError,
    NotFoundError,
    StoreError,
)
from ebsim.format.catalog_state import STATE_NAME
from ebsim.format.checksum import stored_checksum
from ebsim.requests import VolumeRequest
from ebsim.results import Snapshot
from ebsim.storage.files import PosixFiles
from ebsim.testing.contents import NOISE, TEXT
from ebsim.testing.descriptors import no_descriptor_left
from ebsim.testing.observed_files import ObservedFiles
from ebsim.testing.seams import SeededEntropy, fast_folder
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE

UNKNOWN = "snap-0123456789abcdef0"


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def filled(store_path: Path, seams: Seams) -> Snapshot:
    """A store with one snapshot, closed."""
    with Store.create(store_path, seams) as store:
        return store.create_snapshot(disk_of(NOISE, TEXT))


# making a store


def test_new_store_is_empty_and_open(store_path: Path, seams: Seams) -> None:
    with Store.create(store_path, seams) as store:
        assert store.list_snapshots() == []
        assert store.ledger() == []
        assert store.path == store_path
        assert json.loads((store_path / "store.json").read_bytes())["store_id"] == store.store_id
        assert len(store.store_id) == 32


def test_only_the_owner_can_enter_a_store(store_path: Path, seams: Seams) -> None:
    Store.create(store_path, seams).close()

    for path in (store_path, *store_path.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_store_is_made_with_the_folders_above_it(fast_path: Path, seams: Seams) -> None:
    path = fast_path / "a" / "b" / "store"

    with Store.create(str(path), seams) as store:
        assert store.path == path


def test_store_may_be_named_from_where_one_is(
    fast_path: Path, seams: Seams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is not lost when the program goes elsewhere."""
    monkeypatch.chdir(fast_path)
    with Store.create("store", seams) as store:
        monkeypatch.chdir("/")
        shown = store.create_snapshot(disk_of(TEXT))
        assert store.read_block(shown.snapshot_id, 0) == TEXT
        assert store.path == fast_path / "store"


def test_two_stores_have_ids_and_keys_of_their_own(fast_path: Path) -> None:
    headers = []
    for name in ("one", "two"):
        Store.create(fast_path / name).close()
        headers.append(json.loads((fast_path / name / "store.json").read_bytes()))

    for field in ("store_id", "hash_key"):
        assert headers[0][field] != headers[1][field]


def test_store_that_exists_is_not_made_again(
    store_path: Path, seams: Seams, filled: Snapshot
) -> None:
    with pytest.raises(ConflictError) as caught:
        Store.create(store_path, seams)

    assert caught.value.code is ErrorCode.STORE_EXISTS
    with Store.open(store_path, seams) as store:
        assert store.read_block(filled.snapshot_id, 0) == NOISE


@pytest.mark.parametrize("make", [Store.create, lambda path: Store.open(path, create=True)])
def test_folder_of_somebody_else_is_refused_and_left_as_it_is(
    fast_path: Path, make: Callable[[Path], Store]
) -> None:
    (fast_path / "letters").mkdir()
    (fast_path / "notes.txt").write_text("mine")

    with pytest.raises(InvalidInputError, match="letters"):
        make(fast_path)

    assert names(fast_path) == ["letters", "notes.txt"]


@pytest.mark.parametrize("make", [Store.create, lambda path: Store.open(path, create=True)])
@pytest.mark.parametrize("name", ["file", "file/below"])
def test_file_is_no_folder(fast_path: Path, make: Callable[[Path], Store], name: str) -> None:
    (fast_path / "file").write_bytes(b"mine")

    with pytest.raises(InvalidInputError, match="not a folder"):
        make(fast_path / name)

    assert (fast_path / "file").read_bytes() == b"mine"


def test_folder_that_cannot_be_written_is_an_error_of_the_store(fast_path: Path) -> None:
    def before(operation: str, _path: Path) -> None:
        if operation == "make_directory":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with pytest.raises(StoreError, match="Read-only file system"):
        Store.create(fast_path / "store", Seams(files=ObservedFiles(PosixFiles(), before)))


def creation_steps() -> int:
    """Return how many calls to files the making of a store needs, and may not do without."""
    steps: list[str] = []
    folder = fast_folder()

    def count(operation: str, path: Path) -> None:
        if path.name != STATE_NAME:
            steps.append(operation)

    files = ObservedFiles(PosixFiles(), count)
    Store.create(folder / "store", Seams(files=files)).close()
    shutil.rmtree(folder)
    return steps.index("rename") + 1


@pytest.mark.parametrize("step", range(creation_steps()))
def test_store_whose_making_failed_can_be_made_again(store_path: Path, step: int) -> None:
    """At each call to a file: what is left over is not taken for somebody else's."""
    calls = 0

    def fail(_operation: str, path: Path) -> None:
        nonlocal calls
        calls += path.name != STATE_NAME
        if calls == step + 1 and path.name != STATE_NAME:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(EbsimError):
        Store.create(store_path, Seams(files=ObservedFiles(PosixFiles(), fail)))
    with pytest.raises(NotFoundError):
        Store.open(store_path)

    with Store.create(store_path) as store:
        shown = store.create_snapshot(disk_of(TEXT))
        assert store.read_block(shown.snapshot_id, 0) == TEXT


# opening a store


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_store_that_is_missing_is_not_made_by_opening(
    store_path: Path, make: Callable[[Path], None]
) -> None:
    make(store_path)
    before = store_path.exists()

    with pytest.raises(NotFoundError, match=str(store_path)) as caught:
        Store.open(store_path)

    assert caught.value.code is ErrorCode.STORE_NOT_FOUND
    assert store_path.exists() == before
    assert not before or names(store_path) == []


def test_store_is_made_by_opening_when_that_is_asked_for(store_path: Path, seams: Seams) -> None:
    with Store.open(store_path, seams, create=True) as store:
        shown = store.create_snapshot(disk_of(TEXT))
    with Store.open(store_path, seams, create=True) as store:
        assert [each.snapshot_id for each in store.list_snapshots()] == [shown.snapshot_id]


def test_second_open_in_one_process_is_refused(
    store_path: Path, seams: Seams, filled: Snapshot
) -> None:
    store = Store.open(store_path, seams)

    for _ in range(2):
        with pytest.raises(StoreError, match="already open"):
            Store.open(store_path, seams)

    assert store.read_block(filled.snapshot_id, 1) == TEXT
    store.create_snapshot(disk_of(TEXT, name="memory:other"))
    store.close()
    with Store.open(store_path, seams) as store:
        assert len(store.list_snapshots()) == 2


def opened(path: Path, seams: Seams) -> None:
    Store.open(path, seams).close()


def refused_as_long_as_it_lasts(
    path: Path, seams: Seams, error: type[EbsimError], match: str
) -> None:
    """Open a store twice: a refusal must leave nothing open that would refuse the next."""
    for _ in range(2):
        with pytest.raises(error, match=match):
            opened(path, seams)


@pytest.mark.usefixtures("filled")
def test_damaged_header_is_named_and_can_be_put_back(store_path: Path, seams: Seams) -> None:
    header = store_path / "store.json"
    good = header.read_bytes()
    header.write_bytes(good.replace(b'"store_id":"', b'"store_id":"0'))

    refused_as_long_as_it_lasts(store_path, seams, CorruptionError, str(header))

    header.write_bytes(good)
    opened(store_path, seams)


@pytest.mark.usefixtures("filled")
def test_store_of_another_version_is_told(store_path: Path, seams: Seams) -> None:
    header = store_path / "store.json"
    fields = json.loads(header.read_bytes())
    header.write_text(json.dumps({**fields, "format_version": 1}))

    refused_as_long_as_it_lasts(store_path, seams, FormatVersionError, "version 1")


@pytest.mark.usefixtures("filled")
def test_header_that_is_a_folder_says_why(store_path: Path, seams: Seams) -> None:
    (store_path / "store.json").unlink()
    (store_path / "store.json").mkdir()

    with pytest.raises(StoreError) as caught:
        opened(store_path, seams)

    assert "None" not in str(caught.value)


@pytest.mark.parametrize("lose", ["folder", "file"])
def test_store_without_its_catalog_is_not_taken_for_an_empty_one(
    store_path: Path, seams: Seams, filled: Snapshot, lose: str
) -> None:
    """F24: what a user sees must be an error, not a list without snapshots."""
    catalog, aside = store_path / "catalog", store_path.parent / "aside"
    lost = catalog if lose == "folder" else catalog / "data.mdb"
    lost.rename(aside)

    refused_as_long_as_it_lasts(store_path, seams, CorruptionError, "catalog")

    aside.rename(lost)
    with Store.open(store_path, seams) as store:
        assert store.read_block(filled.snapshot_id, 0) == NOISE


def test_catalogs_that_changed_places_are_refused(
    fast_path: Path, seams: Seams, filled: Snapshot
) -> None:
    mine, other, aside = fast_path / "store", fast_path / "other", fast_path / "aside"
    Store.create(other, Seams(entropy=SeededEntropy(9))).close()
    (mine / "catalog").rename(aside)
    (other / "catalog").rename(mine / "catalog")

    refused_as_long_as_it_lasts(mine, seams, CorruptionError, "not this store's")

    (mine / "catalog").rename(other / "catalog")
    aside.rename(mine / "catalog")
    with Store.open(mine, seams) as store:
        assert [each.snapshot_id for each in store.list_snapshots()] == [filled.snapshot_id]


def test_catalog_whose_name_of_its_store_is_damaged_is_made_again(
    store_path: Path, seams: Seams, filled: Snapshot
) -> None:
    store_id = bytes.fromhex(json.loads((store_path / "store.json").read_bytes())["store_id"])
    with lmdb.open(str(store_path / "catalog"), max_dbs=32) as raw:
        meta = raw.open_db(b"meta", create=False)
        with raw.begin(write=True) as txn, txn.cursor(meta) as cursor:
            (key,) = (key for key, value in cursor if value.startswith(store_id))
            txn.put(key, b"?" + stored_checksum((b"wrong",)), db=meta)

    with Store.open(store_path, seams) as store:
        assert [each.snapshot_id for each in store.list_snapshots()] == [filled.snapshot_id]
    assert (store_path / "catalog.old-1").exists()


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("operation", ["open", "read_at", "list", "allocated_bytes"])
def test_store_whose_opening_failed_can_be_opened_again(
    store_path: Path, seams: Seams, operation: str
) -> None:
    calls: list[str] = []

    def fail_once(called: str, _path: Path) -> None:
        if called == operation and not calls:
            calls.append(called)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with suppress(StoreError):
        Store.open(store_path, Seams(files=ObservedFiles(PosixFiles(), fail_once))).close()

    assert calls
    opened(store_path, seams)


# closing a store


def test_store_is_closed_twice_without_harm(store_path: Path, seams: Seams) -> None:
    store = Store.create(store_path, seams)
    store.create_snapshot(disk_of(TEXT))

    store.close()
    store.close()

    opened(store_path, seams)


def test_store_is_closed_by_its_block_also_after_an_error(store_path: Path, seams: Seams) -> None:
    with pytest.raises(ZeroDivisionError), Store.create(store_path, seams):
        raise ZeroDivisionError

    opened(store_path, seams)


def test_closed_store_is_refused(store: Store, fast_path: Path) -> None:
    shown = store.create_snapshot(disk_of(TEXT))
    store.close()
    uses: list[Callable[[], object]] = [
        store.list_snapshots,
        store.ledger,
        store.stats,
        store.check,
        lambda: store.check(data=True),
        lambda: store.create_snapshot(disk_of(NOISE)),
        lambda: store.get_snapshot(shown.snapshot_id),
        lambda: store.read_block(shown.snapshot_id, 0),
        lambda: store.snapshot_history(shown.snapshot_id),
        lambda: store.diff_snapshots(shown.snapshot_id, shown.snapshot_id),
        lambda: store.delete_snapshots([shown.snapshot_id]),
        lambda: store.delete_snapshots([shown.snapshot_id], dry_run=True),
        lambda: store.restore_snapshot(shown.snapshot_id, fast_path / "target"),
    ]

    for use in uses:
        with pytest.raises(StoreError):
            use()

    assert names(fast_path) == ["store"]


def test_closing_leaves_no_descriptor(store_path: Path, seams: Seams) -> None:
    with no_descriptor_left():
        for _ in range(2):
            with Store.open(store_path, seams, create=True) as store:
                shown = store.create_snapshot(disk_of(NOISE, TEXT))
                store.read_block(shown.snapshot_id, 0)
                store.check(data=True)


# ids and ranges


def uses_of(store: Store, snapshot_id: str, target: Path) -> Iterator[Callable[[], object]]:
    """Yield every operation on a snapshot that is named by its id."""
    yield lambda: store.get_snapshot(snapshot_id)
    yield lambda: store.read_block(snapshot_id, 0)
    yield lambda: store.snapshot_history(snapshot_id)
    yield lambda: store.diff_snapshots(snapshot_id, snapshot_id)
    yield lambda: store.delete_snapshots([snapshot_id])
    yield lambda: store.delete_snapshots([snapshot_id], dry_run=True)
    yield lambda: store.restore_snapshot(snapshot_id, target)


@pytest.mark.parametrize(
    "malformed", ["", "snap-", "snap-0", "snap-" + "G" * 17, f"{UNKNOWN}\n", f" {UNKNOWN}", "vol-1"]
)
def test_malformed_id_is_refused_everywhere(store: Store, fast_path: Path, malformed: str) -> None:
    for use in uses_of(store, malformed, fast_path / "target"):
        with pytest.raises(InvalidInputError):
            use()

    assert names(fast_path) == ["store"]


def test_unknown_id_is_not_found_anywhere(store: Store, fast_path: Path) -> None:
    for use in uses_of(store, UNKNOWN, fast_path / "target"):
        with pytest.raises(NotFoundError, match=UNKNOWN) as caught:
            use()
        assert caught.value.code is ErrorCode.INVALID_SNAPSHOT_NOT_FOUND

    assert names(fast_path) == ["store"]


@pytest.mark.parametrize("index", [-1, 2, 2**27, 2**64])
def test_block_outside_the_volume_is_refused(store: Store, index: int) -> None:
    shown = store.create_snapshot(disk_of(TEXT, b"x"))

    with pytest.raises(InvalidInputError, match="2 blocks"):
        store.read_block(shown.snapshot_id, index)


def test_block_is_always_whole(store: Store) -> None:
    shown = store.create_snapshot(disk_of(bytes(BLOCK_SIZE), b"x"))

    assert store.read_block(shown.snapshot_id, 0) == bytes(BLOCK_SIZE)
    assert store.read_block(shown.snapshot_id, 1) == b"x".ljust(BLOCK_SIZE, b"\0")


def test_closed_store_says_so(store_path: Path) -> None:
    """And not that its catalog failed; nor does a first attempt change what a second one says."""
    store = Store.create(store_path)
    volume = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
    volumes, file = store.volumes, store.volumes.open(volume)
    file.pwrite(b"x", 0)
    store.close()

    for call in (
        store.list_snapshots,
        store.list_snapshots,
        store.stats,
        lambda: store.create_snapshot(disk_of(NOISE)),
        lambda: store.create_snapshot(disk_of(NOISE)),
        lambda: store.create_snapshot(volume),
        lambda: store.delete_snapshots(["snap-0123456789abcdef0"]),
        volumes.list,
        lambda: volumes.create(VolumeRequest(size_gib=1)),
        lambda: volumes.open(volume),
        lambda: file.pread(1, 0),
        lambda: file.pwrite(b"y", 0),
    ):
        with pytest.raises(StoreError, match="closed: open it again") as caught:
            call()
        assert caught.value.code is ErrorCode.STORE_CLOSED
    file.close()
    store.close()
    with Store.open(store_path) as again, again.volumes.open(volume) as opened:
        assert opened.pread(2, 0) == b"x\0"


def test_library_logs_nothing_unless_it_is_asked_to(store_path: Path) -> None:
    """Without a handler of its own, Python prints warnings and tracebacks of a library."""
    program = (
        "import sys, ebsim\n"
        "from ebsim.engine import Seams\n"
        "def fail(_): raise OSError(5, 'broken')\n"
        "with ebsim.Store.open(sys.argv[1], Seams(before_copy=fail), create=True) as store:\n"
        "    volume = store.volumes.create(ebsim.VolumeRequest(size_gib=1)).volume_id\n"
        "    shown = store.create_snapshot(volume)\n"
        "    print(store.wait_snapshots([shown.snapshot_id])[0].state)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, store_path], capture_output=True, text=True, check=True
    )
    assert done.stdout == "error\n"
    assert done.stderr == ""


@pytest.mark.parametrize("damage", ["missing", "garbage", "empty"])
def test_store_without_its_header_is_neither_none_nor_made_anew(
    store_path: Path, filled: Snapshot, damage: str
) -> None:
    """It says what to do; and when that is done, everything is there."""
    header = store_path / "store.json"
    kept = header.read_bytes()
    if damage == "missing":
        header.unlink()
    else:
        header.write_bytes(b"" if damage == "empty" else b"garbage")
    calls: list[Callable[[], object]] = [
        lambda: Store.open(store_path),
        lambda: Store.open(store_path, create=True),
        lambda: Store.rebuild(store_path),
    ]
    if damage == "missing":
        calls.append(lambda: Store.create(store_path))
    for call in calls:
        with pytest.raises(CorruptionError, match="put it back from a copy") as caught:
            call()
        assert str(header) in str(caught.value)

    header.write_bytes(kept)
    header.chmod(0o600)
    with Store.open(store_path) as store:
        assert store.list_snapshots() == [filled]
