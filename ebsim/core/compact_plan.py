"""Planning a compaction: which sealed segments are worth being copied, and what that gives back.

Two kinds are:

    dead   A quarter or more of what the file occupies belongs to nothing, as on a file system that
           cannot punch holes. What is live is copied and the file goes, with all that is dead.
    small  What is live is little, and other segments are small too: they become one. Every command
           that writes leaves a segment, so these are many.

Holes give nothing back a second time, so a large segment with many of them stays as it is.

Small segments are taken from the smallest up, each one only while it is no larger than all before
it together. So what was merged is copied again only when as much has come to it, and a store to
which little is added every day is not copied every day.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ebsim.format.catalog_values import SegmentRecord, Table, parse_number_key
from ebsim.format.segment import ALIGNMENT
from ebsim.reports import CompactedSegment
from ebsim.storage.catalog import CatalogReader
from ebsim.storage.segments import SegmentStore
from ebsim.units import MIB

DEAD_PARTS = 4
"""One of so many parts of a file must be dead, for the file to be copied for that reason."""

SMALL_SEGMENT = 64 * MIB
"""Segments with fewer live bytes may be merged."""

MERGED_ALWAYS = MIB
"""Segments with no more live bytes are merged whatever else there is: it costs next to nothing."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sealed segment that is worth being copied.

    Attributes:
        number: Its number in the catalog.
        record: What the catalog says about it.
        occupied_bytes: What its file occupies.
        reason: `dead` or `small`.
    """

    number: int
    record: SegmentRecord
    occupied_bytes: int
    reason: str

    @property
    def live_bytes(self) -> int:
        """The bytes that are copied."""
        return self.record.live_bytes

    def outcome(self, copied_bytes: int, *, gone: bool = True) -> CompactedSegment:
        """Return what a user is told: the plan, or what was done.

        Args:
            copied_bytes: What was copied; in a plan, everything that is live.
            gone: Whether the file goes.
        """
        return CompactedSegment(
            segment_id=self.record.segment_id.hex(),
            reason=self.reason,
            copied_bytes=copied_bytes,
            reclaimed_bytes=max(0, self.occupied_bytes - copied_bytes) if gone else 0,
        )


def plan_compaction(reader: CatalogReader, segments: SegmentStore) -> list[Candidate]:
    """Return the segments that are worth being copied, in the order in which they are.

    Costs a look at each segment of the store, and at no record.
    """
    dead: list[Candidate] = []
    small: list[Candidate] = []
    for key, value in reader.items(Table.SEGMENTS):
        record = SegmentRecord.decode(value)
        if record.is_open or not record.live_bytes:
            continue
        occupied = segments.occupied_bytes(record.segment_id)
        if not occupied:
            continue  # its file is missing: `check` tells whom that hits
        number = parse_number_key(key)
        unused = occupied - ALIGNMENT - record.live_bytes
        if unused * DEAD_PARTS >= occupied:
            dead.append(Candidate(number, record, occupied, "dead"))
        elif record.live_bytes < SMALL_SEGMENT:
            small.append(Candidate(number, record, occupied, "small"))
    merged = _worth_merging(small, sum(candidate.live_bytes for candidate in dead))
    return dead + merged if dead or len(merged) > 1 else []


def _worth_merging(small: Iterable[Candidate], copied_anyway: int) -> list[Candidate]:
    """Return the longest row of segments, smallest first, whose last is no larger than the rest."""
    ordered = sorted(small, key=lambda candidate: (candidate.live_bytes, candidate.number))
    total, taken = copied_anyway, 0
    for count, candidate in enumerate(ordered, 1):
        if candidate.live_bytes <= max(total, MERGED_ALWAYS):
            taken = count
        total += candidate.live_bytes
    return ordered[:taken]
