"""A keyring that is open: what it holds now, its root key, and how it is changed.

Nothing is remembered between operations but the root key, so that what another process changed is
seen by the next one. The root key is fetched when it is first needed. Once it is known, the MAC of
every keyring that is read is compared before anything is done with it.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ebsim.clock import Clock, SystemClock
from ebsim.entropy import Entropy, SystemEntropy
from ebsim.errors import FormatVersionError
from ebsim.keys import refusals
from ebsim.keys.keyring_file import (
    Document,
    KeyringFile,
    encode_document,
    root_commitment,
    verify_document,
)
from ebsim.keys.materials import Materials
from ebsim.keys.protection import protect, unprotect
from ebsim.keys.records import KeyringContents
from ebsim.keys.unlocking import Unlocking
from ebsim.keys.wrapping import KEY_SIZE
from ebsim.storage.files import Files, PosixFiles
from ebsim.storage.locks import LockFile

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeyringSeams:
    """Where files, time and randomness come from.

    Attributes:
        files: Where the keyring lies.
        clock: When keys are made, and when those that are to be deleted are gone.
        entropy: Keys and ids.
        locks: Who may change it; None: a file beside it.
    """

    files: Files = field(default_factory=PosixFiles)
    clock: Clock = field(default_factory=SystemClock)
    entropy: Entropy = field(default_factory=SystemEntropy)
    locks: LockFile | None = None


@dataclass(frozen=True, slots=True)
class Present:
    """The keyring as it is now, proved, and opened.

    Attributes:
        contents: What it holds.
        now_us: The time.
        materials: What opens and makes materials.
    """

    contents: KeyringContents
    now_us: int
    materials: Materials


class OpenKeyring:
    """See the module. For several threads at once.

    Args:
        path: Its file.
        unlocking: What opens it.
        seams: Files, time and randomness.
    """

    def __init__(self, path: Path, unlocking: Unlocking, seams: KeyringSeams) -> None:
        self.seams = seams
        self._unlocking = unlocking
        self._file = KeyringFile(path, seams.files, seams.locks)
        self._mutex = threading.RLock()
        self._root: bytes | None = None
        self._root_commitment = b""
        self._verified: Document | None = None
        self._seen: Document | None = None
        self._version = 0

    def __repr__(self) -> str:
        return f"<keyring {self.path}>"

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._file.path

    def let_go(self) -> None:
        """Close its file; whoever uses it again opens it again."""
        with self._mutex:
            self._file.let_go()

    def version(self) -> int:
        """Return a number that is another as soon as anybody changed the keyring.

        Raises:
            NotFoundError, StoreError, FormatVersionError, CorruptionError: As `read`.
        """
        with self._mutex:
            document = self.read()
            if document is not self._seen:
                self._seen = document
                self._version += 1
            return self._version

    def read(self) -> Document:
        """Return the keyring as it is now; without the root key its MAC is not compared.

        Raises:
            NotFoundError: There is none (KeyringNotFound).
            StoreError: It cannot be read, or others can read it (KeyringExposed).
            FormatVersionError: It is no keyring, or another version's.
            CorruptionError: It is damaged (CorruptKeyring).
        """
        with self._mutex:
            try:
                document = self._file.read()
            except FormatVersionError as error:
                raise FormatVersionError(f"{self.path}: {error}") from None
            if self._root is not None and self._root_commitment == document.root_commitment:
                self._verify(document, self._root)
            return document

    def present(self) -> Present:
        """Return the keyring as it is now, proved, and opened.

        Raises:
            InvalidInputError: What opens it was not given (KeyringLocked).
            WrongKeyError: It is another passphrase or key file.
            NotFoundError, StoreError, FormatVersionError, CorruptionError: As `read`.
        """
        document, root = self._opened()
        return self._present(document, root)

    def _opened(self) -> tuple[Document, bytes]:
        with self._mutex:
            document = self.read()
            if self._root is None or self._root_commitment != document.root_commitment:
                root = unprotect(
                    document.protection,
                    document.contents.keyring_id,
                    self._unlocking,
                    self.seams.files,
                )
                if root_commitment(root) != document.root_commitment:
                    raise refusals.keyring_damaged("its root key is not the one it names")
                self._verify(document, root)
                self._root, self._root_commitment = root, document.root_commitment
            return document, self._root

    def _verify(self, document: Document, root: bytes) -> None:
        if document is not self._verified:
            verify_document(document, root)
            self._verified = document

    def begin(self, contents: Callable[[Materials], KeyringContents], keyring_id: str) -> None:
        """Write a new keyring, with a new root key.

        Raises:
            ConflictError: There is one (KeyringExists).
            InvalidInputError: The passphrase or key file is missing, too short or too long.
            StoreError, LimitExceededError: It cannot be written.
        """
        root = self.seams.entropy.token_bytes(KEY_SIZE)
        files, entropy = self.seams.files, self.seams.entropy
        protection = protect(root, keyring_id, self._unlocking, files, entropy)
        made = contents(Materials(keyring_id, root, entropy))
        with self._mutex, self._file.lock():
            self._file.write(encode_document(made, protection, root), new=True)
            self._root, self._root_commitment = root, root_commitment(root)

    def change(self, change: Callable[[Present], tuple[KeyringContents, T]]) -> T:
        """Change the keyring as it is now, alone; `change` returns the same contents for nothing.

        Raises:
            InvalidInputError, WrongKeyError: As `unlock`.
            StoreError, LimitExceededError: It cannot be written.
        """
        with self._mutex, self._file.lock():
            document, root = self._opened()
            contents, result = change(self._present(document, root))
            if contents is not document.contents:
                self._file.write(encode_document(contents, document.protection, root))
            return result

    def protect_anew(self, unlocking: Unlocking) -> None:
        """Wrap the root key otherwise, and nothing else.

        Raises:
            InvalidInputError: The passphrase or key file is missing, too short or too long.
            WrongKeyError, StoreError, LimitExceededError, CorruptionError: As `change`.
        """
        with self._mutex, self._file.lock():
            document, root = self._opened()
            contents = document.contents
            protection = protect(
                root, contents.keyring_id, unlocking, self.seams.files, self.seams.entropy
            )
            self._file.write(encode_document(contents, protection, root))
            self._unlocking = unlocking

    def _present(self, document: Document, root: bytes) -> Present:
        contents = document.contents
        materials = Materials(contents.keyring_id, root, self.seams.entropy)
        return Present(contents, self.seams.clock.now_us(), materials)
