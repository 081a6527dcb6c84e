"""What every operation of an open store works on."""

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ebsim.caller import Caller
from ebsim.clock import Clock
from ebsim.core.subscribers import Subscribers
from ebsim.entropy import Entropy
from ebsim.errors import StorePoisonedError
from ebsim.format.block_hash import BlockHash, zero_block_hash
from ebsim.format.store_header import StoreHeader
from ebsim.storage.catalog import Catalog
from ebsim.storage.files import Files
from ebsim.storage.locks import LockFile
from ebsim.storage.reserve import Reserve
from ebsim.storage.segments import SegmentStore

if TYPE_CHECKING:
    from ebsim.core.sessions import Session


@dataclass(slots=True)
class HandleState:
    """What changes while a store is open, the same for all who act through one handle.

    Attributes:
        session: This handle's writing session, once it wrote something.
        poison: Why this handle refuses to write, or empty.
        mutex: Held while the session is begun.
    """

    session: "Session | None" = None
    poison: str = ""
    mutex: threading.Lock = field(default_factory=threading.Lock)


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
    _zero_hash: BlockHash | None = field(default=None)

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

    @property
    def volumes_folder(self) -> Path:
        """Where the live data of managed volumes lie."""
        return self.path / "volumes"

    @property
    def hash_key(self) -> bytes:
        """The key of the block hash."""
        return self.header.hash_key

    @property
    def zero_hash(self) -> BlockHash:
        """The hash of a block of zeros."""
        if self._zero_hash is None:
            self._zero_hash = zero_block_hash(self.hash_key)
        return self._zero_hash

    def ensure_writable(self) -> None:
        """Refuse to write after a failed write.

        Raises:
            StorePoisonedError: A write or sync of this handle failed before.
        """
        if self.poison:
            raise StorePoisonedError(
                f"an earlier write to this store failed ({self.poison}): close it and open it again"
            )
