"""Wrapping a store's data keys anew, after the KMS key that wraps them was rotated.

No data are touched: a data key stays what it is. Until it is wrapped anew, the older material of
the KMS key, which the keyring keeps, opens it.
"""

from dataclasses import asdict, replace

from ebsim.caller import Caller
from ebsim.core.changes import JournaledCommit, commit_journaled, writing
from ebsim.core.context import StoreContext
from ebsim.core.domains import get_domain, list_domains, put_domain
from ebsim.format.domain_records import DomainRecord
from ebsim.ids import DataKeyId
from ebsim.keys.wrapping import Binding


def rewrap_data_keys(context: StoreContext, key_arn: str) -> int:
    """Wrap all data keys of a store that a KMS key wraps with that key's newest material.

    Returns:
        How many were wrapped anew.

    Raises:
        ConflictError: The caller may not use the key, or it is not enabled.
        CorruptionError: A wrapped data key is damaged; none is changed.
        StoreError, LimitExceededError: A write failed.
    """
    with context.catalog.read() as reader:
        domains = [each for each in list_domains(reader) if each.kms_key == key_arn]
    changed = [(old, new) for old in domains if (new := _rewrapped(context, old)) != old]
    if not changed:
        return 0

    def keep(commit: JournaledCommit) -> int:
        current = [new for old, new in changed if get_domain(commit.writer, old.number) == old]
        for record in current:
            put_domain(commit.writer, record)
        commit.journal("domains", {"domains": [asdict(record) for record in current]})
        return len(current)

    with writing(context):
        return commit_journaled(context, keep)


def _rewrapped(context: StoreContext, record: DomainRecord) -> DomainRecord:
    wrapped = context.keyring().rewrap_data_key(
        Caller(context.acting.account, record.region),
        record.kms_key,
        bytes.fromhex(record.wrapped),
        Binding(context.header.store_id, DataKeyId(record.data_key_id)),
    )
    return replace(record, wrapped=wrapped.hex())
