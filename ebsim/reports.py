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
        sealed_blocks: Encrypted blocks that stay where they are, because their keys could not be
            had: each is encrypted for its place.
    """

    compacted: tuple[CompactedSegment, ...]
    damaged: tuple[DamagedRecord, ...]
    dry_run: bool
    sealed_blocks: int = 0

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
class DataCoverage:
    """Of which bytes a check of the data speaks.

    Attributes:
        live_bytes: Stored bytes that something refers to.
        proved_before_bytes: Those of them that were left out because they were proved recently.
        sample_percent: How many of every hundred remaining records were read; None for all.
        older_than_s: How recently, in seconds; None if nothing was left out.
        sealed_blocks: Encrypted blocks whose keys could not be had: their stored checksum was
            compared, and nothing else.
    """

    live_bytes: int
    proved_before_bytes: int = 0
    sample_percent: float | None = None
    older_than_s: int | None = None
    sealed_blocks: int = 0

    @property
    def complete(self) -> bool:
        """Whether every byte was read."""
        return self.sample_percent is None and self.older_than_s is None


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildReport:
    """What a rebuild made of the segments, or would make.

    Attributes:
        dry_run: Whether nothing was changed.
        snapshots: Snapshots that are there again.
        volumes: Volumes, those of scanned sources too.
        images: Registered images.
        policies: Lifecycle policies.
        blocks: Stored blocks.
        read_bytes: Bytes read from segments.
        unreadable_bytes: Bytes in segments that are neither records nor holes; they are kept.
        old_catalog: The folder in the store in which the old catalog is now; empty if none.
        findings: What is damaged or missing; empty if everything is there again.
    """

    dry_run: bool
    snapshots: int
    volumes: int
    images: int
    policies: int
    blocks: int
    read_bytes: int
    unreadable_bytes: int
    old_catalog: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What `check` looked at and found.

    Attributes:
        level: `structure`, or `data` when stored bytes were read.
        snapshots: Snapshots looked at.
        blocks: Stored block records looked at.
        read_bytes: Stored bytes read and proved (0 at level `structure`).
        orphan_bytes: Bytes in segments that nothing refers to; harmless.
        findings: What is wrong; empty for a healthy store.
        coverage: Of which bytes that was read; None at level `structure`.
    """

    level: str
    snapshots: int
    blocks: int
    read_bytes: int
    orphan_bytes: int
    findings: tuple[Finding, ...]
    coverage: DataCoverage | None = None

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
        charged_size_bytes: The sum of what all snapshots are charged in the standard tier.
        full_size_bytes: The sum of every snapshot's full size.
        stored_size_bytes: Bytes that the segment files occupy on disk.
        catalog_size_bytes: Bytes that the catalog occupies on disk.
        live_size_bytes: Bytes of segment records that something refers to.
        blocks: Distinct stored blocks.
        segments: Segment files.
        archived_size_bytes: The sum of what they are charged in the archive.
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
    archived_size_bytes: int = 0
