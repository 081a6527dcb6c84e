"""Copies of volumes that are being made, and what their sources know of them.

A volume knows which copies of it are being made, and each copy which epoch of its source it ends
with; so whoever has the source open keeps for them what it overwrites. Where a copy failed, or its
process died, nobody does any more: only what is `creating` counts, whatever its source says.
"""

from dataclasses import replace

from ebsim.core.volume_records import find_managed, put_managed
from ebsim.format.records import VolumeRecord
from ebsim.ids import VolumeId
from ebsim.results import VolumeState
from ebsim.storage.catalog import CatalogReader, CatalogWriter


def is_unfinished(volume: VolumeRecord) -> bool:
    """Return whether a volume is a copy that is being made."""
    return bool(volume.source_volume) and volume.state == VolumeState.CREATING


def pending_copies(reader: CatalogReader, source: VolumeRecord) -> list[VolumeRecord]:
    """Return the copies of a volume that are being made, in the order they were begun."""
    known = [find_managed(reader, VolumeId(each)) for each in source.copies]
    return [
        each
        for each in known
        if each is not None and is_unfinished(each) and each.source_volume == source.volume_id
    ]


def with_copy(reader: CatalogReader, source: VolumeRecord, copy_id: VolumeId) -> VolumeRecord:
    """Return the record of a source of which a copy is begun: its writes begin a new epoch."""
    others = [each.volume_id for each in pending_copies(reader, source)]
    return replace(source, copies=[*others, copy_id], epoch=source.epoch + 1)


def note_copy_ended(writer: CatalogWriter, copy: VolumeRecord) -> None:
    """Have the source of a copy forget that it is being made, if it is a copy."""
    source = find_managed(writer, VolumeId(copy.source_volume)) if copy.source_volume else None
    if source is not None and copy.volume_id in source.copies:
        left = [each for each in source.copies if each != copy.volume_id]
        put_managed(writer, replace(source, copies=left))


def note_copy_lost(writer: CatalogWriter, copy_id: VolumeId, reason: str) -> None:
    """Note why the point in time of a copy does not exist any more; it will not be made."""
    copy = find_managed(writer, copy_id)
    if copy is not None and is_unfinished(copy) and not copy.source_failure:
        put_managed(writer, replace(copy, source_failure=reason))
