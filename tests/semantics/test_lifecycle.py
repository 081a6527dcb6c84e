"""Lifecycle policies run on a store: by the clock alone, and as often as anybody likes."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ebsim.config import SnapshotOptions
from ebsim.engine import Store
from ebsim.errors import EbsimError, ErrorCode, InvalidInputError, LimitExceededError, NotFoundError
from ebsim.policies import (
    CreateRule,
    LifecyclePolicy,
    LifecycleRun,
    PolicyRequest,
    PolicyState,
    RetainRule,
    RetainUnit,
    Schedule,
)
from ebsim.requests import PruneOptions, VolumeRequest
from ebsim.results import Snapshot, SnapshotState
from ebsim.testing.contents import noise_block
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.seams import ManualClock

HOURLY = CreateRule(interval_hours=1, time="00:00")
DAILY = CreateRule(interval_hours=24, time="03:00")
TAG = ("Backup", "yes")


def moment(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)


def schedule(
    name: str = "main",
    create: CreateRule = DAILY,
    retain: RetainRule | None = None,
    **others: object,
) -> Schedule:
    return Schedule(name=name, create=create, retain=retain or RetainRule(count=3), **others)  # type: ignore[arg-type]


def days(number: int) -> RetainRule:
    return RetainRule(interval=number, unit=RetainUnit.DAYS)


class Machine:
    """A store, its clock, and something that calls `run` from time to time."""

    def __init__(self, store: Store, clock: ManualClock, folder: Path) -> None:
        self.store = store
        self.clock = clock
        self.disk = folder / "disk.img"
        self.disk.write_bytes(noise_block(1))
        self.set("2026-03-01T00:30")

    def set(self, text: str) -> None:
        self.clock.set_us(moment(text))

    def policy(self, *schedules: Schedule, **others: object) -> LifecyclePolicy:
        return self.store.lifecycle.put(
            PolicyRequest(
                **{  # type: ignore[arg-type]
                    "description": "test",
                    "schedules": schedules or (schedule(),),
                    "sources": [str(self.disk)],
                    **others,
                }
            )
        )

    def volume(self, **tags: str) -> str:
        request = VolumeRequest(size_gib=1, tags=tags or dict([TAG]))
        return self.store.volumes.create(request).volume_id

    def run(self, text: str) -> LifecycleRun:
        self.set(text)
        done = self.store.lifecycle.run()
        assert not done.failed, done
        return done

    def days(self, first: int, last: int, time: str = "03:05") -> None:
        for day in range(first, last + 1):
            self.run(f"2026-03-{day:02}T{time}")

    def left(self) -> list[str]:
        return [
            datetime.fromtimestamp(each.start_time_us / 1e6, tz=UTC).strftime("%d %H:%M")
            for each in self.store.list_snapshots()
        ]


@pytest.fixture
def machine(store: Store, clock: ManualClock, fast_path: Path) -> Iterator[Machine]:
    yield Machine(store, clock, fast_path)
    assert_healthy(store)


def only(found: list[Snapshot]) -> Snapshot:
    (snapshot,) = found
    return snapshot


# When


def test_one_snapshot_for_each_time_that_is_due(machine: Machine) -> None:
    machine.policy()

    assert machine.run("2026-03-01T02:59").created == ()
    assert len(machine.run("2026-03-01T03:00").created) == 1
    for text in ("2026-03-01T03:00", "2026-03-01T03:10", "2026-03-02T02:59"):
        assert machine.run(text).created == ()
    assert len(machine.run("2026-03-02T03:00").created) == 1
    assert machine.left() == ["01 03:00", "02 03:00"]


def test_what_was_missed_is_made_up_for_with_one(machine: Machine) -> None:
    machine.policy()

    machine.run("2026-03-09T12:00")
    machine.run("2026-03-09T12:01")

    assert machine.left() == ["09 12:00"]


def test_time_before_the_policy_was_made_or_changed_is_not_due(machine: Machine) -> None:
    machine.set("2026-03-01T03:30")
    policy = machine.policy()
    assert machine.run("2026-03-01T04:00").created == ()

    machine.set("2026-03-02T03:30")
    machine.store.lifecycle.put(policy.request, policy.policy_id)

    assert machine.run("2026-03-02T04:00").created == ()
    assert len(machine.run("2026-03-03T04:00").created) == 1


@pytest.mark.parametrize(
    ("rule", "times"),
    [
        (CreateRule(interval_hours=8, time="01:15"), ["01:15", "09:15", "17:15"]),
        (CreateRule(interval_hours=12, time="13:00"), ["01:00", "13:00"]),
        (CreateRule(cron="cron(30 6,18 * * ? *)"), ["06:30", "18:30"]),
        (CreateRule(cron="cron(0 12 ? * 2 *)"), ["12:00"]),  # the second of March is a Monday
    ],
)
def test_interval_counts_from_its_time_and_cron_names_its_times(
    machine: Machine, rule: CreateRule, times: list[str]
) -> None:
    machine.policy(schedule(create=rule, retain=RetainRule(count=100)))
    machine.run("2026-03-01T23:59")
    before = len(machine.left())

    for minutes in range(0, 24 * 60, 15):
        machine.run(f"2026-03-02T{minutes // 60:02}:{minutes % 60:02}")

    assert machine.left()[before:] == [f"02 {time}" for time in times]


def test_disabled_policy_neither_takes_nor_deletes(machine: Machine) -> None:
    policy = machine.policy(schedule(retain=RetainRule(count=1)))
    machine.days(1, 2)
    disabled = PolicyRequest(
        description="test",
        schedules=policy.request.schedules,
        sources=policy.request.sources,
        state=PolicyState.DISABLED,
    )
    machine.store.lifecycle.put(disabled, policy.policy_id)

    machine.days(3, 5)

    assert machine.left() == ["02 03:05"]


# What of


def test_volumes_with_one_of_the_tags_are_snapshotted(machine: Machine) -> None:
    chosen = [machine.volume(Backup="yes"), machine.volume(env="prod", Backup="no")]
    for tags in ({"Backup": "no"}, {"backup": "yes"}, {"Backup": "Yes"}, {"other": "yes"}):
        machine.volume(**tags)
    machine.policy(sources=[], target_tags=[TAG, ("env", "prod")])

    machine.run("2026-03-01T03:00")

    assert {each.volume_id for each in machine.store.list_snapshots()} == set(chosen)


def test_volume_is_not_snapshotted_for_a_time_before_it_was_made(machine: Machine) -> None:
    machine.policy(sources=[], target_tags=[TAG])
    machine.set("2026-03-01T03:01")
    machine.volume()

    assert machine.run("2026-03-01T03:02").created == ()
    assert len(machine.run("2026-03-02T03:00").created) == 1


def test_snapshot_has_the_tags_of_its_schedule_and_of_its_volume(machine: Machine) -> None:
    volume_id = machine.volume(Backup="yes", Name="db", shared="volume")
    policy = machine.policy(
        schedule("Daily 3", copy_tags=True, tags_to_add={"by": "policy", "shared": "schedule"}),
        sources=[],
        target_tags=[TAG],
    )

    machine.run("2026-03-01T03:00")

    snapshot = only(machine.store.list_snapshots())
    assert snapshot.volume_id == volume_id
    assert snapshot.state is SnapshotState.COMPLETED
    assert dict(snapshot.tags) == {
        "Backup": "yes",
        "Name": "db",
        "shared": "schedule",
        "by": "policy",
        "aws:dlm:lifecycle-policy-id": policy.policy_id,
        "aws:dlm:lifecycle-schedule-name": "Daily 3",
        "aws:dlm:managed": "true",
    }
    assert snapshot.description == (f"Created for policy: {policy.policy_id} schedule: Daily 3")


def test_users_cannot_give_the_tags_of_policies(machine: Machine) -> None:
    with pytest.raises(InvalidInputError):
        machine.store.create_snapshot(
            machine.disk, SnapshotOptions(tags={"aws:dlm:managed": "true"})
        )


# How long


def test_by_count_the_oldest_goes_when_one_more_is_there(machine: Machine) -> None:
    machine.policy(schedule(retain=RetainRule(count=2)))

    machine.days(1, 2)
    assert machine.left() == ["01 03:05", "02 03:05"]
    machine.days(3, 3)

    assert machine.left() == ["02 03:05", "03 03:05"]


def test_by_age_a_snapshot_goes_at_its_expiration(machine: Machine) -> None:
    machine.policy(schedule(retain=days(2)))
    machine.days(1, 1)
    assert only(machine.store.list_snapshots()).tags["aws:dlm:expirationTime"] == (
        "2026-03-03T03:05:00.000Z"
    )

    machine.days(2, 3)
    assert machine.left() == ["02 03:05", "03 03:05"]
    machine.run("2026-03-04T03:04")
    assert machine.left() == ["02 03:05", "03 03:05", "04 03:04"]
    machine.run("2026-03-04T03:05")

    assert machine.left() == ["03 03:05", "04 03:04"]


def test_by_age_the_last_stays_until_the_next_is_there(machine: Machine) -> None:
    weekly = CreateRule(cron="cron(0 3 ? * 1 *)")
    machine.policy(schedule(create=weekly, retain=days(1)))

    machine.days(1, 7)
    assert machine.left() == ["01 03:05"]
    machine.run("2026-03-08T03:05")

    assert machine.left() == ["08 03:05"]


def test_deleted_volume_leaves_by_count_all_and_by_age_the_last(machine: Machine) -> None:
    counted, aged = machine.volume(by="count"), machine.volume(by="age")
    machine.policy(schedule(retain=RetainRule(count=2)), sources=[], target_tags=[("by", "count")])
    machine.policy(schedule(retain=days(3)), sources=[], target_tags=[("by", "age")])
    machine.days(1, 3)
    machine.store.volumes.delete(counted)
    machine.store.volumes.delete(aged)

    machine.days(4, 20)

    left = [each.volume_id for each in machine.store.list_snapshots()]
    assert sorted(left) == sorted([counted, counted, aged])


def test_only_snapshots_of_the_policy_count(machine: Machine) -> None:
    machine.policy(schedule(retain=RetainRule(count=1)))
    by_hand = machine.store.create_snapshot(machine.disk)

    machine.days(1, 3)

    assert by_hand.snapshot_id in {each.snapshot_id for each in machine.store.list_snapshots()}
    assert len(machine.left()) == 2


def test_schedules_that_are_due_together_share_a_snapshot(machine: Machine) -> None:
    machine.policy(
        schedule("hourly", HOURLY, RetainRule(count=24), tags_to_add={"h": "1", "both": "h"}),
        schedule("daily", DAILY, RetainRule(count=7), tags_to_add={"d": "1", "both": "d"}),
    )

    machine.run("2026-03-01T02:00")
    done = machine.run("2026-03-01T03:00")

    (made,) = done.created
    assert made.schedules == ("daily", "hourly")
    shared = machine.store.list_snapshots()[-1]
    assert shared.tags["aws:dlm:lifecycle-schedule-name"] == "daily"
    assert (shared.tags["h"], shared.tags["d"], shared.tags["both"]) == ("1", "1", "d")


def test_each_schedule_keeps_its_own(machine: Machine) -> None:
    machine.policy(
        schedule("hourly", HOURLY, RetainRule(count=2)),
        schedule("daily", DAILY, RetainRule(count=7)),
    )
    for day in (1, 2, 3):
        for hour in range(1, 24):
            machine.run(f"2026-03-{day:02}T{hour:02}:00")

    assert machine.left() == ["01 03:00", "02 03:00", "03 03:00", "03 22:00", "03 23:00"]


def test_image_holds_an_expired_snapshot_until_it_is_deregistered(machine: Machine) -> None:
    machine.policy(schedule(retain=RetainRule(count=1)))
    machine.days(1, 1)
    held = only(machine.store.list_snapshots()).snapshot_id
    image = machine.store.images.register("web", {"/dev/sda1": held})

    done = machine.run("2026-03-02T03:05")

    assert [(each.snapshot_id, each.images) for each in done.expired] == [(held, (image.image_id,))]
    assert machine.left() == ["01 03:05", "02 03:05"]
    machine.store.images.deregister(image.image_id)
    machine.run("2026-03-02T03:10")
    assert machine.left() == ["02 03:05"]


def test_failed_snapshot_is_repeated_and_goes_once_one_succeeded(machine: Machine) -> None:
    machine.policy()
    content = machine.disk.read_bytes()
    machine.disk.unlink()
    machine.set("2026-03-01T03:00")

    done = machine.store.lifecycle.run()
    assert done.failed
    assert "disk.img" in done.created[0].error

    machine.disk.write_bytes(content)
    assert len(machine.run("2026-03-01T03:10").created) == 1
    assert machine.left() == ["01 03:10"]


def test_one_that_fails_does_not_stop_the_others(machine: Machine, fast_path: Path) -> None:
    machine.policy(sources=[str(fast_path / "missing.img"), str(machine.disk)])
    machine.set("2026-03-01T03:00")

    done = machine.store.lifecycle.run()

    assert [bool(each.error) for each in done.created] == [True, False]
    assert machine.left() == ["01 03:00"]


# Dry runs and policies


def test_dry_run_tells_what_the_run_then_does(machine: Machine) -> None:
    machine.policy(schedule(retain=RetainRule(count=2)))
    machine.days(1, 2)
    machine.set("2026-03-03T03:05")

    planned = machine.store.lifecycle.run(dry_run=True)

    assert machine.left() == ["01 03:05", "02 03:05"]
    done = machine.store.lifecycle.run()
    assert [each.schedules for each in planned.created] == [("main",)]
    assert planned.created[0].snapshot_id is None
    assert planned.expired == done.expired
    ids = [each.snapshot_id for each in planned.deletion.deleted]
    assert ids == [each.snapshot_id for each in done.deletion.deleted]


def test_deleted_policy_leaves_its_snapshots_to_nobody(machine: Machine) -> None:
    policy = machine.policy(schedule(retain=RetainRule(count=1)))
    machine.days(1, 1)

    machine.store.lifecycle.delete(policy.policy_id)
    machine.days(2, 4)

    assert machine.left() == ["01 03:05"]
    assert machine.store.lifecycle.list() == ()
    with pytest.raises(NotFoundError) as caught:
        machine.store.lifecycle.get(policy.policy_id)
    assert caught.value.code is ErrorCode.POLICY_NOT_FOUND


def test_policies_are_kept_in_their_order_and_survive_reopening(fast_path: Path) -> None:
    path = fast_path / "store"
    with Store.create(path) as store:
        made = tuple(
            store.lifecycle.put(
                PolicyRequest(
                    description=f"number {number}", schedules=[schedule()], target_tags=[TAG]
                )
            )
            for number in range(5)
        )

    with Store.open(path) as again:
        assert [each.request.description for each in made] == [f"number {n}" for n in range(5)]
        assert again.lifecycle.list() == made
        assert again.lifecycle.get(made[2].policy_id) == made[2]
        assert again.check().healthy


def test_there_are_at_most_100_policies(machine: Machine) -> None:
    for number in range(100):
        machine.policy(schedule(f"number {number}"))

    with pytest.raises(LimitExceededError) as caught:
        machine.policy()

    assert caught.value.code is ErrorCode.POLICY_LIMIT_EXCEEDED


@pytest.mark.parametrize("policy_id", ["policy-1", "policy-0123456789abcdef0", "", "snap-1"])
def test_policy_that_is_unknown_is_refused(machine: Machine, policy_id: str) -> None:
    for act in (machine.store.lifecycle.get, machine.store.lifecycle.delete):
        with pytest.raises(EbsimError) as caught:
            act(policy_id)
        assert caught.value.code in (ErrorCode.INVALID_REQUEST, ErrorCode.POLICY_NOT_FOUND)


def test_pruning_may_take_what_a_policy_made(machine: Machine) -> None:
    machine.policy(schedule(retain=RetainRule(count=9)))
    machine.days(1, 5)

    machine.store.prune(PruneOptions(keep_last=1))

    assert machine.left() == ["05 03:05"]
    machine.run("2026-03-05T04:00")
    assert machine.left() == ["05 03:05"]
