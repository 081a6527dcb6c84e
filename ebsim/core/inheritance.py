"""What becomes of a snapshot's charge when it leaves the standard tier: deleted, or archived.

Versions that others of its kin have are charged to the oldest of them from then on; those that
nobody else has, or only somebody who is charged nothing, are freed (semantics section 2.3).
"""

from dataclasses import dataclass

from ebsim.core.lineage import Lineage
from ebsim.core.sharing import Unshared, unshared_by
from ebsim.core.snapshots import get_snapshot
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId
from ebsim.storage.catalog import CatalogReader


@dataclass(frozen=True, slots=True)
class Legacy:
    """What a snapshot leaves.

    Attributes:
        freed_blocks: Charged blocks that nobody is charged for any more.
        heirs: Who is charged for the others, and for how many, oldest first.
        unshared: The versions and pages that nobody else has.
    """

    freed_blocks: int
    heirs: tuple[tuple[SnapshotId, int], ...]
    unshared: Unshared


def leave(
    reader: CatalogReader,
    lineage: Lineage,
    records: dict[SnapshotId, SnapshotRecord],
    record: SnapshotRecord,
) -> Legacy:
    """Plan the leaving of a snapshot whose node is still in the lineage, which stays as it is.

    Args:
        reader: The catalog.
        lineage: The view of the lineage in which it leaves.
        records: Snapshots with another charge than the catalog has; those of the heirs are put in.
        record: The snapshot that leaves.
    """
    unshared = unshared_by(reader, lineage, record.node)
    if record.is_archived:
        return Legacy(0, (), unshared)  # it left before
    moved = dict(unshared.moved)
    if unshared.first_heir:
        rest = record.charged_blocks - unshared.freed_blocks - sum(moved.values())
        moved[unshared.first_heir] = rest
    freed = unshared.freed_blocks
    heirs: list[tuple[SnapshotId, int]] = []
    for heir in sorted(moved):
        if heir in unshared.keepers:
            freed += moved[heir]  # kept for somebody who is charged nothing for it here
        elif moved[heir]:
            heirs.append((SnapshotId(lineage.node(heir).snapshot_id), moved[heir]))
    for snapshot_id, blocks in heirs:
        known = records.get(snapshot_id) or get_snapshot(reader, snapshot_id)
        records[snapshot_id] = known.charged(blocks)
    return Legacy(freed, tuple(heirs), unshared)
