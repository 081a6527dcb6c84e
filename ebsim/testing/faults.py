"""What goes wrong in a store when a test says so.

`Faults` is made of the seams of a store: hand `before_copy` and `files` to `Seams`, as `Harness`
and the fixture `ebsim_faults` do. It is for snapshots of managed volumes, which are copied behind
the scenes; a source that fails is a `FailingSource`, which `failing_source` makes.
"""

import errno
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebsim.core.stopping import StoppedError
from ebsim.errors import SourceError
from ebsim.ids import SnapshotId, parse_snapshot_id
from ebsim.storage.files import Files, PosixFiles
from ebsim.storage.sources import BlockSource
from ebsim.testing.held_copies import HeldCopies
from ebsim.testing.observed_files import ObservedFiles
from ebsim.testing.sources import FailingSource

_WRITING = frozenset({"create", "write_at", "reserve", "make_directory"})
_SYNCING = frozenset({"sync", "sync_directory"})


class Faults:
    """Faults of one store, from any thread. Nothing fails until it is told to.

    Args:
        files: The store's files, as they are without faults; None: those of the operating system.

    Attributes:
        files: What to hand to `Seams`: the same files, which fail when they are told to.
    """

    def __init__(self, files: Files | None = None) -> None:
        self.files: Files = ObservedFiles(files or PosixFiles(), self._before_file)
        self._copies = HeldCopies(holding=False)
        self._mutex = threading.Lock()
        self._fail_next: deque[str] = deque()
        self._leaving = False
        self._errno = 0
        self._failing: frozenset[str] = frozenset()

    # Snapshots

    @contextmanager
    def hold_snapshots(self) -> Iterator[None]:
        """Return a context in which snapshots stay pending until `release`, or until its end.

        A store that is closed waits for its snapshots, so it must not be closed in this context,
        but for what `leave_pending` is for.
        """
        self._copies.hold_all()
        try:
            yield
        finally:
            self._copies.release_all()

    def release(self, *snapshot_ids: str) -> None:
        """Let these be copied though others are held; without an id, all that ever come."""
        if snapshot_ids:
            self._copies.release(*snapshot_ids)
        else:
            self._copies.release_all()

    def fail(self, snapshot_id: str, reason: str = "told to fail") -> None:
        """Let a pending snapshot end as `error`, with this message; it is best held before.

        Raises:
            InvalidInputError: That is no snapshot's id.
        """
        self._copies.fail(parse_snapshot_id(snapshot_id), reason)

    def fail_next_snapshot(self, reason: str = "told to fail") -> None:
        """Let the next snapshot whose copying begins end as `error`, with this message.

        Wait for snapshots that were begun before, else it may be one of those. Told twice, the
        next two fail.
        """
        with self._mutex:
            self._fail_next.append(reason)

    def leave_pending(self) -> None:
        """Let the snapshots that are held stay pending when their store is closed, and after.

        As when the process dies: whoever opens the store next goes on with them, with other
        `Faults`. Those held now or later are never copied by this handle.
        """
        self._leaving = True
        self._copies.release_all()

    def reset(self) -> None:
        """Forget all that was told, once the store is closed: for the next handle on it."""
        self._copies = HeldCopies(holding=False)
        self._fail_next.clear()
        self._leaving = False

    def before_copy(self, snapshot_id: SnapshotId) -> None:
        """Hold or fail a snapshot, as told. For `Seams`.

        Raises:
            SourceError: It was told to fail.
        """
        with self._mutex:
            reason = self._fail_next.popleft() if self._fail_next else None
        if reason is not None:
            raise SourceError(reason)
        self._copies(snapshot_id)
        if self._leaving:
            raise StoppedError

    # Sources

    def failing_source(self, source: BlockSource, block: int) -> FailingSource:
        """Return a source that cannot be read at a block, as a disk with a bad sector."""
        return FailingSource(source, unreadable_block=block)

    # The store's own disk

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Return a context in which the store's disk has no space left.

        The catalog, which has files of its own, can still be written to.
        """
        with self._file_failure(errno.ENOSPC, _WRITING):
            yield

    @contextmanager
    def failing_disk(self) -> Iterator[None]:
        """Return a context in which the store's disk cannot be written to (EIO).

        After a failure the store refuses to be written to until it is opened anew.
        """
        with self._file_failure(errno.EIO, _WRITING | _SYNCING):
            yield

    @contextmanager
    def _file_failure(self, number: int, failing: frozenset[str]) -> Iterator[None]:
        self._errno, self._failing = number, failing
        try:
            yield
        finally:
            self._errno, self._failing = 0, frozenset()

    def _before_file(self, what: str, path: Path) -> None:
        if what in self._failing:
            raise OSError(self._errno, os.strerror(self._errno), str(path))
