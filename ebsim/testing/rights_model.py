"""Who may see, read and change what, as the simplest program that has these rules.

A snapshot belongs to an account and lies in a Region. There its owner sees it and may do all with
it. Other accounts see it there if it is shared with them by name, or with all while the owner does
not block that in the Region. Who sees a snapshot may read it, make volumes and copies of it, and
put tags of its own on it, which nobody else sees; and nothing else. A locked one goes for nobody.

`RightsModel` knows no ids, maps or charges: what a snapshot holds is a tuple of blocks. It is
independent of `ebsim.core.access`; `ebsim.testing.account_histories` compares the two.
"""

from dataclasses import dataclass, field

from ebsim.caller import Caller
from ebsim.permissions import PublicAccess


@dataclass(slots=True, kw_only=True)
class OwnedSnapshot:
    """A snapshot that is there.

    Attributes:
        owner: Whose it is, and in which Region.
        blocks: What it holds.
        accounts: With whom it is shared by name.
        public: Whether it is shared with all.
        locked_until_us: Until when it cannot be deleted; 0: it has no lock.
        compliance: Whether its lock can only be made longer.
        tags: By account, the tags that it put there.
    """

    owner: Caller
    blocks: tuple[bytes, ...]
    accounts: set[str] = field(default_factory=set)
    public: bool = False
    locked_until_us: int = 0
    compliance: bool = False
    tags: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(slots=True)
class RightsModel:
    """What there is, and who has a right to what.

    Attributes:
        snapshots: Those that are there, by id.
        volumes: By id, whose it is, and what it holds.
        blocked: What accounts set about public snapshots.
        ever: By id of any snapshot there ever was, whose it is.
    """

    snapshots: dict[str, OwnedSnapshot] = field(default_factory=dict)
    volumes: dict[str, tuple[Caller, tuple[bytes, ...]]] = field(default_factory=dict)
    blocked: dict[Caller, PublicAccess] = field(default_factory=dict)
    ever: dict[str, Caller] = field(default_factory=dict)

    def add_snapshot(self, snapshot_id: str, owner: Caller, blocks: tuple[bytes, ...]) -> None:
        """Add a snapshot: nobody else may see it, and it has no tags."""
        self.snapshots[snapshot_id] = OwnedSnapshot(owner=owner, blocks=blocks)
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

    def may_decrypt(self, _caller: Caller, _snapshot_id: str) -> bool:
        """Return whether the caller may use the key of a snapshot: here none is encrypted.

        The place for keys: who sees an encrypted snapshot reads it only with a right to its key.
        """
        return True

    def reads(self, caller: Caller, snapshot_id: str) -> bool:
        """Return whether the caller may read a snapshot's bytes."""
        return self.sees(caller, snapshot_id) and self.may_decrypt(caller, snapshot_id)

    def visible(self, caller: Caller) -> set[str]:
        """Return all snapshots that are there for the caller."""
        return {name for name in self.snapshots if self.sees(caller, name)}

    def is_locked(self, snapshot_id: str, now_us: int) -> bool:
        """Return whether a snapshot cannot be deleted now."""
        return now_us < self.snapshots[snapshot_id].locked_until_us
