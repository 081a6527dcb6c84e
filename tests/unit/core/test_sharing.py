"""Who is charged for what, and what nobody needs: small trees of maps against brute force.

The brute force is the specification: a snapshot is a dict from block index to version, and a
version is charged to the oldest live snapshot that has it. It knows nothing of neighbours.
"""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from ebsim.core.counters import take
from ebsim.core.lineage import Lineage
from ebsim.core.sharing import Unshared, count_charge, unshared_by
from ebsim.format.catalog_values import Counter, NodeKind, NodeRecord
from ebsim.testing.maps import pages_of, write_map
from ebsim.testing.memory_catalog import MemoryTables, new_tables

INDICES = [0, 1, 2, 255, 256, 257, 70_000, 2**24 + 5]
"""Neighbours within a leaf, in two leaves, and in pages that share only the root."""


@dataclass
class Node:
    kind: NodeKind
    versions: dict[int, int]
    root: int


@dataclass
class World:
    """Live snapshots and holds by their node number, as dicts and in the tables."""

    tables: MemoryTables = field(default_factory=new_tables)
    nodes: dict[int, Node] = field(default_factory=dict)
    charges: dict[int, int] = field(default_factory=dict)

    # the specification

    def live(self) -> dict[int, Node]:
        return {n: node for n, node in self.nodes.items() if node.kind is NodeKind.SNAPSHOT}

    def payer(self, version: int) -> int:
        """Return the oldest live snapshot that has a version, 0 if there is none."""
        return min(
            (n for n, node in self.live().items() if version in node.versions.values()), default=0
        )

    def needed(self) -> set[int]:
        return {version for node in self.nodes.values() for version in node.versions.values()}

    def pages(self) -> set[int]:
        return {
            p for node in self.nodes.values() for p in pages_of(self.tables, node.root).values()
        }

    # what happens

    def snapshot(self, parent: int, written: list[int], *, through_hold: bool = False) -> None:
        """Complete a snapshot of these changes; through a hold, as the engine does."""
        hold = self.hold(parent) if parent and through_hold else 0
        self.complete(hold or parent, written, releases=bool(hold))

    def hold(self, parent: int) -> int:
        number = take(self.tables, Counter.NODE)
        node = self.nodes[parent]
        self.nodes[number] = Node(NodeKind.HOLD, dict(node.versions), node.root)
        lineage = Lineage(self.tables)
        lineage.add(number, NodeRecord(NodeKind.HOLD, parent, node.root, ""))
        lineage.save(self.tables)
        return number

    def complete(self, parent: int, written: list[int], *, releases: bool) -> None:
        number = take(self.tables, Counter.NODE)
        first = take(self.tables, Counter.VERSION, len(written))
        base = self.nodes.get(parent, Node(NodeKind.SNAPSHOT, {}, 0))
        changes = {index: first + at for at, index in enumerate(written)}
        root = write_map(self.tables, base.root, changes)
        self.nodes[number] = Node(NodeKind.SNAPSHOT, {**base.versions, **changes}, root)
        lineage = Lineage(self.tables)
        name = f"snap-{number:017x}"
        lineage.add(number, NodeRecord(NodeKind.SNAPSHOT, parent, root, name))
        if releases:
            self.release(parent, lineage)
        self.charges[number] = count_charge(self.tables, lineage, number)
        lineage.save(self.tables)
        assert self.charges[number] == self.counted(number)

    def counted(self, number: int) -> int:
        return sum(
            self.payer(version) == number for version in self.nodes[number].versions.values()
        )

    def release(self, hold: int, lineage: Lineage) -> None:
        """Take a hold away: nobody pays for it, so only what it alone kept goes."""
        found = unshared_by(self.tables, lineage, hold)
        lineage.remove(hold)
        assert found.first_heir == 0
        assert found.moved == {}
        self.forget(hold, found)

    def forget(self, number: int, found: Unshared) -> None:
        """Remove a node from the specification, and compare what is not needed any more."""
        versions_before, pages_before = self.needed(), self.pages()
        del self.nodes[number]
        freed = [version for part in found.freed_versions for version in part.tolist()]
        assert freed == sorted(versions_before - self.needed())
        assert found.freed_blocks == len(freed)
        assert sorted(found.freed_pages) == sorted(pages_before - self.pages())

    def remove(self, number: int) -> None:
        """Delete a snapshot, and compare who pays for what then."""
        lineage = Lineage(self.tables)
        found = unshared_by(self.tables, lineage, number)
        own = [v for v in self.nodes[number].versions.values() if self.payer(v) == number]
        charged = self.charges.pop(number)
        assert charged == len(own)
        lineage.remove(number)
        lineage.save(self.tables)
        self.forget(number, found)

        moved = dict(found.moved)
        if found.first_heir:
            moved[found.first_heir] = charged - found.freed_blocks - sum(moved.values())
        else:
            assert charged == found.freed_blocks
        for heir in self.live():
            gained = sum(self.payer(version) == heir for version in own)
            assert moved.pop(heir, 0) == gained
            self.charges[heir] += gained
        assert all(self.nodes[heir].kind is NodeKind.HOLD for heir in moved)
        assert sum(moved.values()) == len(
            [v for v in own if not self.payer(v) and v in self.needed()]
        )


