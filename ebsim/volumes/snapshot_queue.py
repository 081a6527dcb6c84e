"""Snapshots of managed volumes: begun at once, copied behind the scenes.

Beginning costs one transaction and a moment in which no write is under way, whatever the volume's
size. Each volume with pending snapshots has one thread, which copies them in the order they were
begun; so they complete in that order.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace

from ebsim import failpoints, refusals
from ebsim.caller import Caller
from ebsim.config import Compression, SnapshotOptions
from ebsim.core.abandon import abandon
from ebsim.core.changes import writing
from ebsim.core.context import StoreContext
from ebsim.core.delete import delete_snapshots
from ebsim.core.making import Making, give_up
from ebsim.core.reclaim import reclaim_if_possible
from ebsim.core.sessions import current_session
from ebsim.core.snapshots import (
    NO_SESSION,
    get_pending,
    get_snapshot,
    list_snapshots,
    pending_snapshots,
    put_snapshot,
)
from ebsim.core.stopping import StoppedError
from ebsim.core.successors import pending_of_volume
from ebsim.core.volume_records import get_managed
from ebsim.errors import (
    KEY_FAILURES,
    KEYRING_FAILURES,
    CorruptionError,
    EbsimError,
    ErrorCode,
    NotFoundError,
    SnapshotFailedError,
    SourceError,
)
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId, VolumeId
from ebsim.keys.refusals import unusable_key
from ebsim.results import SnapshotState
from ebsim.storage.catalog import CatalogReader, CatalogWriter
from ebsim.storage.reserve import DELETION_PART
from ebsim.volumes.beginning import begin_snapshots, check_request
from ebsim.volumes.copying import thaw_ended
from ebsim.volumes.frozen import Frozen
from ebsim.volumes.frozen_source import WrittenPlan
from ebsim.volumes.live_volume import LiveVolume
from ebsim.volumes.registry import LiveVolumes
from ebsim.volumes.snapshot_job import SnapshotJob
from ebsim.volumes.snapshot_set import SnapshotSet

_log = logging.getLogger(__name__)

BeforeCopy = Callable[[SnapshotId], None]
"""Called in the copying thread before a snapshot is copied; a test may wait or raise in it."""


class SnapshotQueue:
    """The pending snapshots of managed volumes in one store handle. Safe for several threads."""

    def __init__(
        self, context: StoreContext, volumes: LiveVolumes, before_copy: BeforeCopy | None = None
    ) -> None:
        self._context = context
        self._volumes = volumes
        self._before_copy = before_copy
        self._creating = volumes.freezing
        self._locked: dict[SnapshotId, EbsimError] = {}
        self._changed = threading.Condition()
        self._jobs: dict[VolumeId, deque[SnapshotJob]] = {}
        self._threads: dict[VolumeId, threading.Thread] = {}

    def create(
        self, volume_ids: Sequence[VolumeId], options: SnapshotOptions
    ) -> list[SnapshotRecord]:
        """Begin a snapshot of each volume, all at one point in time, and return them pending.

        Raises:
            InvalidInputError: The options do not fit, or a volume is named twice.
            NotFoundError: There is no such volume.
            ConflictError: A volume is in a wrong state, or open in another process, or its KMS key
                cannot be used (CustomerKeyHasBeenRevoked).
            LimitExceededError: EC2 would refuse it (semantics section 1.3).
        """
        check_request(volume_ids, options)
        with ExitStack() as undo:
            found = {}
            for volume_id in sorted(volume_ids):  # so that two never wait for each other
                found[volume_id] = self._acquire(volume_id)
                undo.callback(self._volumes.release, found[volume_id])
                thaw_ended(self._context, found[volume_id])  # or what is kept would only grow
            lives = [found[volume_id] for volume_id in volume_ids]
            with self._creating:
                session = current_session(self._context).number
                records = self._context.catalog.update(
                    lambda writer: begin_snapshots(
                        self._context, writer, volume_ids, options, session
                    )
                )
                failpoints.reach("queue.begun")
                _freeze(lives, records)
                failpoints.reach("queue.frozen")
                undo.pop_all()
                for job in self._jobs_of(records, lives, options.compression):
                    if not self._enqueue(job):
                        job.save_writes()  # the thread that would do so is busy with another
        return records

    def _acquire(self, volume_id: VolumeId) -> LiveVolume:
        """Return a volume of which a snapshot is asked for, with EC2's refusal for its key."""
        try:
            return self._volumes.acquire(volume_id)
        except EbsimError as error:
            if error.code not in KEY_FAILURES:
                raise
            with self._context.catalog.read() as reader:
                key = get_managed(reader, volume_id).kms_key
            raise unusable_key(key, error) from error

    def resume(self) -> None:
        """Go on with pending snapshots that a process left whose points in time still exist.

        A volume that another process has open is left to that process. One whose KMS key cannot be
        used has its pending snapshots end as `error` (semantics section 11.5); where it is
        the keyring that is locked or missing, they wait for whoever has it.
        """
        session = self._context.session
        own = NO_SESSION if session is None else session.number
        with self._creating:
            self._locked.clear()
            with self._context.catalog.read() as reader:
                left = _left_pending(reader, {NO_SESSION, own})
                left = [each for each in left if not self._is_queued(each.snapshot_id)]
                mine = {each.snapshot_id for each in left}
                early = {each.snapshot_id for each in left if self._waits(reader, each, mine)}
            groups: dict[str, list[SnapshotRecord]] = {}
            for record in left:
                groups.setdefault(record.set_id or record.snapshot_id, []).append(record)
            for records in groups.values():
                if not any(record.snapshot_id in early for record in records):
                    self._resume_together(records)

    def _resume_together(self, records: list[SnapshotRecord]) -> None:
        """Go on with one snapshot, or with all members of a set that are left, or with none."""
        with ExitStack() as undo:
            lives = []
            try:
                with self._context.catalog.read() as reader:
                    _ensure_set_possible(reader, records[0])
                for record in records:
                    live = self._volumes.try_acquire(record.volume_id)
                    if live is None:
                        return  # another process uses the volume
                    undo.callback(self._volumes.release, live)
                    lives.append(live)
            except EbsimError as error:
                self._cannot_resume(records, error)
                return
            points = {point.needed_by for live in lives for point in live.frozen}
            if not points >= {record.snapshot_id for record in records}:
                return  # somebody else ended one meanwhile
            undo.pop_all()
            for job in self._jobs_of(records, lives):
                self._enqueue(job)

    def _jobs_of(
        self,
        records: Sequence[SnapshotRecord],
        lives: Sequence[LiveVolume],
        compression: Compression | None = None,
    ) -> list[SnapshotJob]:
        """Return what copies these snapshots; the users of their volumes become shares."""
        group = None
        if records[0].set_id:
            group = SnapshotSet(self._context, [record.snapshot_id for record in records])
        return [
            SnapshotJob(
                record.snapshot_id,
                self._volumes.share(live),
                compression or Compression.parse(record.compression or "zstd"),
                group,
                record.size_bytes,
            )
            for record, live in zip(records, lives, strict=True)
        ]

    def _waits(self, reader: CatalogReader, record: SnapshotRecord, mine: set[SnapshotId]) -> bool:
        """Return whether a snapshot comes before this one that another process copies."""
        pending = pending_of_volume(reader, record.volume_id)
        earlier = [each.snapshot_id for each in pending if each.begun < record.begun]
        return any(each not in mine and not self._is_queued(each) for each in earlier)

    def _cannot_resume(self, records: list[SnapshotRecord], error: EbsimError) -> None:
        """End snapshots that cannot be gone on with, unless another process may be able to."""
        if error.code in KEY_FAILURES:
            self._give_up(records, str(refusals.key_not_accessible()))
        elif error.code in KEYRING_FAILURES:
            self._locked.update((record.snapshot_id, error) for record in records)
            if all(record.deletion_wanted for record in records):
                self._give_up(records, str(error))
        elif isinstance(error, (CorruptionError, NotFoundError, SourceError)):
            self._give_up(records, str(error))
        else:
            _log.warning("cannot go on with %s: %s", records[0].snapshot_id, error)

    def ensure_possible(self, snapshot_ids: Sequence[SnapshotId]) -> None:
        """Look whether `resume` found that these can go on as far as keys are concerned.

        Raises:
            EbsimError: The keyring cannot be opened by this process.
        """
        for snapshot_id in snapshot_ids:
            if snapshot_id in self._locked:
                raise self._locked[snapshot_id]

    def _give_up(self, records: list[SnapshotRecord], reason: str) -> None:
        """End snapshots whose points in time do not exist any more."""
        with self._context.reserve.released_if_low(keep=DELETION_PART):
            for record in records:
                with suppress(NotFoundError):  # another process was faster
                    self._context.catalog.update(
                        lambda writer, gone=record.snapshot_id: abandon(  # type: ignore[misc]
                            self._context, writer, gone, reason
                        )
                    )
                live = self._volumes.find(record.volume_id)
                for point in [] if live is None else list(live.frozen):
                    if live is not None and point.needed_by == record.snapshot_id:
                        live.thaw(point)
            self._volumes.finish_deletions()  # a volume may have waited for them alone

    def wait(
        self, snapshot_ids: Sequence[SnapshotId], told: Callable[[int, int], None] | None = None
    ) -> None:
        """Wait until none of these is being copied in this process.

        Args:
            snapshot_ids: The snapshots.
            told: Called now and then with the bytes copied and those there are.
        """
        wanted = set(snapshot_ids)
        with self._changed:
            while jobs := [job for job in self._all_jobs() if job.snapshot_id in wanted]:
                if told is not None:
                    told(sum(j.copied_bytes for j in jobs), sum(j.total_bytes for j in jobs))
                self._changed.wait(0.1 if told is not None else None)

    def unfinished(self) -> list[SnapshotId]:
        """Return those that are copied here now, or when their turn comes."""
        with self._changed:
            return [job.snapshot_id for job in self._all_jobs()]

    def close(self, *, wait: bool) -> None:
        """Wait until all are copied; or stop, and leave them to the next opener."""
        with self._changed:
            if not wait:
                for job in self._all_jobs():
                    job.stop()
            threads = list(self._threads.values())
        for thread in threads:
            thread.join()

    # Copying

    def _enqueue(self, job: SnapshotJob) -> bool:
        """Have the volume's thread copy a snapshot; return whether it begins with it at once."""
        volume_id = job.share.volume_id
        with self._changed:
            self._jobs.setdefault(volume_id, deque()).append(job)
            if volume_id in self._threads:
                return False
            thread = threading.Thread(
                target=self._run, args=(volume_id,), name=f"ebsim-copy-{volume_id}", daemon=True
            )
            self._threads[volume_id] = thread
            thread.start()
            return True

    def _run(self, volume_id: VolumeId) -> None:
        """Copy the pending snapshots of one volume, one after the other (the volume's thread)."""
        while True:
            with self._changed:
                jobs = self._jobs[volume_id]
                if not jobs:
                    del self._jobs[volume_id], self._threads[volume_id]
                    self._changed.notify_all()
                    return
                job = jobs[0]
            try:
                self._copy(job)
            finally:
                with self._changed:
                    jobs.popleft()
                    self._changed.notify_all()

    def _copy(self, job: SnapshotJob) -> None:
        keep = True  # for whoever opens the store next
        try:
            with writing(self._context):
                completed = self._make(job)
                failpoints.reach("queue.completed")
                keep = False
                if completed.deletion_wanted:
                    with suppress(NotFoundError):  # another process was faster
                        delete_snapshots(self._context, [job.snapshot_id], dry_run=False)
                reclaim_if_possible(self._context)
        except StoppedError:
            _log.info("%s stays pending", job.snapshot_id)
        except SnapshotFailedError as error:
            _log.warning("%s", error)
            keep = False
        except Exception:  # noqa: BLE001 - it is logged, and stays pending, or was completed
            _log.exception("snapshot %s could not be copied", job.snapshot_id)
        finally:
            self._let_go(job, keep=keep)

    def _make(self, job: SnapshotJob) -> SnapshotRecord:
        context, snapshot_id = self._context, job.snapshot_id
        making: Making | None = None
        try:
            job.save_writes()
            before_copy = self._before_copy or context.state.before_copy
            if before_copy is not None:
                before_copy(snapshot_id)
            job.ensure_wanted()
            number = job.prepare()
            session = current_session(context)
            record = context.catalog.update(
                lambda writer: _take_up(writer, snapshot_id, session.number)
            )
            failpoints.reach("queue.taken-up")
            plan = WrittenPlan(number, record.base_epoch, record.epoch)
            source = job.open_source(record)
            owners = context.acting_as(Caller(record.owner, record.region))  # by whose right
            making = Making(owners, session, source, plan, snapshot_id, job.compression)
            return making.run(
                record,
                job,
                source_read=lambda: None,
                commit=None if job.members is None else job.commit_with_set,
            )
        except StoppedError:
            _stay_pending(job, making)
            raise
        except BaseException as caught:
            if job.members is None and _is_keyring_gone(caught):
                job.stop()
                _stay_pending(job, making)
                raise StoppedError from caught
            error = _as_failure(caught)
            job.fail(error)
            try:
                if making is None:
                    give_up(context, snapshot_id, error)
                else:
                    making.stop(error)
            finally:
                if job.members is not None:
                    job.members.ended(snapshot_id)
            raise error from caught

    def _let_go(self, job: SnapshotJob, *, keep: bool) -> None:
        """Let the volume go on without a point in time, unless it stays for the next opener."""
        try:
            try:
                if not keep:
                    job.thaw()
                    failpoints.reach("queue.thawed")
            finally:
                job.share.release()
            reclaim_if_possible(self._context)
        except (EbsimError, OSError):
            _log.exception("volume %s could not be closed", job.share.volume_id)

    def _all_jobs(self) -> list[SnapshotJob]:
        return [job for jobs in self._jobs.values() for job in jobs]

    def _is_queued(self, snapshot_id: SnapshotId) -> bool:
        with self._changed:
            return any(job.snapshot_id == snapshot_id for job in self._all_jobs())


