"""How something new is encrypted: which dedup domain it goes to, an old one or one that is made.

What asks the keyring is done before the transaction that makes the resource (`prepare_volume`,
`prepare_copy`), for unlocking may take a second or a passphrase; the domain is kept within it
(`Preparation.settle`). Which key it is, the tables of EBS say (`ebsim.core.encryption_rules`).
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from ebsim import refusals
from ebsim.caller import Caller
from ebsim.core.context import StoreContext
from ebsim.core.counters import take
from ebsim.core.domains import put_domain
from ebsim.core.encryption_keys import key_to_decrypt, key_to_encrypt, load_defaults
from ebsim.core.encryption_rules import copy_key, volume_key
from ebsim.core.open_domains import PLAIN
from ebsim.encryption import EncryptionRequest, EncryptionSource
from ebsim.errors import ConflictError, NotFoundError
from ebsim.format.catalog_values import Counter
from ebsim.format.domain_records import DomainRecord
from ebsim.format.records import SnapshotRecord, VolumeRecord
from ebsim.keys.names import parse_reference
from ebsim.storage.catalog import CatalogWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """How a new resource is going to be encrypted.

    Attributes:
        kms_key: The ARN of its KMS key; empty: it is not encrypted.
        domain: The domain that it shares with what it is made from; 0: none.
        made: A domain for it alone, without its number yet; None: none is needed.
    """

    kms_key: str = ""
    domain: int = PLAIN
    made: DomainRecord | None = None

    def settle(self, writer: CatalogWriter, beside: Iterable[SnapshotRecord] = ()) -> int:
        """Return the number of the domain, which is kept in this transaction if it is made.

        Args:
            writer: The transaction.
            beside: Snapshots of the same lineage: one under the same KMS key has its data key too
                (semantics section 11.5).
        """
        for snapshot in beside:
            if self.kms_key and snapshot.kms_key == self.kms_key:
                return snapshot.domain
        if self.made is None:
            return self.domain
        record = replace(self.made, number=take(writer, Counter.DOMAIN))
        put_domain(writer, record)
        return record.number


def prepare_volume(
    context: StoreContext, request: EncryptionRequest, origin: SnapshotRecord | None
) -> Preparation:
    """Prepare the encryption of a new volume (semantics section 11.5).

    Args:
        context: The store.
        request: What is asked for.
        origin: The snapshot it is made from.

    Raises:
        InvalidInputError: A key without the flag.
        ConflictError: A key that is needed cannot be used (CustomerKeyHasBeenRevoked).
        EbsimError: The keyring is missing, locked or damaged.
    """
    acting = context.acting
    with context.catalog.read() as reader:
        defaults = load_defaults(reader, acting)
    own = origin is not None and Caller(origin.owner, origin.region) == acting
    if origin is not None and origin.domain:
        key_to_decrypt(context, origin.kms_key)
    reference = volume_key(request, defaults, _source(origin, own=own))
    if reference is None:
        return Preparation()
    key = key_to_encrypt(context, reference)
    if origin is not None and own and origin.kms_key == key.arn:
        return Preparation(kms_key=key.arn, domain=origin.domain)
    return make_domain(context, key.arn)


def prepare_volume_copy(
    context: StoreContext, request: EncryptionRequest, source: VolumeRecord
) -> Preparation:
    """Prepare the encryption of a copy of a volume: that of its source, or under the key asked for.

    That of an unencrypted one is encrypted where that is asked for, or the default.

    Raises:
        InvalidInputError, ConflictError, EbsimError: As `prepare_volume`.
    """
    with context.catalog.read() as reader:
        defaults = load_defaults(reader, context.acting)
    if source.domain:
        key_to_decrypt(context, source.kms_key)
    origin = EncryptionSource(kms_key_id=source.kms_key or None, own=True)
    reference = volume_key(request, defaults, origin)
    if reference is None:
        return Preparation()
    key = key_to_encrypt(context, reference)
    if source.kms_key == key.arn:
        return Preparation(kms_key=key.arn, domain=source.domain)
    return make_domain(context, key.arn)


def prepare_copy(
    context: StoreContext, request: EncryptionRequest, source: SnapshotRecord
) -> Preparation:
    """Prepare the encryption of a copy of a snapshot (semantics section 11.5).

    Args:
        context: The store; its caller is whom the copy belongs to.
        request: What is asked for.
        source: The snapshot to copy.

    Raises:
        InvalidInputError: A key without the flag, or a copy less encrypted than its source.
        ConflictError: A key that is needed cannot be used (CustomerKeyHasBeenRevoked).
        EbsimError: The keyring is missing, locked or damaged.
    """
    acting = context.acting
    with context.catalog.read() as reader:
        defaults = load_defaults(reader, acting)
    reference = copy_key(request, defaults, EncryptionSource(kms_key_id=source.kms_key or None))
    if source.domain:
        key_to_decrypt(context, source.kms_key, Caller(acting.account, source.region))
    if reference is None:
        return Preparation()
    key = key_to_encrypt(context, reference)
    if source.kms_key == key.arn:
        return Preparation(kms_key=key.arn, domain=source.domain)
    return make_domain(context, key.arn)


def wanted_copy_key(
    context: StoreContext, request: EncryptionRequest, source: SnapshotRecord
) -> str:
    """Return the ARN of the key that a copy should have had which fails for a key.

    EC2 shows a copy that failed so as what it was to be. A key that does not exist is shown by the
    ARN that it would have, and an alias that means none by its own.
    """
    acting = context.acting
    with context.catalog.read() as reader:
        defaults = load_defaults(reader, acting)
    reference = copy_key(request, defaults, EncryptionSource(kms_key_id=source.kms_key or None))
    if reference is None:
        return ""
    try:
        return context.keyring().resolve(reference, acting).arn
    except (ConflictError, NotFoundError):
        with suppress(NotFoundError):
            return parse_reference(reference, acting).arn
        return reference  # an ARN of another Region, or none at all


def ensure_same_encryption(request: EncryptionRequest, volume_id: str, kms_key: str) -> None:
    """Refuse to have a volume that is known be encrypted otherwise than it is.

    Raises:
        InvalidInputError: InvalidParameterCombination.
    """
    asked = request.encrypted is not None or request.kms_key_id is not None
    if asked and (bool(request.encrypted) != bool(kms_key) or request.kms_key_id):
        what = f"is encrypted under {kms_key}" if kms_key else "is not encrypted"
        raise refusals.invalid_combination(
            f"The source is known as volume {volume_id}, which {what}, and that stays: leave the "
            "options on encryption out, or begin a new volume."
        )


def _source(origin: SnapshotRecord | None, *, own: bool) -> EncryptionSource | None:
    return None if origin is None else EncryptionSource(kms_key_id=origin.kms_key or None, own=own)


def make_domain(context: StoreContext, kms_key: str) -> Preparation:
    """Return how something is encrypted in a domain of its own under a KMS key, given by ARN.

    Raises:
        EbsimError: The key cannot be used, or the keyring is missing, locked or damaged.
    """
    acting = context.acting
    data_key = context.keyring().generate_data_key(acting, kms_key, context.header.store_id)
    record = DomainRecord(
        number=PLAIN,
        data_key_id=data_key.data_key_id,
        kms_key=data_key.key_arn,
        wrapped=data_key.wrapped.hex(),
        account=acting.account,
        region=acting.region,
    )
    return Preparation(kms_key=kms_key, made=record)
