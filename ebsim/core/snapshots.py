"""Snapshot records: finding, listing and keeping them, and the limits on what users may say."""

from ebsim import refusals
from ebsim.config import SnapshotOptions
from ebsim.core.tag_rules import check_tags
from ebsim.errors import ConflictError, ErrorCode, InvalidInputError
from ebsim.format.bin_records import exit_key
from ebsim.format.catalog_values import Table, number_key, parse_number_key
from ebsim.format.records import SnapshotRecord, decode_snapshot, encode_snapshot
from ebsim.ids import SnapshotId, VolumeId, parse_snapshot_id, parse_volume_id
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogReader, CatalogWriter

DESCRIPTION_LENGTH_MAX = 255

NO_SESSION = 0
"""The session of a pending snapshot that nobody is making."""


def get_snapshot(reader: CatalogReader, snapshot_id: SnapshotId) -> SnapshotRecord:
    """Return a snapshot's record.

    Raises:
        NotFoundError: There is none (EC2: InvalidSnapshot.NotFound).
    """
    record = find_snapshot(reader, snapshot_id)
    if record is None:
        raise refusals.snapshot_not_found(snapshot_id)
    return record


def find_snapshot(reader: CatalogReader, snapshot_id: SnapshotId) -> SnapshotRecord | None:
    """Return a snapshot's record, or None."""
    value = reader.get(Table.SNAPSHOTS, snapshot_id.encode())
    return None if value is None else decode_snapshot(value)


def get_present(reader: CatalogReader, snapshot_id: SnapshotId) -> SnapshotRecord:
    """Return a snapshot's record, unless it is in the Recycle Bin.

    Raises:
        NotFoundError: There is none, or it was deleted and only waits to go (section 1.1: what EC2
            answers is assumed).
    """
    return ensure_present(get_snapshot(reader, snapshot_id))


def ensure_present(record: SnapshotRecord) -> SnapshotRecord:
    """Return the record of a snapshot that is not in the Recycle Bin.

    Raises:
        NotFoundError: It is.
    """
    if record.recycled is not None:
        raise refusals.snapshot_recycled(record.snapshot_id)
    return record


def get_completed(reader: CatalogReader, snapshot_id: SnapshotId) -> SnapshotRecord:
    """Return the record of a snapshot that is completed.

    Raises:
        NotFoundError: There is none, or it is in the Recycle Bin.
        ConflictError: It is pending or ended as `error` (EC2: IncorrectState).
    """
    record = get_present(reader, snapshot_id)
    if record.state != SnapshotState.COMPLETED:
        raise refusals.snapshot_not_completed(snapshot_id, record.state)
    return record


def get_pending(reader: CatalogReader, snapshot_id: SnapshotId) -> SnapshotRecord:
    """Return the record of a snapshot that is being made.

    Raises:
        NotFoundError, ConflictError: It was abandoned, because its store was closed meanwhile.
    """
    record = get_snapshot(reader, snapshot_id)
    if record.state != SnapshotState.PENDING:
        raise ConflictError(f"The snapshot '{snapshot_id}' is not being made any more.")
    return record


def put_snapshot(writer: CatalogWriter, record: SnapshotRecord) -> None:
    """Keep a snapshot's record, whether it is pending, and once completed, that its volume has it.

    So nobody has to look at all snapshots to find the few that are pending, or a volume's last.
    """
    name = record.snapshot_id.encode()
    writer.put(Table.SNAPSHOTS, name, encode_snapshot(record))
    slot = record.volume_id.encode() + number_key(record.begun)
    if record.state == SnapshotState.PENDING or record.deletion_wanted:
        writer.put(Table.PENDING_SNAPSHOTS, name, number_key(record.session))
        writer.put(Table.VOLUME_UNFINISHED, slot, name)
    else:
        writer.delete(Table.PENDING_SNAPSHOTS, name)
        if record.state == SnapshotState.ERROR:
            writer.put(Table.VOLUME_UNFINISHED, slot, name)
        else:
            writer.delete(Table.VOLUME_UNFINISHED, slot)
    if record.node:
        key = record.volume_id.encode() + number_key(record.node)
        writer.put(Table.VOLUME_SNAPSHOTS, key, record.snapshot_id.encode())
    if record.tiering is not None:
        due = tier_due_us(record)
        if due is None:
            writer.delete(Table.META, tier_due_key(record.snapshot_id))
        else:
            writer.put(Table.META, tier_due_key(record.snapshot_id), number_key(due))
    if record.recycled is not None:
        writer.put(Table.BIN_EXITS, exit_key(record.recycled["exits_us"], record.snapshot_id), b"")


