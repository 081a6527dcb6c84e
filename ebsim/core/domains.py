"""Dedup domains: equal blocks are stored once within one, and each is encrypted with one data key.

Domain 0 is the unencrypted one. Any other has a data key of its own, for one lineage and one KMS
key; all keys that its blocks need are derived from it (`ebsim.format.sealing`).

A domain that was opened is kept for as long as the keyring is as it was: a KMS key that is disabled
makes its volumes and snapshots unreadable with the next block (semantics section 11.5).
"""

from dataclasses import asdict
from typing import Any

from ebsim.caller import Caller
from ebsim.core.context import StoreContext
from ebsim.core.open_domains import PLAIN, Domain
from ebsim.errors import CorruptionError, EbsimError, ErrorCode
from ebsim.format.catalog_values import Table, number_key
from ebsim.format.domain_records import DomainRecord, decode_domain, encode_domain
from ebsim.format.sealing import DataKey
from ebsim.ids import DataKeyId
from ebsim.storage.catalog import CatalogReader, CatalogWriter


def open_domain(context: StoreContext, number: int) -> Domain:
    """Return a domain, by the right of the caller.

    Where the store itself asks, to move blocks or to prove them, it is by that of the KMS key's
    owner: then only the key's state counts.

    Raises:
        CorruptionError: The catalog does not know it, or its wrapped key is damaged.
        NotFoundError, ConflictError, ForbiddenError: There is no keyring or no such KMS key, the
            key is not enabled, or the caller may not use it.
        InvalidInputError, WrongKeyError, StoreError: The keyring cannot be unlocked or read.
    """
    domains = context.state.domains
    if number == PLAIN:
        if domains.plain is None:
            domains.plain = Domain(PLAIN, context.header.hash_key, None)
        return domains.plain
    from ebsim.keys.wrapping import Binding  # only where something is encrypted

    keyring = context.keyring()
    version = keyring.version()
    account = context.caller.account if context.caller else ""
    known = domains.opened.get((number, account))
    if known is not None and known[0] == version:
        return known[1]
    with context.catalog.read() as reader:
        record = get_domain(reader, number)
    key = keyring.unwrap_data_key(
        Caller(account, record.region) if account else _key_owner(record),
        record.kms_key,
        bytes.fromhex(record.wrapped),
        Binding(context.header.store_id, DataKeyId(record.data_key_id)),
    )
    data_key = DataKey(key, context.header.store_id)
    domain = Domain(number, data_key.block_hash_key(), data_key)
    with domains.mutex:
        domains.opened[number, account] = (version, domain)
    return domain


def _key_owner(record: DomainRecord) -> Caller:
    from ebsim.keys.names import parse_reference  # only where something is encrypted

    return parse_reference(record.kms_key, Caller(record.account, record.region)).caller


def find_open(context: StoreContext, number: int) -> Domain | None:
    """Return a domain if its keys can be had now, else None: for what can do without them."""
    try:
        return open_domain(context, number)
    except EbsimError:
        return None


def get_domain(reader: CatalogReader, number: int) -> DomainRecord:
    """Return the record of an encrypted domain.

    Raises:
        CorruptionError: The catalog does not know it.
    """
    value = reader.get(Table.DOMAINS, number_key(number))
    if value is None:
        raise CorruptionError(f"domain {number} is not in the catalog", ErrorCode.CORRUPT_CATALOG)
    return decode_domain(value)


def is_known(reader: CatalogReader, number: int) -> bool:
    """Return whether there is a domain of this number; its record may be damaged."""
    return number == PLAIN or reader.get(Table.DOMAINS, number_key(number)) is not None


def find_domain(reader: CatalogReader, number: int) -> DomainRecord | None:
    """Return the record of a domain; None for the unencrypted one.

    Raises:
        CorruptionError: The catalog does not know it.
    """
    return get_domain(reader, number) if number else None


def put_domain(writer: CatalogWriter, record: DomainRecord) -> None:
    """Keep the record of a domain."""
    writer.put(Table.DOMAINS, number_key(record.number), encode_domain(record))


def list_domains(reader: CatalogReader) -> list[DomainRecord]:
    """Return all encrypted domains, in the order of their numbers."""
    return [decode_domain(value) for _, value in reader.items(Table.DOMAINS)]


def domain_facts(reader: CatalogReader, number: int) -> dict[str, list[dict[str, Any]]]:
    """Return what the journal's entry of whatever needs a domain says about it.

    Every such entry says it, so that the wrapped data key lies in many places: without it, no block
    of the domain can be read again.
    """
    record = find_domain(reader, number)
    return {} if record is None else {"domains": [asdict(record)]}


def encryption_members(reader: CatalogReader, number: int) -> dict[str, Any]:
    """Return what the record of a snapshot in a domain says about its encryption."""
    record = find_domain(reader, number)
    if record is None:
        return {}
    return {"domain": number, "kms_key": record.kms_key, "data_key_id": record.data_key_id}
