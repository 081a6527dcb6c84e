"""The blocks of started snapshots, until these are made.

SNAPSHOT_ID.data    the blocks at their offsets; of an encrypted snapshot, encrypted
SNAPSHOT_ID.puts    which blocks were put, when, and their digests (`ebsim.format.put_record`)

Both are in `STORE/started`. A put is in the page cache when it returns, as a volume's write is: it
survives its process. All is synced before the snapshot is sealed. What a crash of the machine lost
of a block does not have its digest, and is found when the snapshot is made.
"""

import hashlib
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ebsim import started_refusals as refusals
from ebsim.core.context import StoreContext
from ebsim.core.domains import open_domain
from ebsim.core.leftovers import STARTED
from ebsim.core.open_domains import Domain
from ebsim.errors import CorruptionError, ErrorCode
from ebsim.format.catalog_values import Table
from ebsim.format.put_record import PUT_SIZE, PutCodec, PutRecord
from ebsim.format.records import SnapshotRecord
from ebsim.format.sealing import derive_key
from ebsim.ids import SnapshotId
from ebsim.storage.catalog import CatalogReader, CatalogWriter
from ebsim.storage.failures import read_failure, write_failure
from ebsim.storage.files import Buffer, File, Files
from ebsim.storage.locks import Lock, named_region
from ebsim.storage.sealed_file import SealedFile, SectorCiphers
from ebsim.units import BLOCK_SIZE

STRIPES = 16
_READ_PUTS = 16_384
KINDS = ("data", "puts")


FOLDER = "started"


def folder_of(context: StoreContext) -> Path:
    """Return where the blocks of started snapshots lie."""
    return context.path / FOLDER


def noted(reader: CatalogReader) -> list[SnapshotId]:
    """Return the started snapshots that may have files: the catalog notes them until these go."""
    return [
        SnapshotId(key.removeprefix(STARTED).decode())
        for key, _ in reader.items(Table.META, prefix=STARTED)
    ]


def note(writer: CatalogWriter, snapshot_id: SnapshotId) -> None:
    """Note that a started snapshot has files."""
    writer.put(Table.META, STARTED + snapshot_id.encode(), b"")


def forget(writer: CatalogWriter, snapshot_ids: Iterable[SnapshotId]) -> None:
    """Note that the files of started snapshots are removed."""
    for each in snapshot_ids:
        writer.delete(Table.META, STARTED + each.encode())


def ids_present(files: Files, path: Path) -> set[SnapshotId]:
    """Return which snapshots have files among the started ones of the store at `path`.

    Raises:
        StoreError: They cannot be listed.
    """
    folder = path / FOLDER
    try:
        if FOLDER not in files.list(path):
            return set()
        return {SnapshotId(name.partition(".")[0]) for name in files.list(folder)}
    except OSError as error:
        raise read_failure(error, folder) from error


def discard_all(files: Files, path: Path) -> None:
    """Remove the files of all started snapshots: a rebuild has forgotten them.

    Raises:
        StoreError: They cannot be removed.
    """
    for each in ids_present(files, path):
        _remove(files, path / FOLDER, each)


def last_put_us(context: StoreContext, snapshot_id: SnapshotId) -> int:
    """Return when the last block was put to a snapshot; 0: none was, or it is not known."""
    try:
        file = context.files.open(folder_of(context) / f"{snapshot_id}.puts")
    except OSError:
        return 0
    try:
        end = file.size() // PUT_SIZE * PUT_SIZE
        codec = PutCodec(snapshot_id, None)  # a time is not hidden
        while end:
            end -= PUT_SIZE
            found = codec.decode(end, file.read_at(end, PUT_SIZE))
            if found is not None:
                return found.time_us
        return 0
    finally:
        file.close()


def lock_started(context: StoreContext, snapshot_id: SnapshotId) -> Lock | None:
    """Return the lock of who writes a started snapshot; None: another has it."""
    return context.locks.try_hold(named_region(f"started {snapshot_id}"))


