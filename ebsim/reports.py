"""What is told about the upkeep of a store. Sizes are in bytes."""

from dataclasses import dataclass

from ebsim.ids import SnapshotId


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactedSegment:
    """A segment that compaction copies, or copied.

    Attributes:
        segment_id: 32 hex digits; names the file.
        reason: `dead`: much of it belongs to nothing; `small`: several become one.
        copied_bytes: Live bytes copied.
        reclaimed_bytes: What its file occupied beyond that, and gives back; 0 if it had to stay.
    """

    segment_id: str
    reason: str
    copied_bytes: int
    reclaimed_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedRecord:
    """A live record that could not be proved, and stays where it is.

    Attributes:
        segment_id: 32 hex digits.
        offset: Its byte offset in the segment.
        message: What is wrong with it.
    """

    segment_id: str
    offset: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactReport:
    """What a compaction did, or would do.

    Attributes:
        compacted: The segments, in order.
        damaged: What could not be moved; empty for a dry run, which reads no record.
        dry_run: Whether nothing was changed.
    """

    compacted: tuple[CompactedSegment, ...]
    damaged: tuple[DamagedRecord, ...]
    dry_run: bool

    @property
    def copied_bytes(self) -> int:
        """The bytes copied."""
        return sum(segment.copied_bytes for segment in self.compacted)

    @property
    def reclaimed_bytes(self) -> int:
        """The bytes given back; the header of a new segment, 4,096 bytes, is not taken off."""
        return sum(segment.reclaimed_bytes for segment in self.compacted)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairedRecord:
    """A damaged record, and what was done about it, or would be.

    Attributes:
        kind: `block`, `pages`, `versions`, `journal`, or `header` of a segment.
        segment_id: 32 hex digits.
        offset: Its byte offset in the segment.
        size_bytes: Its bytes.
        message: What is wrong with it.
        remedy: Where its bytes come from: `record`, `volume`, `source`, `copy` or `store` for a
            block, `catalog` for anything else, `sound` for one that was known to be damaged and is
            not; empty if they are nowhere.
        where: The remedy for people, such as a path.
        healed: Whether it is sound now, or would be.
        set_aside: The path within the store where its damaged bytes are kept; empty if there were
            none, or nothing was changed.
        snapshots: The snapshots whose content is hit.
        ranges: Half-open byte ranges of those snapshots that are hit, parallel to `snapshots`.
    """

    kind: str
    segment_id: str
    offset: int
    size_bytes: int
    message: str
    remedy: str
    where: str
    healed: bool
    set_aside: str
    snapshots: tuple[SnapshotId, ...] = ()
    ranges: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """What a repair found and did, or would do.

    Attributes:
        records: The damaged records.
        read_bytes: Stored bytes read and proved.
        dry_run: Whether nothing was changed.
    """

    records: tuple[RepairedRecord, ...]
    read_bytes: int
    dry_run: bool

    @property
    def unhealed(self) -> tuple[RepairedRecord, ...]:
        """What stays damaged."""
        return tuple(record for record in self.records if not record.healed)
