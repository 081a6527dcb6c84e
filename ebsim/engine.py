"""The store: what a program holds in its hand.

One method for each operation; each delegates to the module of `ebsim.core` that knows how. Those
modules are imported when first used, so that listing snapshots needs neither numpy nor zstd.
"""

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ebsim.caller import Caller, parse_caller
from ebsim.clock import Clock, SystemClock
from ebsim.config import SnapshotOptions
from ebsim.core.context import StoreContext
from ebsim.core.leftovers import has_managed_volumes, has_started
from ebsim.core.resources import Resources
from ebsim.core.upkeep import Upkeep
from ebsim.entropy import Entropy, SystemEntropy
from ebsim.errors import EbsimError
from ebsim.ids import SnapshotId, names_volume, parse_snapshot_id, parse_volume_id
from ebsim.progress import Progress, SilentProgress
from ebsim.reports import RebuildReport, StoreStats
from ebsim.requests import PruneOptions, SnapshotQuery
from ebsim.results import (
    ChangedBlocks,
    ChargeEvent,
    DeleteReport,
    Event,
    PruneReport,
    RestoreReport,
    Snapshot,
    SnapshotPage,
)
from ebsim.storage.boot import read_boot_id
from ebsim.storage.files import Files, PosixFiles
from ebsim.storage.sources import BlockSource
from ebsim.storage.store_folder import create_store

if TYPE_CHECKING:
    from ebsim.core.lifecycle import LifecycleOperations
    from ebsim.keys.unlocking import Unlocking
    from ebsim.volumes.instances import InstanceOperations
    from ebsim.volumes.managed import ManagedVolumes
    from ebsim.volumes.operations import VolumeOperations

logging.getLogger("ebsim").addHandler(logging.NullHandler())  # the program decides what is shown


@dataclass(frozen=True, slots=True)
class Seams:
    """Where disk, time and randomness come from, which tests replace; and for whom.

    Attributes:
        files: The store's own files.
        clock: The time, for people.
        entropy: Ids and keys.
        boot_id: Which boot of the machine this is.
        before_copy: Called with the id of a managed volume's snapshot, in the thread that copies
            it, before it is; it may wait, or raise to have the snapshot fail.
        before_snapshot_copy: The same for a copy of a snapshot, in the thread that asked for it.
        caller: The account and Region to act as.
        keyring: Where the keyring lies; None: where the store says.
        unlocking: What opens the keyring, and protects it when it is made; None: nothing.
    """

    files: Files = field(default_factory=PosixFiles)
    clock: Clock = field(default_factory=SystemClock)
    entropy: Entropy = field(default_factory=SystemEntropy)
    boot_id: str = field(default_factory=read_boot_id)
    before_copy: Callable[[SnapshotId], None] | None = None
    before_snapshot_copy: Callable[[SnapshotId], None] | None = None
    caller: Caller = field(default_factory=Caller)
    keyring: Path | None = None
    unlocking: "Unlocking | None" = field(default=None, repr=False)