def drop_snapshot(writer: CatalogWriter, record: SnapshotRecord) -> None:
    """Forget a snapshot's record."""
    writer.delete(Table.SNAPSHOTS, record.snapshot_id.encode())
    writer.delete(Table.PENDING_SNAPSHOTS, record.snapshot_id.encode())
    slot = record.volume_id.encode() + number_key(record.begun)
    writer.delete(Table.VOLUME_UNFINISHED, slot)
    if record.tiering is not None:
        writer.delete(Table.META, tier_due_key(record.snapshot_id))
    if record.recycled is not None:
        key = exit_key(record.recycled["exits_us"], record.snapshot_id)
        writer.delete(Table.BIN_EXITS, key)
    if record.node:
        writer.delete(Table.VOLUME_SNAPSHOTS, record.volume_id.encode() + number_key(record.node))


TIER_DUE = b"tier-due/"
"""What the keys in META begin with that say when a snapshot next moves between the tiers."""


def tier_due_key(snapshot_id: str) -> bytes:
    """Return the key in META that says when a snapshot next moves between the tiers."""
    return TIER_DUE + snapshot_id.encode("ascii")


def tier_due_us(record: SnapshotRecord) -> int | None:
    """Return when a snapshot next moves between the tiers by itself; None: it does not."""
    tiering = record.tiering
    if tiering is None:
        return None
    if tiering["progress"] == "in-progress":
        return int(tiering["ends_us"])
    return int(tiering["expires_us"]) or None


def newest_of_volume(reader: CatalogReader, volume_id: VolumeId) -> SnapshotRecord | None:
    """Return the most recent live snapshot of a volume, or None.

    One that is in the archive, or was restored from it, is full and shares with none of the others:
    it is no parent of the next one (semantics section 2.4; EBS documents the first half only).
    """
    prefix = volume_id.encode()
    for _, value in reader.items(Table.VOLUME_SNAPSHOTS, prefix=prefix, reverse=True):
        record = get_snapshot(reader, SnapshotId(value.decode()))
        if not record.is_archived and not record.apart:
            return record
    return None


def snapshots_of_volume(reader: CatalogReader, volume_id: VolumeId) -> list[SnapshotRecord]:
    """Return the completed snapshots of a volume, in the order of their completion."""
    found = reader.items(Table.VOLUME_SNAPSHOTS, prefix=volume_id.encode())
    return [get_snapshot(reader, SnapshotId(value.decode())) for _, value in found]


def pending_snapshots(reader: CatalogReader, session: int) -> list[SnapshotId]:
    """Return the snapshots that a session is making."""
    return [
        SnapshotId(key.decode())
        for key, value in reader.items(Table.PENDING_SNAPSHOTS)
        if parse_number_key(value) == session
    ]


def all_pending(reader: CatalogReader) -> list[SnapshotId]:
    """Return the pending snapshots, and those that are to be deleted once they are completed."""
    return [SnapshotId(key.decode()) for key, _ in reader.items(Table.PENDING_SNAPSHOTS)]


def deletions_wanted(reader: CatalogReader) -> list[SnapshotId]:
    """Return the completed snapshots that were deleted while they were pending."""
    found = []
    for snapshot_id in all_pending(reader):
        record = get_snapshot(reader, snapshot_id)
        if record.state == SnapshotState.COMPLETED and record.deletion_wanted:
            found.append(record.snapshot_id)
    return found


def list_snapshots(reader: CatalogReader) -> list[SnapshotRecord]:
    """Return all snapshots in the order of completion; those not completed, of their beginning."""
    records = [decode_snapshot(value) for _, value in reader.items(Table.SNAPSHOTS)]
    return sorted(records, key=lambda record: record.node or record.begun)


def check_options(options: SnapshotOptions) -> None:
    """Check what a user says about a snapshot (semantics section 1.5).

    Raises:
        InvalidInputError: A description or tag is too long, a key is empty or begins with `aws:`,
            there are too many tags, or options contradict each other.
    """
    if len(options.description) > DESCRIPTION_LENGTH_MAX:
        raise InvalidInputError(
            f"The description has {len(options.description)} characters; "
            f"at most {DESCRIPTION_LENGTH_MAX} are allowed."
        )
    check_tags(options.tags)
    if options.volume_id is not None:
        parse_volume_id(options.volume_id)
    if options.parent is not None:
        parse_snapshot_id(options.parent)
    if options.parent is not None and options.volume_id is not None:
        raise InvalidInputError(
            "A parent starts a new volume, so it cannot be given together with a volume.",
            ErrorCode.INVALID_PARAMETER_COMBINATION,
        )
    if options.new_volume and options.volume_id is not None:
        raise InvalidInputError(
            "A new volume cannot be asked for together with the id of a known one.",
            ErrorCode.INVALID_PARAMETER_COMBINATION,
        )
