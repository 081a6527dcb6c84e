"""Rebuilding, third part: what the block maps refer to, and what of it is lost."""

from collections import Counter as Multiset
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ebsim.core.rebuild_journal import History
from ebsim.core.rebuild_scan import Place, Scan
from ebsim.errors import CorruptionError
from ebsim.format.catalog_values import FIRST_BLOCK, ZERO_BLOCK, NodeRecord
from ebsim.format.map_page import MAP_LEVELS, PAGE_ENTRIES, decode_page
from ebsim.format.meta_records import ZERO_HASH
from ebsim.format.records import SnapshotRecord
from ebsim.format.segment import ALIGNMENT
from ebsim.ids import SnapshotId
from ebsim.reports import Finding
from ebsim.units import BLOCK_SIZE


@dataclass(slots=True)
class Needs:
    """What the block maps refer to.

    Attributes:
        pages: The pages that are in some map.
        versions: The versions that are in some map.
        lost_pages: Pages that are in some map and in no segment.
    """

    pages: set[int] = field(default_factory=set)
    versions: set[int] = field(default_factory=set)
    lost_pages: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Blocks:
    """The stored blocks, with their new ids.

    Attributes:
        ids: By block hash, its id.
        places: By block hash, where it lies; blocks that are lost have none.
        references: By block hash, how many versions have it.
        damaged: Hashes of blocks of which a damaged record is left.
        lost: Hashes of blocks of which nothing is left.
        lost_versions: Versions of which no record says which block they are.
    """

    ids: dict[bytes, int] = field(default_factory=dict)
    places: dict[bytes, Place] = field(default_factory=dict)
    references: dict[bytes, int] = field(default_factory=dict)
    damaged: set[bytes] = field(default_factory=set)
    lost: set[bytes] = field(default_factory=set)
    lost_versions: set[int] = field(default_factory=set)

    def block_of(self, versions: Mapping[int, bytes], version: int) -> int:
        """Return the id of a version's block; 0 where that is not known."""
        block_hash = versions.get(version)
        if block_hash is None:
            return 0
        return ZERO_BLOCK if block_hash == ZERO_HASH else self.ids[block_hash]


def walk_maps(scan: Scan, nodes: Mapping[int, NodeRecord]) -> Needs:
    """Walk all maps, each page once."""
    needs = Needs()
    for node in nodes.values():
        for level, _, page_id, page in _walk(scan, node.root, needs.pages):
            if page is None:
                needs.lost_pages.add(page_id)
            elif level == 0:
                needs.versions.update(page)
    needs.versions.discard(0)
    needs.pages -= needs.lost_pages
    return needs


def find_blocks(scan: Scan, needs: Needs) -> Blocks:
    """Find the blocks of all versions that are needed, and give them ids in the order they lie."""
    blocks = Blocks()
    counts: Multiset[bytes] = Multiset()
    for version in needs.versions:
        block_hash = scan.versions.get(version)
        if block_hash is None:
            blocks.lost_versions.add(version)
        elif block_hash != ZERO_HASH:
            counts[block_hash] += 1
    blocks.references = dict(counts)
    for block_hash in counts:
        place = scan.blocks.get(block_hash)
        if place is None:
            place = _damaged_place(scan, block_hash)
            (blocks.lost if place is None else blocks.damaged).add(block_hash)
        if place is not None:
            blocks.places[block_hash] = place
    in_order = sorted(blocks.places, key=lambda block_hash: blocks.places[block_hash])
    for block_id, block_hash in enumerate([*in_order, *sorted(blocks.lost)], FIRST_BLOCK):
        blocks.ids[block_hash] = block_id
    return blocks


def _damaged_place(scan: Scan, block_hash: bytes) -> Place | None:
    """Return where a damaged record of a block lies, if it can be one."""
    place = scan.damaged_blocks.get(block_hash)
    if place is None or place.offset + place.extent > scan.ends[place.segment]:
        return None  # its length may be what is damaged: it must not reach into nothing
    beyond = Place(place.segment, place.offset + place.extent, 0)
    return None if any(place < other < beyond for other in scan.records) else place


def map_findings(scan: Scan, history: History, needs: Needs, blocks: Blocks) -> list[Finding]:
    """Return what is lost or damaged, with the snapshots and byte ranges hit."""
    bad = blocks.damaged | blocks.lost
    if not (needs.lost_pages or blocks.lost_versions or bad):
        return []
    hits: dict[str, list[tuple[SnapshotId, tuple[int, int]]]] = {}
    for record in history.snapshots.values():
        for level, number, page_id, page in _walk(scan, record.root, set()):
            if page is None:
                span = PAGE_ENTRIES ** (level + 1)
                message = f"map page {page_id} is lost"
                _hit(hits, message, record, number * span, (number + 1) * span)
                continue
            for place, version in enumerate(page if level == 0 else ()):
                if version in blocks.lost_versions:
                    message = f"version {version}: no record says which block it is"
                elif version and scan.versions[version] in bad:
                    block_hash = scan.versions[version]
                    state = "lost" if block_hash in blocks.lost else "damaged"
                    message = f"block {block_hash.hex()[:16]} is {state}"
                else:
                    continue
                index = number * PAGE_ENTRIES + place
                _hit(hits, message, record, index, index + 1)
    return [_finding(message, found) for message, found in hits.items()]


def _finding(message: str, hits: list[tuple[SnapshotId, tuple[int, int]]]) -> Finding:
    snapshots = tuple(snapshot_id for snapshot_id, _ in hits)
    ranges = tuple(span for _, span in hits)
    if message.startswith("map page"):
        return Finding(kind="lost-page", message=message, snapshots=snapshots, ranges=ranges)
    return Finding(kind="lost-block", message=message, snapshots=snapshots, ranges=ranges)


def _hit(
    hits: dict[str, list[tuple[SnapshotId, tuple[int, int]]]],
    message: str,
    record: SnapshotRecord,
    first: int,
    end: int,
) -> None:
    size = record.size_bytes
    span = min(first * BLOCK_SIZE, size), min(end * BLOCK_SIZE, size)
    hits.setdefault(message, []).append((record.snapshot_id, span))


def _walk(
    scan: Scan, root: int, seen: set[int]
) -> Iterator[tuple[int, int, int, "list[int] | None"]]:
    """Yield level, number, id and entries of each page of a map that was not seen before."""
    pending = [(MAP_LEVELS - 1, 0, root)]
    while pending:
        level, number, page_id = pending.pop()
        if not page_id or page_id in seen:
            continue
        seen.add(page_id)
        stored = scan.pages.get(page_id)
        try:
            page = None if stored is None else decode_page(stored).tolist()
        except CorruptionError:
            page = None
        yield level, number, page_id, page
        for entry, below in enumerate(page or () if level else ()):
            if below:
                pending.append((level - 1, number * PAGE_ENTRIES + entry, below))


LOST_EXTENT = ALIGNMENT
"""What a lost record takes in the segment that stands for all that is lost."""
