"""Restore: writing a snapshot's full image to a target.

A full restore reads segments in the order of their bytes and writes blocks where they belong; what
is unwritten, or a zero block, becomes a hole. A restore *in place* reads the target, hashes it
block by block, and writes only what differs.

A block whose stored bytes are damaged ends a restore, unless the user asked for zeros instead: then
every such range is reported, so that it is never taken for data.
"""

import errno
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ebsim.core.access import usable_snapshot
from ebsim.core.block_maps import LEAF_BLOCKS, load_page, walk_leaves
from ebsim.core.block_places import BlockPlace, Places
from ebsim.core.context import StoreContext
from ebsim.core.domains import open_domain
from ebsim.core.extents import leaf_work
from ebsim.core.parallel import run_in_order
from ebsim.core.read import BlockLoader
from ebsim.core.single_reads import ensure_still_there
from ebsim.core.snapshots import get_completed
from ebsim.core.version_table import version_blocks
from ebsim.errors import CorruptionError, ErrorCode, StoreError
from ebsim.format.catalog_values import FIRST_BLOCK
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId
from ebsim.progress import Progress
from ebsim.results import RestoreReport
from ebsim.storage.buffers import block_buffer
from ebsim.storage.own_files import ensure_not_in_store
from ebsim.storage.segments import merge_ranges
from ebsim.storage.targets import RestoreTarget, open_target
from ebsim.units import BLOCK_SIZE, block_count

RUN_BLOCKS = 8
"""Blocks handed to a worker at once."""

WINDOW_LEAVES = 64
"""Leaves (8 GiB of a volume) whose blocks are sorted by place at once: 16,384 places in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreChoices:
    """How a snapshot is restored.

    Attributes:
        in_place: Read an existing target and write only what differs.
        force: Replace an existing file.
        zero_damaged: Write zeros for blocks whose stored bytes are damaged, and report them.
    """

    in_place: bool = False
    force: bool = False
    zero_damaged: bool = False


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A block and where its bytes are; None where it is zeros."""

    index: int
    place: BlockPlace | None


def restore_to_path(
    context: StoreContext,
    snapshot_id: SnapshotId,
    path: Path,
    choices: RestoreChoices,
    progress: Progress,
) -> RestoreReport:
    """Write a snapshot to a file or device; a target that is not whole is given up.

    Raises:
        InvalidInputError: TargetFailed: the target is a part of the store.
        EbsimError: Its key cannot be had (`ebsim.core.domains.open_domain`).
        As `restore_snapshot` and `ebsim.storage.targets.open_target`.
    """
    ensure_not_in_store(path, context.path, ErrorCode.TARGET_FAILED)
    with context.catalog.read() as reader:
        wanted = usable_snapshot(context, reader, snapshot_id)
    open_domain(context, wanted.domain)  # before the target is touched
    size = wanted.size_bytes
    target = open_target(
        path, size, in_place=choices.in_place, force=choices.force, entropy=context.entropy
    )
    try:
        written, damaged = restore_snapshot(context, snapshot_id, target, choices, progress)
        target.commit()
    except BaseException:
        target.abort()
        raise
    return RestoreReport(
        snapshot_id=snapshot_id,
        target=target.path,
        size_bytes=size,
        written_bytes=written,
        in_place=choices.in_place,
        damaged_ranges=damaged,
    )


