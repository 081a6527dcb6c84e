"""Copying managed volumes: EC2's CopyVolumes (S-73).

The copy is recorded, `creating`, and the point in time fixed as that of a snapshot is: one
transaction, and a moment in which all stripes of the source are held. From then on whoever writes
to the source, in whatever process, keeps what is overwritten before the copy has it
(`ebsim.core.pending_copies`), and the source is lent to others between two blocks. The copy is
`available` when all is durable.

A process that dies meanwhile leaves a volume that is `creating`, and the lock of that copy free;
the next one to open the store lets it go. What was kept goes with the last point in time.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial

from ebsim import failpoints, instance_refusals, refusals
from ebsim.core.block_maps import LEAF_BLOCKS
from ebsim.core.changes import JournaledCommit, commit_journaled
from ebsim.core.context import StoreContext
from ebsim.core.domains import domain_facts
from ebsim.core.encryption import Preparation, prepare_volume_copy
from ebsim.core.events import volume_changed
from ebsim.core.pending_copies import is_unfinished, note_copy_ended, pending_copies, with_copy
from ebsim.core.quotas import quotas_here
from ebsim.core.stopping import StoppedError
from ebsim.core.volume_records import (
    get_managed,
    managed_volumes,
    new_volume_record,
    own_volume,
    put_managed,
)
from ebsim.errors import (
    KEYRING_FAILURES,
    ConflictError,
    EbsimError,
    ErrorCode,
    NotFoundError,
    SourceError,
    StoreError,
)
from ebsim.format.records import VolumeRecord
from ebsim.ids import VolumeId, parse_volume_id
from ebsim.progress import Progress
from ebsim.requests import VolumeRequest
from ebsim.results import VolumeState
from ebsim.storage.catalog import CatalogReader
from ebsim.storage.locks import named_region
from ebsim.units import BLOCK_SIZE, size_gib
from ebsim.volumes.creation import made_by, with_token
from ebsim.volumes.file_limits import ensure_file_possible
from ebsim.volumes.frozen import Frozen, find_point
from ebsim.volumes.frozen_source import ensure_kept
from ebsim.volumes.live_volume import LiveVolume
from ebsim.volumes.opening import frozen_for
from ebsim.volumes.registry import LiveVolumes, Share

_log = logging.getLogger(__name__)

_ZEROS = bytes(BLOCK_SIZE)

_COPYABLE = (VolumeState.AVAILABLE, VolumeState.IN_USE)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A copy that is recorded.

    Attributes:
        copy: Its record.
        size: That of its source, in bytes, at the point in time.
        is_new: False: another request made it.
    """

    copy: VolumeRecord
    size: int = 0
    is_new: bool = True


def copy_volume(
    context: StoreContext,
    volumes: LiveVolumes,
    request: VolumeRequest,
    progress: Progress,
    begun: Callable[[VolumeId], None] | None = None,
) -> VolumeId:
    """Copy a volume, and return the id of the copy, which is `available`.

    Args:
        context: The store.
        volumes: The open volumes.
        request: What the copy is to be, and of which volume.
        progress: Told how far it is.
        begun: Called with the copy's id once the point in time is fixed.

    Raises:
        InvalidInputError, NotFoundError, ConflictError, LimitExceededError: EC2 would refuse it, or
            another process has the source open.
        EbsimError: It cannot be read or written, or a key cannot be had. No copy is left.
    """
    source_id = parse_volume_id(request.source_volume_id or "")
    with context.catalog.read() as reader:
        source = _source(context, reader, source_id)
        _sized(source, request)  # refused before anybody is waited for
        prepared = prepare_volume_copy(context, request.encryption, source)
    with ExitStack() as alive:
        begin = partial(_begin, request=request, prepared=prepared, alive=alive)
        made, share = _begin_at_once(context, volumes, source_id, begin)
        copy_id = made.copy.volume_id
        if share is None:
            return copy_id  # the same request has made it meanwhile
        try:
            if begun is not None:
                begun(copy_id)
            with volumes.using(copy_id) as target:
                _copy_blocks(_Moment(share, copy_id, made.size, progress), target, progress)
            failpoints.reach("volume-copy.written")
            commit_journaled(context, lambda commit: _finish(commit, copy_id))
            failpoints.reach("volume-copy.completed")
        except BaseException:
            _forget(context, volumes, copy_id)
            raise
        finally:
            _let_go(share, copy_id)
    return copy_id


def _forget(context: StoreContext, volumes: LiveVolumes, copy_id: VolumeId) -> None:
    """Have a copy go that failed; where that fails too, the next one to open the store does it."""
    if context.poison:
        return
    try:
        with suppress(NotFoundError, ConflictError):
            volumes.delete(copy_id, never_had=True)
    except EbsimError as error:  # why there is no copy is what its user is told
        _log.warning("%s cannot be deleted now: %s", copy_id, error)


