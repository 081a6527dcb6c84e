"""The lineage: which snapshot came from which, as a tree of nodes.

Nodes are *live* snapshots, *holds* and *nameless* nodes. A hold keeps the map of a snapshot for
somebody who needs it although it may be deleted: a snapshot that is still being made of it, or a
volume that is not all loaded from it yet. It is charged nothing. A deleted snapshot with two or
more children stays as a nameless node until it has at most one, so that the tree keeps its shape;
it holds no map.

What makes deleting cheap (invariant I-4): the nodes whose maps have a given version form an
unbroken subtree. Let the *neighbours* of a node be the live nodes and holds that are reached from
it through no other live node. Then a version of a node is in some other map exactly if it is in a
neighbour's; and if the node is the oldest live one that has it, the next oldest is a neighbour.
Node numbers grow with the order of completion, so "oldest" is "least number".

The archive (semantics section 11.6) needs two things more. An *archived* snapshot stays where it is
and keeps its map, as a hold does: it is charged nothing here, and whoever looks for heirs looks
past it. One that is restored is full and shares with nobody: it is live again, but of a lineage
number of its own, and so are the snapshots that are made of it from then on. Charges are shared
among the live nodes of one lineage number, a *kin*; what kins have in common is charged in each.
Others are to a kin as holds are: they keep versions, and are looked past. So what was said above
holds of each kin, with its own nearest nodes (`kin`) in the place of the neighbours.
"""

from collections.abc import Callable
from dataclasses import replace

from ebsim.core.counters import take
from ebsim.core.snapshots import get_snapshot
from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.catalog_values import (
    Counter,
    NodeKind,
    NodeRecord,
    Table,
    number_key,
    pair_key,
    parse_pair_key,
)
from ebsim.ids import SnapshotId
from ebsim.storage.catalog import CatalogReader, CatalogWriter


