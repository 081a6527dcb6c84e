"""Dump: a decoded view of every structure on disk, for people who look for the cause of something.

It opens nothing for writing, cleans up nothing and believes nothing: what does not decode is marked
`Damaged` and shown as far as it goes. The key of the block hash is never shown.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path

from ebsim.core.dump_catalog import dump_page, dump_table, dump_tables
from ebsim.core.dump_child import items_from_child
from ebsim.core.dump_items import HIDDEN, DumpItem, limited, plain
from ebsim.core.dump_segments import (
    dump_journal,
    dump_segment,
    dump_segment_header,
    segment_paths,
)
from ebsim.core.dump_started import dump_started_files
from ebsim.core.dump_volumes import dump_volume_files
from ebsim.errors import EbsimError, ErrorCode, InvalidInputError, NotFoundError
from ebsim.format.catalog_values import Table
from ebsim.format.records import decode_json
from ebsim.format.store_header import decode_store_header
from ebsim.storage.files import Files, PosixFiles

HEADER_SIZE_MAX = 64 * 1024

_SHOWN = frozenset({"magic", "format_version", "block_size", "store_id", "checksum"})
"""Members of store.json that may be shown: a damaged name must not give the key away."""

KINDS = ("store", "catalog", "segment", "page", "journal", "volume", "started")
"""What can be dumped; nothing but these."""


def dump(
    path: Path, kind: str, name: str | None, limit: int, files: Files | None = None
) -> Iterator[DumpItem]:
    """Yield the items of one kind of structure.

    Args:
        path: The store's folder.
        kind: One of `KINDS`: the store's header and an overview; the catalog's tables, or the one
            that is named; the segments, or the one that is named (32 hex digits, or as many as
            tell it from others); a page of block maps, by number; the journal; files of volumes;
            blocks of snapshots that are being written.
        name: Which one, where there are several.
        limit: How many entries, records or slots at most; 0 for all.
        files: Where the store lies.

    Raises:
        NotFoundError: There is no such folder, table or segment.
        InvalidInputError: A page without a number, or a name where there is only one.
    """
    files = files or PosixFiles(trust_others=True)  # it only shows them
    folder = path.absolute()
    _ensure_folder(files, folder)
    if name is not None and kind not in ("catalog", "segment", "page"):
        raise InvalidInputError(f"There is only one {kind}: '{name}' names nothing.")
    if kind in ("catalog", "page"):
        return items_from_child(_catalog_part(folder, kind, name, limit))
    if kind == "segment" and name is not None:
        return limited(dump_segment(files, _segment(files, folder, name)), limit, "records")
    parts = {
        "store": _overview,
        "segment": _segment_headers,
        "journal": _journal,
        "volume": _volume_files,
        "started": _started_files,
    }
    return parts[kind](files, folder, limit)


def _catalog_part(
    folder: Path, kind: str, name: str | None, limit: int
) -> Callable[[], Iterator[DumpItem]]:
    """Return what a child is to read of the catalog."""
    if kind == "catalog":
        if name is None:
            return partial(dump_tables, folder)
        return partial(dump_table, folder, _table(name), limit)
    if name is None or not name.isascii() or not name.isdigit():
        raise InvalidInputError("Say the number of a page: `ebsim dump page 7`.")
    return partial(dump_page, folder, int(name))


def _segment_headers(files: Files, folder: Path, limit: int) -> Iterator[DumpItem]:
    headers = (dump_segment_header(files, at) for at in segment_paths(files, folder))
    return limited(headers, limit, "segments")


def _journal(files: Files, folder: Path, limit: int) -> Iterator[DumpItem]:
    return limited(dump_journal(files, folder), limit, "entries")


def _volume_files(files: Files, folder: Path, limit: int) -> Iterator[DumpItem]:
    return limited(dump_volume_files(files, folder), limit, "files, intents and slots")


def _started_files(files: Files, folder: Path, limit: int) -> Iterator[DumpItem]:
    return limited(dump_started_files(files, folder), limit, "files and puts")


def _overview(files: Files, folder: Path, limit: int) -> Iterator[DumpItem]:
    return chain(
        [_store_header(files, folder)],
        items_from_child(partial(dump_tables, folder)),
        _segment_headers(files, folder, limit),
        _volume_files(files, folder, limit),
        _started_files(files, folder, limit),
    )


def _store_header(files: Files, folder: Path) -> DumpItem:
    item: DumpItem = {"Kind": "store", "File": "store.json"}
    try:
        file = files.open(folder / "store.json")
        try:
            data = file.read_at(0, HEADER_SIZE_MAX)
        finally:
            file.close()
        fields = plain(decode_json(data))
        item |= {name: found if name in _SHOWN else HIDDEN for name, found in fields.items()}
        decode_store_header(data)
    except OSError as error:
        item["Damaged"] = str(error.strerror)
    except EbsimError as error:
        item["Damaged"] = str(error)
    return item


def _ensure_folder(files: Files, folder: Path) -> None:
    try:
        present = set(files.list(folder))
    except OSError:
        present = set()
    if not present & {"store.json", "catalog", "segments"}:
        raise NotFoundError(f"there is no store at {folder}", ErrorCode.STORE_NOT_FOUND)


def _table(name: str) -> Table:
    try:
        return Table[name.upper()]
    except KeyError:
        known = ", ".join(table.name for table in Table)
        raise NotFoundError(f"There is no table '{name}'. There are: {known}.") from None


def _segment(files: Files, folder: Path, name: str) -> Path:
    found = [path for path in segment_paths(files, folder) if path.name.startswith(name)]
    if len(found) != 1:
        raise NotFoundError(f"'{name}' is the beginning of {len(found)} segments' ids, not of one.")
    return found[0]
