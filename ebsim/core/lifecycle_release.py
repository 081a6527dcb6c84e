"""A snapshot that comes back from the Recycle Bin and whose lifecycle policy is done with it.

A policy that deleted it would delete it again at its next run. So one that is restored when its
time, or its place in the count, is over is the policy's no more, and has to be deleted by hand: it
loses the tags by which policies know their snapshots (UG: a deletion by Data Lifecycle Manager into
the bin ends its management, if the snapshot is restored after the threshold).
"""

from dataclasses import replace

from ebsim.core.access import same_owner
from ebsim.core.context import StoreContext
from ebsim.core.lifecycle import policies_and_targets
from ebsim.core.lifecycle_plan import POLICY_TAG, expired_snapshots
from ebsim.core.snapshots import list_snapshots
from ebsim.format.records import SnapshotRecord
from ebsim.storage.catalog import CatalogReader

_DLM_PREFIX = "aws:dlm:"


def released(
    context: StoreContext, reader: CatalogReader, record: SnapshotRecord
) -> SnapshotRecord:
    """Return a snapshot as it is restored: without a policy's tags if that would delete it now."""
    if POLICY_TAG not in record.tags:
        return record
    others = [
        each
        for each in list_snapshots(reader)
        if same_owner(each, record)
        and each.recycled is None
        and each.snapshot_id != record.snapshot_id
    ]
    snapshots = [each.to_result() for each in (*others, record)]
    policies, targets = policies_and_targets(context, reader)
    now = context.clock.now_us()
    going = {
        each.snapshot_id
        for policy in policies
        for each in expired_snapshots(policy, targets, snapshots, {}, now)
    }
    if record.snapshot_id not in going:
        return record
    tags = {key: value for key, value in record.tags.items() if not key.startswith(_DLM_PREFIX)}
    return replace(record, tags=tags)
