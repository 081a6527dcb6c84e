"""Leaving work to a process of its own, which goes on when the command has ended."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from ebsim.cli.environment import PASSPHRASE_FD_VARIABLE
from ebsim.cli.keys import KeyOptions

_PASSPHRASE_FD = 3
"""What a process in the background reads the passphrase from."""


class Background(Protocol):
    """Starts commands of ebsim that nobody waits for; a test puts its own in."""

    def start(self, store: Path, arguments: Sequence[str]) -> int:
        """Start `ebsim ARGUMENTS` on a store and return its process id."""
        ...


class BackgroundProcesses:
    """Real processes, cut off from the terminal and from the command that started them.

    Args:
        keys: What they are told about the keyring.
    """

    def __init__(self, keys: KeyOptions) -> None:
        self._keys = keys

    def start(self, store: Path, arguments: Sequence[str]) -> int:
        """Start `ebsim ARGUMENTS` on a store and return its process id.

        It is told about the keyring by its environment, and a passphrase that was typed by a pipe:
        nobody sees either among its arguments.

        Raises:
            OSError: It cannot be started.
        """
        command = [sys.executable, "-m", "ebsim", "--store", str(store.absolute()), *arguments]
        variables = {**os.environ, **self._keys.variables(), PASSPHRASE_FD_VARIABLE: ""}
        actions: list[Any] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ]
        if self._keys.typed is None:
            return _spawn(command, variables, actions)
        reading, writing = os.pipe()  # closed in the new process but for its copy
        try:
            os.write(
                writing, os.fsencode(self._keys.typed)
            )  # less than a pipe holds: a terminal's line
            variables[PASSPHRASE_FD_VARIABLE] = str(_PASSPHRASE_FD)
            actions.append((os.POSIX_SPAWN_DUP2, reading, _PASSPHRASE_FD))
            return _spawn(command, variables, actions)
        finally:
            os.close(reading)
            os.close(writing)


def _spawn(command: list[str], variables: dict[str, str], actions: list[Any]) -> int:
    """Start a process in a session of its own."""
    return os.posix_spawn(command[0], command, variables, file_actions=actions, setsid=True)
