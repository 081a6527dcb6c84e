"""Copying snapshots to another store on this machine, on another disk: the backup of the backups.

Only what the other store does not have goes there. Block hashes are keyed, and stores have keys of
their own, so hashes say nothing between them. Two things find what is there:

- a snapshot whose relative was copied before is compared with it by the block maps of this store:
  what is the same here is the same there, and is not even read (`ebsim.core.off_site_plan`);
- what is read is hashed with the other store's key, which costs little beside reading it.

Each block is proved when it is read, by its stored checksum and its block hash, and again when it
was written (`ebsim.core.off_site_making`). Snapshots are copied in the order of their completion,
so that each finds its ancestors there, and the other store is charged as this one is, if all are
copied. One process at a time copies from a store to another.

Copies of encrypted snapshots are encrypted, and others may be: with keys of the other store
(`ebsim.core.off_site_keys`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from ebsim import refusals
from ebsim.config import SnapshotOptions
from ebsim.core.access import own_snapshots, owns, usable_snapshot
from ebsim.core.changes import BEGUN, JOURNALED, writing
from ebsim.core.context import StoreContext
from ebsim.core.copied_part import CopiedPart, goes_on_later
from ebsim.core.delete import delete_snapshots
from ebsim.core.off_site_keys import CopyKeys
from ebsim.core.off_site_making import BaseGoneError, CopyJob, OffSiteMaking
from ebsim.core.off_site_plan import OffSitePlan
from ebsim.core.off_site_relatives import Base, Relatives, origin_of, volume_identity
from ebsim.core.off_site_source import OffSiteSource
from ebsim.core.reclaim import reclaim_if_possible
from ebsim.core.sessions import current_session
from ebsim.core.snapshots import all_pending, check_options, get_snapshot, list_snapshots
from ebsim.core.tag_rules import check_tags
from ebsim.errors import (
    KEY_FAILURES,
    KEYRING_FAILURES,
    EbsimError,
    SnapshotFailedError,
    SourceError,
)
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId, new_snapshot_id, parse_snapshot_id
from ebsim.off_site import CopyOutcome, OffSiteCopy, OffSiteReport, OffSiteRequest
from ebsim.progress import Progress
from ebsim.results import SnapshotState
from ebsim.storage.locks import named_region
from ebsim.units import BLOCK_SIZE

_KEYS = KEY_FAILURES | KEYRING_FAILURES
"""What ends one copy, and not those behind it."""


def copy_to_store(
    source: StoreContext, other: StoreContext, request: OffSiteRequest, progress: Progress
) -> OffSiteReport:
    """Copy snapshots to another store, or tell what that would do.

    A snapshot that cannot be read ends there as `error`, and those behind it are copied. Whatever
    is wrong with the other store ends the copying; what was copied stays.

    Args:
        source: The store that is copied from; nothing is written to it.
        other: The store that is copied to, on behalf of whoever owns the copies.
        request: Which snapshots, and what is said of them.
        progress: Told how far the reading of each is.

    Raises:
        InvalidInputError: It is the same store; no snapshot is named; or the options do not fit.
        NotFoundError, ConflictError: A snapshot that is named is not there, or cannot be read; or
            the key that is asked for cannot be used (CustomerKeyHasBeenRevoked).
        WrongKeyError, CorruptionError: The keyring of the other store, of which a key is asked for,
            is another or damaged; likewise the errors above and below.
        SnapshotFailedError: A copy ended as `error` for a reason in the other store.
        StoreError, LimitExceededError: The other store failed, or is full.
    """
    _ensure_another(source, other)
    check_options(SnapshotOptions(description=request.description, tags=request.tags))
    wanted = _wanted(source, request)
    for record in wanted:
        check_tags(_tags(request, record))
    keys = CopyKeys(source, other, request)
    asked = keys.check(wanted)
    if request.dry_run:
        planning = _Settling(source, other, keys, asked)
        copies = [planning.settled(record) or planning.plan(record) for record in wanted]
    else:
        with writing(other, JOURNALED | BEGUN), _alone(source, other, progress):
            copying = _Copying(_Settling(source, other, keys, asked), request, progress)
            copies = [copying.copy(record) for record in wanted]
            reclaim_if_possible(other)
    return OffSiteReport(
        store=str(other.path),
        store_id=other.header.store_id.hex(),
        copies=tuple(copies),
        dry_run=request.dry_run,
    )


def _ensure_another(source: StoreContext, other: StoreContext) -> None:
    if source.path.resolve() == other.path.resolve():
        raise refusals.same_store(str(other.path))
    if source.header.store_id == other.header.store_id:
        raise refusals.clone_of_store(str(other.path))


def _wanted(source: StoreContext, request: OffSiteRequest) -> list[SnapshotRecord]:
    """Return the snapshots to be copied, ancestors first."""
    if request.all_snapshots == bool(request.snapshot_ids):
        raise refusals.invalid_combination("Name snapshots, or ask for all: one of the two.")
    with source.catalog.read() as reader:
        if request.all_snapshots:
            own = own_snapshots(source, reader)
            return [each for each in own if each.state == SnapshotState.COMPLETED]
        names = dict.fromkeys(parse_snapshot_id(text) for text in request.snapshot_ids)
        found = [usable_snapshot(source, reader, name) for name in names]
    return sorted(found, key=lambda record: record.node)


def _tags(request: OffSiteRequest, record: SnapshotRecord) -> dict[str, str]:
    """Return the tags of a snapshot's copy."""
    if not request.copy_tags:
        return dict(request.tags)
    own = {key: value for key, value in record.tags.items() if not key.startswith("aws:")}
    return {**own, **request.tags}


