"""Who is charged for what, and what nobody needs: small trees of maps against brute force.

The brute force is the specification: a snapshot is a dict from block index to version, and a
version is charged to the oldest live snapshot that has it. It knows nothing of neighbours. What
comes out of the archive begins another kin, in which it is charged for all that it has.
"""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from ebsim.core.counters import take
from ebsim.core.lineage import Lineage
from ebsim.core.sharing import Unshared, count_charge, unshared_by
from ebsim.format.catalog_values import Counter, NodeKind, NodeRecord, Table
from ebsim.format.records import SnapshotRecord, encode_snapshot
from ebsim.ids import SnapshotId, VolumeId
from ebsim.results import SnapshotState
from ebsim.testing.maps import pages_of, write_map
from ebsim.testing.memory_catalog import MemoryTables, new_tables

INDICES = [0, 1, 2, 255, 256, 257, 70_000, 2**24 + 5]
"""Neighbours within a leaf, in two leaves, and in pages that share only the root."""


@dataclass
class Node:
    kind: NodeKind
    versions: dict[int, int]
    root: int
    kin: int = 0


@dataclass
class World:
    """Live and archived snapshots and holds by their node number, as dicts and in the tables."""

    tables: MemoryTables = field(default_factory=new_tables)
    nodes: dict[int, Node] = field(default_factory=dict)
    charges: dict[int, int] = field(default_factory=dict)

    # the specification

    def live(self) -> dict[int, Node]:
        return {n: node for n, node in self.nodes.items() if node.kind is NodeKind.SNAPSHOT}

    def payer(self, version: int, kin: int) -> int:
        """Return the oldest live snapshot of a kin that has a version, 0 if there is none."""
        live = ((n, node) for n, node in self.live().items() if node.kin == kin)
        return min((n for n, node in live if version in node.versions.values()), default=0)

    def paid_by(self, number: int) -> list[int]:
        """Return the versions that a node is charged for."""
        node = self.nodes[number]
        return [v for v in node.versions.values() if self.payer(v, node.kin) == number]

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
        self.nodes[number] = Node(NodeKind.HOLD, dict(node.versions), node.root, node.kin)
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
        kin = base.kin or take(self.tables, Counter.LINEAGE)
        self.nodes[number] = Node(NodeKind.SNAPSHOT, {**base.versions, **changes}, root, kin)
        self.record(number)
        lineage = Lineage(self.tables)
        name = f"snap-{number:017x}"
        lineage.add(number, NodeRecord(NodeKind.SNAPSHOT, parent, root, name))
        if releases:
            self.release(parent, lineage)
        self.charges[number] = count_charge(self.tables, lineage, number, kin)
        lineage.save(self.tables)
        assert self.charges[number] == self.counted(number)

    def record(self, number: int) -> None:
        """Keep the record of a snapshot: only its kin is looked at."""
        name = SnapshotId(f"snap-{number:017x}")
        record = SnapshotRecord(
            snapshot_id=name,
            volume_id=VolumeId("vol-00000000000000000"),
            state=SnapshotState.COMPLETED,
            begun=number,
            start_us=0,
            tags={},
            size_bytes=1,
            source="",
            lineage=self.nodes[number].kin,
        )
        self.tables.put(Table.SNAPSHOTS, name.encode(), encode_snapshot(record))

    def counted(self, number: int) -> int:
        return len(self.paid_by(number))

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
        kin, own = self.nodes[number].kin, self.paid_by(number)
        charged = self.charges.pop(number)
        assert charged == len(own)
        lineage.remove(number)
        lineage.save(self.tables)
        self.forget(number, found)
        self.inherit(found, kin, own)

    def archive(self, number: int) -> None:
        """Archive a snapshot: it leaves its charge as if it were deleted, and keeps its map."""
        lineage = Lineage(self.tables)
        found = unshared_by(self.tables, lineage, number)
        kin, own = self.nodes[number].kin, self.paid_by(number)
        lineage.become(number, NodeKind.ARCHIVED)
        lineage.save(self.tables)
        self.nodes[number].kind = NodeKind.ARCHIVED
        self.charges[number] = 0
        lost = sum(map(len, found.freed_versions))
        assert lost == found.freed_blocks
        self.inherit(found, kin, own)

    def restore(self, number: int) -> None:
        """Restore an archived snapshot: it is charged for all that it has."""
        kin = take(self.tables, Counter.LINEAGE)
        self.nodes[number].kind, self.nodes[number].kin = NodeKind.SNAPSHOT, kin
        self.record(number)
        lineage = Lineage(self.tables)
        lineage.become(number, NodeKind.SNAPSHOT)
        lineage.save(self.tables)
        self.charges[number] = count_charge(self.tables, Lineage(self.tables), number, kin)
        assert self.charges[number] == len(self.nodes[number].versions)

    def inherit(self, found: Unshared, kin: int, own: list[int]) -> None:
        """Compare who pays for the versions that a snapshot of a kin paid for until now."""
        charged = len(own)
        moved = dict(found.moved)
        if found.first_heir:
            moved[found.first_heir] = charged - found.freed_blocks - sum(moved.values())
        else:
            assert charged == found.freed_blocks
        for heir in self.live():
            gained = sum(self.payer(version, kin) == heir for version in own)
            assert moved.pop(heir, 0) == gained
            self.charges[heir] += gained
        assert moved.keys() <= found.keepers
        unpaid = [version for version in own if not self.payer(version, kin)]
        assert sum(moved.values()) + found.freed_blocks == len(unpaid)


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
                "archive",
                "restore",
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
    holds = [number for number, node in world.nodes.items() if node.kind is NodeKind.HOLD]
    archived = [n for n, node in world.nodes.items() if node.kind is NodeKind.ARCHIVED]
    if step == "snapshot" or not live:
        world.snapshot(live[-1] if live and choice else 0, written, through_hold=choice % 2 == 0)
    elif step == "branch":
        world.snapshot(live[choice % len(live)], written, through_hold=choice % 3 == 0)
    elif step == "delete":
        gone = [*live, *archived]
        world.remove(gone[choice % len(gone)])
    elif step == "hold":
        world.hold(live[choice % len(live)])
    elif step == "end" and holds:
        world.complete(holds[choice % len(holds)], written, releases=True)
    elif step == "drop" and holds:
        lineage = Lineage(world.tables)
        world.release(holds[choice % len(holds)], lineage)
        lineage.save(world.tables)
    elif step == "archive":
        world.archive(live[choice % len(live)])
    elif step == "restore" and archived:
        world.restore(archived[choice % len(archived)])


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
