"""Remembering what a check of the data proved, segment by segment.

A record never changes and its place is never used again, so bytes that were proved once need a
proof again only because disks rot. A proof that was interrupted by damage is not a proof: the
damaged record is cut out of what its segment has.
"""

from collections.abc import Mapping

from ebsim.core.context import StoreContext
from ebsim.errors import CorruptionError, EbsimError
from ebsim.format.catalog_values import Table, number_key
from ebsim.format.proofs import (
    PROOF_KEY,
    PROOF_SPANS_MAX,
    Span,
    decode_proofs,
    encode_proofs,
    parse_proof_key,
    proof_key,
)
from ebsim.storage.catalog import CatalogReader, CatalogWriter


def load_proofs(reader: CatalogReader) -> dict[int, list[Span]]:
    """Return the proofs of every segment that has any; those that are damaged are none."""
    found: dict[int, list[Span]] = {}
    for key in list(reader.keys(Table.META)):
        if key.startswith(PROOF_KEY):
            try:
                found[parse_proof_key(key)] = decode_proofs(reader.get(Table.META, key) or b"")
            except CorruptionError:
                continue  # a value that the check has reported
    return found


def without(spans: list[Span], start: int, end: int) -> list[Span]:
    """Return spans from which a byte range is cut out."""
    kept: list[Span] = []
    for first, last, time in spans:
        kept += [
            (low, high, time)
            for low, high in ((first, min(last, start)), (max(first, end), last))
            if low < high
        ]
    return kept


def with_span(spans: list[Span], start: int, end: int, time_us: int) -> list[Span]:
    """Return spans with one more, in place of what they said of its range."""
    joined: list[Span] = []
    for first, last, time in sorted([*without(spans, start, end), (start, end, time_us)]):
        if joined and joined[-1][1] == first and joined[-1][2] == time:
            joined[-1] = (joined[-1][0], last, time)
        else:
            joined.append((first, last, time))
    return joined[:PROOF_SPANS_MAX]


class ProofKeeper:
    """Collects what one check proves, and writes it down now and then.

    Args:
        context: The store; one that cannot be written to keeps nothing.
        time_us: When the check began: what it proves is at least as new.
    """

    def __init__(self, context: StoreContext, time_us: int) -> None:
        self._context = context
        self._time_us = time_us
        self._proved: dict[int, list[tuple[int, int]]] = {}
        self._damaged: dict[int, list[tuple[int, int]]] = {}

    def proved(self, segment: int, start: int, end: int) -> None:
        """Note that a range of a segment is sound; what follows on the last one extends it."""
        ranges = self._proved.setdefault(segment, [])
        if ranges and ranges[-1][1] == start:
            start = ranges.pop()[0]
        ranges.append((start, end))

    def damaged(self, segment: int, start: int, end: int) -> None:
        """Note that a range of a segment is not sound, whatever was known of it."""
        self._damaged.setdefault(segment, []).append((start, end))

    def save(self) -> None:
        """Write down what was noted. A disk that is full or fails costs proofs, nothing else."""
        proved, self._proved = self._proved, {}
        damaged, self._damaged = self._damaged, {}
        context = self._context
        if context.catalog.read_only or context.poison or not (proved or damaged):
            return
        try:
            context.catalog.update(lambda writer: self._write(writer, proved, damaged))
        except EbsimError:
            return

    def _write(
        self,
        writer: CatalogWriter,
        proved: Mapping[int, list[tuple[int, int]]],
        damaged: Mapping[int, list[tuple[int, int]]],
    ) -> None:
        for segment in proved.keys() | damaged.keys():
            if writer.get(Table.SEGMENTS, number_key(segment)) is None:
                continue  # removed during the check
            spans = decode_proofs(writer.get(Table.META, proof_key(segment)) or b"")
            for start, end in proved.get(segment, ()):
                spans = with_span(spans, start, end, self._time_us)
            for start, end in damaged.get(segment, ()):
                spans = without(spans, start, end)[:PROOF_SPANS_MAX]
            writer.put(Table.META, proof_key(segment), encode_proofs(spans))