@contextmanager
def _alone(source: StoreContext, other: StoreContext, progress: Progress) -> Iterator[None]:
    """Have one process at a time copy from a store to another; a second one waits and says so."""
    region = named_region(f"copies of store {source.header.store_id.hex()}")
    lock = other.locks.try_hold(region)
    if lock is None:
        progress.note(f"another process copies to {other.path}; waiting for it to finish")
        lock = other.locks.hold(region)
    with lock:
        yield


class _Settling:
    """Tells what can be told of a snapshot before it is copied.

    Args:
        source: The store that is copied from.
        other: The store that is copied to.
        keys: The keys of the copies.
        asked: The key that was asked for; None: none was.

    Attributes:
        relatives: What the two stores have of each other's snapshots.
    """

    def __init__(
        self, source: StoreContext, other: StoreContext, keys: CopyKeys, asked: str | None
    ) -> None:
        self.source = source
        self.other = other
        self.keys = keys
        self._asked = asked
        self.relatives = Relatives(source, other)

    def look_again(self) -> None:
        """Look at what the stores have now."""
        self.relatives = Relatives(self.source, self.other)

    def settled(self, record: SnapshotRecord) -> OffSiteCopy | None:
        """Return what becomes of a snapshot that is not copied: it is there, or cannot be.

        One that is there under another key than the one that was asked for is not there.
        """
        copy = self.relatives.counterpart(record, self._asked)
        if copy is not None:
            return OffSiteCopy(
                snapshot_id=record.snapshot_id,
                outcome=CopyOutcome.PRESENT,
                copy_id=copy.snapshot_id,
                parent_id=copy.parent_id,
                incremental=copy.parent_id is not None,
            )
        try:
            with self.source.catalog.read() as reader:
                usable_snapshot(self.source, reader, record.snapshot_id)
        except EbsimError as refusal:
            return _failed(record, str(refusal))
        return None

    def plan(self, record: SnapshotRecord) -> OffSiteCopy:
        """Return what copying a snapshot would do."""
        try:
            key = self.keys.key_of(record)
            self.keys.ensure_readable(record)
        except EbsimError as refusal:
            return _failed(record, str(refusal))
        left = self.left(record, key)
        base = self.base(record, key, left)
        part = CopiedPart() if left is None else CopiedPart.of(left)
        plan = OffSitePlan(self.source, record, base.root if base else None, part.end)
        origin = origin_of(self.source, record)
        self.relatives.add(replace(record, copied_from=origin, kms_key=key))
        return OffSiteCopy(
            snapshot_id=record.snapshot_id,
            outcome=CopyOutcome.PLANNED,
            copy_id=None if left is None else left.snapshot_id,
            incremental=base is not None,
            read_bytes=min(plan.block_count * BLOCK_SIZE, record.size_bytes),
            resumed_bytes=part.end,
        )

    def left(self, record: SnapshotRecord, key: str) -> SnapshotRecord | None:
        """Return the copy of a snapshot that somebody began and nobody ended, or None."""
        origin = origin_of(self.source, record)
        with self.other.catalog.read() as reader:
            pending = [get_snapshot(reader, each) for each in all_pending(reader)]
        for each in pending:
            same = (each.copied_from, each.kms_key) == (origin, key)
            if same and goes_on_later(each) and owns(self.other.caller, each):
                return each
        return None

    def base(self, record: SnapshotRecord, key: str, left: SnapshotRecord | None) -> Base | None:
        """Return what a copy is incremental on; `left` is what was begun of it."""
        if left is not None:
            return self.relatives.base_again(left.parent_id)
        return self.relatives.base_for(record, key)


