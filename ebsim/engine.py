"""The store: what a program holds in its hand.

One method for each operation; each delegates to the module of `ebsim.core` that knows how. Those
modules are imported when first used, so that listing snapshots needs neither numpy nor zstd.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from ebsim.clock import Clock, SystemClock
from ebsim.config import SnapshotOptions
from ebsim.core.context import StoreContext
from ebsim.entropy import Entropy, SystemEntropy
from ebsim.errors import StoreError
from ebsim.ids import parse_snapshot_id
from ebsim.progress import Progress, SilentProgress
from ebsim.results import (
    ChangedBlocks,
    ChargeEvent,
    CheckReport,
    DeleteReport,
    RestoreReport,
    Snapshot,
    StoreStats,
)
from ebsim.storage.files import Files, PosixFiles
from ebsim.storage.sources import BlockSource
from ebsim.storage.store_folder import create_store, open_store


@dataclass(frozen=True, slots=True)
class Seams:
    """Where disk, time and randomness come from; tests replace them.

    Attributes:
        files: The store's own files.
        clock: The time, for people.
        entropy: Ids and keys.
    """

    files: Files = field(default_factory=PosixFiles)
    clock: Clock = field(default_factory=SystemClock)
    entropy: Entropy = field(default_factory=SystemEntropy)


class Store:
    """An open store. Use it as a context manager; its methods may be called from several threads.

    Several processes may have the same store open. A process must not open it twice, nor use it
    after a fork.
    """

    def __init__(self, context: StoreContext) -> None:
        self._context = context

    @classmethod
    def create(cls, path: str | os.PathLike[str], seams: Seams | None = None) -> "Store":
        """Make a store in a folder that is missing or empty, and open it.

        Raises:
            ConflictError: StoreExists: there is a store already.
            InvalidInputError: The folder holds something else.
            StoreError, LimitExceededError: It cannot be written.
        """
        seams = seams or Seams()
        folder = Path(path).absolute()
        create_store(folder, seams.files, seams.entropy)
        return cls.open(folder, seams)

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], seams: Seams | None = None, *, create: bool = False
    ) -> "Store":
        """Open a store, cleaning up after processes that died while they wrote.

        Args:
            path: The store's folder.
            seams: Where disk, time and randomness come from.
            create: Make the store first if the folder is missing or empty.

        Raises:
            NotFoundError: StoreNotFound.
            FormatVersionError: It has another format version.
            StoreError: It is open in this process already, or cannot be read.
        """
        from ebsim.core.recovery import recover

        seams = seams or Seams()
        folder = Path(path).absolute()
        parts = open_store(folder, seams.files, seams.entropy, create=create)
        context = StoreContext(
            path=folder,
            header=parts.header,
            catalog=parts.catalog,
            segments=parts.segments,
            locks=parts.locks,
            reserve=parts.reserve,
            clock=seams.clock,
            entropy=seams.entropy,
        )
        try:
            recover(context)
        except BaseException:
            parts.catalog.close()
            raise
        return cls(context)

    @property
    def path(self) -> Path:
        """The store's folder."""
        return self._context.path

    @property
    def store_id(self) -> str:
        """The store's id, 32 hex digits."""
        return self._context.header.store_id.hex()

    def close(self) -> None:
        """Seal what this handle wrote and close the store; a second call does nothing."""
        context = self._context
        session, context.session = context.session, None
        try:
            if session is not None:
                session.end()
        finally:
            context.segments.close()
            context.catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def create_snapshot(
        self,
        source: str | os.PathLike[str] | BlockSource,
        options: SnapshotOptions | None = None,
        progress: Progress | None = None,
    ) -> Snapshot:
        """Take a snapshot of an image file, a block device, or any `BlockSource`; wait for it.

        Args:
            source: A path, or an open source, which stays open.
            options: Description, tags, volume, parent, compression, freeze.
            progress: Told how far the reading is.

        Raises:
            NotFoundError: No such source, volume or parent.
            InvalidInputError: Refused: bad options, a source that shrank or is no image or device.
            SnapshotFailedError: It ended as `error`, and is listed as such.
            StoreError, LimitExceededError: The store failed, or has no space.
        """
        from ebsim.core.create import create_snapshot

        options = options or SnapshotOptions()
        progress = progress or SilentProgress()
        opener, identity = self._opener(source, options, progress)
        with self._writing():
            return create_snapshot(self._context, opener, identity, options, progress).to_result()

    def list_snapshots(self) -> list[Snapshot]:
        """Return all snapshots, oldest first."""
        from ebsim.core.snapshots import list_snapshots

        with self._context.catalog.read() as reader:
            return [record.to_result() for record in list_snapshots(reader)]

    def get_snapshot(self, snapshot_id: str) -> Snapshot:
        """Return one snapshot.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: There is no such snapshot.
        """
        from ebsim.core.snapshots import get_snapshot

        with self._context.catalog.read() as reader:
            return get_snapshot(reader, parse_snapshot_id(snapshot_id)).to_result()

    def diff_snapshots(self, first: str, second: str) -> ChangedBlocks:
        """Return the blocks in which two snapshots of one lineage differ.

        Raises:
            InvalidInputError: An id is malformed, or the two are unrelated.
            NotFoundError: There is no such snapshot.
            ConflictError: One is not completed.
        """
        from ebsim.core.changed_blocks import changed_blocks

        return changed_blocks(self._context, parse_snapshot_id(first), parse_snapshot_id(second))

    def delete_snapshots(
        self, snapshot_ids: Sequence[str], *, dry_run: bool = False
    ) -> DeleteReport:
        """Delete snapshots in this order; blocks that others still need move to them.

        Args:
            snapshot_ids: At least one; all are deleted or, if one is refused, none.
            dry_run: Tell what would happen and change nothing.

        Raises:
            InvalidInputError: An id is malformed or given twice.
            NotFoundError: There is no such snapshot.
            ConflictError: One is pending.
        """
        from ebsim.core.delete import delete_snapshots

        ids = [parse_snapshot_id(text) for text in snapshot_ids]
        with self._writing():
            return delete_snapshots(self._context, ids, dry_run=dry_run)

    def restore_snapshot(
        self,
        snapshot_id: str,
        target: str | os.PathLike[str],
        *,
        in_place: bool = False,
        force: bool = False,
        progress: Progress | None = None,
    ) -> RestoreReport:
        """Write a snapshot's full image to a file or block device.

        Args:
            snapshot_id: The snapshot.
            target: A new file, or a device that is not in use.
            in_place: Read an existing target and write only what differs.
            force: Replace an existing file.
            progress: Told how far it is.

        Raises:
            NotFoundError: No such snapshot.
            ConflictError: The target exists, or is in use; or the snapshot is not completed.
            InvalidInputError: The target is too small, or no file or device.
            CorruptionError: Stored bytes are damaged; no target is left that looks whole.
        """
        from ebsim.core.restore import restore_snapshot
        from ebsim.storage.targets import open_target

        wanted = parse_snapshot_id(snapshot_id)
        size = self._completed_size(snapshot_id)
        place = open_target(
            Path(target), size, in_place=in_place, force=force, entropy=self._context.entropy
        )
        try:
            written = restore_snapshot(
                self._context, wanted, place, progress or SilentProgress(), in_place=in_place
            )
            place.commit()
        except BaseException:
            place.abort()
            raise
        return RestoreReport(
            snapshot_id=wanted,
            target=place.path,
            size_bytes=size,
            written_bytes=written,
            in_place=in_place,
        )

    def read_block(self, snapshot_id: str, index: int) -> bytes:
        """Return the 524,288 bytes of one block of a snapshot; zeros where nothing was written.

        Raises:
            InvalidInputError: The id is malformed, or the index outside the volume.
            NotFoundError: No such snapshot.
            ConflictError: It is not completed.
            CorruptionError: The stored bytes are damaged.
        """
        from ebsim.core.read import read_block

        return read_block(self._context, parse_snapshot_id(snapshot_id), index)

    def snapshot_history(self, snapshot_id: str) -> list[ChargeEvent]:
        """Return how a snapshot's charge changed, also if it is deleted.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: There never was such a snapshot.
        """
        from ebsim.core.ledger import snapshot_events
        from ebsim.core.snapshots import get_snapshot

        wanted = parse_snapshot_id(snapshot_id)
        with self._context.catalog.read() as reader:
            events = snapshot_events(reader, wanted)
            if not events:
                get_snapshot(reader, wanted)
            return events

    def ledger(self) -> list[ChargeEvent]:
        """Return every change of a charge, in the order of commits."""
        from ebsim.core.ledger import read_ledger

        with self._context.catalog.read() as reader:
            return list(read_ledger(reader))

    def check(self, *, data: bool = False, progress: Progress | None = None) -> CheckReport:
        """Check that the store is what it says; with `data`, read and prove every stored byte."""
        from ebsim.core.check import check_store

        return check_store(self._context, progress or SilentProgress(), data=data)

    def stats(self) -> StoreStats:
        """Return sizes and counts of the whole store."""
        from ebsim.core.stats import store_stats

        return store_stats(self._context)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Close this handle for writing when a write fails."""
        try:
            yield
        except StoreError as error:
            self._context.poison = self._context.poison or str(error)
            raise

    def _completed_size(self, snapshot_id: str) -> int:
        from ebsim.core.snapshots import get_completed

        with self._context.catalog.read() as reader:
            return get_completed(reader, parse_snapshot_id(snapshot_id)).size_bytes

    def _opener(
        self,
        source: str | os.PathLike[str] | BlockSource,
        options: SnapshotOptions,
        progress: Progress,
    ) -> tuple[AbstractContextManager[BlockSource], str]:
        """Return how to open a source when its snapshot begins, and its identity."""
        from ebsim.storage.freeze import open_point_in_time

        if not isinstance(source, (str, os.PathLike)):
            return nullcontext(source), source.identity
        path = Path(source)
        opener = open_point_in_time(path, options.freeze, self._context.path)
        return opener, os.path.realpath(path)