def drop_unfinished(context: StoreContext, volumes: LiveVolumes) -> None:
    """Let go of the copies that processes were making which died."""
    with context.catalog.read() as reader:
        left = [each for each in managed_volumes(reader) if is_unfinished(each)]
    for found in left:
        lock = context.locks.try_hold(_region(found.volume_id))
        if lock is not None:
            with lock, suppress(NotFoundError, ConflictError):
                with context.catalog.read() as reader:
                    dead = is_unfinished(get_managed(reader, found.volume_id))
                if dead:
                    volumes.delete(found.volume_id, never_had=True)
                    live = volumes.find(VolumeId(found.source_volume))
                    _thaw(live, found.volume_id)


def thaw_ended(context: StoreContext, live: LiveVolume) -> None:
    """Let go of the points in time of copies that other processes ended while it was open here."""
    points = [point.needed_by for point in live.frozen if point.whole]
    if points:
        with context.catalog.read() as reader:
            pending = pending_copies(reader, get_managed(reader, live.volume_id))
        for gone in set(points) - {each.volume_id for each in pending}:
            _thaw(live, VolumeId(gone))


def _region(copy_id: VolumeId) -> int:
    return named_region(f"copy {copy_id}")


def _begin_at_once(
    context: StoreContext,
    volumes: LiveVolumes,
    source_id: VolumeId,
    begin: Callable[[JournaledCommit], _Begun],
) -> tuple[_Begun, Share | None]:
    """Record a copy and fix its point in time; return it, and a share of its source.

    Where it was made by the same request before, nothing is fixed, and there is no share.
    """
    with ExitStack() as undo:
        live = volumes.acquire(source_id)
        undo.callback(volumes.release, live)
        thaw_ended(context, live)
        with volumes.freezing:
            begun = commit_journaled(context, begin)
            if not begun.is_new:
                return begun, None
            failpoints.reach("volume-copy.begun")
            with ExitStack() as stripes:
                for stripe in live.stripes:
                    stripes.enter_context(stripe)
                live.freeze(frozen_for(begun.copy))
        failpoints.reach("volume-copy.frozen")
        undo.pop_all()
        return begun, volumes.share(live)


def _let_go(share: Share, copy_id: VolumeId) -> None:
    """Let the source go on without the point in time; where it is lent, once it is closed.

    What became of the copy does not depend on whether the source can be closed well.
    """
    try:
        with share.if_open() as live:
            _thaw(live, copy_id)
    finally:
        try:
            share.release()
        except EbsimError as error:
            _log.warning("volume %s could not be closed: %s", share.volume_id, error)


def _thaw(live: LiveVolume | None, copy_id: VolumeId) -> None:
    point = None if live is None else find_point(live.frozen, copy_id)
    if live is not None and point is not None:
        try:
            live.thaw(point)
        except OSError as error:  # who opens the volume next removes what was kept
            _log.warning("what was kept for %s cannot be removed: %s", copy_id, error)


def _source(context: StoreContext, reader: CatalogReader, volume_id: VolumeId) -> VolumeRecord:
    """Return the record of a volume that can be copied."""
    source = own_volume(context, reader, volume_id)
    if source.state not in _COPYABLE:
        raise refusals.volume_state(volume_id, source.state, _COPYABLE)
    return source


def _sized(source: VolumeRecord, request: VolumeRequest) -> VolumeRequest:
    """Return the request with the size and the zone of the copy.

    Raises:
        InvalidInputError: It is to be smaller than its source, or is told of what it takes over.
    """
    if request.snapshot_id or request.initialization_rate is not None or request.zone:
        raise refusals.invalid_combination(
            "A copy of a volume is told no snapshot, rate or zone: it lies where its source does."
        )
    smallest = size_gib(source.size_bytes)
    if request.size_gib is not None and request.size_gib < smallest:
        raise refusals.invalid_value(
            request.size_gib, "size", f"Expected at least {smallest} GiB, as its source has"
        )
    return replace(request, size_gib=request.size_gib or smallest)


def _begin(
    commit: JournaledCommit, request: VolumeRequest, prepared: Preparation, alive: ExitStack
) -> _Begun:
    """Record a copy.

    Args:
        commit: The transaction.
        request: What it is to be.
        prepared: What it is encrypted with.
        alive: Is given what says, as long as it is held, that somebody makes the copy.
    """
    context, writer = commit.context, commit.writer
    known = made_by(context, writer, request)
    if known is not None:
        return _Begun(known, is_new=False)
    source = _source(context, writer, parse_volume_id(request.source_volume_id or ""))
    _check_copies(context, writer)
    sized = replace(_sized(source, request), zone=source.zone)
    record = new_volume_record(context, writer, sized, None)
    alive.enter_context(context.locks.hold(_region(record.volume_id)))
    record = replace(
        with_token(record, request),
        state=VolumeState.CREATING,
        source_volume=source.volume_id,
        source_epoch=source.epoch,
        domain=prepared.settle(writer),
        kms_key=prepared.kms_key,
    )
    ensure_file_possible(context, record)
    put_managed(writer, record)
    put_managed(writer, with_copy(writer, source, record.volume_id))
    domains = domain_facts(writer, record.domain)
    commit.journal("create-volume", {"volume": asdict(record), **domains})
    return _Begun(record, source.size_bytes)


