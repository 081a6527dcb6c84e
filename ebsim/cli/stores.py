"""How commands reach a store. The engine is imported when it is needed, not before."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ebsim.engine import Store
    from ebsim.progress import Progress
    from ebsim.results import RebuildReport


class Stores(Protocol):
    """Where stores come from; a test puts its own in."""

    def create(self, path: Path) -> "Store":
        """Make a store in a folder that is missing or empty."""
        ...

    def open(self, path: Path, *, create: bool = False, resume: bool = False) -> "Store":
        """Open the store in a folder; with `create`, make it where there is none."""
        ...

    def rebuild(self, path: Path, *, dry_run: bool, progress: "Progress") -> "RebuildReport":
        """Make a store's catalog again from its segments."""
        ...


class EngineStores:
    """Real stores on disk."""

    def create(self, path: Path) -> "Store":
        """Make a store in a folder that is missing or empty.

        Raises:
            ConflictError: There is a store already.
            InvalidInputError: The folder holds something else.
        """
        from ebsim.engine import Store

        return Store.create(path)

    def open(self, path: Path, *, create: bool = False, resume: bool = False) -> "Store":
        """Open the store in a folder; with `create`, make it where there is none.

        Args:
            path: The folder.
            create: Make the store if the folder is missing or empty.
            resume: Go on with pending snapshots of managed volumes that a process left.

        Raises:
            NotFoundError: There is no store, and `create` was not asked for.
        """
        from ebsim.engine import Store

        return Store.open(path, create=create, resume=resume)

    def rebuild(self, path: Path, *, dry_run: bool, progress: "Progress") -> "RebuildReport":
        """Make a store's catalog again from its segments, or tell what that would make.

        Raises:
            NotFoundError: There is no store.
            ConflictError: A process has it open for writing.
        """
        from ebsim.engine import Store

        return Store.rebuild(path, dry_run=dry_run, progress=progress)
