"""Dumping the catalog: every table with its keys and values decoded.

Nothing is believed: a value whose checksum is wrong, or that does not decode, is shown as bytes.
"""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ebsim.core.check_values import VALUE_DECODERS
from ebsim.core.dump_items import DumpItem, limited, plain
from ebsim.errors import EbsimError
from ebsim.format.catalog_values import Counter, Table, number_key, parse_number_key
from ebsim.format.life_records import decode_image
from ebsim.format.map_page import decode_page
from ebsim.format.proofs import PROOF_KEY, decode_proofs, parse_proof_key
from ebsim.format.records import decode_snapshot
from ebsim.ids import SnapshotId
from ebsim.storage.catalog_view import CatalogView, open_catalog_view

_SNAPSHOT_ID_SIZE = len("snap-") + 17
_NAMED = {
    Table.VOLUMES,
    Table.SNAPSHOTS,
    Table.PENDING_SNAPSHOTS,
    Table.IMAGES,
    Table.POLICIES,
    Table.ACCOUNTS,
    Table.BIN_RULES,
}
_NAME_AND_NUMBER = {
    Table.FAST_RESTORES,
    Table.VOLUME_SNAPSHOTS,
    Table.VOLUME_UNFINISHED,
    Table.VOLUME_ORIGINS,
    Table.PENDING_RANGES,
}
_LAYOUTS = {
    **dict.fromkeys((Table.CHILDREN, Table.OPEN_SEGMENTS, Table.VOLUME_LOADED), ">QQ"),
    Table.VOLUME_WRITES: ">QQQ",
    Table.LEDGER: ">QI",
    Table.PUNCH: ">IQ",
    Table.HASHES: ">16s",
    Table.SOURCES: ">32s",
}
"""Of the tables whose keys are neither text nor a number."""

_DECODERS: dict[Table, Callable[[bytes], object]] = {
    **VALUE_DECODERS,
    Table.SNAPSHOTS: decode_snapshot,
    Table.IMAGES: decode_image,
    Table.VOLUME_SNAPSHOTS: bytes.decode,
    Table.VOLUME_UNFINISHED: bytes.decode,
    Table.VOLUME_ORIGINS: bytes.decode,
    Table.PUNCH: lambda value: int.from_bytes(value, "little"),
    Table.PENDING_RANGES: lambda value: struct.unpack("<QQQQ", value),
}
_COUNTER_KEYS = frozenset(counter.key for counter in Counter)


def dump_tables(folder: Path) -> Iterator[DumpItem]:
    """Yield each table's name and how many entries it has."""
    with open_catalog_view(folder / "catalog") as view:
        for table in Table:
            item: DumpItem = {"Kind": "table", "Table": table.name}
            try:
                yield {**item, "Entries": view.count(table)}
            except EbsimError as error:
                yield {**item, "Damaged": str(error)}


def dump_table(folder: Path, table: Table, limit: int) -> Iterator[DumpItem]:
    """Yield the entries of a table."""
    with open_catalog_view(folder / "catalog") as view:
        yield from limited(_entries(view, table), limit, table.name)


def dump_page(folder: Path, number: int) -> Iterator[DumpItem]:
    """Yield a page of block maps: what it holds, and which pages and maps refer to it."""
    with open_catalog_view(folder / "catalog") as view:
        found = False
        for key, value, sound in view.entries(Table.PAGES):
            try:
                if key == number_key(number):
                    found = True
                    yield _entry(Table.PAGES, key, value, sound=sound)
                elif sound and number in decode_page(value):
                    yield {"Kind": "reference", "FromPage": _key(Table.PAGES, key)}
            except EbsimError:
                continue  # another page, which is damaged
        for name, value, sound in view.entries(Table.SNAPSHOTS):
            if sound and _root(value) == number:
                yield {"Kind": "reference", "FromSnapshot": SnapshotId(name.decode("ascii"))}
        if not found:
            yield {"Kind": "page", "Page": number, "Damaged": "no such page is in the catalog"}


def _root(value: bytes) -> int:
    try:
        return decode_snapshot(value).root
    except EbsimError:
        return 0


def _entries(view: CatalogView, table: Table) -> Iterator[DumpItem]:
    try:
        for key, value, sound in view.entries(table):
            yield _entry(table, key, value, sound=sound)
    except EbsimError as error:
        yield {"Kind": "entry", "Table": table.name, "Damaged": str(error)}


def _entry(table: Table, key: bytes, value: bytes, *, sound: bool) -> DumpItem:
    item: DumpItem = {"Kind": "entry", "Table": table.name, "Key": _key(table, key)}
    damage = "" if sound else "the checksum is wrong"
    try:
        item["Value"] = _value(table, key, value)
    except (EbsimError, ValueError, struct.error) as error:
        item["Value"] = value.hex()
        damage = damage or str(error)
    return {**item, "Damaged": damage} if damage else item


def _value(table: Table, key: bytes, value: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    if not value:
        return None
    if table is Table.META:
        if key in _COUNTER_KEYS:
            return parse_number_key(value)
        if key.startswith(PROOF_KEY):
            return plain(decode_proofs(value))
    decoder = _DECODERS.get(table)
    if decoder is None:
        return value.hex()
    found = plain(decoder(value))
    if table in (Table.PAGES, Table.VERSIONS):
        while found and not found[-1]:
            found.pop()  # a page always has 256 numbers, most of them 0 in a small volume
    return found


def _key(table: Table, key: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return a key as a text, a number or a list of both; in hex where it is neither."""
    try:
        if table in _NAMED:
            return key.decode("ascii")
        if table in _NAME_AND_NUMBER:
            return [key[:-8].decode("ascii"), parse_number_key(key[-8:])]
        decode = _KEYS.get(table)
        if decode is not None:
            return decode(key)
        return _numbers(struct.unpack(_LAYOUTS.get(table, ">Q"), key))
    except (EbsimError, ValueError, struct.error):
        return key.hex()


def _meta_key(key: bytes) -> Any:  # noqa: ANN401 - as above
    proved = key.startswith(PROOF_KEY)
    return ["proved", parse_proof_key(key)] if proved else key.decode("ascii")


_KEYS: dict[Table, Callable[[bytes], object]] = {
    Table.META: _meta_key,
    Table.IMAGE_SNAPSHOTS: lambda key: [
        key[:_SNAPSHOT_ID_SIZE].decode(),
        key[_SNAPSHOT_ID_SIZE:].decode(),
    ],
    Table.BIN_EXITS: lambda key: [parse_number_key(key[:8]), key[8:].decode("ascii")],
    Table.LEDGER_BY_SNAPSHOT: lambda key: [
        key[:-12].decode("ascii"),
        *struct.unpack(">QI", key[-12:]),
    ],
}


def _numbers(fields: tuple[Any, ...]) -> Any:  # noqa: ANN401 - as above
    found = plain(fields)
    return found[0] if len(found) == 1 else found
