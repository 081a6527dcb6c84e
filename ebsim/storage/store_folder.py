"""A store's folder: making one, and opening its parts."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ebsim.entropy import Entropy
from ebsim.errors import (
    ConflictError,
    CorruptionError,
    ErrorCode,
    FormatVersionError,
    InvalidInputError,
    NotFoundError,
    StoreError,
)
from ebsim.format.block_hash import HASH_KEY_SIZE
from ebsim.format.catalog_values import Counter, Table, number_key
from ebsim.format.segment import STORE_ID_SIZE
from ebsim.format.store_header import StoreHeader, decode_store_header, encode_store_header
from ebsim.storage.catalog import Catalog, CatalogWriter
from ebsim.storage.catalog_swap import CATALOG, finish_swap
from ebsim.storage.files import Files
from ebsim.storage.lmdb_catalog import LmdbCatalog
from ebsim.storage.locks import LockFile, Region
from ebsim.storage.reserve import Reserve
from ebsim.storage.segments import LocalSegmentStore, SegmentStore

HEADER_NAME = "store.json"
LOCK_NAME = "lock"
HEADER_SIZE_MAX = 65536
_STORE_KEY = b"store"
"""Under which the catalog names the store it belongs to."""


@dataclass(frozen=True, slots=True)
class StoreParts:
    """The open parts of a store."""

    header: StoreHeader
    catalog: Catalog
    segments: SegmentStore
    locks: LockFile
    reserve: Reserve


def create_store(folder: Path, files: Files, entropy: Entropy) -> None:
    """Make a store in a folder that is missing or empty. `store.json` is written last.

    Raises:
        ConflictError: StoreExists.
        InvalidInputError: The folder holds something else, or is no folder.
        StoreError: It cannot be written.
    """
    try:
        files.make_directory(folder)
        _ensure_no_store(folder, files)
        with LockFile(folder / LOCK_NAME).hold(Region.RECLAIM):
            _create_in(folder, files, entropy)
    except (FileExistsError, NotADirectoryError) as error:
        raise InvalidInputError(f"{folder} is not a folder") from error
    except OSError as error:
        raise StoreError(f"cannot make a store in {folder}: {error.strerror}") from error


def _create_in(folder: Path, files: Files, entropy: Entropy) -> None:
    """Make the store, while holding the lock that keeps another process from doing so."""
    _ensure_no_store(folder, files)
    files.make_directory(folder / "segments")
    files.make_directory(folder / "catalog")
    header = StoreHeader(
        store_id=entropy.token_bytes(STORE_ID_SIZE), hash_key=entropy.token_bytes(HASH_KEY_SIZE)
    )
    catalog = LmdbCatalog(folder / "catalog")
    try:
        catalog.update(lambda writer: _fill_catalog(writer, header))
    finally:
        catalog.close()
    _write_header(folder, files, header)


def _fill_catalog(writer: CatalogWriter, header: StoreHeader) -> None:
    """Name the store the catalog belongs to, and begin its counters."""
    writer.put(Table.META, _STORE_KEY, header.store_id)
    for counter in Counter:
        writer.put(Table.META, counter.key, number_key(counter.first))


def _ensure_no_store(folder: Path, files: Files) -> None:
    present = set(files.list(folder))
    if HEADER_NAME in present:
        raise ConflictError(f"{folder} holds a store already", ErrorCode.STORE_EXISTS)
    if foreign := present - {"segments", "catalog", LOCK_NAME, f".{HEADER_NAME}"}:
        raise InvalidInputError(
            f"{folder} is not empty (it holds {min(foreign)}): a store needs a folder of its own"
        )


def read_store_header(folder: Path, files: Files) -> StoreHeader:
    """Return what makes a folder a store, without opening any other part of it.

    Raises:
        NotFoundError, FormatVersionError, CorruptionError, StoreError: As `open_store`.
    """
    try:
        return _read_header(folder, files)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(
            f"there is no store at {folder}: name another with --store or EBSIM_STORE",
            ErrorCode.STORE_NOT_FOUND,
        ) from None
    except OSError as error:
        raise StoreError(f"cannot open the store {folder}: {error.strerror}") from error


def open_store(folder: Path, files: Files, entropy: Entropy, *, create: bool) -> StoreParts:
    """Open the parts of a store.

    Raises:
        NotFoundError: StoreNotFound.
        FormatVersionError: Another format version.
        CorruptionError: `store.json` is damaged.
        StoreError: It cannot be opened.
    """
    try:
        header = _read_header(folder, files)
    except (FileNotFoundError, NotADirectoryError):
        if not create:
            raise NotFoundError(
                f"there is no store at {folder}: make one with `ebsim init`, or name another with "
                "--store or EBSIM_STORE",
                ErrorCode.STORE_NOT_FOUND,
            ) from None
        with suppress(ConflictError):  # another process made it just now
            create_store(folder, files, entropy)
        return open_store(folder, files, entropy, create=False)
    except OSError as error:
        raise StoreError(f"cannot open the store {folder}: {error.strerror}") from error
    reserve = Reserve(folder / "reserve", files)
    try:
        catalog = _open_catalog(folder, files, header)
        reserve.fill()
        locks = LockFile(folder / LOCK_NAME)
        segments = LocalSegmentStore(folder / "segments", files)
        return StoreParts(header, catalog, segments, locks, reserve)
    except OSError as error:
        raise StoreError(f"cannot open the store {folder}: {error.strerror}") from error


def _open_catalog(folder: Path, files: Files, header: StoreHeader) -> Catalog:
    """Open the catalog, which must be there and this store's: an empty one would lose everything.

    Raises:
        CorruptionError: It is missing, or another store's.
        StoreError: It cannot be opened.
    """
    path = folder / CATALOG
    with suppress(FileNotFoundError):  # another process was faster
        if CATALOG not in files.list(folder):
            finish_swap(folder, files)
    with suppress(FileNotFoundError):
        if "data.mdb" in files.list(path):
            catalog = LmdbCatalog(path)
            with catalog.read() as reader:
                if reader.get(Table.META, _STORE_KEY) == header.store_id:
                    return catalog
            catalog.close()
    raise CorruptionError(
        f"the catalog {path} is missing or not this store's; the segments beside it still hold "
        "everything: put the catalog back, or make it again with `ebsim rebuild`",
        ErrorCode.CORRUPT_CATALOG,
    )


def _read_header(folder: Path, files: Files) -> StoreHeader:
    file = files.open(folder / HEADER_NAME)
    try:
        return decode_store_header(file.read_at(0, HEADER_SIZE_MAX))
    except CorruptionError as error:
        raise CorruptionError(f"{folder / HEADER_NAME}: {error}", error.code) from None
    except FormatVersionError as error:
        raise FormatVersionError(f"{folder / HEADER_NAME}: {error}") from None
    finally:
        file.close()


def _write_header(folder: Path, files: Files, header: StoreHeader) -> None:
    temporary = folder / f".{HEADER_NAME}"
    with suppress(FileNotFoundError):
        files.remove(temporary)
    file = files.create(temporary)
    try:
        file.write_at(0, [encode_store_header(header)])
        file.sync()
    finally:
        file.close()
    files.rename(temporary, folder / HEADER_NAME)
    files.sync_directory(folder)
    files.sync_directory(folder.parent)