def hold_started(context: StoreContext, snapshot_id: SnapshotId) -> Lock:
    """Return the lock of who writes a started snapshot, waiting for it."""
    return context.locks.hold(named_region(f"started {snapshot_id}"))


def remove_files(context: StoreContext, snapshot_id: SnapshotId) -> None:
    """Remove the files of a started snapshot; the caller has its lock.

    Raises:
        StoreError: They cannot be removed.
    """
    _remove(context.files, folder_of(context), snapshot_id)


def _remove(files: Files, folder: Path, snapshot_id: SnapshotId) -> None:
    try:
        for kind in KINDS:
            with suppress(FileNotFoundError):
                files.remove(folder / f"{snapshot_id}.{kind}")
    except OSError as error:
        raise write_failure(error, folder / snapshot_id) from error


@dataclass(slots=True, eq=False)
class Staging:
    """The open files of a started snapshot. For several threads.

    Attributes:
        path: Of its blocks.
        data: Its blocks, as plain bytes.
        puts: The list of puts.
        codec: Of that list.
        lock: Held while they are open.
        digests: Block index to digest.
        last_us: When the last block was put, or 0.
    """

    path: Path
    data: File
    puts: File
    codec: PutCodec
    lock: Lock
    digests: dict[int, bytes] = field(default_factory=dict)
    last_us: int = 0
    _end: int = 0
    _sealed: bool = False
    _mutex: threading.Lock = field(default_factory=threading.Lock)
    _stripes: tuple[threading.Lock, ...] = field(
        default_factory=lambda: tuple(threading.Lock() for _ in range(STRIPES))
    )

    def put(self, index: int, block: Buffer, digest: bytes, now_us: int) -> bool:
        """Keep a block; return False if the snapshot was sealed meanwhile.

        Raises:
            LimitExceededError, StoreError: It cannot be written.
        """
        with self._stripes[index % STRIPES]:
            if self._sealed:
                return False
            try:
                self.data.write_at(index * BLOCK_SIZE, (block,))
                with self._mutex:
                    record = PutRecord(index, now_us, digest)
                    self.puts.write_at(self._end, (self.codec.encode(self._end, record),))
                    self._end += PUT_SIZE
                    self.digests[index] = digest
                    self.last_us = max(self.last_us, now_us)
            except OSError as error:
                raise write_failure(error, self.path) from error
        return True

    def freeze(self) -> tuple[int, bytes]:
        """Take no more blocks; return how many there are, and their LINEAR checksum."""
        with ExitStack() as stack:
            for stripe in self._stripes:
                stack.enter_context(stripe)
            self._sealed = True
        return len(self.digests), self.checksum()

    def thaw(self) -> None:
        """Take blocks again."""
        self._sealed = False

    def checksum(self) -> bytes:
        """Return SHA-256 of the raw digests, ascending by index (semantics section 11.9)."""
        state = hashlib.sha256()
        for index in sorted(self.digests):
            state.update(self.digests[index])
        return state.digest()

    def sync(self) -> None:
        """Make all blocks durable.

        Raises:
            StoreError: The device failed.
        """
        try:
            self.data.sync()
            self.puts.sync()
        except OSError as error:
            raise write_failure(error, self.path) from error

    def load(self) -> None:
        """Read the list of puts; what a crash left behind its last whole record is cut off.

        Raises:
            StoreError: It cannot be read.
        """
        try:
            size = self.puts.size()
            while self._end < size:
                data = self.puts.read_at(self._end, PUT_SIZE * _READ_PUTS)
                if not self._take(data):
                    break
            if self._end < size:
                self.puts.truncate(self._end)
        except OSError as error:
            raise read_failure(error, self.path.with_suffix(".puts")) from error

    def _take(self, data: bytes) -> bool:
        """Take records; return whether all were whole."""
        for at in range(0, len(data), PUT_SIZE):
            record = self.codec.decode(self._end, data[at : at + PUT_SIZE])
            if record is None:
                return False
            self.digests[record.index] = record.digest
            self.last_us = max(self.last_us, record.time_us)
            self._end += PUT_SIZE
        return True

    def close(self) -> None:
        """Close the files and let others have them."""
        self.data.close()
        self.puts.close()
        self.lock.release()