WRITES = st.lists(st.sampled_from(INDICES), unique=True, max_size=5)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "snapshot",
                "snapshot",
                "snapshot",
                "branch",
                "delete",
                "delete",
                "hold",
                "end",
                "drop",
            ]
        ),
        st.integers(0, 50),
        WRITES,
    ),
    max_size=14,
)


@settings(max_examples=120)
@given(STEPS)
def test_charges_are_those_of_the_specification(steps: list[tuple[str, int, list[int]]]) -> None:
    world = World()
    for step, choice, written in steps:
        apply(world, step, choice, written)
        for number in world.live():
            assert world.charges[number] == world.counted(number)


def apply(world: World, step: str, choice: int, written: list[int]) -> None:
    """Do one step, with one of the nodes as `choice` says, if it is possible."""
    live = list(world.live())
    holds = [number for number in world.nodes if number not in live]
    if step == "snapshot" or not live:
        world.snapshot(live[-1] if live and choice else 0, written, through_hold=choice % 2 == 0)
    elif step == "branch":
        world.snapshot(live[choice % len(live)], written, through_hold=choice % 3 == 0)
    elif step == "delete":
        world.remove(live[choice % len(live)])
    elif step == "hold":
        world.hold(live[choice % len(live)])
    elif step == "end" and holds:
        world.complete(holds[choice % len(holds)], written, releases=True)
    elif step == "drop" and holds:
        lineage = Lineage(world.tables)
        world.release(holds[choice % len(holds)], lineage)
        lineage.save(world.tables)


# by example: the cases that the documents tell of


def test_middle_of_a_chain_moves_what_the_next_still_has_and_frees_the_rest() -> None:
    """The example of the EBS documentation, with a block for each GiB."""
    world = World()
    world.snapshot(0, [0, 1, 2, 255, 256])
    world.snapshot(1, [0, 1])
    world.snapshot(2, [1])

    found = unshared_by(world.tables, Lineage(world.tables), 2)

    assert world.charges == {1: 5, 2: 2, 3: 1}
    assert (found.first_heir, found.moved, found.freed_blocks) == (3, {}, 1)


def test_deleted_parent_of_two_branches_moves_to_the_older_one_what_both_have() -> None:
    world = World()
    world.snapshot(0, [0, 1, 2, 255])
    world.snapshot(1, [0, 1])
    world.snapshot(1, [0, 2])

    found = unshared_by(world.tables, Lineage(world.tables), 1)

    assert (found.first_heir, found.moved, found.freed_blocks) == (2, {3: 1}, 1)


def test_snapshot_in_the_making_keeps_its_deleted_parent_s_blocks_and_pays_nothing() -> None:
    world = World()
    world.snapshot(0, [0, 1])
    hold = world.hold(1)

    found = unshared_by(world.tables, Lineage(world.tables), 1)

    assert (found.first_heir, found.freed_blocks, found.freed_pages) == (hold, 0, [])


def test_snapshot_without_changes_shares_its_whole_map() -> None:
    world = World()
    world.snapshot(0, [0, 1])
    world.snapshot(1, [])

    assert world.nodes[1].root == world.nodes[2].root
    assert world.charges == {1: 2, 2: 0}
    found = unshared_by(world.tables, Lineage(world.tables), 1)
    assert (found.first_heir, found.freed_blocks, found.freed_pages) == (2, 0, [])
