"""The chain of the journal, and what is done again for its entries."""

from typing import Any

from ebsim.core.rebuild_journal import History, lineage_nodes, replay
from ebsim.core.rebuild_scan import JournalEntry, Place, Scan, chained_entries
from ebsim.format.catalog_values import NodeKind
from ebsim.format.checksum import CHECKSUM_SIZE, stored_checksum
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId, VolumeId

START = bytes(CHECKSUM_SIZE)


def entry(sequence: int, previous: bytes, operation: str = "complete") -> JournalEntry:
    checksum = stored_checksum((previous, operation.encode()))
    place = Place(1, 4096 * sequence, 4096)
    return JournalEntry(sequence, checksum, previous, operation, {}, place)


def scan_of(*entries: JournalEntry) -> Scan:
    scan = Scan()
    for each in entries:
        scan.journal[each.sequence].append(each)
    return scan


def kinds(findings: list[Any]) -> list[str]:
    return [finding.kind for finding in findings]


def test_entry_that_the_next_one_names_was_committed() -> None:
    first = entry(1, START)
    never = entry(2, first.checksum, "delete")
    second = entry(2, first.checksum, "tags")
    third = entry(3, second.checksum)
    chain, findings = chained_entries(scan_of(third, never, second, first))
    assert chain == [first, second, third]
    assert findings == []


def test_of_two_last_entries_the_one_that_loses_nothing_counts() -> None:
    first = entry(1, START)
    deletion, completion = entry(2, first.checksum, "delete"), entry(2, first.checksum)
    chain, findings = chained_entries(scan_of(first, deletion, completion))
    assert chain == [first, completion]
    assert kinds(findings) == ["journal-ambiguous"]


def test_missing_entry_is_a_gap_and_the_others_count() -> None:
    first = entry(1, START)
    second = entry(2, first.checksum)
    third = entry(3, second.checksum)
    chain, findings = chained_entries(scan_of(first, third))
    assert chain == [first, third]
    assert kinds(findings) == ["journal-gap"]
    chain, findings = chained_entries(scan_of(second, third))
    assert chain == [second, third]
    assert kinds(findings) == ["journal-gap"]


def test_entry_that_nobody_named_is_a_gap() -> None:
    other = entry(1, START, "tags")
    second = entry(2, entry(1, START).checksum)
    chain, findings = chained_entries(scan_of(other, second))
    assert chain == [other, second]
    assert kinds(findings) == ["journal-gap"]


def test_operation_that_is_not_known_is_told() -> None:
    history = replay([entry(1, START, "from the future"), entry(2, START, "complete")])
    assert kinds(history.findings) == ["journal-unknown", "journal-unknown"]


def test_lineage_keeps_deleted_snapshots_only_where_it_branches() -> None:
    """1 - 2 - 3 with the branches 4 and 5, all but 4 and 5 deleted: only 3 tells them apart."""

    def live(name: str, node: int) -> SnapshotRecord:
        return SnapshotRecord(
            snapshot_id=SnapshotId(name),
            volume_id=VolumeId("vol-1"),
            state="completed",
            begun=node,
            start_us=0,
            tags={},
            size_bytes=1,
            source="",
            node=node,
            root=node * 10,
        )

    history = History(snapshots={"four": live("four", 4), "five": live("five", 5)})
    history.nodes.update({1: 0, 2: 1, 3: 2, 4: 3, 5: 3})
    nodes = lineage_nodes(history)
    assert {number: (node.kind, node.parent) for number, node in nodes.items()} == {
        3: (NodeKind.NAMELESS, 0),
        4: (NodeKind.SNAPSHOT, 3),
        5: (NodeKind.SNAPSHOT, 3),
    }
    del history.snapshots["four"]
    assert {number: node.parent for number, node in lineage_nodes(history).items()} == {5: 0}
