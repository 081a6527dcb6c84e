"""Events: the bodies that EBS documents, and who is told of them (claim S-39)."""

import logging
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from ebsim.core import events
from ebsim.core.events import snapshot_set_ended, volume_changed
from ebsim.engine import Store
from ebsim.errors import SnapshotFailedError
from ebsim.format.records import SnapshotRecord, VolumeRecord
from ebsim.ids import SnapshotId, VolumeId
from ebsim.requests import VolumeModificationRequest, VolumeRequest
from ebsim.results import Event, SnapshotState
from ebsim.testing.contents import HEAD, NOISE
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.memory_store import MemoryStore, leave_as_if_killed
from ebsim.testing.seams import START_US, ManualClock
from ebsim.testing.sources import FailingSource, ObservedSource, disk_of

VOLUME = VolumeId("vol-0123456789abcdef0")


def arn(kind: str, name: str) -> str:
    """Return an ARN as EBS's own events have it: with the Region in the account's place."""
    return f"arn:aws:ec2::us-east-1:{kind}/{name}"


def member(number: int, state: SnapshotState, message: str = "") -> SnapshotRecord:
    return SnapshotRecord(
        snapshot_id=SnapshotId(f"snap-{number:017x}"),
        volume_id=VolumeId(f"vol-{number:017x}"),
        state=state,
        state_message=message,
        begun=number,
        start_us=START_US,
        completion_us=START_US + number * 1_000_000,
        tags={},
        size_bytes=1,
        source="",
        set_id="set",
    )


def test_completed_snapshot_is_told_as_ebs_does(store: Store, clock: ManualClock) -> None:
    disk = ObservedSource(disk_of(NOISE), lambda *_: clock.advance(3))

    snapshot = store.create_snapshot(disk)

    (event,) = store.events()
    assert event.number == 1
    assert event.detail_type == "EBS Snapshot Notification"
    assert (event.account, event.region) == ("123456789012", "us-east-1")
    assert event.resources == (arn("snapshot", snapshot.snapshot_id),)
    assert event.time_us == START_US + 3_000_000
    assert event.detail == {
        "event": "createSnapshot",
        "result": "succeeded",
        "cause": "",
        "request-id": "",
        "snapshot_id": arn("snapshot", snapshot.snapshot_id),
        "source": arn("volume", snapshot.volume_id),
        "startTime": "2026-01-01T00:00:00Z",
        "endTime": "2026-01-01T00:00:03Z",
    }


def test_failed_snapshot_is_told_with_its_cause(store: Store) -> None:
    with pytest.raises(SnapshotFailedError):
        store.create_snapshot(FailingSource(disk_of(NOISE), unreadable_block=0))

    (failed,) = store.list_snapshots()
    (event,) = store.events()
    assert event.detail["event"] == "createSnapshot"
    assert event.detail["result"] == "failed"
    assert event.detail["cause"] == failed.state_message != ""


def test_snapshot_that_is_broken_off_is_not_told(store: Store) -> None:
    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.create_snapshot(ObservedSource(disk_of(NOISE), stop))

    assert store.events() == []


@pytest.mark.parametrize("failed", [False, True])
def test_set_is_told_once_with_all_its_members(store: Store, failed: bool) -> None:
    state = SnapshotState.ERROR if failed else SnapshotState.COMPLETED
    members = [member(1, SnapshotState.COMPLETED), member(2, state, "disk gone" if failed else "")]
    context = store._context

    context.catalog.update(lambda writer: snapshot_set_ended(context, writer, members))

    (event,) = store.events()
    assert event.detail_type == "EBS Multi-Volume Snapshots Completion Status"
    names = [arn("snapshot", each.snapshot_id) for each in members]
    assert event.resources == tuple(names)
    assert event.detail["event"] == "createSnapshots"
    assert event.detail["result"] == ("failed" if failed else "succeeded")
    assert event.detail["cause"] == (f"{names[1]}: disk gone" if failed else "")
    assert event.detail["startTime"] == "2026-01-01T00:00:00Z"
    assert event.detail["endTime"] == "2026-01-01T00:00:02Z"
    assert event.detail["snapshots"] == [
        {
            "snapshot_id": names[0],
            "source": arn("volume", VolumeId(f"vol-{1:017x}")),
            "status": "completed",
        },
        {
            "snapshot_id": names[1],
            "source": arn("volume", VolumeId(f"vol-{2:017x}")),
            "status": "error" if failed else "completed",
        },
    ]


