"""What every writing operation is wrapped in, and commits of little but a journal entry.

with writing(context):                    poison after a failed write; events told at the end
    commit_journaled(context, change)     one transaction, with its entry in a segment
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from ebsim.core.context import StoreContext
from ebsim.core.events import deliver_events
from ebsim.core.journal import append_entry
from ebsim.core.sessions import OpenSegment, current_session
from ebsim.core.space import SpaceChange
from ebsim.errors import StoreError
from ebsim.storage.catalog import CatalogWriter

T = TypeVar("T")


@contextmanager
def writing(context: StoreContext) -> Iterator[None]:
    """Close a handle for writing when a write fails, and tell subscribers what was committed.

    The outermost thing that an operation does: nothing may be locked around it.
    """
    try:
        yield
    except StoreError as error:
        context.poison = context.poison or str(error)
        raise
    finally:
        deliver_events(context)


@dataclass(frozen=True, slots=True)
class JournaledCommit:
    """A transaction whose journal entry goes to a segment."""

    context: StoreContext
    writer: CatalogWriter
    space: SpaceChange
    segment: OpenSegment

    def journal(self, operation: str, facts: dict[str, Any]) -> int:
        """Append the journal's entry of this commit, and return its sequence number."""
        return append_entry(self.context, self.writer, self.space, self.segment, operation, facts)


def commit_journaled(context: StoreContext, change: Callable[[JournaledCommit], T]) -> T:
    """Run a change and its journal entry in one transaction.

    Args:
        context: The store.
        change: Calls `journal` once, after everything that may be refused. It may be run twice, as
            `Catalog.update` has it.

    Returns:
        What `change` returns.

    Raises:
        StoreError, LimitExceededError: A write failed.
    """
    session = current_session(context)
    segment = session.borrow_segment()
    begin = segment.writer.end

    def run(writer: CatalogWriter) -> T:
        context.ensure_writable()
        space = SpaceChange(writer)
        result = change(JournaledCommit(context, writer, space, segment))
        segment.publish(writer, segment.writer.end)
        space.save()
        return result

    try:
        done = context.catalog.update(run)
    except StoreError:
        raise  # the outcome may be unknown: whoever opens the store next looks
    except BaseException:
        if segment.writer.end == begin:  # refused before anything was appended
            session.return_segment(segment)
        else:
            session.seal_segment(segment)
        raise
    session.return_segment(segment)
    return done
