"""What the engine answers: frozen records, sizes in bytes, times in microseconds.

Two sizes are never mixed up (docs/glossary.md). *Charged* bytes follow EBS: blocks times 512 KiB,
before compression and deduplication. *Stored* bytes are what the store's files occupy on disk.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ebsim.ids import ImageId, SnapshotId, VolumeId


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
        state_message: Why it ended as `error`, or goes once it is completed; else empty.
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
        owner: The account it belongs to, 12 digits.
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
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPage:
    """A page of snapshots.

    Attributes:
        snapshots: In the order in which they were begun.
        next_token: What asks for the next page; None on the last.
    """

    snapshots: tuple[Snapshot, ...]
    next_token: str | None


class VolumeState(StrEnum):
    """EC2's states of a volume (semantics section 3.2)."""

    CREATING = "creating"
    AVAILABLE = "available"
    IN_USE = "in-use"
    DELETING = "deleting"
    DELETED = "deleted"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One managed volume, as a user sees it.

    Attributes:
        volume_id: `vol-` and 17 hex digits.
        size_bytes: Its size, in whole GiB.
        state: creating, available, in-use, deleting or error.
        volume_type: gp2, gp3, io1, io2, st1, sc1 or standard.
        iops: I/O operations a second that are provisioned or included; 0 where EC2 tells none.
        throughput: MiB a second of a gp3 volume; else 0.
        zone: The Availability Zone.
        snapshot_id: The snapshot it was made from, empty if none.
        create_time_us: When it was made.
        tags: Key to value.
        initialization_percent: How much of the snapshot it was made from is loaded; 100 if all is,
            and for an empty volume.
        initialization_rate: MiB a second asked for the loading, 0 if none.
        encrypted: False: there is no encryption.
        multi_attach: False: there are no attachments.
    """

    volume_id: VolumeId
    size_bytes: int
    state: VolumeState
    volume_type: str
    iops: int
    throughput: int
    zone: str
    snapshot_id: str
    create_time_us: int
    tags: Mapping[str, str]
    initialization_percent: int = 100
    initialization_rate: int = 0
    encrypted: bool = False
    multi_attach: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumePage:
    """A page of volumes.

    Attributes:
        volumes: In the order in which they were made.
        next_token: What asks for the next page; None on the last.
    """

    volumes: tuple[Volume, ...]
    next_token: str | None


class ModificationState(StrEnum):
    """EC2's states of a modification (semantics section 3.4)."""

    MODIFYING = "modifying"
    OPTIMIZING = "optimizing"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeShape:
    """What can be modified about a volume.

    Attributes:
        size_gib: Its size.
        volume_type: Its type.
        iops: I/O operations a second, 0 where EC2 tells none.
        throughput: MiB a second of a gp3 volume; else 0.
    """

    size_gib: int
    volume_type: str
    iops: int
    throughput: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeModification:
    """The last modification of a volume.

    Attributes:
        volume_id: The volume.
        state: modifying, optimizing, completed or failed.
        original: What it was.
        target: What it becomes.
        progress_percent: 0 to 100.
        start_time_us: When it was asked for.
        end_time_us: When it was completed, None before.
    """

    volume_id: VolumeId
    state: ModificationState
    original: VolumeShape
    target: VolumeShape
    progress_percent: int
    start_time_us: int
    end_time_us: int | None


