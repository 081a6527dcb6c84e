"""Checking managed volumes: their live data, and what the catalog tracks of them."""

from collections.abc import Iterator

from ebsim.core.context import StoreContext
from ebsim.errors import CorruptionError
from ebsim.format.catalog_values import Table, parse_number_key
from ebsim.format.records import VolumeRecord, decode_volume
from ebsim.reports import Finding
from ebsim.results import VolumeState
from ebsim.storage.catalog import CatalogReader


def check_tracking(reader: CatalogReader) -> Iterator[Finding]:
    """Look that each row of writes, or of blocks loaded, is a volume's that needs it."""
    volumes = {record.number: record for record in _managed(reader)}
    for table in (Table.VOLUME_WRITES, Table.VOLUME_LOADED):
        for key in reader.keys(table):
            volume = volumes.get(parse_number_key(key[:8]))
            if volume is None:
                wrong = "is of no volume"
            elif table is Table.VOLUME_LOADED and not volume.origin_hold:
                wrong = f"is of {volume.volume_id}, which has nothing to load"
            elif table is Table.VOLUME_WRITES and parse_number_key(key[8:16]) > volume.epoch:
                wrong = f"is of an epoch that {volume.volume_id} has not begun"
            else:
                continue
            message = f"the row {table.name.lower()}/{key.hex()} {wrong}"
            yield Finding(kind="wrong-reference", message=message)


def check_attachments(reader: CatalogReader) -> Iterator[Finding]:
    """Look that the volumes that are in use are those that are attached, each to its own device."""
    taken: dict[tuple[str, str], str] = {}
    for record in _managed(reader):
        attachment = record.attachment
        if (record.state == VolumeState.IN_USE) != (attachment is not None):
            message = f"{record.volume_id} is {record.state}, and its attachment is {attachment}"
            yield Finding(kind="wrong-reference", message=message)
        if attachment is not None:
            place = (attachment["instance_id"], attachment["device"])
            if place in taken:
                message = f"{record.volume_id} and {taken[place]} are both attached as {place}"
                yield Finding(kind="wrong-reference", message=message)
            taken[place] = record.volume_id


def check_volume_files(context: StoreContext) -> Iterator[Finding]:
    """Compare the files of live data with the volumes that should have some.

    Volumes may be made and deleted meanwhile: what looks wrong is looked at again.
    """
    wrong = _wrong_files(context)
    for name in sorted(wrong.keys() & _wrong_files(context).keys() if wrong else ()):
        yield wrong[name]


def _wrong_files(context: StoreContext) -> dict[str, Finding]:
    folder = context.volumes_folder
    try:
        is_there = folder.name in context.files.list(context.path)
        present = set(context.files.list(folder)) if is_there else set()
    except OSError as error:
        message = f"cannot list {folder}: {error.strerror}"
        return {"": Finding(kind="unreadable-folder", message=message)}
    with context.catalog.read() as reader:
        try:
            volumes = {record.volume_id: record for record in _managed(reader)}
        except CorruptionError:
            return {}  # that is told elsewhere
    found = {}
    for name in present:
        volume_id = name.partition(".")[0]
        if volume_id not in volumes:
            message = f"the file {folder / name} is of no volume"
            found[name] = Finding(kind="unknown-volume", message=message)
    for record in volumes.values():
        name = f"{record.volume_id}.data"
        if record.has_data and record.state != VolumeState.DELETING and name not in present:
            message = f"the live data of {record.volume_id} are missing: {folder / name}"
            found[name] = Finding(kind="missing-volume", message=message)
        elif record.data_bytes and name in present:
            found |= _short_file(context, record, name)
    return found


def _short_file(context: StoreContext, record: VolumeRecord, name: str) -> dict[str, Finding]:
    """Return a finding if a file of live data is shorter than what was flushed to it."""
    path = context.volumes_folder / name
    try:
        file = context.files.open(path)
        try:
            size = file.size()
        finally:
            file.close()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        return {name: Finding(kind="unreadable-volume", message=message)}
    if size >= record.data_bytes:
        return {}
    message = (
        f"the live data of {record.volume_id} were cut short: {path} has {size:,} bytes, and "
        f"{record.data_bytes:,} were flushed"
    )
    return {name: Finding(kind="short-volume", message=message)}


def _managed(reader: CatalogReader) -> Iterator[VolumeRecord]:
    for _, value in reader.items(Table.VOLUMES):
        record = decode_volume(value)
        if record.managed:
            yield record
