"""Writers that number their writes, so that a point in time can be proved from what it holds.

A block is divided into 8 *places* of 64 KiB. A write fills one or several of them with its number,
repeated; zeros stand for 0, as before the first write. Each place has one writer at a time, so the
writes to a place have an order. Any number of threads may write to different places.

Moments are counted, not timed: each write notes one before it begins and one after it returned, and
so does whoever takes a snapshot. A snapshot that began at moment b and returned at moment r must
hold, at each place,

- no write that began after r,
- nothing older than the last write that had returned at b, and

be *consistent*: if it holds a write, it holds every write that had returned before that one began,
at any place and of any volume of a set.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ebsim.units import BLOCK_SIZE, KIB

PLACE_SIZE = 64 * KIB
PLACES = BLOCK_SIZE // PLACE_SIZE
_NUMBER_SIZE = 8
_NEVER = 1 << 62

Place = tuple[int, int]
"""A block index, and the number of a place in that block, from 0 to 7."""

Contents = Mapping[Place, int]
"""What is at each place: the number of the write that put it there; 0 for zeros."""


@dataclass(slots=True)
class NumberedWrite:
    """One write, as one place sees it.

    Attributes:
        number: What it puts there; 0: it discards.
        started: The moment before it began.
        ended: The moment after it returned.
    """

    number: int
    started: int
    ended: int = _NEVER


class Moments:
    """Numbers for writes, and moments that only grow. For all threads and volumes of a test."""

    def __init__(self) -> None:
        self._moments = itertools.count(1)
        self._numbers = itertools.count(1)

    def now(self) -> int:
        """Return a moment later than all before; never two threads the same."""
        return next(self._moments)

    def number(self) -> int:
        """Return a number that no write has had."""
        return next(self._numbers)


@dataclass(slots=True)
class WriteHistory:
    """All writes to one volume.

    Attributes:
        moments: Those of all volumes that are looked at together.
        initial: What the volume held at first.
        writes: By place, its writes in their order.
    """

    moments: Moments
    initial: Contents = field(default_factory=dict)
    writes: dict[Place, list[NumberedWrite]] = field(default_factory=dict)

    def begin(self, places: list[Place], number: int) -> NumberedWrite:
        """Note that a write begins; call before it does.

        Args:
            places: All places it fills, at which no other write may be under way. Those of one
                block are seen together.
            number: What it fills them with, or 0 for zeros.
        """
        write = NumberedWrite(number, self.moments.now())
        for place in places:
            first = NumberedWrite(self.initial.get(place, 0), 0, 0)
            self.writes.setdefault(place, [first]).append(write)
        return write

    def end(self, write: NumberedWrite) -> None:
        """Note that a write returned."""
        write.ended = self.moments.now()

    def last(self, place: Place) -> int:
        """Return what was last put at a place; for its writer, while it does not write there."""
        writes = self.writes.get(place)
        return self.initial.get(place, 0) if writes is None else writes[-1].number


class Cut:
    """What snapshots that were begun by one call hold: one point in time of one or more volumes.

    Args:
        begun: The moment before the call.
        returned: The moment after it.
    """

    def __init__(self, begun: int, returned: int) -> None:
        self._begun = begun
        self._returned = returned
        self._in: tuple[int, str] = (0, "")
        self._out: tuple[int, str] = (_NEVER, "")

    def look(self, name: str, history: WriteHistory, found: Contents) -> None:
        """Look at what one snapshot holds.

        Args:
            name: Its name, for messages.
            history: That of its volume.
            found: What it holds at every place that was written to before it was begun, or more.

        Raises:
            AssertionError: It holds what it must not, or not what it must, or is not consistent.
        """
        for place, number in found.items():
            self._look_at(f"{name}, block {place[0]} place {place[1]}", history, place, number)
        if self._out[0] < self._in[0]:
            raise AssertionError(
                f"not consistent: it holds {self._in[1]}, begun at {self._in[0]}, and not "
                f"{self._out[1]}, which had returned at {self._out[0]}"
            )

    def _look_at(self, where: str, history: WriteHistory, place: Place, number: int) -> None:
        writes = history.writes.get(place)
        if writes is None:
            expected = history.initial.get(place, 0)
            if number != expected:
                raise AssertionError(f"{where} holds {number}, expected {expected}")
            return
        known = writes[:]  # others may be appended meanwhile
        oldest = max(at for at, write in enumerate(known) if write.ended < self._begun)
        possible = [
            at
            for at, write in enumerate(known)
            if at >= oldest and write.number == number and write.started < self._returned
        ]
        if not possible:
            near = [write for write in known[oldest:] if write.started < self._returned]
            raise AssertionError(
                f"{where} holds {number}, expected one of {[write.number for write in near]} "
                f"(begun at {self._begun}, returned at {self._returned})"
            )
        if len(possible) > 1:
            return  # zeros, more than once: it may have been any of them
        at = possible[0]
        self._in = max(self._in, (known[at].started, f"write {number} at {where}"))
        if at + 1 < len(known):
            left_out = known[at + 1]
            self._out = min(self._out, (left_out.ended, f"write {left_out.number} at {where}"))


def fill(number: int, places: int = 1) -> bytes:
    """Return the bytes of so many places that hold a number, 0 for zeros."""
    return number.to_bytes(_NUMBER_SIZE, "little") * (places * PLACE_SIZE // _NUMBER_SIZE)


def numbers_of(block: bytes | memoryview) -> Iterator[int]:
    """Yield what is at each place of a block.

    Args:
        block: 524,288 bytes.

    Raises:
        AssertionError: A place is torn: it does not hold one number all over.
    """
    for place in range(PLACES):
        part = block[place * PLACE_SIZE : (place + 1) * PLACE_SIZE]
        number = int.from_bytes(part[:_NUMBER_SIZE], "little")
        if part != fill(number):
            raise AssertionError(f"place {place} does not hold {number} all over")
        yield number
