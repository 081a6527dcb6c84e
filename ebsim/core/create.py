"""Creating a snapshot of a scanned source: begun in one transaction, then made.

The first transaction records the volume, the pending snapshot, and a hold on its parent's map;
`ebsim.core.making` does the rest. A process that dies leaves a pending snapshot whose session's
lock is free; the next process to open the store abandons it (`ebsim.core.recovery`).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from ebsim import failpoints
from ebsim.config import SnapshotOptions
from ebsim.core.access import own_snapshot
from ebsim.core.context import StoreContext
from ebsim.core.counters import take
from ebsim.core.delete import delete_snapshots
from ebsim.core.domains import encryption_members
from ebsim.core.encryption import Preparation, prepare_volume
from ebsim.core.extents import SourcePlan
from ebsim.core.lineage import add_hold
from ebsim.core.making import Making
from ebsim.core.reclaim import reclaim_if_possible
from ebsim.core.sessions import current_session
from ebsim.core.snapshots import check_options, put_snapshot
from ebsim.core.volumes import continue_volume, find_volume
from ebsim.format.catalog_values import Counter
from ebsim.format.records import SnapshotRecord
from ebsim.ids import VolumeId, new_snapshot_id
from ebsim.progress import Progress
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogWriter
from ebsim.storage.locks import Lock, named_region
from ebsim.storage.sources import BlockSource


def create_snapshot(
    context: StoreContext,
    source_opener: AbstractContextManager[BlockSource],
    identity: str,
    options: SnapshotOptions,
    progress: Progress,
) -> SnapshotRecord:
    """Take a snapshot of a source and return its record.

    Args:
        context: The store.
        source_opener: Entered when the snapshot begins, left as soon as the source is read.
        identity: The source's name.
        options: What the user said.
        progress: Told how far the reading is.

    Raises:
        InvalidInputError, NotFoundError, ConflictError: Refused; nothing was changed.
        SnapshotFailedError: The snapshot ended as `error`.
    """
    check_options(options)
    session = current_session(context)
    with _exclusive_volume(context, identity, options, progress), ExitStack() as stack:
        source = stack.enter_context(source_opener)
        snapshot_id = new_snapshot_id(context.entropy)
        plan = SourcePlan(source)
        making = Making(context, session, source, plan, snapshot_id, options.compression)

        def source_read() -> None:
            if source.modified_since_open:
                progress.note(
                    f"{source.identity} was written to while it was read: the snapshot may mix two "
                    "moments (see --freeze)"
                )
            stack.close()

        try:
            prepared = _prepared(context, identity, options)
            record = context.catalog.update(
                lambda writer: _begin(context, writer, making, source, options, prepared)
            )
            failpoints.reach("create.begun")
            progress.start(f"snapshot {snapshot_id}", source.size_bytes)
            completed = making.run(record, progress, source_read=source_read)
        except BaseException as error:
            making.stop(error)
            raise
        finally:
            progress.finish()
    failpoints.reach("create.completed")
    if completed.deletion_wanted:
        delete_snapshots(context, [completed.snapshot_id], dry_run=False)
    reclaim_if_possible(context)
    return completed


def _begin(
    context: StoreContext,
    writer: CatalogWriter,
    making: Making,
    source: BlockSource,
    options: SnapshotOptions,
    prepared: Preparation,
) -> SnapshotRecord:
    continuation = continue_volume(
        context, writer, source.identity, source.size_bytes, options, prepared
    )
    parent = continuation.parent
    record = SnapshotRecord(
        snapshot_id=making.snapshot_id,
        volume_id=continuation.volume.volume_id,
        state=SnapshotState.PENDING,
        session=making.session.number,
        begun=take(writer, Counter.NODE),
        start_us=context.clock.now_us(),
        description=options.description,
        tags=options.all_tags,
        size_bytes=source.size_bytes,
        owner=continuation.volume.owner,
        region=continuation.volume.region,
        parent_id=parent.snapshot_id if parent else None,
        full_blocks=parent.full_blocks if parent else 0,
        source=source.identity,
        hold=add_hold(writer, parent.node, parent.root) if parent else 0,
        root=parent.root if parent else 0,
        lineage=parent.lineage if parent else take(writer, Counter.LINEAGE),
        **encryption_members(writer, continuation.volume.domain),
    )
    put_snapshot(writer, record)
    return record


def _prepared(context: StoreContext, identity: str, options: SnapshotOptions) -> Preparation:
    """Return how the source's volume is encrypted if this begins it."""
    if _volume_to_continue(context, identity, options) is not None:
        return Preparation()
    with context.catalog.read() as reader:
        origin = None if options.parent is None else own_snapshot(context, reader, options.parent)
    return prepare_volume(context, options.encryption, origin)


@contextmanager
def _exclusive_volume(
    context: StoreContext, identity: str, options: SnapshotOptions, progress: Progress
) -> Iterator[None]:
    """Make one snapshot of a source, and of a volume, at a time; a second one waits and says so.

    Both are locked: a source that is not known yet has no volume, and a volume may be continued
    from another path. The source comes first everywhere, so that nobody waits in a circle.
    """
    with hold_name(context, f"source {identity}", identity, progress):
        volume = _volume_to_continue(context, identity, options)
        if volume is None:
            yield
            return
        with hold_name(context, f"volume {volume}", identity, progress):
            yield


def _volume_to_continue(
    context: StoreContext, identity: str, options: SnapshotOptions
) -> VolumeId | None:
    if options.volume_id is not None or options.new_volume:
        return options.volume_id
    with context.catalog.read() as reader:
        known = find_volume(context, reader, identity)
    return None if known is None else known.volume_id


def hold_name(context: StoreContext, name: str, identity: str, progress: Progress) -> Lock:
    """Return the lock on a name, waiting for it, and saying so.

    Args:
        context: The store.
        name: What is to be done by one process at a time.
        identity: What the waiting is said to be for.
        progress: Told that it waits.
    """
    region = named_region(name)
    lock = context.locks.try_hold(region)
    if lock is None:
        progress.note(f"another snapshot of {identity} is being made; waiting for it to finish")
        lock = context.locks.hold(region)
    return lock
