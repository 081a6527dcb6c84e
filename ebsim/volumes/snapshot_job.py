"""A pending snapshot of a managed volume that this process copies."""

import logging
from contextlib import suppress
from dataclasses import dataclass

from ebsim.config import Compression
from ebsim.core.complete import CompletionChange
from ebsim.core.stopping import StoppedError
from ebsim.errors import LimitExceededError
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId
from ebsim.volumes.frozen import find_point
from ebsim.volumes.frozen_source import FrozenSource
from ebsim.volumes.registry import Share
from ebsim.volumes.snapshot_set import SnapshotSet

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class SnapshotJob:
    """One pending snapshot; it listens to its own copying, as a `Progress`.

    Attributes:
        snapshot_id: The snapshot.
        share: Its volume.
        compression: How new blocks are stored.
        members: The set it belongs to, or None.
        total_bytes: The volume's size.
        copied_bytes: How far the copying is.
        source: What it is read from, once copying began.
        stopped: Whether it is to stay pending.
    """

    snapshot_id: SnapshotId
    share: Share
    compression: Compression
    members: SnapshotSet | None
    total_bytes: int
    copied_bytes: int = 0
    source: FrozenSource | None = None
    stopped: bool = False

    def open_source(self, record: SnapshotRecord) -> FrozenSource:
        """Return what the snapshot is read from."""
        self.source = FrozenSource(self.share, self.snapshot_id, record.size_bytes)
        self.source.stopped = self.stopped
        return self.source

    def prepare(self) -> int:
        """Have the catalog know all that the snapshot consists of; return the volume's number.

        Raises:
            StoppedError: It is to stay pending.
            StoreError, LimitExceededError: As `LiveVolume.prepare_copy`.
        """
        with self.share.using(lambda: self.stopped) as live:
            live.prepare_copy()
            return live.number

    def save_writes(self) -> None:
        """Have the catalog know what a point in time consists of, so that writers need keep less.

        While the volume is lent, it does.
        """
        with self.share.if_open() as live, suppress(LimitExceededError):
            if live is not None:  # where there is no space, it is the copying that fails
                live.save_writes()

    def thaw(self) -> None:
        """Let go of the point in time; who has the volume, if it is lent, does so at the end."""
        with self.share.if_open() as live:
            point = None if live is None else find_point(live.frozen, self.snapshot_id)
            if live is not None and point is not None:
                live.thaw(point)

    def commit_with_set(self, change: CompletionChange) -> SnapshotRecord:
        """Complete it together with the other members of its set."""
        assert self.members is not None
        return self.members.commit(self.snapshot_id, change)

    def ensure_wanted(self) -> None:
        """Look whether it is still to be made.

        Raises:
            StoppedError: It is to stay pending.
            SourceError: Another member of its set failed.
        """
        if self.stopped:
            raise StoppedError
        if self.members is not None:
            self.members.ensure_possible()

    def fail(self, error: BaseException) -> None:
        """Have the other members of its set fail with it."""
        if self.members is not None:
            self.members.fail(self.snapshot_id, str(error))

    def stop(self) -> None:
        """Have it stay pending."""
        self.stopped = True
        if self.source is not None:
            self.source.stopped = True
        if self.members is not None:
            self.members.stop()

    # As a listener

    def start(self, label: str, total_bytes: int) -> None:
        """Do nothing: the total is known."""

    def advance(self, done_bytes: int) -> None:
        """Count what was copied."""
        self.copied_bytes += done_bytes

    def finish(self) -> None:
        """Do nothing."""

    def note(self, message: str) -> None:
        """Log a note."""
        _log.info("%s: %s", self.snapshot_id, message)
