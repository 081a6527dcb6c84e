"""What being in the Recycle Bin costs: what it cost before, until exactly the end (7.2 and 8).

A block stands for a GiB here, so that sums are those of the documents.
"""

from fractions import Fraction

import numpy as np
import pytest

from ebsim.engine import Store
from ebsim.pricing import Usage, billing_records
from ebsim.recycle_bin import RuleRequest, RuleResourceType
from ebsim.testing.invariants import assert_healthy
from ebsim.testing.seams import ManualClock
from ebsim.testing.synthetic import SyntheticSource
from ebsim.tiering import TierRestore
from ebsim.units import BLOCK_SIZE, BLOCKS_PER_GIB

STANDARD, ARCHIVE = Fraction(5), Fraction("1.25")
"""USD for 100 GiB in a month of 30 days."""


@pytest.fixture(autouse=True)
def week(store: Store) -> None:
    """A rule that keeps every snapshot for 7 days."""
    kind = RuleResourceType.EBS_SNAPSHOT
    store.recycle_bin.rules.create(RuleRequest(resource_type=kind, retention_days=7))


def taken(store: Store, changed: int = 0) -> str:
    """Return a snapshot of "100 GiB", of which so many differ from the first one's."""
    stamps = np.arange(1, 101, dtype=np.uint64)
    stamps[:changed] += np.uint64(1000)
    source = SyntheticSource("memory:disk", 100 * BLOCK_SIZE, stamps)
    return store.create_snapshot(source).snapshot_id


def costs(store: Store, clock: ManualClock) -> dict[Usage, Fraction]:
    """Return what was charged until now, as if blocks were GiB."""
    found: dict[Usage, Fraction] = {}
    for record in billing_records(store.ledger(), clock.now_us()):
        usd = record.cost_usd() * BLOCKS_PER_GIB
        found[record.usage] = found.get(record.usage, Fraction(0)) + usd
    return found


@pytest.mark.parametrize("late", [0, 1, 60])
def test_standard_rate_until_the_very_end(store: Store, clock: ManualClock, late: int) -> None:
    name = taken(store)
    clock.advance(days=10)
    store.delete_snapshots([name])
    clock.advance(days=7 + late)

    assert costs(store, clock) == {Usage.SNAPSHOT: STANDARD * 17 / 30}
    assert_healthy(store)


def test_charge_moves_to_the_next_one_at_that_moment(store: Store, clock: ManualClock) -> None:
    """Section 2.5: what the next snapshot needs it is charged for from then on."""
    first = taken(store)
    taken(store, changed=40)
    store.delete_snapshots([first])
    clock.advance(days=37)

    with_both, alone = STANDARD * Fraction(140, 100), STANDARD
    assert costs(store, clock) == {Usage.SNAPSHOT: with_both * 7 / 30 + alone * 30 / 30}


def test_archive_rate_and_the_rest_of_90_days(store: Store, clock: ManualClock) -> None:
    """Section 7.2: the minimum applies if it expires in the bin, and counts the days there."""
    name = taken(store)
    store.tiers.archive(name)
    clock.advance(days=40)
    store.delete_snapshots([name])
    clock.advance(days=100)

    assert costs(store, clock) == {
        Usage.ARCHIVE: ARCHIVE * 47 / 30,
        Usage.EARLY_DELETE: ARCHIVE * 43 / 30,
    }


def test_restoring_costs_nothing(store: Store, clock: ManualClock) -> None:
    name = taken(store)
    store.delete_snapshots([name])
    clock.advance(days=6)
    store.recycle_bin.restore_snapshot(name)
    clock.advance(days=24)

    assert costs(store, clock) == {Usage.SNAPSHOT: STANDARD}


@pytest.mark.parametrize(("days", "standard"), [(1, 1), (20, 7)])
def test_temporary_restore_ends_in_the_bin(
    store: Store, clock: ManualClock, days: int, standard: int
) -> None:
    """Sections 7.1 and 7.2: both copies are charged until it ends, or until the bin's time does."""
    name = taken(store)
    store.tiers.archive(name)
    store.tiers.restore(name, TierRestore(days=days))
    store.delete_snapshots([name])
    clock.advance(days=60)

    found = costs(store, clock)
    assert found[Usage.SNAPSHOT] == STANDARD * standard / 30
    assert found[Usage.ARCHIVE] == ARCHIVE * 7 / 30
    assert_healthy(store)
