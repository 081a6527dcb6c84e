"""Another store that is only read, to repair from: opened, and its keyring too."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ebsim.core.context import StoreContext
from ebsim.core.domains import list_domains
from ebsim.errors import EbsimError, WrongKeyError
from ebsim.keys.unlocking import NO_PROTECTION, KeyringAccess
from ebsim.progress import Progress


@dataclass(frozen=True, slots=True)
class OtherStore:
    """Another store.

    Attributes:
        path: Its folder.
        keys: Its keyring; None: as this store's.
    """

    path: Path
    keys: KeyringAccess | None = None

    def open(self, context: StoreContext, progress: Progress, stack: ExitStack) -> StoreContext:
        """Return it, opened until the stack is left, and its keyring unlocked if it needs one.

        Without the keyring it serves for what is not encrypted there, and that is said.

        Args:
            context: The store that it is opened beside.
            progress: Told how far opening it is, and what is wrong with its keyring.
            stack: Closes it.

        Raises:
            EbsimError: It cannot be opened.
        """
        from ebsim.core.opening import open_context  # seldom needed

        other = open_context(self.path.absolute(), context, progress, create=False, prove=False)
        stack.callback(other.catalog.close)
        stack.callback(other.segments.close)
        with other.catalog.read() as reader:
            encrypted = bool(list_domains(reader))
        if encrypted:
            self._unlock(context, other, progress)
        return other

    def _unlock(self, context: StoreContext, other: StoreContext, progress: Progress) -> None:
        here = KeyringAccess(keyring=context.state.keyring_path, unlocking=context.state.unlocking)
        keys = self.keys or here
        other.state.keyring_path, other.state.unlocking = keys.keyring, keys.unlocking
        try:
            try:
                other.keyring().unlock()
            except WrongKeyError:
                if keys.keyring is None or keys.keyring != here.keyring:
                    raise
                other.state.keyring_path = None  # that one is this store's only
                other.keyring().unlock()
        except EbsimError as error:
            progress.note(f"what is encrypted in {self.path} is left out: {error}")
            other.state.keyring, other.state.unlocking = None, NO_PROTECTION
