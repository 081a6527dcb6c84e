"""A disk that is full from some moment on, in the process that runs this; see `no_space`."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from ebsim.config import SnapshotOptions
from ebsim.engine import Seams, Store
from ebsim.errors import EbsimError
from ebsim.requests import VolumeRequest
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogWriter
from ebsim.storage.files import PosixFiles
from ebsim.storage.lmdb_catalog import LmdbCatalog
from ebsim.testing.contents import noise_block
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.observed_files import ObservedFiles
from ebsim.testing.sources import MemorySource, disk_of
from ebsim.tiering import StorageTier, TierRestore
from ebsim.units import BLOCK_SIZE, MIB

T = TypeVar("T")

Ids = dict[str, str]

_ALLOCATING = frozenset({"create", "write_at", "reserve", "make_directory"})

KEPT = {"a1": (1, 2, 3, 4), "a2": (1, 5, 3, 6), "b1": (7, 8), "s1": (10, 11)}
"""The snapshots there are before the disk is full, and the noise in their blocks."""


MOVED = (12, 13)
"""The noise in a snapshot that goes to the archive and comes back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Furnish:
    """A store to make, with the snapshots of `KEPT` and a volume.

    Attributes:
        store: The store.
    """

    store: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """Something to do while the disk becomes full.

    Attributes:
        store: The store, as `Furnish` made it.
        ids: What is in it, by name.
        operation: One of `OPERATIONS`.
        point: Before which allocation, from 1, the disk is filled; 0: never.
        left: How many bytes are left free then.
        forgetful: Give the reserve up for nothing: to show that it is needed.
    """

    store: str
    ids: Ids
    operation: str
    point: int
    left: int
    forgetful: bool = False


