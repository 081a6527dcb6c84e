"""Copying managed volumes: EC2's CopyVolumes (S-73).

The copy is recorded, `creating`, and the point in time fixed, while all stripes of the source are
held; so whoever is told of it then may write on. Its blocks are read under them: writes to the
source wait until all of it is copied. It is `available` when all is durable. A process that dies
meanwhile leaves a volume that is `creating`, and the lock for copies of its source free; the next
one to open the store lets it go.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace

from ebsim import instance_refusals, refusals
from ebsim.core.block_maps import LEAF_BLOCKS
from ebsim.core.changes import JournaledCommit, commit_journaled
from ebsim.core.context import StoreContext
from ebsim.core.domains import domain_facts
from ebsim.core.encryption import Preparation, prepare_volume_copy
from ebsim.core.events import volume_changed
from ebsim.core.quotas import quotas_here
from ebsim.core.volume_records import (
    get_managed,
    managed_volumes,
    new_volume_record,
    own_volume,
    put_managed,
)
from ebsim.errors import ConflictError, NotFoundError
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
from ebsim.volumes.live_volume import LiveVolume
from ebsim.volumes.registry import LiveVolumes

_COPYABLE = (VolumeState.AVAILABLE, VolumeState.IN_USE)
_ZEROS = memoryview(bytes(BLOCK_SIZE))


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
        sized = _sized(_source(context, reader, source_id), request)
        prepared = prepare_volume_copy(context, request.encryption, get_managed(reader, source_id))
    with (
        volumes.using(source_id) as live,
        context.locks.hold(_region(source_id)),
        ExitStack() as stripes,
    ):
        for stripe in live.stripes:
            stripes.enter_context(stripe)
        record = commit_journaled(context, lambda commit: _begin(commit, request, sized, prepared))
        if record.state != VolumeState.CREATING:
            return record.volume_id  # the same request has made it meanwhile
        try:
            if begun is not None:
                begun(record.volume_id)
            with volumes.using(record.volume_id) as target:
                _copy_blocks(live, target, progress)
            commit_journaled(context, lambda commit: _finish(commit, record.volume_id))
        except BaseException:
            if not context.poison:
                with suppress(NotFoundError, ConflictError):
                    volumes.delete(record.volume_id, never_had=True)
            raise
    return record.volume_id


def drop_unfinished(context: StoreContext, volumes: LiveVolumes) -> None:
    """Let go of the copies that processes were making which died."""
    with context.catalog.read() as reader:
        left = [each for each in managed_volumes(reader) if _is_unfinished(each)]
    for found in left:
        lock = context.locks.try_hold(_region(VolumeId(found.source_volume)))
        if lock is not None:
            with lock, suppress(NotFoundError, ConflictError):
                with context.catalog.read() as reader:
                    dead = _is_unfinished(get_managed(reader, found.volume_id))
                if dead:
                    volumes.delete(found.volume_id, never_had=True)


def _is_unfinished(volume: VolumeRecord) -> bool:
    return bool(volume.source_volume) and volume.state == VolumeState.CREATING


def _region(source_id: VolumeId) -> int:
    return named_region(f"copies of {source_id}")


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
    commit: JournaledCommit, request: VolumeRequest, sized: VolumeRequest, prepared: Preparation
) -> VolumeRecord:
    context, writer = commit.context, commit.writer
    known = made_by(context, writer, request)
    if known is not None:
        return known
    source = _source(context, writer, parse_volume_id(request.source_volume_id or ""))
    _check_copies(context, writer)
    record = new_volume_record(context, writer, replace(sized, zone=source.zone), None)
    record = replace(
        with_token(record, request),
        state=VolumeState.CREATING,
        source_volume=source.volume_id,
        domain=prepared.settle(writer),
        kms_key=prepared.kms_key,
    )
    ensure_file_possible(context, record)
    put_managed(writer, record)
    domains = domain_facts(writer, record.domain)
    commit.journal("create-volume", {"volume": asdict(record), **domains})
    return record


def _check_copies(context: StoreContext, reader: CatalogReader) -> None:
    limit = quotas_here(context, reader).volume_copies
    making = [each for each in managed_volumes(reader, context.acting) if _is_unfinished(each)]
    if len(making) >= limit:
        raise instance_refusals.volume_copy_limit(limit)


def _finish(commit: JournaledCommit, volume_id: VolumeId) -> None:
    record = get_managed(commit.writer, volume_id)
    if record.state != VolumeState.CREATING:  # it was deleted meanwhile
        raise refusals.volume_state(volume_id, record.state, [VolumeState.CREATING])
    done = replace(record, state=VolumeState.AVAILABLE)
    put_managed(commit.writer, done)
    volume_changed(commit.context, commit.writer, done, "createVolume", "available")
    commit.journal("modify-volume", {"volume": asdict(done)})


def _copy_blocks(source: LiveVolume, target: LiveVolume, progress: Progress) -> None:
    """Write all blocks that hold something; the caller has the stripes of the source."""
    buffer = memoryview(bytearray(BLOCK_SIZE))
    progress.start(f"copying {source.volume_id}", source.size)
    done = 0
    try:
        for block in _blocks(source):
            offset = block * BLOCK_SIZE
            progress.advance(offset - done)
            origin = source.origin
            if origin is not None and not origin.is_local(block):
                found = origin.fetch(block)
                target.write(offset, _ZEROS if found is None else found)
            else:
                count = source.read_into(offset, buffer)
                target.write(offset, buffer[:count])
            done = offset
        progress.advance(source.size - done)
        target.flush()
    finally:
        progress.finish()


def _blocks(source: LiveVolume) -> Iterator[int]:
    """Yield the blocks of a volume that are no holes."""
    total = source.size // BLOCK_SIZE
    for first in range(0, total, LEAF_BLOCKS):
        count = min(LEAF_BLOCKS, total - first)
        if not source.is_hole(first, count):
            yield from (block for block in range(first, first + count) if not source.is_hole(block))
