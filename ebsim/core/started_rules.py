"""Started snapshots: what their records say of them, and what StartSnapshot may ask for.

A started snapshot is pending from the beginning. Its blocks lie in `STORE/started` until
CompleteSnapshot seals it (`ebsim.core.started_files`); then it is made like any other, incremental
on its parent (`ebsim.core.started_making`). Snapshots of one lineage that were written like that
have one volume, which stands for nothing else: EBS gives them an arbitrary volume id.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Self

from ebsim import started_refusals as refusals
from ebsim.config import SnapshotOptions
from ebsim.core.access import own_snapshot, owns, usable_snapshot
from ebsim.core.context import StoreContext
from ebsim.core.counters import take
from ebsim.core.encryption import Preparation, make_domain
from ebsim.core.encryption_keys import key_to_decrypt, key_to_encrypt, load_defaults
from ebsim.core.encryption_rules import started_key
from ebsim.core.quotas import quotas_here
from ebsim.core.snapshots import NO_SESSION, check_options, pending_snapshots
from ebsim.core.snapshots import get_snapshot as get_record
from ebsim.core.volumes import find_volume
from ebsim.encryption import EncryptionSource
from ebsim.errors import EbsimError, InvalidInputError
from ebsim.format.catalog_values import Counter, Table
from ebsim.format.records import SnapshotRecord, VolumeRecord, decode_snapshot
from ebsim.ids import SnapshotId, new_volume_id, parse_snapshot_id
from ebsim.results import SnapshotState
from ebsim.started import (
    SIZE_GIB_MAX,
    TAG_KEY_LENGTH_MAX,
    TAG_VALUE_LENGTH_MAX,
    TIMEOUT_MINUTES_MAX,
    TIMEOUT_MINUTES_MIN,
    TOKEN_LENGTH_MAX,
    StartRequest,
)
from ebsim.storage.catalog import CatalogReader, CatalogWriter
from ebsim.units import GIB

MINUTE_US = 60 * 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What the record of a started snapshot says of its writing.

    Attributes:
        timeout_us: How long may pass without a block.
        sealed: Whether CompleteSnapshot was called: then nothing can be written any more.
        blocks: How many different blocks were put, once it is sealed.
        checksum: The LINEAR checksum, in hex, once it is sealed.
        client_token: What makes its request idempotent; empty: nothing.
        request: A hash of that request.
    """

    timeout_us: int
    sealed: bool = False
    blocks: int = 0
    checksum: str = ""
    client_token: str = ""
    request: str = ""

    @classmethod
    def of(cls, record: SnapshotRecord) -> Self | None:
        """Return what a record says; None: it is not of a started snapshot."""
        return None if record.started is None else cls(**record.started)


def is_being_written(record: SnapshotRecord) -> bool:
    """Return whether blocks may still be put to a snapshot."""
    started = Started.of(record)
    return started is not None and not started.sealed and record.state == SnapshotState.PENDING


def writable(
    context: StoreContext, reader: CatalogReader, snapshot_id: SnapshotId
) -> tuple[SnapshotRecord, Started]:
    """Return the record of a started snapshot of the caller's.

    Raises:
        NotFoundError, ForbiddenError: There is none, or it is another account's.
        InvalidInputError: It was made in another way, or timed out.
    """
    record = own_snapshot(context, reader, snapshot_id)
    started = Started.of(record)
    if started is None or record.deletion_wanted:
        raise refusals.not_started(snapshot_id)
    if record.state == SnapshotState.ERROR and not started.sealed:
        raise refusals.timed_out(snapshot_id, record.state_message)
    return record, started


def check_request(request: StartRequest) -> None:
    """Check what StartSnapshot is told (semantics section 11.9).

    Raises:
        InvalidInputError: ValidationException, with its reason.
    """
    size, minutes = request.volume_size_gib, request.timeout_minutes
    if not 1 <= size <= SIZE_GIB_MAX:
        raise refusals.bad_size(f"VolumeSize is {size}: expected 1 to {SIZE_GIB_MAX} GiB.")
    if not TIMEOUT_MINUTES_MIN <= minutes <= TIMEOUT_MINUTES_MAX:
        raise refusals.bad_parameter(
            f"Timeout is {minutes}: expected {TIMEOUT_MINUTES_MIN} to {TIMEOUT_MINUTES_MAX} "
            "minutes."
        )
    token = request.client_token
    if len(token) > TOKEN_LENGTH_MAX or any(each.isspace() for each in token):
        raise refusals.bad_parameter(
            f"A client token has at most {TOKEN_LENGTH_MAX} characters, and no blanks."
        )
    check_options(SnapshotOptions(description=request.description))
    try:
        check_options(SnapshotOptions(tags=request.tags))
    except InvalidInputError as error:
        error.reason = "INVALID_TAG"
        raise
    for key, value in request.tags.items():
        if len(key) > TAG_KEY_LENGTH_MAX or len(value) > TAG_VALUE_LENGTH_MAX:
            raise refusals.tag_too_long(key, TAG_KEY_LENGTH_MAX, TAG_VALUE_LENGTH_MAX)


