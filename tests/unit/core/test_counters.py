"""Counters: no number is given out twice."""

from collections.abc import Callable

import pytest

from ebsim.core.counters import peek, take
from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.catalog_values import FIRST_BLOCK, Counter, Table
from ebsim.storage.catalog import CatalogWriter
from ebsim.testing.memory_catalog import MemoryCatalog, new_tables


@pytest.mark.parametrize("counter", list(Counter))
def test_first_number_is_no_reserved_one(counter: Counter) -> None:
    first = FIRST_BLOCK if counter is Counter.BLOCK else 1

    assert peek(new_tables(), counter) == take(new_tables(), counter) == first


def test_numbers_go_on_where_they_were() -> None:
    tables = new_tables()

    taken = [take(tables, Counter.PAGE, count) for count in (1, 5, 0, 2, 1)]

    assert taken == [1, 2, 7, 7, 9]
    assert peek(tables, Counter.PAGE) == 10
    assert peek(tables, Counter.PAGE) == 10


def test_each_counter_counts_for_itself() -> None:
    tables = new_tables()
    for number, counter in enumerate(Counter):
        take(tables, counter, number * 10)

    for number, counter in enumerate(Counter):
        assert peek(tables, counter) == counter.first + number * 10
    assert len({counter.key for counter in Counter}) == len(Counter)


def test_large_numbers_are_kept() -> None:
    tables = new_tables()

    take(tables, Counter.VERSION, 2**50)

    assert take(tables, Counter.VERSION) == 2**50 + 1


def test_number_taken_in_a_transaction_that_aborts_was_never_given_out() -> None:
    catalog = MemoryCatalog(new_tables())

    with pytest.raises(ZeroDivisionError):
        catalog.update(lambda writer: take(writer, Counter.NODE, 5) // 0)

    assert catalog.update(lambda writer: take(writer, Counter.NODE)) == 1


@pytest.mark.parametrize("use", [peek, take])
def test_missing_counter_is_damage(use: Callable[[CatalogWriter, Counter], int]) -> None:
    """Beginning anew would give numbers out twice."""
    tables = new_tables()
    tables.delete(Table.META, Counter.PAGE.key)

    with pytest.raises(CorruptionError, match="page") as caught:
        use(tables, Counter.PAGE)
    assert caught.value.code is ErrorCode.CORRUPT_CATALOG


@pytest.mark.parametrize("value", [b"", b"\1", bytes(7), bytes(9)])
def test_damaged_counter_is_damage(value: bytes) -> None:
    tables = new_tables()
    tables.put(Table.META, Counter.PAGE.key, value)

    with pytest.raises(CorruptionError):
        take(tables, Counter.PAGE)
