"""What the engine answers: frozen records, sizes in bytes, times in microseconds.

Two sizes are never mixed up (docs/glossary.md). *Charged* bytes follow EBS: blocks times 512 KiB,
before compression and deduplication. *Stored* bytes are what the store's files occupy on disk.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ebsim.ids import SnapshotId, VolumeId


class SnapshotState(StrEnum):
    """EC2's snapshot states that ebsim has so far (semantics section 1.1)."""

    PENDING = "pending"
    COMPLETED = "completed"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One snapshot, as a user sees it.

    Attributes:
        snapshot_id: `snap-` and 17 hex digits.
        volume_id: The volume it was taken of.
        state: pending, completed or error.
        state_message: Why it ended as `error`, else empty.
        progress_percent: 0 to 100.
        start_time_us: When the point in time was fixed.
        completion_time_us: When it became completed or error, None while pending.
        description: Free text.
        tags: Key to value.
        size_bytes: The exact size of the source.
        full_size_bytes: Written blocks times 512 KiB, whichever snapshot is charged for them.
        incremental_size_bytes: What it added when it was made.
        charged_size_bytes: What it is charged now.
        parent_id: The snapshot it is incremental on, None if it was full. Kept as it was at
            creation, also when the parent was deleted since.
        source: The path (or name) of the source it was read from.
    """

    snapshot_id: SnapshotId
    volume_id: VolumeId
    state: SnapshotState
    state_message: str
    progress_percent: int
    start_time_us: int
    completion_time_us: int | None
    description: str
    tags: Mapping[str, str]
    size_bytes: int
    full_size_bytes: int
    incremental_size_bytes: int
    charged_size_bytes: int
    parent_id: SnapshotId | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedBlocks:
    """The blocks in which two snapshots of one lineage differ.

    Attributes:
        ranges: Half-open ranges of block indices, ascending, not touching each other.
    """

    ranges: tuple[tuple[int, int], ...]

    @property
    def block_count(self) -> int:
        """How many blocks differ."""
        return sum(end - start for start, end in self.ranges)


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedCharge:
    """A charge that a deletion moves on to a snapshot that still needs the blocks."""

    snapshot_id: SnapshotId
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedSnapshot:
    """What deleting one snapshot does, or would do.

    Attributes:
        snapshot_id: The snapshot deleted.
        freed_size_bytes: Charged bytes that nobody is charged for any more.
        moved_size_bytes: Charged bytes that moved to other snapshots.
        moved_to: Where they moved, oldest first.
        reclaimed_bytes: Bytes of stored records that go back to the file system. The deletion's
            own journal entry, 4 KiB (and 4 KiB more where it begins a segment), is not set off.
    """

    snapshot_id: SnapshotId
    freed_size_bytes: int
    moved_size_bytes: int
    moved_to: tuple[MovedCharge, ...]
    reclaimed_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteReport:
    """What deleting a set of snapshots did, in the order they were deleted."""

    deleted: tuple[DeletedSnapshot, ...]
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """What a restore did.

    Attributes:
        snapshot_id: The snapshot restored.
        target: The path written.
        size_bytes: The exact size of the restored image.
        written_bytes: Bytes really written: data blocks, or with `in_place` those that differed.
        in_place: Whether only differing blocks were written.
    """

    snapshot_id: SnapshotId
    target: str
    size_bytes: int
    written_bytes: int
    in_place: bool


class ChargeCause(StrEnum):
    """Why a snapshot's charge changed."""

    CREATED = "created"
    MOVED_IN = "moved-in"
    MOVED_OUT = "moved-out"
    FREED = "freed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeEvent:
    """One entry of the ledger: at `time_us` the charge of `snapshot_id` changed by `blocks`.

    Attributes:
        sequence: The commit that made the change; orders the ledger, whatever the clock did.
        time_us: When, in microseconds since the epoch.
        cause: created, moved-in, moved-out or freed.
        snapshot_id: Whose charge changed.
        volume_id: The volume of that snapshot.
        blocks: By how many blocks: positive for created and moved-in, else negative.
        other_id: The snapshot on the other side of a move, else None.
    """

    sequence: int
    time_us: int
    cause: ChargeCause
    snapshot_id: SnapshotId
    volume_id: VolumeId
    blocks: int
    other_id: SnapshotId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that `check` found wrong.

    Attributes:
        kind: A short stable word, such as `corrupt-block`.
        message: A sentence that names file, offset, and what was expected and found.
        snapshots: The snapshots whose content is hit; empty if none is.
        ranges: Half-open byte ranges of those snapshots that are hit, parallel to `snapshots`.
    """

    kind: str
    message: str
    snapshots: tuple[SnapshotId, ...] = ()
    ranges: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What `check` looked at and found.

    Attributes:
        level: `structure`, or `data` when every stored byte was read.
        snapshots: Snapshots looked at.
        blocks: Stored block records looked at.
        read_bytes: Stored bytes read and proved (0 at level `structure`).
        orphan_bytes: Bytes in segments that nothing refers to; harmless.
        findings: What is wrong; empty for a healthy store.
    """

    level: str
    snapshots: int
    blocks: int
    read_bytes: int
    orphan_bytes: int
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStats:
    """Sizes and counts of a whole store.

    Attributes:
        snapshots: Snapshots of every state.
        volumes: Volumes known.
        charged_size_bytes: The sum of what all snapshots are charged.
        full_size_bytes: The sum of every snapshot's full size.
        stored_size_bytes: Bytes that the segment files occupy on disk.
        catalog_size_bytes: Bytes that the catalog occupies on disk.
        live_size_bytes: Bytes of segment records that something refers to.
        blocks: Distinct stored blocks.
        segments: Segment files.
    """

    snapshots: int
    volumes: int
    charged_size_bytes: int
    full_size_bytes: int
    stored_size_bytes: int
    catalog_size_bytes: int
    live_size_bytes: int
    blocks: int
    segments: int