class ResourceType(StrEnum):
    """EC2's names of what can be tagged."""

    SNAPSHOT = "snapshot"
    VOLUME = "volume"
    IMAGE = "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A tag and what it is on.

    Attributes:
        resource_id: The id of a snapshot, volume or image.
        resource_type: Which of them.
        key: The tag's key.
        value: The tag's value; may be empty.
    """

    resource_id: str
    resource_type: ResourceType
    key: str
    value: str


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
        when_completed: It was pending: it goes as soon as it is completed; nothing is freed now.
    """

    snapshot_id: SnapshotId
    freed_size_bytes: int
    moved_size_bytes: int
    moved_to: tuple[MovedCharge, ...]
    reclaimed_bytes: int
    when_completed: bool = False


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
        damaged_ranges: Half-open byte ranges, ascending, that were written as zeros because their
            stored bytes are damaged; only with `zero_damaged`.
    """

    snapshot_id: SnapshotId
    target: str
    size_bytes: int
    written_bytes: int
    in_place: bool
    damaged_ranges: tuple[tuple[int, int], ...] = ()

    @property
    def whole(self) -> bool:
        """Whether every byte of the snapshot was restored."""
        return not self.damaged_ranges


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
class DataCoverage:
    """Of which bytes a check of the data speaks.

    Attributes:
        live_bytes: Stored bytes that something refers to.
        proved_before_bytes: Those of them that were left out because they were proved recently.
        sample_percent: How many of every hundred remaining records were read; None for all.
        older_than_s: How recently, in seconds; None if nothing was left out.
    """

    live_bytes: int
    proved_before_bytes: int = 0
    sample_percent: float | None = None
    older_than_s: int | None = None

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a snapshot, a volume or an image, as EBS would tell it.

    Attributes:
        number: Grows by one with each event of the store; `Store.events(after=...)` takes it.
        event_id: A UUID.
        time_us: When.
        detail_type: Such as `EBS Snapshot Notification` (semantics section 1.7).
        account: Whose it is.
        region: Where it is.
        resources: ARNs of what it is about.
        detail: The members that EBS documents for this kind of event.
    """

    number: int
    event_id: str
    time_us: int
    detail_type: str
    account: str
    region: str
    resources: tuple[str, ...]
    detail: Mapping[str, Any]


class ImageState(StrEnum):
    """EC2's image states that ebsim has."""

    AVAILABLE = "available"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDevice:
    """One block device of an image: the volume that an instance of it would get.

    Attributes:
        device_name: Such as `/dev/xvda`.
        snapshot_id: What the volume is made from.
        size_gib: The volume's size; at least that of the snapshot.
        volume_type: The volume's type.
        delete_on_termination: Whether the volume goes with its instance.
    """

    device_name: str
    snapshot_id: SnapshotId
    size_gib: int
    volume_type: str
    delete_on_termination: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A registered image (AMI).

    Attributes:
        image_id: `ami-` and 17 hex digits.
        name: Unique among the registered images of its owner.
        state: available or disabled.
        description: Free text.
        architecture: Such as `x86_64`.
        root_device_name: The device that an instance starts from.
        devices: Its block devices, in the order in which they were given.
        create_time_us: When it was registered.
        deprecation_time_us: From when it is deprecated, None if never.
        deprecated: Whether that time has come.
        owner: The account that registered it.
        tags: Key to value.
    """

    image_id: ImageId
    name: str
    state: ImageState
    description: str
    architecture: str
    root_device_name: str
    devices: tuple[ImageDevice, ...]
    create_time_us: int
    deprecation_time_us: int | None
    deprecated: bool
    owner: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePage:
    """A page of images.

    Attributes:
        images: In the order in which they were registered.
        next_token: What asks for the next page; None on the last.
    """

    images: tuple[Image, ...]
    next_token: str | None


class SnapshotReturnCode(StrEnum):
    """What became of a snapshot behind an image that was deregistered: EC2's return codes."""

    SUCCESS = "success"
    SKIPPED = "skipped"
    MISSING_PERMISSIONS = "missing-permissions"
    INTERNAL_ERROR = "internal-error"
    CLIENT_ERROR = "client-error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deregistration:
    """What deregistering an image did.

    Attributes:
        image_id: The image that is gone.
        snapshots: Where its snapshots were to be deleted, what became of each.
    """

    image_id: ImageId
    snapshots: tuple[tuple[SnapshotId, SnapshotReturnCode], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSnapshot:
    """A snapshot that pruning keeps.

    Attributes:
        snapshot: The snapshot.
        reasons: Every reason for it, such as `daily` or `in use by ami-...`; at least one.
    """

    snapshot: Snapshot
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """What pruning did, or would do.

    Attributes:
        kept: What stays and why, oldest first, volume by volume.
        pruned: What goes, in the order of deletion: youngest first, volume by volume.
        deletion: What deleting them does, in the same order.
        postponed: How many more would go, if more than can be deleted at once were found.
        dry_run: Whether nothing was deleted.
    """

    kept: tuple[KeptSnapshot, ...]
    pruned: tuple[Snapshot, ...]
    deletion: DeleteReport
    postponed: int
    dry_run: bool
