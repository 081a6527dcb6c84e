"""Reading single blocks of snapshots, as who asks for one block after the other does."""

from contextlib import suppress

from ebsim.core.access import usable_snapshot
from ebsim.core.block_maps import LEAF_BLOCKS
from ebsim.core.block_places import BlockPlace, find_place, leaf_places
from ebsim.core.context import StoreContext
from ebsim.core.domains import open_domain
from ebsim.core.read import BlockLoader, LoaderBuffers
from ebsim.core.read_memory import ReadableSnapshot
from ebsim.core.snapshots import get_completed
from ebsim.errors import CorruptionError, InvalidInputError, NotFoundError
from ebsim.ids import SnapshotId
from ebsim.units import BLOCK_SIZE, block_count

_BUFFERS = LoaderBuffers()
"""For single blocks: buffers that are made anew cost more than the rest of a read."""


def read_block(context: StoreContext, snapshot_id: SnapshotId, index: int) -> bytes | memoryview:
    """Return the 524,288 bytes of one block of a snapshot; zeros where nothing was written.

    Costs four page look-ups and one decompression, whatever the chain's length; the look-ups are
    saved by who reads on near a block that was read before.

    Raises:
        NotFoundError: No such snapshot.
        ConflictError: It is not completed.
        InvalidInputError: The index is outside the volume.
        CorruptionError: The stored bytes are damaged.
        EbsimError: Its key cannot be had (`ebsim.core.domains.open_domain`).
    """
    snapshot = _readable(context, snapshot_id)
    if not 0 <= index < snapshot.blocks:
        raise InvalidInputError(
            f"Block {index} is outside snapshot {snapshot_id}, which has {snapshot.blocks} blocks."
        )
    try:
        return _load(context, snapshot, index)
    except CorruptionError as error:
        ensure_still_there(context, snapshot_id, error)
        raise


def _load(context: StoreContext, snapshot: ReadableSnapshot, index: int) -> bytes | memoryview:
    place = _find(context, snapshot.root, index)
    open_domain(context, snapshot.domain)  # zeros are not for those without the key either
    if place is None:
        return bytes(BLOCK_SIZE)
    loader = BlockLoader(context, _BUFFERS)
    try:
        return loader.load_own(place)
    finally:
        if loader.missed:
            context.state.reads.forget_places((snapshot.root, index // LEAF_BLOCKS))


def ensure_still_there(
    context: StoreContext, snapshot_id: SnapshotId, error: CorruptionError
) -> None:
    """Tell damage from a snapshot that was deleted while it was being read."""
    with context.catalog.read() as reader:
        try:
            get_completed(reader, snapshot_id)
        except NotFoundError:
            raise NotFoundError(
                f"The snapshot '{snapshot_id}' was deleted while it was being read."
            ) from error


def _readable(context: StoreContext, snapshot_id: SnapshotId) -> ReadableSnapshot:
    """Return a snapshot that the caller may read.

    Raises:
        NotFoundError, ConflictError: As `read_block`.
    """
    memory = context.state.reads
    found = memory.snapshot(context.caller, snapshot_id, context.catalog.last_commit())
    if found is None:
        with context.catalog.read() as reader:
            record = usable_snapshot(context, reader, snapshot_id)
            blocks = block_count(record.size_bytes)
            found = ReadableSnapshot(reader.commit, record.root, blocks, record.domain)
        memory.keep_snapshot(context.caller, snapshot_id, found)
    return found


def _find(context: StoreContext, root: int, index: int) -> BlockPlace | None:
    """Return where a block of a map lies; None where it is unwritten or zeros."""
    memory, leaf = context.state.reads, (root, index // LEAF_BLOCKS)
    places = memory.places(leaf)
    if places is not None:
        return places[index % LEAF_BLOCKS]
    with context.catalog.read() as reader:
        found = find_place(reader, root, index)
        if memory.is_read_on(leaf):
            with suppress(CorruptionError):  # of another block: who asks for it will hear of it
                memory.keep_places(leaf, leaf_places(reader, *leaf))
    return found
