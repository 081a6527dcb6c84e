"""The volumes that this process has open: each once, however many use it.

A volume's live data are open in one process at a time; a kernel lock, which dies with its process,
sees to that (`ebsim.volumes.turns`). Whoever reads or writes a volume keeps it until it is done.

A pending snapshot that is copied has a *share* of it, which gives way: where another process waits
for a volume of which this one has nothing but shares, it is *lent* as soon as no block is being
read, which a thread sees to. All that was written, and all that the points in time need, is made
durable, and it is closed; the other process then opens it as it would after this one had ended, and
so keeps for the pending snapshots whatever it overwrites. Who copies waits at its next block until
the volume is open here again. A process that dies meanwhile is followed as ever: its lock is free,
and who opens the volume next makes good what it left (`ebsim.volumes.opening`).
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from ebsim import refusals
from ebsim.core.context import StoreContext
from ebsim.core.stopping import StoppedError
from ebsim.core.volume_records import managed_volumes
from ebsim.errors import ConflictError, EbsimError, ErrorCode, StoreError
from ebsim.ids import VolumeId
from ebsim.storage.locks import Lock
from ebsim.volumes.deletion import ensure_deletable, finish_deletion, is_deleting, mark_deleting
from ebsim.volumes.live_volume import LiveVolume
from ebsim.volumes.opening import open_live_volume
from ebsim.volumes.turns import STEP_S, Turns

_log = logging.getLogger(__name__)

_STOPPED_S = 0.1
"""How often who waits for a lent volume looks whether it is to stop."""


@dataclass(slots=True, eq=False)
class _Entry:
    """A volume that somebody here uses.

    Attributes:
        live: Its live data; None while it is lent to another process.
        lock: What keeps other processes out, while it is open.
        users: Those who keep it open; a share does not.
        files: Those of them that are file objects.
        shares: Those who copy pending snapshots of it.
        reading: Those of them who are at a block just now.
        leaving: Whether none of them may begin another block, because the volume is to be lent.
        failure: Why it could not be opened again.
        lent_steps: How long the store that is being closed has waited for it.
    """

    live: LiveVolume | None = None
    lock: Lock | None = None
    users: int = 0
    files: int = 0
    shares: int = 0
    reading: int = 0
    leaving: bool = False
    failure: BaseException | None = None
    lent_steps: int = 0


class LiveVolumes:
    """The open volumes of one store handle. Safe for several threads.

    Args:
        context: The store.
        pause: Waits so many seconds.

    Attributes:
        freezing: Held by whoever fixes points in time, from the transaction that begins the next
            epochs of volumes until their live data follow.
    """

    def __init__(
        self, context: StoreContext, pause: Callable[[float], object] | None = None
    ) -> None:
        self.freezing = threading.Lock()
        self._context = context
        self._turns = Turns(context, pause or threading.Event().wait)
        self._entries: dict[VolumeId, _Entry] = {}
        self._changed = threading.Condition()
        self._lender: threading.Thread | None = None
        self._ending = False
        self._closed = False
        self._pid = os.getpid()

    def acquire(self, volume_id: VolumeId, *, as_file: bool = False) -> LiveVolume:
        """Return a volume's live data, opened if need be; `release` it.

        Where another process has them, they are waited for (`StoreContext.state.patience`).

        Args:
            volume_id: The volume.
            as_file: For somebody who reads and writes it: until then it cannot be deleted.

        Raises:
            ConflictError: Unavailable: another process still has it open.
            NotFoundError, CorruptionError, StoreError, LimitExceededError: As `open_live_volume`.
            EbsimError: It is encrypted, and its key cannot be had, though it may be open already.
            StoreError: StoreForked: the process was forked while the store was open; or the store
                lies on a read-only file system.
        """
        self._ensure_usable(volume_id)
        with self._turns.waiting(volume_id) as wait:
            while True:
                with self._changed:
                    entry = self._opened(volume_id)
                    if entry is not None and entry.live is not None:
                        entry.users += 1
                        entry.files += as_file
                        return entry.live
                wait()

    def release(self, live: LiveVolume, *, as_file: bool = False) -> None:
        """Say that one user is done; the last one's going flushes and closes the volume.

        A volume that was deleted meanwhile goes with its last user.

        Raises:
            StoreError, LimitExceededError: The flush failed. The volume is closed all the same.
        """
        with self._changed:
            entry = self._entries.get(live.volume_id)
            if entry is None or entry.live is not live:
                return  # the store was closed meanwhile
            entry.users -= 1
            entry.files -= as_file
            self._end_unused(live.volume_id, entry)

    @contextmanager
    def using(self, volume_id: VolumeId) -> Iterator[LiveVolume]:
        """Return a context in which a volume is open."""
        live = self.acquire(volume_id)
        try:
            yield live
        finally:
            self.release(live)

    def try_acquire(self, volume_id: VolumeId) -> LiveVolume | None:
        """Return a volume's live data as `acquire` does, for what goes on behind the scenes.

        None: another process has them, or somebody waits for them, who goes first.

        Raises:
            As `acquire`, but for Unavailable.
        """
        self._ensure_usable(volume_id)
        with self._changed:
            if self._turns.is_wanted(volume_id):
                return None
            entry = self._opened(volume_id)
            if entry is None:
                return None
            entry.users += 1
            return entry.live

    def is_wanted(self, volume_id: VolumeId) -> bool:
        """Return whether anybody waits for a volume."""
        return self._turns.is_wanted(volume_id)

    def share(self, live: LiveVolume) -> "Share":
        """Return a share for a user, who is none any more."""
        with self._changed:
            entry = self._entries[live.volume_id]
            entry.users -= 1
            entry.shares += 1
            if self._lender is None and not self._closed:
                self._lender = threading.Thread(
                    target=self._lend, name="ebsim-lend-volumes", daemon=True
                )
                self._lender.start()
        return Share(self, live.volume_id)

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
        ensure_deletable(self._context, volume_id)
        with self._turns.waiting(volume_id) as wait:
            while not self._try_delete(volume_id, never_had=never_had):
                wait()

    def _try_delete(self, volume_id: VolumeId, *, never_had: bool) -> bool:
        """Delete a volume; return False where another process has it open."""
        with self._changed, ExitStack() as stack:
            entry = self._entries.get(volume_id)
            if entry is not None and entry.files:
                raise refusals.volume_in_use(
                    volume_id, "this process", "close its file object, then try again"
                )
            is_open = entry is not None and entry.live is not None
            if not is_open:
                lock = self._turns.try_take(volume_id)
                if lock is None:
                    return False
                stack.enter_context(lock)
            mark_deleting(self._context, volume_id, never_had=never_had)
            if not is_open:
                finish_deletion(self._context, volume_id)
            return True

    def finish_deletions(self) -> None:
        """Go on with deletions that a process left; those of volumes in use are left alone."""
        with self._context.catalog.read() as reader:
            left = [each.volume_id for each in managed_volumes(reader) if is_deleting(each)]
        for volume_id in left:
            with suppress(ConflictError), self._changed:
                if volume_id not in self._entries:
                    self._finish_deletion(volume_id)

    def give_up_lent(self) -> None:
        """Have shares end after a while whose volumes another process does not give back."""
        with self._changed:
            self._ending = True

    def end_lending(self) -> None:
        """Lend and take back nothing any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            lender = self._lender
        if lender is not None:
            lender.join()

    def close(self) -> None:
        """Flush and close what is still open, whoever uses it.

        Raises:
            StoreError, LimitExceededError: A flush failed; everything is closed all the same.
        """
        self.end_lending()
        with self._changed, ExitStack() as stack:
            entries, self._entries = self._entries, {}
            for entry in entries.values():
                if entry.lock is not None:
                    stack.callback(entry.lock.release)
                    stack.callback(self._close, entry)

    def find(self, volume_id: VolumeId) -> LiveVolume | None:
        """Return a volume's live data if they are open."""
        with self._changed:
            entry = self._entries.get(volume_id)
            return None if entry is None else entry.live

    def _ensure_usable(self, volume_id: VolumeId) -> None:
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

    # With `_changed` held

    def _opened(self, volume_id: VolumeId) -> _Entry | None:
        """Return a volume's entry, open; None where another process has the volume."""
        entry = self._entries.get(volume_id)
        if entry is not None and entry.live is not None:
            entry.live.ensure_key()
            return entry
        lock = self._turns.try_take(volume_id)
        if lock is None:
            return None
        try:
            live = open_live_volume(self._context, volume_id)
        except BaseException:
            lock.release()
            raise
        if entry is None:
            entry = self._entries[volume_id] = _Entry()
        entry.live, entry.lock, entry.failure, entry.leaving = live, lock, None, False
        self._changed.notify_all()
        return entry

    def _end_unused(self, volume_id: VolumeId, entry: _Entry) -> None:
        """Close a volume that nobody here uses any more."""
        if entry.users or entry.shares:
            return
        lent = entry.live is None
        try:
            if not lent:
                self._close(entry)
                if not self._context.poison:
                    finish_deletion(self._context, volume_id)
        finally:
            del self._entries[volume_id]
            if entry.lock is not None:
                entry.lock.release()
            self._changed.notify_all()
        if lent and not self._context.poison:
            self._finish_deletion(volume_id)

    def _finish_deletion(self, volume_id: VolumeId) -> None:
        """Remove a volume that is to go, unless another process has it, which then does so."""
        lock = self._turns.try_take(volume_id)
        if lock is not None:
            with lock:
                finish_deletion(self._context, volume_id)

    def _close(self, entry: _Entry) -> None:
        live = entry.live
        assert live is not None, "it is open"
        clean = False
        try:
            if not self._context.poison:
                live.flush()
                live.settle()
                clean = True
        finally:
            live.close(clean=clean)

    # Lending, in a thread of its own

    def _lend(self) -> None:
        while True:
            with self._changed:
                shared = [(key, each) for key, each in self._entries.items() if each.shares]
                if not shared or self._closed:
                    self._lender = None
                    return
            for volume_id, entry in shared:
                try:
                    self._look_after(volume_id, entry)
                except Exception:  # noqa: BLE001 - it is logged, and tried again
                    _log.exception("volume %s can be neither lent nor taken back", volume_id)
            with self._changed:
                self._changed.wait(STEP_S)

    def _look_after(self, volume_id: VolumeId, entry: _Entry) -> None:
        """Lend a volume that is wanted, or take back one that is not any more."""
        with self._changed:
            if self._entries.get(volume_id) is not entry or not entry.shares:
                return
            if entry.live is None:
                self._take_back(volume_id, entry)
                return
            idle = not entry.users and not self._context.poison
            leaving = idle and self._turns.is_wanted(volume_id)
            if entry.leaving != leaving:
                entry.leaving = leaving
                self._changed.notify_all()
            if not leaving or entry.reading:
                return
            live = entry.live
            entry.users += 1
        try:
            live.flush()  # most of the work, while others use other volumes
        except EbsimError as error:
            _log.warning("volume %s cannot be lent: %s", volume_id, error)
            self._keep(live, entry)
            return
        with self._changed:
            entry.users -= 1
            if entry.live is not live or self._entries.get(volume_id) is not entry:
                return  # the store was closed meanwhile
            if not entry.shares:
                self._end_unused(volume_id, entry)
            elif not entry.users and not entry.reading:
                self._hand_over(volume_id, entry)

    def _keep(self, live: LiveVolume, entry: _Entry) -> None:
        """Go on with a volume that could not be lent."""
        with suppress(EbsimError):
            self.release(live)
        with self._changed:
            entry.leaving = False
            self._changed.notify_all()

    def _hand_over(self, volume_id: VolumeId, entry: _Entry) -> None:
        try:
            self._close(entry)
        except EbsimError as error:  # the next one to open it makes that good
            _log.warning("volume %s was lent: %s", volume_id, error)
        finally:
            lock, entry.live, entry.lock, entry.leaving = entry.lock, None, None, False
            if lock is not None:
                lock.release()

    def _take_back(self, volume_id: VolumeId, entry: _Entry) -> None:
        if entry.failure is not None:
            return
        try:
            if not self._turns.is_wanted(volume_id) and self._opened(volume_id) is not None:
                return
        except EbsimError as error:
            entry.failure = error
        if self._ending:
            entry.lent_steps += 1
            if entry.lent_steps * STEP_S > self._context.state.patience.seconds:
                entry.failure = StoppedError()
        if entry.failure is not None:
            self._changed.notify_all()

    # Shares

    def enter(self, volume_id: VolumeId, is_stopped: Callable[[], bool]) -> LiveVolume:
        """Return the live data for a share, once they are here; `leave` them soon.

        Raises:
            StoppedError: Who asks was told to stop, or the store is closed.
            EbsimError: The volume could not be opened again.
        """
        with self._changed:
            while True:
                entry = self._entries.get(volume_id)
                if entry is None or is_stopped():
                    raise StoppedError
                if entry.live is not None and not entry.leaving:
                    entry.reading += 1
                    return entry.live
                if entry.failure is not None:
                    raise entry.failure
                self._changed.wait(_STOPPED_S)

    def enter_if_open(self, volume_id: VolumeId) -> LiveVolume | None:
        """Return the live data for a share, if they are here; then `leave` them soon."""
        with self._changed:
            entry = self._entries.get(volume_id)
            if entry is None or entry.live is None:
                return None
            entry.reading += 1
            return entry.live

    def leave(self, live: LiveVolume) -> None:
        """Say that a share is done with a block."""
        with self._changed:
            entry = self._entries.get(live.volume_id)
            if entry is None or entry.live is not live:
                return  # the store was closed meanwhile
            entry.reading -= 1
            if entry.leaving and not entry.reading:
                self._changed.notify_all()

    def end_share(self, volume_id: VolumeId) -> None:
        """Say that a share is done with the volume; see `release`."""
        with self._changed:
            entry = self._entries.get(volume_id)
            if entry is None:
                return  # the store was closed meanwhile
            entry.shares -= 1
            self._end_unused(volume_id, entry)


class Share:
    """A use of a volume that gives way to other processes, between two blocks.

    Attributes:
        volume_id: The volume.
    """

    def __init__(self, volumes: LiveVolumes, volume_id: VolumeId) -> None:
        self._volumes = volumes
        self.volume_id = volume_id

    @contextmanager
    def using(self, is_stopped: Callable[[], bool]) -> Iterator[LiveVolume]:
        """Return a context in which the volume is open here and stays so.

        Raises:
            As `LiveVolumes.enter`.
        """
        live = self._volumes.enter(self.volume_id, is_stopped)
        try:
            yield live
        finally:
            self._volumes.leave(live)

    @contextmanager
    def if_open(self) -> Iterator[LiveVolume | None]:
        """Return a context with the volume if it is open here, and None while it is lent."""
        live = self._volumes.enter_if_open(self.volume_id)
        try:
            yield live
        finally:
            if live is not None:
                self._volumes.leave(live)

    def release(self) -> None:
        """End the share.

        Raises:
            StoreError, LimitExceededError: As `LiveVolumes.release`.
        """
        self._volumes.end_share(self.volume_id)
