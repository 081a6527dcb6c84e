"""What a run over lifecycle policies has to do (S-44): decided from what is there. Pure.

A snapshot is due for a schedule if its last due time lies behind the policy's last change, and the
policy has taken none of the volume since. So a run that comes twice takes one, one that comes late
makes up for what was missed with one, and one that failed is repeated by the next. Schedules that
are due together share one snapshot: it gets the tags of all, and belongs to the schedule that keeps
it for longest.

Which snapshots a policy made is told by their system tags, which users cannot change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ebsim.clock import format_time
from ebsim.core.policy_rules import expiration, last_due, retention_hours
from ebsim.ids import ImageId, PolicyId, SnapshotId, VolumeId
from ebsim.policies import ExpiredSnapshot, LifecyclePolicy, PolicyState, Schedule
from ebsim.results import Snapshot, SnapshotState

POLICY_TAG = "aws:dlm:lifecycle-policy-id"
SCHEDULE_TAG = "aws:dlm:lifecycle-schedule-name"
EXPIRATION_TAG = "aws:dlm:expirationTime"
MANAGED_TAG = "aws:dlm:managed"


@dataclass(frozen=True, slots=True)
class Target:
    """Something that a policy may have snapshotted.

    Attributes:
        volume_id: The volume; None for a source that has none yet.
        source: The path of a scanned source; empty for a managed volume.
        tags: The tags of the volume.
        created_us: When the volume was made; due times before that are not its own.
    """

    volume_id: VolumeId | None
    source: str
    tags: Mapping[str, str]
    created_us: int


@dataclass(frozen=True, slots=True)
class DueSnapshot:
    """A snapshot to be taken.

    Attributes:
        policy_id: The policy.
        target: What of.
        schedules: The schedules it serves; the first is the one that keeps it.
        due_us: The time of the youngest of them.
        tags: What users may set.
        system_tags: What they may not.
    """

    policy_id: PolicyId
    target: Target
    schedules: tuple[str, ...]
    due_us: int
    tags: Mapping[str, str]
    system_tags: Mapping[str, str]

    @property
    def description(self) -> str:
        """What DLM describes its snapshots with."""
        return f"Created for policy: {self.policy_id} schedule: {self.schedules[0]}"[:255]


def chosen_targets(policy: LifecyclePolicy, targets: Sequence[Target]) -> list[Target]:
    """Return the targets of a policy: its sources, and the volumes with one of its tags."""
    wanted = set(policy.request.target_tags)
    return [
        target
        for target in targets
        if (target.source in policy.request.sources)
        or (not target.source and wanted & target.tags.items())
    ]


def due_snapshots(
    policy: LifecyclePolicy,
    targets: Sequence[Target],
    snapshots: Sequence[Snapshot],
    now_us: int,
) -> list[DueSnapshot]:
    """Return the snapshots that a policy has to take now.

    Args:
        policy: The policy.
        targets: Everything that it may choose from.
        snapshots: All snapshots.
        now_us: The time.
    """
    if policy.request.state is not PolicyState.ENABLED:
        return []
    own = [
        each
        for each in snapshots
        if each.tags.get(POLICY_TAG) == policy.policy_id and each.state is not SnapshotState.ERROR
    ]
    newest: dict[VolumeId, int] = {}
    for each in own:
        newest[each.volume_id] = max(each.start_time_us, newest.get(each.volume_id, 0))
    found = []
    for target in chosen_targets(policy, targets):
        taken = newest.get(target.volume_id, 0) if target.volume_id else 0
        after = max(policy.modify_time_us, target.created_us)
        due = [
            (schedule, time)
            for schedule in policy.request.schedules
            for time in [last_due(schedule.create, now_us)]
            if time is not None and time >= after and time > taken
        ]
        if due:
            found.append(_combined(policy, target, due, now_us))
    return found


def _combined(
    policy: LifecyclePolicy, target: Target, due: Sequence[tuple[Schedule, int]], now_us: int
) -> DueSnapshot:
    """Return the one snapshot that serves all schedules that are due."""
    schedules = sorted(
        (schedule for schedule, _ in due),
        key=lambda schedule: retention_hours(schedule, now_us),
        reverse=True,
    )
    tags: dict[str, str] = {}
    if any(schedule.copy_tags for schedule in schedules):
        tags |= {key: value for key, value in target.tags.items() if not _reserved(key)}
    for schedule in reversed(schedules):
        tags |= schedule.tags_to_add
    keeper = schedules[0]
    system_tags = {
        POLICY_TAG: policy.policy_id,
        SCHEDULE_TAG: keeper.name,
        MANAGED_TAG: "true",
    }
    expires = expiration(keeper.retain, now_us)
    if expires is not None:
        system_tags[EXPIRATION_TAG] = format_time(expires)
    return DueSnapshot(
        policy_id=policy.policy_id,
        target=target,
        schedules=tuple(schedule.name for schedule in schedules),
        due_us=max(time for _, time in due),
        tags=tags,
        system_tags=system_tags,
    )


def _reserved(key: str) -> bool:
    return key.lower().startswith("aws:")


def expired_snapshots(
    policy: LifecyclePolicy,
    targets: Sequence[Target],
    snapshots: Sequence[Snapshot],
    images: Mapping[SnapshotId, Sequence[ImageId]],
    now_us: int,
) -> list[ExpiredSnapshot]:
    """Return the snapshots that a policy does not keep any more.

    By count: of each volume that is still a target, those beyond the count of their schedule. By
    age: of every volume, those whose time has come, but never the youngest of a schedule. A failed
    one goes as soon as a younger one of its schedule is completed.

    Args:
        policy: The policy.
        targets: Everything that it may choose from.
        snapshots: All snapshots.
        images: The registered images on a snapshot, which cannot be deleted then.
        now_us: The time.
    """
    if policy.request.state is not PolicyState.ENABLED:
        return []
    present = {target.volume_id for target in chosen_targets(policy, targets)}
    groups: dict[tuple[str, VolumeId], list[Snapshot]] = {}
    for each in snapshots:
        if each.tags.get(POLICY_TAG) == policy.policy_id:
            key = (each.tags.get(SCHEDULE_TAG, ""), each.volume_id)
            groups.setdefault(key, []).append(each)
    found = []
    for schedule in policy.request.schedules:
        for (name, volume_id), group in groups.items():
            if name != schedule.name:
                continue
            for each, reason in _expired(schedule, group, now_us, targeted=volume_id in present):
                found.append(
                    ExpiredSnapshot(
                        policy_id=policy.policy_id,
                        schedule=name,
                        snapshot_id=each.snapshot_id,
                        reason=reason,
                        images=tuple(images.get(each.snapshot_id, ())),
                    )
                )
    return found


def _expired(
    schedule: Schedule, group: Sequence[Snapshot], now_us: int, *, targeted: bool
) -> list[tuple[Snapshot, str]]:
    """Return what goes of the snapshots that one schedule made of one volume, youngest first."""
    completed = [each for each in group if each.state is SnapshotState.COMPLETED]
    youngest_first = sorted(completed, key=lambda each: each.start_time_us)[::-1]
    found = []
    for place, each in enumerate(youngest_first):
        count = schedule.retain.count
        if count and targeted and place >= count:
            found.append((each, f"more than {count}"))
        if not count and place and _expires(each) <= now_us:
            found.append((each, f"expired at {each.tags[EXPIRATION_TAG]}"))
    for each in group:
        failed = each.state is SnapshotState.ERROR
        if failed and youngest_first and youngest_first[0].start_time_us > each.start_time_us:
            found.append((each, "failed, and a younger one is completed"))
    return found


def _expires(snapshot: Snapshot) -> int:
    """Return when a snapshot's time comes; for one that does not say, in the far future."""
    text = snapshot.tags.get(EXPIRATION_TAG)
    if text is None:
        return 1 << 62
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)
