"""Proofs: which bytes of a segment were read and found sound, and when.

They spare `check --data` reading the same bytes again, where the user says how old a proof may be.
Nothing else looks at them: a lost proof costs a reading, and the times are for people.
"""

import struct
from collections.abc import Iterable

from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.catalog_values import number_key, parse_number_key

PROOF_SPAN = struct.Struct("<QQQ")
"""first byte, byte behind the last, time in us since the epoch."""

PROOF_SPANS_MAX = 64
"""Spans kept of a segment; of more, the first ones."""

PROOF_KEY = b"proved "
"""What the keys of proofs in META begin with; the segment's number follows."""

Span = tuple[int, int, int]
"""Half-open byte range of a segment, and when it was proved, in us since the epoch."""


def proof_key(segment: int) -> bytes:
    """Return the key of a segment's proofs in META."""
    return PROOF_KEY + number_key(segment)


def parse_proof_key(key: bytes) -> int:
    """Return the segment's number."""
    return parse_number_key(key.removeprefix(PROOF_KEY))


def encode_proofs(spans: Iterable[Span]) -> bytes:
    """Return a segment's proofs as stored: ascending, and none overlaps another."""
    return b"".join(PROOF_SPAN.pack(*span) for span in spans)


def decode_proofs(data: bytes) -> list[Span]:
    """Return the proofs that `data` holds.

    Raises:
        CorruptionError: They are none.
    """
    spans: list[Span] = []
    if len(data) <= PROOF_SPANS_MAX * PROOF_SPAN.size and not len(data) % PROOF_SPAN.size:
        spans = [(start, end, time) for start, end, time in PROOF_SPAN.iter_unpack(data)]
    edges = [edge for start, end, _ in spans for edge in (start, end)]
    if len(data) != len(spans) * PROOF_SPAN.size or edges != sorted(edges):
        raise CorruptionError("no list of proved spans", ErrorCode.CORRUPT_CATALOG)
    return spans
