"""Runs of lifecycle policies at random moments, beside what the specification says of each."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ebsim.core.lifecycle_plan import (
    EXPIRATION_TAG,
    SCHEDULE_TAG,
    Target,
    due_snapshots,
    expired_snapshots,
)
from ebsim.ids import PolicyId, SnapshotId, VolumeId
from ebsim.policies import (
    CreateRule,
    LifecyclePolicy,
    PolicyRequest,
    RetainRule,
    Schedule,
)
from ebsim.results import Snapshot, SnapshotState
from ebsim.testing.seams import START_US

MINUTE_US = 60_000_000
VOLUME = VolumeId("vol-00000000000000001")
TARGET = Target(VOLUME, "", {"Backup": "yes"}, START_US)
EMPTY = Snapshot(
    snapshot_id=SnapshotId(""),
    volume_id=VOLUME,
    state=SnapshotState.COMPLETED,
    state_message="",
    progress_percent=100,
    start_time_us=0,
    completion_time_us=0,
    description="",
    tags={},
    size_bytes=0,
    full_size_bytes=0,
    incremental_size_bytes=0,
    charged_size_bytes=0,
    parent_id=None,
    source="",
    owner="123456789012",
)

create_rules = st.builds(
    lambda hours, time: CreateRule(interval_hours=hours, time=f"{time // 60:02}:{time % 60:02}"),
    st.sampled_from([1, 2, 3, 4, 6, 8, 12, 24]),
    st.integers(0, 24 * 60 - 1),
)


@st.composite
def policies(draw: st.DrawFn) -> LifecyclePolicy:
    by_count = draw(st.booleans())
    schedules = [
        Schedule(
            name=f"schedule {number}",
            create=draw(create_rules),
            retain=RetainRule(count=draw(st.integers(1, 4)))
            if by_count
            else RetainRule(interval=draw(st.integers(1, 3))),
        )
        for number in range(draw(st.integers(1, 3)))
    ]
    return LifecyclePolicy(
        policy_id=PolicyId("policy-00000000000000001"),
        request=PolicyRequest(
            description="x", schedules=schedules, target_tags=[("Backup", "yes")]
        ),
        create_time_us=START_US,
        modify_time_us=START_US,
    )


def is_due(rule: CreateRule, minute: int) -> bool:
    hours, minutes = map(int, rule.time.split(":"))
    return (minute - 60 * hours - minutes) % (60 * rule.interval_hours) == 0


def runs(policy: LifecyclePolicy, times: list[int]) -> list[tuple[int, bool, list[Snapshot]]]:
    """Return for each run its minute, whether a snapshot was taken, and what was left."""
    store: list[Snapshot] = []
    told = []
    for number, minute in enumerate(times):
        now_us = START_US + minute * MINUTE_US
        due = due_snapshots(policy, [TARGET], store, now_us)
        assert len(due) <= 1
        for each in due:
            tags = {**each.tags, **each.system_tags}
            name = SnapshotId(f"snap-{number}")
            store.append(replace(EMPTY, snapshot_id=name, start_time_us=now_us, tags=tags))
        expired = expired_snapshots(policy, [TARGET], store, {}, now_us)
        gone = {each.snapshot_id for each in expired}
        assert len(gone) == len(expired)
        store = [each for each in store if each.snapshot_id not in gone]
        assert due_snapshots(policy, [TARGET], store, now_us) == [], "a second run takes none"
        assert expired_snapshots(policy, [TARGET], store, {}, now_us) == []
        told.append((minute, bool(due), list(store)))
    return told


moments = st.lists(st.integers(0, 8 * 24 * 60), min_size=1, max_size=25).map(sorted)


@given(policies(), moments)
def test_a_snapshot_is_taken_exactly_if_a_time_was_due_since_the_last_run(
    policy: LifecyclePolicy, times: list[int]
) -> None:
    before = -1
    for minute, taken, _ in runs(policy, times):
        due = any(
            is_due(schedule.create, each)
            for schedule in policy.request.schedules
            for each in range(before + 1, minute + 1)
        )
        assert taken == due
        before = minute


@given(policies(), moments)
def test_what_is_kept_is_what_its_schedule_keeps(policy: LifecyclePolicy, times: list[int]) -> None:
    told = runs(policy, times)
    ever: dict[SnapshotId, Snapshot] = {}
    for minute, _, left in told:
        now_us = START_US + minute * MINUTE_US
        ever |= {each.snapshot_id: each for each in left}
        for schedule in policy.request.schedules:
            own = [each for each in ever.values() if each.tags[SCHEDULE_TAG] == schedule.name]
            kept = [each for each in left if each.tags[SCHEDULE_TAG] == schedule.name]
            if schedule.retain.count:
                assert kept == own[-schedule.retain.count :]
                continue
            day_us = 24 * 60 * MINUTE_US
            young = [
                each
                for each in own
                if each.start_time_us + schedule.retain.interval * day_us > now_us
            ]
            assert kept == (young or own[-1:])
            assert all(EXPIRATION_TAG in each.tags for each in kept)


@given(policies(), moments, moments)
def test_more_runs_lose_nothing_that_fewer_would_take(
    policy: LifecyclePolicy, times: list[int], others: list[int]
) -> None:
    """Whoever calls more often has a snapshot no later than whoever calls less often."""
    few = [minute for minute, taken, _ in runs(policy, times) if taken]
    many = [minute for minute, taken, _ in runs(policy, sorted({*times, *others})) if taken]

    assert len(many) >= len(few)
