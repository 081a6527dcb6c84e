"""Checking that the data key of whatever is encrypted is there, and is what it was."""

from collections.abc import Iterator

from ebsim.core.check_values import Damage, SoundReader
from ebsim.core.context import StoreContext
from ebsim.core.domains import list_domains, open_domain
from ebsim.core.snapshots import list_snapshots
from ebsim.core.volume_records import all_volumes
from ebsim.errors import CorruptionError, EbsimError
from ebsim.format.records import SnapshotRecord, VolumeRecord
from ebsim.reports import Finding
from ebsim.storage.catalog import CatalogReader


def check_domains(reader: CatalogReader, snapshots: list[SnapshotRecord]) -> Iterator[Finding]:
    """Compare the dedup domains with the snapshots and volumes that are in them."""
    domains = {record.number: record for record in list_domains(reader)}
    resources: list[tuple[str, SnapshotRecord | VolumeRecord]] = [
        *((record.snapshot_id, record) for record in snapshots),
        *((record.volume_id, record) for record in all_volumes(reader)),
    ]
    for name, record in resources:
        if not record.domain:
            continue
        domain = domains.get(record.domain)
        if domain is None:
            message = f"the data key of {name} is missing: no block of it can be read"
            yield Finding(kind="missing-data-key", message=message)
        elif domain.kms_key != record.kms_key:
            message = f"{name} and its data key do not agree on the KMS key"
            yield Finding(kind="wrong-reference", message=message)


def check_data_keys(context: StoreContext, damage: Damage) -> Iterator[Finding]:
    """Unwrap the data keys whose KMS keys can be had now.

    A damaged one is in the journal too, whole: each entry of its lineage has it.

    Args:
        context: The store.
        damage: The entries of the catalog that cannot be read, and are told already.
    """
    with context.catalog.read() as raw:
        reader = SoundReader(raw, damage)
        domains, snapshots = list_domains(reader), list_snapshots(reader)
    for domain in domains:
        try:
            open_domain(context, domain.number)
        except CorruptionError as error:
            hit = [record for record in snapshots if record.domain == domain.number]
            yield Finding(
                kind="corrupt-data-key",
                message=f"data key {domain.data_key_id}: {error}; what it encrypts cannot be read "
                "until the catalog is made again with `ebsim rebuild`",
                snapshots=tuple(record.snapshot_id for record in hit),
                ranges=tuple((0, record.size_bytes) for record in hit),
            )
        except EbsimError:
            continue  # without the KMS key nobody knows
