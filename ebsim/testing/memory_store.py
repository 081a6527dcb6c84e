"""A store in memory, but for its lock file: what lies on the disk, and handles on it.

Several handles on one `MemoryStore` are to each other as processes are: they share the files and
the catalog, exclude each other by kernel locks, and one can be left as if it had been killed. A
process must not open a real store twice; so this is how a test watches two at work.
"""

from pathlib import Path

from ebsim.clock import Clock
from ebsim.core.context import HandleState, StoreContext
from ebsim.core.recovery import recover
from ebsim.engine import Store
from ebsim.entropy import Entropy
from ebsim.format.store_header import StoreHeader
from ebsim.storage.files import Files
from ebsim.storage.locks import LockFile
from ebsim.storage.reserve import Reserve
from ebsim.storage.segments import LocalSegmentStore
from ebsim.testing.memory_catalog import MemoryCatalog, new_tables
from ebsim.testing.memory_files import MemoryFiles
from ebsim.testing.seams import ManualClock, SeededEntropy

SEGMENTS = Path("/store/segments")
"""Where the segments lie in `MemoryStore.files`."""


class MemoryStore:
    """The disk of an empty store.

    Args:
        folder: An existing folder of the real file system, for the lock file.

    Attributes:
        files: The files of the store.
        catalog: Its catalog.
        clock: The clock of all handles.
        entropy: The randomness of all handles.
    """

    def __init__(self, folder: Path) -> None:
        self._lock_path = folder / "lock"
        self._keyring_path = folder / "keyring.json"  # its lock is a real file, too
        self.files = MemoryFiles()
        self.files.make_directory(folder)
        self.files.make_directory(SEGMENTS)
        self.catalog = MemoryCatalog(new_tables())
        self.clock: Clock = ManualClock()
        self.entropy: Entropy = SeededEntropy()

    def context(self, files: Files | None = None) -> StoreContext:
        """Return the parts of a store as an open handle has them, without recovery.

        Args:
            files: `self.files` in a wrapper; None: as they are.
        """
        files = self.files if files is None else files
        return StoreContext(
            path=SEGMENTS.parent,
            header=StoreHeader(store_id=b"S" * 16, hash_key=b"K" * 32),
            catalog=self.catalog,
            segments=LocalSegmentStore(SEGMENTS, files),
            locks=LockFile(self._lock_path),
            reserve=Reserve(SEGMENTS.parent / "reserve", files),
            files=files,
            clock=self.clock,
            entropy=self.entropy,
            boot_id="one boot",
            state=HandleState(keyring_path=self._keyring_path),
        )

    def open(self, files: Files | None = None) -> Store:
        """Open the store, cleaning up after handles that were left as if killed."""
        context = self.context(files)
        recover(context)
        return Store(context)


def leave_as_if_killed(context: StoreContext) -> None:
    """Let go of a handle as the kernel does for a process that is killed: only its locks end."""
    context.poison = context.poison or "killed"
    session, context.session = context.session, None
    if session is not None:
        session.end()
