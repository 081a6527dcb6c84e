"""What the archive costs: acceptance test 15, and the worked numbers of sections 7.1 and 8.

The documented examples have snapshots of 100 GiB. Here a block stands for a GiB, so that every sum
is a 2,048th of the documented one, exactly.
"""

from fractions import Fraction

import numpy as np
import pytest

from ebsim.config import Quotas
from ebsim.engine import Store
from ebsim.pricing import (
    US_EAST_1,
    BillingRecord,
    Prices,
    Usage,
    billing_records,
    gb_months,
    total_usd,
)
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.seams import ManualClock
from ebsim.testing.synthetic import SyntheticSource
from ebsim.tiering import TierRestore
from ebsim.units import BLOCK_SIZE, BLOCKS_PER_GIB, GIB

DAY_US = 24 * 3600 * 1_000_000
FOR_GOOD = TierRestore(permanent=True)


@pytest.fixture
def name(store: Store) -> str:
    """A snapshot of "100 GiB"."""
    return taken(store, 100)


def taken(store: Store, count: int, generation: int = 1) -> str:
    stamps = np.arange(count, dtype=np.uint64) + np.uint64(generation * 1000)
    source = SyntheticSource("memory:disk", count * BLOCK_SIZE, stamps)
    return store.create_snapshot(source).snapshot_id


def bill(store: Store, clock: ManualClock) -> list[BillingRecord]:
    return billing_records(store.ledger(), clock.now_us())


def costs(store: Store, clock: ManualClock) -> dict[Usage, Fraction]:
    """Return what was charged until now, as if blocks were GiB."""
    found: dict[Usage, Fraction] = {}
    for record in bill(store, clock):
        usd = record.cost_usd() * BLOCKS_PER_GIB
        found[record.usage] = found.get(record.usage, Fraction(0)) + usd
    return found


def test_prices_are_those_of_us_east_1() -> None:
    """Section 8."""
    assert Prices() == US_EAST_1
    assert [US_EAST_1.of(each) for each in Usage] == [
        Fraction("0.05"),
        Fraction("0.0125"),
        Fraction("0.03"),
        Fraction("0.0125"),
    ]


def test_a_gb_month_is_a_gib_for_30_days() -> None:
    """Section 8: GiB held x seconds held / (86,400 x 30)."""
    assert gb_months(GIB, 30 * DAY_US) == 1
    assert gb_months(100 * GIB, 90 * DAY_US) == 300


def test_a_month_in_either_tier(store: Store, clock: ManualClock, name: str) -> None:
    """Section 7.1: 100 GiB in the archive are 1.25 USD a month; 5 USD in the standard tier."""
    clock.advance(days=30)
    store.tiers.archive(name)
    clock.advance(days=30)

    assert costs(store, clock) == {
        Usage.SNAPSHOT: Fraction(5),
        Usage.ARCHIVE: Fraction("1.25"),
    }


def test_restore_is_charged_once(store: Store, clock: ManualClock, name: str) -> None:
    """Section 7.1: 100 GiB are 3 USD, whether the restore is temporary or for good."""
    store.tiers.archive(name)
    clock.advance(days=90)
    store.tiers.restore(name)
    assert costs(store, clock)[Usage.RETRIEVAL] == 3
    store.tiers.restore(name, TierRestore(days=20))
    store.tiers.restore(name, FOR_GOOD)
    assert costs(store, clock)[Usage.RETRIEVAL] == 3

    store.tiers.archive(name)
    store.tiers.restore(name, FOR_GOOD)
    assert costs(store, clock)[Usage.RETRIEVAL] == 6


@pytest.mark.parametrize("leaving", ["delete", "restore"])
@pytest.mark.parametrize(
    ("days", "hours_left"), [(0, 2160), (40, 1200), (89, 24), (90, 0), (400, 0)]
)
def test_minimum_of_90_days(
    store: Store, clock: ManualClock, name: str, leaving: str, days: int, hours_left: int
) -> None:
    """Section 7.1: deleted or restored for good after 40 days: the other 50 are charged."""
    store.tiers.archive(name)
    clock.advance(days=days)
    if leaving == "delete":
        store.delete_snapshots([name])
    else:
        store.tiers.restore(name, FOR_GOOD)

    month = Fraction("1.25")
    found = costs(store, clock)
    assert found.get(Usage.EARLY_DELETE, 0) == month * hours_left / 720
    assert found.get(Usage.ARCHIVE, 0) == month * days / 30
    clock.advance(days=100)
    assert costs(store, clock).get(Usage.ARCHIVE, 0) == month * days / 30, "it is there no more"
    if leaving == "restore":
        assert costs(store, clock)[Usage.SNAPSHOT] == Fraction(5) * 100 / 30


