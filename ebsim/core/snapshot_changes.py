"""Changing what a snapshot's record says about it: sharing, locks, tiers."""

from collections.abc import Callable
from dataclasses import asdict

from ebsim.core.access import own_snapshot
from ebsim.core.changes import JournaledCommit, commit_journaled, writing
from ebsim.core.context import StoreContext
from ebsim.core.fast_restores import end_unusable, facts_of
from ebsim.core.snapshots import put_snapshot
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId
from ebsim.storage.catalog import CatalogReader, CatalogWriter

Change = Callable[[CatalogReader, SnapshotRecord], SnapshotRecord]
"""From a record to what it is to be. It refuses by raising, and may be called several times."""


def change_snapshot(
    context: StoreContext,
    snapshot_id: SnapshotId,
    change: Change,
    then: Callable[[CatalogWriter, SnapshotRecord], None] = lambda _writer, _record: None,
) -> SnapshotRecord:
    """Change the record of a snapshot of the caller's, and return it.

    The journal's entry names the members that change; a change that changes nothing writes nothing.

    Args:
        context: The store.
        snapshot_id: The snapshot.
        change: What to change.
        then: What else belongs to the same transaction; not called where nothing changes.

    Raises:
        NotFoundError, ForbiddenError: As `own_snapshot`.
        StoreError, LimitExceededError: A write failed.
        EbsimError: What `change` refuses; nothing is changed.
    """
    with context.catalog.read() as reader:
        present = own_snapshot(context, reader, snapshot_id)
        if change(reader, present) == present:
            return present

    def run(commit: JournaledCommit) -> SnapshotRecord:
        before = own_snapshot(context, commit.writer, snapshot_id)
        after = change(commit.writer, before)
        old, new = asdict(before), asdict(after)
        members = {name: value for name, value in new.items() if value != old[name]}
        put_snapshot(commit.writer, after)
        then(commit.writer, after)
        ended = facts_of(end_unusable(context, commit.writer, after))
        facts = {"snapshot_id": snapshot_id, "members": members, **ended}
        commit.journal("change-snapshot", facts)
        return after

    with writing(context):
        return commit_journaled(context, run)
