"""Damage done on purpose to a store's files, for tests of how it is found."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ebsim.format.block_hash import hash_block
from ebsim.format.segment import ALIGNMENT, RecordHeader, RecordKind, decode_record_header
from ebsim.format.store_header import decode_store_header
from ebsim.storage.catalog_watch import CatalogWatch
from ebsim.storage.files import PosixFiles
from ebsim.storage.locks import LockFile
from ebsim.storage.store_folder import LOCK_NAME
from ebsim.units import BLOCK_SIZE


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """A record in a segment file.

    Attributes:
        path: The segment file.
        header: The record's header, as it is there.
    """

    path: Path
    header: RecordHeader


def segment_files(store: Path) -> list[Path]:
    """Return the segment files of a store, sorted by name."""
    return sorted((store / "segments").glob("*.seg"))


def records_of(path: Path) -> Iterator[RecordPlace]:
    """Yield the records of a segment; holes are passed over.

    Raises:
        CorruptionError: What lies where a record should begin is none.
    """
    data = path.read_bytes()
    offset = ALIGNMENT
    while offset < len(data):
        if not any(data[offset : offset + ALIGNMENT]):
            offset += ALIGNMENT
            continue
        header = decode_record_header(data[offset : offset + ALIGNMENT])
        yield RecordPlace(path, header)
        offset += header.extent


def place_of_block(store: Path, content: bytes) -> RecordPlace:
    """Return where a store keeps the block with this content, padded with zeros.

    Raises:
        LookupError: It is not stored.
    """
    key = decode_store_header((store / "store.json").read_bytes()).hash_key
    wanted = hash_block(memoryview(content.ljust(BLOCK_SIZE, b"\0")), key)
    for path in segment_files(store):
        for place in records_of(path):
            if place.header.kind is RecordKind.BLOCK and place.header.block_hash == wanted:
                return place
    raise LookupError("no such block is stored")


def damage_block(store: Path, content: bytes) -> RecordPlace:
    """Flip a bit in the payload of the block with this content; return where it is."""
    place = place_of_block(store, content)
    flip_bit(place.path, 8 * (place.header.offset + 100))
    return place


def flip_bit(path: Path, number: int) -> None:
    """Flip a bit of a file in place: bit `number % 8` of byte `number // 8`."""
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        byte = os.pread(file, 1, number // 8)[0]
        os.pwrite(file, bytes([byte ^ 1 << number % 8]), number // 8)
    finally:
        os.close(file)


def vouch_for_catalog(store: Path) -> None:
    """Have a store take its catalog for what was closed last: as if the disk had altered it.

    Without this, a file that was written to since is proved when the store is opened.
    """
    watch = CatalogWatch(store, PosixFiles(), LockFile(store / LOCK_NAME), "")
    state = watch.read()
    watch.vouch(0 if state is None else state.commit)