def restore_snapshot(
    context: StoreContext,
    snapshot_id: SnapshotId,
    target: RestoreTarget,
    choices: RestoreChoices,
    progress: Progress,
) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Write a snapshot to a target, which the caller commits.

    Returns:
        The bytes written, and the half-open byte ranges that are zeros for lack of sound bytes.

    Raises:
        NotFoundError: No such snapshot, or it was deleted meanwhile.
        ConflictError: It is not completed.
        CorruptionError: Stored bytes are damaged; the target must not be committed.
        OSError, EbsimError: As the target raises.
    """
    in_place = choices.in_place
    with context.catalog.read() as reader:
        record = get_completed(reader, snapshot_id)
        leaves = list(walk_leaves(reader, record.root))
    restore = _Restore(context, record, target, leaves)
    restore.zero_damaged = choices.zero_damaged
    total = record.size_bytes if in_place else record.full_blocks * BLOCK_SIZE
    progress.start(f"restore {snapshot_id}", total)
    written = 0
    try:
        steps = restore.reconcile() if in_place else restore.write_all()
        with closing(steps):
            for handled, changed in steps:
                progress.advance(handled)
                written += changed
        if restore.damage is not None:
            ensure_still_there(context, snapshot_id, restore.damage)
    except CorruptionError as error:
        ensure_still_there(context, snapshot_id, error)
        raise
    finally:
        progress.finish()
    return written, restore.damaged_ranges()


class _Restore:
    """One restore; each method yields (bytes handled, bytes written).

    Attributes:
        zero_damaged: Whether damaged blocks become zeros; else the first one ends the restore.
        damage: What was wrong with one of them; None while none was found.
    """

    def __init__(
        self,
        context: StoreContext,
        record: SnapshotRecord,
        target: RestoreTarget,
        leaves: list[tuple[int, int]],
    ) -> None:
        self._context = context
        self._record = record
        self._target = target
        self._leaves = leaves
        self._loader = BlockLoader(context)
        self._domain = open_domain(context, record.domain)
        self._buffer = _Buffer()
        self._damaged: set[int] = set()
        self.zero_damaged = False
        self.damage: CorruptionError | None = None

    def write_all(self) -> Generator[tuple[int, int], None, None]:
        """Write every block that holds data, in the order of the segments' bytes."""
        if not self._target.starts_blank:
            for start, end in self._empty_ranges():
                self._target.zero(start, end - start)
        yield from run_in_order(self._write_run, self._runs_by_place())

    def reconcile(self) -> Generator[tuple[int, int], None, None]:
        """Write the blocks in which the target differs."""
        yield from run_in_order(self._reconcile_run, self._runs_by_index())

    def _wanted(self, leaf: int, page_id: int) -> list[_Wanted]:
        """Return what each block of a leaf should hold."""
        base = leaf * LEAF_BLOCKS
        count = min(LEAF_BLOCKS, block_count(self._record.size_bytes) - base)
        if page_id == 0:
            return [_Wanted(base + at, None) for at in range(count)]
        with self._context.catalog.read() as reader:
            blocks = version_blocks(reader, load_page(reader, page_id)).tolist()[:count]
            places = Places(reader)
            return [
                _Wanted(base + at, None if block < FIRST_BLOCK else places.find(block))
                for at, block in enumerate(blocks)
            ]

    def _runs_by_place(self) -> Iterator[list[_Wanted]]:
        for start in range(0, len(self._leaves), WINDOW_LEAVES):
            found = [
                (wanted.place.segment_id, wanted.place.record.offset, wanted)
                for leaf, page_id in self._leaves[start : start + WINDOW_LEAVES]
                for wanted in self._wanted(leaf, page_id)
                if wanted.place is not None
            ]
            found.sort(key=lambda item: item[:2])
            for first in range(0, len(found), RUN_BLOCKS):
                yield [wanted for _, _, wanted in found[first : first + RUN_BLOCKS]]

    def _write_run(self, run: Sequence[_Wanted]) -> tuple[int, int]:
        written = 0
        for wanted in run:
            self._write(wanted)
            written += self._length(wanted)
        return len(run) * BLOCK_SIZE, written

    def _write(self, wanted: _Wanted) -> None:
        """Write one block: its bytes, or zeros where it has none or is damaged."""
        offset = wanted.index * BLOCK_SIZE
        block = None if wanted.place is None else self._load(wanted.place, wanted.index)
        if block is None:
            self._target.zero(offset, self._length(wanted))
        else:
            self._target.write(offset, block)

    def _load(self, place: BlockPlace, index: int) -> memoryview | None:
        """Return a block's bytes; None if they are damaged and shall become zeros."""
        try:
            return self._loader.load(place)
        except (CorruptionError, StoreError) as error:
            if not self.zero_damaged or not _is_damage(error):
                raise
            self._damaged.add(index)  # one step, whatever other threads do
            self.damage = CorruptionError(str(error), error.code)
            return None

    def damaged_ranges(self) -> tuple[tuple[int, int], ...]:
        """Return the byte ranges of damaged blocks, ascending, those that touch made one."""
        size = self._record.size_bytes
        spans = ((index * BLOCK_SIZE, BLOCK_SIZE) for index in self._damaged)
        return tuple((offset, min(offset + length, size)) for offset, length in merge_ranges(spans))

    def _length(self, wanted: _Wanted) -> int:
        """Return the bytes of a block that belong to the image: fewer in a partial last one."""
        return min(BLOCK_SIZE, self._record.size_bytes - wanted.index * BLOCK_SIZE)

    def _empty_ranges(self) -> Iterator[tuple[int, int]]:
        """Yield byte ranges of the image that hold no data, ascending."""
        size, position = self._record.size_bytes, 0
        for leaf, page_id in self._leaves:
            for wanted in self._wanted(leaf, page_id):
                if wanted.place is not None:
                    offset = wanted.index * BLOCK_SIZE
                    if offset > position:
                        yield position, offset
                    position = offset + BLOCK_SIZE
        if position < size:
            yield position, size

    def _runs_by_index(self) -> Iterator[tuple[list[_Wanted], bool]]:
        """Yield runs of blocks, and whether the target may hold data there."""
        for leaf, page_id, data in leaf_work(self._target, self._leaves):
            wanted = self._wanted(leaf, page_id)
            base = leaf * LEAF_BLOCKS
            position = 0
            for start, end in [*data, (base + len(wanted), base + len(wanted))]:
                yield from _split(wanted[position : start - base], reads_zero=True)
                yield from _split(wanted[start - base : end - base], reads_zero=False)
                position = end - base

    def _reconcile_run(self, task: tuple[list[_Wanted], bool]) -> tuple[int, int]:
        run, reads_zero = task
        written = 0
        for wanted in run:
            zero = self._domain.zero_hash
            found = zero if reads_zero else self._hash_target(wanted.index)
            place = wanted.place
            if found == (zero if place is None else place.record.block_hash):
                continue
            self._write(wanted)
            written += self._length(wanted)
        return len(run) * BLOCK_SIZE, written

    def _hash_target(self, index: int) -> bytes:
        buffer = self._buffer
        offset = index * BLOCK_SIZE
        length = min(BLOCK_SIZE, self._record.size_bytes - offset)
        self._target.read_into(offset, buffer.view[:length])
        if length < BLOCK_SIZE:
            buffer.view[length:] = bytes(BLOCK_SIZE - length)
        return self._domain.hash_block(buffer.view)


class _Buffer(threading.local):
    """A block's worth of memory for each thread."""

    def __init__(self) -> None:
        self.view = block_buffer()


def _is_damage(error: CorruptionError | StoreError) -> bool:
    """Tell stored bytes that are altered, missing or unreadable from a store that cannot be used.

    Too few descriptors, or a folder without permission, say nothing about the bytes.
    """
    cause = error.__cause__
    unreadable = isinstance(cause, OSError) and cause.errno == errno.EIO
    return isinstance(error, CorruptionError) or unreadable


def _split(wanted: list[_Wanted], *, reads_zero: bool) -> Iterator[tuple[list[_Wanted], bool]]:
    for first in range(0, len(wanted), RUN_BLOCKS):
        yield wanted[first : first + RUN_BLOCKS], reads_zero
