"""Pruning a store: what goes, why the rest stays, and that a dry run tells the same numbers."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from ebsim.config import SnapshotOptions
from ebsim.core import prune
from ebsim.engine import Store
from ebsim.errors import InvalidInputError, NotFoundError, SnapshotFailedError
from ebsim.requests import PruneOptions
from ebsim.results import PruneReport
from ebsim.testing.contents import noise_block
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.seams import ManualClock
from ebsim.testing.sources import FailingSource, MemorySource, disk_of


class Diary:
    """Disks that are snapshotted at times that a test names."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.disks: dict[str, MemorySource] = {}
        self.written = 0

    def at(self, text: str, name: str = "disk", **tags: str) -> str:
        """Write a block anew, take a snapshot at a time, and return its id."""
        self.set(text)
        disk = self.disks.setdefault(name, disk_of(noise_block(0), name=f"memory:{name}"))
        self.written += 1
        disk.write(0, noise_block(self.written))
        options = SnapshotOptions(description=text, tags=tags)
        return self.store.create_snapshot(disk, options).snapshot_id

    def set(self, text: str) -> None:
        moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
        self.clock.set_us(round(moment.timestamp() * 1_000_000))

    def left(self) -> list[str]:
        return [each.description for each in self.store.list_snapshots()]


@pytest.fixture
def diary(store: Store, clock: ManualClock) -> Diary:
    return Diary(store, clock)


def reasons(report: PruneReport) -> dict[str, Sequence[str]]:
    return {each.snapshot.description: each.reasons for each in report.kept}


def test_newest_of_each_day_stays(store: Store, diary: Diary) -> None:
    for day in (1, 2, 3, 4):
        for hour in (1, 23):
            diary.at(f"2026-03-{day:02}T{hour:02}:00")

    report = store.prune(PruneOptions(keep_daily=3))

    assert diary.left() == ["2026-03-02T23:00", "2026-03-03T23:00", "2026-03-04T23:00"]
    assert reasons(report) == dict.fromkeys(diary.left(), ("daily",))
    assert_healthy(store)


def test_days_are_those_of_utc_and_weeks_begin_on_monday(store: Store, diary: Diary) -> None:
    for text in ("2026-03-01T23:59", "2026-03-02T00:00", "2026-03-08T12:00", "2026-03-09T00:00"):
        diary.at(text)

    store.prune(PruneOptions(keep_weekly=3))

    assert diary.left() == ["2026-03-01T23:59", "2026-03-08T12:00", "2026-03-09T00:00"]


def test_snapshot_is_shown_with_every_reason(store: Store, diary: Diary) -> None:
    diary.at("2025-12-31T12:00")
    diary.at("2026-01-01T12:00", keep="yes")
    diary.at("2026-01-01T12:30")

    report = store.prune(
        PruneOptions(
            keep_last=1,
            keep_hourly=1,
            keep_daily=2,
            keep_yearly=2,
            keep_within="2h",
            keep_tags=[("keep", "yes")],
        )
    )

    assert reasons(report) == {
        "2025-12-31T12:00": ("daily", "yearly"),
        "2026-01-01T12:00": ("within", "tag"),
        "2026-01-01T12:30": ("last", "hourly", "daily", "yearly", "within"),
    }


def test_oldest_stays_where_a_rule_has_counts_left(store: Store, diary: Diary) -> None:
    diary.at("2026-01-10T01:00")
    diary.at("2026-01-10T02:00")
    diary.at("2026-01-11T01:00")

    report = store.prune(PruneOptions(keep_daily=7))

    assert list(reasons(report)) == ["2026-01-10T01:00", "2026-01-10T02:00", "2026-01-11T01:00"]
    store.prune(PruneOptions(keep_daily=2))
    assert diary.left() == ["2026-01-10T02:00", "2026-01-11T01:00"]


def test_age_is_reckoned_from_the_youngest_of_the_volume(
    store: Store, diary: Diary, clock: ManualClock
) -> None:
    diary.at("2026-01-01T00:00", "idle")
    diary.at("2026-01-14T00:00", "idle")
    diary.at("2026-01-16T00:00", "idle")
    clock.advance(10 * 365 * 86_400)

    store.prune(PruneOptions(keep_within="14d"))

    assert diary.left() == ["2026-01-14T00:00", "2026-01-16T00:00"]


def test_snapshot_from_the_future_makes_no_other_look_old(store: Store, diary: Diary) -> None:
    diary.at("2026-01-01T00:00")
    diary.at("2099-01-01T00:00")
    diary.set("2026-01-02T00:00")

    store.prune(PruneOptions(keep_within="1w"))

    assert diary.left() == ["2026-01-01T00:00", "2099-01-01T00:00"]


def test_each_volume_is_pruned_by_itself(store: Store, diary: Diary) -> None:
    for text in ("2026-01-01T01:00", "2026-01-01T02:00"):
        diary.at(text, "one")
        diary.at(text, "two")

    store.prune(PruneOptions(keep_last=1))

    assert diary.left() == ["2026-01-01T02:00", "2026-01-01T02:00"]


