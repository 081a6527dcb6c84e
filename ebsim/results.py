"""What the engine answers: frozen records, sizes in bytes, times in microseconds.

Two sizes are never mixed up (docs/glossary.md). *Charged* bytes follow EBS: blocks times 512 KiB,
before compression and deduplication. *Stored* bytes are what the store's files occupy on disk.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ebsim.caller import OWNER_DEFAULT, REGION_DEFAULT
from ebsim.ids import SnapshotId, VolumeId
from ebsim.instances import Attachment
from ebsim.tiering import StorageTier


class SnapshotState(StrEnum):
    """EC2's snapshot states that ebsim has (semantics section 1.1): all but `recovering`.

    A `recoverable` one is in the Recycle Bin; what comes back from there is completed at once.
    """

    PENDING = "pending"
    COMPLETED = "completed"
    ERROR = "error"
    RECOVERABLE = "recoverable"


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
        encrypted: Whether it is encrypted.
        kms_key_id: The ARN of the KMS key it is encrypted under; empty if it is not.
        data_encryption_key_id: Snapshots and volumes with the same one share a data key; empty if
            it is not encrypted.
        storage_tier: standard or archive; one restored for a time reads standard.
        restore_expiry_time_us: When one that is restored for a time goes back; else None.
        copied_from: Of a copy, the Region and the snapshot that it was made of, with a slash
            between; and before them the id of the store, if that is another; else empty.
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
    encrypted: bool = False
    kms_key_id: str = ""
    data_encryption_key_id: str = ""
    storage_tier: StorageTier = StorageTier.STANDARD
    restore_expiry_time_us: int | None = None
    copied_from: str = ""


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
    """EC2's states of a volume (semantics section 3.2); `recoverable` is in the Recycle Bin."""

    CREATING = "creating"
    AVAILABLE = "available"
    IN_USE = "in-use"
    DELETING = "deleting"
    DELETED = "deleted"
    ERROR = "error"
    RECOVERABLE = "recoverable"


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
        encrypted: Whether it is encrypted.
        kms_key_id: The ARN of the KMS key it is encrypted under; empty if it is not.
        multi_attach: False: there are no attachments.
        fast_restored: Whether it was made with a credit of fast snapshot restore.
        source_volume_id: The volume that it is a copy of; empty: none.
        auto_enable_io: EC2's attribute of that name: kept and told, it changes nothing.
        attachment: The pretended instance that it is attached to, and how; None: to none.
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
    kms_key_id: str = ""
    multi_attach: bool = False
    fast_restored: bool = False
    source_volume_id: str = ""
    auto_enable_io: bool = False
    attachment: Attachment | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeModificationPage:
    """A page of modifications, in the order in which the volumes were made; a token, or None."""

    modifications: tuple[VolumeModification, ...]
    next_token: str | None


class ResourceType(StrEnum):
    """EC2's names of what can be tagged."""

    SNAPSHOT = "snapshot"
    VOLUME = "volume"
    IMAGE = "image"
    INSTANCE = "instance"


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
class TagPage:
    """A page of tags, in an order that does not change; a token, or None."""

    tags: tuple[Tag, ...]
    next_token: str | None


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
        recycle_bin_exit_us: It goes to the Recycle Bin, and for good at this time; until then it
            keeps its charge and its bytes. None: it is deleted at once.
    """

    snapshot_id: SnapshotId
    freed_size_bytes: int
    moved_size_bytes: int
    moved_to: tuple[MovedCharge, ...]
    reclaimed_bytes: int
    when_completed: bool = False
    recycle_bin_exit_us: int | None = None


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
    ARCHIVED = "archived"
    RETRIEVED = "retrieved"
    RESTORED = "restored"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeEvent:
    """One entry of the ledger: at `time_us` the charge of `snapshot_id` changed by `blocks`.

    A snapshot is charged in each tier by itself: what it is charged in one is the sum of the
    entries of that tier (`ebsim.pricing` makes a bill of them).

    Attributes:
        sequence: The commit that made the change; orders the ledger, whatever the clock did.
        time_us: When, in microseconds since the epoch.
        cause: created, moved-in, moved-out, freed; archived, retrieved, restored or expired.
        snapshot_id: Whose charge changed.
        volume_id: The volume of that snapshot.
        blocks: By how many blocks: positive for created and moved-in, negative for moved-out and
            freed. In the archive, archived is positive; restored is negative there, and positive
            in the standard tier, where expired is negative.
        other_id: The snapshot on the other side of a move, else None.
        owner: The account that is charged.
        region: The Region that the snapshot lies in.
        tier: The tier in which it is charged.
        retrieved_blocks: Blocks read out of the archive, which is charged once; only of retrieved.
    """

    sequence: int
    time_us: int
    cause: ChargeCause
    snapshot_id: SnapshotId
    volume_id: VolumeId
    blocks: int
    other_id: SnapshotId | None
    owner: str = OWNER_DEFAULT
    region: str = REGION_DEFAULT
    tier: StorageTier = StorageTier.STANDARD
    retrieved_blocks: int = 0


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
