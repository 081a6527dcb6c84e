"""Making started snapshots once they are sealed, behind the scenes, and who writes them here."""

import hashlib
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import groupby

from ebsim.config import Compression
from ebsim.core.block_maps import LEAF_BLOCKS, find_leaf
from ebsim.core.changes import writing
from ebsim.core.context import StoreContext
from ebsim.core.delete import delete_snapshots
from ebsim.core.extents import LeafWork
from ebsim.core.making import Making, give_up
from ebsim.core.reclaim import reclaim_if_possible
from ebsim.core.sessions import current_session
from ebsim.core.snapshots import (
    NO_SESSION,
    find_snapshot,
    get_pending,
    get_snapshot,
    pending_snapshots,
    put_snapshot,
)
from ebsim.core.started_files import (
    Staging,
    forget,
    ids_present,
    lock_started,
    noted,
    open_staging,
    remove_files,
)
from ebsim.core.started_rules import Started, is_being_written
from ebsim.core.stopping import StoppedError
from ebsim.errors import (
    KEYRING_FAILURES,
    ConflictError,
    EbsimError,
    ErrorCode,
    NotFoundError,
    SnapshotFailedError,
    SourceError,
)
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId
from ebsim.progress import SilentProgress
from ebsim.results import SnapshotState
from ebsim.storage.catalog import Catalog, CatalogWriter
from ebsim.units import BLOCK_SIZE

_log = logging.getLogger(__name__)


class StagedSource:
    """The blocks of a sealed snapshot, as a source; each is proved by its digest."""

    modified_since_open = False

    def __init__(self, staging: Staging, record: SnapshotRecord, stopped: threading.Event) -> None:
        self._staging = staging
        self._stopped = stopped
        self.identity = record.snapshot_id
        self.size_bytes = record.size_bytes

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield all of it: which blocks are to be read is said by `PutPlan`."""
        yield start, end

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer with the block at `offset`.

        Raises:
            SourceError: It cannot be read, or is not what was put.
            StoppedError: The store is being closed.
        """
        if self._stopped.is_set():
            raise StoppedError
        index = offset // BLOCK_SIZE
        try:
            got = self._staging.data.read_into(offset, buffer)
        except OSError as error:
            raise SourceError(
                f"cannot read block {index} of {self.identity}: {error.strerror}",
                ErrorCode.SOURCE_READ_FAILED,
            ) from error
        if got < len(buffer) or hashlib.sha256(buffer).digest() != self._staging.digests[index]:
            raise SourceError(
                f"block {index} of {self.identity} is not any more what was put: the machine was "
                "restarted, or the disk is failing",
                ErrorCode.SOURCE_CHANGED,
            )

    def ensure_unchanged(self) -> None:
        """Do nothing: each block was proved when it was read."""

    def close(self) -> None:
        """Do nothing: the files stay open."""


