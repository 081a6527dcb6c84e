"""What all commands share: the store that was named, and how to answer."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ebsim.caller import parse_caller
from ebsim.cli.background import Background, BackgroundProcesses
from ebsim.cli.environment import STORE_VARIABLE, Environment
from ebsim.cli.output import Json, print_document, print_text
from ebsim.cli.stores import Stores
from ebsim.errors import ErrorCode, NotFoundError

if TYPE_CHECKING:
    from ebsim.cli.progress_bar import ProgressBar
    from ebsim.engine import Store
    from ebsim.results import RebuildReport

Result = TypeVar("Result")


class Invocation:
    """One run of the `ebsim` command; click hands it to every command as its object.

    Attributes:
        json: Whether `--json` was given, anywhere on the command line.
        store: The folder given with `--store`, if any; the innermost one counts.
        account: The account to act as.
        region: The Region to act in.
    """

    def __init__(
        self, environment: Environment, stores: Stores, background: Background | None = None
    ) -> None:
        self._environment = environment
        self._stores = stores
        self._background = background or BackgroundProcesses()
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

    def create_store(self) -> "Store":
        """Make the store.

        Raises:
            ConflictError: There is a store already.
            InvalidInputError: The folder holds something else.
        """
        return self._stores.create(self.store_path)

    def open_store(
        self, *, create: bool = False, resume: bool = False, prove: bool = False
    ) -> "Store":
        """Open the store; with `create`, make it where there is none.

        Args:
            create: Make the store if its folder is missing or empty.
            resume: Go on with what a process left pending; only for commands that wait for it.
            prove: Prove the catalog first, in another process that may die of it.

        Raises:
            NotFoundError: There is no store, and `create` was not asked for.
            InvalidInputError: The account or Region is none.
        """
        caller = parse_caller(self.account, self.region)
        with self.progress() as progress:
            return self._stores.open(
                self.store_path,
                caller,
                create=create,
                resume=resume,
                prove=prove,
                progress=progress,
            )

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