def _stay_pending(job: SnapshotJob, making: Making | None) -> None:
    """Leave a snapshot to whoever goes on with it, and those of its set: all of them or none."""
    if job.members is not None:
        job.members.stop()
    if making is not None:
        making.leave()


def _freeze(lives: Sequence[LiveVolume], records: Sequence[SnapshotRecord]) -> None:
    """Fix the point in time of all volumes at once."""
    with ExitStack() as stack:
        for live in sorted(lives, key=lambda each: each.number):
            for stripe in live.stripes:
                stack.enter_context(stripe)
        for live, record in zip(lives, records, strict=True):
            live.freeze(Frozen(record.snapshot_id, record.epoch, record.base_epoch))


def _take_up(writer: CatalogWriter, snapshot_id: SnapshotId, session: int) -> SnapshotRecord:
    """Have a session make a pending snapshot, and return its record.

    Raises:
        StoppedError: An earlier one of its volume stayed pending: this one has no parent yet; or
            another process was faster.
    """
    record = get_pending(writer, snapshot_id)
    if record.session not in (NO_SESSION, session):
        raise StoppedError
    record = replace(record, session=session)
    if pending_of_volume(writer, record.volume_id)[0].snapshot_id != snapshot_id:
        raise StoppedError
    put_snapshot(writer, record)
    return record


