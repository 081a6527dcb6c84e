"""Dumping what was put to snapshots that are written block by block, before they are made."""

from collections.abc import Iterator
from pathlib import Path

from ebsim.clock import format_time
from ebsim.core.dump_folder import dump_folder
from ebsim.core.dump_items import DumpItem
from ebsim.format.put_record import PUT_SIZE, PutCodec
from ebsim.storage.files import File, Files

_FOLDER = "started"


def dump_started_files(files: Files, folder: Path) -> Iterator[DumpItem]:
    """Yield what lies in the folder of started snapshots, file by file; nothing without a folder.

    The digests are shown as they are stored: those of an encrypted snapshot are hidden.
    """
    yield from dump_folder(files, folder / _FOLDER, "started-file", {".puts": _puts})


def _puts(snapshot_id: str, file: File) -> Iterator[DumpItem]:
    """Yield the records of a list of puts."""
    codec = PutCodec(snapshot_id, None)
    for offset in range(0, file.size(), PUT_SIZE):
        item: DumpItem = {"Kind": "put", "Snapshot": snapshot_id, "Offset": offset}
        record = codec.decode(offset, file.read_at(offset, PUT_SIZE))
        if record is None:
            item["Damaged"] = "the checksum is wrong"
        else:
            item["Block"], item["Time"] = record.index, format_time(record.time_us)
            item["StoredDigest"] = record.digest.hex()
        yield item
