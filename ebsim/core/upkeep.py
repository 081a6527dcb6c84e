"""The operations that keep a store in order: checking, repairing, compacting.

`ebsim.engine.Store` has them; here is only what each delegates to.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ebsim.core.context import StoreContext
from ebsim.patience import Patience
from ebsim.progress import Progress, SilentProgress
from ebsim.reports import CheckReport, CompactReport, RepairReport
from ebsim.requests import DataCheck

if TYPE_CHECKING:
    from ebsim.keys.unlocking import KeyringAccess


class Upkeep:
    """What an open store offers for its upkeep."""

    _context: StoreContext

    @property
    def patience(self) -> Patience:
        """How long operations wait for a volume that another process has open."""
        return self._context.state.patience

    @patience.setter
    def patience(self, patience: Patience) -> None:
        """Wait so long from now on; it holds for all who act through this handle."""
        self._context.state.patience = patience

    def check(
        self, *, data: bool | DataCheck = False, progress: Progress | None = None
    ) -> CheckReport:
        """Check that the store is what it says.

        Args:
            data: Also read and prove every stored byte, or those that a `DataCheck` asks for.
            progress: Told how far it is.
        """
        from ebsim.core.check import check_store

        wanted = data if isinstance(data, DataCheck) else DataCheck() if data else None
        return check_store(self._context, progress or SilentProgress(), wanted)

    def repair(
        self,
        *,
        other: str | os.PathLike[str] | None = None,
        other_keys: "KeyringAccess | None" = None,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> RepairReport:
        """Set damaged records aside, and write them anew where their bytes can be found again.

        Every stored byte is read and proved first. A block that is found nowhere is healed by the
        next snapshot that has its content. A store without damage is left byte for byte.

        Args:
            other: The folder of another store to look in.
            other_keys: Its keyring, for blocks that are encrypted there; None: as this store's, if
                it is the same, or else where that store says, and opened as this store's is.
            dry_run: Tell what would happen and change nothing.
            progress: Told how far it is.

        Raises:
            InvalidInputError, NotFoundError: The other store is this one, or there is none.
            CorruptionError: A value of the catalog is damaged: `rebuild` comes first.
            LimitExceededError: NoSpace; what was healed until then stays healed.
            StoreError: The store cannot be read, or a write failed.
        """
        from ebsim.core.changes import COPIED, writing
        from ebsim.core.other_store import OtherStore
        from ebsim.core.repair import repair_store

        progress = progress or SilentProgress()
        place = None if other is None else OtherStore(Path(other), other_keys)
        with writing(self._context, COPIED):
            return repair_store(self._context, progress, other=place, dry_run=dry_run)

    def compact(self, *, dry_run: bool = False, progress: Progress | None = None) -> CompactReport:
        """Copy what is live out of segments that are not worth keeping, and remove their files.

        Args:
            dry_run: Tell what would happen and change nothing.
            progress: Told how far the copying is.

        Raises:
            LimitExceededError: NoSpace.
            CorruptionError: A value of the catalog is damaged; `check` tells more.
            StoreError: A write failed.
        """
        from ebsim.core.changes import COPIED, writing
        from ebsim.core.compact import compact_store

        with writing(self._context, COPIED):
            return compact_store(self._context, progress or SilentProgress(), dry_run=dry_run)
