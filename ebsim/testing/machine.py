"""A machine whose processes die and whose power fails, in one process and in memory.

Each `Process` has a handle of its own on the store. It dies at a *step*: before a call to one of
its files, or before a transaction of its catalog. From then on everything that it tries raises
`Killed`, and the kernel takes its locks away. What it wrote stays, as the page cache survives its
process; `Machine.cut_power` takes that away too, and the machine boots anew.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TypeVar

from ebsim.core.context import HandleState, StoreContext
from ebsim.core.recovery import recover
from ebsim.engine import Store
from ebsim.format.store_header import StoreHeader
from ebsim.ids import SnapshotId
from ebsim.storage.catalog import CatalogReader, CatalogWriter
from ebsim.storage.locks import Lock, LockFile
from ebsim.storage.reserve import Reserve
from ebsim.storage.segments import LocalSegmentStore
from ebsim.testing.memory_catalog import MemoryCatalog, new_tables
from ebsim.testing.memory_store import SEGMENTS
from ebsim.testing.observed_files import ObservedFiles
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.volatile_files import VolatileFiles
from ebsim.volumes.managed import ManagedVolumes

T = TypeVar("T")

PATIENCE_S = 120


class Killed(BaseException):
    """The process is dead: nothing that it does has any effect."""


class Machine:
    """See the module.

    Args:
        folder: An existing folder of the real file system, for the lock file.

    Attributes:
        files: What is on its disk.
        catalog: Its catalog; what is committed is durable.
        boot: How often it booted.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files = VolatileFiles()
        self.files.make_directory(SEGMENTS)
        self.files.make_directory(folder)  # for the keyring alone
        for each in (SEGMENTS, *SEGMENTS.parents, *folder.parents):
            self.files.sync_directory(each)
        self.catalog = MemoryCatalog(new_tables())
        self.boot = 1
        self._processes = 0

    def start(
        self,
        die_at: int | tuple[str, int] | None = None,
        observer: Callable[[str, Path], None] | None = None,
    ) -> "Process":
        """Start a process; it has not opened the store yet.

        Args:
            die_at: Before which step it dies, from 1, or at which hit of a failpoint; None: never.
            observer: Told of each call to a file, before it; what it raises comes out of the call.
        """
        self._processes += 1
        return Process(self, self._processes, die_at, observer)

    def until_dead(
        self, die_at: int | tuple[str, int] | None, act: Callable[[Store], object]
    ) -> bool:
        """Have a process open the store and do something, and be dead.

        Returns:
            Whether it died before the end.
        """
        process = self.start(die_at)
        try:
            with process.open() as store:
                act(store)
        except Killed:
            return True
        finally:
            process.kill()
        return False

    def cut_power(self, chance: random.Random) -> None:
        """Boot anew, without what was not durable; all processes must have been killed."""
        self.files.cut_power(chance)
        self.boot += 1

    def keyring_path(self) -> Path:
        """Return where the keyring is on its disk; its lock is a real file beside it."""
        return self._folder / "keyring.json"

    def lock_file(self) -> Path:
        """Return where the lock file is."""
        return self._folder / "lock"