def _failed(record: SnapshotRecord, message: str) -> OffSiteCopy:
    return OffSiteCopy(snapshot_id=record.snapshot_id, outcome=CopyOutcome.FAILED, message=message)


class _Copying:
    """Copies one snapshot after the other."""

    def __init__(self, settling: _Settling, request: OffSiteRequest, progress: Progress) -> None:
        self._settling = settling
        self._source = settling.source
        self._other = settling.other
        self._request = request
        self._progress = progress

    def copy(self, record: SnapshotRecord) -> OffSiteCopy:
        """Copy a snapshot unless it is there; one that cannot be read is told as failed.

        Raises:
            SnapshotFailedError, StoreError, LimitExceededError: The other store is at fault.
        """
        done = self._settling.settled(record)
        if done is not None:
            return done
        try:
            job = self._job(record)
            return self._failed_before(job) or self._copy(job)
        except BaseGoneError:  # deleted just now: something else is the base, or nothing
            self._settling.look_again()
            return self.copy(record)
        except SnapshotFailedError as error:
            cause = error.__cause__
            keys = isinstance(cause, EbsimError) and cause.code in _KEYS
            if not keys and not isinstance(cause, SourceError):
                raise
            copy_id = SnapshotId(error.snapshot_id) if error.snapshot_id else None
            return replace(_failed(record, str(error)), copy_id=copy_id)
        except EbsimError as error:
            if error.code not in KEYRING_FAILURES:
                raise
            return _failed(record, str(error))

    def _failed_before(self, job: CopyJob) -> OffSiteCopy | None:
        """Return what a nightly copy whose key is still of no use ended as before."""
        if job.unusable is None:
            return None
        reason = str(refusals.key_not_accessible())
        with self._other.catalog.read() as reader:
            for each in list_snapshots(reader):
                failed = (each.copied_from, each.state_message) == (job.origin, reason)
                if failed and owns(self._other.caller, each):
                    message = f"snapshot {each.snapshot_id} ended as error: {job.unusable}"
                    return replace(_failed(job.source, message), copy_id=each.snapshot_id)
        return None

    def _job(self, record: SnapshotRecord) -> CopyJob:
        """Return what is to be done for a snapshot.

        Raises:
            EbsimError: A keyring is missing, locked, damaged or another.
        """
        job = CopyJob(
            snapshot_id=new_snapshot_id(self._other.entropy),
            source=record,
            origin=origin_of(self._source, record),
            identity=volume_identity(self._source, record),
            description=self._request.description,
            tags=_tags(self._request, record),
        )
        settling = self._settling
        try:
            key = settling.keys.key_of(record)
            settling.keys.ensure_readable(record)
            encryption = settling.keys.prepare(key)
        except EbsimError as error:
            if error.code not in KEY_FAILURES:
                raise
            return replace(job, unusable=error)
        left = settling.left(record, key)
        job = replace(job, base=settling.base(record, key, left), encryption=encryption)
        if left is None:
            return job
        return replace(job, snapshot_id=left.snapshot_id, part=CopiedPart.of(left))

    def _copy(self, job: CopyJob) -> OffSiteCopy:
        record, other = job.source, self._other
        reading = OffSiteSource(self._source, record, job.identity)
        plan = OffSitePlan(self._source, record, job.base.root if job.base else None, job.part.end)
        making = OffSiteMaking(other, current_session(other), reading, plan, job)
        copy = making.make(self._progress)
        self._settling.relatives.add(copy)
        if copy.deletion_wanted:
            delete_snapshots(other, [copy.snapshot_id], dry_run=False)
        return OffSiteCopy(
            snapshot_id=record.snapshot_id,
            outcome=CopyOutcome.COPIED,
            copy_id=copy.snapshot_id,
            parent_id=copy.parent_id,
            incremental=copy.parent_id is not None,
            read_bytes=reading.read_bytes,
            crossed_bytes=making.stored_blocks * BLOCK_SIZE,
            stored_bytes=making.stored_bytes,
            resumed_bytes=job.part.end,
        )