def test_only_the_volumes_and_tags_that_are_named_are_looked_at(store: Store, diary: Diary) -> None:
    diary.at("2026-01-01T01:00", "one", by="hand")
    first = diary.at("2026-01-01T02:00", "one", by="cron")
    diary.at("2026-01-01T03:00", "one", by="cron")
    diary.at("2026-01-01T04:00", "two", by="cron")
    diary.at("2026-01-01T05:00", "two", by="cron")
    volume_id = store.get_snapshot(first).volume_id

    report = store.prune(PruneOptions(keep_last=1, volume_ids=[volume_id], tags={"by": "cron"}))

    assert [each.snapshot_id for each in report.pruned] == [first]
    assert len(report.kept) == 1
    assert len(diary.left()) == 4


@pytest.mark.parametrize(
    "options",
    [
        PruneOptions(),
        PruneOptions(keep_last=0, keep_daily=0),
        PruneOptions(keep_last=-1),
        PruneOptions(keep_daily=2_000_000),
        PruneOptions(keep_within="0d"),
        PruneOptions(keep_within="2 weeks"),
        PruneOptions(keep_within="d2"),
        PruneOptions(keep_last=1, volume_ids=["vol-1"]),
    ],
)
def test_nothing_is_pruned_without_a_rule_that_can_be_read(
    store: Store, diary: Diary, options: PruneOptions
) -> None:
    diary.at("2026-01-01T01:00")

    with pytest.raises(InvalidInputError):
        store.prune(options)

    assert len(diary.left()) == 1


def test_unknown_volume_is_refused(store: Store) -> None:
    with pytest.raises(NotFoundError):
        store.prune(PruneOptions(keep_last=1, volume_ids=["vol-0123456789abcdef0"]))


def test_volume_never_loses_its_last_snapshot(store: Store, diary: Diary) -> None:
    diary.at("2026-01-01T01:00")
    diary.at("2026-01-01T02:00")

    report = store.prune(PruneOptions(keep_tags=[("keep", "yes")]))

    assert reasons(report) == {"2026-01-01T02:00": ("youngest of its volume",)}


def test_dry_run_tells_the_numbers_of_the_deletion_and_changes_nothing(
    store: Store, diary: Diary
) -> None:
    for hour in range(6):
        diary.at(f"2026-01-01T{hour:02}:00")
    before = store.list_snapshots()

    planned = store.prune(PruneOptions(keep_last=2), dry_run=True)

    assert planned.dry_run
    assert store.list_snapshots() == before
    done = store.prune(PruneOptions(keep_last=2))
    assert (planned.kept, planned.pruned) == (done.kept, done.pruned)
    assert planned.deletion.deleted == done.deletion.deleted
    assert len(done.deletion.deleted) == 4


def test_charges_move_only_to_snapshots_that_stay(store: Store, diary: Diary) -> None:
    disk = diary.disks["disk"] = disk_of(*(noise_block(100 + n) for n in range(6)))
    for hour in range(6):
        diary.at(f"2026-01-01T{hour:02}:00")
    assert disk.size_bytes

    report = store.prune(PruneOptions(keep_last=1))

    (kept,) = report.kept
    moves = [move for each in report.deletion.deleted for move in each.moved_to]
    assert {move.snapshot_id for move in moves} == {kept.snapshot.snapshot_id}
    (left,) = store.list_snapshots()
    assert left.charged_size_bytes == left.full_size_bytes


def test_image_keeps_its_snapshots_and_is_named(store: Store, diary: Diary) -> None:
    first = diary.at("2026-01-01T01:00")
    diary.at("2026-01-01T02:00")
    diary.at("2026-01-01T03:00")
    image = store.images.register("web", {"/dev/sda1": first})

    report = store.prune(PruneOptions(keep_last=1))

    assert reasons(report) == {
        "2026-01-01T01:00": (f"in use by {image.image_id}",),
        "2026-01-01T03:00": ("last",),
    }
    assert diary.left() == ["2026-01-01T01:00", "2026-01-01T03:00"]


def test_failed_snapshot_goes_once_a_younger_one_is_completed(store: Store, diary: Diary) -> None:
    diary.at("2026-01-01T01:00")
    diary.set("2026-01-01T02:00")
    with pytest.raises(SnapshotFailedError):
        store.create_snapshot(FailingSource(diary.disks["disk"], unreadable_block=0))

    report = store.prune(PruneOptions(keep_last=5))
    assert report.pruned == ()
    assert ("failed, and nothing younger is completed",) in reasons(report).values()

    diary.at("2026-01-01T03:00")
    assert len(store.prune(PruneOptions(keep_last=5)).pruned) == 1
    assert diary.left() == ["2026-01-01T01:00", "2026-01-01T03:00"]


def test_more_than_can_be_deleted_at_once_are_left_for_the_next_time(
    store: Store, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "SNAPSHOTS_MAX", 2)
    for hour in range(6):
        diary.at(f"2026-01-01T{hour:02}:00")

    report = store.prune(PruneOptions(keep_last=1))

    assert (len(report.pruned), report.postponed) == (2, 3)
    assert diary.left()[0] == "2026-01-01T02:00"
    assert store.prune(PruneOptions(keep_last=1)).postponed == 1
    assert store.prune(PruneOptions(keep_last=1)).postponed == 0
    assert diary.left() == ["2026-01-01T05:00"]


def test_nothing_to_prune_is_no_error(store: Store, diary: Diary) -> None:
    assert store.prune(PruneOptions(keep_last=1)).kept == ()
    diary.at("2026-01-01T01:00")

    report = store.prune(PruneOptions(keep_last=1))

    assert (len(report.kept), report.pruned, report.deletion.deleted) == (1, (), ())
