"""What falls due by the clock: whoever uses the store next carries it out before anything else.

Archivals and restores end, stays in the Recycle Bin are over, and snapshots that nobody writes any
more time out. When the next of these comes is remembered: until then, and while nobody commits
anything, it costs two numbers to know that there is nothing to do.
"""

from dataclasses import dataclass

from ebsim.core.bin_clock import empty_bin_to_read
from ebsim.core.bin_stays import first_exit_us
from ebsim.core.context import StoreContext
from ebsim.core.leftovers import STARTED, has_started
from ebsim.core.snapshots import TIER_DUE, find_snapshot
from ebsim.core.tier_clock import settle
from ebsim.errors import CorruptionError
from ebsim.format.catalog_values import Table, parse_number_key
from ebsim.ids import SnapshotId
from ebsim.storage.catalog import CatalogReader

NEVER_US = 1 << 63


@dataclass(frozen=True, slots=True)
class NextDue:
    """When something falls due next.

    Attributes:
        commit: The last commit that was looked at; by a later one it may be earlier.
        time_us: The time; nothing falls due before it.
    """

    commit: int
    time_us: int


def settle_all(context: StoreContext) -> None:
    """Carry out what fell due; what cannot be is logged, and left to the next."""
    if not is_anything_due(context):
        return
    settle(context)
    empty_bin_to_read(context)
    if has_started(context):
        from ebsim.core.started_clock import settle_started  # seldom needed

        settle_started(context)


def is_anything_due(context: StoreContext) -> bool:
    """Return whether something may have fallen due. Nothing is written, and nobody waited for."""
    known = context.state.next_due
    if known is None or known.commit != context.catalog.last_commit():
        try:
            with context.catalog.read() as reader:
                known = NextDue(reader.commit, _earliest_us(reader))
        except CorruptionError:  # who carries it out says what is damaged, and goes on
            return True
        context.state.next_due = known
    return known.time_us <= context.clock.now_us()


def _earliest_us(reader: CatalogReader) -> int:
    """Return a time before which nothing falls due."""
    found = [parse_number_key(value) for _, value in reader.items(Table.META, prefix=TIER_DUE)]
    first_exit = first_exit_us(reader)
    if first_exit is not None:
        found.append(first_exit)
    for key, _ in reader.items(Table.META, prefix=STARTED):
        record = find_snapshot(reader, SnapshotId(key.removeprefix(STARTED).decode()))
        if record is not None and record.started is not None:  # each block moves its end further
            found.append(record.start_us + int(record.started["timeout_us"]))
    return min(found, default=NEVER_US)
