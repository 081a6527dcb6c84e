"""What every writing operation is wrapped in, and commits of little but a journal entry.

with writing(context):                    poison after a failed write; events told at the end
    commit_journaled(context, change)     one transaction, with its entry in a segment
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from ebsim import failpoints
from ebsim.core.bin_clock import empty_bin
from ebsim.core.context import StoreContext
from ebsim.core.domains import domain_facts
from ebsim.core.events import deliver_events
from ebsim.core.journal import append_entry
from ebsim.core.sessions import OpenSegment, current_session
from ebsim.core.snapshots import find_snapshot
from ebsim.core.space import SpaceChange
from ebsim.errors import ErrorCode, OutcomeUnknownError, StoreError
from ebsim.format.catalog_values import Table
from ebsim.storage.catalog import CatalogReader, CatalogWriter

T = TypeVar("T")

JOURNALED = frozenset({Table.JOURNAL})
"""The effect of an operation that has an entry in the journal: the commit that has it."""

COPIED = frozenset({Table.BLOCKS, Table.PAGE_RECORDS, Table.VERSION_RECORDS, Table.JOURNAL})
"""That of one that moves records."""

BEGUN = frozenset({Table.PENDING_SNAPSHOTS})
"""That of one that begins snapshots."""

KEPT = frozenset({Table.VOLUMES, Table.VOLUME_WRITES, Table.VOLUME_LOADED})
"""That of one that changes a managed volume."""


@contextmanager
def writing(
    context: StoreContext, effect: frozenset[Table] = JOURNALED, *, expire: bool = True
) -> Iterator[None]:
    """Close a handle for writing when a write fails, and tell subscribers what was committed.

    The outermost thing that an operation does: nothing may be locked around it. Before it, what is
    due in the Recycle Bin goes for good, so that the operation finds the charges as they are.

    Args:
        context: The store.
        effect: The operation takes effect with a commit that changes one of these tables; what
            others change prepares it.
        expire: Whether to look into the Recycle Bin.

    Raises:
        OutcomeUnknownError: A commit failed; it says whether the operation happened.
    """
    if expire:
        _expire(context)
    try:
        yield
    except OutcomeUnknownError as error:
        told = _of_operation(error, effect)
        context.poison = context.poison or str(told)
        raise told from error
    except StoreError as error:
        if error.code != ErrorCode.STORE_CLOSED:
            context.poison = context.poison or str(error)
        raise
    finally:
        deliver_events(context)


def _expire(context: StoreContext) -> None:
    """Empty the Recycle Bin; where that fails, the operation did not happen."""
    try:
        empty_bin(context)
    except OutcomeUnknownError as error:
        raise _of_operation(error, frozenset()) from error


def _of_operation(error: OutcomeUnknownError, effect: frozenset[Table]) -> OutcomeUnknownError:
    """Return what the outcome of a commit says about the operation that it belongs to."""
    decisive = any(table.name in error.tables for table in effect)
    happened = error.happened if decisive else False
    what = {
        True: "The operation did happen",
        False: "The operation did not happen",
        None: "Whether the operation happened is not known: look",
    }
    message = f"{error}. {what[happened]}; open the store again to go on"
    return OutcomeUnknownError(message, error.code, happened, error.tables)


@dataclass(frozen=True, slots=True)
class JournaledCommit:
    """A transaction whose journal entry goes to a segment."""

    context: StoreContext
    writer: CatalogWriter
    space: SpaceChange
    segment: OpenSegment

    def journal(self, operation: str, facts: dict[str, Any]) -> int:
        """Append the journal's entry of this commit, and return its sequence number."""
        told = {**_domains_of(self.writer, facts), **facts}
        return append_entry(self.context, self.writer, self.space, self.segment, operation, told)


def _domains_of(reader: CatalogReader, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the wrapped data key of what an entry is about, if that is encrypted."""
    if "volume" in facts:
        return domain_facts(reader, facts["volume"].get("domain", 0))
    if "snapshot_id" in facts:
        snapshot = find_snapshot(reader, facts["snapshot_id"])
        return domain_facts(reader, snapshot.domain) if snapshot is not None else {}
    return {}


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
        failpoints.reach("change.before-commit")
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
    failpoints.reach("change.committed")
    session.return_segment(segment)
    return done
