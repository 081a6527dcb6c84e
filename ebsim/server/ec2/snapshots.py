"""CreateSnapshot, DescribeSnapshots, DeleteSnapshot, CopySnapshot."""

from ebsim.config import SnapshotOptions
from ebsim.requests import SnapshotQuery
from ebsim.server.background import Begun
from ebsim.server.ec2 import documents
from ebsim.server.operations import OPERATIONS, Place, Served
from ebsim.server.protocol.wire import Document

FEW = 50
"""Snapshots that are found and told within about a millisecond."""


@OPERATIONS.add("ec2", "CreateSnapshot")
def create_snapshot(served: Served) -> Document:
    """Begin a snapshot of a volume; its point in time is fixed when this returns."""
    given = served.parameters
    options = SnapshotOptions(
        description=given.get("Description", ""), tags=documents.tags_for(given, "snapshot")
    )
    (made,) = served.store.create_snapshots([given["VolumeId"]], options)
    return documents.begun_snapshot(made)


def _where_described(served: Served) -> Place:
    """Some snapshots that are named, as tools ask until one is completed, are told at once."""
    given = served.parameters
    few = 0 < len(given.get("SnapshotIds", ())) <= FEW and "Filters" not in given
    return Place.LOOP if few and not served.store.is_anything_due else Place.WAITING


@OPERATIONS.add("ec2", "DescribeSnapshots", _where_described)
def describe_snapshots(served: Served) -> Document:
    """Return a page of snapshots."""
    given = served.parameters
    query = SnapshotQuery(
        snapshot_ids=given.get("SnapshotIds", ()),
        owner_ids=given.get("OwnerIds", ()),
        restorable_by=given.get("RestorableByUserIds", ()),
        filters=documents.filters(given),
        max_results=given.get("MaxResults"),
        next_token=given.get("NextToken"),
    )
    page = served.store.describe_snapshots(query)
    return documents.answer(
        Snapshots=[documents.snapshot(each) for each in page.snapshots],
        NextToken=page.next_token,
    )


@OPERATIONS.add("ec2", "DeleteSnapshot")
def delete_snapshot(served: Served) -> Document:
    """Delete a snapshot."""
    served.store.delete_snapshots([served.parameters["SnapshotId"]])
    return {}


@OPERATIONS.add("ec2", "CopySnapshot")
def copy_snapshot(served: Served) -> Document:
    """Begin a copy of a snapshot in the Region that is asked; it goes on after the answer."""
    given = served.parameters
    options = SnapshotOptions(
        description=given.get("Description", ""),
        tags=documents.tags_for(given, "snapshot"),
        encrypted=given.get("Encrypted"),
        kms_key_id=given.get("KmsKeyId"),
    )
    source, region, store = given["SourceSnapshotId"], given["SourceRegion"], served.store
    progress = served.background.progress

    def work(begun: Begun) -> str:
        return store.copy_snapshot(source, region, options, progress, begun).snapshot_id

    made = served.background.begin(f"copy of {source}", work)
    return {"SnapshotId": made, "Tags": documents.tag_list(options.all_tags)}
