"""Where commands find the keyring, and what opens it. Nothing here prints a secret or keeps one.

What an option says wins over the environment. A passphrase is never an argument or a variable,
which others could see: it is the output of a command, typed at a terminal, or read from a
descriptor, as ebsim's own processes in the background do.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ebsim.cli.environment import (
    KEY_FILE_VARIABLE,
    KEYRING_VARIABLE,
    PASSPHRASE_COMMAND_VARIABLE,
    Environment,
)

if TYPE_CHECKING:
    from ebsim.keys.unlocking import KeyringAccess, Unlocking

PASSPHRASE_SIZE_MAX = 65536
"""Bytes that are read from a descriptor: what a pipe holds."""

OTHER_PROMPT = "Passphrase of the other store's keyring: "


@dataclass(slots=True, kw_only=True)
class KeyOptions:
    """What a command line and the environment say about the keyring.

    Attributes:
        keyring: Where it lies; None: where the store says.
        named_keyring: The same, if an option said so.
        key_file: A key file that opens it.
        passphrase_command: A command that prints its passphrase.
        passphrase_fd: A descriptor that its passphrase is read from.
        typed: What was typed when it was asked for.
        prompt: What asks for it.
        asker: Who asks for it, if not this.
        other: A second store that a command uses, and what is said about its keyring.
    """

    keyring: Path | None = None
    named_keyring: Path | None = None
    key_file: Path | None = None
    passphrase_command: str | None = field(default=None, repr=False)
    passphrase_fd: int | None = None
    typed: str | None = field(default=None, repr=False)
    prompt: str = "Passphrase of the keyring: "
    asker: "KeyOptions | None" = field(default=None, repr=False)
    other: "tuple[Path, KeyOptions] | None" = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environment: Environment) -> "KeyOptions":
        """Return what the environment says."""
        return cls(
            keyring=environment.keyring,
            key_file=environment.key_file,
            passphrase_command=environment.passphrase_command,
            passphrase_fd=environment.passphrase_fd,
        )

    def open_with(
        self, *, key_file: Path | None = None, passphrase_command: str | None = None
    ) -> None:
        """Take what an option names for what opens the keyring, and not what was named before."""
        self.key_file, self.passphrase_command = key_file, passphrase_command

    def use_other(
        self,
        store: Path,
        *,
        keyring: Path | None,
        key_file: Path | None,
        passphrase_command: str | None,
    ) -> None:
        """Take what options say about the keyring of a second store; it is as the first one's else.

        What is typed for one keyring is not tried with another; a descriptor is read once for both.
        """
        same = keyring is None and self.keyring is not None
        options = replace(
            self,
            keyring=keyring or self.keyring,
            named_keyring=keyring,
            typed=None,
            prompt=OTHER_PROMPT,
            asker=self if same or self.passphrase_fd is not None else None,
        )
        if key_file is not None or passphrase_command is not None:
            options.open_with(key_file=key_file, passphrase_command=passphrase_command)
        self.other = (store, options)

    def of_store(self, store: Path) -> "KeyOptions":
        """Return what is said about the keyring of a store."""
        return self.other[1] if self.other is not None and self.other[0] == store else self

    def access(self) -> "KeyringAccess":
        """Return where the keyring is, and what opens it."""
        from ebsim.keys.unlocking import KeyringAccess

        return KeyringAccess(keyring=self.keyring, unlocking=self.unlocking())

    def unlocking(self) -> "Unlocking":
        """Return what opens the keyring, and protects a new one."""
        from ebsim.keys.unlocking import Unlocking

        return Unlocking(
            passphrase_command=self.passphrase_command,
            key_file=self.key_file,
            ask=self._ask if self.passphrase_fd is not None or can_ask() else None,
        )

    def _ask(self) -> str:
        """Return the passphrase, which is asked for once."""
        if self.asker is not None:
            return self.asker._ask()
        if self.typed is None:
            if self.passphrase_fd is not None:
                self.typed = _read_passphrase(self.passphrase_fd)
            else:
                self.typed = ask_passphrase(self.prompt)
        return self.typed

    def variables(self) -> dict[str, str]:
        """Return the variables that tell a process in the background the same."""
        told = {
            KEYRING_VARIABLE: self.keyring and str(self.keyring.absolute()),
            KEY_FILE_VARIABLE: self.key_file and str(self.key_file.absolute()),
            PASSPHRASE_COMMAND_VARIABLE: self.passphrase_command,
        }
        return {name: text or "" for name, text in told.items()}


def leave_no_core_dump() -> None:
    """Have this process, and those that it starts, leave no core dump: keys would be in it."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def can_ask() -> bool:
    """Return whether somebody is there who can be asked for a passphrase."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask_passphrase(prompt: str) -> str:
    """Return what is typed at the terminal, which does not show it.

    Raises:
        InvalidInputError: Nothing was typed, but the end of the input (KeyringLocked).
    """
    import getpass

    try:
        return getpass.getpass(prompt)
    except EOFError:
        from ebsim.keys.refusals import keyring_locked

        raise keyring_locked("no passphrase was typed") from None


def ask_new_passphrase(ask: Callable[[str], str] = ask_passphrase) -> str:
    """Return a new passphrase, which is typed twice.

    Raises:
        InvalidInputError: It was typed otherwise the second time, or nobody can type.
    """
    from ebsim.keys.refusals import keyring_locked

    if ask is ask_passphrase and not can_ask():
        raise keyring_locked(
            "a new passphrase is typed at a terminal: run ebsim on one, or give "
            "--new-passphrase-command"
        )
    first = ask("New passphrase of the keyring: ")
    if ask("The same again: ") != first:
        raise keyring_locked("the two passphrases are not the same; nothing was changed")
    return first


def _read_passphrase(descriptor: int) -> str:
    """Return the first line that a descriptor gives, without its end.

    Raises:
        InvalidInputError: It cannot be read (KeyringLocked).
    """
    from ebsim.keys.refusals import keyring_locked

    parts = []
    try:
        while part := os.read(descriptor, PASSPHRASE_SIZE_MAX):
            parts.append(part)
        os.close(descriptor)
    except OSError as error:
        raise keyring_locked(
            f"the passphrase cannot be read from descriptor {descriptor}: {error.strerror}"
        ) from None
    line, _, _ = b"".join(parts).partition(b"\n")
    return os.fsdecode(line)