class Lineage:
    """A view of the lineage tree in which nodes can be added and removed; `save` keeps the changes.

    A dry run uses the same view and does not save it. Children are looked up only where the shape
    depends on them: a snapshot may have thousands of branches, and another one must not cost more.
    """

    def __init__(self, reader: CatalogReader) -> None:
        self._reader = reader
        self._nodes: dict[int, NodeRecord | None] = {}
        self._children: dict[int, set[int]] = {}
        self._changed_ties: dict[int, dict[int, bool]] = {}
        self._numbers: dict[int, int] = {}

    def node(self, number: int) -> NodeRecord:
        """Return a node.

        Raises:
            CorruptionError: There is none of that number.
        """
        if number not in self._nodes:
            value = self._reader.get(Table.NODES, number_key(number))
            self._nodes[number] = None if value is None else NodeRecord.decode(value)
        record = self._nodes[number]
        if record is None:
            raise CorruptionError(f"lineage node {number} is missing", ErrorCode.CORRUPT_CATALOG)
        return record

    def children(self, number: int) -> set[int]:
        """Return the numbers of a node's children. Do not change what you get."""
        if number not in self._children:
            entries = self._reader.items(Table.CHILDREN, prefix=number_key(number))
            found = {parse_pair_key(key)[1] for key, _ in entries}
            for child, tied in self._changed_ties.get(number, {}).items():
                (found.add if tied else found.discard)(child)
            self._children[number] = found
        return self._children[number]

    def neighbours(self, number: int) -> list[int]:
        """Return the nodes with a map reached through no other live or archived one, ascending."""
        ends = (NodeKind.SNAPSHOT, NodeKind.ARCHIVED)
        reached = self._reach(number, lambda other: self.node(other).kind in ends)
        return [other for other in reached if self.node(other).kind is not NodeKind.NAMELESS]

    def lineage_number(self, number: int) -> int:
        """Return the lineage number of the snapshot that a live node stands for."""
        if number not in self._numbers:
            snapshot_id = SnapshotId(self.node(number).snapshot_id)
            self._numbers[number] = get_snapshot(self._reader, snapshot_id).lineage
        return self._numbers[number]

    def kin(self, number: int, lineage: int) -> list[int]:
        """Return the live nodes of a lineage number reached through no other such, ascending.

        Costs what the neighbours do, unless one of them is archived or of another lineage number.
        """
        near = self.neighbours(number)
        live = [other for other in near if self._is_kin(other, lineage)]
        if all(other in live or self.node(other).kind is NodeKind.HOLD for other in near):
            return live
        reached = self._reach(number, lambda other: self._is_kin(other, lineage))
        return [other for other in reached if self._is_kin(other, lineage)]

    def add(self, number: int, record: NodeRecord) -> None:
        """Add a node under its parent."""
        self._nodes[number] = record
        if record.parent:
            self._tie(record.parent, number, tied=True)

    def become(self, number: int, kind: NodeKind) -> None:
        """Have a live node become an archived one, or the other way round; it keeps its map."""
        self._nodes[number] = replace(self.node(number), kind=kind)
        self._numbers.pop(number, None)

    def remove(self, number: int) -> None:
        """Take a node with a map out of the tree, keeping the tree's shape."""
        record = self.node(number)
        if len(self.children(number)) > 1:
            nameless = NodeRecord(NodeKind.NAMELESS, record.parent, 0, "")
            self._nodes[number] = nameless
            return
        self._contract(number)
        parent = record.parent
        if not parent or self.node(parent).kind is not NodeKind.NAMELESS:
            return
        if len(self.children(parent)) <= 1:
            self._contract(parent)

    def save(self, writer: CatalogWriter) -> None:
        """Write the changed nodes, and count that the tree changed."""
        take(writer, Counter.LINEAGE_CHANGE)
        for number, record in self._nodes.items():
            if record is None:
                writer.delete(Table.NODES, number_key(number))
            else:
                writer.put(Table.NODES, number_key(number), record.encode())
        for parent, ties in self._changed_ties.items():
            for child, tied in ties.items():
                if tied:
                    writer.put(Table.CHILDREN, pair_key(parent, child), b"")
                else:
                    writer.delete(Table.CHILDREN, pair_key(parent, child))

    def _is_kin(self, number: int, lineage: int) -> bool:
        live = self.node(number).kind is NodeKind.SNAPSHOT
        return live and self.lineage_number(number) == lineage

    def _reach(self, number: int, is_end: Callable[[int], bool]) -> list[int]:
        """Return the nodes reached from a node through none that is an end, ascending."""
        seen = {number}
        pending = self._adjacent(number)
        while pending:
            other = pending.pop()
            if other not in seen:
                seen.add(other)
                if not is_end(other):
                    pending.extend(self._adjacent(other))
        return sorted(seen - {number})

    def _adjacent(self, number: int) -> list[int]:
        parent = self.node(number).parent
        return [*self.children(number), *([parent] if parent else [])]

    def _contract(self, number: int) -> None:
        """Remove a node with at most one child; the child takes its place."""
        record = self.node(number)
        if record.parent:
            self._tie(record.parent, number, tied=False)
        for child in list(self.children(number)):
            self._nodes[child] = replace(self.node(child), parent=record.parent)
            self._tie(number, child, tied=False)
            if record.parent:
                self._tie(record.parent, child, tied=True)
        self._nodes[number] = None

    def _tie(self, parent: int, child: int, *, tied: bool) -> None:
        """Have a node among another's children or not, whether these were looked at or not."""
        self._changed_ties.setdefault(parent, {})[child] = tied
        known = self._children.get(parent)
        if known is not None:
            (known.add if tied else known.discard)(child)


def add_hold(writer: CatalogWriter, parent: int, root: int) -> int:
    """Add a hold on a snapshot's map under its node and return the hold's number."""
    lineage = Lineage(writer)
    number = add_hold_to(writer, lineage, parent, root)
    lineage.save(writer)
    return number


def add_hold_to(writer: CatalogWriter, lineage: Lineage, parent: int, root: int) -> int:
    """Add a hold within a view of the lineage, which the caller saves."""
    number = take(writer, Counter.NODE)
    lineage.add(number, NodeRecord(NodeKind.HOLD, parent, root, ""))
    return number
