"""What a pending copy from another store has already, and keeps if its process dies.

Other snapshots that are being made give back what they stored when their process dies. A copy of a
disk may take hours, and what was copied need not be copied again: so after each batch the map, as
far as it is copied, is kept by a hold of its own in the lineage, beside the one on the parent's
map, and the record says how far that is. The copy then stays `pending`; copying that snapshot again
goes on with it (`ebsim.core.off_site_making`). Deleting it gives everything back.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Self

from ebsim import refusals, started_refusals
from ebsim.core.snapshots import NO_SESSION
from ebsim.format.records import SnapshotRecord
from ebsim.results import SnapshotState

_FROM_A_STORE = 2
"""Slashes in `copied_from` of a copy from another store: STORE/REGION/SNAPSHOT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedPart:
    """See the module.

    Attributes:
        hold: The node of the lineage that keeps the map as far as it is copied, or 0.
        root: The root page of that map.
        new_blocks: Blocks in it that the map of `SnapshotRecord.root` does not have.
        changed_blocks: Versions that the copy added so far.
        end: All below this byte is copied.
    """

    hold: int = 0
    root: int = 0
    new_blocks: int = 0
    changed_blocks: int = 0
    end: int = 0

    @classmethod
    def of(cls, record: SnapshotRecord) -> Self:
        """Return what a snapshot's record says of it; nothing, if it says nothing."""
        return cls(**(record.copied_part or {}))

    def facts(self) -> dict[str, int]:
        """Return it as the record keeps it."""
        return asdict(self)


def is_from_another_store(record: SnapshotRecord) -> bool:
    """Return whether a snapshot is a copy from another store."""
    return record.copied_from.count("/") == _FROM_A_STORE


def goes_on_later(record: SnapshotRecord) -> bool:
    """Return whether a pending snapshot that nobody makes any more waits for somebody who does."""
    pending = record.state == SnapshotState.PENDING and not record.deletion_wanted
    return pending and (is_from_another_store(record) or record.started is not None)


def is_unmade(record: SnapshotRecord) -> bool:
    """Return whether a snapshot is a pending copy, or a started one, that nobody makes."""
    pending = record.state == SnapshotState.PENDING and record.session == NO_SESSION
    return pending and (is_from_another_store(record) or record.started is not None)


def ensure_made(records: Iterable[SnapshotRecord]) -> None:
    """Refuse to wait for a copy that nobody makes, or for a snapshot that is still written.

    Raises:
        ConflictError: There is one.
    """
    for record in records:
        if record.started is not None:
            if record.state == SnapshotState.PENDING and not record.started["sealed"]:
                raise started_refusals.waits_for_completion(record.snapshot_id)
        elif is_unmade(record):
            raise refusals.copy_waits_for_maker(record.snapshot_id)


def holds_of(record: SnapshotRecord) -> list[int]:
    """Return a pending snapshot's holds in the lineage, each under the one before it."""
    return [hold for hold in (record.hold, CopiedPart.of(record).hold) if hold]
