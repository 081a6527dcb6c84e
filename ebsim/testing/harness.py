"""A store to test a program with: its clock, its faults, and volumes, all thrown away afterwards.

    with Harness() as harness:
        volume = harness.store.volumes.create(VolumeRequest(size_gib=1))
        ...
        harness.clock.advance(days=30)

The fixtures of `ebsim.testing.pytest_plugin` are the parts of one harness.
"""

import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from ebsim.engine import Seams, Store
from ebsim.requests import VolumeRequest
from ebsim.results import Volume
from ebsim.testing.faults import Faults
from ebsim.testing.seams import ManualClock, SeededEntropy, fast_folder


class Harness:
    """A new store in a temporary folder. Use it as a context manager.

    Args:
        parent: Where the folder is made; None: in memory if there is a place, else where temporary
            files lie.
        seed: Makes all ids; two harnesses of one seed make the same.

    Attributes:
        path: The store's folder.
        clock: The store's clock, which stands still until it is moved.
        faults: What is to go wrong.
        store: The store, open.
    """

    def __init__(self, parent: Path | None = None, seed: int = 0) -> None:
        self._folder = fast_folder(parent)
        self._entropy = SeededEntropy(seed)
        self.path = self._folder / "store"
        self.clock = ManualClock()
        self.faults = Faults()
        self.store = Store.create(self.path, self._seams())

    def new_volume(self, size_gib: int | None = None, snapshot_id: str | None = None) -> Volume:
        """Make a volume: from a snapshot and as large as that, or empty and of 1 GiB."""
        if size_gib is None and snapshot_id is None:
            size_gib = 1
        return self.store.volumes.create(VolumeRequest(size_gib=size_gib, snapshot_id=snapshot_id))

    def reopen(self, *, leave_pending: bool = False) -> Store:
        """Close the store and open it again, as the next process does; return it.

        Files of volumes are to be opened again. What was told to fail is forgotten.

        Args:
            leave_pending: Do not wait for pending snapshots: the store, once open again, goes on.
        """
        self._close(leave_pending=leave_pending)
        self.faults.reset()
        self.store = Store.open(self.path, self._seams())
        return self.store

    def close(self) -> None:
        """Let everything go on that is held, close the store and remove it."""
        try:
            self._close(leave_pending=False)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _close(self, *, leave_pending: bool) -> None:
        if leave_pending:
            self.faults.leave_pending()
        else:
            self.faults.release()
        self.store.close(wait=not leave_pending)

    def _seams(self) -> Seams:
        return Seams(
            files=self.faults.files,
            clock=self.clock,
            entropy=self._entropy,
            before_copy=self.faults.before_copy,
            before_snapshot_copy=self.faults.before_copy,
        )
