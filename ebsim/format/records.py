"""The catalog's records of snapshots, volumes, sources and charges, as JSON; and the journal's.

JSON, because there are few of them, people must be able to read a dump, and a field can be added
without a new layout. What there are many of (blocks, pages) has a fixed layout in
`ebsim.format.catalog_values`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

from ebsim.caller import OWNER_DEFAULT, REGION_DEFAULT
from ebsim.errors import CorruptionError, ErrorCode
from ebsim.ids import SnapshotId, VolumeId
from ebsim.results import ChargeCause, ChargeEvent, Snapshot, SnapshotState
from ebsim.tiering import StorageTier
from ebsim.units import BLOCK_SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRecord:
    """A volume: managed, with live data of its own, or the memory of a scanned source.

    Attributes:
        volume_id: `vol-` and 17 hex digits.
        number: Its number in this store.
        managed: Whether ebsim keeps its data, in `STORE/volumes/VOLUME_ID`.
        source: Where a scanned source was read from last; empty for a managed volume.
        size_bytes: A managed volume's size; a scanned one's at the last completed snapshot, 0
            before the first.
        created_us: When it was made or first seen.
        owner: The account it belongs to.
        region: The Region it lies in.
        zone: The Availability Zone of a managed volume.
        state: A `VolumeState` value.
        volume_type: gp2, gp3, io1, io2, st1, sc1 or standard.
        iops: Provisioned or included I/O operations a second, 0 where the type has none.
        throughput: MiB a second, for gp3; else 0.
        tags: Key to value.
        origin_id: The snapshot it was made from.
        origin_hold: The lineage node that keeps that snapshot's map while not all is loaded, or 0.
        origin_root: The root page of that map while held, or 0.
        origin_blocks: Blocks in that map.
        lineage: The lineage of the snapshot it was made from, else 0.
        has_data: Whether its file of live data was made.
        data_bytes: How long that file is at least, durably since some flush: one that is shorter
            was cut short.
        initialization_rate: MiB a second at which it is loaded behind the scenes; 0: not bounded.
        epoch: Writes belong to this epoch; each snapshot ends one (`ebsim.core.written_blocks`).
        modifications: Times, in microseconds, of the modifications of the last 24 hours.
        modification: The last one: what `VolumeModification` says.
        domain: The dedup domain of its blocks and of its live data; 0: unencrypted.
        kms_key: The ARN of the KMS key it is encrypted under; empty: it is not.
        last_copy: For what stands for the copies of a lineage: the latest one, begun or completed.
        source_volume: The volume that it is a copy of; empty: none. It is `creating` until all of
            it is copied.
        source_epoch: The last epoch of that volume's writes which the copy contains.
        source_failure: Why that point in time does not exist any more; empty: it does.
        copies: The copies of it that are being made, or were when their process died.
        fast_restored: Whether it was made with a credit of fast snapshot restore: it is `creating`
            until all of it is loaded.
        recycled: While it is in the Recycle Bin: for how long (`ebsim.format.bin_records.Stay`).
        auto_enable_io: EC2's attribute of that name.
        client_token: What makes the request that made it idempotent; empty: nothing.
        client_request: A hash of that request, if it had a token.
        attachment: While it is attached to an instance: the members of `Attachment` but the volume.
    """

    volume_id: VolumeId
    number: int
    managed: bool = False
    source: str
    size_bytes: int
    created_us: int
    owner: str = OWNER_DEFAULT
    region: str = REGION_DEFAULT
    zone: str = f"{REGION_DEFAULT}a"
    state: str = "available"
    volume_type: str = "gp2"
    iops: int = 0
    throughput: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    origin_id: SnapshotId | None = None
    origin_hold: int = 0
    origin_root: int = 0
    origin_blocks: int = 0
    lineage: int = 0
    has_data: bool = False
    data_bytes: int = 0
    initialization_rate: int = 0
    epoch: int = 1
    modifications: list[int] = field(default_factory=list)
    modification: dict[str, Any] | None = None
    domain: int = 0
    kms_key: str = ""
    last_copy: str = ""
    fast_restored: bool = False
    source_volume: str = ""
    source_epoch: int = 0
    source_failure: str = ""
    copies: list[str] = field(default_factory=list)
    recycled: dict[str, Any] | None = None
    auto_enable_io: bool = False
    client_token: str = ""
    client_request: str = ""
    attachment: dict[str, Any] | None = None


_STATES = {state.value: state for state in SnapshotState}
_TIERS = {tier.value: tier for tier in StorageTier}


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRecord:
    """A snapshot as the catalog keeps it.

    Attributes:
        snapshot_id: `snap-` and 17 hex digits.
        volume_id: The volume it was taken of.
        state: A `SnapshotState` value.
        state_message: Why it is in `error`, or will be.
        session: The number of the writing session, while pending.
        begun: When it began, as a number of the same count as `node`.
        start_us: When its point in time was fixed.
        completion_us: When it ended.
        description: Free text.
        tags: Key to value.
        size_bytes: The exact size of the source.
        scanned_bytes: How far the copying has come, while pending.
        full_blocks: Blocks in its map; while pending, in its parent's.
        incremental_blocks: Versions it added when it was made.
        charged_blocks: Versions it is charged now.
        parent_id: What it was incremental on when it was made.
        source: Where it was read from.
        node: Its node in the lineage once completed, else 0; grows with the order of completion.
        hold: The node that holds its parent's map while pending, else 0.
        root: The root page of its block map, 0 if nothing is written.
        lineage: Snapshots with the same number descend from one first snapshot.
        domain: The dedup domain of its blocks; 0: unencrypted.
        kms_key: The ARN of the KMS key it is encrypted under; empty: it is not.
        data_key_id: The UUID of its data key; empty: it is not encrypted.
        owner: The account it belongs to.
        region: The Region it lies in.
        tier: The storage tier: a `StorageTier` value.
        tiering: How it came to be in that tier (`ebsim.core.tier_rules.Tiering`), or None.
        apart: It was restored from the archive: it is full, and shares with none of the snapshots
            of its volume (`ebsim.core.lineage`).
        epoch: The last epoch of a managed volume's writes that it contains; 0 for a scanned source.
        base_epoch: The last epoch that its parent contains: what it adds is of the epochs between.
        set_id: Equal for the members of a multi-volume set, else empty.
        deletion_wanted: It was deleted while pending: it goes as soon as it is completed.
        boot: The boot of the machine that a pending one's point in time depends on; empty once all
            of it is durable, and for a scanned source.
        tracked: Whether the catalog knows for certain what was written before that point.
        compression: How its new blocks are to be stored, while it is pending: `zstd:LEVEL` or
            `none`; empty for the default, and once it ended.
        shared_with: The accounts that may make volumes and copies of it.
        public: Whether every account may, unless its owner blocks that.
        tags_of_others: By account that it is shared with, the tags which that one put on it.
        lock: The lock on it (`ebsim.core.lock_rules.Lock`), or None.
        copied_from: The Region, a slash, and the snapshot that it is a copy of; empty for none. For
            one in another store, the id of that store and a slash before it.
        copied_part: What a pending copy from another store has already
            (`ebsim.core.copied_part.CopiedPart`), or None.
        recycled: While it is in the Recycle Bin: for how long (`ebsim.format.bin_records.Stay`).
        started: How it is written block by block (`ebsim.core.started_rules.Started`), or None.
    """

    snapshot_id: SnapshotId
    volume_id: VolumeId
    state: str
    state_message: str = ""
    session: int = 0
    begun: int
    start_us: int
    completion_us: int | None = None
    description: str = ""
    tags: dict[str, str]
    size_bytes: int
    scanned_bytes: int = 0
    full_blocks: int = 0
    incremental_blocks: int = 0
    charged_blocks: int = 0
    parent_id: SnapshotId | None = None
    source: str
    node: int = 0
    hold: int = 0
    root: int = 0
    lineage: int = 0
    domain: int = 0
    kms_key: str = ""
    data_key_id: str = ""
    owner: str = OWNER_DEFAULT
    region: str = REGION_DEFAULT
    tier: str = "standard"
    tiering: dict[str, Any] | None = None
    apart: bool = False
    epoch: int = 0
    base_epoch: int = 0
    set_id: str = ""
    deletion_wanted: bool = False
    boot: str = ""
    tracked: bool = False
    compression: str = ""
    shared_with: list[str] = field(default_factory=list)
    public: bool = False
    tags_of_others: dict[str, dict[str, str]] = field(default_factory=dict)
    lock: dict[str, Any] | None = None
    copied_from: str = ""
    copied_part: dict[str, int] | None = None
    recycled: dict[str, Any] | None = None
    started: dict[str, Any] | None = None

    def to_result(self) -> Snapshot:
        """Return the snapshot as a user sees it."""
        state = _STATES[self.state]
        percent = 100 if state is SnapshotState.COMPLETED else 0
        if state is SnapshotState.PENDING:
            percent = min(99, 100 * self.scanned_bytes // max(1, self.size_bytes))
        if self.recycled is not None:
            state = SnapshotState.RECOVERABLE
        return Snapshot(
            snapshot_id=self.snapshot_id,
            volume_id=self.volume_id,
            state=state,
            state_message=self._message(state),
            progress_percent=percent,
            start_time_us=self.start_us,
            completion_time_us=self.completion_us,
            description=self.description,
            tags=dict(self.tags),
            size_bytes=self.size_bytes,
            full_size_bytes=self.full_blocks * BLOCK_SIZE if self.node else 0,
            incremental_size_bytes=self.incremental_blocks * BLOCK_SIZE,
            charged_size_bytes=self.charged_blocks * BLOCK_SIZE,
            parent_id=self.parent_id,
            source=self.source,
            owner=self.owner,
            encrypted=bool(self.domain or self.kms_key),
            kms_key_id=self.kms_key,
            data_encryption_key_id=self.data_key_id,
            storage_tier=_TIERS[self.tier],
            restore_expiry_time_us=(self.tiering or {}).get("expires_us") or None,
            copied_from=self.copied_from,
        )

    def _message(self, state: SnapshotState) -> str:
        if state is SnapshotState.PENDING and self.deletion_wanted and not self.state_message:
            return "it was deleted while pending, and goes as soon as it is completed"
        return self.state_message

    @property
    def is_archived(self) -> bool:
        """Whether it is in the archive only, and cannot be read."""
        return self.tier == StorageTier.ARCHIVE

    def charged(self, blocks: int) -> "SnapshotRecord":
        """Return the record with its charge changed by `blocks`."""
        return replace(self, charged_blocks=self.charged_blocks + blocks)


def encode_json(value: Any) -> bytes:  # noqa: ANN401 - whatever JSON can hold
    """Return a value as compact JSON with sorted keys, in ASCII: paths may be no valid UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def decode_json(data: bytes) -> dict[str, Any]:
    """Return the JSON object that `data` holds.

    Raises:
        CorruptionError: It is none.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptionError(f"no record: {error}", ErrorCode.CORRUPT_CATALOG) from None
    if not isinstance(value, dict):
        raise CorruptionError("no record: another JSON value", ErrorCode.CORRUPT_CATALOG)
    return value


def encode_snapshot(record: SnapshotRecord) -> bytes:
    """Return a snapshot record as stored."""
    return encode_json(asdict(record))


@lru_cache(maxsize=1024)
def decode_snapshot(data: bytes) -> SnapshotRecord:
    """Return the snapshot record that `data` holds; do not change what is in it.

    Those used last are kept, decoded: it is the dearest part of describing a few snapshots.

    Raises:
        CorruptionError: It is none.
    """
    try:
        return SnapshotRecord(**decode_json(data))
    except TypeError as error:
        raise CorruptionError(f"no snapshot: {error}", ErrorCode.CORRUPT_CATALOG) from None


def encode_volume(record: VolumeRecord) -> bytes:
    """Return a volume record as stored."""
    return encode_json(asdict(record))


def decode_volume(data: bytes) -> VolumeRecord:
    """Return the volume record that `data` holds.

    Raises:
        CorruptionError: It is none.
    """
    try:
        return VolumeRecord(**decode_json(data))
    except TypeError as error:
        raise CorruptionError(f"no volume: {error}", ErrorCode.CORRUPT_CATALOG) from None


def encode_event(event: ChargeEvent) -> bytes:
    """Return a ledger entry as stored."""
    return encode_json(asdict(event))


def event_facts(event: ChargeEvent) -> dict[str, Any]:
    """Return a ledger entry as the journal has it: the sequence number is that of the journal."""
    facts = asdict(event)
    del facts["sequence"]
    return facts


def event_of(fields: Mapping[str, Any]) -> ChargeEvent:
    """Return the ledger entry that has these fields.

    Raises:
        KeyError, TypeError, ValueError: There is none.
    """
    tier = StorageTier(fields.get("tier", StorageTier.STANDARD))
    return ChargeEvent(**{**fields, "cause": ChargeCause(fields["cause"]), "tier": tier})


def decode_event(data: bytes) -> ChargeEvent:
    """Return the ledger entry that `data` holds.

    Raises:
        CorruptionError: It is none.
    """
    try:
        return event_of(decode_json(data))
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptionError(f"no ledger entry: {error}", ErrorCode.CORRUPT_CATALOG) from None
