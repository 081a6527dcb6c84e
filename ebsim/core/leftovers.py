"""Whether a store has managed volumes at all: where it has none, opening it is a look-up less."""

from ebsim.core.context import StoreContext
from ebsim.format.catalog_values import Table


def has_managed_volumes(context: StoreContext) -> bool:
    """Return whether there may be something about managed volumes to go on with.

    Costs two counts: each source is remembered as one volume. There are more volumes than that
    where some are managed, or where a source started another volume.
    """
    with context.catalog.read() as reader:
        return reader.count(Table.VOLUMES) > reader.count(Table.SOURCES)
