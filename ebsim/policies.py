"""Lifecycle policies, as Amazon Data Lifecycle Manager has them, and what running them did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ebsim.ids import ImageId, PolicyId, SnapshotId, VolumeId
from ebsim.results import DeleteReport


class PolicyState(StrEnum):
    """Whether a policy does anything."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"


class RetainUnit(StrEnum):
    """What the age of a snapshot is counted in."""

    DAYS = "DAYS"
    WEEKS = "WEEKS"
    MONTHS = "MONTHS"
    YEARS = "YEARS"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRule:
    """When a schedule takes snapshots: every so many hours, or by a cron expression.

    Attributes:
        interval_hours: 1, 2, 3, 4, 6, 8, 12 or 24; 0 with a cron expression.
        time: `hh:mm`, in UTC: the time of the day from which the hours are counted.
        cron: `cron(...)` as AWS has it, in UTC; empty with an interval.
    """

    interval_hours: int = 0
    time: str = ""
    cron: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetainRule:
    """How long a schedule keeps snapshots: so many of each volume, or up to an age.

    Attributes:
        count: 1 to 1,000; 0 with an age.
        interval: The age in `unit`, up to 100 years; 0 with a count.
        unit: What the interval is in.
    """

    count: int = 0
    interval: int = 0
    unit: RetainUnit = RetainUnit.DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One schedule of a policy.

    Attributes:
        name: Unique in its policy.
        create: When snapshots are taken.
        retain: How long they are kept.
        copy_tags: Whether a snapshot gets the tags of its volume.
        tags_to_add: Other tags it gets, at most 45.
    """

    name: str
    create: CreateRule
    retain: RetainRule
    copy_tags: bool = False
    tags_to_add: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRequest:
    """A policy to be made, or what an existing one is to become.

    Attributes:
        description: At most 500 characters.
        schedules: 1 to 4; all of them keep by count, or all by age.
        target_tags: Volumes with any of these tags, key and value, are snapshotted.
        sources: Paths of images and devices that are snapshotted too; ebsim's own addition.
        state: A disabled policy neither takes nor deletes snapshots.
        execution_role: The ARN of a role, which is only told: ebsim has no roles.
    """

    description: str
    schedules: Sequence[Schedule]
    target_tags: Sequence[tuple[str, str]] = ()
    sources: Sequence[str] = ()
    state: PolicyState = PolicyState.ENABLED
    execution_role: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecyclePolicy:
    """A policy.

    Attributes:
        policy_id: `policy-` and 17 hex digits.
        request: What it says.
        create_time_us: When it was made.
        modify_time_us: When it was changed last.
        arn: Its Amazon Resource Name.
        tags: Its own tags.
    """

    policy_id: PolicyId
    request: PolicyRequest
    create_time_us: int
    modify_time_us: int
    arn: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledSnapshot:
    """A snapshot that was due.

    Attributes:
        policy_id: The policy.
        schedules: The names of the schedules it serves; the first is the one that keeps it.
        due_us: The time of the youngest of them.
        volume_id: The volume, None for a source that has none yet.
        source: The path of a scanned source, empty for a managed volume.
        snapshot_id: What was made; None in a dry run, and where it was refused.
        error: Why it failed, else empty.
    """

    policy_id: PolicyId
    schedules: tuple[str, ...]
    due_us: int
    volume_id: VolumeId | None
    source: str
    snapshot_id: SnapshotId | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiredSnapshot:
    """A snapshot that a policy does not keep any more.

    Attributes:
        policy_id: The policy.
        schedule: The name of the schedule that made it.
        snapshot_id: The snapshot.
        reason: Such as `more than 7` or `expired`.
        images: The registered images that hold it: then it stays for now.
        locked: Until when a lock holds it, as a phrase; empty for no lock.
    """

    policy_id: PolicyId
    schedule: str
    snapshot_id: SnapshotId
    reason: str
    images: tuple[ImageId, ...] = ()
    locked: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleRun:
    """What one run over all policies did, or would do.

    Attributes:
        created: What was due.
        expired: What is not kept any more.
        deletion: What deleting those of them did that no image holds.
        errors: What else failed.
        dry_run: Whether nothing was changed.
    """

    created: tuple[ScheduledSnapshot, ...]
    expired: tuple[ExpiredSnapshot, ...]
    deletion: DeleteReport
    errors: tuple[str, ...]
    dry_run: bool

    @property
    def failed(self) -> bool:
        """Whether anything that should have been done was not."""
        return bool(self.errors) or any(each.error for each in self.created)
