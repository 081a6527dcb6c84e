"""Dumping the files of managed volumes: their live data's size, intents, and kept blocks."""

import struct
from collections.abc import Iterator
from pathlib import Path

from ebsim.core.dump_folder import dump_folder
from ebsim.core.dump_items import DumpItem
from ebsim.errors import EbsimError
from ebsim.format.intent import INTENT, LOCAL_FLAG, intent_check
from ebsim.format.kept_block import KEPT_HEADER, SLOT_SIZE, decode_kept_slot
from ebsim.storage.files import File, Files


def dump_volume_files(files: Files, folder: Path) -> Iterator[DumpItem]:
    """Yield what lies in the folder of volumes, file by file; nothing where it is missing."""
    known = {".intents": _intents, ".kept": _slots}
    yield from dump_folder(files, folder / "volumes", "volume-file", known)


def _intents(volume_id: str, file: File) -> Iterator[DumpItem]:
    """Yield the entries of a file of intents; the first one is about the boot."""
    data = file.read_at(0, file.size())
    whole = len(data) // INTENT.size * INTENT.size
    for at, (number, check) in enumerate(INTENT.iter_unpack(data[:whole])):
        item: DumpItem = {"Kind": "intent", "Volume": volume_id, "Offset": at * INTENT.size}
        if at == 0:
            item["Boot"] = f"{number:016x}"
        elif number & LOCAL_FLAG:
            item["LocalBlock"] = number ^ LOCAL_FLAG
        else:
            item["Leaf"] = number
        if check != intent_check(volume_id, number):
            item["Damaged"] = "the checksum is wrong"
        yield item
    if whole < len(data):
        yield {"Kind": "intent", "Volume": volume_id, "Offset": whole, "Damaged": "it is cut off"}


def _slots(volume_id: str, file: File) -> Iterator[DumpItem]:
    """Yield the slots of a file of kept blocks."""
    for offset in range(0, file.size(), SLOT_SIZE):
        slot = memoryview(file.read_at(offset, SLOT_SIZE))
        item: DumpItem = {"Kind": "kept-block", "Volume": volume_id, "Offset": offset}
        try:
            found = decode_kept_slot(volume_id, slot)
            if found is not None:
                item["Block"], item["ThroughEpoch"] = found
        except (EbsimError, struct.error) as error:
            if len(slot) >= KEPT_HEADER.size:
                _, item["Block"], item["ThroughEpoch"], _ = KEPT_HEADER.unpack_from(slot)
            item["Damaged"] = str(error)
        yield item
