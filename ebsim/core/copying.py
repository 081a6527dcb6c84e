"""Copying snapshots, within a Region and to other Regions and accounts (semantics section 11.4).

A copy in the Region and the account of its source and under its key shares its map: nothing is read
or charged. Any other is a snapshot of a lineage of its own. The first one reads all that its source
has; later ones to another Region or account read it too, and are charged what differs from the
latest copy there, if that still exists and all copies there are under one key, or under none
(semantics section 11.4). Equal blocks are stored once in each dedup domain, whoever is charged.

A second copy of a lineage waits for the first, for it is to be incremental on it. It is pending
from its beginning on, with an id; what it starts from, it is told when its turn comes.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from ebsim import refusals
from ebsim.caller import Caller
from ebsim.config import SnapshotOptions
from ebsim.core.access import owns, usable_snapshot
from ebsim.core.changes import JournaledCommit, commit_journaled
from ebsim.core.context import StoreContext
from ebsim.core.copy_source import CopyPlan, SnapshotSource
from ebsim.core.counters import take
from ebsim.core.create import hold_name
from ebsim.core.delete import delete_snapshots
from ebsim.core.domains import domain_facts, encryption_members
from ebsim.core.encryption import Preparation, prepare_copy, wanted_copy_key
from ebsim.core.events import snapshot_ended
from ebsim.core.ledger import record_events
from ebsim.core.lineage import Lineage, add_hold
from ebsim.core.making import Making, give_up
from ebsim.core.quotas import load_quotas
from ebsim.core.reclaim import reclaim_if_possible
from ebsim.core.sessions import Session, current_session
from ebsim.core.sharing import count_charge
from ebsim.core.snapshots import (
    all_pending,
    check_options,
    find_snapshot,
    get_completed,
    get_pending,
    get_snapshot,
    newest_of_volume,
    put_snapshot,
    snapshots_of_volume,
)
from ebsim.core.stopping import StoppedError
from ebsim.core.volumes import find_volume, put_volume
from ebsim.errors import ConflictError, ErrorCode, SourceError
from ebsim.format.catalog_values import Counter, NodeKind, NodeRecord
from ebsim.format.records import SnapshotRecord, VolumeRecord
from ebsim.ids import SnapshotId, new_snapshot_id, new_volume_id
from ebsim.progress import Progress
from ebsim.results import ChargeCause, ChargeEvent, SnapshotState
from ebsim.storage.catalog import CatalogReader, CatalogWriter
from ebsim.storage.locks import named_region

_ENDED_OTHERWISE = (SnapshotState.ERROR, SnapshotState.PENDING)


def copy_snapshot(
    context: StoreContext,
    snapshot_id: SnapshotId,
    source_region: str,
    options: SnapshotOptions,
    progress: Progress,
    begun: Callable[[SnapshotId], None] | None = None,
) -> SnapshotRecord:
    """Copy a snapshot to the caller's account and Region, and return the copy's record.

    Args:
        context: The store.
        snapshot_id: The source: completed, and the caller's, shared with it, or public.
        source_region: Where it lies.
        options: Description and tags of the copy, and how its new blocks are stored.
        progress: Told how far the reading is.
        begun: Called with the copy's id once it is pending, if blocks have to be read for it; also
            before it waits for another copy of the lineage.

    Raises:
        InvalidInputError: The options do not fit.
        NotFoundError: There is no such snapshot there, or the caller may not use it.
        ConflictError: It is not completed.
        LimitExceededError: 20 copies are pending already.
        SnapshotFailedError: The copy ended as `error`.
        StoreError: A write failed.
    """
    _check(options)
    acting = context.acting
    there = context.acting_as(Caller(acting.account, source_region))
    with context.catalog.read() as reader:
        source = usable_snapshot(there, reader, snapshot_id)
    prepared = _prepared(context, options, source)
    same_key = isinstance(prepared, Preparation) and prepared.kms_key == source.kms_key
    wanted_key = (
        prepared.kms_key
        if isinstance(prepared, Preparation)
        else wanted_copy_key(context, options.encryption, source)
    )
    task = _Task(there, source, options, prepared, wanted_key, begun)
    if owns(acting, source) and same_key:
        copied = _copy_map(context, task)
    else:
        copied = _copy_blocks(context, task, progress)
    if copied.deletion_wanted:
        delete_snapshots(context, [copied.snapshot_id], dry_run=False)
    reclaim_if_possible(context)
    return copied


@dataclass(frozen=True, slots=True)
class _Task:
    """A copy that is to be made.

    Attributes:
        there: The store as the caller sees it in the Region of the source.
        source: The snapshot to copy.
        options: What the copy is told.
        prepared: How it is encrypted, or why a key that it needs cannot be used.
        wanted_key: The ARN of its key, also of one that cannot be used: the copy that fails for it
            is shown as what it was to be.
        begun: Told the copy's id once it is pending.
    """

    there: StoreContext
    source: SnapshotRecord
    options: SnapshotOptions
    prepared: Preparation | ConflictError
    wanted_key: str
    begun: Callable[[SnapshotId], None] | None = None


def _prepared(
    context: StoreContext, options: SnapshotOptions, source: SnapshotRecord
) -> Preparation | ConflictError:
    """Return how the copy is encrypted, or why not, where EC2 finds that out only later.

    A copy whose key is missing, disabled or not granted is begun and ends as `error` (semantics
    section 11.5).
    """
    try:
        return prepare_copy(context, options.encryption, source)
    except ConflictError as error:
        if error.code != ErrorCode.CUSTOMER_KEY_REVOKED:
            raise
        return error


def _check(options: SnapshotOptions) -> None:
    check_options(options)
    if options.volume_id or options.parent or options.new_volume or options.freeze:
        raise refusals.invalid_combination(
            "A copy is told no volume, parent or mount point: it knows."
        )


def _identity(source: SnapshotRecord) -> str:
    return f"copies of lineage {source.lineage}"


# Within a Region and an account


def _copy_map(context: StoreContext, task: _Task) -> SnapshotRecord:
    """Copy a map, at once; where somebody watches copies, it is pending before, as any other."""
    snapshot_id = new_snapshot_id(context.entropy)
    if context.state.before_snapshot_copy is None:
        return commit_journaled(context, lambda commit: _complete_map(commit, task, snapshot_id))
    session = current_session(context)
    try:
        context.catalog.update(lambda writer: _begin(context, writer, session, task, snapshot_id))
        if task.begun is not None:
            task.begun(snapshot_id)
        _let_others_watch(context, snapshot_id)
        return commit_journaled(context, lambda commit: _complete_map(commit, task, snapshot_id))
    except BaseException as error:
        give_up(context, snapshot_id, error)
        raise


def _complete_map(commit: JournaledCommit, task: _Task, snapshot_id: SnapshotId) -> SnapshotRecord:
    context, writer = commit.context, commit.writer
    present = get_completed(writer, task.source.snapshot_id)
    volume = replace(
        _volume(context, writer, present),
        last_copy=snapshot_id,
        size_bytes=present.size_bytes,
    )
    now = context.clock.now_us()
    record = find_snapshot(writer, snapshot_id)
    if record is None:
        record = replace(
            _record(context, present, snapshot_id, volume, task.options),
            begun=take(writer, Counter.NODE),
            start_us=now,
        )
    node = take(writer, Counter.NODE)
    lineage = Lineage(writer)
    lineage.add(node, NodeRecord(NodeKind.SNAPSHOT, present.node, present.root, snapshot_id))
    record = replace(
        record,
        state=SnapshotState.COMPLETED,
        session=record.session if record.deletion_wanted else 0,
        completion_us=now,
        scanned_bytes=present.size_bytes,
        full_blocks=present.full_blocks,
        charged_blocks=count_charge(writer, lineage, node, present.lineage),
        parent_id=present.snapshot_id,
        node=node,
        root=present.root,
        lineage=present.lineage,
        **encryption_members(writer, present.domain),
    )
    lineage.save(writer)
    put_volume(writer, volume)
    put_snapshot(writer, record)
    facts: dict[str, Any] = {"snapshot": asdict(record), "volume": asdict(volume)}
    facts.update(domain_facts(writer, record.domain))
    sequence = commit.journal("complete", facts)
    record_events(writer, [_charge(record, sequence)])
    snapshot_ended(context, writer, record)
    return record


def _charge(record: SnapshotRecord, sequence: int) -> ChargeEvent:
    return ChargeEvent(
        sequence=sequence,
        time_us=record.start_us,
        cause=ChargeCause.CREATED,
        snapshot_id=record.snapshot_id,
        volume_id=record.volume_id,
        blocks=record.charged_blocks,
        other_id=None,
        owner=record.owner,
        region=record.region,
    )


# To another Region, account or key


def _copy_blocks(context: StoreContext, task: _Task, progress: Progress) -> SnapshotRecord:
    session, source = current_session(context), task.source
    identity = _identity(source)
    name = f"{identity} {context.acting.account} {context.acting.region}"
    snapshot_id = new_snapshot_id(context.entropy)
    reading = SnapshotSource(task.there, source, identity)
    plan = CopyPlan(source.root)
    making = Making(context, session, reading, plan, snapshot_id, task.options.compression)
    turn = context.locks.try_hold(named_region(f"source {name}"))
    try:
        context.catalog.update(lambda writer: _begin(context, writer, session, task, snapshot_id))
        if task.begun is not None:
            task.begun(snapshot_id)
        if turn is None:
            turn = hold_name(context, f"source {name}", source.snapshot_id, progress)
        _let_others_watch(context, snapshot_id)
        record = context.catalog.update(lambda writer: _start(context, writer, task, making))
        _ensure_prepared(task)
        reading.ensure_unchanged()  # it may have waited
        progress.start(f"copy {snapshot_id}", source.size_bytes)
        return making.run(record, progress, source_read=lambda: None)
    except BaseException as error:
        making.stop(error)
        raise
    finally:
        progress.finish()
        if turn is not None:
            turn.release()


def _let_others_watch(context: StoreContext, snapshot_id: SnapshotId) -> None:
    """Have who watches copies hold this one, or have it fail.

    Raises:
        SourceError: It is to fail; or it was held when its process stopped, and nobody goes on.
    """
    if context.state.before_snapshot_copy is None:
        return
    try:
        context.state.before_snapshot_copy(snapshot_id)
    except StoppedError as error:
        raise SourceError("the process was stopped before the copy was completed") from error


def _ensure_prepared(task: _Task) -> None:
    """Have a copy fail whose key cannot be used.

    Raises:
        ConflictError: It cannot.
    """
    if not isinstance(task.prepared, Preparation):
        raise task.prepared


def _begin(
    context: StoreContext,
    writer: CatalogWriter,
    session: Session,
    task: _Task,
    snapshot_id: SnapshotId,
) -> None:
    """Record a pending copy that may have to wait; nothing is held for it yet."""
    _check_pending(context, writer)
    volume = _volume(context, writer, task.source)
    put_volume(writer, volume)
    record = replace(
        _record(context, task.source, snapshot_id, volume, task.options),
        session=session.number,
        begun=take(writer, Counter.NODE),
        start_us=context.clock.now_us(),
        kms_key=task.wanted_key,
    )
    put_snapshot(writer, record)


def _prepared_or_none(task: _Task) -> Preparation:
    return task.prepared if isinstance(task.prepared, Preparation) else Preparation()


def _start(
    context: StoreContext, writer: CatalogWriter, task: _Task, making: Making
) -> SnapshotRecord:
    """Give a pending copy whose turn has come what it starts from; hold that."""
    pending = get_pending(writer, making.snapshot_id)
    source, prepared = task.source, _prepared_or_none(task)
    known = find_volume(context, writer, _identity(source))
    copies = [] if known is None else snapshots_of_volume(writer, known.volume_id)
    one_key = all(each.kms_key == prepared.kms_key for each in copies)
    parent = None
    if known is not None and one_key and not owns(context.acting, source):
        parent = _latest_copy(writer, known, source)
    volume = _volume(context, writer, source)
    put_volume(writer, replace(volume, last_copy=pending.snapshot_id, size_bytes=source.size_bytes))
    record = replace(
        pending,
        parent_id=parent.snapshot_id if parent else None,
        full_blocks=parent.full_blocks if parent else 0,
        hold=add_hold(writer, parent.node, parent.root) if parent else 0,
        root=parent.root if parent else 0,
        lineage=parent.lineage if parent else take(writer, Counter.LINEAGE),
        **encryption_members(writer, prepared.settle(writer, copies)),
    )
    put_snapshot(writer, record)
    return record


def _check_pending(context: StoreContext, reader: CatalogReader) -> None:
    limit = load_quotas(reader).pending_copies
    pending = [get_snapshot(reader, each) for each in all_pending(reader)]
    copies = [each for each in pending if each.copied_from and owns(context.acting, each)]
    if len(copies) >= limit:
        raise refusals.pending_copy_limit(limit)


def _latest_copy(
    reader: CatalogReader, volume: VolumeRecord, source: SnapshotRecord
) -> SnapshotRecord | None:
    """Return what the next copy is incremental on: the latest one, if it still exists.

    One that is pending now is that of a process that died.
    """
    newest = newest_of_volume(reader, volume.volume_id)
    if newest is None or newest.size_bytes > source.size_bytes:
        return None
    if newest.snapshot_id == volume.last_copy:
        return newest
    last = find_snapshot(reader, SnapshotId(volume.last_copy))
    return newest if last is not None and last.state in _ENDED_OTHERWISE else None


# Both


def _volume(context: StoreContext, writer: CatalogWriter, source: SnapshotRecord) -> VolumeRecord:
    """Return the volume that stands for all copies of a lineage: EBS gives them an arbitrary id."""
    known = find_volume(context, writer, _identity(source))
    if known is not None:
        return known
    return VolumeRecord(
        volume_id=new_volume_id(context.entropy),
        number=take(writer, Counter.VOLUME),
        source=_identity(source),
        size_bytes=source.size_bytes,
        created_us=context.clock.now_us(),
        owner=context.acting.account,
        region=context.acting.region,
    )


def _record(
    context: StoreContext,
    source: SnapshotRecord,
    snapshot_id: SnapshotId,
    volume: VolumeRecord,
    options: SnapshotOptions,
) -> SnapshotRecord:
    """Return the record of a copy as far as both kinds have it in common."""
    return SnapshotRecord(
        snapshot_id=snapshot_id,
        volume_id=volume.volume_id,
        state=SnapshotState.PENDING,
        begun=0,
        start_us=0,
        description=options.description,
        tags=options.all_tags,
        size_bytes=source.size_bytes,
        source=_identity(source),
        owner=context.acting.account,
        region=context.acting.region,
        copied_from=f"{source.region}/{source.snapshot_id}",
    )
