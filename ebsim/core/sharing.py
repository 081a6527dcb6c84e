"""What is charged to whom, and what nobody needs: one node's map against its neighbours'.

A version is charged once, to the oldest live snapshot that has it (docs/semantics.md, S-7). See
`ebsim.core.lineage` for why looking at the neighbours is enough.
"""

from dataclasses import dataclass, field

from ebsim.core.block_maps import Visit, load_page, walk_unshared
from ebsim.core.lineage import Lineage
from ebsim.format.catalog_values import NodeKind
from ebsim.format.map_page import Page, numbers_of, own_places
from ebsim.storage.catalog import CatalogReader


@dataclass(slots=True)
class Unshared:
    """What becomes of a node's versions and pages when it goes.

    Attributes:
        moved: For each neighbour that takes over charges, but the first, the number of blocks.
        first_heir: The neighbour that takes over everything else that is still needed, or 0.
        keepers: The neighbours that keep versions alive and are charged nothing for them here.
        freed_blocks: Versions in no neighbour's map.
        freed_versions: Those versions, in arrays; sorted, a million at a time.
        freed_pages: The ids of pages in no neighbour's map.
    """

    first_heir: int = 0
    moved: dict[int, int] = field(default_factory=dict)
    keepers: frozenset[int] = frozenset()
    freed_blocks: int = 0
    freed_versions: list[Page] = field(default_factory=list)
    freed_pages: list[int] = field(default_factory=list)


def unshared_by(reader: CatalogReader, lineage: Lineage, number: int) -> Unshared:
    """Compare a node's map with its neighbours', and with those of its kin if it is charged.

    Costs as many page look-ups as there are pages in which the node differs from its older
    neighbours and from its first heir.
    """
    node = lineage.node(number)
    charged = node.kind is NodeKind.SNAPSHOT
    older, heirs, keepers = _roles(lineage, number, charged=charged)
    heirs = [*heirs, *keepers]
    ranked = [*older, *heirs]
    stop_at = len(older) + (1 if heirs else 0)
    result = Unshared(first_heir=heirs[0] if heirs else 0, keepers=frozenset(keepers))
    roots = [lineage.node(other).root for other in ranked]
    freed = _Sorter()
    for visit in walk_unshared(reader, node.root, roots, stop_at):
        if visit.page_id not in visit.others:
            result.freed_pages.append(visit.page_id)
        if visit.level == 0:
            freed.add(_look_at_leaf(reader, visit, len(older), heirs, result))
    result.freed_versions = freed.finish()
    result.freed_blocks = sum(len(versions) for versions in result.freed_versions)
    return result


class _Sorter:
    """Sorts versions a million at a time.

    After a long life the versions of neighbouring blocks are scattered over the version table;
    sorted, each page of the table is touched once, and a queue of them takes a tenth of the space.
    """

    WINDOW = 1 << 20

    def __init__(self) -> None:
        self._taken = numbers_of(())
        self._sorted: list[Page] = []

    def add(self, versions: list[int]) -> None:
        """Take some versions."""
        self._taken.extend(versions)
        if len(self._taken) >= self.WINDOW:
            self._sort()

    def finish(self) -> list[Page]:
        """Return what was taken, sorted within each window."""
        self._sort()
        return self._sorted

    def _sort(self) -> None:
        if self._taken:
            self._sorted.append(numbers_of(sorted(self._taken)))
            self._taken = numbers_of(())


def count_charge(reader: CatalogReader, lineage: Lineage, number: int, lineage_number: int) -> int:
    """Return how many versions of a live node no older one of its kin has: its charge."""
    live = [other for other in lineage.kin(number, lineage_number) if other < number]
    roots = [lineage.node(other).root for other in live]
    charge = 0
    for visit in walk_unshared(reader, lineage.node(number).root, roots, len(roots)):
        if visit.level == 0:
            others = [load_page(reader, other) for other in visit.others]
            charge += len(own_places(load_page(reader, visit.page_id), others))
    return charge


def _roles(
    lineage: Lineage, number: int, *, charged: bool
) -> tuple[list[int], list[int], list[int]]:
    """Return those whose versions are not this node's to give, its heirs, and the keepers.

    The heirs are newer snapshots of its kin, from the oldest on: so they inherit. The keepers come
    after them: holds, archived snapshots and those of other kins keep versions alive, and are
    charged nothing for them here. What is charged nothing itself has no heirs.
    """
    others = lineage.neighbours(number)
    if not charged:
        return others, [], []
    kin = lineage.kin(number, lineage.lineage_number(number))
    keepers = [other for other in others if other not in kin]
    return [n for n in kin if n < number], [n for n in kin if n > number], keepers


def _look_at_leaf(
    reader: CatalogReader, visit: Visit, older_count: int, heirs: list[int], result: Unshared
) -> list[int]:
    """Count what moves to later heirs, and return the versions that nobody has."""
    page = load_page(reader, visit.page_id)
    left = own_places(page, [load_page(reader, other) for other in visit.others[:older_count]])
    for position, heir in enumerate(heirs):
        theirs = load_page(reader, visit.others[older_count + position])
        before = len(left)
        left = [place for place in left if page[place] != theirs[place]]
        if position:
            result.moved[heir] = result.moved.get(heir, 0) + before - len(left)
    return [page[place] for place in left]
