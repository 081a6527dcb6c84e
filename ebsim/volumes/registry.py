"""The volumes that this process has open: each once, however many use it.

A volume's live data are open in one process at a time; a kernel lock, which dies with its process,
sees to that. A pending snapshot, or loading behind the scenes, is a user like any other.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from ebsim import refusals
from ebsim.core.context import StoreContext
from ebsim.core.volume_records import managed_volumes
from ebsim.errors import ConflictError, ErrorCode, StoreError
from ebsim.ids import VolumeId
from ebsim.storage.locks import Lock, named_region
from ebsim.volumes.deletion import finish_deletion, is_deleting, mark_deleting
from ebsim.volumes.live_volume import LiveVolume
from ebsim.volumes.opening import open_live_volume

PATIENCE = 20
PATIENCE_S = 1.0
"""How often, and for how long, another process is given the time to let a volume go."""


_WHAT_OTHERS_DO = (
    "it reads, writes or loads the volume, or copies a pending snapshot of it; try again when it "
    "is done (`ebsim snapshot list --state pending` shows the snapshots, and `ebsim snapshot wait` "
    "waits for one)"
)


@dataclass(slots=True)
class _Entry:
    live: LiveVolume
    lock: Lock
    users: int = 0
    files: int = 0


class LiveVolumes:
    """The open volumes of one store handle. Safe for several threads.

    Args:
        context: The store.
        pause: Waits so many seconds.
    """

    def __init__(
        self, context: StoreContext, pause: Callable[[float], object] | None = None
    ) -> None:
        self._context = context
        self._pause = pause or threading.Event().wait
        self._entries: dict[VolumeId, _Entry] = {}
        self._mutex = threading.Lock()
        self._pid = os.getpid()

    def acquire(self, volume_id: VolumeId, *, as_file: bool = False) -> LiveVolume:
        """Return a volume's live data, opened if need be; `release` it.

        Args:
            volume_id: The volume.
            as_file: For somebody who reads and writes it: until then it cannot be deleted.

        Raises:
            ConflictError: Another process has it open.
            NotFoundError, CorruptionError, StoreError, LimitExceededError: As `open_live_volume`.
            EbsimError: It is encrypted, and its key cannot be had, though it may be open already.
            StoreError: StoreForked: the process was forked while the store was open; or the store
                lies on a read-only file system.
        """
        if os.getpid() != self._pid:
            raise StoreError(
                "this process was forked while the store was open: open the store again in it",
                ErrorCode.STORE_FORKED,
            )
        if self._context.catalog.read_only:
            raise StoreError(
                f"the store {self._context.path} lies on a read-only file system, and opening a "
                f"volume writes: mount it for writing, or `ebsim restore` a snapshot of {volume_id}"
            )
        with self._mutex:
            entry = self._entries.get(volume_id)
            if entry is None:
                entry = self._open(volume_id)
                self._entries[volume_id] = entry
            else:
                entry.live.ensure_key()
            entry.users += 1
            entry.files += as_file
            return entry.live

    def release(self, live: LiveVolume, *, as_file: bool = False) -> None:
        """Say that one user is done; the last one's going flushes and closes the volume.

        A volume that was deleted meanwhile goes with its last user.

        Raises:
            StoreError, LimitExceededError: The flush failed. The volume is closed all the same.
        """
        with self._mutex:
            entry = self._entries.get(live.volume_id)
            if entry is None or entry.live is not live:
                return  # the store was closed meanwhile
            entry.users -= 1
            entry.files -= as_file
            if entry.users:
                return
            try:
                self._close(entry)
                if not self._context.poison:
                    finish_deletion(self._context, live.volume_id)
            finally:
                del self._entries[live.volume_id]
                entry.lock.release()

    @contextmanager
    def using(self, volume_id: VolumeId) -> Iterator[LiveVolume]:
        """Return a context in which a volume is open."""
        live = self.acquire(volume_id)
        try:
            yield live
        finally:
            self.release(live)

    def delete(self, volume_id: VolumeId, *, never_had: bool = False) -> None:
        """Delete a volume, or have it go with the last of its pending snapshots.

        Args:
            volume_id: The volume.
            never_had: Its making failed: no rule of the Recycle Bin keeps it.

        Raises:
            ConflictError: Somebody has it open, or it is in a wrong state.
            NotFoundError: There is no such volume.
            StoreError, LimitExceededError: It could not be deleted; the next opener goes on.
        """
        with self._mutex:
            entry = self._entries.get(volume_id)
            if entry is not None and entry.files:
                raise refusals.volume_in_use(
                    volume_id, "this process", "close its file object, then try again"
                )
            lock = self._lock(volume_id) if entry is None else None
            try:
                mark_deleting(self._context, volume_id, never_had=never_had)
                if entry is None:
                    finish_deletion(self._context, volume_id)
            finally:
                if lock is not None:
                    lock.release()

    def finish_deletions(self) -> None:
        """Go on with deletions that a process left; those of volumes in use are left alone."""
        with self._context.catalog.read() as reader:
            left = [each.volume_id for each in managed_volumes(reader) if is_deleting(each)]
        for volume_id in left:
            with suppress(ConflictError), self._mutex:
                if volume_id not in self._entries:
                    with self._lock(volume_id):
                        finish_deletion(self._context, volume_id)

    def close(self) -> None:
        """Flush and close what is still open, whoever uses it.

        Raises:
            StoreError, LimitExceededError: A flush failed; everything is closed all the same.
        """
        with self._mutex, ExitStack() as stack:
            entries, self._entries = self._entries, {}
            for entry in entries.values():
                stack.callback(entry.lock.release)
                stack.callback(self._close, entry)

    def find(self, volume_id: VolumeId) -> LiveVolume | None:
        """Return a volume's live data if they are open."""
        with self._mutex:
            entry = self._entries.get(volume_id)
            return None if entry is None else entry.live

    def _open(self, volume_id: VolumeId) -> _Entry:
        lock = self._lock(volume_id)
        try:
            return _Entry(open_live_volume(self._context, volume_id), lock)
        except BaseException:
            lock.release()
            raise

    def _close(self, entry: _Entry) -> None:
        clean = False
        try:
            if not self._context.poison:
                entry.live.flush()
                entry.live.settle()
                clean = True
        finally:
            entry.live.close(clean=clean)

    def _lock(self, volume_id: VolumeId) -> Lock:
        region = named_region(f"volume {volume_id}")
        for _ in range(PATIENCE):
            lock = self._context.locks.try_hold(region)
            if lock is not None:
                return lock
            self._pause(PATIENCE_S / PATIENCE)  # its process may just be letting go
        raise refusals.volume_in_use(volume_id, "another process", _WHAT_OTHERS_DO)
