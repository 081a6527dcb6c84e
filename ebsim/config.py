"""Options, already parsed. Nothing here reads the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ebsim.encryption import EncryptionRequest
from ebsim.errors import InvalidInputError
from ebsim.ids import SnapshotId, VolumeId

ZSTD_LEVEL_MAX = 19
"""Higher levels need windows that decompressors refuse by default and gain nothing at 512 KiB."""


@dataclass(frozen=True, slots=True)
class Compression:
    """How new blocks are stored.

    Attributes:
        zstd_level: 1 to 19, or None to store blocks plain.
    """

    zstd_level: int | None = 1

    def __str__(self) -> str:
        """Return the name that `parse` reads."""
        return "none" if self.zstd_level is None else f"zstd:{self.zstd_level}"

    @classmethod
    def parse(cls, text: str) -> "Compression":
        """Return the compression named `zstd`, `zstd:LEVEL` or `none`.

        Raises:
            InvalidInputError: Any other text, or a level outside 1 to 19.
        """
        name, colon, level = text.partition(":")
        if text == "none":
            return cls(None)
        if name == "zstd" and not colon:
            return cls(1)
        if name == "zstd" and level.isascii() and level.isdigit():
            number = int(level)
            if 1 <= number <= ZSTD_LEVEL_MAX:
                return cls(number)
        raise InvalidInputError(
            f"Unknown compression '{text}': use none, zstd or zstd:LEVEL with a level from 1 to 19."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOptions:
    """What a snapshot of a source may be told.

    Attributes:
        description: Free text, at most 255 characters.
        tags: At most 50; keys 1 to 128 characters, not beginning with `aws:`; values to 256.
        volume_id: The volume this source continues, where its path has changed.
        new_volume: Start another volume although the source's path is known.
        parent: Start a new volume at this snapshot, as EBS does with a volume created from one.
        compression: How new blocks are stored.
        freeze: A mount point to hold with FIFREEZE while the source is read.
        encrypted: Whether the volume is to be encrypted, where this begins one, or the copy.
        kms_key_id: The KMS key: an id, alias or ARN; None: the default key. Only together with
            `encrypted`.
        system_tags: Tags that begin with `aws:`, which users can neither give nor change; they
            count in no limit. Lifecycle policies know their snapshots by them.
    """

    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    volume_id: VolumeId | None = None
    new_volume: bool = False
    parent: SnapshotId | None = None
    compression: Compression = Compression()
    freeze: Path | None = None
    encrypted: bool | None = None
    kms_key_id: str | None = None
    system_tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def encryption(self) -> EncryptionRequest:
        """What is said about encryption."""
        return EncryptionRequest(encrypted=self.encrypted, kms_key_id=self.kms_key_id)

    @property
    def all_tags(self) -> dict[str, str]:
        """What the snapshot is tagged with."""
        own = {key: value or "" for key, value in self.tags.items()}  # null means empty
        return {**own, **self.system_tags}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """How much a store allows, and how long some things take; each store has its own.

    What is unlimited where EBS has a limit says why.

    Attributes:
        pending_per_volume: Pending or failed snapshots of one volume at a time.
        pending_per_hdd_volume: The same for the types st1 and sc1.
        pending_per_account: Pending snapshots of all volumes; None: no limit, as EBS's number is
            not published.
        snapshot_spacing_s: Seconds between two snapshots of one volume while one is unfinished; EBS
            has 15. 0: none, so that tests need not wait.
        snapshots_per_region: Snapshots of any state.
        pending_copies: Copies to other Regions or accounts at a time, in each Region.
        volume_copies: Copies of volumes of an account that are being made at a time.
        pending_started: Snapshots of an account that are written block by block at a time.
        archived_per_volume: Archived snapshots of one volume.
        pending_archivals: Snapshots of an account that are being archived at a time.
        pending_tier_restores: Those that are being restored from the archive at a time.
        archival_s: Seconds that archiving takes; 0: it is completed at once.
        tier_restore_s: Seconds that restoring from the archive takes, which are up to 72 hours at
            EBS; 0: it is completed at once.
        storage_gib_per_type: GiB of all volumes of one type; None: no limit, as EBS's numbers
            depend on the Region (50 TiB of gp3 in most).
        initialization_mib_s: MiB a second, the sum of the rates asked for volumes being loaded.
        fast_restore_snapshots: Snapshots with fast restore of one account, in each Region.
        modifications_per_day: Modifications of one volume within 24 hours.
        modification_s: Seconds that a modification takes; 0: it is completed at once.
        rule_pending_s: Seconds until a new retention rule keeps anything; EBS's first one in a
            Region may need 30 minutes. 0: it does at once.
    """

    pending_per_volume: int = 5
    pending_per_hdd_volume: int = 1
    pending_per_account: int | None = None
    snapshot_spacing_s: float = 0
    snapshots_per_region: int = 100_000
    pending_copies: int = 20
    volume_copies: int = 5
    pending_started: int = 100
    archived_per_volume: int = 25
    pending_archivals: int = 25
    pending_tier_restores: int = 5
    archival_s: float = 0
    tier_restore_s: float = 0
    storage_gib_per_type: int | None = None
    initialization_mib_s: int = 5000
    fast_restore_snapshots: int = 5
    modifications_per_day: int = 4
    modification_s: float = 0
    rule_pending_s: float = 0
