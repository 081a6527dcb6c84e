"""A live volume: reading and writing its blocks while snapshots of it are pending.

The data lie in a sparse file, at the same offsets. A write goes straight to it, but for the first
one to a block in an epoch, which may have to

    load      fetch the rest of the block, if the volume was made from a snapshot and the block is
              not loaded yet (`ebsim.volumes.origin`);
    keep      copy the block as it is, if a pending snapshot or a copy must not see the write
              (`ebsim.volumes.kept_blocks`);
    intend    say durably that the leaf is going to be written to (`ebsim.volumes.intents`);
    note      that the block is written, in memory; `flush` makes it durable.

From a point in time on until the catalog knows what was written before it, every block that is
overwritten is kept: a process that dies meanwhile leaves only guesses, and these are compared.

Stripes: blocks share 16 locks. Whoever writes or loads a block, or reads it for a snapshot, holds
its stripe; a point in time is fixed while all of them are held. So a write that returned before is
in the snapshot, one that begins after is not, and nobody waits for longer than one block takes.
Reading a loaded block takes no lock.

The file of an encrypted volume, and its kept blocks, are given plain bytes, and encrypt them
(`ebsim.storage.sealed_file`). Who reads or writes some must be able to use the key at that moment.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from ebsim import failpoints
from ebsim.core.block_maps import LEAF_BLOCKS
from ebsim.core.context import StoreContext
from ebsim.core.domains import open_domain
from ebsim.core.point_in_time import note_durable, note_lost, note_tracked
from ebsim.core.volume_records import note_data_bytes
from ebsim.core.written_blocks import LeafWrites, add_writes, no_flags
from ebsim.errors import EbsimError, InvalidInputError
from ebsim.format.records import VolumeRecord
from ebsim.storage.catalog import CatalogWriter
from ebsim.storage.failures import is_no_space, read_failure, write_failure
from ebsim.storage.reserve import DELETION_PART
from ebsim.units import BLOCK_SIZE
from ebsim.volumes.frozen import Frozen, as_flags
from ebsim.volumes.needed_blocks import NeededBlocks
from ebsim.volumes.origin import Origin
from ebsim.volumes.poisoning import closing_on_failure, poisoned
from ebsim.volumes.volume_files import VolumeFiles

STRIPES = 16
_ZEROS = bytes(BLOCK_SIZE)

_WRITTEN = 1
_PUNCHED = 2
"""Flags of a block written in this epoch; one that gave its space back needs some to be written."""


class LiveVolume:
    """The live data of one volume, open in this process and no other. For several threads.

    Attributes:
        volume_id: The volume.
        number: Its number.
        stripes: Its locks; taken in this order by whoever takes several.
        frozen: The points in time that pending snapshots and copies need, oldest first.
        closed: Whether its files are closed.
    """

    def __init__(
        self,
        context: StoreContext,
        volume: VolumeRecord,
        files: VolumeFiles,
        origin: Origin | None,
        frozen: list[Frozen],
    ) -> None:
        self._context = context
        self._files = files
        self._data = files.data
        self._origin = origin
        self._domain = volume.domain
        self._size = volume.size_bytes
        self._epoch = volume.epoch
        self._reach = 0  # up to where this process has written to the file
        self._durable_bytes = volume.data_bytes
        self._written: dict[int, bytearray] = {}
        self._needed = NeededBlocks(context, volume.number)
        self._unsaved: dict[tuple[int, int], bytearray] = {}
        self._mutex = threading.Lock()
        self._flushing = threading.Lock()
        self._saving = threading.Lock()
        self.volume_id = volume.volume_id
        self.number = volume.number
        self.stripes = tuple(threading.Lock() for _ in range(STRIPES))
        self.frozen = frozen
        self.closed = False

    @property
    def size(self) -> int:
        """The size in bytes."""
        return self._size

    @property
    def epoch(self) -> int:
        """The epoch that writes belong to now."""
        return self._epoch

    @property
    def origin(self) -> Origin | None:
        """What is still being loaded, or None."""
        return self._origin

    def ensure_key(self) -> None:
        """Look that the key of the volume, if it is encrypted, may be used (some microseconds).

        Raises:
            EbsimError: It cannot be had (`ebsim.core.domains.open_domain`).
        """
        if self._domain:
            open_domain(self._context, self._domain)

    # Reading and writing

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset` on; fewer only at the end.

        Raises:
            As `read_into`.
        """
        length = self._prepare_read(offset, length)
        if not length:
            return b""
        try:
            data = self._data.read_at(offset, length)
        except OSError as error:
            raise read_failure(error, self._files.data_path) from error
        return data if len(data) == length else data.ljust(length, b"\0")

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from `offset` on; return how many bytes: fewer only at the end.

        Raises:
            InvalidInputError: The offset is negative.
            CorruptionError: A block that has to be loaded is damaged.
            StoreError: The device failed.
            EbsimError: As `ensure_key`.
        """
        length = self._prepare_read(offset, len(buffer))
        if not length:
            return 0
        try:
            got = self._data.read_into(offset, buffer[:length])
        except OSError as error:
            raise read_failure(error, self._files.data_path) from error
        if got < length:  # the file ends where the last write ended
            buffer[got:length] = bytes(length - got)
        return length

    def write(self, offset: int, data: memoryview) -> int:
        """Write the bytes at `offset` and return how many there are.

        A write of more than a block is not one for a snapshot that is taken meanwhile, which sees
        whole blocks of it, as with any disk.

        Raises:
            InvalidInputError: It reaches behind the end of the volume; nothing is written.
            LimitExceededError: No space, or what is left is kept for deleting; some of it may be
                written.
            StoreError: The device failed, or a write of this handle failed before.
            EbsimError: As `ensure_key`; nothing is written.
        """
        length = len(data)
        if offset < 0 or offset + length > self._size:
            raise InvalidInputError(
                f"{length:,} bytes at offset {offset:,} do not fit into volume {self.volume_id}, "
                f"which has {self._size:,} bytes; nothing was written."
            )
        if self._context.poison:
            self._context.ensure_writable()
        if self._domain:
            self.ensure_key()
        done = 0
        while done < length:
            count = min(BLOCK_SIZE - (offset + done) % BLOCK_SIZE, length - done)
            part = data if count == length else data[done : done + count]
            self._write_part(offset + done, part)
            done += count
        return length

    def discard(self, offset: int, length: int) -> None:
        """Make bytes zero and give their space back, whole blocks of it.

        A block that never was written stays unwritten: a tool that discards a whole new volume does
        not make its next snapshot as large as the volume.

        Raises:
            As `write`.
        """
        end = offset + length
        if offset < 0 or length < 0 or end > self._size:
            raise InvalidInputError(
                f"{length:,} bytes at offset {offset:,} do not fit into volume {self.volume_id}, "
                f"which has {self._size:,} bytes; nothing was discarded."
            )
        self.ensure_key()
        while offset < end:
            block, start = divmod(offset, BLOCK_SIZE)
            count = min(BLOCK_SIZE - start, end - offset)
            if self.is_hole(block):
                pass
            elif count < BLOCK_SIZE:
                self.write(offset, memoryview(_ZEROS)[:count])
            else:
                self._discard_block(block)
            offset += count

    def load(self, block: int) -> None:
        """Load a block from what the volume was made from, unless it is local.

        Raises:
            CorruptionError: It is damaged in the store.
            LimitExceededError, StoreError: It could not be written.
            EbsimError: As `ensure_key`, of the volume or of what it is loaded from.
        """
        self.ensure_key()
        with self.stripes[block % STRIPES]:
            self._load_locked(block)

    def flush(self) -> None:
        """Make everything written so far durable, and that it was written.

        Raises:
            StoreError: The device failed: the volume is not written to until the store is reopened.
        """
        with self._flushing:  # who finds nothing left to save must not return before it is saved
            self._context.ensure_writable()
            origin = self._origin
            taken = origin.take_unsaved() if origin is not None else []
            reach = self._reach
            try:
                self._data.sync()
            except OSError as error:
                raise self._not_durable(error) from error
            failpoints.reach("flush.synced")
            with closing_on_failure(self._context):
                self.save_writes(origin, taken, reach)
            failpoints.reach("flush.committed")

    def settle(self) -> None:
        """Make durable, after a flush, what the points in time need that stay pending.

        Raises:
            StoreError, LimitExceededError: It failed. They are lost if that was the sync; else they
                are good as long as the machine runs.
        """
        frozen = self.frozen
        if not frozen:
            return
        try:
            self._files.kept.sync()
        except OSError as error:
            raise self._not_durable(error) from error
        failpoints.reach("settle.synced")

        def change(writer: CatalogWriter) -> None:
            for point in frozen:
                note_durable(writer, point.needed_by)

        self._context.catalog.update(change)

    def prepare_copy(self) -> None:
        """Have the catalog know all that a snapshot which is to be copied consists of.

        What it has of a volume that is being loaded must not be loaded anew after a crash.

        Raises:
            StoreError, LimitExceededError: As `flush`.
        """
        if self._origin is None:
            self.save_writes()
        else:
            self.flush()

    def save_writes(
        self,
        origin: Origin | None = None,
        loaded: list[tuple[int, bytes]] | None = None,
        durable: int = 0,
    ) -> None:
        """Commit which blocks were written, in all epochs; what became local; how long the file is.

        `durable` is up to where what this process has written is durable. What others wrote does
        not count: after a failed sync the kernel may remember more than the disk has.
        """
        with self._saving:
            with self._mutex:
                unsaved, self._unsaved = self._unsaved, {}
                rows = [(*key, as_flags(written)) for key, written in sorted(unsaved.items())]
                untracked = [point for point in self.frozen if not point.tracked]
            longer = durable > self._durable_bytes
            if not rows and not loaded and not untracked and not longer:
                return

            def change(writer: CatalogWriter) -> None:
                self._context.ensure_writable()
                for epoch, leaf, written in rows:
                    add_writes(writer, self.number, epoch, leaf, LeafWrites(written, no_flags()))
                if origin is not None and loaded:
                    origin.save(writer, loaded)
                for point in untracked:
                    note_tracked(writer, point.needed_by)
                if longer:
                    note_data_bytes(writer, self.volume_id, durable)

            try:
                self._context.catalog.update(change)
            except BaseException:
                with self._mutex:
                    self._unsaved = unsaved | self._unsaved
                if origin is not None and loaded:
                    origin.give_back(loaded)
                raise
            for point in untracked:
                point.tracked = True
            self._durable_bytes = max(self._durable_bytes, durable)

    # Points in time

    def freeze(self, frozen: Frozen) -> None:
        """Fix a point in time. The caller holds all stripes and has committed the new epoch."""
        assert frozen.epoch == self._epoch
        with self._mutex:
            frozen.written, self._written = self._written, {}
            self._epoch += 1
            self._needed.clear()
            self.frozen = [*self.frozen, frozen]

    def read_frozen(self, frozen: Frozen, block: int, buffer: memoryview) -> None:
        """Fill the buffer with a block as it was at a point in time.

        Of a snapshot only for blocks written before it, and not through an older one (`Frozen`).

        Raises:
            CorruptionError: A block kept or loaded is damaged.
            StoreError: The device failed.
            EbsimError: As `ensure_key`.
        """
        self.ensure_key()
        with self.stripes[block % STRIPES]:
            try:
                if self._files.kept.read(block, frozen.epoch, buffer):
                    return
            except OSError as error:
                raise read_failure(error, self._files.data_path) from error
            self._read_now(block, buffer)

    def was_hole(self, frozen: Frozen, block: int, count: int = 1) -> bool:
        """Return whether blocks held nothing at the point in time of a copy.

        False, too, where they were kept: then `read_frozen` tells. What is a hole now was one, or
        has been kept before it became one.
        """
        found = self.is_hole(block, count)
        return found and not self._files.kept.has_any(block, count, frozen.epoch)

    def thaw(self, frozen: Frozen) -> None:
        """Let go of a point in time; nothing is kept any more once nobody needs any.

        Where its snapshot failed, the next one contains what was written before it; so that one
        needs these blocks kept from now on. Where it is completed, that costs little.
        """
        with self._mutex:
            rest = [other for other in self.frozen if other is not frozen]
            for heir in [other for other in rest if other.epoch > frozen.epoch][:1]:
                heir.inherit(frozen.written)
            self.frozen = rest
            if rest:
                return
        for stripe in self.stripes:
            stripe.acquire()
        try:
            if not self.frozen:
                self._files.kept.clear()
        finally:
            for stripe in self.stripes:
                stripe.release()

    def resize(self, size: int) -> None:
        """Take over a larger size; the new part reads zeros."""
        self._size = max(self._size, size)

    def end_loading(self, release: Callable[[], None]) -> None:
        """Forget the origin: everything is local.

        Args:
            release: Lets go of it in the catalog. No flush is under way meanwhile, which would then
                tell the catalog once more what became local.
        """
        with self._flushing:
            if self._origin is not None:
                self._origin.retire()
            release()
            self._origin = None

    def close(self, *, clean: bool) -> None:
        """Close the files. With `clean`, all writes were flushed: nothing needs comparing later."""
        self.closed = True
        if clean:
            with suppress(OSError):  # then the next one to open it compares what they name
                self._files.intents.clear()
        self._files.close()

    def _prepare_read(self, offset: int, length: int) -> int:
        """Have what is going to be read in the file; return how much of it the volume has."""
        if offset < 0:
            raise InvalidInputError(f"A volume has no offset {offset}.")
        if self._domain:
            self.ensure_key()
        length = max(0, min(length, self._size - offset))
        origin = self._origin
        if origin is not None and length:
            for block in range(offset // BLOCK_SIZE, -(-(offset + length) // BLOCK_SIZE)):
                if not origin.is_local(block):
                    self.load(block)
        return length

    def _write_part(self, place: int, part: memoryview) -> None:
        """Write bytes that lie within one block, under its stripe."""
        block = place // BLOCK_SIZE
        with self.stripes[block % STRIPES]:
            leaf = self._written.get(block // LEAF_BLOCKS)
            first = leaf is None or not leaf[block % LEAF_BLOCKS]
            if first:
                self._prepare_write(block, whole=len(part) == BLOCK_SIZE)
            elif leaf is not None and leaf[block % LEAF_BLOCKS] == _PUNCHED:
                self._context.reserve.ensure_room(self._files.data_path)
                leaf[block % LEAF_BLOCKS] = _WRITTEN
            try:
                self._put(place, part)
                if first:
                    failpoints.reach("write.written")
                if self._origin is not None:
                    self._is_local_now(block)
            except OSError as error:
                self._write_failed(block)
                raise write_failure(error, self._files.data_path) from error

    def is_hole(self, block: int, count: int = 1) -> bool:
        """Return whether blocks are local and hold nothing: discarding them changes nothing."""
        origin, blocks = self._origin, range(block, block + count)
        if origin is not None and not all(map(origin.is_local, blocks)):
            return False
        try:
            return self._data.is_hole(block * BLOCK_SIZE, count * BLOCK_SIZE)
        except OSError as error:
            raise read_failure(error, self._files.data_path) from error

    # Under a block's stripe

    def _prepare_write(self, block: int, *, whole: bool) -> None:
        """Do what the first write to a block in an epoch needs, and note that it is written."""
        self._context.ensure_writable()
        self._context.reserve.ensure_room(self._files.data_path)
        frozen = self.frozen
        needing = self._needed.by(frozen, block) if frozen else []
        if needing:
            self._keep(needing, block)
            failpoints.reach("write.kept")
        if not whole:
            self._load_locked(block)
        leaf = block // LEAF_BLOCKS
        try:
            self._files.intents.note(leaf)
        except OSError as error:
            failed = write_failure if is_no_space(error) else partial(poisoned, self._context)
            raise failed(error, self._files.data_path) from error
        failpoints.reach("write.intended")
        with self._mutex:
            flags = self._written.get(leaf)
            if flags is None:
                flags = self._written[leaf] = bytearray(LEAF_BLOCKS)
            flags[block % LEAF_BLOCKS] = _WRITTEN
            self._unsaved[self._epoch, leaf] = flags

    def _is_local_now(self, block: int) -> None:
        """Note that the volume's file has a block that was just written.

        Raises:
            OSError: That could not be said for whoever opens the volume next.
        """
        origin = self._origin
        if origin is None:
            return
        if not origin.is_recoverable(block):
            self._files.intents.note_local(block)
            origin.mark_recoverable(block)
        if not origin.is_local(block):
            origin.mark_local(block)

    def _put(self, place: int, part: bytes | memoryview) -> None:
        """Write to the file, and note up to where; raises OSError."""
        self._data.write_at(place, (part,))
        if place + len(part) > self._reach:
            with self._mutex:  # others write under other stripes
                self._reach = max(self._reach, place + len(part))

    def _write_failed(self, block: int) -> None:
        """Have the next write to a block prepare again, where this one was to make it local.

        A block that is local stays written: some of the bytes may have reached the file.
        """
        origin = self._origin
        if origin is not None and not origin.is_local(block):
            self._written[block // LEAF_BLOCKS][block % LEAF_BLOCKS] = 0

    def _discard_block(self, block: int) -> None:
        with self.stripes[block % STRIPES]:
            leaf = self._written.get(block // LEAF_BLOCKS)
            if leaf is None or not leaf[block % LEAF_BLOCKS]:
                self._prepare_write(block, whole=True)
            try:
                # While a volume is being loaded, what is in its file is no hole: see rebuild.
                if self._origin is not None or not self._data.punch(block * BLOCK_SIZE, BLOCK_SIZE):
                    self._put(block * BLOCK_SIZE, _ZEROS)
                self._written[block // LEAF_BLOCKS][block % LEAF_BLOCKS] = _PUNCHED
                self._is_local_now(block)
            except OSError as error:
                self._write_failed(block)
                raise write_failure(error, self._files.data_path) from error

    def _load_locked(self, block: int) -> None:
        origin = self._origin
        if origin is None or origin.is_local(block):
            return
        data = origin.fetch(block)
        self._context.reserve.ensure_room(self._files.data_path)
        try:
            # Zeros too: a rebuild of the catalog takes a block with a hole for one to be loaded.
            self._put(block * BLOCK_SIZE, _ZEROS if data is None else data)
        except OSError as error:
            raise write_failure(error, self._files.data_path) from error
        failpoints.reach("load.written")
        origin.mark_local(block)

    def _keep(self, frozen: list[Frozen], block: int) -> None:
        """Keep a block as it is. A snapshot for which that fails must not hold up the writer.

        That it failed is committed before the block is overwritten: whoever goes on with the
        snapshots must not take the new bytes for the old.

        Raises:
            StoreError, LimitExceededError: That could not be committed; the block stays.
        """
        buffer = memoryview(bytearray(BLOCK_SIZE))
        try:
            self._read_now(block, buffer)
            self._files.kept.keep(block, self._epoch - 1, buffer)
        except (OSError, EbsimError) as error:
            self._lose(frozen, f"block {block} could not be kept when it was overwritten: {error}")

    def _not_durable(self, error: OSError) -> EbsimError:
        """Close the handle for writing after a failed sync, and return what to raise.

        The points in time are lost: what the kernel still shows of them may never reach the disk,
        and who opens the volume next would take what the disk has for them.
        """
        failure = poisoned(self._context, error, self._files.data_path)
        with suppress(EbsimError):  # where not even that can be committed
            self._lose(self.frozen, f"what it consists of could not be made durable: {failure}")
        return failure

    def _lose(self, frozen: list[Frozen], reason: str) -> None:
        def change(writer: CatalogWriter) -> None:
            for point in frozen:
                note_lost(writer, point.needed_by, reason)

        if not frozen:
            return
        with self._context.reserve.released_if_low(keep=DELETION_PART):
            self._context.catalog.update(change)
        for point in frozen:
            point.failure = point.failure or reason

    def _read_now(self, block: int, buffer: memoryview) -> None:
        """Fill the buffer with a block as it is now."""
        origin = self._origin
        if origin is not None and not origin.is_local(block):
            data = origin.fetch(block)
            buffer[:] = _ZEROS if data is None else data
            return
        try:
            got = self._data.read_into(block * BLOCK_SIZE, buffer)
        except OSError as error:
            raise read_failure(error, self._files.data_path) from error
        buffer[got:] = bytes(BLOCK_SIZE - got)
