"""Everything about managed volumes that one store handle holds in memory."""

import threading
from collections.abc import Callable, Sequence

from ebsim.core.context import StoreContext
from ebsim.core.copied_part import ensure_made
from ebsim.core.reclaim import reclaim_if_possible
from ebsim.core.recovery import recover
from ebsim.core.snapshots import find_snapshot, get_present
from ebsim.core.started_clock import resume_started
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId
from ebsim.progress import Progress
from ebsim.results import SnapshotState
from ebsim.volumes.background import BackgroundLoading
from ebsim.volumes.copying import drop_unfinished
from ebsim.volumes.registry import LiveVolumes
from ebsim.volumes.snapshot_queue import BeforeCopy, SnapshotQueue

POLL_S = 0.2
"""How often is looked after snapshots that another process copies."""


class ManagedVolumes:
    """The open volumes, the snapshots being copied, and the volumes being loaded.

    Args:
        context: The store.
        before_copy: Called in the copying thread before a snapshot is copied.
        pause: Waits so many seconds.

    Attributes:
        live: The open volumes.
        background: The volumes that are being loaded.
        snapshots: The snapshots that are being copied.
    """

    def __init__(
        self,
        context: StoreContext,
        before_copy: BeforeCopy | None = None,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._context = context
        self._pause = pause or threading.Event().wait
        self.live = LiveVolumes(context, self._pause)
        self.background = BackgroundLoading(context, self.live)
        self.snapshots = SnapshotQueue(context, self.live, before_copy)

    def resume(self) -> None:
        """Go on with what a process left: pending snapshots, loading, deletions."""
        drop_unfinished(self._context, self.live)
        self.live.finish_deletions()
        self.snapshots.resume()
        reclaim_if_possible(self._context)
        self.background.resume()

    def wait(self, snapshot_ids: Sequence[SnapshotId], progress: Progress) -> list[SnapshotRecord]:
        """Wait until snapshots are completed, in error or gone, whoever copies them.

        Returns:
            Their records; of those that are gone, because they were deleted while pending, none.

        Raises:
            NotFoundError: One does not exist.
            StorePoisonedError: A write of this handle failed; they stay pending.
            EbsimError: A volume is encrypted, and its keyring cannot be opened; they stay pending.
        """
        with self._context.catalog.read() as reader:
            records = [get_present(reader, each) for each in snapshot_ids]
        reporter = _Reporter(progress, sum(record.size_bytes for record in records))
        try:
            while True:
                self.snapshots.wait(snapshot_ids, reporter.report)
                found = self._find(snapshot_ids)
                if all(record.state != SnapshotState.PENDING for record in found):
                    return found
                ensure_made(found)
                self._context.ensure_writable()  # else nobody here will ever copy them
                recover(self._context)  # its process may have died
                self.snapshots.resume()
                if any(record.started is not None for record in found):
                    resume_started(self._context)
                self.snapshots.ensure_possible(snapshot_ids)
                self._pause(POLL_S)
        finally:
            progress.finish()

    def close(self, *, wait: bool) -> None:
        """Close everything.

        Args:
            wait: For pending snapshots to be copied; else the next opener goes on with them. As it
                does where another process has a volume, and does not give it back for a while.
        """
        self.background.close()
        self.live.give_up_lent()
        self.snapshots.close(wait=wait)
        self.live.close()

    def _find(self, snapshot_ids: Sequence[SnapshotId]) -> list[SnapshotRecord]:
        with self._context.catalog.read() as reader:
            known = [find_snapshot(reader, each) for each in snapshot_ids]
        return [record for record in known if record is not None and record.recycled is None]


class _Reporter:
    """Tells a listener of progress what has been added since last time."""

    def __init__(self, progress: Progress, total_bytes: int) -> None:
        self._progress = progress
        self._told = 0
        progress.start("copying", total_bytes)

    def report(self, copied_bytes: int, _total_bytes: int) -> None:
        """Take note that so many bytes are copied."""
        if copied_bytes > self._told:
            self._progress.advance(copied_bytes - self._told)
            self._told = copied_bytes