@pytest.mark.parametrize(
    ("minutes", "hours"), [(0, 2160), (29, 2160), (30, 2160), (31, 2159), (89, 2159), (91, 2158)]
)
def test_the_rest_is_rounded_to_the_nearest_hour(
    store: Store, clock: ManualClock, name: str, minutes: int, hours: int
) -> None:
    """Section 7.1; half an hour counts as one (assumed)."""
    store.tiers.archive(name)
    clock.advance(minutes * 60)
    store.delete_snapshots([name])

    assert costs(store, clock)[Usage.EARLY_DELETE] == Fraction("1.25") * hours / 720


def test_temporary_restore_charges_both_tiers_and_ends_no_minimum(
    store: Store, clock: ManualClock, name: str
) -> None:
    """Section 11, test 15: both copies are charged while it lasts."""
    store.tiers.archive(name)
    clock.advance(days=30)
    store.tiers.restore(name, TierRestore(days=15))
    clock.advance(days=30)

    assert costs(store, clock) == {
        Usage.ARCHIVE: Fraction("2.50"),
        Usage.SNAPSHOT: Fraction("2.50"),
        Usage.RETRIEVAL: Fraction(3),
    }
    store.delete_snapshots([name])
    assert costs(store, clock)[Usage.EARLY_DELETE] == Fraction("1.25")


def test_deleted_while_it_is_being_archived(store: Store, clock: ManualClock, name: str) -> None:
    """Section 7.1: the minimum applies to the part that is moved: 40 of 100 GiB are 1.50 USD."""
    store.quotas = Quotas(archival_s=10 * 3600)
    store.tiers.archive(name)
    clock.advance(hours=4)

    store.delete_snapshots([name])

    found = costs(store, clock)
    assert found[Usage.EARLY_DELETE] == Fraction("1.50")
    assert found[Usage.SNAPSHOT] == Fraction(5) * 4 / 720
    assert Usage.ARCHIVE not in found
    assert_healthy(store)


def test_deleted_while_it_is_being_restored(store: Store, clock: ManualClock, name: str) -> None:
    """Section 7.1: the full retrieval charge: 100 GiB are 3 USD."""
    store.tiers.archive(name)
    store.quotas = Quotas(tier_restore_s=72 * 3600)
    clock.advance(days=90)
    store.tiers.restore(name, FOR_GOOD)
    clock.advance(hours=1)

    store.delete_snapshots([name])

    found = costs(store, clock)
    assert found[Usage.RETRIEVAL] == 3
    assert Usage.EARLY_DELETE not in found


def test_archiving_moves_the_cost_of_shared_blocks_on(store: Store, clock: ManualClock) -> None:
    """Section 11, test 6, in USD: of 16 "GiB" only what is unique leaves the standard tier."""
    first = taken(store, 10)
    stamps = np.arange(16, dtype=np.uint64) + np.uint64(1000)
    stamps[:4] += np.uint64(500)
    source = SyntheticSource("memory:disk", 16 * BLOCK_SIZE, stamps)
    store.create_snapshot(source)
    clock.advance(days=30)
    assert costs(store, clock) == {Usage.SNAPSHOT: Fraction("0.05") * (10 + 10)}

    store.tiers.archive(first)
    clock.advance(days=30)

    assert costs(store, clock) == {
        Usage.SNAPSHOT: Fraction("0.05") * (20 + 16),
        Usage.ARCHIVE: Fraction("0.0125") * 10,
    }


def test_what_fell_due_is_charged_from_then_on(store: Store, clock: ManualClock, name: str) -> None:
    """However late somebody looks: an archival of 10 hours, looked at after 30 days."""
    store.quotas = Quotas(archival_s=10 * 3600)
    store.tiers.archive(name)
    clock.advance(days=30)

    assert costs(store, clock) == {
        Usage.SNAPSHOT: Fraction(5) * 10 / 720,
        Usage.ARCHIVE: Fraction("1.25") * 710 / 720,
    }


def test_bill_of_a_moment_in_between(store: Store, clock: ManualClock, name: str) -> None:
    """What is in the archive is not charged for its 90 days before it leaves."""
    store.tiers.archive(name)
    clock.advance(days=15)
    middle = clock.now_us()
    clock.advance(days=15)
    store.delete_snapshots([name])

    records = billing_records(store.ledger(), middle)

    assert [each.usage for each in records] == [Usage.ARCHIVE]
    assert total_usd(records) * BLOCKS_PER_GIB == Fraction("0.625")
    (record,) = records
    assert (record.end_us - record.start_us, record.size_bytes) == (15 * DAY_US, 100 * BLOCK_SIZE)