def create_files(context: StoreContext, snapshot_id: SnapshotId) -> None:
    """Make the files of a snapshot that is about to be started; the caller has its lock.

    They come before the catalog knows of it, so that who finds no files need not look there.

    Raises:
        StoreError, LimitExceededError: They cannot be made.
    """
    folder = folder_of(context)
    try:
        context.files.make_directory(folder)
        for kind in KINDS:
            context.files.create(folder / f"{snapshot_id}.{kind}").close()
        context.files.sync_directory(folder)
        context.files.sync_directory(folder.parent)
    except OSError as error:
        raise write_failure(error, folder / snapshot_id) from error


def open_staging(context: StoreContext, record: SnapshotRecord) -> Staging:
    """Open the files of a started snapshot.

    Args:
        context: The store.
        record: The snapshot.

    Raises:
        ConflictError: Another process has them open.
        CorruptionError: They are gone.
        StoreError: They cannot be opened.
        EbsimError: It is encrypted, and its key cannot be had.
    """
    name = record.snapshot_id
    domain = open_domain(context, record.domain)
    lock = lock_started(context, name)
    if lock is None:
        raise refusals.being_written_elsewhere(name)
    path = folder_of(context) / f"{name}.data"
    try:
        data = context.files.open(path, writable=True)
        puts = context.files.open(path.with_suffix(".puts"), writable=True)
    except FileNotFoundError as error:
        lock.release()
        raise CorruptionError(
            f"the blocks of {name} are gone: {error.filename} is missing; delete the snapshot, and "
            "start another",
            ErrorCode.CORRUPT_VOLUME,
        ) from error
    except OSError as error:
        lock.release()
        raise read_failure(error, path) from error
    data, codec = _decoders(name, domain, data)
    staging = Staging(path, data, puts, codec, lock)
    try:
        staging.load()
    except BaseException:
        staging.close()
        raise
    return staging


def _decoders(name: SnapshotId, domain: Domain, data: File) -> tuple[File, PutCodec]:
    """Return the blocks of a started snapshot as plain bytes, and what reads its list of puts."""
    if domain.data_key is None:
        return data, PutCodec(name, None)
    key = derive_key(domain.data_key.block_hash_key(), b"", b"started " + name.encode())
    return SealedFile(data, SectorCiphers(domain.data_key.sector_cipher(name))), PutCodec(name, key)


@contextmanager
def reading_staging(
    context: StoreContext, record: SnapshotRecord
) -> Iterator[tuple[File, dict[int, bytes], bool]]:
    """Return a context with the blocks of a started snapshot, for looking at them only.

    Beside the file of blocks there are the digest of each block that was put, and whether the list
    of puts is whole. Others may put blocks meanwhile.

    Raises:
        StoreError: They cannot be read.
        EbsimError: It is encrypted, and its key cannot be had.
    """
    name = record.snapshot_id
    path = folder_of(context) / f"{name}.data"
    domain = open_domain(context, record.domain)
    with ExitStack() as stack:
        try:
            data = context.files.open(path)
            stack.callback(data.close)
            puts = context.files.open(path.with_suffix(".puts"))
            stack.callback(puts.close)
            plain, codec = _decoders(name, domain, data)
            digests, whole = _digests(puts, codec)
        except OSError as error:
            raise read_failure(error, path) from error
        yield plain, digests, whole


def _digests(puts: File, codec: PutCodec) -> tuple[dict[int, bytes], bool]:
    """Return the last digest of each block, and whether all of the list is."""
    digests: dict[int, bytes] = {}
    size = puts.size()
    for end in range(0, size, PUT_SIZE * _READ_PUTS):
        data = puts.read_at(end, min(PUT_SIZE * _READ_PUTS, size - end))
        for at in range(0, len(data), PUT_SIZE):
            record = codec.decode(end + at, data[at : at + PUT_SIZE])
            if record is None:
                return digests, False
            digests[record.index] = record.digest
    return digests, True
