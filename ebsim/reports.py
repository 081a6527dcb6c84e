"""What is told about the upkeep of a store. Sizes are in bytes."""

from dataclasses import dataclass


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
