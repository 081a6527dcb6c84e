"""Who may see, read and change what, as the simplest program that has these rules.

A snapshot belongs to an account and lies in a Region. There its owner sees it and may do all with
it. Other accounts see it there if it is shared with them by name, or with all while the owner does
not block that in the Region. Who sees a snapshot may read it, make volumes and copies of it, and
put tags of its own on it, which nobody else sees; and nothing else. A locked one goes for nobody.
Who sees an encrypted snapshot does all that reads it only with a right to its key.

`RightsModel` knows no ids, maps or charges: what a snapshot holds is a tuple of blocks. It is
independent of `ebsim.core.access`; `ebsim.testing.account_histories` compares the two.
"""

from dataclasses import dataclass, field

from ebsim.caller import Caller
from ebsim.errors import ErrorCode
from ebsim.permissions import PublicAccess
from ebsim.testing.key_model import KeyModel


@dataclass(slots=True, kw_only=True)
class OwnedSnapshot:
    """A snapshot that is there.

    Attributes:
        owner: Whose it is, and in which Region.
        blocks: What it holds.
        key: The ARN of its key; empty: it is not encrypted.
        accounts: With whom it is shared by name.
        public: Whether it is shared with all.
        locked_until_us: Until when it cannot be deleted; 0: it has no lock.
        compliance: Whether its lock can only be made longer.
        tags: By account, the tags that it put there.
    """

    owner: Caller
    blocks: tuple[bytes, ...]
    key: str = ""
    accounts: set[str] = field(default_factory=set)
    public: bool = False
    locked_until_us: int = 0
    compliance: bool = False
    tags: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class OwnedVolume:
    """A managed volume.

    Attributes:
        owner: Whose it is, and in which Region.
        blocks: What it holds.
        key: The ARN of its key; empty: it is not encrypted.
        lazy: The blocks that are to be loaded still.
        origin_key: The key of the snapshot that they are loaded from.
        unsure: The blocks that may be loaded already, as something may have read them.
        whole: Whether its next snapshot reads all of it, and not what was written alone.
    """

    owner: Caller
    blocks: tuple[bytes, ...]
    key: str = ""
    lazy: set[int] = field(default_factory=set)
    origin_key: str = ""
    unsure: set[int] = field(default_factory=set)
    whole: bool = True


@dataclass(slots=True)
class RightsModel:
    """What there is, and who has a right to what.

    Attributes:
        keys: The keys, and who may use them.
        snapshots: Those that are there, by id.
        volumes: Managed volumes, by id.
        blocked: What accounts set about public snapshots.
        ever: By id of any snapshot there ever was, whose it is.
    """

    keys: KeyModel
    snapshots: dict[str, OwnedSnapshot] = field(default_factory=dict)
    volumes: dict[str, OwnedVolume] = field(default_factory=dict)
    blocked: dict[Caller, PublicAccess] = field(default_factory=dict)
    ever: dict[str, Caller] = field(default_factory=dict)

    def add_snapshot(
        self, snapshot_id: str, owner: Caller, blocks: tuple[bytes, ...], key: str = ""
    ) -> None:
        """Add a snapshot: nobody else may see it, and it has no tags."""
        self.snapshots[snapshot_id] = OwnedSnapshot(owner=owner, blocks=blocks, key=key)
        self.ever[snapshot_id] = owner

    def public_access(self, owner: Caller) -> PublicAccess:
        """Return what an account set about public snapshots."""
        return self.blocked.get(owner, PublicAccess.UNBLOCKED)

    def owns(self, caller: Caller, snapshot_id: str) -> bool:
        """Return whether a snapshot is there, and the caller's."""
        found = self.snapshots.get(snapshot_id)
        return found is not None and found.owner == caller

    def sees(self, caller: Caller, snapshot_id: str) -> bool:
        """Return whether a snapshot is there for the caller."""
        found = self.snapshots.get(snapshot_id)
        if found is None or found.owner.region != caller.region:
            return False
        if found.owner.account == caller.account or caller.account in found.accounts:
            return True
        hidden = self.public_access(found.owner) is PublicAccess.BLOCK_ALL_SHARING
        return found.public and not hidden

    def may_decrypt(self, caller: Caller, snapshot_id: str) -> bool:
        """Return whether the caller may use the key of a snapshot now, if it has one."""
        key = self.snapshots[snapshot_id].key
        return self.keys.use_refusal(caller.account, key) is None

    def read_refusal(self, caller: Caller, snapshot_id: str) -> ErrorCode | None:
        """Return what the caller is told that reads a snapshot's bytes; None: it may."""
        if not self.sees(caller, snapshot_id):
            return ErrorCode.INVALID_SNAPSHOT_NOT_FOUND
        return self.keys.use_refusal(caller.account, self.snapshots[snapshot_id].key)

    def use_refusal(self, volume: OwnedVolume) -> ErrorCode | None:
        """Return what the owner of a volume is told that uses it; None: it may."""
        return self.keys.use_refusal(volume.owner.account, volume.key)

    def may_share(self, snapshot_id: str, *, everybody: bool) -> bool:
        """Return whether the key of a snapshot lets it be shared, with all or by name."""
        key = self.snapshots[snapshot_id].key
        return not key or not (everybody or self.keys.keys[key].managed)

    def visible(self, caller: Caller) -> set[str]:
        """Return all snapshots that are there for the caller."""
        return {name for name in self.snapshots if self.sees(caller, name)}

    def is_locked(self, snapshot_id: str, now_us: int) -> bool:
        """Return whether a snapshot cannot be deleted now."""
        return now_us < self.snapshots[snapshot_id].locked_until_us