class PutPlan:
    """Which blocks a started snapshot reads: those that were put, zeros too."""

    rest_is_zeros = False

    def __init__(self, indices: list[int]) -> None:
        self._indices = indices
        self._done = 0

    def work(self, catalog: Catalog, root: int) -> Iterator[LeafWork]:
        """Yield each leaf that was put to, with the blocks to be read."""
        for leaf, group in groupby(self._indices, key=lambda index: index // LEAF_BLOCKS):
            found = list(group)
            with catalog.read() as reader:
                page = find_leaf(reader, root, leaf)
            self._done += len(found)
            yield leaf, page, _runs(found)

    def is_written(self, index: int) -> bool:
        """Return True: zeros that were put count as written."""
        return True

    def progress(self, end: int, size: int) -> int:
        """Return the share of the blocks to be read that are."""
        return size * self._done // max(1, len(self._indices))


def _runs(indices: list[int]) -> list[tuple[int, int]]:
    """Return half-open ranges of ascending indices."""
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and runs[-1][1] == index:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs


class StartedWrites:
    """The started snapshots of one store handle: their open files, and who makes them.

    Args:
        context: The store, acting for itself.
    """

    def __init__(self, context: StoreContext) -> None:
        self._context = context
        self._open: dict[SnapshotId, Staging] = {}
        self._mutex = threading.Lock()
        self._makers = ThreadPoolExecutor(1, thread_name_prefix="ebsim-started")
        self._queued: set[SnapshotId] = set()
        self._stopped = threading.Event()

    def staging(self, record: SnapshotRecord) -> Staging:
        """Return the files of a snapshot, opened if need be.

        Raises:
            EbsimError: As `open_staging`.
        """
        with self._mutex:
            found = self._open.get(record.snapshot_id)
            if found is None:
                found = open_staging(self._context, record)
                self._open[record.snapshot_id] = found
            return found

    def last_put_us(self, snapshot_id: SnapshotId) -> int | None:
        """Return when the last block was put; None: the files are not open here."""
        with self._mutex:
            found = self._open.get(snapshot_id)
            return None if found is None else found.last_us

    def make(self, snapshot_id: SnapshotId) -> None:
        """Have a sealed snapshot be made behind the scenes."""
        with self._mutex:
            if snapshot_id in self._queued or self._stopped.is_set():
                return
            self._queued.add(snapshot_id)
            self._makers.submit(self._run, snapshot_id)

    def resume(self) -> None:
        """Go on with what was sealed and is not made, and remove the files of what ended."""
        context = self._context
        session = context.session
        own = NO_SESSION if session is None else session.number
        with context.catalog.read() as reader:
            left = [each for one in {NO_SESSION, own} for each in pending_snapshots(reader, one)]
            records = [get_snapshot(reader, each) for each in left]
        for record in records:
            started = Started.of(record)
            if started is not None and started.sealed and record.state == SnapshotState.PENDING:
                self.make(record.snapshot_id)
        self.remove_leftovers()

    def remove_leftovers(self, *, strays: bool = False) -> None:
        """Remove the files of snapshots that are not pending any more, unless others use them.

        Args:
            strays: Also those that the catalog does not know of: their process died too early.

        Raises:
            StoreError, LimitExceededError: They cannot be removed.
        """
        context = self._context
        with context.catalog.read() as reader:
            names = set(noted(reader))
        if strays:
            names |= ids_present(context.files, context.path)
        with self._mutex:
            gone = [each for each in sorted(names) if self._remove(each)]
        if gone:
            context.catalog.update(lambda writer: forget(writer, gone))

    def _remove(self, name: SnapshotId) -> bool:
        """Remove a snapshot's files if nobody needs them; return whether they are removed."""
        context = self._context
        with context.catalog.read() as reader:
            record = find_snapshot(reader, name)
        if name in self._queued or (record is not None and record.state == SnapshotState.PENDING):
            return False
        known = self._open.pop(name, None)
        if known is not None:
            known.close()
        lock = lock_started(context, name)
        if lock is None:
            return False
        with lock:
            remove_files(context, name)
        return True

    def unfinished(self) -> list[SnapshotId]:
        """Return those that are sealed, and made here now or when their turn comes."""
        with self._mutex:
            return sorted(self._queued)

    def close(self, *, wait: bool) -> None:
        """Close everything.

        Args:
            wait: For what is sealed to be made; else the next opener goes on with it.
        """
        if not wait:
            self._stopped.set()
        self._makers.shutdown(wait=True, cancel_futures=not wait)
        with self._mutex:
            stagings, self._open = self._open, {}
        for staging in stagings.values():
            staging.close()

    # Making (in the maker's thread)

    def _run(self, snapshot_id: SnapshotId) -> None:
        context = self._context
        try:
            with writing(context):
                completed = self._make(snapshot_id)
                if completed.deletion_wanted:
                    with suppress(NotFoundError):  # another process was faster
                        delete_snapshots(context, [snapshot_id], dry_run=False)
                reclaim_if_possible(context)
        except StoppedError:
            _log.info("%s is not made now", snapshot_id)
        except SnapshotFailedError as error:
            _log.warning("%s", error)
        except Exception:  # noqa: BLE001 - it is logged, and stays pending, or was completed
            _log.exception("snapshot %s could not be made", snapshot_id)
        finally:
            with self._mutex:
                self._queued.discard(snapshot_id)
            with suppress(EbsimError):  # the next who looks for leftovers removes them
                self.remove_leftovers()

    def _wanted(self, snapshot_id: SnapshotId) -> Staging:
        """Return the files of a snapshot that is to be made.

        Raises:
            StoppedError: It is to stay pending, or was made meanwhile.
            EbsimError: As `staging`.
        """
        with self._context.catalog.read() as reader:
            record = find_snapshot(reader, snapshot_id)
        pending = record is not None and record.state == SnapshotState.PENDING
        if record is None or not pending or self._stopped.is_set():
            raise StoppedError
        return self.staging(record)

    def _make(self, snapshot_id: SnapshotId) -> SnapshotRecord:
        context = self._context
        making: Making | None = None
        try:
            staging = self._wanted(snapshot_id)
            if context.state.before_copy is not None:
                context.state.before_copy(snapshot_id)
                staging = self._wanted(snapshot_id)
            session = current_session(context)
            record = context.catalog.update(
                lambda writer: _take_up(writer, snapshot_id, session.number)
            )
            source = StagedSource(staging, record, self._stopped)
            plan = PutPlan(sorted(staging.digests))
            making = Making(context, session, source, plan, snapshot_id, Compression())
            return making.run(record, SilentProgress(), source_read=lambda: None)
        except StoppedError:
            if making is not None:
                making.leave()
            raise
        except BaseException as caught:
            error = _as_failure(caught)
            if making is not None:
                making.stop(error)
            elif _is_final(error):
                give_up(context, snapshot_id, error)
            raise error from caught


def _as_failure(error: BaseException) -> BaseException:
    """Return an error as one that a snapshot ends with, and is not forgotten for."""
    if isinstance(error, (EbsimError, OSError)) or not isinstance(error, Exception):
        return error
    return SourceError(f"making it broke off: {error!r}", ErrorCode.SNAPSHOT_FAILED)


def _is_final(error: BaseException) -> bool:
    """Return whether what could not be begun never will be; not where another process has it."""
    if isinstance(error, (ConflictError, NotFoundError)):
        return error.code not in {ErrorCode.INCORRECT_STATE, ErrorCode.KEYRING_NOT_FOUND}
    return not (isinstance(error, EbsimError) and error.code in KEYRING_FAILURES)


def _take_up(writer: CatalogWriter, snapshot_id: SnapshotId, session: int) -> SnapshotRecord:
    record = replace(get_pending(writer, snapshot_id), session=session)
    assert not is_being_written(record), "only what is sealed is made"
    put_snapshot(writer, record)
    return record
