"""The lineage against a brute force: the whole family tree, in which nobody is ever forgotten."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebsim.core.counters import take
from ebsim.core.lineage import Lineage, add_hold
from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.catalog_values import (
    Counter,
    NodeKind,
    NodeRecord,
    Table,
    number_key,
    pair_key,
    parse_number_key,
    parse_pair_key,
)
from ebsim.testing.memory_catalog import MemoryTables, new_tables

SNAPSHOT, NAMELESS, HOLD = NodeKind.SNAPSHOT, NodeKind.NAMELESS, NodeKind.HOLD


@dataclass
class Family:
    """Every node that ever was, with its first parent; who is alive; and the tables beside it."""

    tables: MemoryTables = field(default_factory=new_tables)
    parents: dict[int, int] = field(default_factory=dict)
    alive: dict[int, NodeKind] = field(default_factory=dict)

    def add(self, parent: int, kind: NodeKind = SNAPSHOT) -> int:
        number = take(self.tables, Counter.NODE)
        lineage = Lineage(self.tables)
        name = f"snap-{number:017x}" if kind is SNAPSHOT else ""
        lineage.add(number, NodeRecord(kind, parent, 1000 + number, name))
        lineage.save(self.tables)
        self.parents[number], self.alive[number] = parent, kind
        return number

    def remove(self, number: int) -> None:
        lineage = Lineage(self.tables)
        lineage.remove(number)
        lineage.save(self.tables)
        del self.alive[number]

    def complete(self, hold: int) -> int:
        """Put a snapshot in the place of its hold, in one transaction."""
        number = take(self.tables, Counter.NODE)
        lineage = Lineage(self.tables)
        lineage.add(number, NodeRecord(SNAPSHOT, hold, 1000 + number, f"snap-{number:017x}"))
        lineage.remove(hold)
        lineage.save(self.tables)
        self.parents[number], self.alive[number] = hold, SNAPSHOT
        del self.alive[hold]
        return number

    def neighbours(self, number: int) -> list[int]:
        """Return who is alive and reached through the dead only."""
        ties: dict[int, set[int]] = {}
        for child, parent in self.parents.items():
            if parent:
                ties.setdefault(child, set()).add(parent)
                ties.setdefault(parent, set()).add(child)
        found, seen, pending = set[int](), {number}, [number]
        while pending:
            for other in ties.get(pending.pop(), set()) - seen:
                seen.add(other)
                if other in self.alive:
                    found.add(other)
                else:
                    pending.append(other)
        return sorted(found)


def check(family: Family) -> None:
    """Compare the tables with the family."""
    tables = family.tables
    nodes = {
        parse_number_key(key): NodeRecord.decode(value) for key, value in tables.items(Table.NODES)
    }
    ties = {parse_pair_key(key) for key, _ in tables.items(Table.CHILDREN)}
    assert ties == {(node.parent, number) for number, node in nodes.items() if node.parent}
    living = {number: node.kind for number, node in nodes.items() if node.kind is not NAMELESS}
    assert living == family.alive
    for number, node in nodes.items():
        assert node.parent < number
        if node.kind is NAMELESS:
            assert (node.root, node.snapshot_id) == (0, "")
            assert sum(parent == number for parent, _ in ties) >= 2
        else:
            assert node.root == 1000 + number
    for number in family.alive:
        assert Lineage(tables).neighbours(number) == family.neighbours(number)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["snapshot", "snapshot", "branch", "remove", "remove", "hold", "complete"]),
        st.integers(0, 50),
    ),
    max_size=30,
)


def apply(family: Family, step: str, choice: int) -> None:
    """Do one step, with one of the living as `choice` says, if it is possible."""
    snapshots = [number for number, kind in family.alive.items() if kind is SNAPSHOT]
    holds = [number for number, kind in family.alive.items() if kind is HOLD]
    if step == "snapshot" or not snapshots:
        family.add(snapshots[-1] if snapshots and choice else 0)
    elif step == "branch":
        family.add(snapshots[choice % len(snapshots)])
    elif step == "hold":
        family.add(snapshots[choice % len(snapshots)], HOLD)
    elif step == "complete" and holds:
        family.complete(holds[choice % len(holds)])
    elif step == "remove":
        everybody = [*snapshots, *holds]
        family.remove(everybody[choice % len(everybody)])


@settings(max_examples=150)
@given(STEPS)
def test_neighbours_are_those_of_the_whole_family(steps: list[tuple[str, int]]) -> None:
    family = Family()
    for step, choice in steps:
        apply(family, step, choice)
        check(family)


@given(STEPS, st.lists(st.integers(0, 50), max_size=6))
def test_view_that_is_not_saved_tells_the_same_and_changes_nothing(
    steps: list[tuple[str, int]], choices: list[int]
) -> None:
    """A dry run of several deletions, and then the deletions."""
    family = Family()
    for step, choice in steps:
        apply(family, step, choice)
    before = {table: dict(entries) for table, entries in family.tables.tables.items()}
    view, told, removed = Lineage(family.tables), list[list[int]](), list[int]()
    for choice in choices:
        left = [number for number in family.alive if number not in removed]
        if left:
            removed.append(left[choice % len(left)])
            told.append(view.neighbours(removed[-1]))
            view.remove(removed[-1])
    assert family.tables.tables == before

    done = []
    for number in removed:
        done.append(Lineage(family.tables).neighbours(number))
        family.remove(number)

    assert told == done
    check(family)


# by example


def chain(*kinds: NodeKind) -> Family:
    family = Family()
    for number, kind in enumerate(kinds):
        family.add(number, kind)
    return family


def test_neighbours_in_a_chain_are_parent_and_child() -> None:
    family = chain(SNAPSHOT, SNAPSHOT, SNAPSHOT)

    lineage = Lineage(family.tables)
    assert [lineage.neighbours(number) for number in (1, 2, 3)] == [[2], [1, 3], [2]]


def test_node_removed_from_a_chain_leaves_no_trace() -> None:
    family = chain(SNAPSHOT, SNAPSHOT, SNAPSHOT)

    family.remove(2)

    assert Lineage(family.tables).neighbours(1) == [3]
    assert family.tables.count(Table.NODES) == 2
    assert Lineage(family.tables).node(3).parent == 1


def test_removed_node_with_two_children_becomes_nameless_until_one_is_left() -> None:
    family = chain(SNAPSHOT, SNAPSHOT)
    family.add(2)
    family.add(2)

    family.remove(2)
    assert Lineage(family.tables).node(2).kind is NAMELESS
    assert Lineage(family.tables).neighbours(3) == [1, 4]

    family.remove(4)
    assert family.tables.get(Table.NODES, number_key(2)) is None
    assert Lineage(family.tables).neighbours(3) == [1]
    check(family)


def test_removed_first_snapshot_leaves_its_child_as_the_first() -> None:
    family = chain(SNAPSHOT, SNAPSHOT)

    family.remove(1)

    assert Lineage(family.tables).node(2).parent == 0
    assert Lineage(family.tables).neighbours(2) == []
    assert family.tables.count(Table.CHILDREN) == 0


def test_hold_is_a_neighbour_and_can_be_added_in_one_go() -> None:
    family = chain(SNAPSHOT)

    hold = add_hold(family.tables, 1, 1001)

    assert Lineage(family.tables).node(hold) == NodeRecord(HOLD, 1, 1001, "")
    assert Lineage(family.tables).neighbours(1) == [hold]
    assert family.tables.get(Table.CHILDREN, pair_key(1, hold)) == b""


def test_removing_everybody_leaves_nothing() -> None:
    family = chain(SNAPSHOT, SNAPSHOT)
    for _ in range(3):
        family.add(2)
    for number in (2, 4, 1, 5, 3):
        family.remove(number)
        check(family)

    assert family.tables.count(Table.NODES) == family.tables.count(Table.CHILDREN) == 0


def test_missing_node_is_damage() -> None:
    with pytest.raises(CorruptionError, match="node 7") as caught:
        Lineage(new_tables()).node(7)

    assert caught.value.code is ErrorCode.CORRUPT_CATALOG
