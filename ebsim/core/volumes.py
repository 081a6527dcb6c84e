"""Volumes of scanned sources: which lineage the next snapshot of a source continues."""

import hashlib
from dataclasses import dataclass, replace

from ebsim import refusals
from ebsim.caller import Caller
from ebsim.config import SnapshotOptions
from ebsim.core.access import own_snapshot, owns, usable_snapshot
from ebsim.core.context import StoreContext
from ebsim.core.counters import take
from ebsim.core.encryption import Preparation, ensure_same_encryption
from ebsim.core.snapshots import newest_of_volume
from ebsim.errors import ErrorCode, InvalidInputError
from ebsim.format.catalog_values import Counter, Table
from ebsim.format.records import (
    SnapshotRecord,
    VolumeRecord,
    decode_json,
    decode_volume,
    encode_json,
    encode_volume,
)
from ebsim.ids import VolumeId, new_volume_id
from ebsim.storage.catalog import CatalogReader, CatalogWriter
from ebsim.units import VOLUME_SIZE_MAX, format_size


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a snapshot of a source builds on.

    Attributes:
        volume: The volume, known or new.
        parent: The snapshot it is incremental on, None for a full one.
    """

    volume: VolumeRecord
    parent: SnapshotRecord | None


def get_volume(reader: CatalogReader, volume_id: VolumeId) -> VolumeRecord:
    """Return a volume's record.

    Raises:
        NotFoundError: There is none (EC2: InvalidVolume.NotFound).
    """
    value = reader.get(Table.VOLUMES, volume_id.encode())
    if value is None:
        raise refusals.volume_not_found(volume_id)
    return decode_volume(value)


def find_volume(context: StoreContext, reader: CatalogReader, identity: str) -> VolumeRecord | None:
    """Return the volume that the caller's snapshots of a source belong to, or None."""
    value = reader.get(Table.SOURCES, source_key(context.acting, identity))
    return None if value is None else get_volume(reader, decode_json(value)["volume_id"])


def put_volume(writer: CatalogWriter, volume: VolumeRecord) -> None:
    """Keep a volume, and that its source is remembered as it."""
    writer.put(Table.VOLUMES, volume.volume_id.encode(), encode_volume(volume))
    facts = {"identity": volume.source, "volume_id": volume.volume_id}
    owner = Caller(volume.owner, volume.region)
    writer.put(Table.SOURCES, source_key(owner, volume.source), encode_json(facts))


def continue_volume(
    context: StoreContext,
    writer: CatalogWriter,
    identity: str,
    size_bytes: int,
    options: SnapshotOptions,
    prepared: Preparation,
) -> Continuation:
    """Decide which volume a source is, and what its next snapshot is incremental on.

    Args:
        context: The store.
        writer: The transaction; a new volume is kept in it.
        identity: The source's name: its real path.
        size_bytes: Its size now.
        options: `volume_id`, `new_volume`, `parent` and what it says of encryption count here.
        prepared: How a new volume is encrypted.

    Raises:
        InvalidInputError: The source shrank, is larger than 64 TiB, or is known although a parent
            was given.
        NotFoundError: The volume or parent named does not exist.
        ConflictError: The parent is not completed.
    """
    if size_bytes > VOLUME_SIZE_MAX:
        raise InvalidInputError(
            f"{identity} has {format_size(size_bytes)}; a volume has at most 64 TiB."
        )
    known = find_volume(context, writer, identity)
    if options.volume_id is not None:
        known = get_volume(writer, options.volume_id)
        if not owns(context.caller, known):
            raise refusals.volume_not_found(options.volume_id)
    if options.parent is not None and known is not None and not options.new_volume:
        raise InvalidInputError(
            f"{identity} is known as volume {known.volume_id}: a parent can be given only to the "
            "first snapshot of a volume (use --new-volume to start another).",
            ErrorCode.INVALID_PARAMETER_COMBINATION,
        )
    if known is None or options.new_volume:
        return _start_volume(context, writer, identity, size_bytes, options, prepared)
    newest = newest_of_volume(writer, known.volume_id)
    if newest is not None and not known.domain:  # copies have keys that their volume does not know
        known = replace(known, domain=newest.domain, kms_key=newest.kms_key)
    ensure_same_encryption(options.encryption, known.volume_id, known.kms_key)
    if size_bytes < known.size_bytes:
        raise InvalidInputError(
            f"{identity} shrank: it has {size_bytes} bytes, and volume {known.volume_id} had "
            f"{known.size_bytes}. A volume cannot shrink; use --new-volume to start another.",
            ErrorCode.SOURCE_SHRUNK,
        )
    volume = replace(known, source=identity)
    before = find_volume(context, writer, known.source)
    if before is not None and before.volume_id == known.volume_id:
        writer.delete(
            Table.SOURCES, source_key(context.acting, known.source)
        )  # it may have moved from there
    put_volume(writer, volume)
    return Continuation(volume, newest)


def _start_volume(
    context: StoreContext,
    writer: CatalogWriter,
    identity: str,
    size_bytes: int,
    options: SnapshotOptions,
    prepared: Preparation,
) -> Continuation:
    parent = None
    if options.parent is not None:
        own_snapshot(context, writer, options.parent)
        parent = usable_snapshot(context, writer, options.parent)
    if parent is not None and size_bytes < parent.size_bytes:
        raise InvalidInputError(
            f"{identity} has {size_bytes} bytes, fewer than snapshot {parent.snapshot_id} with "
            f"{parent.size_bytes}: it cannot be a volume made from it.",
            ErrorCode.SOURCE_SHRUNK,
        )
    volume = VolumeRecord(
        volume_id=new_volume_id(context.entropy),
        number=take(writer, Counter.VOLUME),
        source=identity,
        size_bytes=0,
        created_us=context.clock.now_us(),
        owner=context.acting.account,
        region=context.acting.region,
        domain=prepared.settle(writer),
        kms_key=prepared.kms_key,
    )
    put_volume(writer, volume)
    if parent is not None and parent.domain != volume.domain:
        parent = None  # under another data key it begins with a full snapshot
    return Continuation(volume, parent)


def source_key(owner: Caller, identity: str) -> bytes:
    """Return a key of fixed length for a source of an account in a Region."""
    name = f"{owner.account}/{owner.region}/{identity}"
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
