"""A store's folder: making one, and opening its parts."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ebsim import failpoints
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
from ebsim.format.catalog_state import STATE_NAME
from ebsim.format.catalog_values import Counter, Table, number_key
from ebsim.format.segment import STORE_ID_SIZE
from ebsim.format.store_header import StoreHeader, decode_store_header, encode_store_header
from ebsim.storage.catalog import Catalog, CatalogWriter
from ebsim.storage.catalog_swap import CATALOG, finish_swap
from ebsim.storage.catalog_watch import CatalogWatch
from ebsim.storage.files import Files
from ebsim.storage.lmdb_catalog import LmdbCatalog
from ebsim.storage.locks import LockFile, Region
from ebsim.storage.reserve import Reserve
from ebsim.storage.segments import LocalSegmentStore, SegmentStore
from ebsim.storage.store_safety import KEYRING_FILES, ensure_safe, make_safe

HEADER_NAME = "store.json"
LOCK_NAME = "lock"
HEADER_SIZE_MAX = 65536
_PUT_BACK = (
    "put it back from a copy of the store (it never changes, so any copy will do); `ebsim rebuild` "
    "needs it too"
)
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
        make_safe(folder)
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
    watch = CatalogWatch(folder, files, LockFile(folder / LOCK_NAME), "")
    catalog = LmdbCatalog(folder / "catalog", watch=watch)
    try:
        catalog.update(lambda writer: _fill_catalog(writer, header))
    finally:
        catalog.close()
    files.sync_directory(folder / CATALOG)  # LMDB syncs what is in its file, not the file's name
    failpoints.reach("store.catalog-made")
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
    _ensure_no_segments(folder, files)
    if found := present & set(KEYRING_FILES):
        raise InvalidInputError(
            f"{folder} holds a keyring ({min(found)}) and no store: put the store back beside it, "
            "or make a store elsewhere and name the keyring with --keyring"
        )
    ours = {"segments", "catalog", LOCK_NAME, STATE_NAME, f".{HEADER_NAME}"}
    if foreign := present - ours:
        raise InvalidInputError(
            f"{folder} is not empty (it holds {min(foreign)}): a store needs a folder of its own"
        )


def _ensure_no_segments(folder: Path, files: Files) -> None:
    """Look whether a folder without `store.json` holds what is left of a store.

    Raises:
        CorruptionError: It does: it must be neither taken for none nor made anew.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        if files.list(folder / "segments"):
            raise CorruptionError(
                f"{folder / HEADER_NAME} is missing, and the segments beside it hold snapshots: "
                f"{_PUT_BACK}",
                ErrorCode.CORRUPT_CATALOG,
            )


def read_store_header(folder: Path, files: Files) -> StoreHeader:
    """Return what makes a folder a store, without opening any other part of it.

    Raises:
        NotFoundError, FormatVersionError, CorruptionError, StoreError: As `open_store`.
    """
    try:
        return _read_header(folder, files)
    except (FileNotFoundError, NotADirectoryError):
        _ensure_no_segments(folder, files)
        raise NotFoundError(
            f"there is no store at {folder}: name another with --store or EBSIM_STORE",
            ErrorCode.STORE_NOT_FOUND,
        ) from None
    except OSError as error:
        raise StoreError(f"cannot open the store {folder}: {error.strerror}") from error


def find_store(folder: Path, files: Files, entropy: Entropy, *, create: bool) -> StoreHeader:
    """Return what makes a folder a store; with `create`, make it one where it is none.

    Raises:
        NotFoundError: StoreNotFound.
        FormatVersionError: Another format version.
        CorruptionError: `store.json` is damaged.
        StoreError: It cannot be opened.
    """
    try:
        return _read_header(folder, files)
    except (FileNotFoundError, NotADirectoryError):
        _ensure_no_segments(folder, files)
        if not create:
            raise NotFoundError(
                f"there is no store at {folder}: make one with `ebsim init`, or name another with "
                "--store or EBSIM_STORE",
                ErrorCode.STORE_NOT_FOUND,
            ) from None
        with suppress(ConflictError):  # another process made it just now
            create_store(folder, files, entropy)
        return find_store(folder, files, entropy, create=False)
    except OSError as error:
        raise StoreError(f"cannot open the store {folder}: {error.strerror}") from error


def open_store(folder: Path, files: Files, header: StoreHeader, watch: CatalogWatch) -> StoreParts:
    """Open the parts of a store, for whose catalog somebody vouches.

    Raises:
        CorruptionError: The catalog is missing, or another store's.
        StoreError: It cannot be opened.
    """
    reserve = Reserve(folder / "reserve", files)
    try:
        catalog = _open_catalog(folder, files, header, watch)
        reserve.fill()
        locks = LockFile(folder / LOCK_NAME)
        segments = LocalSegmentStore(folder / "segments", files)
        return StoreParts(header, catalog, segments, locks, reserve)
    except OSError as error:
        raise StoreError(f"cannot open the store {folder}: {error.strerror}") from error


def settle_swap(folder: Path, files: Files) -> None:
    """Put a rebuilt catalog in its place, where the process that made it died before it could.

    Raises:
        OSError: It failed.
    """
    with suppress(FileNotFoundError):  # another process was faster
        if CATALOG not in files.list(folder):
            finish_swap(folder, files)


def _open_catalog(folder: Path, files: Files, header: StoreHeader, watch: CatalogWatch) -> Catalog:
    """Open the catalog, which must be there and this store's: an empty one would lose everything.

    Raises:
        CorruptionError: It is missing, or another store's.
        StoreError: It cannot be opened.
    """
    path = folder / CATALOG
    with suppress(FileNotFoundError):
        if "data.mdb" in files.list(path):
            catalog = LmdbCatalog(path, watch=watch)
            with catalog.read() as reader:
                if reader.get(Table.META, _STORE_KEY) == header.store_id:
                    return catalog
            catalog.close()
    raise not_this_store(path)


def not_this_store(path: Path) -> CorruptionError:
    """Return the error for a catalog that is not there, or another store's."""
    return CorruptionError(
        f"the catalog {path} is missing or not this store's; the segments beside it still hold "
        "everything: put the catalog back, or make it again with `ebsim rebuild`",
        ErrorCode.CORRUPT_CATALOG,
    )


def _read_header(folder: Path, files: Files) -> StoreHeader:
    ensure_safe(folder, files)
    file = files.open(folder / HEADER_NAME)
    try:
        return decode_store_header(file.read_at(0, HEADER_SIZE_MAX))
    except CorruptionError as error:
        raise CorruptionError(f"{folder / HEADER_NAME}: {error}; {_PUT_BACK}", error.code) from None
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
    failpoints.reach("store.header-synced")
    files.rename(temporary, folder / HEADER_NAME)
    failpoints.reach("store.named")
    files.sync_directory(folder)
    files.sync_directory(folder.parent)
