"""Opening a store: its catalog is vouched for or proved, its parts opened, what died cleaned up."""

from pathlib import Path
from typing import Protocol

from ebsim.clock import Clock
from ebsim.core.context import StoreContext
from ebsim.core.recovery import recover
from ebsim.entropy import Entropy
from ebsim.errors import StoreError
from ebsim.progress import Progress
from ebsim.storage.boot import read_cache_id
from ebsim.storage.catalog_renewal import finish_renewal
from ebsim.storage.catalog_swap import CATALOG
from ebsim.storage.catalog_watch import CatalogWatch
from ebsim.storage.files import Files
from ebsim.storage.locks import LockFile
from ebsim.storage.store_folder import LOCK_NAME, find_store, open_store, settle_swap


class Parts(Protocol):
    """What opening a store needs of its seams."""

    @property
    def files(self) -> Files:
        """The store's own files."""
        ...

    @property
    def clock(self) -> Clock:
        """The time, for people."""
        ...

    @property
    def entropy(self) -> Entropy:
        """Ids and keys."""
        ...

    @property
    def boot_id(self) -> str:
        """Which boot of the machine this is."""
        ...


def open_context(
    folder: Path, seams: Parts, progress: Progress, *, create: bool, prove: bool
) -> StoreContext:
    """Open the parts of a store and clean up after processes that died while they wrote.

    Args:
        folder: The store's.
        seams: Where disk, time and randomness come from.
        progress: Told how far proving or rebuilding the catalog is, and what was found.
        create: Make the store first if the folder is missing or empty.
        prove: Prove the catalog, also if somebody vouches for it.

    Raises:
        NotFoundError, FormatVersionError: There is no store, or another version's.
        CorruptionError: The catalog is damaged, and cannot be rebuilt whole.
        StoreError: It cannot be opened.
    """
    header = find_store(folder, seams.files, seams.entropy, create=create)
    boot_id = read_cache_id(folder, seams.boot_id)
    watch = CatalogWatch(folder, seams.files, LockFile(folder / LOCK_NAME), boot_id)
    try:
        settle_swap(folder, seams.files)
        finish_renewal(folder / CATALOG, LockFile(folder / LOCK_NAME))
    except OSError as error:
        raise StoreError(f"cannot open the store {folder}: {error.strerror}") from error
    doubt = watch.doubt()
    if doubt or prove:
        from ebsim.core.catalog_doubt import end_doubt  # seldom needed

        end_doubt(folder, seams, header, watch, progress, doubt)
    parts = open_store(folder, seams.files, header, watch)
    context = StoreContext(
        path=folder,
        header=header,
        catalog=parts.catalog,
        segments=parts.segments,
        locks=parts.locks,
        reserve=parts.reserve,
        files=seams.files,
        clock=seams.clock,
        entropy=seams.entropy,
        boot_id=boot_id,
    )
    try:
        recover(context)
    except BaseException:
        parts.catalog.close()
        raise
    return context
