"""A pending snapshot of a managed volume that this process copies."""

import logging
from dataclasses import dataclass

from ebsim.config import Compression
from ebsim.core.complete import CompletionChange
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId
from ebsim.volumes.frozen import Frozen
from ebsim.volumes.frozen_source import FrozenSource, StoppedError
from ebsim.volumes.live_volume import LiveVolume
from ebsim.volumes.snapshot_set import SnapshotSet

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class SnapshotJob:
    """One pending snapshot; it listens to its own copying, as a `Progress`.

    Attributes:
        snapshot_id: The snapshot.
        live: Its volume, acquired for it.
        frozen: Its point in time.
        compression: How new blocks are stored.
        members: The set it belongs to, or None.
        total_bytes: The volume's size.
        copied_bytes: How far the copying is.
        source: What it is read from, once copying began.
        stopped: Whether it is to stay pending.
    """

    snapshot_id: SnapshotId
    live: LiveVolume
    frozen: Frozen
    compression: Compression
    members: SnapshotSet | None
    total_bytes: int
    copied_bytes: int = 0
    source: FrozenSource | None = None
    stopped: bool = False

    def open_source(self, record: SnapshotRecord) -> FrozenSource:
        """Return what the snapshot is read from."""
        self.source = FrozenSource(self.live, self.frozen, record.size_bytes)
        self.source.stopped = self.stopped
        return self.source

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