def _check_copies(context: StoreContext, reader: CatalogReader) -> None:
    limit = quotas_here(context, reader).volume_copies
    making = [each for each in managed_volumes(reader, context.acting) if is_unfinished(each)]
    if len(making) >= limit:
        raise instance_refusals.volume_copy_limit(limit)


def _finish(commit: JournaledCommit, volume_id: VolumeId) -> None:
    record = get_managed(commit.writer, volume_id)
    if record.state != VolumeState.CREATING:  # it was deleted meanwhile
        raise refusals.volume_state(volume_id, record.state, [VolumeState.CREATING])
    done = replace(record, state=VolumeState.AVAILABLE)
    put_managed(commit.writer, done)
    note_copy_ended(commit.writer, done)
    volume_changed(commit.context, commit.writer, done, "createVolume", "available")
    commit.journal("modify-volume", {"volume": asdict(done)})


class _Moment:
    """A volume at the point in time of its copy. Others may use it between two blocks.

    Args:
        share: The volume.
        copy_id: The copy.
        size: How large the volume was.
        progress: Asked while others have the volume; what it raises ends the waiting.
    """

    def __init__(self, share: Share, copy_id: VolumeId, size: int, progress: Progress) -> None:
        self._share = share
        self._copy_id = copy_id
        self._progress = progress
        self.source_id = share.volume_id
        self.size = size

    def blocks(self) -> Iterator[int]:
        """Yield the blocks that may hold something, in their order."""
        total = self.size // BLOCK_SIZE
        for first in range(0, total, LEAF_BLOCKS):
            count = min(LEAF_BLOCKS, total - first)
            with self._frozen() as (live, point):
                empty = live.was_hole(point, first, count)
            if not empty:
                yield from range(first, first + count)

    def read(self, block: int, buffer: memoryview) -> bool:
        """Fill the buffer with a block; return False where it held nothing.

        Raises:
            SourceError: It was overwritten and could not be kept; or the store was closed.
            EbsimError: It cannot be read.
        """
        with self._frozen() as (live, point):
            if live.was_hole(point, block):
                found = False
            else:
                live.read_frozen(point, block, buffer)
                found = True
            point.done = block + 1
            return found

    @contextmanager
    def _frozen(self) -> Iterator[tuple[LiveVolume, Frozen]]:
        """Return a context with the volume and the point in time.

        Raises:
            SourceError: The point in time is lost; or a file or the keyring cannot be read, which
                is no reason for the handle to write nothing any more.
        """
        try:
            with ExitStack() as stack:
                live = self._entered(stack)
                yield live, ensure_kept(live, self._copy_id)
                ensure_kept(live, self._copy_id)  # it may be lent before anybody asks again
        except StoreError as error:
            is_key = error.code in KEYRING_FAILURES
            code = error.code if is_key else ErrorCode.SOURCE_READ_FAILED
            raise SourceError(str(error), code) from error

    def _entered(self, stack: ExitStack) -> LiveVolume:
        """Return the volume, in use here as long as the stack says; wait for it if it is lent."""
        while True:
            live = self._try_enter(stack)
            if live is not None:
                return live
            self._progress.advance(0)

    def _try_enter(self, stack: ExitStack) -> LiveVolume | None:
        """Return the volume, or None: it was lent at the first look, and at the second."""
        looks = 0

        def is_late() -> bool:
            nonlocal looks
            looks += 1
            return looks > 1

        try:
            return stack.enter_context(self._share.using(is_late))
        except StoppedError:
            if looks > 1:
                return None
            reason = "the store was closed before the copy was completed"
            raise SourceError(reason, ErrorCode.SOURCE_READ_FAILED) from None


def _copy_blocks(source: _Moment, target: LiveVolume, progress: Progress) -> None:
    """Write all blocks that held something; zeros are unwritten on a copy, however they came."""
    data = bytearray(BLOCK_SIZE)
    buffer = memoryview(data)
    progress.start(f"copying {source.source_id}", source.size)
    done = 0
    try:
        for block in source.blocks():
            offset = block * BLOCK_SIZE
            progress.advance(offset - done)
            done = offset
            if source.read(block, buffer) and data != _ZEROS:
                target.write(offset, buffer)
        progress.advance(source.size - done)
        target.flush()
    finally:
        progress.finish()
