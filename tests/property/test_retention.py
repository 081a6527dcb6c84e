"""What pruning keeps, beside a model that looks at every snapshot by itself, by brute force."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ebsim.core.retention import BUCKETS, Rules, decide
from ebsim.core.spans import Span, before
from ebsim.ids import ImageId, SnapshotId, VolumeId
from ebsim.results import Snapshot, SnapshotState
from ebsim.testing.seams import START_US

HOUR_US = 3_600_000_000
IMAGE = ImageId("ami-0123456789abcdef0")

PERIODS: dict[str, Callable[[datetime], datetime]] = {
    "hourly": lambda t: t.replace(minute=0, second=0, microsecond=0),
    "daily": lambda t: t.replace(hour=0, minute=0, second=0, microsecond=0),
    "weekly": lambda t: PERIODS["daily"](t) - timedelta(days=t.weekday()),
    "monthly": lambda t: PERIODS["daily"](t).replace(day=1),
    "yearly": lambda t: PERIODS["daily"](t).replace(month=1, day=1),
}
"""Where the hour, day, week, month or year of a time begins: computed otherwise than the code."""


def snapshot(number: int, hours: int, **changes: object) -> Snapshot:
    fields: dict[str, object] = {
        "snapshot_id": SnapshotId(f"snap-{number:017x}"),
        "volume_id": VolumeId("vol-00000000000000001"),
        "state": SnapshotState.COMPLETED,
        "state_message": "",
        "progress_percent": 100,
        "start_time_us": START_US + hours * HOUR_US,
        "completion_time_us": None,
        "description": "",
        "tags": {},
        "size_bytes": 1,
        "full_size_bytes": 0,
        "incremental_size_bytes": 0,
        "charged_size_bytes": 0,
        "parent_id": None,
        "source": "",
        "owner": "123456789012",
    }
    return Snapshot(**{**fields, **changes})  # type: ignore[arg-type]


def time_of(each: Snapshot) -> datetime:
    return datetime.fromtimestamp(each.start_time_us / 1e6, tz=UTC)


@st.composite
def histories(draw: st.DrawFn) -> list[Snapshot]:
    hours = sorted(draw(st.lists(st.integers(0, 20_000), max_size=40)))
    return [
        snapshot(
            number,
            hour,
            volume_id=VolumeId(f"vol-{draw(st.integers(1, 2)):017x}"),
            state=draw(st.sampled_from([*[SnapshotState.COMPLETED] * 6, *SnapshotState])),
            tags=draw(st.sampled_from([{}, {}, {"keep": "yes"}, {"keep": "no"}])),
        )
        for number, hour in enumerate(hours)
    ]


@st.composite
def all_rules(draw: st.DrawFn) -> Rules:
    count = st.integers(0, 6)
    return Rules(
        last=draw(count),
        counts={name: draw(count) for name in BUCKETS},
        within=draw(st.none() | st.builds(Span, st.integers(0, 14), st.integers(1, 3000))),
        tags=draw(st.sampled_from([frozenset(), frozenset({("keep", "yes")})])),
    )


def expected(volume: Sequence[Snapshot], rules: Rules, now_us: int) -> dict[str, set[str]]:
    """Return the names of the rules that keep each completed snapshot of one volume."""
    whole = [each for each in volume if each.state is SnapshotState.COMPLETED]
    names: dict[str, set[str]] = {each.snapshot_id: set() for each in whole}
    for place, each in enumerate(whole):
        younger = whole[place + 1 :]
        if len(younger) < rules.last:
            names[each.snapshot_id].add("last")
        if rules.tags & set(each.tags.items()):
            names[each.snapshot_id].add("tag")
        newest = min(now_us, max(other.start_time_us for other in whole))
        if rules.within and each.start_time_us >= before(newest, rules.within):
            names[each.snapshot_id].add("within")
        for name, begin in PERIODS.items():
            mine = begin(time_of(each))
            later = {begin(time_of(other)) for other in younger}
            youngest = mine not in later
            if youngest and len(later) < rules.counts[name]:
                names[each.snapshot_id].add(name)
            if not place and len(later | {mine}) <= rules.counts[name] - (not youngest):
                names[each.snapshot_id].add(name)  # the oldest, with counts left
    if whole and not any(names.values()):
        names[whole[-1].snapshot_id].add("youngest of its volume")
    return names


@given(histories(), all_rules(), st.integers(0, 25_000))
def test_what_is_kept_equals_the_model(
    history: list[Snapshot], rules: Rules, now_hours: int
) -> None:
    now_us = START_US + now_hours * HOUR_US

    decision = decide(history, rules, now_us, {})

    kept = {each.snapshot.snapshot_id: set(each.reasons) for each in decision.kept}
    for volume_id in {each.volume_id for each in history}:
        volume = [each for each in history if each.volume_id == volume_id]
        for snapshot_id, names in expected(volume, rules, now_us).items():
            assert kept.get(SnapshotId(snapshot_id), set()) == names


@given(histories(), all_rules())
def test_each_snapshot_either_stays_or_goes(history: list[Snapshot], rules: Rules) -> None:
    decision = decide(history, rules, START_US, {})

    kept = [each.snapshot for each in decision.kept]
    found = sorted([*kept, *decision.pruned], key=lambda each: each.snapshot_id)
    assert found == sorted(history, key=lambda each: each.snapshot_id)
    assert all(each.reasons for each in decision.kept)


@given(histories(), all_rules())
def test_every_volume_keeps_a_completed_snapshot(history: list[Snapshot], rules: Rules) -> None:
    whole = {each.volume_id for each in history if each.state is SnapshotState.COMPLETED}

    decision = decide(history, rules, START_US, {})

    left = [each.snapshot for each in decision.kept]
    assert {each.volume_id for each in left if each.state is SnapshotState.COMPLETED} == whole


@given(histories(), all_rules())
def test_pruning_twice_prunes_nothing_more(history: list[Snapshot], rules: Rules) -> None:
    now_us = START_US + 30_000 * HOUR_US
    left = [each.snapshot for each in decide(history, rules, now_us, {}).kept]

    assert decide(left, rules, now_us, {}).pruned == ()


@given(histories(), all_rules())
def test_an_image_keeps_its_snapshot_and_changes_nothing_else(
    history: list[Snapshot], rules: Rules
) -> None:
    without = decide(history, rules, START_US, {})
    for victim in without.pruned[:3]:
        decision = decide(history, rules, START_US, {victim.snapshot_id: [IMAGE]})

        left = [each for each in without.pruned if each != victim]
        assert list(decision.pruned) == left