class FullDisk:
    """Fills a file system at the n-th allocation.

    Args:
        folder: A folder of the file system that is not in the store.
        point: Which allocation, from 1; 0: none.
        left: How many bytes are left free.
    """

    def __init__(self, folder: Path, point: int = 0, left: int = 0) -> None:
        self._ballast = folder / "ballast"
        self._point = point
        self._left = left
        self._mutex = threading.Lock()
        self.count = 0
        self.counting = False

    def observe(self, method: str, _path: Path) -> None:
        """Be told of a call to a file."""
        if method in _ALLOCATING:
            self.step()

    def step(self) -> None:
        """Count an allocation."""
        with self._mutex:
            if not self.counting:
                return
            self.count += 1
            if self.count == self._point:
                self.fill(self._left)

    def fill(self, left: int = 0) -> None:
        """Use up every block of the file system but so many bytes."""
        fd = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for size in (64 * MIB, MIB, 65536, 4096):
                with suppress(OSError):
                    while True:
                        os.posix_fallocate(fd, os.fstat(fd).st_size, size)
            with suppress(OSError):
                while True:
                    os.pwrite(fd, b"\xff" * 4096, os.fstat(fd).st_size)
            if left:
                os.ftruncate(fd, os.fstat(fd).st_size - left)
        finally:
            os.close(fd)

    def empty(self) -> None:
        """Give everything back."""
        self._ballast.unlink(missing_ok=True)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Return a context in which commits of the catalog count as allocations."""
        update_once = LmdbCatalog._update_once

        def update(catalog: LmdbCatalog, change: Callable[[CatalogWriter], T]) -> T:
            def then(writer: CatalogWriter) -> T:
                result = change(writer)
                self.step()
                return result

            return update_once(catalog, then)

        with mock.patch.object(LmdbCatalog, "_update_once", update):
            yield


def _image(name: str, *numbers: int) -> MemorySource:
    return disk_of(*map(noise_block, numbers), name=f"memory:{name}")


def furnish(task: Furnish) -> Ids:
    """Make the store, in four segments, so that compacting them is worth it; return the ids."""
    ids: Ids = {}
    Store.create(task.store).close()
    for name in ("a1", "a2", "b1"):
        with Store.open(task.store) as store:
            ids[name] = store.create_snapshot(_image(name[0], *KEPT[name])).snapshot_id
    with Store.open(task.store) as store:
        ids["v"] = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
        with store.volumes.open(ids["v"]) as file:
            for block, number in enumerate(KEPT["s1"]):
                file.pwrite(noise_block(number), block * BLOCK_SIZE)
        ids["s1"] = store.create_snapshot(ids["v"]).snapshot_id
        store.wait_snapshots([ids["s1"]])
        ids["k1"] = store.create_snapshot(_image("k", *MOVED)).snapshot_id
    return ids


# What is done while the disk becomes full


def _create(store: Store, _ids: Ids) -> object:
    return store.create_snapshot(_image("a", 1, 20, 21, 22))


def _write(store: Store, ids: Ids) -> object:
    with store.volumes.open(ids["v"]) as file:
        for block in range(1, 5):
            file.pwrite(noise_block(20 + block), block * BLOCK_SIZE)
    return None


def _flush(store: Store, ids: Ids) -> object:
    with store.volumes.open(ids["v"]) as file:
        file.pwrite(noise_block(20), 0)
        file.pwrite(noise_block(21), 300 * BLOCK_SIZE)
        file.flush()
        file.pwrite(noise_block(22), 600 * BLOCK_SIZE)
        file.flush()
    return None


def _managed(store: Store, ids: Ids) -> object:
    with store.volumes.open(ids["v"]) as file:
        file.pwrite(noise_block(20), 0)
        made = store.create_snapshot(ids["v"])
        file.pwrite(noise_block(21), 0)
        (ended,) = store.wait_snapshots([made.snapshot_id])
    if ended.state is SnapshotState.COMPLETED:
        found = store.read_block(ended.snapshot_id, 0)
        _ensure(found == noise_block(20), "the snapshot is not its point in time")
    else:
        _ensure(ended.state is SnapshotState.ERROR, f"the snapshot is {ended.state}")
    return None


def _delete(store: Store, ids: Ids) -> object:
    return store.delete_snapshots([ids["a1"]])


def _compact(store: Store, _ids: Ids) -> object:
    return store.compact()


def _rebuild(store: Store, _ids: Ids) -> object:
    store.close()
    return Store.rebuild(store.path)


def _restore(store: Store, ids: Ids) -> object:
    target = store.path.parent / "restored"
    try:
        store.restore_snapshot(ids["a2"], target)
    except EbsimError:
        _ensure(not target.exists(), "a target is left that looks whole")
        raise
    whole = b"".join(map(noise_block, KEPT["a2"]))
    _ensure(target.read_bytes() == whole, "what was restored is not the snapshot")
    target.unlink()
    return None


def _volume(store: Store, ids: Ids) -> object:
    made = store.volumes.create(VolumeRequest(snapshot_id=ids["a2"])).volume_id
    store.volumes.initialize(made)
    store.volumes.delete(made)
    return None


def _seal(store: Store, ids: Ids) -> object:
    """Copy a snapshot under a key, which is made if there is none yet."""
    options = SnapshotOptions(encrypted=True)
    made = store.copy_snapshot(ids["a2"], options=options).snapshot_id
    for block, number in enumerate(KEPT["a2"]):
        same = store.read_block(made, block) == noise_block(number)
        _ensure(same, f"block {block} of the encrypted copy is another")
    return None


def _archive(store: Store, ids: Ids) -> object:
    """Have a snapshot go to the archive, if it is not there, and come back."""
    if store.get_snapshot(ids["k1"]).storage_tier is StorageTier.STANDARD:
        store.tiers.archive(ids["k1"])
    store.tiers.restore(ids["k1"], TierRestore(permanent=True))
    for block, number in enumerate(MOVED):
        same = store.read_block(ids["k1"], block) == noise_block(number)
        _ensure(same, f"block {block} of what was archived is another")
    return None


OPERATIONS: dict[str, Callable[[Store, Ids], object]] = {
    "create": _create,
    "write": _write,
    "flush": _flush,
    "managed": _managed,
    "delete": _delete,
    "compact": _compact,
    "rebuild": _rebuild,
    "restore": _restore,
    "volume": _volume,
    "seal": _seal,
    "archive": _archive,
}


SWEPT = {"rebuild": 4096, "restore": 65536}
"""Operations that write by other ways than a store's files: the disk is full when they begin but
for some bytes, in these steps, so that it is full at each of their allocations."""


def fill_and_use(task: Fill) -> int:
    """Do something while the disk becomes full, and look that nothing else was harmed.

    Returns:
        How many allocations were made by the operation.

    Raises:
        AssertionError, EbsimError: A promise is broken.
    """
    path = Path(task.store)
    disk = FullDisk(path.parent, task.point, task.left)
    seams = Seams(files=ObservedFiles(PosixFiles(), disk.observe))
    with disk.installed():
        deleted = _while_full(task, disk, seams)
        made = disk.count
        disk.empty()
        with Store.open(path, seams) as store:
            pending = [
                each.snapshot_id
                for each in store.list_snapshots()
                if each.state is SnapshotState.PENDING
            ]
            store.wait_snapshots(pending)
            _ensure_kept(store, task.ids, deleted)
            assert_healthy(store)
            if task.operation != "delete":
                OPERATIONS[task.operation](store, task.ids)
        with Store.open(path, seams) as store:
            assert_healthy(store)
    return made


def _while_full(task: Fill, disk: FullDisk, seams: Seams) -> set[str]:
    """Do it, then delete with no byte free; return which snapshots are deleted."""
    deleted: set[str] = set()
    path = Path(task.store)
    with ExitStack() as stack:
        store = stack.enter_context(_closed_somehow(Store.open(path, seams)))
        disk.counting = True
        if task.point and task.operation in SWEPT:
            disk.fill(task.left)
        try:
            OPERATIONS[task.operation](store, task.ids)
        except EbsimError as error:
            _ensure(_is_about_space(error), f"it ended with {error!r}")
            if task.operation == "delete":  # there was room when it began, and then there was not
                _delete(store, task.ids)
        disk.counting = False
    if task.operation == "delete":
        deleted.add("a1")
    if task.point:
        disk.fill()
    with _closed_somehow(Store.open(path, seams)) as store:
        if task.forgetful:
            (path / "reserve").unlink()
            disk.fill()
        _ensure_kept(store, task.ids, deleted)
        store.delete_snapshots([task.ids["b1"]])
        deleted.add("b1")
        _ensure_kept(store, task.ids, deleted)
    return deleted


@contextmanager
def _closed_somehow(store: Store) -> Iterator[Store]:
    """Close a store at the end; without space it may leave that to the next opener."""
    try:
        yield store
    finally:
        with suppress(EbsimError):
            store.close()


def _is_about_space(error: BaseException) -> bool:
    return "space" in str(error).lower()


def _ensure_kept(store: Store, ids: Ids, deleted: set[str]) -> None:
    shown = {str(each.snapshot_id): each for each in store.list_snapshots()}
    for name, numbers in KEPT.items():
        if name in deleted:
            _ensure(ids[name] not in shown, f"snapshot {name} was deleted and is there")
            continue
        found = shown.get(ids[name])
        _ensure(found is not None, f"snapshot {name} is gone")
        for block, number in enumerate(numbers):
            same = store.read_block(ids[name], block) == noise_block(number)
            _ensure(same, f"snapshot {name} block {block} is not what it was")
    for found in shown.values():
        if found.snapshot_id not in ids.values() and found.state is SnapshotState.ERROR:
            _ensure(found.state_message != "", f"{found.snapshot_id} does not say why it failed")


def _ensure(truth: bool, otherwise: str) -> None:
    if not truth:
        raise AssertionError(otherwise)


def run_furnish(task: Furnish, tell: Callable[[dict[str, Any]], None]) -> None:
    """Make the store and tell the ids."""
    tell({"ended": "", "ids": furnish(task)})


def run_fill(task: Fill, tell: Callable[[dict[str, Any]], None]) -> None:
    """Run a case, and tell what is wrong and how many allocations there were."""
    problem, count = "", 0
    try:
        count = fill_and_use(task)
    except (AssertionError, EbsimError, OSError) as error:
        problem = f"{type(error).__name__}: {error}"
    tell({"problem": problem, "count": count})