class Store(Resources, Upkeep):
    """An open store. Use it as a context manager; its methods may be called from several threads.

    Several processes may have the same store open. A process must not open it twice, nor use it
    after a fork.
    """

    def __init__(
        self,
        context: StoreContext,
        before_copy: Callable[[SnapshotId], None] | None = None,
        whole: "Store | None" = None,
    ) -> None:
        self._context = context
        self._before_copy = before_copy
        self._managed: ManagedVolumes | None = None
        self._whole = whole or self

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
        cls,
        path: str | os.PathLike[str],
        seams: Seams | None = None,
        *,
        create: bool = False,
        resume: bool = True,
        prove: bool = False,
        progress: Progress | None = None,
    ) -> "Store":
        """Open a store, cleaning up after processes that died while they wrote.

        Args:
            path: The store's folder.
            seams: Where disk, time and randomness come from.
            create: Make the store first if the folder is missing or empty.
            resume: Go on, behind the scenes, with what a process left: copying the pending
                snapshots of managed volumes, loading, deleting.
            prove: Prove the catalog first in another process, also if it was closed in good order.
            progress: Told how far that is, where the catalog has to be proved or rebuilt.

        Raises:
            NotFoundError: StoreNotFound.
            FormatVersionError: It has another format version.
            CorruptionError: The catalog is damaged, and the segments do not allow to rebuild it
                whole.
            StoreError: It is open in this process already, or cannot be read.
        """
        from ebsim.core.opening import open_context

        seams, progress = seams or Seams(), progress or SilentProgress()
        folder = Path(path).absolute()
        context = open_context(folder, seams, progress, create=create, prove=prove)
        context.state.keyring_path, context.state.unlocking = seams.keyring, seams.unlocking
        context.state.before_copy = seams.before_copy
        context.state.before_snapshot_copy = seams.before_snapshot_copy
        store = cls(context.acting_as(seams.caller), seams.before_copy)
        try:
            if resume and not context.catalog.read_only and has_managed_volumes(context):
                store._volumes_held().resume()
            if resume and not context.catalog.read_only and has_started(context):
                from ebsim.core.started_clock import resume_started  # seldom needed

                resume_started(context)
        except BaseException:
            with suppress(EbsimError):  # it is the first error that counts
                store.close(wait=False)
            raise
        return store

    @staticmethod
    def rebuild(
        path: str | os.PathLike[str],
        seams: Seams | None = None,
        *,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> RebuildReport:
        """Make a store's catalog again from its segments, or tell what that would make.

        The old catalog is not looked at, and is set aside.

        Raises:
            NotFoundError, ConflictError, StoreError, LimitExceededError: As `rebuild_store`.
        """
        from ebsim.core.rebuild import rebuild_store

        folder, progress = Path(path).absolute(), progress or SilentProgress()
        return rebuild_store(folder, seams or Seams(), progress, dry_run=dry_run)

    def as_account(self, account: str | None = None, region: str | None = None) -> "Store":
        """Return this open store for use on behalf of another account, or in another Region.

        What it makes belongs to that account, and it sees what that account may see. Closing it
        does nothing; it must not be used after this one is closed.

        Args:
            account: 12 digits; None: the same as now.
            region: For example `eu-central-1`; None: the same as now.

        Raises:
            InvalidInputError: InvalidUserID.Malformed, or it is no Region's name.
        """
        now = self.caller
        caller = parse_caller(account or now.account, region or now.region)
        return Store(self._context.acting_as(caller), self._before_copy, self._whole)

    @property
    def caller(self) -> Caller:
        """The account and Region this acts as."""
        return self._context.acting

    @property
    def path(self) -> Path:
        """The store's folder."""
        return self._context.path

    @property
    def store_id(self) -> str:
        """The store's id, 32 hex digits."""
        return self._context.header.store_id.hex()

    def close(self, *, wait: bool = True) -> None:
        """Seal what this handle wrote and close the store; a second call does nothing.

        Args:
            wait: For pending snapshots of managed volumes to be copied; else they stay pending,
                and the next process that opens the store goes on with them.
        """
        if self._whole is not self:
            return
        context = self._context
        with ExitStack() as stack:
            stack.callback(context.catalog.close)
            stack.callback(context.segments.close)
            stack.callback(self._end_session)
            if context.state.keyring is not None:
                stack.callback(context.state.keyring.let_go)
            started, context.state.started = context.state.started, None
            if started is not None:
                started.close(wait=wait)
            managed, self._managed = self._managed, None
            if managed is not None:
                managed.close(wait=wait)

    def _end_session(self) -> None:
        session, self._context.session = self._context.session, None
        if session is not None:
            session.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(wait=kind is None)

    def create_snapshot(
        self,
        source: str | os.PathLike[str] | BlockSource,
        options: SnapshotOptions | None = None,
        progress: Progress | None = None,
    ) -> Snapshot:
        """Take a snapshot of an image file, a block device, or any `BlockSource`; wait for it.

        Of a managed volume (its id), the snapshot is begun: it is returned `pending`, with its
        point in time fixed, and copied behind the scenes; `wait_snapshots` waits for it.

        Args:
            source: A path, or an open source, which stays open; or the id of a managed volume.
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
        if isinstance(source, str) and names_volume(source):
            return self.create_snapshots([source], options)[0]
        opener, identity = self._opener(source, options, progress)
        with self._writing():
            return create_snapshot(self._current, opener, identity, options, progress).to_result()

    def copy_snapshot(
        self,
        snapshot_id: str,
        source_region: str | None = None,
        options: SnapshotOptions | None = None,
        progress: Progress | None = None,
        begun: Callable[[str], None] | None = None,
    ) -> Snapshot:
        """Copy a snapshot to this account and Region; wait for it.

        Args:
            snapshot_id: The source: one's own, one that is shared with this account, or public.
            source_region: Where it lies; None: in this Region.
            options: Description, tags, compression; tags are not copied.
            progress: Told how far the reading is.
            begun: Called with the copy's id once it is pending, by the thread that goes on with it;
                not where the copy is completed at once.

        Raises:
            InvalidInputError, NotFoundError, ConflictError, LimitExceededError: EC2 would refuse
                it (semantics section 11.4).
            SnapshotFailedError: The copy ended as `error`, and is listed as such.
            StoreError: The store failed.
        """
        from ebsim.core.copying import copy_snapshot

        wanted, region = parse_snapshot_id(snapshot_id), source_region or self.caller.region
        options, progress = options or SnapshotOptions(), progress or SilentProgress()
        with self._writing():
            copied = copy_snapshot(self._current, wanted, region, options, progress, begun)
            return copied.to_result()

    def create_snapshots(
        self, volume_ids: Sequence[str], options: SnapshotOptions | None = None
    ) -> tuple[Snapshot, ...]:
        """Begin a snapshot of each of several managed volumes, all at one point in time.

        They complete together, or all end as `error`.

        Raises:
            InvalidInputError: An id is malformed or given twice, or the options do not fit.
            NotFoundError: There is no such volume.
            ConflictError: A volume is in a wrong state, or open in another process.
            LimitExceededError: EC2 would refuse it (semantics section 1.3).
        """
        from ebsim.core.volume_records import ensure_own_volumes

        wanted = [parse_volume_id(text) for text in volume_ids]
        from ebsim.core.changes import BEGUN, writing

        ensure_own_volumes(self._context, wanted)
        with writing(self._context, BEGUN):
            queue = self._volumes_held().snapshots
            records = queue.create(wanted, options or SnapshotOptions())
        return tuple(record.to_result() for record in records)

    def wait_snapshots(
        self, snapshot_ids: Sequence[str], *, progress: Progress | None = None
    ) -> list[Snapshot]:
        """Wait until snapshots are completed or in error, whichever process makes them.

        Returns:
            Them as they are then; one that was deleted while it was pending is left out.

        Raises:
            InvalidInputError: An id is malformed.
            NotFoundError: There is no such snapshot.
        """
        from ebsim.core.access import as_seen, ensure_visible_snapshots

        wanted = [parse_snapshot_id(text) for text in snapshot_ids]
        ensure_visible_snapshots(self._context, wanted)
        records = self._volumes_held().wait(wanted, progress or SilentProgress())
        return [as_seen(self._context.caller, record).to_result() for record in records]

    @property
    def volumes(self) -> "VolumeOperations":
        """The operations on managed volumes."""
        from ebsim.volumes.operations import VolumeOperations

        return VolumeOperations(self._current, self._volumes_held)

    @property
    def instances(self) -> "InstanceOperations":
        """The operations on pretended instances, which volumes are attached to."""
        from ebsim.volumes.instances import InstanceOperations

        return InstanceOperations(self._current, self.volumes, self.create_snapshots)

    def list_snapshots(self, query: SnapshotQuery | None = None) -> list[Snapshot]:
        """Return all snapshots that a query asks for, oldest first; without one, all there are.

        Raises:
            InvalidInputError, NotFoundError, LimitExceededError: As `describe_snapshots`; or the
                query asks for a page.
        """
        from ebsim.core.snapshot_queries import list_all

        return list_all(self._current, query or SnapshotQuery())

    def describe_snapshots(self, query: SnapshotQuery | None = None) -> SnapshotPage:
        """Return a page of the snapshots that a query asks for, in the order of their beginning.

        Raises:
            InvalidInputError: An id, owner, state, filter, page size or token is none.
            NotFoundError: A snapshot that the query names does not exist.
            LimitExceededError: The filters have too many values.
        """
        from ebsim.core.snapshot_queries import describe_snapshots

        return describe_snapshots(self._current, query or SnapshotQuery())

    def get_snapshot(self, snapshot_id: str) -> Snapshot:
        """Return one snapshot.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: There is no such snapshot.
        """
        from ebsim.core.access import as_seen, visible_snapshot

        wanted = parse_snapshot_id(snapshot_id)
        with self._current.catalog.read() as reader:
            record = visible_snapshot(self._context, reader, wanted)
            return as_seen(self._context.caller, record).to_result()

    def diff_snapshots(self, first: str, second: str) -> ChangedBlocks:
        """Return the blocks in which two snapshots of one lineage differ.

        Raises:
            InvalidInputError: An id is malformed, or the two are unrelated.
            NotFoundError: There is no such snapshot.
            ConflictError: One is not completed.
        """
        from ebsim.core.changed_blocks import changed_blocks

        return changed_blocks(self._current, parse_snapshot_id(first), parse_snapshot_id(second))

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
            ForbiddenError: One is another account's.
        """
        from ebsim.core.access import ensure_own_snapshots
        from ebsim.core.delete import delete_snapshots

        ids = [parse_snapshot_id(text) for text in snapshot_ids]
        ensure_own_snapshots(self._context, ids)
        with self._writing():
            return delete_snapshots(self._current, ids, dry_run=dry_run)

    def restore_snapshot(
        self,
        snapshot_id: str,
        target: str | os.PathLike[str],
        *,
        in_place: bool = False,
        force: bool = False,
        zero_damaged: bool = False,
        progress: Progress | None = None,
    ) -> RestoreReport:
        """Write a snapshot's full image to a file or block device.

        Args:
            snapshot_id: The snapshot.
            target: A new file, or a device that is not in use.
            in_place: Read an existing target and write only what differs.
            force: Replace an existing file.
            zero_damaged: Write zeros for blocks whose stored bytes are damaged; the report's
                `damaged_ranges` names them.
            progress: Told how far it is.

        Raises:
            NotFoundError: No such snapshot.
            ConflictError: The target exists, or is in use; or the snapshot is not completed.
            InvalidInputError: The target is too small, or no file or device.
            CorruptionError: Stored bytes are damaged; no target is left that looks whole.
        """
        from ebsim.core.restore import RestoreChoices, restore_to_path

        choices = RestoreChoices(in_place=in_place, force=force, zero_damaged=zero_damaged)
        wanted, path = parse_snapshot_id(snapshot_id), Path(target)
        return restore_to_path(self._current, wanted, path, choices, progress or SilentProgress())

    def read_block(self, snapshot_id: str, index: int) -> bytes:
        """Return the 524,288 bytes of one block of a snapshot; zeros where nothing was written.

        Raises:
            InvalidInputError: The id is malformed, or the index outside the volume.
            NotFoundError: No such snapshot.
            ConflictError: It is not completed.
            CorruptionError: The stored bytes are damaged.
        """
        from ebsim.core.single_reads import read_block

        return bytes(read_block(self._current, parse_snapshot_id(snapshot_id), index))

    def snapshot_history(self, snapshot_id: str) -> list[ChargeEvent]:
        """Return how a snapshot's charge changed, also if it is deleted.

        Raises:
            InvalidInputError: The id is malformed.
            NotFoundError: There never was such a snapshot.
        """
        from ebsim.core.ledger import own_history

        wanted = parse_snapshot_id(snapshot_id)
        with self._current.catalog.read() as reader:
            return own_history(self._context, reader, wanted)

    def ledger(self) -> list[ChargeEvent]:
        """Return every change of what this account is charged here, in the order of commits."""
        from ebsim.core.ledger import own_ledger

        with self._current.catalog.read() as reader:
            return own_ledger(self._context, reader)

    @property
    def lifecycle(self) -> "LifecycleOperations":
        """The operations on lifecycle policies: making, listing and running them."""
        from ebsim.core.lifecycle import LifecycleOperations

        return LifecycleOperations(self._current, self)

    def prune(self, options: PruneOptions, *, dry_run: bool = False) -> PruneReport:
        """Delete the snapshots that no rule keeps, volume by volume.

        Args:
            options: The rules, and among which snapshots.
            dry_run: Tell what would happen and change nothing.

        Raises:
            InvalidInputError: No rule is given, or one cannot be read.
            ConflictError: A snapshot came into use meanwhile; nothing was deleted.
        """
        from ebsim.core.prune import prune_snapshots

        with self._writing():
            return prune_snapshots(self._current, options, dry_run=dry_run)

    def events(self, after: int = 0) -> list[Event]:
        """Return this account's events with a greater number, oldest first.

        The newest 10,000 of all accounts are kept. What EBS sends to the recipient of a snapshot
        is an event of the recipient's.
        """
        from ebsim.core.events import own_events

        with self._context.catalog.read() as reader:
            return own_events(self._context, reader, after)

    def subscribe(self, callback: Callable[[Event], object]) -> Callable[[], None]:
        """Have `callback` called with this account's events from now on; return what ends that.

        It is called in this process after the commit, in the order of commits, with nothing locked.
        What it raises is logged, and breaks nothing.
        """
        from ebsim.core.events import subscribe

        return subscribe(self._context, callback)

    def stats(self) -> StoreStats:
        """Return sizes and counts of the whole store."""
        from ebsim.core.stats import store_stats

        return store_stats(self._current)

    def _writing(self) -> AbstractContextManager[None]:
        """Close this handle for writing when a write fails, and tell subscribers at the end."""
        from ebsim.core.changes import writing

        return writing(self._context)

    def _volumes_held(self) -> "ManagedVolumes":
        """Return what this handle holds of managed volumes, made when first needed."""
        from ebsim.volumes.managed import ManagedVolumes

        whole = self._whole
        with self._context.session_mutex:
            if whole._managed is None:
                own = self._context.acting_as(None)  # it also goes on with what others began
                whole._managed = ManagedVolumes(own, self._before_copy)
            return whole._managed

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