def parent_of(
    context: StoreContext, reader: CatalogReader, request: StartRequest
) -> SnapshotRecord | None:
    """Return what a new snapshot is incremental on.

    Raises:
        InvalidInputError: It is another account's, or larger.
        NotFoundError, ConflictError: It is not there, or cannot be read.
    """
    if not request.parent_id:
        return None
    parent = usable_snapshot(context, reader, parse_snapshot_id(request.parent_id))
    if not owns(context.acting, parent):
        raise refusals.parent_of_others(parent.snapshot_id)
    if request.volume_size_gib * GIB < parent.size_bytes:
        raise refusals.bad_size(
            f"VolumeSize is {request.volume_size_gib} GiB, less than that of the parent snapshot "
            f"{parent.snapshot_id} ({parent.size_bytes} bytes)."
        )
    return parent


def prepare(
    context: StoreContext, request: StartRequest, parent: SnapshotRecord | None
) -> Preparation:
    """Prepare the encryption of a started snapshot (semantics section 11.9, row by row).

    Raises:
        InvalidInputError: The table has ValidationException there.
        ConflictError: A key that is needed cannot be used.
        EbsimError: The keyring is missing, locked or damaged.
    """
    with context.catalog.read() as reader:
        defaults = load_defaults(reader, context.acting)
    source = None if parent is None else EncryptionSource(kms_key_id=parent.kms_key or None)
    try:
        reference = started_key(request.encryption, defaults, source)
    except EbsimError as error:
        error.reason = "INVALID_PARAMETER_VALUE"
        raise
    if parent is not None and parent.domain:
        key = key_to_decrypt(context, parent.kms_key)
        return Preparation(kms_key=key.arn, domain=parent.domain)
    if reference is None:
        return Preparation()
    return make_domain(context, key_to_encrypt(context, reference).arn)


def check_pending(context: StoreContext, reader: CatalogReader) -> None:
    """Check how many snapshots the account is writing.

    Raises:
        LimitExceededError: ConcurrentLimitExceededException.
    """
    pending = (get_record(reader, each) for each in pending_snapshots(reader, NO_SESSION))
    own = [each for each in pending if is_being_written(each) and owns(context.acting, each)]
    limit = quotas_here(context, reader).pending_started
    if len(own) >= limit:
        raise refusals.started_limit(limit)


def digest_of(request: StartRequest) -> str:
    """Return a hash of what a request asks for."""
    asked = json.dumps({**asdict(request), "tags": dict(request.tags)}, sort_keys=True)
    return hashlib.blake2b(asked.encode("ascii"), digest_size=16).hexdigest()


def find_started(
    context: StoreContext, reader: CatalogReader, request: StartRequest
) -> SnapshotRecord | None:
    """Return the snapshot that the same request has started, if it has a client token; else None.

    Raises:
        ConflictError: Another request has used the token.
    """
    token = request.client_token
    if not token:
        return None
    within = json.dumps(token).encode("ascii")  # so that few records are decoded
    for _, value in reader.items(Table.SNAPSHOTS):
        if within not in value:
            continue
        record = decode_snapshot(value)
        started = Started.of(record)
        if started is None or started.client_token != token or not owns(context.acting, record):
            continue
        if started.request != digest_of(request):
            raise refusals.token_of_another_start(token, record.snapshot_id)
        return record
    return None


def volume_of(
    context: StoreContext, writer: CatalogWriter, lineage: int, size_bytes: int
) -> VolumeRecord:
    """Return the volume of the snapshots of a lineage that are written block by block."""
    identity = f"direct writes of lineage {lineage}"
    known = find_volume(context, writer, identity)
    if known is not None:
        return replace(known, size_bytes=max(known.size_bytes, size_bytes))
    return VolumeRecord(
        volume_id=new_volume_id(context.entropy),
        number=take(writer, Counter.VOLUME),
        source=identity,
        size_bytes=size_bytes,
        created_us=context.clock.now_us(),
        owner=context.acting.account,
        region=context.acting.region,
    )