def test_set_whose_members_were_all_deleted_is_not_told(store: Store) -> None:
    context = store._context

    context.catalog.update(lambda writer: snapshot_set_ended(context, writer, []))

    assert store.events() == []


@pytest.mark.parametrize("result", ["optimizing", "completed", "failed"])
def test_modified_volume_is_told(store: Store, result: str) -> None:
    context = store._context
    volume = VolumeRecord(volume_id=VOLUME, number=1, source="", size_bytes=1, created_us=0)
    cause = "no capacity" if result == "failed" else ""

    context.catalog.update(
        lambda writer: volume_changed(context, writer, volume, "modifyVolume", result, cause)
    )

    (event,) = store.events()
    assert event.detail_type == "EBS Volume Notification"
    assert event.resources == (f"arn:aws:ec2:us-east-1:123456789012:volume/{VOLUME}",)
    assert event.detail == {
        "event": "modifyVolume",
        "result": result,
        "cause": cause,
        "request-id": "",
    }


def test_life_of_a_managed_volume_is_told(store: Store) -> None:
    volume_id = store.volumes.create(VolumeRequest(size_gib=1)).volume_id
    store.volumes.modify(volume_id, VolumeModificationRequest(size_gib=2))
    store.volumes.delete(volume_id)

    told = [(event.detail["event"], event.detail["result"]) for event in store.events()]

    assert told[0] == ("createVolume", "available")
    assert ("modifyVolume", "completed") in told
    assert told[-1] == ("deleteVolume", "deleted")
    assert {event.resources[0].rpartition("/")[2] for event in store.events()} == {volume_id}


def test_set_of_managed_volumes_is_told_once(store: Store) -> None:
    volumes = [store.volumes.create(VolumeRequest(size_gib=1)).volume_id for _ in range(3)]
    before = store.events()[-1].number
    made = store.create_snapshots(volumes)
    store.wait_snapshots([each.snapshot_id for each in made])

    (event,) = store.events(after=before)
    assert event.detail["event"] == "createSnapshots"
    assert event.detail["result"] == "succeeded"
    assert event.resources == tuple(arn("snapshot", each.snapshot_id) for each in made)


def test_snapshot_of_a_process_that_died_is_told_by_the_next(fast_path: Path) -> None:
    class KilledError(BaseException):
        pass

    def die(*_: int) -> None:
        context.poison = "killed"
        raise KilledError

    disk = MemoryStore(fast_path)
    context = disk.context()
    with pytest.raises(KilledError):
        Store(context).create_snapshot(ObservedSource(disk_of(NOISE), die))
    leave_as_if_killed(context)

    with disk.open() as store:
        (event,) = store.events()
        (failed,) = store.list_snapshots()

    assert event.detail["result"] == "failed"
    assert event.detail["cause"] == failed.state_message
    assert "died" in failed.state_message


def test_copied_and_shared_snapshots_are_told(store: Store) -> None:
    source = replace(member(1, SnapshotState.COMPLETED), set_id="")
    copy = replace(member(2, SnapshotState.COMPLETED), set_id="", parent_id=source.snapshot_id)
    context = store._context

    context.catalog.update(lambda writer: events.snapshot_copied(context, writer, copy, source))
    context.catalog.update(
        lambda writer: events.snapshot_shared(context, writer, source, "111122223333")
    )

    (copied,) = store.events()
    (shared,) = store.as_account("111122223333").events()
    assert copied.detail["event"] == "copySnapshot"
    assert copied.detail["source"] == arn("snapshot", source.snapshot_id)
    assert copied.detail["Incremental"] == "true"
    assert (shared.detail["event"], shared.detail["result"]) == ("shareSnapshot", "succeeded")


def test_states_of_an_image_are_told(store: Store) -> None:
    snapshot = store.create_snapshot(disk_of(NOISE)).snapshot_id
    image = store.images.register("web", {"/dev/sda1": snapshot})
    store.images.disable(image.image_id)
    store.images.disable(image.image_id)
    store.images.enable(image.image_id)
    store.images.deregister(image.image_id)

    told = store.events(after=1)

    assert {event.detail_type for event in told} == {"EC2 AMI State Change"}
    assert {event.resources for event in told} == {
        (f"arn:aws:ec2:us-east-1::image/{image.image_id}",)
    }
    assert [event.detail["State"] for event in told] == [
        "available",
        "disabled",
        "available",
        "deregistered",
    ]


