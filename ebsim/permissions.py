"""Sharing snapshots: what is asked for and what is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ebsim.ids import SnapshotId


class PublicAccess(StrEnum):
    """Whether an account's snapshots in a Region may be public (EC2's block public access).

    UNBLOCKED: they may. BLOCK_NEW_SHARING: none is made public any more; those that are stay so.
    BLOCK_ALL_SHARING: those that are public are so for nobody, until it is allowed again.
    """

    UNBLOCKED = "unblocked"
    BLOCK_NEW_SHARING = "block-new-sharing"
    BLOCK_ALL_SHARING = "block-all-sharing"


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionChange:
    """What is to change about whom a snapshot is shared with: either adding or removing.

    Attributes:
        add: Accounts of 12 digits.
        remove: Accounts of 12 digits.
        add_all: Have it public.
        remove_all: Have it public no more; accounts that it is shared with stay.
    """

    add: Sequence[str] = ()
    remove: Sequence[str] = ()
    add_all: bool = False
    remove_all: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPermissions:
    """Whom a snapshot is shared with.

    Attributes:
        snapshot_id: The snapshot.
        accounts: Accounts of 12 digits, in order.
        public: Whether it is shared with all.
    """

    snapshot_id: SnapshotId
    accounts: tuple[str, ...]
    public: bool
