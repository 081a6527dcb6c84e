"""The quotas of a store, kept in its catalog."""

from dataclasses import asdict, fields

from ebsim import refusals
from ebsim.config import Quotas
from ebsim.core.changes import JournaledCommit, commit_journaled
from ebsim.core.context import StoreContext
from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.catalog_values import Table
from ebsim.format.records import decode_json, encode_json
from ebsim.storage.catalog import CatalogReader, CatalogWriter

_KEY = b"quotas"


def load_quotas(reader: CatalogReader) -> Quotas:
    """Return the quotas of a store; those of EBS until others are saved.

    Raises:
        CorruptionError: The catalog holds something else.
    """
    value = reader.get(Table.META, _KEY)
    if value is None:
        return Quotas()
    try:
        return Quotas(**decode_json(value))
    except TypeError as error:
        raise CorruptionError(f"no quotas: {error}", ErrorCode.CORRUPT_CATALOG) from None


def quotas_here(context: StoreContext, reader: CatalogReader) -> Quotas:
    """Return the quotas that hold for a handle: the store's, or tighter ones.

    Raises:
        CorruptionError: As `load_quotas`.
    """
    quotas, tighten = load_quotas(reader), context.state.tighten
    return quotas if tighten is None else tighten(quotas)


def set_quotas(context: StoreContext, quotas: Quotas) -> None:
    """Keep the quotas of a store, in its journal too.

    Raises:
        InvalidInputError: One is negative.
        StoreError, LimitExceededError: A write failed.
    """

    def change(commit: JournaledCommit) -> None:
        save_quotas(commit.writer, quotas)
        commit.journal("quotas", {"quotas": asdict(quotas)})

    commit_journaled(context, change)


def save_quotas(writer: CatalogWriter, quotas: Quotas) -> None:
    """Keep the quotas of a store.

    Raises:
        InvalidInputError: One is negative.
    """
    for each in fields(quotas):
        value = getattr(quotas, each.name)
        if value is not None and value < 0:
            raise refusals.invalid_value(value, each.name, "Expected a value of at least 0")
    writer.put(Table.META, _KEY, encode_json(asdict(quotas)))
