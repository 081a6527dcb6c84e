"""Encrypted records of a store, as whoever has its files but not its keys can read and forge them.

Such a one knows the format, and so gives a record that it changes a stored checksum that is right:
what refuses that is the seal alone.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import blake3
import xxhash

from ebsim.core.block_places import find_place
from ebsim.core.domains import list_domains, open_domain
from ebsim.core.snapshots import get_snapshot
from ebsim.engine import Store
from ebsim.format.segment import (
    RECORD_HEADER_SIZE,
    decode_record,
    encode_record,
)
from ebsim.ids import parse_snapshot_id
from ebsim.keys.wrapping import Binding
from ebsim.testing.damage import RecordPlace

FEW = 8
"""Bytes of no more different values are found by chance anywhere, and are not looked for."""


@dataclass(frozen=True, slots=True)
class SealedRecord(RecordPlace):
    """A record of a block, as it lies in a segment.

    Attributes:
        payload: What it seals, sealed.
    """

    payload: bytes

    @property
    def whole(self) -> bytes:
        """Its bytes, from the header to the end of the padding."""
        return b"".join(encode_record(self.header, self.payload))

    def forged(self, **fields: object) -> bytes:
        """Return it with other fields of its header and a stored checksum that fits."""
        header = replace(self.header, **fields)  # type: ignore[arg-type]
        return b"".join(encode_record(header, self.payload))

    def write(self, data: bytes) -> None:
        """Put these bytes in its place."""
        assert len(data) == self.header.extent
        with self.path.open("r+b") as file:
            file.seek(self.header.offset)
            file.write(data)


def record_of(store: Store, snapshot_id: str, index: int) -> SealedRecord:
    """Return the record of a block of a snapshot that is neither unwritten nor zeros."""
    context = store._context
    with context.catalog.read() as reader:
        root = get_snapshot(reader, parse_snapshot_id(snapshot_id)).root
        place = find_place(reader, root, index)
    assert place is not None
    path = store.path / "segments" / f"{place.segment_id.hex()}.seg"
    with path.open("rb") as file:
        file.seek(place.record.offset)
        data = file.read(place.record.extent)
    header, payload = decode_record(data, place.segment_id, place.record.offset)
    return SealedRecord(path, header, bytes(payload))


def data_keys(store: Store) -> list[bytes]:
    """Return all data keys of a store, which its keyring must open."""
    context = store._context
    with context.catalog.read() as reader:
        domains = list_domains(reader)
    found = []
    for domain in domains:
        assert open_domain(context, domain.number).data_key is not None
        binding = Binding(context.header.store_id, domain.data_key_id)  # type: ignore[arg-type]
        found.append(
            context.keyring().unwrap_data_key(
                domain.owner, domain.kms_key, bytes.fromhex(domain.wrapped), binding
            )
        )
    return found


def traces_of(content: bytes, store: Store) -> dict[str, bytes]:
    """Return what would tell of a block's content to whoever has no key: parts of it, and hashes.

    Args:
        content: The plain bytes of the block.
        store: Its store, whose hash key lies in `store.json`.
    """
    parts = {
        f"bytes at {at}": content[at : at + 48]
        for at in (0, 1000, len(content) // 2, len(content) - 48)
        if len(set(content[at : at + 48])) > FEW
    }
    hashes = {
        "SHA-256": hashlib.sha256(content).digest(),
        "SHA-512": hashlib.sha512(content).digest(),
        "SHA-1": hashlib.sha1(content).digest(),  # noqa: S324 - looked for, not used
        "MD5": hashlib.md5(content).digest(),  # noqa: S324 - as above
        "BLAKE2b": hashlib.blake2b(content, digest_size=32).digest(),
        "BLAKE3": blake3.blake3(content).digest(),
        "BLAKE3 under the store's key": blake3.blake3(
            content, key=store._context.header.hash_key
        ).digest(),
        "XXH3-128": xxhash.xxh3_128_digest(content),
        "XXH3-64": xxhash.xxh3_64_digest(content),
        "XXH64": xxhash.xxh64_digest(content),
    }
    return {**parts, **hashes}


def files_below(*folders: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield every file below some folders, with all its bytes; one that goes meanwhile is left."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            try:
                if path.is_file():
                    yield path, path.read_bytes()
            except FileNotFoundError:
                continue


def found_in(data: bytes, secrets: dict[str, bytes]) -> list[str]:
    """Return which secrets occur in some bytes: as they are, turned round, or in hex."""
    if not data.strip(b"\0"):
        return []
    return [
        name
        for name, secret in secrets.items()
        if secret in data or secret[::-1] in data or secret.hex().encode() in data
    ]


def flipped(record: SealedRecord, at: int, bits: int = 1) -> bytes:
    """Return a record with bits of one byte flipped, and with a stored checksum that fits.

    The checksum itself is left alone: a flip there is returned as it is.
    """
    from ebsim.format.checksum import CHECKSUM_SIZE, stored_checksum

    data = bytearray(record.whole)
    data[at] ^= bits
    head = RECORD_HEADER_SIZE - CHECKSUM_SIZE
    if not head <= at < RECORD_HEADER_SIZE:
        body = (bytes(data[:head]), bytes(data[RECORD_HEADER_SIZE:]))
        data[head:RECORD_HEADER_SIZE] = stored_checksum(body)
    return bytes(data)
