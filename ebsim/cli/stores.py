"""How commands reach a store. The engine is imported when it is needed, not before."""

import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ebsim.caller import Caller
from ebsim.cli.keys import KeyOptions
from ebsim.patience import Patience

if TYPE_CHECKING:
    from ebsim.engine import Seams, Store
    from ebsim.progress import Progress
    from ebsim.reports import RebuildReport


VOLUME_PATIENCE_S = 600
"""How long a command waits for a volume that another process has open."""


class Stores(Protocol):
    """Where stores come from; a test puts its own in."""

    def create(self, path: Path) -> "Store":
        """Make a store in a folder that is missing or empty."""
        ...

    def lacks(self, path: Path, /) -> bool:
        """Return whether there is no store yet in a folder."""
        ...

    def open(
        self,
        path: Path,
        caller: Caller,
        *,
        create: bool = False,
        resume: bool = False,
        prove: bool = False,
        progress: "Progress | None" = None,
    ) -> "Store":
        """Open the store in a folder; with `create`, make it where there is none."""
        ...

    def rebuild(self, path: Path, *, dry_run: bool, progress: "Progress") -> "RebuildReport":
        """Make a store's catalog again from its segments."""
        ...


class EngineStores:
    """Real stores on disk.

    Args:
        trust_others: Also use a store that other users may write to.
        keys: Where the keyring is, and what opens it; looked at whenever a store is opened.
    """

    def __init__(self, *, trust_others: bool = False, keys: KeyOptions | None = None) -> None:
        self._trust_others = trust_others
        self._keys = keys or KeyOptions()

    def _seams(self, path: Path) -> "Seams":
        _tell_logged_errors()
        from ebsim.engine import Seams
        from ebsim.storage.files import PosixFiles

        keys = self._keys.of_store(path)
        return Seams(
            files=PosixFiles(trust_others=self._trust_others),
            keyring=keys.keyring,
            unlocking=keys.unlocking(),
        )

    def create(self, path: Path) -> "Store":
        """Make a store in a folder that is missing or empty.

        Raises:
            ConflictError: There is a store already.
            InvalidInputError: The folder holds something else.
        """
        from ebsim.engine import Store

        return Store.create(path, self._seams(path))

    def lacks(self, path: Path, /) -> bool:
        """Return whether there is no store yet in a folder."""
        from ebsim.storage.store_folder import HEADER_NAME

        return not (path / HEADER_NAME).exists()

    def open(
        self,
        path: Path,
        caller: Caller,
        *,
        create: bool = False,
        resume: bool = False,
        prove: bool = False,
        progress: "Progress | None" = None,
    ) -> "Store":
        """Open the store in a folder; with `create`, make it where there is none.

        Args:
            path: The folder.
            caller: The account and Region to act as.
            create: Make the store if the folder is missing or empty.
            resume: Go on with pending snapshots of managed volumes that a process left.
            prove: Prove the catalog first, in another process.
            progress: Told how far proving or rebuilding the catalog is.

        Raises:
            NotFoundError: There is no store, and `create` was not asked for.
        """
        from ebsim.engine import Store

        seams = replace(self._seams(path), caller=caller)
        store = Store.open(
            path,
            seams,
            create=create,
            resume=resume,
            prove=prove,
            progress=progress,
        )
        store.patience = Patience(seconds=VOLUME_PATIENCE_S, told=_tell_at_terminal)
        return store

    def rebuild(self, path: Path, *, dry_run: bool, progress: "Progress") -> "RebuildReport":
        """Make a store's catalog again from its segments, or tell what that would make.

        Raises:
            NotFoundError: There is no store.
            ConflictError: A process has it open for writing.
        """
        from ebsim.engine import Store

        return Store.rebuild(path, self._seams(path), dry_run=dry_run, progress=progress)


def _tell_at_terminal(message: str) -> None:
    """Tell somebody who sits before it what a command waits for."""
    from ebsim.cli.output import print_note

    if sys.stderr is not None and sys.stderr.isatty():
        print_note(message)


def _tell_logged_errors() -> None:
    """Have errors that nothing can raise any more told on standard error, each on one line."""
    import logging

    from ebsim.cli.output import print_note, printable

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            reason = record.exc_info[1] if record.exc_info else None
            text = record.getMessage() if reason is None else f"{record.getMessage()}: {reason}"
            with suppress(OSError):
                print_note(printable(text))

    logger = logging.getLogger("ebsim")
    if not any(handler.get_name() == "notes" for handler in logger.handlers):
        handler = Notes(logging.ERROR)
        handler.set_name("notes")
        logger.addHandler(handler)