# Keeping


def test_events_are_numbered_and_asked_for_by_number(store: Store) -> None:
    disk = disk_of(NOISE)
    for _ in range(4):
        store.create_snapshot(disk)

    assert [event.number for event in store.events()] == [1, 2, 3, 4]
    assert [event.number for event in store.events(after=2)] == [3, 4]
    assert store.events(after=4) == store.events(after=99) == []
    assert len(store.events(after=-1)) == 4
    assert len({event.event_id for event in store.events()}) == 4


def test_only_the_newest_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "EVENTS_KEPT", 3)
    disk = disk_of(NOISE)
    for _ in range(5):
        store.create_snapshot(disk)

    assert [event.number for event in store.events()] == [3, 4, 5]
    assert_healthy(store)


def test_events_outlive_the_process(store: Store) -> None:
    store.create_snapshot(disk_of(NOISE))
    told, path = store.events(), store.path
    store.close()

    with Store.open(path) as again:
        assert again.events() == told


# Subscribers


def test_subscriber_is_told_after_the_commit_and_in_order(store: Store) -> None:
    disk = disk_of(NOISE)
    store.create_snapshot(disk)
    told: list[Event] = []

    def note(event: Event) -> None:
        assert event in store.events(), "it is committed"
        told.append(event)

    store.subscribe(note)
    for _ in range(3):
        store.create_snapshot(disk)

    assert told == store.events(after=1)


def test_subscriber_that_left_is_not_told(store: Store) -> None:
    disk, told = disk_of(NOISE), list[Event]()
    leave = store.subscribe(told.append)
    store.create_snapshot(disk)
    leave()
    leave()
    store.create_snapshot(disk)

    assert len(told) == 1


def test_subscriber_that_fails_breaks_nothing(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Event] = []

    def fail(_event: Event) -> None:
        raise RuntimeError("no mail today")

    store.subscribe(fail)
    store.subscribe(told.append)
    with caplog.at_level(logging.ERROR):
        snapshot = store.create_snapshot(disk_of(NOISE))

    assert snapshot.state is SnapshotState.COMPLETED
    assert len(told) == 1
    assert "no mail today" in caplog.text


def test_interrupted_subscriber_does_not_stop_what_follows(store: Store) -> None:
    disk, told = disk_of(NOISE), list[int]()

    def interrupt(event: Event) -> None:
        told.append(event.number)
        if event.number == 1:
            raise KeyboardInterrupt

    store.subscribe(interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.create_snapshot(disk)
    store.create_snapshot(disk)

    assert told == [1, 2]


def test_subscriber_is_told_of_a_failure_too(store: Store) -> None:
    told: list[Event] = []
    store.subscribe(told.append)

    with pytest.raises(SnapshotFailedError):
        store.create_snapshot(FailingSource(disk_of(NOISE), unreadable_block=0))

    assert [event.detail["result"] for event in told] == ["failed"]


def test_subscriber_may_use_the_store_and_the_same_source(store: Store) -> None:
    disk, told = disk_of(NOISE), list[Event]()

    def again(event: Event) -> None:
        told.append(event)
        if len(told) < 4:
            store.create_snapshot(disk)

    store.subscribe(again)
    store.create_snapshot(disk)

    assert [event.number for event in told] == [1, 2, 3, 4]


def test_subscriber_may_leave_and_others_come_while_they_are_told(store: Store) -> None:
    disk, first, second = disk_of(NOISE), list[Event](), list[Event]()

    def once(event: Event) -> None:
        first.append(event)
        leave()
        store.subscribe(second.append)

    leave = store.subscribe(once)
    store.create_snapshot(disk)
    store.create_snapshot(disk)

    assert [event.number for event in first] == [1]
    assert [event.number for event in second] == [2]


def test_each_event_is_told_once_whichever_thread_makes_it(store: Store) -> None:
    told: list[int] = []
    store.subscribe(lambda event: told.append(event.number))

    def work(name: str) -> None:
        disk = disk_of(HEAD, name=name)
        for _ in range(5):
            store.create_snapshot(disk)

    threads = [threading.Thread(target=work, args=(f"memory:{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert told == list(range(1, 21))
