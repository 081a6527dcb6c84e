"""Who vouches for the catalog: whether it may be opened as it is, or has to be proved first.

LMDB trusts its file, so a damaged one may answer wrongly, or kill the process that opens it. A
process that writes says so in `catalog.state` before its first commit, and when it closes the
catalog, which file it left, how long, when it was changed last and which was its last commit.

    catalog.state says          and                                      then
    closed                      the file is the one it names             it is opened
    writing, in this boot       a writer is alive                        it is opened
    writing, in this boot       none is, and nobody opened it since      it is opened, this once
    anything else, or nothing                                            it is proved first

A process that is killed leaves what the kernel had accepted from it, in the order in which it was
written: LMDB writes pages that nothing refers to yet, and then one meta page by one system call. So
a kill damages nothing. Still the catalog may be why the process died: what two processes in a row
did not close is proved.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ebsim.format.catalog_state import (
    STATE_NAME,
    STATE_SIZE,
    CatalogState,
    decode_catalog_state,
    encode_catalog_state,
)
from ebsim.storage.catalog_swap import CATALOG
from ebsim.storage.files import Files
from ebsim.storage.locks import Lock, LockFile, Region


class CatalogWatch:
    """The word on one store's catalog.

    Args:
        folder: The store's.
        files: The store's own files.
        locks: The store's.
        boot_id: Which boot of the machine this is; empty where the kernel does not tell.
    """

    def __init__(self, folder: Path, files: Files, locks: LockFile, boot_id: str) -> None:
        self._path = folder / STATE_NAME
        self._data = folder / CATALOG / "data.mdb"
        self._files = files
        self._locks = locks
        self._boot_id = boot_id
        self._writing: Lock | None = None
        self._inode = 0

    # Opening

    def doubt(self, *, alone: bool = False) -> str:
        """Return why the catalog has to be proved; empty if it may be opened as it is.

        Args:
            alone: Whether the caller keeps writers away.

        Raises:
            StoreError: The lock file cannot be opened.
        """
        state, facts = self.read(), self._facts()
        if facts is None:
            return ""  # there is none: whoever opens it says so
        if state is None:
            return "nothing says how it was left"
        if state.closed:
            left = (state.inode, state.size, state.changed_ns)
            is_left = left == (facts.st_ino, facts.st_size, facts.st_ctime_ns)
            return "" if is_left else "it is not the file that was closed last"
        if state.inode != facts.st_ino:
            return "it is not the file that was written to last"
        if not self._boot_id or state.boot != self._boot_id:
            return "the machine was restarted while a process wrote to it"
        return "a process died that wrote to it" if alone else self._after_a_kill(state)

    def _after_a_kill(self, state: CatalogState) -> str:
        alone = self._locks.try_hold(Region.CATALOG_WRITERS)
        if alone is None:
            return ""  # the one who writes is alive
        with alone:
            if state.unclean_opens:
                return "processes died one after the other that had it open"
            self._write(closed=False, commit=state.commit, unclean_opens=1)
        self.begin_writing()
        return ""

    def saw_no_restart(self) -> bool:
        """Return whether the file is the one that was written to last, by processes of this boot.

        Then every commit is in it: a process that dies loses none. An entry of the journal that the
        catalog does not know is one whose commit never came.
        """
        state, facts = self.read(), self._facts()
        if state is None or facts is None or state.closed or not self._boot_id:
            return False
        return state.boot == self._boot_id and state.inode == facts.st_ino

    @contextmanager
    def alone(self) -> Iterator[Lock | None]:
        """Keep writers away, waiting for others who prove; give None where a writer is alive."""
        with self._locks.hold(Region.CATALOG_PROOF) as lock:
            yield lock if lock.extend(Region.CATALOG_WRITERS) else None

    def vouch(self, commit: int) -> None:
        """Say that the catalog is whole; nobody else writes to it meanwhile.

        Args:
            commit: The number of its last commit.
        """
        self._write(closed=True, commit=commit)

    def withdraw(self) -> None:
        """Say that the catalog has to be proved."""
        with suppress(OSError):
            self._files.remove(self._path)

    # Writing

    def begin_writing(self) -> None:
        """Say that the catalog is written to, before it is; a second call does nothing.

        Raises:
            StoreError: The lock file cannot be opened.
        """
        if self._writing is not None:
            return
        self._writing = self._locks.hold(Region.CATALOG_WRITERS, exclusive=False)
        state, facts = self.read(), self._facts()
        self._inode = 0 if facts is None else facts.st_ino
        told = state is not None and not state.closed and state.boot == self._boot_id
        if state is None or not told or state.inode != self._inode:
            self._write(closed=False, commit=0 if state is None else state.commit)

    def end_writing(self, last_commit: Callable[[], int], *, good: bool) -> None:
        """Say how the catalog is left, unless another still writes.

        Args:
            last_commit: Returns the number of the last commit.
            good: Whether no commit failed.
        """
        lock, self._writing = self._writing, None
        if lock is None:
            return
        lock.release()
        alone = self._locks.try_hold(Region.CATALOG_WRITERS) if good else None
        if alone is None:
            return
        with alone:
            facts = self._facts()
            if facts is not None and facts.st_ino == self._inode:
                self._write(closed=True, commit=last_commit())

    def committing(self) -> Lock:
        """Return the lock of commits: as long as it is held, the last one is the holder's."""
        return self._locks.hold(Region.CATALOG_COMMIT)

    # The file

    def read(self) -> CatalogState | None:
        """Return what is said; None where nothing is, or nothing that can be read."""
        try:
            file = self._files.open(self._path)
            try:
                return decode_catalog_state(file.read_at(0, STATE_SIZE))
            finally:
                file.close()
        except OSError:
            return None

    def _write(self, *, closed: bool, commit: int, unclean_opens: int = 0) -> None:
        """Say something. Where that fails, nothing or the old is said, and the catalog is proved.

        It is never synced: after a power cut whatever the file says then, be it old, names another
        time or length of the catalog's file, or another boot.
        """
        facts = self._facts()
        if facts is None:
            return
        state = CatalogState(
            closed=closed,
            boot=self._boot_id,
            inode=facts.st_ino,
            size=facts.st_size,
            changed_ns=facts.st_ctime_ns,
            commit=commit,
            unclean_opens=unclean_opens,
        )
        with suppress(OSError):
            try:
                file = self._files.open(self._path, writable=True)
            except FileNotFoundError:
                file = self._files.create(self._path)
            try:
                file.write_at(0, [encode_catalog_state(state)])
            finally:
                file.close()

    def _facts(self) -> os.stat_result | None:
        try:
            return os.stat(self._data)
        except OSError:
            return None