def _left_pending(reader: CatalogReader, sessions: set[int]) -> list[SnapshotRecord]:
    """Return the pending snapshots of managed volumes of these sessions, in their order."""
    left = [
        get_snapshot(reader, each)
        for session in sessions
        for each in pending_snapshots(reader, session)
    ]
    found = [each for each in left if each.epoch and each.state == SnapshotState.PENDING]
    return sorted(found, key=lambda record: record.begun)


def _ensure_set_possible(reader: CatalogReader, left: SnapshotRecord) -> None:
    """Look whether a member of a snapshot's set has failed, or will.

    Raises:
        SourceError: One did.
    """
    if not left.set_id:
        return
    for other in list_snapshots(reader):
        if other.set_id == left.set_id and other.state_message:
            is_told = other.state == SnapshotState.PENDING
            message = f"{other.snapshot_id} of the same set failed: {other.state_message}"
            raise SourceError(
                other.state_message if is_told else message, ErrorCode.SNAPSHOT_FAILED
            )


def _is_keyring_gone(error: BaseException) -> bool:
    """Return whether this process lost its keyring: then another one may go on."""
    if not isinstance(error, EbsimError) or error.code not in KEYRING_FAILURES:
        return False
    return error.code != ErrorCode.WRONG_KEY  # of a block: that is damage


def _as_failure(error: BaseException) -> BaseException:
    """Return an error as one that a snapshot ends with, and is not forgotten for."""
    if isinstance(error, (EbsimError, OSError)) or not isinstance(error, Exception):
        return error
    return SourceError(f"copying it broke off: {error!r}", ErrorCode.SNAPSHOT_FAILED)
