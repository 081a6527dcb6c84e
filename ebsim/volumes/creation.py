"""Making managed volumes: one transaction, whatever their size.

A request with a client token is idempotent: the volume that it made remembers it, and as long as
that is there the same request makes no other (EC2's IdempotentParameterMismatch, where it is not
the same).
"""

import hashlib
import json
from dataclasses import asdict, replace

from ebsim import instance_refusals, refusals
from ebsim.core.access import owns, same_owner
from ebsim.core.changes import JournaledCommit, commit_journaled
from ebsim.core.context import StoreContext
from ebsim.core.domains import domain_facts
from ebsim.core.encryption import Preparation, prepare_volume
from ebsim.core.events import volume_changed
from ebsim.core.fast_restores import facts_of, take_credit
from ebsim.core.lineage import add_hold
from ebsim.core.volume_parent import begin_lineage
from ebsim.core.volume_records import new_volume_record, origin_of, put_managed
from ebsim.format.catalog_values import Table, number_key
from ebsim.format.records import SnapshotRecord, VolumeRecord, decode_volume
from ebsim.requests import VolumeRequest
from ebsim.results import VolumeState
from ebsim.storage.catalog import CatalogReader
from ebsim.volumes.file_limits import ensure_file_possible

TOKEN_LENGTH_MAX = 64
"""Characters of a client token, as EC2 has it."""


def create_volume(context: StoreContext, request: VolumeRequest) -> VolumeRecord:
    """Make a volume, empty or from a snapshot, and return its record.

    Or return that of the volume which the same request has made meanwhile.

    Raises:
        InvalidInputError, NotFoundError, ConflictError, LimitExceededError: EC2 would refuse it
            (semantics sections 3.2 and 11.5).
        EbsimError: It is to be encrypted, and the keyring is missing, locked or damaged.
    """
    with context.catalog.read() as reader:
        origin = origin_of(context, reader, request)
    prepared = prepare_volume(context, request.encryption, origin)
    return commit_journaled(context, lambda commit: _create(commit, request, prepared))


def find_made(context: StoreContext, request: VolumeRequest) -> VolumeRecord | None:
    """Return the volume that the same request has made, if it has a client token; else None.

    Raises:
        InvalidInputError: The token is too long, or not ASCII.
        ConflictError: IdempotentParameterMismatch: another request has used it.
    """
    token = request.client_token
    if not token:
        return None
    if len(token) > TOKEN_LENGTH_MAX or not token.isascii():
        expected = f"Expected at most {TOKEN_LENGTH_MAX} ASCII characters"
        raise refusals.invalid_value(token[:80], "clientToken", expected)
    with context.catalog.read() as reader:
        return made_by(context, reader, request)


def made_by(
    context: StoreContext, reader: CatalogReader, request: VolumeRequest
) -> VolumeRecord | None:
    """Return the volume that the same request has made, as `find_made`; the token is proper."""
    if not request.client_token:
        return None
    within = json.dumps(request.client_token).encode("ascii")  # so that few records are decoded
    for _, value in reader.items(Table.VOLUMES):
        if within not in value:
            continue
        record = decode_volume(value)
        if record.client_token == request.client_token and owns(context.acting, record):
            if record.client_request != _digest(request):
                raise instance_refusals.token_of_another_request(
                    request.client_token, record.volume_id
                )
            return record
    return None


def with_token(record: VolumeRecord, request: VolumeRequest) -> VolumeRecord:
    """Return the record of a volume that remembers the request which made it."""
    if not request.client_token:
        return record
    token, digest = request.client_token, _digest(request)
    return replace(record, client_token=token, client_request=digest)


def _digest(request: VolumeRequest) -> str:
    """Return a hash of what a request asks for."""
    facts = {**asdict(request), "tags": dict(request.tags)}
    if request.source_volume_id is None:
        del facts["source_volume_id"]  # as it was before there were copies
    asked = json.dumps(facts, sort_keys=True)
    return hashlib.blake2b(asked.encode("ascii"), digest_size=16).hexdigest()


def _create(commit: JournaledCommit, request: VolumeRequest, prepared: Preparation) -> VolumeRecord:
    context, writer = commit.context, commit.writer
    known = made_by(context, writer, request)
    if known is not None:
        return known
    origin = origin_of(context, writer, request)
    record = new_volume_record(context, writer, request, origin)
    record = replace(record, domain=prepared.settle(writer), kms_key=prepared.kms_key)
    record = with_token(record, request)
    ensure_file_possible(context, record)
    fast_restore = None
    if origin is not None:
        if request.initialization_rate is None:  # a rate goes before fast restore
            fast_restore = take_credit(writer, record, origin, record.created_us)
        record = replace(
            record,
            state=VolumeState.CREATING if fast_restore else VolumeState.AVAILABLE,
            fast_restored=fast_restore is not None,
            origin_hold=add_hold(writer, origin.node, origin.root),
            origin_root=origin.root,
            origin_blocks=origin.full_blocks,
            lineage=origin.lineage if _goes_on(origin, record) else 0,
        )
        if not record.lineage:
            begin_lineage(writer, record)
        key = origin.snapshot_id.encode() + number_key(record.number)
        writer.put(Table.VOLUME_ORIGINS, key, record.volume_id.encode())
    put_managed(writer, record)
    if fast_restore is None:  # else it is available, and told, once it is loaded
        volume_changed(context, writer, record, "createVolume", "available")
    credit = facts_of([fast_restore] if fast_restore else [])
    domains = domain_facts(writer, record.domain)
    commit.journal("create-volume", {"volume": asdict(record), **credit, **domains})
    return record


def _goes_on(origin: SnapshotRecord, volume: VolumeRecord) -> bool:
    """Return whether a volume's snapshots go on with the lineage of what it is made from.

    Not in another account or Region, and not under another data key: those begin with a full one
    (semantics section 11.5).
    """
    return same_owner(origin, volume) and origin.domain == volume.domain
