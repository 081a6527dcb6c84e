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


STARTED = b"started/"
"""What the keys in META begin with that name the started snapshots with files."""


def has_started(context: StoreContext) -> bool:
    """Return whether there may be files of snapshots that are written block by block."""
    with context.catalog.read() as reader:
        return any(True for _ in reader.items(Table.META, prefix=STARTED))