class Process:
    """A process that uses the store.

    Attributes:
        steps: How many steps it has made.
        hits: How often it reached each failpoint, where `reach` is what they call.
        dead: Whether it was killed.
        go: While this is cleared, no snapshot is copied.
        before_copy: Called then with a snapshot's id, instead of waiting for `go`.
    """

    def __init__(
        self,
        machine: Machine,
        number: int,
        die_at: int | tuple[str, int] | None,
        observer: Callable[[str, Path], None] | None,
    ) -> None:
        self._machine = machine
        self._die_at = die_at
        self._observer = observer
        self._locks = _CountedLocks(machine.lock_file(), self._ensure_alive)
        self._mutex = threading.Lock()
        self._threads_before = set(threading.enumerate())
        self.before_copy: Callable[[str], object] = lambda _snapshot_id: self.go.wait()
        self._managed: ManagedVolumes | None = None
        self._entropy = SeededEntropy(number)
        self.steps = 0
        self.hits: Counter[str] = Counter()
        self.dead = False
        self.go = threading.Event()
        self.go.set()

    def open(self) -> Store:
        """Open the store, with all that the real opening does."""
        machine = self._machine
        files = ObservedFiles(machine.files, self._observe)
        context = StoreContext(
            path=SEGMENTS.parent,
            header=StoreHeader(store_id=b"S" * 16, hash_key=b"K" * 32),
            catalog=_MortalCatalog(machine.catalog, self._step),
            segments=LocalSegmentStore(SEGMENTS, files),
            locks=self._locks,
            reserve=Reserve(SEGMENTS.parent / "reserve", files),
            files=files,
            clock=ManualClock(),
            entropy=self._entropy,
            boot_id=f"boot {machine.boot}",
            state=HandleState(keyring_path=machine.keyring_path()),
        )
        recover(context)
        store = Store(context, self._before_copy)
        self._managed = store._volumes_held()  # as `Store.open` does it
        self._managed.resume()
        return store

    def kill(self) -> None:
        """Have it be dead, wherever it is, and its locks gone."""
        with self._mutex:
            self.dead = True
        self.go.set()
        if self._managed is not None:
            self._managed.snapshots.close(wait=False)  # who waits for a dead thread is dead too
            self._managed.live.end_lending()
        for thread in set(threading.enumerate()) - self._threads_before:
            if thread.name.startswith("ebsim-"):
                _join(thread)
        self._locks.release_all()

    def pause(self) -> None:
        """Wait a moment, if alive."""
        time.sleep(0.001)
        self._ensure_alive()

    def reach(self, failpoint: str) -> None:
        """Count a hit of a failpoint, and die of it."""
        with self._mutex:
            self.hits[failpoint] += 1
            if (failpoint, self.hits[failpoint]) == self._die_at:
                self._die()
        self._ensure_alive()

    def _before_copy(self, snapshot_id: SnapshotId) -> None:
        self.before_copy(snapshot_id)
        self._ensure_alive()

    def _observe(self, method: str, path: Path) -> None:
        self._step()
        if self._observer is not None:
            self._observer(method, path)

    def _step(self) -> None:
        with self._mutex:
            self.steps += 1
            if self.steps == self._die_at:
                self._die()
        self._ensure_alive()

    def _die(self) -> None:
        self.dead = True
        self.go.set()

    def _ensure_alive(self) -> None:
        if self.dead:
            raise Killed


def _join(thread: threading.Thread) -> None:
    """Wait until it has ended; one that is only being started, by another thread, counts too."""
    deadline = time.monotonic() + PATIENCE_S
    while thread in threading.enumerate() and time.monotonic() < deadline:
        if thread.is_alive():
            thread.join(PATIENCE_S)
        else:  # `enumerate` knows it before it can be joined
            time.sleep(0.001)
    assert not thread.is_alive(), f"{thread.name} outlives its process"


class _CountedLocks(LockFile):
    """The locks of one process, which end with it."""

    def __init__(self, path: Path, ensure_alive: Callable[[], None]) -> None:
        super().__init__(path)
        self._ensure_alive = ensure_alive
        self._given: list[Lock] = []

    def try_hold(self, region: int, *, exclusive: bool = True) -> Lock | None:
        """Return the lock, and remember it."""
        self._ensure_alive()
        lock = super().try_hold(region, exclusive=exclusive)
        if lock is not None:
            self._given.append(lock)
        return lock

    def hold(self, region: int, *, exclusive: bool = True) -> Lock:
        """Wait for the lock, and remember it."""
        self._ensure_alive()
        lock = super().hold(region, exclusive=exclusive)
        self._given.append(lock)
        return lock

    def release_all(self) -> None:
        """Release what was not released."""
        for lock in self._given:
            with suppress(OSError):
                lock.release()


class _MortalCatalog:
    """A process's handle on the catalog."""

    read_only = False

    def __init__(self, catalog: MemoryCatalog, step: Callable[[], None]) -> None:
        self._catalog = catalog
        self._step = step

    def read(self) -> AbstractContextManager[CatalogReader]:
        """Give one consistent view."""
        return self._catalog.read()

    def update(self, change: Callable[[CatalogWriter], T]) -> T:
        """Count a step, then run `change`; and die afterwards rather than answer, if dead."""
        self._step()
        result = self._catalog.update(change)
        self._step()
        return result

    def last_commit(self) -> int:
        """Return how many commits there were."""
        return self._catalog.last_commit()

    def size_bytes(self) -> int:
        """Return the bytes of all keys and values."""
        return self._catalog.size_bytes()

    def close(self) -> None:
        """Do nothing."""
