"""What it means for a resource to be in the Recycle Bin (semantics section 11.8).

A deleted snapshot or volume, or a deregistered image, that a rule keeps stays in the catalog as it
is: with its map or its data, its charge and its place in the lineage, so that nothing has to be
moved and a restored one is what it was. Its record says how long (`recycled`), `Table.BIN_EXITS`
names it in the order of leaving, and whoever asks on behalf of a user does not find it
(`ebsim.core.access`).

So a snapshot in the bin is still the newest of its volume: the next one is incremental on it, as
EBS charges its blocks to it all the time (semantics section 2.3); when it goes for good, what the
next one needs moves there as at any deletion.
"""

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import TypeVar

from ebsim.core.access import owns
from ebsim.core.context import StoreContext
from ebsim.core.snapshots import find_snapshot
from ebsim.format.bin_records import Stay, parse_exit_key
from ebsim.format.catalog_values import Table
from ebsim.format.life_records import ImageRecord, decode_image
from ebsim.format.records import SnapshotRecord, VolumeRecord, decode_volume
from ebsim.ids import SnapshotId
from ebsim.results import VolumeState
from ebsim.storage.catalog import CatalogReader

BIN_TAG = "aws:recycle-bin:resource-in-bin"
"""What EC2 tags everything in the bin with."""

Record = TypeVar("Record", SnapshotRecord, ImageRecord, VolumeRecord)
Recyclable = SnapshotRecord | ImageRecord | VolumeRecord
"""What the bin keeps."""


def stay_of(record: Recyclable) -> Stay | None:
    """Return how long a resource is in the bin; None for one that is not there."""
    return None if record.recycled is None else Stay(**record.recycled)


def is_due(record: Recyclable, now_us: int) -> bool:
    """Return whether a resource is in the bin and its time is over."""
    stay = stay_of(record)
    return stay is not None and stay.exits_us <= now_us


def recycled(record: Record, stay: Stay) -> Record:
    """Return a record as it is in the bin."""
    tags = {**record.tags, BIN_TAG: "true"}
    return replace(record, recycled=asdict(stay), tags=tags)


def restored(record: Record) -> Record:
    """Return a record as it is when it comes back."""
    tags = {key: value for key, value in record.tags.items() if key != BIN_TAG}
    return replace(record, recycled=None, tags=tags)


def find_recycled(reader: CatalogReader, resource_id: str) -> Recyclable | None:
    """Return the record of a resource that is in the bin, or None."""
    record: Recyclable | None
    if resource_id.startswith("snap-"):
        record = find_snapshot(reader, SnapshotId(resource_id))
    elif resource_id.startswith("vol-"):
        value = reader.get(Table.VOLUMES, resource_id.encode())
        record = None if value is None else decode_volume(value)
        if record is not None and record.state != VolumeState.RECOVERABLE:
            return None  # its time was over: only its files are still there
    else:
        value = reader.get(Table.IMAGES, resource_id.encode())
        record = None if value is None else decode_image(value)
    return None if record is None or record.recycled is None else record


def all_recycled(reader: CatalogReader) -> Iterator[Recyclable]:
    """Yield all that is in the bin, also what is due, in the order of leaving."""
    for key in reader.keys(Table.BIN_EXITS):
        record = find_recycled(reader, parse_exit_key(key)[1])
        if record is not None:
            yield record


def own_recycled(context: StoreContext, reader: CatalogReader) -> list[Recyclable]:
    """Return what the caller has in the bin, in the order of leaving, and not what is due.

    What is due is gone, be it that its bytes are still there (`ebsim.core.bin_expiry`).
    """
    now = context.clock.now_us()
    return [
        record
        for record in all_recycled(reader)
        if owns(context.caller, record) and not is_due(record, now)
    ]


def anything_due(context: StoreContext) -> bool:
    """Return whether the time of something in the bin is over; one look-up."""
    with context.catalog.read() as reader:
        first = first_exit_us(reader)
    return first is not None and first <= context.clock.now_us()


def first_exit_us(reader: CatalogReader) -> int | None:
    """Return when the next thing leaves the bin; None: it is empty."""
    first = next(iter(reader.keys(Table.BIN_EXITS)), None)
    return None if first is None else parse_exit_key(first)[0]
