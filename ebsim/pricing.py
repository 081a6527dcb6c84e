"""What snapshots cost: a bill made of the store's ledger, with EBS's arithmetic (S-70).

A snapshot is charged, in each tier, for the blocks that the ledger says, as long as it says so. A
GB-month is one GiB for 30 days of 24 hours. What is in the archive for less than 90 days is charged
for the rest of them when it leaves, rounded to the nearest hour; each restore is charged once for
what it reads. All of it is exact: fractions, never floats.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from ebsim.ids import SnapshotId
from ebsim.results import ChargeEvent
from ebsim.tiering import StorageTier
from ebsim.units import BLOCK_SIZE, GIB

HOUR_US = 3600 * 1_000_000
MONTH_US = 30 * 24 * HOUR_US
ARCHIVE_MIN_US = 90 * 24 * HOUR_US


class Usage(StrEnum):
    """What is charged, in the words of AWS's usage reports."""

    SNAPSHOT = "EBS:SnapshotUsage"
    ARCHIVE = "EBS:SnapshotArchiveStorage"
    RETRIEVAL = "EBS:SnapshotArchiveRetrieval"
    EARLY_DELETE = "EBS:SnapshotArchiveEarlyDelete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Prices in USD; those of us-east-1 unless others are given.

    Attributes:
        snapshot: Of a GB-month in the standard tier.
        archive: Of a GB-month in the archive.
        retrieval: Of a GB that is read out of it.
    """

    snapshot: Fraction = Fraction("0.05")
    archive: Fraction = Fraction("0.0125")
    retrieval: Fraction = Fraction("0.03")

    def of(self, usage: Usage) -> Fraction:
        """Return the price of a unit of something: a GB-month, or a GB that is retrieved."""
        if usage is Usage.SNAPSHOT:
            return self.snapshot
        return self.retrieval if usage is Usage.RETRIEVAL else self.archive


US_EAST_1 = Prices()


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingRecord:
    """One thing that is charged. Times are in microseconds.

    Attributes:
        usage: What.
        snapshot_id: Whose.
        start_us: From when on.
        end_us: Until when; of a retrieval, and of what is charged for the rest of the 90 days, the
            moment at which that came about.
        size_bytes: Of how many bytes.
        quantity: How many GB-months; of a retrieval, how many GB.
    """

    usage: Usage
    snapshot_id: SnapshotId
    start_us: int
    end_us: int
    size_bytes: int
    quantity: Fraction

    def cost_usd(self, prices: Prices = US_EAST_1) -> Fraction:
        """Return what it costs."""
        return self.quantity * prices.of(self.usage)


@dataclass(slots=True)
class _Meter:
    """What one snapshot is charged in one tier, and since when."""

    blocks: int = 0
    since_us: int = 0
    entered_us: int = 0


def billing_records(ledger: Iterable[ChargeEvent], until_us: int) -> list[BillingRecord]:
    """Return what was charged until a moment, in the order of the ledger.

    Args:
        ledger: Entries in the order of commits, such as `Store.ledger()` or
            `Store.snapshot_history(...)` returns; later ones than `until_us` are left out.
        until_us: When the bill is made. What the archive holds then is charged for the time until
            then, not yet for the rest of its 90 days.
    """
    meters: dict[tuple[SnapshotId, StorageTier], _Meter] = {}
    found: list[BillingRecord] = []
    for event in ledger:
        if event.time_us > until_us:
            continue
        if event.retrieved_blocks:
            found.append(_retrieval(event))
        meter = meters.setdefault((event.snapshot_id, event.tier), _Meter())
        found += _changed(meter, event)
    for (name, tier), meter in meters.items():
        found += _held(meter, name, tier, until_us)
    return found


def total_usd(records: Iterable[BillingRecord], prices: Prices = US_EAST_1) -> Fraction:
    """Return what all of them cost together."""
    return sum((record.cost_usd(prices) for record in records), Fraction(0))


def gb_months(size_bytes: int, duration_us: int) -> Fraction:
    """Return how many GB-months so many bytes are for so long."""
    return Fraction(size_bytes, GIB) * Fraction(duration_us, MONTH_US)


def _changed(meter: _Meter, event: ChargeEvent) -> Iterator[BillingRecord]:
    """Yield what ends with an entry, and count from there on."""
    if not event.blocks:
        return
    yield from _held(meter, event.snapshot_id, event.tier, event.time_us)
    if event.tier is StorageTier.ARCHIVE:
        if event.blocks > 0:
            meter.entered_us = event.time_us
        else:
            yield from _early(meter, event)
    meter.blocks += event.blocks
    meter.since_us = event.time_us


def _held(
    meter: _Meter, name: SnapshotId, tier: StorageTier, until_us: int
) -> Iterator[BillingRecord]:
    duration = until_us - meter.since_us
    if not meter.blocks or duration <= 0:
        return
    size = meter.blocks * BLOCK_SIZE
    yield BillingRecord(
        usage=Usage.ARCHIVE if tier is StorageTier.ARCHIVE else Usage.SNAPSHOT,
        snapshot_id=name,
        start_us=meter.since_us,
        end_us=until_us,
        size_bytes=size,
        quantity=gb_months(size, duration),
    )


def _early(meter: _Meter, event: ChargeEvent) -> Iterator[BillingRecord]:
    """Yield what leaving the archive costs before 90 days are over."""
    left = ARCHIVE_MIN_US - (event.time_us - meter.entered_us)
    hours = (left + HOUR_US // 2) // HOUR_US
    if hours <= 0:
        return
    size = -event.blocks * BLOCK_SIZE
    yield BillingRecord(
        usage=Usage.EARLY_DELETE,
        snapshot_id=event.snapshot_id,
        start_us=event.time_us,
        end_us=event.time_us,
        size_bytes=size,
        quantity=gb_months(size, hours * HOUR_US),
    )


def _retrieval(event: ChargeEvent) -> BillingRecord:
    size = event.retrieved_blocks * BLOCK_SIZE
    return BillingRecord(
        usage=Usage.RETRIEVAL,
        snapshot_id=event.snapshot_id,
        start_us=event.time_us,
        end_us=event.time_us,
        size_bytes=size,
        quantity=Fraction(size, GIB),
    )
