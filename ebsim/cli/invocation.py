"""What all commands share: the store that was named, and how to answer."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ebsim import refusals
from ebsim.caller import parse_caller
from ebsim.cli.background import Background, BackgroundProcesses
from ebsim.cli.environment import STORE_VARIABLE, Environment
from ebsim.cli.keys import KeyOptions
from ebsim.cli.output import Json, print_document, print_text
from ebsim.cli.stores import Stores
from ebsim.errors import ErrorCode, NotFoundError

if TYPE_CHECKING:
    from ebsim.cli.progress_bar import ProgressBar
    from ebsim.engine import Store
    from ebsim.reports import RebuildReport

Result = TypeVar("Result")


class Invocation:
    """One run of the `ebsim` command; click hands it to every command as its object.

    Attributes:
        json: Whether `--json` was given, anywhere on the command line.
        store: The folder given with `--store`, if any; the innermost one counts.
        account: The account to act as.
        region: The Region to act in.
        keys: What is said about the keyring; what gives out the stores looks at it, too.
    """

    def __init__(
        self,
        environment: Environment,
        stores: Stores,
        background: Background | None = None,
        keys: KeyOptions | None = None,
    ) -> None:
        self._environment = environment
        self._stores = stores
        self.keys = keys or KeyOptions()
        self._background = background or BackgroundProcesses(self.keys)
        self.json = False
        self.store: Path | None = None
        self.account = environment.account
        self.region = environment.region

    @property
    def store_path(self) -> Path:
        """The store to use: `--store`, else the environment's.

        Raises:
            NotFoundError: Neither names one, and there is no home folder to put one in.
        """
        path = self.store or self._environment.store
        if path is None:
            raise NotFoundError(
                f"No store was named: use --store DIR or set {STORE_VARIABLE}.",
                ErrorCode.STORE_NOT_FOUND,
            )
        return path

    def ensure_zone(self, zone: str | None) -> None:
        """Refuse an Availability Zone that is none of the Region's, before there is a store.

        Raises:
            InvalidInputError: The account or Region is none.
            NotFoundError: The zone is none.
        """
        if zone is not None and zone not in parse_caller(self.account, self.region).zones:
            raise refusals.zone_not_found(zone)

    def create_store(self) -> "Store":
        """Make the store.

        Raises:
            ConflictError: There is a store already.
            InvalidInputError: The folder holds something else.
        """
        return self._stores.create(self.store_path)

    def open_store(
        self,
        *,
        create: bool = False,
        resume: bool = False,
        prove: bool = False,
        before_making: Callable[[], object] | None = None,
    ) -> "Store":
        """Open the store; with `create`, make it where there is none.

        Args:
            create: Make the store if its folder is missing or empty.
            before_making: Called where there is none: what it refuses makes no store.
            resume: Go on with what a process left pending; only for commands that wait for it.
            prove: Prove the catalog first, in another process that may die of it.

        Raises:
            NotFoundError: There is no store, and `create` was not asked for.
            InvalidInputError: The account or Region is none.
        """
        caller = parse_caller(self.account, self.region)
        if create and before_making is not None and self._stores.lacks(self.store_path):
            before_making()
        with self.progress() as progress:
            return self._stores.open(
                self.store_path,
                caller,
                create=create,
                resume=resume,
                prove=prove,
                progress=progress,
            )

    def ensure_other_store(self, path: Path) -> None:
        """Refuse to look into another store that is still to be made.

        Raises:
            NotFoundError: There is none.
        """
        if self._stores.lacks(path):
            raise NotFoundError(
                f"there is no store at {path} yet, and a dry run makes none: without --dry-run, "
                "all that was asked for is copied there",
                ErrorCode.STORE_NOT_FOUND,
            )

    def open_other_store(self, path: Path, *, create: bool) -> "Store":
        """Open another store than the one that is used, to copy to it.

        One that is made looks for its keyring where that was named, as with `ebsim init`.

        Raises:
            NotFoundError: There is none, and `create` was not asked for.
        """
        caller = parse_caller(self.account, self.region)
        place = self.keys.of_store(path).named_keyring
        if not create or not self._stores.lacks(path):
            place = None
        if place is not None:
            from ebsim.core.key_access import outside_store

            outside_store(place, path)
        try:
            with self.progress() as progress:
                store = self._stores.open(path, caller, create=create, progress=progress)
        except NotFoundError as error:
            raise NotFoundError(
                f"there is no store at {path} to copy to: make one with --create, once the disk "
                "that it is to lie on is there",
                error.code,
            ) from error
        if place is not None:
            try:
                store.keys.set_place(place)
            except BaseException:
                store.close()
                raise
        return store

    def rebuild_store(self, *, dry_run: bool, progress: "ProgressBar") -> "RebuildReport":
        """Make the store's catalog again, or tell what that would make.

        Raises:
            NotFoundError: There is no store.
            ConflictError: A process has it open for writing.
        """
        return self._stores.rebuild(self.store_path, dry_run=dry_run, progress=progress)

    def start_in_background(self, arguments: Sequence[str]) -> int:
        """Start a command of ebsim on the same store and return its process id."""
        acting = ["--account", self.account, "--region", self.region]
        return self._background.start(self.store_path, [*acting, *arguments])

    def progress(self) -> "ProgressBar":
        """Return a progress bar on standard error, to be used as a context manager."""
        from ebsim.cli.progress_bar import ProgressBar

        return ProgressBar()

    def answer(
        self,
        result: Result,
        document: Callable[[Result], Json],
        text: Callable[[Result], str],
    ) -> None:
        """Print a result: as its JSON document with `--json`, else as text for people."""
        if self.json:
            print_document(document(result))
        else:
            print_text(text(result))
