"""The Recycle Bin: retention rules, what they keep of what was deleted, and what is asked of it.

The words are those of Amazon's service `rbin` and of EC2 (semantics section 11.8).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ebsim.ids import ImageId, RuleId, SnapshotId, VolumeId

TagPair = tuple[str, str]
"""A tag's key and value."""

RULE_EVENT = "Recycle Bin Rule"
"""What the detail types of the Recycle Bin's own events begin with; their source is `aws.rbin`."""


class RuleResourceType(StrEnum):
    """What a rule keeps when it is deleted."""

    EBS_SNAPSHOT = "EBS_SNAPSHOT"
    EC2_IMAGE = "EC2_IMAGE"
    EBS_VOLUME = "EBS_VOLUME"


class RuleStatus(StrEnum):
    """Whether a rule keeps anything yet: only an available one does."""

    PENDING = "pending"
    AVAILABLE = "available"


class RuleLockState(StrEnum):
    """Whether a rule that was ever locked can be changed.

    LOCKED: no. PENDING_UNLOCK: not before its unlock delay is over. UNLOCKED: yes.
    """

    LOCKED = "locked"
    PENDING_UNLOCK = "pending_unlock"
    UNLOCKED = "unlocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRequest:
    """A rule to be made.

    Attributes:
        resource_type: What it keeps.
        retention_days: For how long: 1 to 365; volumes 1 to 7.
        resource_tags: A tag-level rule: only what has one of these tags. Empty: a Region-level
            rule, which keeps all of its type in the Region.
        exclude_tags: Of a Region-level rule: not what has one of these tags; at most 5.
        description: At most 255 characters, on one line.
        tags: The rule's own tags.
        unlock_delay_days: Lock it at once, with this delay: 7 to 30. None: it is not locked.
    """

    resource_type: RuleResourceType
    retention_days: int
    resource_tags: Sequence[TagPair] = ()
    exclude_tags: Sequence[TagPair] = ()
    description: str = ""
    tags: Mapping[str, str | None] = field(default_factory=dict)
    unlock_delay_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleUpdate:
    """What is to change about a rule; None: it stays. Its resource type cannot change."""

    retention_days: int | None = None
    description: str | None = None
    resource_tags: Sequence[TagPair] | None = None
    exclude_tags: Sequence[TagPair] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRule:
    """A rule as a user sees it. Times are in microseconds.

    Attributes:
        rule_id: 11 letters and digits.
        arn: Its Amazon Resource Name.
        resource_type: What it keeps.
        retention_days: For how long.
        resource_tags: Of a tag-level rule, sorted; else empty.
        exclude_tags: Of a Region-level rule, sorted.
        description: Free text.
        tags: Its own tags.
        status: Whether it keeps anything yet.
        lock_state: None for one that never was locked.
        unlock_delay_days: Its delay, if it is locked or ever was.
        lock_end_us: While it is `pending_unlock`: when that ends.
        create_time_us: When it was made.
    """

    rule_id: RuleId
    arn: str
    resource_type: RuleResourceType
    retention_days: int
    resource_tags: tuple[TagPair, ...]
    exclude_tags: tuple[TagPair, ...]
    description: str
    tags: Mapping[str, str]
    status: RuleStatus
    lock_state: RuleLockState | None
    unlock_delay_days: int | None
    lock_end_us: int | None
    create_time_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleQuery:
    """Which rules to return, as rbin's ListRules has it; all that is given must hold.

    Attributes:
        resource_type: Those that keep this; None: of every type (rbin wants one).
        resource_tags: Those with one of these among their resource tags.
        exclude_tags: Those with one of these among their exclusion tags.
        lock_state: Those in this state.
        max_results: At most this many on a page, 1 to 1,000.
        next_token: What the page before answered with; the rest of the query must be the same.
    """

    resource_type: RuleResourceType | None = None
    resource_tags: Sequence[TagPair] = ()
    exclude_tags: Sequence[TagPair] = ()
    lock_state: RuleLockState | None = None
    max_results: int | None = None
    next_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePage:
    """A page of rules, in the order in which they were made; a token for the next, or None."""

    rules: tuple[RetentionRule, ...]
    next_token: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BinnedSnapshot:
    """A snapshot in the Recycle Bin. Times are in microseconds.

    Attributes:
        snapshot_id: The snapshot.
        volume_id: The volume it was taken of.
        description: Free text.
        enter_time_us: When it was deleted.
        exit_time_us: When it goes for good, unless it is restored before.
        charged_size_bytes: What it is charged now: being there costs what it cost before.
    """

    snapshot_id: SnapshotId
    volume_id: VolumeId
    description: str
    enter_time_us: int
    exit_time_us: int
    charged_size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BinnedImage:
    """An image in the Recycle Bin. Times are in microseconds.

    Attributes:
        image_id: The image.
        name: Its name, which another image may have taken meanwhile.
        description: Free text.
        snapshot_ids: What it needs to be restored.
        enter_time_us: When it was deregistered.
        exit_time_us: When it goes for good, unless it is restored before.
    """

    image_id: ImageId
    name: str
    description: str
    snapshot_ids: tuple[SnapshotId, ...]
    enter_time_us: int
    exit_time_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BinnedVolume:
    """A managed volume in the Recycle Bin. Times are in microseconds.

    Attributes:
        volume_id: The volume.
        size_bytes: Its size, in whole GiB.
        volume_type: Its type.
        iops: Provisioned or included I/O operations a second; 0 where EC2 tells none.
        throughput: MiB a second of a gp3 volume; else 0.
        zone: The Availability Zone.
        snapshot_id: The snapshot it was made from, empty if none.
        create_time_us: When it was made.
        enter_time_us: When it was deleted.
        exit_time_us: When it goes for good, unless it is restored before.
    """

    volume_id: VolumeId
    size_bytes: int
    volume_type: str
    iops: int
    throughput: int
    zone: str
    snapshot_id: str
    create_time_us: int
    enter_time_us: int
    exit_time_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BinQuery:
    """Which of what is in the bin to return, as EC2's ListSnapshotsInRecycleBin has it.

    Attributes:
        resource_ids: These; one that is not in the bin refuses the whole query.
        max_results: At most this many on a page, 5 to 1,000; more is cut to 1,000.
        next_token: What the page before answered with; the rest of the query must be the same.
    """

    resource_ids: Sequence[str] = ()
    max_results: int | None = None
    next_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BinnedSnapshotPage:
    """A page of snapshots in the bin, in the order of their beginning; a token, or None."""

    snapshots: tuple[BinnedSnapshot, ...]
    next_token: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BinnedImagePage:
    """A page of images in the bin, in the order of their registration; a token, or None."""

    images: tuple[BinnedImage, ...]
    next_token: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BinnedVolumePage:
    """A page of volumes in the bin, in the order in which they were made; a token, or None."""

    volumes: tuple[BinnedVolume, ...]
    next_token: str | None
