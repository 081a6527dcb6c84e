"""What every operation of an open store works on."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ebsim.caller import Caller
from ebsim.clock import Clock
from ebsim.config import Quotas
from ebsim.core.open_domains import OpenDomains
from ebsim.core.read_memory import ReadMemory
from ebsim.core.subscribers import Subscribers
from ebsim.entropy import Entropy
from ebsim.errors import StorePoisonedError
from ebsim.format.store_header import StoreHeader
from ebsim.ids import SnapshotId
from ebsim.patience import Patience
from ebsim.storage.catalog import Catalog
from ebsim.storage.files import Files
from ebsim.storage.locks import LockFile
from ebsim.storage.reserve import Reserve
from ebsim.storage.segments import SegmentStore

if TYPE_CHECKING:
    from ebsim.core.due import NextDue
    from ebsim.core.sessions import Session
    from ebsim.core.started_making import StartedWrites
    from ebsim.keys.keyring import Keyring
    from ebsim.keys.unlocking import Unlocking


@dataclass(slots=True)
class HandleState:
    """What changes while a store is open, the same for all who act through one handle.

    Attributes:
        session: This handle's writing session, once it wrote something.
        poison: Why this handle refuses to write, or empty.
        mutex: Held while the session is begun.
        domains: The dedup domains whose keys are at hand.
        keyring_path: Where this handle was told the keyring is; None: where the store says.
        unlocking: What opens the keyring, and protects it when it is made; None: nothing.
        keyring: The store's keyring, once it was needed.
        keyring_mutex: Held while the keyring is opened; the session may be begun within.
        started: The snapshots that are written block by block here, once there were some.
        started_mutex: Held while that is made.
        before_copy: Called with the id of a snapshot in the thread that makes it, before it is.
        before_snapshot_copy: The same, for a copy of a snapshot; one that it stops ends as `error`.
        patience: How long is waited for a volume that another process has open.
        tighten: From the store's quotas to those that hold for this handle; None: the same.
        next_due: When something falls due by the clock, as far as that was looked up.
        reads: What reading single blocks remembers.
    """

    session: "Session | None" = None
    poison: str = ""
    mutex: threading.Lock = field(default_factory=threading.Lock)
    domains: OpenDomains = field(default_factory=OpenDomains)
    keyring_path: Path | None = None
    unlocking: "Unlocking | None" = field(default=None, repr=False)
    keyring: "Keyring | None" = None
    keyring_mutex: threading.Lock = field(default_factory=threading.Lock)
    started: "StartedWrites | None" = None
    started_mutex: threading.Lock = field(default_factory=threading.Lock)
    before_copy: "Callable[[SnapshotId], None] | None" = None
    before_snapshot_copy: "Callable[[SnapshotId], None] | None" = None
    patience: Patience = field(default_factory=Patience)
    tighten: Callable[[Quotas], Quotas] | None = None
    next_due: "NextDue | None" = None
    reads: ReadMemory = field(default_factory=ReadMemory)


@dataclass(slots=True, kw_only=True)
class StoreContext:
    """The parts of an open store.

    Attributes:
        path: The store's folder.
        header: Its identity and hash key.
        catalog: What refers to what.
        segments: Where the bytes are.
        locks: Kernel locks between processes.
        reserve: Space kept for deleting on a full disk.
        files: The store's own files.
        clock: The time, for people.
        entropy: Ids.
        boot_id: Which boot of the machine this is.
        caller: On whose behalf; None: the store's own, which may do anything.
        state: What changes while it is open.
        subscribers: Who is told of events.
    """

    path: Path
    header: StoreHeader
    catalog: Catalog
    segments: SegmentStore
    locks: LockFile
    reserve: Reserve
    files: Files
    clock: Clock
    entropy: Entropy
    boot_id: str = ""
    caller: Caller | None = None
    state: HandleState = field(default_factory=HandleState)
    subscribers: Subscribers = field(default_factory=Subscribers)

    def acting_as(self, caller: Caller | None) -> "StoreContext":
        """Return the same open store, used on behalf of somebody else."""
        return replace(self, caller=caller)

    @property
    def acting(self) -> Caller:
        """Whom new resources belong to."""
        return self.caller or Caller()

    @property
    def session(self) -> "Session | None":
        """This handle's writing session, once it wrote something."""
        return self.state.session

    @session.setter
    def session(self, session: "Session | None") -> None:
        """Keep it, for all who act through this handle."""
        self.state.session = session

    @property
    def session_mutex(self) -> threading.Lock:
        """Held while the session is begun."""
        return self.state.mutex

    @property
    def poison(self) -> str:
        """Why this handle refuses to write, or empty."""
        return self.state.poison

    @poison.setter
    def poison(self, reason: str) -> None:
        """Refuse to write from now on."""
        self.state.poison = reason

    def keyring(self, *, create: bool = False) -> "Keyring":
        """Return the store's keyring, opened at the first need and the same for the whole handle.

        Args:
            create: Make it, if the store never had one; to be asked for where a key is made, or an
                encrypted resource, outside of any transaction of the catalog's.

        Raises:
            NotFoundError, WrongKeyError, StoreError, InvalidInputError, FormatVersionError,
                CorruptionError: As `ebsim.core.key_access.open_keyring`.
        """
        from ebsim.core.key_access import open_keyring  # seldom needed

        return open_keyring(self, create=create)

    @property
    def volumes_folder(self) -> Path:
        """Where the live data of managed volumes lie."""
        return self.path / "volumes"

    @property
    def hash_key(self) -> bytes:
        """The key of the block hash in the unencrypted domain."""
        return self.header.hash_key

    def ensure_writable(self) -> None:
        """Refuse to write after a failed write.

        Raises:
            StorePoisonedError: A write or sync of this handle failed before.
        """
        if self.poison:
            raise StorePoisonedError(
                f"an earlier write to this store failed ({self.poison}): close it and open it again"
            )
