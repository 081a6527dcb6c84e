"""The ledger: entries in the order of commits, for all and for each snapshot."""

from ebsim.core.ledger import read_ledger, record_events, snapshot_events
from ebsim.ids import SnapshotId, VolumeId
from ebsim.results import ChargeCause, ChargeEvent
from ebsim.testing.memory_catalog import MemoryTables

ONE, TWO, NONE = (SnapshotId(f"snap-{number:017x}") for number in (1, 2, 3))


def event(
    sequence: int, snapshot_id: SnapshotId, blocks: int, cause: ChargeCause = ChargeCause.CREATED
) -> ChargeEvent:
    return ChargeEvent(
        sequence=sequence,
        time_us=1000 - sequence,  # a clock that runs backwards counts for nothing
        cause=cause,
        snapshot_id=snapshot_id,
        volume_id=VolumeId("vol-00000000000000001"),
        blocks=blocks,
        other_id=None,
    )


def test_entries_are_in_the_order_of_commits_and_within_one_as_recorded() -> None:
    tables = MemoryTables()
    late = [event(300, TWO, 4), event(300, ONE, -1), event(300, TWO, 1)]
    early = [event(2, ONE, 9)]

    record_events(tables, late)
    record_events(tables, early)
    record_events(tables, [])

    assert list(read_ledger(tables)) == [*early, *late]


def test_each_snapshot_has_its_own_entries() -> None:
    tables = MemoryTables()
    events = [event(number, (ONE, TWO)[number % 2], number) for number in range(1, 20)]
    for each in events:
        record_events(tables, [each])

    assert snapshot_events(tables, ONE) == [each for each in events if each.snapshot_id == ONE]
    assert snapshot_events(tables, TWO) == [each for each in events if each.snapshot_id == TWO]
    assert snapshot_events(tables, NONE) == []


def test_one_snapshot_may_have_several_entries_in_a_commit() -> None:
    tables = MemoryTables()
    moved = [event(5, ONE, 3, ChargeCause.MOVED_IN), event(5, ONE, 4, ChargeCause.MOVED_IN)]

    record_events(tables, moved)

    assert snapshot_events(tables, ONE) == moved


def test_new_ledger_is_empty() -> None:
    assert list(read_ledger(MemoryTables())) == []
