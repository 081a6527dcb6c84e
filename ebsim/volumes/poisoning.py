"""Closing a store's handle for writing when a volume's file or a commit about it has failed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebsim.core.context import StoreContext
from ebsim.errors import LimitExceededError, StoreError
from ebsim.storage.failures import write_failure


@contextmanager
def closing_on_failure(context: StoreContext) -> Iterator[None]:
    """Return a context in which a commit that fails closes the handle for writing."""
    try:
        yield
    except StoreError as error:
        context.poison = context.poison or str(error)
        raise


def poisoned(context: StoreContext, error: OSError, path: Path) -> LimitExceededError | StoreError:
    """Close the handle for writing after a failed sync, and return what to raise."""
    failure = write_failure(error, path)
    context.poison = context.poison or str(failure)
    return failure
