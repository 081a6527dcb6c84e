"""Numbers that only grow, kept in the catalog: no id is ever used twice."""

from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.catalog_values import Counter, Table, number_key, parse_number_key
from ebsim.storage.catalog import CatalogReader, CatalogWriter


def peek(reader: CatalogReader, counter: Counter) -> int:
    """Return the number that would be given out next.

    Raises:
        CorruptionError: The catalog does not know: beginning anew would use numbers twice.
    """
    value = reader.get(Table.META, counter.key)
    if value is None:
        raise CorruptionError(
            f"the catalog has no counter '{counter.key.decode()}'", ErrorCode.CORRUPT_CATALOG
        )
    return parse_number_key(value)


def take(writer: CatalogWriter, counter: Counter, count: int = 1) -> int:
    """Return the first of `count` consecutive numbers that are given out for good."""
    first = peek(writer, counter)
    writer.put(Table.META, counter.key, number_key(first + count))
    return first
