"""Every call to a file may fail, and every transaction: nothing that was acknowledged is lost.

Two passes, as redb tests crashes: the first counts the steps of a small history, then the history
runs once for each of them, which fails.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ebsim.config import SnapshotOptions
from ebsim.engine import Store
from ebsim.errors import (
    EbsimError,
    ErrorCode,
    LimitExceededError,
    SnapshotFailedError,
    StoreError,
    StorePoisonedError,
)
from ebsim.ids import SnapshotId
from ebsim.storage.files import Files
from ebsim.testing.contents import HEAD, NOISE, TEXT, noise_block
from ebsim.testing.invariants import assert_healthy, assert_store_matches
from ebsim.testing.memory_store import MemoryStore, leave_as_if_killed
from ebsim.testing.model import ReferenceModel
from ebsim.testing.observed_files import ObservedFiles
from ebsim.testing.seams import fast_folder
from ebsim.testing.sources import MemorySource, disk_of

DISK, BRANCH = "memory:disk", "memory:branch"


@contextmanager
def memory_store() -> Iterator[MemoryStore]:
    folder = fast_folder()
    try:
        yield MemoryStore(folder)
    finally:
        shutil.rmtree(folder)


@dataclass
class History:
    """Snapshots and deletions, and beside them a model of what was acknowledged."""

    store: Store
    model: ReferenceModel = field(default_factory=ReferenceModel)
    disks: dict[str, MemorySource] = field(default_factory=dict)
    errors: list[EbsimError] = field(default_factory=list)

    def attempt(self, step: Callable[[], None]) -> None:
        """Do a step; keep what it raises."""
        try:
            step()
        except EbsimError as error:
            self.errors.append(error)

    def snapshot(self, name: str, *blocks: bytes, parent: str | None = None) -> None:
        disk = self.disks.setdefault(name, disk_of(*blocks, name=name))
        for index, block in enumerate(blocks):
            disk.put(index, block)
        options = SnapshotOptions(parent=None if parent is None else SnapshotId(parent))
        shown = self.store.create_snapshot(disk, options)
        if name not in self.model.volumes:
            self.model.add_volume(name, disk.size_bytes, parent)
        for index, block in enumerate(blocks):
            self.model.write(name, index, block)
        self.model.snapshot(name, shown.snapshot_id)

    def delete(self, position: int) -> None:
        names = list(self.model.snapshots)
        if position < len(names):
            self.store.delete_snapshots([names[position]])
            self.model.delete([names[position]])

    def run(self) -> None:
        """Four snapshots of two volumes, and two deletions, of which one moves charges."""
        self.attempt(lambda: self.snapshot(DISK, NOISE, TEXT))
        self.attempt(lambda: self.snapshot(DISK, NOISE, noise_block(1)))
        first = next(iter(self.model.snapshots), None)
        self.attempt(lambda: self.snapshot(BRANCH, HEAD, TEXT, parent=first))
        self.attempt(lambda: self.delete(0))
        self.attempt(lambda: self.snapshot(DISK, HEAD, HEAD))
        self.attempt(lambda: self.delete(1))

    def run_and_close(self) -> None:
        self.run()
        self.attempt(self.store.close)


def verify(disk: MemoryStore, model: ReferenceModel) -> None:
    """Open the store again, and compare all of it with what was acknowledged."""
    with disk.open() as store:
        assert_store_matches(store, model)
        assert_healthy(store, orphan_bytes_max=0)


class Failing:
    """Files of which one call fails, and those after it not."""

    def __init__(self, fails_at: int | None, number: int = 0) -> None:
        self._fails_at = fails_at
        self._number = number
        self.steps: list[str] = []

    def files(self, files: Files) -> Files:
        return ObservedFiles(files, self._before)

    def _before(self, operation: str, _path: Path) -> None:
        self.steps.append(operation)
        if len(self.steps) - 1 == self._fails_at:
            raise OSError(self._number, os.strerror(self._number))


def file_steps() -> list[str]:
    """Return the calls to files that the history makes, in order."""
    with memory_store() as disk:
        failing = Failing(None)
        history = History(disk.open(failing.files(disk.files)))
        history.run_and_close()
        assert history.errors == []
        verify(disk, history.model)
        return failing.steps


FILE_STEPS = file_steps()


def test_history_does_everything_that_may_fail() -> None:
    assert {"create", "write_at", "sync", "sync_directory", "punch"} <= set(FILE_STEPS)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("step", range(len(FILE_STEPS)))
def test_nothing_acknowledged_is_lost_when_a_call_fails(step: int, number: int) -> None:
    with memory_store() as disk:
        history = History(disk.open(Failing(step, number).files(disk.files)))

        history.run_and_close()

        for error in history.errors[1:]:
            assert isinstance(error, StorePoisonedError)
        verify(disk, history.model)


@pytest.mark.parametrize(
    "step", [at for at, name in enumerate(FILE_STEPS) if name in ("write_at", "sync")]
)
def test_handle_whose_write_or_sync_failed_writes_no_more(step: int) -> None:
    """After a failed sync nobody knows what the disk has: fact 5 of the reliability notes."""
    with memory_store() as disk:
        history = History(disk.open(Failing(step, errno.EIO).files(disk.files)))

        history.run()
        history.attempt(lambda: history.snapshot(DISK, TEXT, TEXT))

        first, *others = history.errors
        assert isinstance(first, StoreError)
        assert not isinstance(first, StorePoisonedError)
        assert others
        assert {type(error) for error in others} == {StorePoisonedError}


@pytest.mark.parametrize(
    "step", [at for at, name in enumerate(FILE_STEPS) if name in ("create", "write_at", "sync")]
)
def test_handle_goes_on_when_there_is_space_again(step: int) -> None:
    with memory_store() as disk:
        history = History(disk.open(Failing(step, errno.ENOSPC).files(disk.files)))

        history.run_and_close()

        assert len(history.errors) <= 1
        for error in history.errors:
            assert isinstance(error, (LimitExceededError, SnapshotFailedError))
            assert error.code is ErrorCode.NO_SPACE


def updates() -> int:
    """Return how many transactions the history makes."""
    with memory_store() as disk:
        counted: list[object] = []
        disk.catalog.before_update = counted.append
        History(disk.open()).run_and_close()
        return len(counted)


UPDATES = updates()


def fail_at(disk: MemoryStore, step: int, code: ErrorCode) -> list[object]:
    """Let one transaction of the catalog fail; return the list of those that were attempted."""
    counted: list[object] = []

    def before(view: object) -> None:
        counted.append(view)
        if len(counted) - 1 == step:
            raise StoreError("the commit failed", code)

    disk.catalog.before_update = before
    return counted


@pytest.mark.parametrize("step", range(UPDATES))
def test_nothing_acknowledged_is_lost_when_a_transaction_fails(step: int) -> None:
    with memory_store() as disk:
        fail_at(disk, step, ErrorCode.STORE_FAILED)
        history = History(disk.open())

        history.run_and_close()

        disk.catalog.before_update = lambda _view: None
        verify(disk, history.model)


@pytest.mark.parametrize("step", range(UPDATES))
def test_handle_that_does_not_know_an_outcome_writes_no_more(step: int) -> None:
    """`Catalog.update`: nothing may be written before the store is reopened."""
    with memory_store() as disk:
        counted = fail_at(disk, step, ErrorCode.OUTCOME_UNKNOWN)
        history = History(disk.open())

        history.run_and_close()

        assert len(counted) == step + 1
        disk.catalog.before_update = lambda _view: None
        verify(disk, history.model)


def test_failed_snapshot_tells_why_and_the_next_succeeds(fast_path: Path) -> None:
    """The example of the promise: a sync that fails once."""
    disk = MemoryStore(fast_path)
    with disk.open() as store:
        kept = store.create_snapshot(disk_of(TEXT))
    failing: list[bool] = []

    def fail_once(operation: str, _path: Path) -> None:
        if operation == "sync" and not failing:
            failing.append(True)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    context = disk.context(ObservedFiles(disk.files, fail_once))
    store = Store(context)
    with pytest.raises(StoreError, match="Input/output error"):
        store.create_snapshot(disk_of(NOISE))
    for attempt in (
        lambda: store.create_snapshot(disk_of(NOISE)),
        lambda: store.delete_snapshots([kept.snapshot_id]),
    ):
        with pytest.raises(StorePoisonedError, match="Input/output error") as caught:
            attempt()
        assert caught.value.code is ErrorCode.STORE_POISONED
    assert store.read_block(kept.snapshot_id, 0) == TEXT
    assert store.delete_snapshots([kept.snapshot_id], dry_run=True).deleted
    leave_as_if_killed(context)

    with disk.open() as store:
        assert store.create_snapshot(disk_of(NOISE)).parent_id == kept.snapshot_id
        assert store.check(data=True).healthy
