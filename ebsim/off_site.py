"""Copies to another store on this machine: what is asked for and what is told.

"Off-site" is where a backup survives what happens to the disk of the first store. Sizes are in
bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ebsim.encryption import EncryptionRequest
from ebsim.ids import SnapshotId


class CopyOutcome(StrEnum):
    """What became of a snapshot that was to be copied.

    COPIED: It is in the other store now. PRESENT: It was there before. PLANNED: It would be copied.
    FAILED: It is not there; if the copy was begun, it is in state `error`.
    """

    COPIED = "copied"
    PRESENT = "present"
    PLANNED = "planned"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class OffSiteRequest:
    """What is to be copied to another store, and what is said of it there.

    Attributes:
        snapshot_ids: These; none with `all_snapshots`.
        all_snapshots: All completed snapshots of the account in this Region.
        description: Of each copy; at most 255 characters.
        tags: Of each copy.
        copy_tags: Also give each copy the tags of its source, but those that begin with `aws:`.
        encrypted: Have the copies be encrypted: those of encrypted snapshots are so anyway, and
            False is refused for them.
        kms_key_id: The key to encrypt them under, one of the other store's: key id, key ARN, alias
            or alias ARN; None: its default key. Only with `encrypted`.
        dry_run: Tell what would be copied, and change nothing.
    """

    snapshot_ids: Sequence[str] = ()
    all_snapshots: bool = False
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    copy_tags: bool = False
    encrypted: bool | None = None
    kms_key_id: str | None = None
    dry_run: bool = False

    @property
    def encryption(self) -> EncryptionRequest:
        """What is asked for about encryption."""
        return EncryptionRequest(encrypted=self.encrypted, kms_key_id=self.kms_key_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class OffSiteCopy:
    """What became of one snapshot.

    Attributes:
        snapshot_id: The source.
        outcome: What became of it.
        copy_id: The snapshot in the other store; None where there is none (yet).
        parent_id: What the copy is incremental on, in the other store; None for a full one, and
            for one that is planned.
        incremental: Whether it is, or would be.
        message: Why it failed, else empty.
        read_bytes: Plain bytes of the blocks that were read, or would be.
        crossed_bytes: Plain bytes of those that the other store did not have; 0 for a dry run,
            which does not read any.
        stored_bytes: What the other store occupies for them.
        resumed_bytes: Of the source's size, what an earlier attempt had done, so that it was not
            read again.
    """

    snapshot_id: SnapshotId
    outcome: CopyOutcome
    copy_id: SnapshotId | None = None
    parent_id: SnapshotId | None = None
    incremental: bool = False
    message: str = ""
    read_bytes: int = 0
    crossed_bytes: int = 0
    stored_bytes: int = 0
    resumed_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OffSiteReport:
    """What was copied to another store, or would be.

    Attributes:
        store: The other store's folder.
        store_id: Its id, 32 hex digits.
        copies: One for each snapshot, in the order in which they were copied.
        dry_run: Whether nothing was changed.
    """

    store: str
    store_id: str
    copies: tuple[OffSiteCopy, ...]
    dry_run: bool

    @property
    def failed(self) -> tuple[OffSiteCopy, ...]:
        """Those that are not in the other store."""
        return tuple(each for each in self.copies if each.outcome is CopyOutcome.FAILED)

    @property
    def read_bytes(self) -> int:
        """The bytes read for all of them."""
        return sum(each.read_bytes for each in self.copies)

    @property
    def crossed_bytes(self) -> int:
        """The bytes that crossed for all of them."""
        return sum(each.crossed_bytes for each in self.copies)

    @property
    def stored_bytes(self) -> int:
        """The bytes that were stored for all of them."""
        return sum(each.stored_bytes for each in self.copies)
