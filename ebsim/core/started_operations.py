"""StartSnapshot, PutSnapshotBlock and CompleteSnapshot, as `Store.started` offers them."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from ebsim import started_refusals as refusals
from ebsim.core.changes import BEGUN, writing
from ebsim.core.context import StoreContext
from ebsim.core.counters import take
from ebsim.core.domains import encryption_members
from ebsim.core.encryption import Preparation
from ebsim.core.lineage import add_hold
from ebsim.core.snapshots import put_snapshot
from ebsim.core.started_clock import deadline_us, end_timed_out, started_writes
from ebsim.core.started_files import create_files, hold_started, note, remove_files
from ebsim.core.started_rules import (
    MINUTE_US,
    Started,
    check_pending,
    check_request,
    digest_of,
    find_started,
    parent_of,
    prepare,
    volume_of,
    writable,
)
from ebsim.core.volumes import put_volume
from ebsim.errors import EbsimError, StoreError
from ebsim.format.catalog_values import Counter
from ebsim.format.records import SnapshotRecord
from ebsim.ids import SnapshotId, new_snapshot_id, parse_snapshot_id
from ebsim.results import Snapshot, SnapshotState
from ebsim.started import StartRequest
from ebsim.storage.catalog import CatalogWriter
from ebsim.storage.files import Buffer
from ebsim.units import BLOCK_SIZE, GIB, block_count


class StartedOperations:
    """Writing snapshots block by block. For several threads.

    A started snapshot is written by one process at a time; another one's requests are refused.
    """

    def __init__(self, context: StoreContext) -> None:
        self._context = context

    def start(self, request: StartRequest) -> Snapshot:
        """Begin a snapshot, which is pending until it is completed, timed out or deleted.

        Raises:
            InvalidInputError: EBS's ValidationException (semantics section 11.9).
            NotFoundError, ConflictError: The parent is not there, or cannot be read; or another
                request has used the client token (ConflictException).
            LimitExceededError: 100 are pending.
            EbsimError: It is to be encrypted, and the key cannot be had.
        """
        context = self._context
        check_request(request)
        with context.catalog.read() as reader:
            known = find_started(context, reader, request)
            parent = None if known is not None else parent_of(context, reader, request)
        if known is not None:
            return known.to_result()
        prepared = prepare(context, request, parent)
        snapshot_id = new_snapshot_id(context.entropy)
        with writing(context, BEGUN), hold_started(context, snapshot_id):
            started_writes(context).remove_leftovers(strays=True)
            create_files(context, snapshot_id)
            try:
                record = context.catalog.update(
                    lambda writer: self._begin(writer, snapshot_id, request, prepared)
                )
            except EbsimError as error:
                if not isinstance(error, StoreError):
                    remove_files(context, snapshot_id)
                raise
            if record.snapshot_id != snapshot_id:  # the same request was faster
                remove_files(context, snapshot_id)
        return record.to_result()

    def put(
        self,
        snapshot_id: str,
        index: int,
        block: Buffer,
        checksum: bytes,
        digest: bytes | None = None,
    ) -> None:
        """Write a whole block; a block that was put before is replaced.

        It survives its process when this returns, as a volume's write does, and the machine when
        `complete` has returned.

        Args:
            snapshot_id: The snapshot.
            index: Which block.
            block: 524,288 bytes; zeros count as written.
            checksum: What SHA-256 makes of them, by who sent them.
            digest: What it does make of them, if that is known; None: it is computed.

        Raises:
            InvalidInputError: ValidationException: the block or its place is none, the checksum is
                another, the snapshot is sealed or timed out.
            NotFoundError, ForbiddenError: There is no such snapshot, or it is another account's.
            ConflictError: Another process writes it.
            LimitExceededError, StoreError: It cannot be written.
        """
        record, started = self._writable(parse_snapshot_id(snapshot_id))
        if started.sealed:
            raise refusals.sealed(snapshot_id, record.state)
        count = block_count(record.size_bytes)
        if not 0 <= index < count:
            raise refusals.bad_block(
                f"Block {index} is outside of {snapshot_id}: it has the blocks 0 to {count - 1}."
            )
        if len(block) != BLOCK_SIZE:
            raise refusals.bad_block(
                f"Block {index} has {len(block)} bytes: a block has {BLOCK_SIZE}."
            )
        if digest is None:
            digest = hashlib.sha256(block).digest()
        if digest != checksum:
            raise refusals.bad_block(f"The checksum of block {index} is not that of its bytes.")
        staging = started_writes(self._context).staging(record)
        if not staging.put(index, block, digest, self._context.clock.now_us()):
            raise refusals.sealed(snapshot_id, record.state)

    def complete(
        self, snapshot_id: str, blocks: int, checksum: bytes | None = None
    ) -> SnapshotState:
        """Seal a snapshot, which is then completed behind the scenes.

        Asked for again, with the same count and checksum, it tells the state only (EBS does not
        say what it does then).

        Args:
            snapshot_id: The snapshot.
            blocks: How many different blocks were put.
            checksum: SHA-256 of the blocks' raw digests, ascending by index; None: not compared.

        Raises:
            InvalidInputError: ValidationException: count or checksum are others; then it can be
                written to and completed still. Or it timed out.
            NotFoundError, ForbiddenError, ConflictError: As `put`.
            StoreError, LimitExceededError: A write failed.
        """
        context, name = self._context, parse_snapshot_id(snapshot_id)
        record, started = self._writable(name)
        if started.sealed:
            _compare(name, started.blocks, bytes.fromhex(started.checksum), (blocks, checksum))
            return SnapshotState(record.state)
        writes = started_writes(context)
        staging = writes.staging(record)
        known, computed = staging.freeze()
        try:
            _compare(name, known, computed, (blocks, checksum))
            with writing(context, BEGUN):
                staging.sync()
                context.catalog.update(lambda writer: self._seal(writer, name, known, computed))
        except BaseException:
            staging.thaw()
            raise
        writes.make(name)
        return SnapshotState.PENDING

    def _writable(self, snapshot_id: SnapshotId) -> tuple[SnapshotRecord, Started]:
        """Return a started snapshot that did not time out.

        Raises:
            EbsimError: As `writable`.
        """
        context = self._context
        now_us = context.clock.now_us()
        with context.catalog.read() as reader:
            found = writable(context, reader, snapshot_id)
        if deadline_us(context, found[0], now_us) > now_us:
            return found
        end_timed_out(context, snapshot_id)
        with context.catalog.read() as reader:
            return writable(context, reader, snapshot_id)

    def _seal(self, writer: CatalogWriter, name: SnapshotId, blocks: int, checksum: bytes) -> None:
        self._context.ensure_writable()
        record, started = writable(self._context, writer, name)
        sealed = replace(started, sealed=True, blocks=blocks, checksum=checksum.hex())
        put_snapshot(writer, replace(record, started=asdict(sealed)))

    def _begin(
        self,
        writer: CatalogWriter,
        snapshot_id: SnapshotId,
        request: StartRequest,
        prepared: Preparation,
    ) -> SnapshotRecord:
        context = self._context
        context.ensure_writable()
        known = find_started(context, writer, request)
        if known is not None:
            return known
        check_pending(context, writer)
        parent = parent_of(context, writer, request)
        size = request.volume_size_gib * GIB
        lineage = parent.lineage if parent is not None else take(writer, Counter.LINEAGE)
        volume = volume_of(context, writer, lineage, size)
        put_volume(writer, volume)
        parent_members: Mapping[str, Any] = {}
        if parent is not None:
            parent_members = {
                "parent_id": parent.snapshot_id,
                "full_blocks": parent.full_blocks,
                "hold": add_hold(writer, parent.node, parent.root),
                "root": parent.root,
            }
        started = Started(
            timeout_us=request.timeout_minutes * MINUTE_US,
            client_token=request.client_token,
            request=digest_of(request),
        )
        record = SnapshotRecord(
            snapshot_id=snapshot_id,
            volume_id=volume.volume_id,
            state=SnapshotState.PENDING,
            begun=take(writer, Counter.NODE),
            start_us=context.clock.now_us(),
            description=request.description,
            tags=dict(request.tags),
            size_bytes=size,
            source=volume.source,
            lineage=lineage,
            owner=context.acting.account,
            region=context.acting.region,
            started=asdict(started),
            **parent_members,
            **encryption_members(writer, prepared.settle(writer)),
        )
        put_snapshot(writer, record)
        note(writer, snapshot_id)
        return record


def _compare(
    name: SnapshotId, blocks: int, checksum: bytes, told: tuple[int, bytes | None]
) -> None:
    if told[0] != blocks:
        raise refusals.wrong_count(name, told[0], blocks)
    if told[1] is not None and told[1] != checksum:
        raise refusals.wrong_checksum(name)
